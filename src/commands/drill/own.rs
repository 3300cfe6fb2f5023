//! The job as a drill sees it: the same archive and the same checks, and nothing of how it would go live.

use crate::commands::Job;
use crate::config::{
    DrillPlace, DropPrevious, GoLive, LostObjects, Method, Postgres, Restore, Unchanged,
};
use crate::run::Run;
use crate::verdict::{Failed, Verdict};
use std::time::Duration;

/// With other settings than the configured ones.
pub fn job<'a>(job: &Job<'a>, restore: &'a Restore, database: &'a Postgres, run: Run) -> Job<'a> {
    Job {
        config: job.config,
        restore,
        store: job.store,
        database,
        secrets: job.secrets.clone(),
        run,
    }
}

pub fn restore(job: &Job<'_>) -> Restore {
    let mut own = job.restore.clone();
    let drill = &job.config.drill;
    let is_for_it = |name: Option<&String>| name.is_none_or(|name| *name == own.name);
    let more = drill.checks.iter();
    let more = more.filter(|check| is_for_it(check.job.as_ref()));
    let more: Vec<_> = more.map(|check| check.check.clone()).collect();
    own.checks.extend(more);
    own.method = Method::Swap;
    own.go_live = GoLive::Now;
    own.drop_previous = DropPrevious::AfterSwap;
    own.lost_objects = LostObjects::Warn;
    own.unchanged = Unchanged::Restore;
    own.wait_for = Duration::ZERO;
    own.before_swap.clear();
    own.after_swap.clear();
    own.after_checks.clear();
    // Nothing stays on a server; in a private cluster they are made at its beginning.
    own.contents.creates_roles = false;
    if drill.place == DrillPlace::Local {
        own.contents.keeps_tablespaces = false;
        // Run by the drill, which makes the roles that they name.
        own.after_load.clear();
    }
    if !own.stream {
        // Its SHA-256 is part of the evidence, and only what is kept is hashed.
        own.keep_archives = own.keep_archives.max(1);
    }
    own
}

/// The configured server, where the live database may be missing.
pub fn database(job: &Job<'_>) -> Postgres {
    Postgres {
        create: true,
        ..job.database.clone()
    }
}

/// What is found in a drill's database has never been about to go live.
pub fn about_a_drill(failed: Failed, job: &Job<'_>) -> Failed {
    if failed.verdict != Verdict::Failed {
        return failed;
    }
    let hint = format!(
        "the newest backup would not pass: look at what the archive's maker dumped, or correct the check; \
         `backupctl restore {} --as NAME` loads it to be looked at",
        job.restore.name
    );
    Failed {
        hint: Some(hint),
        ..failed
    }
}
