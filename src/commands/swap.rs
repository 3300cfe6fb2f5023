//! The swap as a step: hooks around it, the swap itself, then the duties that follow.

use super::restore::{Held, Restored, login, lost_on_the_way, still_held};
use super::{Job, hooks};
use crate::database::preflight::Target;
use crate::database::scratch::{self, Scratch};
use crate::database::swap::{self, Named, Patience, SwapOrder};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// Makes the scratch database live: hooks around it, the swap itself, then the duties that follow.
pub async fn step(restored: Restored, job: &Job<'_>) -> Outcome<()> {
    let Restored { scratch, held } = restored;
    let before = held.target.live.oid;
    let Held { session, target } = still_held(held, job).await.map_err(lost_on_the_way)?;
    if target.live.oid != before {
        return Err(Failed::new(
            Verdict::Failed,
            format!(
                "`{}` is another database than when the restore began",
                target.live.name
            ),
        )
        .hint("somebody has replaced or renamed it meanwhile; find out who, then run again"));
    }
    let names = hooks::Names {
        database: target.live.name.clone(),
        scratch: scratch.name.clone(),
    };
    let exchanging = async {
        if session.is_closed() {
            return Err(unguarded(&target.live.name));
        }
        exchange(&scratch, &target, job)
            .await
            .map_err(lost_on_the_way)
    };
    let swapped = hooks::around(&names, job, exchanging).await;
    session.close().await;
    let (mut duties, after) = swapped?;
    duties.extend(after);
    duties.extend(super::previous::drop_old(job).await);
    super::open_duties(&duties)
}

/// Without the lock another machine may have begun to restore into the same database.
fn unguarded(live: &str) -> Failed {
    Failed::new(
        Verdict::Failed,
        format!("the session that kept others from restoring into `{live}` was lost"),
    )
    .hint(
        "look at the server's log: it was restarted, or somebody ended the session; then run again",
    )
}

/// The swap. Returns what differs between the old and the new database though it should not.
async fn exchange(scratch: &Scratch, target: &Target, job: &Job<'_>) -> Outcome<Vec<String>> {
    let previous = scratch::previous_name(&target.live.name, &job.run.id);
    let order = SwapOrder {
        live: Named {
            name: target.live.name.clone(),
            oid: target.live.oid,
        },
        incoming: Named {
            name: scratch.name.clone(),
            oid: scratch.oid,
        },
        previous: previous.clone(),
        patience: Patience {
            sessions: job.restore.sessions,
            timeout: job.restore.sessions_timeout,
        },
    };
    let swapped = swap::swap(&login(job), &order, &job.run)
        .await
        .map_err(lost_on_the_way)
        .context(format!(
            "make `{}` live as `{}`",
            scratch.name, target.live.name
        ))?;
    if target.live.is_missing() {
        job.run.notes.no_previous();
        job.run.notes.message(format!(
            "`{}` was made: there was none, so there is no previous one to undo to",
            target.live.name
        ));
        return Ok(swapped.differences);
    }
    job.run.notes.previous(&swapped.previous);
    job.run
        .notes
        .message(ended_sessions(swapped.ended_sessions));
    Ok(swapped.differences)
}

/// Who had to leave at the swap.
pub fn ended_sessions(count: usize) -> String {
    match count {
        1 => "1 session ended".to_owned(),
        count => format!("{count} sessions ended"),
    }
}
