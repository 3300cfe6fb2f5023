//! The swap as a step: hooks around it, the swap itself, then the duties that follow.

use crate::commands::restore::{Held, Restored, login, lost_on_the_way, still_held};
use crate::commands::{Job, hooks, open_duties, prepared, previous};
use crate::database::connection::Session;
use crate::database::scratch::Scratch;
use crate::database::swap::{self, Named, Patience, SwapOrder};
use crate::escape::shown;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// A swap that has happened, while the live database is still held.
pub struct Swapped {
    pub held: Held,
    /// As the hooks were told.
    pub names: hooks::Names,
    /// What is live now.
    pub new: Named,
    /// What was live before.
    pub old: Named,
}

/// Makes the scratch database live: hooks around it, the swap itself, then the duties that follow. What has happened stands in
/// `swapped`, also where a duty is left.
///
/// # Errors
/// `attention` with the duties; anything else: the swap did not happen, or `unclear`.
pub async fn step(restored: Restored, job: &Job<'_>, swapped: &mut Option<Swapped>) -> Outcome<()> {
    let Restored { scratch, held } = restored;
    let held = still_the_same(held, job).await?;
    let names = hooks::Names {
        database: held.target.live.name.clone(),
        scratch: scratch.name.clone(),
    };
    let exchanging = async {
        guarded(&held).await?;
        exchange(&scratch, &held, job).await
    };
    let (order, mut duties) = match hooks::around(&names, job, exchanging).await {
        Ok(((order, differences), after)) => (order, [differences, after].concat()),
        Err(failed) => {
            let failed = prepared::keep(failed, &scratch, &held, job).await;
            held.session.close().await;
            return Err(failed);
        }
    };
    if job.restore.after_checks.is_empty() {
        duties.extend(previous::drop_old(job).await);
    }
    *swapped = Some(Swapped {
        held,
        names,
        new: Named {
            name: order.live.name,
            oid: order.incoming.oid,
        },
        old: Named {
            name: order.previous,
            oid: order.live.oid,
        },
    });
    open_duties(&duties)
}

/// Looks again after the load, and at whether it is still the same database.
async fn still_the_same(held: Held, job: &Job<'_>) -> Outcome<Held> {
    let before = held.target.live.oid;
    let held = still_held(held, job).await.map_err(lost_on_the_way)?;
    if held.target.live.oid == before {
        return Ok(held);
    }
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "`{}` is another database than when the restore began",
            held.target.live.name
        ),
    )
    .hint("somebody has replaced or renamed it meanwhile; find out who, then run again"))
}

/// Without the lock another machine may have begun to restore into the same database. Asked, since a connection's end is
/// noticed only by using it.
async fn guarded(held: &Held) -> Outcome<()> {
    let Held { session, target } = held;
    if answers(session).await {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "the session that kept others from restoring into `{}` was lost",
            target.live.name
        ),
    )
    .hint(
        "look at the server's log: it was restarted, or somebody ended the session; then run again",
    ))
}

async fn answers(session: &Session) -> bool {
    session.query_one("SELECT 1", &[]).await.is_ok()
}

/// The swap, and what differs between the old and the new database though it should not.
async fn exchange(
    scratch: &Scratch,
    held: &Held,
    job: &Job<'_>,
) -> Outcome<(SwapOrder, Vec<String>)> {
    let target = &held.target;
    let order = SwapOrder {
        live: Named {
            name: target.live.name.clone(),
            oid: target.live.oid,
        },
        incoming: Named {
            name: scratch.name.clone(),
            oid: scratch.oid,
        },
        previous: swap::previous_name(&target.live.name, &job.run.id),
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
            shown(&scratch.name),
            shown(&target.live.name)
        ))?;
    if target.live.is_missing() {
        job.run.notes.no_previous();
        let older = previous::older(&held.session, job).await.ok().flatten();
        let undo = older.map_or_else(
            || "so there is no previous one to undo to".to_owned(),
            |older| format!("so none was set aside; `undo` would go back to the older {older}"),
        );
        let live = shown(&target.live.name);
        let made = format!("`{live}` was made: there was none, {undo}");
        job.run.notes.message(made);
        return Ok((order, swapped.differences));
    }
    job.run.notes.previous(&swapped.previous);
    job.run
        .notes
        .message(ended_sessions(swapped.ended_sessions));
    Ok((order, swapped.differences))
}

/// Who had to leave at the swap.
pub fn ended_sessions(count: usize) -> String {
    match count {
        1 => "1 session ended".to_owned(),
        count => format!("{count} sessions ended"),
    }
}
