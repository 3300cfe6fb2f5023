//! The commands around a swap: `before_swap` and `after_swap`, run without a shell and with a deadline.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;

use crate::config::{AfterCheck, Hook};
use crate::escape::said;
use crate::journal::Created;
use crate::process::{self, Command};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

use super::Job;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeSwap,
    AfterSwap,
}

/// What a hook is told in its environment beside run and job.
#[derive(Debug, Clone)]
pub struct Names {
    pub database: String,
    pub scratch: String,
}

/// Whether the program of every hook and of `after_checks` is there, found out before anything is loaded or goes live.
pub fn judge(job: &Job<'_>) -> Outcome<()> {
    let after_checks = job
        .restore
        .after_checks
        .iter()
        .filter_map(|check| match check {
            AfterCheck::Command(command) => Some(("after_checks", command)),
            AfterCheck::Sql(_) => None,
        });
    are_there(all(job).chain(after_checks), job)
}

/// The same for an undo, which no missing check keeps back.
pub fn judge_undo(job: &Job<'_>) -> Outcome<()> {
    are_there(all(job), job)
}

fn are_there<'a>(
    mut hooks: impl Iterator<Item = (&'static str, &'a Hook)>,
    job: &Job<'_>,
) -> Outcome<()> {
    hooks.try_for_each(|(setting, hook)| {
        let found = Command::from_list(hook).map(drop);
        found.context(format!("restores.{}.{setting}", job.restore.name))
    })
}

fn all<'a>(job: &'a Job<'_>) -> impl Iterator<Item = (&'static str, &'a Hook)> {
    let before = job
        .restore
        .before_swap
        .iter()
        .map(|hook| ("before_swap", hook));
    before.chain(
        job.restore
            .after_swap
            .iter()
            .map(|hook| ("after_swap", hook)),
    )
}

/// Does `work` between the hooks, and returns with its value what is left to the operator.
///
/// `after_swap` runs whatever became of `before_swap` and of the work, a panic included: something may have been stopped that
/// must be started again. Where that fails after work that failed itself, the report still says so.
pub async fn around<T>(
    names: &Names,
    job: &Job<'_>,
    work: impl Future<Output = Outcome<T>>,
) -> Outcome<(T, Vec<String>)> {
    let begun = Created::Hooks {
        live: names.database.clone(),
        scratch: names.scratch.clone(),
    };
    if all(job).next().is_some() {
        let listed = job.run.journal.will_create(begun.clone());
        listed.judge(Verdict::Local, "write the journal")?;
    }
    let between = async {
        run(When::BeforeSwap, names, job).await?;
        work.await
    };
    let worked = AssertUnwindSafe(between).catch_unwind().await;
    let after = run(When::AfterSwap, names, job).await.err();
    if let Err(error) = job.run.journal.forget(&begun) {
        // Then the next run runs `after_swap` once more, which harms less than not at all.
        tracing::warn!("write the journal: {error}");
    }
    let after = after.map(|failed| failed.message());
    match worked {
        Ok(Ok(value)) => Ok((value, after.into_iter().collect())),
        failed => {
            if let Some(after) = after {
                job.run.notes.warn(after);
            }
            failed
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map(|value| (value, Vec::new()))
        }
    }
}

/// Runs `after_swap` for a run that died between the hooks.
pub async fn make_up_for(names: &Names, job: &Job<'_>) -> Outcome<()> {
    run(When::AfterSwap, names, job).await
}

/// Runs the hooks of one moment in order. Of `after_swap` all are run, even after one has failed or after a signal.
///
/// # Errors
/// `failed`: a hook didn't end with 0 within `hook_timeout`; `interrupted`: a signal came before the swap.
async fn run(when: When, names: &Names, job: &Job<'_>) -> Outcome<()> {
    let all = run_all(when, names, job);
    if when == When::AfterSwap {
        return all.await;
    }
    // Nothing is swapped yet, so nothing is half known.
    tokio::select! {
        biased;
        ended = all => ended,
        () = job.run.stop.cancelled() => Err(Failed::interrupted()),
    }
}

async fn run_all(when: When, names: &Names, job: &Job<'_>) -> Outcome<()> {
    let (setting, hooks) = match when {
        When::BeforeSwap => ("before_swap", &job.restore.before_swap),
        When::AfterSwap => ("after_swap", &job.restore.after_swap),
    };
    let mut outcome = Ok(());
    for hook in hooks {
        let ran = run_one(hook, names, job)
            .await
            .context(format!("{setting} {hook:?}"));
        if ran.is_err() && when == When::BeforeSwap {
            return ran;
        }
        outcome = outcome.and(ran);
    }
    outcome
}

/// One command with what hooks are told in its environment.
///
/// # Errors
/// `failed`: it didn't end with 0 within `hook_timeout`.
pub async fn run_one(hook: &Hook, names: &Names, job: &Job<'_>) -> Outcome<()> {
    let command = Command::from_list(hook)?
        .env("BACKUPCTL_RUN", job.run.id.as_str())
        .env("BACKUPCTL_JOB", &job.restore.name)
        .env("BACKUPCTL_DATABASE", &names.database)
        .env("BACKUPCTL_SCRATCH", &names.scratch);
    tracing::info!("running {hook:?}");
    let mut last = String::new();
    let ended = process::run(&command, job.restore.hook_timeout, |_, line| {
        tracing::info!("{}: {}", hook[0], said(line));
        line.clone_into(&mut last);
    })
    .await?;
    if ended.is_success() {
        return Ok(());
    }
    let said = if last.is_empty() {
        String::new()
    } else {
        format!("; it said: {}", said(&last))
    };
    Err(Failed::new(Verdict::Failed, format!("{ended}{said}"))
        .hint("run the command by hand; its whole output is in the run's log"))
}
