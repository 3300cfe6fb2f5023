//! Previous databases after a swap: so many are kept for `undo`, older ones of ours are dropped.

use std::time::Duration;

use super::Job;
use super::restore::login;
use crate::database::swap;
use crate::verdict::Failed;

/// After a signal, for what would otherwise be left to the next run.
const HURRY: Duration = Duration::from_secs(3);

/// Drops what is beyond `keep_previous`. What could not be dropped is a duty for the operator, not a failure.
///
/// Dropping a large database can take minutes, for which nobody who sends a signal waits long: the next run drops what is left.
pub async fn drop_old(job: &Job<'_>) -> Vec<String> {
    let keep = job.restore.keep_previous;
    let login = login(job);
    let dropping = swap::drop_old_previous(&login, &job.database.name, keep, &job.run);
    let dropped = tokio::select! {
        biased;
        dropped = dropping => dropped,
        () = hurry(job) => Err(Failed::interrupted()),
    };
    match dropped {
        Ok(pruned) => {
            if keep == 0 && pruned.failed.is_empty() {
                job.run.notes.no_previous();
            }
            pruned
                .failed
                .into_iter()
                .map(|(name, why)| format!("{name} could not be dropped: {why}"))
                .collect()
        }
        Err(failed) => vec![format!(
            "older previous databases could not be dropped: {}",
            failed.message()
        )],
    }
}

/// Ends a while after a signal came, and never without one.
async fn hurry(job: &Job<'_>) {
    job.run.stop.cancelled().await;
    tokio::time::sleep(HURRY).await;
}
