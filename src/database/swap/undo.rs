//! Back to the previous database, by the same swap: what is live now is set aside in turn, so that an undo can be undone.

use crate::database::connection::{Login, Session, column, quote_identifier};
use crate::escape::shown;
use crate::run::{Run, RunId};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

use super::previous::{Previous, Renamed, previous_databases, previous_name, renamed};
use super::properties::properties;
use super::rights::missing_rights;
use super::sessions::{Seen, sessions};
use super::{Named, Patience, SwapOrder, swap};

/// What an undo would do.
#[derive(Debug, Clone)]
pub struct UndoPlan {
    pub live: Named,
    /// What would become live again.
    pub previous: Previous,
    /// The name that the now live database would get.
    pub set_aside: String,
    /// Unknown without the right to look.
    pub live_bytes: Option<i64>,
    pub previous_bytes: Option<i64>,
    /// Who is connected now.
    pub sessions: Vec<Seen>,
    /// Rights that the configured user lacks for it, each with its remedy.
    pub missing_rights: Vec<String>,
}

/// An undo that the catalog has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The name that the restored database had.
    pub restored: String,
    pub set_aside: String,
    pub ended_sessions: usize,
    /// As [`super::Swapped::differences`].
    pub differences: Vec<String>,
}

/// Plans to go back to the newest previous database.
///
/// # Errors
/// `failed` where there is none, or no live database; what there is instead is named.
pub async fn plan_undo(session: &Session, live: &str, run: &RunId) -> Outcome<UndoPlan> {
    let all = previous_databases(session, live).await?;
    let renamed = renamed(session, live).await?;
    let newest = newest(&all, &renamed, live)?;
    let live = named(session, live)
        .await?
        .ok_or_else(|| absent(live, &newest))?;
    let now = properties(session, live.oid).await?;
    Ok(UndoPlan {
        set_aside: previous_name(&live.name, run),
        live_bytes: size(session, live.oid).await?,
        previous_bytes: size(session, newest.oid).await?,
        sessions: sessions(session, &[live.oid, newest.oid]).await?,
        missing_rights: missing_rights(session, &now).await?,
        previous: newest,
        live,
    })
}

/// Carries a plan out.
///
/// # Errors
/// As [`swap`].
pub async fn undo(
    login: &Login,
    plan: &UndoPlan,
    patience: Patience,
    run: &Run,
) -> Outcome<Undone> {
    let order = SwapOrder {
        live: plan.live.clone(),
        incoming: Named {
            name: plan.previous.name.clone(),
            oid: plan.previous.oid,
        },
        previous: plan.set_aside.clone(),
        patience,
    };
    let swapped = swap(login, &order, run).await.context("undo")?;
    Ok(Undone {
        restored: plan.previous.name.clone(),
        set_aside: swapped.previous,
        ended_sessions: swapped.ended_sessions,
        differences: swapped.differences,
    })
}

/// The newest that is whole; an interrupted DROP leaves one that nobody can connect to.
fn newest(all: &[Previous], renamed: &[Renamed], live: &str) -> Outcome<Previous> {
    if let Some(newest) = all.iter().find(|previous| previous.whole) {
        return Ok(newest.clone());
    }
    let failed = Failed::new(
        Verdict::Failed,
        format!("there is no previous database of `{}`", shown(live)),
    );
    Err(match all.first() {
        Some(remains) => failed.hint(format!(
            "`{}` is only what an interrupted DROP has left; restore an older archive with `run --archive NAME`",
            shown(&remains.name)
        )),
        None if !renamed.is_empty() => failed.hint(renamed_back(renamed)),
        None => failed.hint(
            "it was dropped, or nothing was swapped yet; restore an older archive with `run --archive NAME`, and see `keep_previous`",
        ),
    })
}

/// Somebody's by now, so it is only named.
fn renamed_back(renamed: &[Renamed]) -> String {
    let statements: Vec<String> = renamed
        .iter()
        .map(|Renamed { name, was }| {
            format!(
                "ALTER DATABASE {} RENAME TO {};",
                shown(&quote_identifier(name)),
                shown(&quote_identifier(was))
            )
        })
        .collect();
    format!(
        "somebody has renamed one; give it its name back and try again: {}",
        statements.join(" ")
    )
}

fn absent(live: &str, newest: &Previous) -> Failed {
    Failed::new(
        Verdict::Failed,
        format!("there is no database `{}` to be replaced", shown(live)),
    )
    .hint(format!(
        "its previous one is there: `ALTER DATABASE {} RENAME TO {}`",
        shown(&quote_identifier(&newest.name)),
        shown(&quote_identifier(live))
    ))
}

/// The database that has this name now.
async fn named(session: &Session, name: &str) -> Outcome<Option<Named>> {
    let sql = "SELECT oid FROM pg_database WHERE datname::text = $1";
    let row = session.query_opt(sql, &[&name]).await?;
    row.map(|row| {
        Ok(Named {
            name: name.to_owned(),
            oid: column(&row, 0)?,
        })
    })
    .transpose()
}

/// Asked only where it may be: the size of a database needs CONNECT on it or pg_read_all_stats.
async fn size(session: &Session, oid: u32) -> Outcome<Option<i64>> {
    let sql = "SELECT CASE WHEN has_database_privilege($1::oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
        THEN pg_database_size($1::oid) END";
    column(&session.query_one(sql, &[&oid]).await?, 0)
}
