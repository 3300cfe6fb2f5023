//! The exact number of rows of each table: read to the last one, which also shows that all can be read.
//!
//! A partitioned table is counted with its partitions, and these not by themselves; a table that others inherit from without them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;

use super::connection::{Login, Session, column, connect};
use crate::escape::shown;
use crate::report::CountedTable;
use crate::verdict::{Failed, Outcome, Verdict};

/// For one table.
const DEADLINE: Duration = Duration::from_hours(6);

const TABLES: &str = "
SELECT nspname::text, relname::text, format('%s%I.%I', CASE relkind WHEN 'r' THEN 'ONLY ' END, nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm') AND NOT relispartition AND relpersistence <> 't' AND (relkind <> 'm' OR relispopulated)
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND m.deptype = 'e')
ORDER BY relpages, c.oid";

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
    let Some(first) = sessions.first() else {
        return Ok(Vec::new());
    };
    let left = Mutex::new(tables(first).await?);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = sessions.iter().map(async |session| {
        let mut counted = Vec::new();
        while let Some(table) = next() {
            counted.push(one(session, table).await?);
        }
        Outcome::Ok(counted)
    });
    let mut counted: Vec<CountedTable> = try_join_all(work).await?.into_iter().flatten().collect();
    counted.sort_by(|a, b| {
        let names = |table: &CountedTable| (table.schema.clone(), table.name.clone());
        b.rows.cmp(&a.rows).then_with(|| names(a).cmp(&names(b)))
    });
    for session in sessions {
        session.close().await;
    }
    Ok(counted)
}

struct Table {
    schema: String,
    name: String,
    quoted: String,
}

/// The largest last.
async fn tables(session: &Session) -> Outcome<Vec<Table>> {
    let rows = session.query(TABLES, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Table {
                schema: column(row, 0)?,
                name: column(row, 1)?,
                quoted: column(row, 2)?,
            })
        })
        .collect()
}

async fn one(session: &Session, table: Table) -> Outcome<CountedTable> {
    let Table {
        schema,
        name,
        quoted,
    } = table;
    let (schema, name) = (shown(&schema), shown(&name));
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
