//! The exact number of rows of each table: read to the last one, which also shows that all can be read.
//!
//! A partitioned table's rows are those of its partitions, which are counted one by one: a statement over all of them would lock them
//! all, and their indexes, for which a server may lack the room. A table that others inherit from is counted without them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;

use super::connection::{Login, Session, column, connect};
use crate::escape::shown;
use crate::report::CountedTable;
use crate::verdict::{Failed, Outcome, Verdict};

/// For one table.
const DEADLINE: Duration = Duration::from_hours(6);

/// Each table and what of it is counted: itself, or a partitioned one's parts that are here, NULL for the one itself. What of it
/// lies on another server was not restored and is not asked.
const TABLES: &str = "
WITH RECURSIVE parts AS (
    SELECT c.oid, c.oid AS top FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND NOT relispartition AND relpersistence <> 't' AND (relkind <> 'm' OR relispopulated)
    AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND m.deptype = 'e')
    UNION ALL
    SELECT inhrelid, top FROM parts JOIN pg_class parent ON parent.oid = parts.oid AND parent.relkind = 'p'
    JOIN pg_inherits ON inhparent = parts.oid
)
SELECT n.nspname::text, top.relname::text,
       CASE c.relkind WHEN 'r' THEN format('ONLY %I.%I', m.nspname, c.relname) WHEN 'm' THEN format('%I.%I', m.nspname, c.relname) END
FROM parts JOIN pg_class top ON top.oid = parts.top JOIN pg_namespace n ON n.oid = top.relnamespace
JOIN pg_class c ON c.oid = parts.oid JOIN pg_namespace m ON m.oid = c.relnamespace
ORDER BY c.relpages, c.oid";

/// Counts every table of the database `name` with up to `jobs` sessions; largest first.
///
/// # Errors
/// `failed`: a table can't be read; else as the sessions.
pub async fn count(login: &Login, name: &str, jobs: u32) -> Outcome<Vec<CountedTable>> {
    let sessions = (0..jobs.max(1)).map(|_| connect(login, name));
    let sessions = try_join_all(sessions).await?;
    let sessions: Vec<Session> = sessions
        .into_iter()
        .map(|session| session.with_deadline(DEADLINE))
        .collect();
    for session in &sessions {
        // Refused rather than some of the rows where policies apply to us.
        session.batch("SET row_security = off").await?;
    }
    let Some(first) = sessions.first() else {
        return Ok(Vec::new());
    };
    let left = Mutex::new(tables(first).await?);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = sessions.iter().map(async |session| {
        let mut counted = Vec::new();
        while let Some(part) = next() {
            counted.push(one(session, part).await?);
        }
        Outcome::Ok(counted)
    });
    let counted = try_join_all(work).await?.into_iter().flatten();
    let counted = whole(counted);
    for session in sessions {
        session.close().await;
    }
    Ok(counted)
}

/// The tables of these parts, largest first; one of which a part is unknown is unknown.
fn whole(parts: impl Iterator<Item = CountedTable>) -> Vec<CountedTable> {
    let mut sums: BTreeMap<(String, String), Option<u64>> = BTreeMap::new();
    for CountedTable { schema, name, rows } in parts {
        let sum = sums.entry((schema, name)).or_insert(Some(0));
        *sum = sum.zip(rows).map(|(sum, rows)| sum + rows);
    }
    let named = |((schema, name), rows)| CountedTable { schema, name, rows };
    let mut tables: Vec<CountedTable> = sums.into_iter().map(named).collect();
    // In the order of their names where they have as many.
    tables.sort_by_key(|table| Reverse(table.rows));
    tables
}

struct Part {
    schema: String,
    name: String,
    /// None: it has no rows of its own.
    quoted: Option<String>,
}

/// The largest last.
async fn tables(session: &Session) -> Outcome<Vec<Part>> {
    let rows = session.query(TABLES, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Part {
                schema: column(row, 0)?,
                name: column(row, 1)?,
                quoted: column(row, 2)?,
            })
        })
        .collect()
}

async fn one(session: &Session, part: Part) -> Outcome<CountedTable> {
    let Part {
        schema,
        name,
        quoted,
    } = part;
    let (schema, name) = (shown(&schema), shown(&name));
    let Some(quoted) = quoted else {
        let rows = Some(0);
        return Ok(CountedTable { schema, name, rows });
    };
    let sql = format!("SELECT count(*) FROM {quoted}");
    let rows = match session.query_one(&sql, &[]).await {
        Ok(row) => u64::try_from(column::<i64>(&row, 0)?).ok(),
        // Whoever restores need not be allowed to read.
        Err(failed) if failed.message().contains("(SQLSTATE 42501)") => None,
        Err(failed) => {
            let what = format!("count `{schema}.{name}`");
            return Err(unread(failed, session).context(what));
        }
    };
    Ok(CountedTable { schema, name, rows })
}

/// What the server says of rows that it has just loaded is about the data, unless it is gone.
fn unread(failed: Failed, session: &Session) -> Failed {
    if session.is_closed() || failed.verdict == Verdict::Network {
        return failed;
    }
    Failed {
        verdict: Verdict::Failed,
        ..failed
    }
}
