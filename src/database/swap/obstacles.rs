//! What ties a database to its OID so that a swap would tear it off: replication slots, subscriptions, prepared transactions.

use crate::database::connection::{Session, column, quote_identifier, quote_literal};
use crate::escape::shown;
use crate::verdict::{Failed, Outcome, Verdict};

use super::Named;
use super::properties::Properties;
use super::sessions::in_the_way;

// A temporary slot goes away with its session.
const SLOTS: &str = "SELECT slot_name::text FROM pg_replication_slots WHERE database = $1 AND NOT temporary ORDER BY 1";
const SUBSCRIPTIONS: &str =
    "SELECT s.subname::text FROM pg_subscription s WHERE s.subdbid = $1 ORDER BY 1";
const PREPARED: &str = "SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY prepared";

/// What would stay with the old database, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attached {
    pub slots: Vec<String>,
    pub subscriptions: Vec<String>,
}

/// The logical replication slots and the subscriptions of a database.
///
/// # Errors
/// As the session.
pub async fn attached(session: &Session, live: &Named) -> Outcome<Attached> {
    Ok(Attached {
        slots: listed(session, SLOTS, live.name.as_str()).await?,
        subscriptions: listed(session, SUBSCRIPTIONS, live.oid).await?,
    })
}

/// Refuses what a swap can't carry over.
///
/// # Errors
/// `config` for slots and subscriptions in the live database, `failed` for prepared transactions; all are named.
pub async fn obstacles(session: &Session, live: &Named) -> Outcome<()> {
    let name = shown(&live.name);
    let Attached {
        slots,
        subscriptions,
    } = attached(session, live).await?;
    if let Some(example) = slots.first().map(|slot| quote_literal(slot)) {
        return Err(Failed::new(
            Verdict::Config,
            format!("`{name}` has logical replication slots, which would stay with the old database: {}", joined(&slots)),
        )
        .hint(format!("drop them (`select pg_drop_replication_slot({})`) and make them anew after the swap", shown(&example))));
    }
    if let Some(example) = subscriptions.first().map(|name| quote_identifier(name)) {
        return Err(Failed::new(
            Verdict::Config,
            format!(
                "`{name}` has subscriptions, which would stay with the old database: {}",
                joined(&subscriptions)
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
    let found = listed(session, PREPARED, database).await?;
    let Some(first) = found.first() else {
        return Ok(());
    };
    Err(in_the_way(format!(
        "`{}` has prepared transactions: {}",
        shown(database),
        joined(&found)
    ))
    .hint(format!(
        "in `{}`, as their owner: `COMMIT PREPARED {literal}` or `ROLLBACK PREPARED {literal}`",
        shown(database),
        literal = shown(&quote_literal(first))
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
) -> Outcome<Vec<String>> {
    let rows = session.query(sql, &[&database]).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}

fn joined(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    shown.join(", ")
}
