//! Whether a statement of an operator's file still makes progress: its own text may have switched every timeout off.
//!
//! A statement that computes or reads without a visible change is given six times as long as one that waits for somebody.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::database::blockers;
use crate::database::connection::{Session, column};
use crate::verdict::{Failed, Outcome, Verdict};

const LENIENCE: u32 = 6;
const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What one look at the backend has shown.
#[derive(Debug, Default)]
struct Look {
    /// Differs where anything has moved.
    fingerprint: String,
    at_work: bool,
}

/// Ends only when the backend `pid` has not moved for `stall`, or can't be watched any more.
pub async fn stalled(watch: &Session, pid: i32, stall: Duration) -> Failed {
    let (mut changed, mut alive) = (Instant::now(), Instant::now());
    let mut last = String::new();
    loop {
        let look = match look(watch, pid).await {
            Ok(look) => look,
            Err(failed) => return failed.context("watch a statement of after_load"),
        };
        let now = Instant::now();
        if look.fingerprint != last {
            (changed, alive, last) = (now, now, look.fingerprint);
        } else if look.at_work {
            alive = now;
        }
        if alive.elapsed() > stall || changed.elapsed() > stall * LENIENCE {
            let by = blockers::blockers(watch, "SELECT $1::int4", &[&pid]).await;
            let by = by.unwrap_or_default();
            let seconds = changed.elapsed().as_secs();
            let hint = if by.is_empty() {
                "where the work is only slow, raise `stall` of this job"
            } else {
                blockers::HINT
            };
            return Failed::new(Verdict::Failed, format!("no progress for {seconds}s{by}"))
                .hint(hint);
        }
        sleep(MOST_BETWEEN_LOOKS.min(stall / 4)).await;
    }
}

async fn look(watch: &Session, pid: i32) -> Outcome<Look> {
    let indexes = if watch.version_num() >= 120_000 {
        "(SELECT concat_ws(' ', phase, blocks_done, tuples_done, partitions_done) \
          FROM pg_stat_progress_create_index p WHERE p.pid = a.pid)"
    } else {
        "''"
    };
    let sql = format!(
        "SELECT concat_ws(' ', query_start, pg_database_size(datid), {indexes}), \
                state = 'active' AND coalesce(wait_event_type, 'IO') IN ('IO', 'IPC', 'LWLock') \
         FROM pg_stat_activity a WHERE pid = $1"
    );
    let Some(row) = watch.query_opt(&sql, &[&pid]).await? else {
        // It has ended; what became of it, its own session says.
        return Ok(Look::default());
    };
    Ok(Look {
        fingerprint: column(&row, 0)?,
        at_work: column::<Option<bool>>(&row, 1)?.unwrap_or_default(),
    })
}
