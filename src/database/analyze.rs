//! The planner's statistics, which a dump doesn't carry: without them a database is live and unusably slow.
//!
//! ANALYZE works on one table at a time. Spread over several sessions it gives the same as one plain `ANALYZE`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::blockers;
use super::connection::{Login, Session, column, connect, connect_with};
use crate::escape::shown;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// No statement takes longer; the stall ends it long before, unless it goes on.
const DEADLINE: Duration = Duration::from_hours(24);
const POLL: Duration = Duration::from_secs(1);
/// Smaller tables go together, so that a thousand of them don't cost a thousand round trips.
const LARGE: i64 = 4 << 20;
const TOGETHER: usize = 40;

/// What a plain ANALYZE takes, largest first: tables and materialized views of all schemas, no foreign tables.
///
/// Up to PostgreSQL 17 a partitioned table brings its partitions along, so they are no items of their own. From 18 on each is
/// one, by ONLY, which still gathers a parent's statistics over its children.
///
/// A parent with a part on another server is left out: its statistics would be asked there, which may be away, is no business of a
/// restore's, and would be another machine's data anyhow. Its parts here are items then.
const TABLES: &str = "
WITH RECURSIVE {apart}
SELECT concat({only}, format('%I.%I', n.nspname, c.relname)) AS name, size
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN c.relkind = 'p' AND {trees}
    THEN (SELECT coalesce(sum(pg_relation_size(relid)), 0) FROM pg_partition_tree(c.oid) WHERE isleaf)
    ELSE pg_relation_size(c.oid) END::int8 AS size) sizes
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT oid FROM apart)
AND NOT (c.relispartition AND {trees}
    AND NOT EXISTS (SELECT FROM pg_inherits JOIN apart ON apart.oid = inhparent WHERE inhrelid = c.oid))
ORDER BY size DESC, c.oid";

/// Parents of a foreign table, and theirs.
const APART: &str = "apart AS (
    SELECT inhparent AS oid FROM pg_inherits JOIN pg_class f ON f.oid = inhrelid WHERE f.relkind = 'f'
    UNION SELECT inhparent FROM pg_inherits JOIN apart ON apart.oid = inhrelid
)";

/// A table with its size in bytes.
type Table = (String, i64);

/// Analyzes the database `name` with up to `jobs` sessions. The names are those of parents that were left out.
///
/// # Errors
/// `failed`: it made no progress for `stall`; else as the server says.
pub async fn analyze(
    login: &Login,
    name: &str,
    jobs: u32,
    stall: Duration,
) -> Outcome<Vec<String>> {
    let outcome = spread(login, name, jobs, stall).await;
    outcome.context(format!("analyze the scratch database `{}`", shown(name)))
}

async fn spread(login: &Login, name: &str, jobs: u32, stall: Duration) -> Outcome<Vec<String>> {
    let watch = connect(login, name).await?;
    let left_out = apart(&watch).await?;
    let options = login.options(false);
    let workers = (0..jobs.max(1)).map(|_| connect_with(login, name, &options));
    let workers = try_join_all(workers).await?;
    let workers: Vec<Session> = workers
        .into_iter()
        .map(|session| session.with_deadline(DEADLINE))
        .collect();
    let pids: Vec<i32> = workers.iter().map(Session::pid).collect();
    tokio::select! {
        outcome = share(&workers) => outcome?,
        stalled = stalled(&watch, &pids, stall) => return Err(stalled),
    }
    for session in workers.into_iter().chain([watch]) {
        session.close().await;
    }
    Ok(left_out)
}

async fn apart(session: &Session) -> Outcome<Vec<String>> {
    let sql = format!(
        "WITH RECURSIVE {APART} SELECT format('%I.%I', nspname, relname) FROM apart JOIN pg_class c ON c.oid = apart.oid
         JOIN pg_namespace n ON n.oid = relnamespace ORDER BY 1"
    );
    let rows = session.query(&sql, &[]).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}

async fn share(workers: &[Session]) -> Outcome<()> {
    let Some(first) = workers.first() else {
        return Ok(());
    };
    let queue = Queue::new(tables(first).await?);
    let work = workers.iter().map(async |worker| {
        while let Some(names) = queue.next() {
            worker.batch(&format!("ANALYZE {names}")).await?;
        }
        Ok(())
    });
    try_join_all(work).await.map(drop)
}

async fn tables(session: &Session) -> Outcome<Vec<Table>> {
    let (only, trees) = if session.version_num() >= 180_000 {
        ("'ONLY '", "false")
    } else {
        ("''", "true")
    };
    let sql = TABLES.replace("{apart}", APART);
    let sql = sql.replace("{only}", only).replace("{trees}", trees);
    let rows = session.query(&sql, &[]).await?;
    rows.iter()
        .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
        .collect()
}

/// What is still to be done, the largest last.
struct Queue(Mutex<Vec<Table>>);

impl Queue {
    fn new(mut tables: Vec<Table>) -> Self {
        tables.reverse();
        Self(Mutex::new(tables))
    }

    /// One large table, or several small ones.
    fn next(&self) -> Option<String> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, largest) = tables.last()?;
        let count = if *largest >= LARGE { 1 } else { TOGETHER };
        let rest = tables.len().saturating_sub(count);
        let taken = tables.split_off(rest);
        let names: Vec<String> = taken.into_iter().rev().map(|(name, _)| name).collect();
        Some(names.join(", "))
    }
}

/// Ends only when none of the backends `pids` has moved for `stall`, or they can't be watched any more.
async fn stalled(watch: &Session, pids: &[i32], stall: Duration) -> Failed {
    // The tables and how far they are in them; between two tables, how many are done.
    let sql = "SELECT concat((SELECT string_agg(concat_ws(' ', pid, relid, phase, sample_blks_scanned, ext_stats_computed,
                                                         child_tables_done), ',' ORDER BY pid)
                              FROM pg_stat_progress_analyze WHERE pid = ANY ($1)),
                             ' ', (SELECT sum(analyze_count) FROM pg_stat_all_tables))";
    let (mut last, mut since) = (String::new(), Instant::now());
    loop {
        let row = match watch.query_one(sql, &[&pids]).await {
            Ok(row) => row,
            Err(failed) => return failed,
        };
        let seen = column::<String>(&row, 0).unwrap_or_default();
        if seen != last {
            (last, since) = (seen, Instant::now());
        } else if since.elapsed() > stall {
            let by = blockers::blockers(watch, "SELECT unnest($1::int4[])", &[&pids]).await;
            let by = by.unwrap_or_default();
            let failed = Failed::new(Verdict::Failed, format!("no progress within {stall:?}{by}"));
            return if by.is_empty() {
                failed
            } else {
                failed.hint(blockers::HINT)
            };
        }
        sleep(POLL.min(stall / 4)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_go_first_and_alone_and_small_ones_together() {
        let mut tables = vec![("big".to_owned(), 9 * LARGE), ("less".to_owned(), LARGE)];
        tables.extend((0..=TOGETHER).map(|i| (format!("t{i}"), 100)));
        let queue = Queue::new(tables);
        assert_eq!(queue.next().as_deref(), Some("big"));
        assert_eq!(queue.next().as_deref(), Some("less"));
        let many = queue.next().expect("small ones");
        assert!(
            many.starts_with("t0, t1, ") && many.ends_with("t39"),
            "{many}"
        );
        assert_eq!(queue.next().as_deref(), Some("t40"));
        assert_eq!(queue.next(), None);
    }
}
