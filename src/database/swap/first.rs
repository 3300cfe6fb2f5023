//! The first restore into a name that no database has: there is nothing to exchange, only a name to give.
//!
//! Until then there is no database of that name, and after it the whole one: never an empty or a half one.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep};

use crate::database::connection::{Login, Session, column, quote_identifier};
use crate::escape::shown;
use crate::run::Run;
use crate::verdict::{Failed, Outcome, Verdict};

use super::confirm::{self, Backend, Happened};
use super::obstacles::prepared_transactions;
use super::sessions::{clear_the_way, keep_ending};
use super::transaction::{BEGIN, STATEMENT_DEADLINE, Stopped, blame, stopped};
use super::{PAUSE, SwapOrder, Swapped, unchanged};

/// Gives the incoming database the live name, with the privileges that every new database has.
pub(super) async fn name(login: &Login, order: &SwapOrder, run: &Run) -> Outcome<Swapped> {
    let session = login.maintenance().await?.with_deadline(STATEMENT_DEADLINE);
    let backend = Backend::of(&session).await?;
    let ending = login.maintenance().await?.with_deadline(STATEMENT_DEADLINE);
    let mut ended = BTreeSet::new();
    let renamed = until_renamed((&session, &ending), order, run, &mut ended).await;
    session.close().await;
    ending.close().await;
    // Whatever the connection said, the catalog knows.
    let mut happened = confirm::settle(login, order, &backend).await?;
    if happened == Happened::Unknown
        && still_waits(login, order)
            .await
            .map_err(|failed| confirm::unclear(order, &failed))?
    {
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
                ended_sessions: ended.len(),
                differences: Vec::new(),
            })
        }
        (Happened::No, Err(failed)) if matches!(failed.verdict, Verdict::Interrupted(_)) => {
            Err(failed)
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

/// As long as others are in the way and there is patience with them. Between two attempts nothing is locked, and a signal ends it.
async fn until_renamed(
    (session, ending): (&Session, &Session),
    order: &SwapOrder,
    run: &Run,
    ended: &mut BTreeSet<i32>,
) -> Outcome<()> {
    let until = Instant::now() + order.patience.timeout;
    loop {
        tokio::select! {
            biased;
            clear = clear(ending, order, until) => clear?,
            () = run.stop.cancelled() => return Err(Failed::interrupted()),
        }
        let own = run.id.application_name();
        let policy = order.patience.sessions;
        let oids = order.oids();
        let renamed = tokio::select! {
            renamed = rename(session, order) => renamed,
            lost = keep_ending(ending, &oids, policy, &own, ended) => Err(lost.context("end others' sessions")),
        };
        let busy = match renamed.map_err(stopped) {
            Ok(()) => return Ok(()),
            Err(Stopped::Broken(failed)) => return Err(failed),
            Err(Stopped::Busy(failed)) => failed,
        };
        if Instant::now() >= until {
            return Err(blame(ending, order, busy).await);
        }
        tracing::info!("swap: trying again: {}", busy.message());
        session.batch("ROLLBACK").await?;
        sleep(PAUSE).await;
    }
}

async fn clear(session: &Session, order: &SwapOrder, until: Instant) -> Outcome<()> {
    prepared_transactions(session, &order.incoming.name).await?;
    clear_the_way(session, &order.oids(), order.patience.sessions, until).await
}

/// It belongs to whoever restores, also where `owner` had it made for another role.
async fn rename(session: &Session, order: &SwapOrder) -> Outcome<()> {
    let (incoming, live) = (
        quote_identifier(&order.incoming.name),
        quote_identifier(&order.live.name),
    );
    session
        .batch(&format!(
            "{BEGIN}
             GRANT CONNECT, TEMPORARY ON DATABASE {incoming} TO PUBLIC;
             COMMENT ON DATABASE {incoming} IS NULL;
             ALTER DATABASE {incoming} OWNER TO CURRENT_USER;
             ALTER DATABASE {incoming} RENAME TO {live};
             COMMIT"
        ))
        .await
}
