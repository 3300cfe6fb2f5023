//! Who keeps our sessions waiting: the process, whose it is, and its last statement.

use super::connection::{Session, column};
use crate::escape::said;
use crate::verdict::Outcome;

/// What to do where there is one.
pub const HINT: &str =
    "end the blocking session (`select pg_terminate_backend(PID)`), and run again";

/// Longest list in a message.
const NAMED: usize = 3;

/// Those in the way of the backends that `ours` selects, an SQL query of process ids with these parameters: each as `; process 12
/// waits for process 34 (…)`, together empty where nobody is.
///
/// # Errors
/// As the session.
pub async fn blockers(
    session: &Session,
    ours: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Outcome<String> {
    let sql = format!(
        "SELECT ours.pid, blocker, other.usename::text, other.application_name, left(other.query, 200) \
         FROM (SELECT pid, unnest(pg_blocking_pids(pid)) AS blocker FROM ({ours}) AS pids (pid)) ours \
         LEFT JOIN pg_stat_activity other ON other.pid = blocker LIMIT {NAMED}"
    );
    let rows = session.query(&sql, parameters).await?;
    rows.iter()
        .map(|row| Ok(format!("; {}", blocker(row)?)))
        .collect()
}

fn blocker(row: &tokio_postgres::Row) -> Outcome<String> {
    let (ours, pid): (i32, i32) = (column(row, 0)?, column(row, 1)?);
    if pid == 0 {
        return Ok(format!("process {ours} waits for a prepared transaction"));
    }
    let text = |index| column::<Option<String>>(row, index).map(Option::unwrap_or_default);
    Ok(format!(
        "process {ours} waits for process {pid} (user `{}`, application `{}`), whose last statement is `{}`",
        said(&text(2)?),
        said(&text(3)?),
        said(&text(4)?)
    ))
}
