//! What is loaded and checked but not live: keeping it for `backupctl swap`, naming what waits, and dropping what is superseded.

use jiff::Timestamp;

use super::Job;
use super::restore::{Held, Restored, login, lost_on_the_way};
use crate::config::GoLive;
use crate::database::connection::Session;
use crate::database::scratch::Scratch;
use crate::database::swap::{self, PreparedStamp, Pruned, is_in_the_way};
use crate::escape::{in_shell, shown};
use crate::journal::{self, Created};
use crate::report::ArchiveFacts;
use crate::verdict::{Failed, Outcome, Verdict};

/// `swap = "hold"`: the scratch database is stamped and stays; what the job had prepared before is dropped.
///
/// # Errors
/// As the server says: then it is dropped like every scratch database of a failed run; `attention`: an older one could not be.
pub async fn hold(restored: Restored, job: &Job<'_>) -> Outcome<()> {
    let Restored { scratch, held } = restored;
    stamp(&scratch, &held, job).await.map_err(lost_on_the_way)?;
    job.run.notes.message(format!(
        "{} waits for `backupctl swap {}`",
        shown(&scratch.name),
        job.restore.name
    ));
    let duties = drop_superseded(job, Some(&scratch.name)).await;
    held.session.close().await;
    super::open_duties(&duties)
}

/// After a swap that others stood in the way of, what was loaded for it is kept: it can go live when they are gone.
pub async fn keep(failed: Failed, scratch: &Scratch, held: &Held, job: &Job<'_>) -> Failed {
    if !is_in_the_way(&failed) {
        return failed;
    }
    if let Err(stamping) = stamp(scratch, held, job).await {
        job.run.notes.warn(format!(
            "what was loaded could not be kept for `backupctl swap`: {}",
            stamping.message()
        ));
        return failed;
    }
    for duty in drop_superseded(job, Some(&scratch.name)).await {
        job.run.notes.warn(duty);
    }
    let first = failed.hint.clone().unwrap_or_default();
    let kept = format!(
        "what was loaded is kept as `{}`: when nobody is in the way, `backupctl swap {}` makes it live without loading again",
        shown(&scratch.name),
        job.restore.name
    );
    Failed {
        hint: Some(format!("{first}\n{kept}").trim_start().to_owned()),
        ..failed
    }
}

async fn stamp(scratch: &Scratch, held: &Held, job: &Job<'_>) -> Outcome<()> {
    let live = &held.target.live;
    let stamp = {
        let noted = job.run.notes.lock();
        PreparedStamp {
            format: 1,
            live: live.name.clone(),
            live_oid: live.oid,
            name: scratch.name.clone(),
            run: job.run.id.to_string(),
            job: job.restore.name.clone(),
            since: Timestamp::now(),
            archive: noted.archive.clone(),
            dump: noted.dump.clone(),
        }
    };
    let session = login(job).maintenance().await?;
    // One that has waited keeps its own.
    if !swap::is_prepared(&session, &scratch.name).await? {
        swap::prepare(&session, &stamp).await?;
    }
    session.close().await;
    job.run.notes.waiting(&scratch.name);
    forget(&scratch.name, job);
    Ok(())
}

/// It is no leftover any more. A journal that still lists it harms nobody: the stamp is looked at before anything is dropped.
fn forget(name: &str, job: &Job<'_>) {
    let created = Created::Scratch {
        database: job.database.key.clone(),
        name: name.to_owned(),
    };
    if let Err(error) = job.run.journal.forget(&created) {
        job.run
            .notes
            .warn(format!("the journal can't be written: {error}"));
    }
}

/// The archive that a run which holds would only prepare again, and since when it waits to go live.
pub async fn again(
    session: &Session,
    live_oid: u32,
    job: &Job<'_>,
) -> Outcome<Option<(ArchiveFacts, Timestamp)>> {
    if job.restore.go_live != GoLive::Hold {
        return Ok(None);
    }
    let all = swap::prepared_databases(session, &job.database.name).await?;
    let current = all.into_iter().find(|one| {
        one.whole && one.stamp.job == job.restore.name && one.stamp.live_oid == live_oid
    });
    Ok(current.and_then(|one| Some((one.stamp.archive?, one.stamp.since))))
}

/// Names in the report what waits to replace the live database, so that nothing waits unseen.
pub async fn mention(session: &Session, live_oid: u32, job: &Job<'_>) -> Outcome<()> {
    for waiting in swap::prepared_databases(session, &job.database.name).await? {
        let stamp = &waiting.stamp;
        let fate = if stamp.job == job.restore.name {
            "it is dropped when this job has something newer".to_owned()
        } else {
            format!("it was prepared by job `{}`", shown(&stamp.job))
        };
        let since = stamp.since.strftime("%Y-%m-%d %H:%M UTC");
        let (name, owner) = (shown(&stamp.name), in_shell(&stamp.job));
        job.run.notes.warn(if stamp.live_oid == live_oid {
            format!("`{name}` waits for `backupctl swap {owner}` since {since}; {fate}")
        } else {
            format!(
                "`{name}` was prepared on {since} for a database that is live no more, and can't go live; {fate}"
            )
        });
    }
    Ok(())
}

/// Names what looks like a scratch database and is in no journal here: nobody ever drops it, so somebody must know of it.
pub async fn mention_unknown(session: &Session, job: &Job<'_>) -> Outcome<()> {
    let live = &job.database.name;
    for (name, run) in swap::unstamped_scratch(session, live).await? {
        if run == job.run.id || journal::file_of(job.state_dir(), &run).exists() {
            continue;
        }
        job.run.notes.warn(format!(
            "database `{}` looks like a scratch database of `{}`, but no journal here lists it: left alone",
            shown(&name),
            shown(live)
        ));
    }
    Ok(())
}

/// Drops what this job had prepared, but for `kept`. What could not be dropped is a duty.
pub async fn drop_superseded(job: &Job<'_>, kept: Option<&str>) -> Vec<String> {
    let login = login(job);
    let dropping = swap::drop_prepared(&login, &job.database.name, &job.restore.name, kept);
    let dropped = tokio::select! {
        biased;
        dropped = dropping => dropped,
        () = super::previous::hurry(job) => Err(Failed::interrupted()),
    };
    match dropped {
        Ok(Pruned {
            dropped, failed, ..
        }) => {
            for name in dropped {
                tracing::info!("dropped {name}, which was never swapped in");
            }
            failed
                .into_iter()
                .map(|(name, why)| format!("{} could not be dropped: {why}", shown(&name)))
                .collect()
        }
        Err(failed) if matches!(failed.verdict, Verdict::Interrupted(_)) => Vec::new(),
        Err(failed) => vec![format!(
            "what was prepared before could not be dropped: {}",
            failed.message()
        )],
    }
}
