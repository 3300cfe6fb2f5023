//! Previous databases: so many are kept for `undo`, older ones of ours are dropped after a swap, or before a load for its room.

use std::time::Duration;

use super::restore::login;
use super::{Job, prepared};
use crate::config::DropPrevious;
use crate::database::connection::Session;
use crate::database::preflight::Live;
use crate::database::swap::{self, Pruned};
use crate::escape::shown;
use crate::verdict::{Failed, Outcome, Verdict};

/// After a signal, for what would otherwise be left to the next run.
const HURRY: Duration = Duration::from_secs(3);

/// After a swap: drops what is beyond `keep_previous`, and what was prepared to replace the database that is live no more.
/// What could not be dropped is a duty for the operator, not a failure.
///
/// Dropping a large database can take minutes, for which nobody who sends a signal waits long: the next run drops what is left.
pub async fn drop_old(job: &Job<'_>) -> Vec<String> {
    let mut duties = prune(job).await;
    duties.extend(prepared::drop_superseded(job, None).await);
    duties
}

/// Only what is beyond `keep_previous`: after a way back, what was prepared for the database that is live again still waits.
pub async fn prune(job: &Job<'_>) -> Vec<String> {
    let keep = job.restore.keep_previous;
    match dropped(keep, job).await {
        Ok(pruned) => {
            if keep == 0 && pruned.failed.is_empty() {
                job.run.notes.no_previous();
            }
            in_words(pruned.failed)
        }
        Err(failed) => vec![format!(
            "older previous databases could not be dropped: {}",
            failed.message()
        )],
    }
}

async fn dropped(keep: usize, job: &Job<'_>) -> Outcome<Pruned> {
    let login = login(job);
    let dropping = swap::drop_old_previous(&login, &job.database.name, keep, &job.run);
    tokio::select! {
        biased;
        dropped = dropping => dropped,
        () = hurry(job) => Err(Failed::interrupted()),
    }
}

fn in_words(failed: Vec<(String, String)>) -> Vec<String> {
    failed
        .into_iter()
        .map(|(name, why)| format!("{} could not be dropped: {why}", shown(&name)))
        .collect()
}

/// `drop_previous = "before-load"`: makes the room that the new database needs, once nothing else speaks against the load.
///
/// # Errors
/// `failed`: one is still there, so that the room is missing.
pub async fn make_room(live: &Live, job: &Job<'_>) -> Outcome<()> {
    if job.restore.drop_previous != DropPrevious::BeforeLoad {
        return Ok(());
    }
    let Pruned {
        dropped, failed, ..
    } = dropped(kept_while_loading(live, job), job).await?;
    if let Some(warning) = without_undo(&dropped, live, job) {
        job.run.notes.warn(warning);
    }
    let mut stuck = in_words(failed);
    if !live.is_missing() {
        stuck.extend(prepared::drop_superseded(job, None).await);
    }
    if stuck.is_empty() {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "make room before the load (`drop_previous = \"before-load\"`): {}",
            stuck.join("; ")
        ),
    )
    .hint("drop it by hand, or set `drop_previous = \"after-swap\"` where the server has room for one copy more"))
}

/// The swap adds one: with it there are `keep_previous` again. Where nothing is live it adds none, and what is kept may be all
/// that there is if the load fails.
fn kept_while_loading(live: &Live, job: &Job<'_>) -> usize {
    let keep = job.restore.keep_previous;
    if live.is_missing() {
        return keep;
    }
    keep.saturating_sub(1)
}

fn without_undo(dropped: &[String], live: &Live, job: &Job<'_>) -> Option<String> {
    let names: Vec<String> = dropped
        .iter()
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    let undo = match kept_while_loading(live, job) {
        0 if live.is_missing() => "nothing is live, and none is kept (`keep_previous = 0`)",
        0 => "there is no undo until the new database is live",
        _ => "what was kept is older",
    };
    (!names.is_empty()).then(|| {
        format!(
            "dropped before the load (`drop_previous = \"before-load\"`): {}; {undo}",
            names.join(", ")
        )
    })
}

/// The names of what [`make_room`] would drop.
pub async fn dropped_first(session: &Session, live: &Live, job: &Job<'_>) -> Outcome<Vec<String>> {
    if job.restore.drop_previous != DropPrevious::BeforeLoad {
        return Ok(Vec::new());
    }
    let ours = swap::previous_databases(session, &live.name).await?;
    let old = swap::beyond(ours, kept_while_loading(live, job));
    let mut names: Vec<String> = old.into_iter().map(|previous| previous.name).collect();
    if !live.is_missing() {
        let waiting = swap::prepared_databases(session, &live.name).await?;
        let own = waiting
            .into_iter()
            .filter(|one| one.stamp.job == job.restore.name);
        names.extend(own.map(|one| one.stamp.name));
    }
    Ok(names)
}

/// What [`make_room`] would drop, for a dry run.
pub async fn room_in_words(
    session: &Session,
    live: &Live,
    job: &Job<'_>,
) -> Outcome<Option<String>> {
    let names = dropped_first(session, live, job).await?;
    let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
    let undo = match kept_while_loading(live, job) {
        0 if live.is_missing() => "",
        0 => "; there is no undo from then until the new one is live",
        _ => "",
    };
    Ok((!names.is_empty()).then(|| {
        format!(
            "room      {} would be dropped before the load{undo}",
            names.join(", ")
        )
    }))
}

/// To which older database an `undo` goes once a database was made where none was: it sets nothing aside itself.
pub async fn older(session: &Session, job: &Job<'_>) -> Outcome<Option<String>> {
    let ours = swap::previous_databases(session, &job.database.name).await?;
    let kept = ours.into_iter().filter(|previous| previous.whole);
    let mut kept = kept.take(job.restore.keep_previous);
    Ok(kept.next().map(|previous| shown(&previous.name)))
}

/// Ends a while after a signal came, and never without one.
pub async fn hurry(job: &Job<'_>) {
    job.run.stop.cancelled().await;
    tokio::time::sleep(HURRY).await;
}
