//! The first restore into a name that no database has: there is nothing to exchange, only a name to give.
//!
//! Until then there is no database of that name, and after it the whole one: never an empty or a half one.

use tokio::time::Instant;

use crate::database::connection::{Login, Session, column, quote_identifier};
use crate::escape::shown;
use crate::run::Run;
use crate::verdict::{Failed, Outcome, Verdict};

use super::confirm::{self, Backend, Happened};
use super::obstacles::prepared_transactions;
use super::sessions::clear_the_way;
use super::transaction::{BEGIN, STATEMENT_DEADLINE};
use super::{SwapOrder, Swapped, unchanged};

/// Gives the incoming database the live name, with the privileges that every new database has.
pub(super) async fn name(login: &Login, order: &SwapOrder, run: &Run) -> Outcome<Swapped> {
    let session = login.maintenance().await?.with_deadline(STATEMENT_DEADLINE);
    let backend = Backend::of(&session).await?;
    let renamed = rename(&session, order).await;
    session.close().await;
    // Whatever the connection said, the catalog knows.
    let mut happened = confirm::settle(login, order, &backend).await?;
    if happened == Happened::Unknown && still_waits(login, order).await? {
        // Somebody else has made a database of that name meanwhile.
        happened = Happened::No;
    }
    match (happened, renamed) {
        (Happened::Yes, renamed) => {
            if let Err(failed) = renamed {
                run.notes.warn(format!(
                    "`{}` was made, as the catalog proves, although the connection ended with: {}",
                    shown(&order.live.name),
                    failed.message()
                ));
            }
            Ok(Swapped {
                previous: String::new(),
                ended_sessions: 0,
                differences: Vec::new(),
            })
        }
        (Happened::No, Err(failed)) => Err(unchanged(failed)
            .hint("nothing was made under that name; look who else makes it, then run again")),
        (_, renamed) => {
            let none =
                "the server has confirmed the new name, but its catalog shows another database";
            let cause = renamed.err();
            let cause = cause.unwrap_or_else(|| Failed::new(Verdict::Unclear, none));
            Err(confirm::unclear(order, &cause))
        }
    }
}

/// Whether the incoming database still has the name that it had.
async fn still_waits(login: &Login, order: &SwapOrder) -> Outcome<bool> {
    let session = login.maintenance().await?;
    let sql = "SELECT datname::text FROM pg_database WHERE oid = $1";
    let row = session.query_opt(sql, &[&order.incoming.oid]).await?;
    let name: Option<String> = row.as_ref().map(|row| column(row, 0)).transpose()?;
    session.close().await;
    Ok(name.as_ref() == Some(&order.incoming.name))
}

async fn rename(session: &Session, order: &SwapOrder) -> Outcome<()> {
    let until = Instant::now() + order.patience.timeout;
    let oids = [order.incoming.oid];
    prepared_transactions(session, &order.incoming.name).await?;
    clear_the_way(session, &oids, order.patience.sessions, until).await?;
    let (incoming, live) = (
        quote_identifier(&order.incoming.name),
        quote_identifier(&order.live.name),
    );
    session
        .batch(&format!(
            "{BEGIN}
             GRANT CONNECT, TEMPORARY ON DATABASE {incoming} TO PUBLIC;
             COMMENT ON DATABASE {incoming} IS NULL;
             ALTER DATABASE {incoming} RENAME TO {live};
             COMMIT"
        ))
        .await
}
