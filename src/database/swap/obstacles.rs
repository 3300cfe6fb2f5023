//! What ties a database to its OID so that a swap would tear it off: replication slots, subscriptions, prepared transactions.

use crate::database::connection::{Session, column, quote_identifier, quote_literal};
use crate::escape::shown;
use crate::verdict::{Failed, Outcome, Verdict};

use super::Named;
use super::properties::Properties;

const SLOTS: &str =
    "SELECT slot_name::text FROM pg_replication_slots WHERE database = $1 ORDER BY 1";
const SUBSCRIPTIONS: &str =
    "SELECT s.subname::text FROM pg_subscription s WHERE s.subdbid = $1 ORDER BY 1";
const PREPARED: &str = "SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY prepared";

/// Refuses what a swap can't carry over; for the preflight too.
///
/// # Errors
/// `config` for slots and subscriptions in the live database, `failed` for prepared transactions; all are named.
pub async fn obstacles(session: &Session, live: &Named) -> Outcome<()> {
    let name = shown(&live.name);
    if let Some(found) = listed(session, SLOTS, live.name.as_str()).await? {
        let example = quote_literal(&found[0]);
        return Err(Failed::new(
            Verdict::Config,
            format!("`{name}` has logical replication slots, which would stay with the old database: {}", joined(&found)),
        )
        .hint(format!("drop them (`select pg_drop_replication_slot({})`) and make them anew after the swap", shown(&example))));
    }
    if let Some(found) = listed(session, SUBSCRIPTIONS, live.oid).await? {
        let example = quote_identifier(&found[0]);
        return Err(Failed::new(
            Verdict::Config,
            format!(
                "`{name}` has subscriptions, which would stay with the old database: {}",
                joined(&found)
            ),
        )
        .hint(format!(
            "drop them in `{name}` (`drop subscription {}`), or restore into another database",
            shown(&example)
        )));
    }
    prepared_transactions(session, &live.name).await
}

/// Refuses a database with prepared transactions: they hold it like a session, and nobody but their owner can end them.
///
/// # Errors
/// `failed`, with the transactions named.
pub async fn prepared_transactions(session: &Session, database: &str) -> Outcome<()> {
    let Some(found) = listed(session, PREPARED, database).await? else {
        return Ok(());
    };
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "`{}` has prepared transactions: {}",
            shown(database),
            joined(&found)
        ),
    )
    .hint(format!(
        "in `{}`, as their owner: `COMMIT PREPARED {literal}` or `ROLLBACK PREPARED {literal}`",
        shown(database),
        literal = shown(&quote_literal(&found[0]))
    )))
}

/// Refuses a database whose DROP was interrupted: the server lets nobody in or alter it.
///
/// # Errors
/// `config`.
pub fn whole(properties: &Properties) -> Outcome<()> {
    if properties.connection_limit != -2 {
        return Ok(());
    }
    let name = &properties.name;
    Err(Failed::new(
        Verdict::Config,
        format!(
            "`{}` is what an interrupted DROP DATABASE has left",
            shown(name)
        ),
    )
    .hint(format!(
        "finish it: `DROP DATABASE {}`",
        shown(&quote_identifier(name))
    )))
}

async fn listed(
    session: &Session,
    sql: &str,
    database: impl tokio_postgres::types::ToSql + Sync,
) -> Outcome<Option<Vec<String>>> {
    let rows = session.query(sql, &[&database]).await?;
    let names: Outcome<Vec<String>> = rows.iter().map(|row| column(row, 0)).collect();
    Ok(Some(names?).filter(|names| !names.is_empty()))
}

fn joined(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    shown.join(", ")
}
