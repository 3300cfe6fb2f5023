//! What a run has made and must not leave: its own at its end, and those of runs that died, under the job's lock.
//!
//! Only what a journal lists is ever removed.

mod live;

use std::path::Path;

use super::fetch::Part;
use super::{App, Job, Order, hooks};
use crate::config::{Config, Restore};
use crate::database::cluster;
use crate::database::connection::Login;
use crate::database::scratch;
use crate::database::swap;
use crate::durable;
use crate::escape::shown;
use crate::journal::{self, Created, Entries};
use crate::run::{Run, RunId};
use crate::secret::Secrets;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// Names the run that died last, removes what dead runs of this job have left, and says what is live since.
pub async fn clean(job: &Job<'_>, order: Order) {
    let earlier = job
        .newest_first()
        .find(|record| record.run != job.run.id.as_str());
    let dead = earlier.filter(|record| record.verdict.is_none());
    if let Some(dead) = &dead {
        let step = dead.steps.iter().find(|step| step.verdict.is_none());
        let step = step.map_or_else(
            || match dead.steps.last() {
                None => "before its first step".to_owned(),
                Some(last) => format!("after step {}", last.step),
            },
            |step| format!("in step {}", step.step),
        );
        job.run.notes.warn(format!(
            "the run of {:.0} ({}) died {step}",
            dead.started, dead.run
        ));
    }
    let found = left_behind(job);
    for entries in &found {
        if let Err(failed) = settle(job, order, entries).await {
            job.run.notes.warn(format!(
                "clean up after run {}: {}; the next run tries again",
                entries.run,
                failed.message()
            ));
        }
    }
    if let Some(dead) = dead {
        tokio::select! {
            () = live::tell(job, order, &dead, &found) => {}
            () = job.run.stop.cancelled() => {}
        }
    }
}

fn left_behind(job: &Job<'_>) -> Vec<Entries> {
    match journal::left_behind(job.state_dir(), &job.restore.name) {
        Ok((found, unreadable)) => {
            for path in unreadable {
                job.run.notes.warn(format!(
                    "the journal {} can't be read; nothing in it was cleaned up",
                    path.display()
                ));
            }
            found
        }
        Err(error) => {
            job.run
                .notes
                .warn(format!("read the journals of earlier runs: {error}"));
            Vec::new()
        }
    }
}

async fn settle(job: &Job<'_>, order: Order, entries: &Entries) -> Outcome<()> {
    let Some(dead) = RunId::parse(&entries.run) else {
        return Err(Failed::new(Verdict::Local, "its journal has no run id"));
    };
    let on_server = || entries.created.iter().filter_map(Created::database);
    let is_here = |created: &Created| {
        matches!(
            created,
            Created::File(_) | Created::Part(_) | Created::Cluster(_)
        )
    };
    if !order.database && !entries.created.iter().all(is_here) {
        return Ok(());
    }
    if let Some(other) = on_server().find(|key| *key != job.database.key) {
        return Err(Failed::new(
            Verdict::Config,
            format!(
                "it worked on `databases.{other}`, which is not this job's `into` any more; drop {} there by hand if it exists, then remove {}",
                scratch::scratch_name("…", &dead),
                journal::file(job.state_dir(), entries).display()
            ),
        ));
    }
    for created in &entries.created {
        match created {
            Created::File(path) => remove_file(job.state_dir(), path)?,
            Created::Part(path) => remove_part(job.state_dir(), path)?,
            Created::Cluster(path) => remove_cluster(job.state_dir(), path).await?,
            Created::Hooks { live, scratch } => start_again(job, &dead, live, scratch).await,
            _ => {}
        }
    }
    let on_server = async {
        if order.database {
            end_backends(job, &dead).await?;
        }
        for created in &entries.created {
            settle_on_server(job, &dead, entries, created).await?;
        }
        Outcome::Ok(())
    };
    // Not the hooks before it: what they start again must not be ended in the middle.
    tokio::select! {
        settled = on_server => settled?,
        () = job.run.stop.cancelled() => return Err(Failed::interrupted()),
    }
    journal::settle(job.state_dir(), entries).judge(Verdict::Local, "remove its journal")
}

/// Whatever they are at: one may still be making a database, committing, or holding the lock of the live one.
async fn end_backends(job: &Job<'_>, dead: &RunId) -> Outcome<()> {
    let session = super::restore::login(job).maintenance().await?;
    scratch::end_backends(&session, dead).await?;
    session.close().await;
    Ok(())
}

async fn settle_on_server(
    job: &Job<'_>,
    dead: &RunId,
    entries: &Entries,
    created: &Created,
) -> Outcome<()> {
    match created {
        Created::File(_) | Created::Part(_) | Created::Cluster(_) | Created::Hooks { .. } => {}
        Created::Scratch { name, .. } => {
            let login = super::restore::login(job);
            if has_its_stamp(&login, name).await? {
                job.run.notes.warn(format!(
                    "run {dead} had prepared `{name}` before it died: it waits for `backupctl swap {}`",
                    job.restore.name
                ));
                return Ok(());
            }
            scratch::drop_left_behind(&login, name, dead)
                .await
                .context(format!("drop the scratch database {name}"))?;
            tracing::info!("dropped {name}, which run {dead} had left");
        }
        Created::Swap {
            live_oid,
            scratch_oid,
            previous,
            ..
        } => {
            let begun = live::Begun::of(&entries.command, previous, dead, job);
            live::swapped(job, dead, begun, (*live_oid, *scratch_oid)).await?;
        }
        Created::InPlace { name, .. } => job.run.notes.warn(format!(
            "run {dead} ended in the middle of its restore over `{name}` (method = \"in-place\"): it is wholly the old or wholly the new one, look which"
        )),
    }
    Ok(())
}

/// What `before_swap` of the dead run has stopped must not stay down because this run ends before its own swap.
async fn start_again(job: &Job<'_>, dead: &RunId, live: &str, scratch: &str) {
    let names = hooks::Names {
        database: live.to_owned(),
        scratch: scratch.to_owned(),
    };
    let ended = match hooks::make_up_for(&names, job).await {
        Ok(()) => "ran now".to_owned(),
        Err(failed) => format!("failed now: {}", failed.message()),
    };
    job.run.notes.warn(format!(
        "run {dead} had begun `before_swap` and died before `after_swap`, which {ended}"
    ));
}

/// At the end of a run, however it ended: what its journal still lists is removed.
pub async fn clean_up(app: &App, restore: &Restore, order: Order, run: &Run) {
    let created = run.journal.created();
    if created.iter().any(Created::touches_live) {
        // Nobody knows yet whether it happened: the next run asks, and cleans up then.
        return;
    }
    let mut all = true;
    for created in created {
        let removed = match &created {
            Created::File(path) => remove_file(&app.config.state_dir, path),
            Created::Part(path) => remove_part(&app.config.state_dir, path),
            Created::Cluster(path) => remove_cluster(&app.config.state_dir, path).await,
            Created::Scratch { name, .. } => {
                drop_own_scratch(&app.config, restore, run, name).await
            }
            Created::Swap { .. } | Created::InPlace { .. } | Created::Hooks { .. } => continue,
        };
        if let Err(failed) = removed {
            all = false;
            run.notes.warn(format!(
                "clean up: {}; the next run tries again",
                failed.message()
            ));
        }
    }
    tracing::debug!(command = order.command, all, "cleaned up");
    run.notes.drill(|drill| drill.dropped = all);
    if all && let Err(error) = run.journal.close() {
        run.notes.warn(format!("remove the run's journal: {error}"));
    }
}

async fn drop_own_scratch(
    config: &Config,
    restore: &Restore,
    run: &Run,
    name: &str,
) -> Outcome<()> {
    let Some(settings) = config.databases.get(&restore.into) else {
        return Ok(());
    };
    let needed: Vec<_> = settings.password.iter().collect();
    let secrets = Secrets::open(&config.secrets, &needed).await?;
    let password = settings
        .password
        .as_ref()
        .map(|reference| secrets.get(reference).clone());
    let login = Login {
        settings: settings.clone(),
        password,
        application_name: run.id.application_name(),
        timeout: config.network.timeout,
    };
    if has_its_stamp(&login, name).await? {
        // The server was away when it should have answered.
        run.notes.waiting(name);
        run.notes.warn(format!(
            "`{}` is prepared all the same: it waits for `backupctl swap {}`",
            shown(name),
            restore.name
        ));
        return Ok(());
    }
    scratch::drop_scratch(&login, name, run)
        .await
        .context(format!("drop the scratch database {name}"))
}

/// One that was prepared for `swap` is kept, although its journal had no time to forget it.
async fn has_its_stamp(login: &Login, name: &str) -> Outcome<bool> {
    let session = login.maintenance().await?;
    let is_prepared = swap::is_prepared(&session, name).await;
    session.close().await;
    is_prepared
}

/// Removes one of our files, or a dump of many files, and nothing outside state_dir whatever a journal says.
fn remove_file(state_dir: &Path, path: &Path) -> Outcome<()> {
    is_ours(state_dir, path)?;
    durable::remove_all(path).judge(Verdict::Local, format!("remove {}", path.display()))
}

/// Ends a private cluster and removes it.
async fn remove_cluster(state_dir: &Path, path: &Path) -> Outcome<()> {
    is_ours(state_dir, path)?;
    cluster::remove(path).await
}

/// An unfinished download stays if the next run may go on with it.
fn remove_part(state_dir: &Path, path: &Path) -> Outcome<()> {
    is_ours(state_dir, path)?;
    let part = Part::at(path);
    if part.is_resumable() {
        return Ok(());
    }
    part.forget()
}

fn is_ours(state_dir: &Path, path: &Path) -> Outcome<()> {
    if !path.starts_with(state_dir)
        || path
            .components()
            .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(Failed::new(
            Verdict::Bug,
            format!("the journal names {}, outside state_dir", path.display()),
        ));
    }
    Ok(())
}
