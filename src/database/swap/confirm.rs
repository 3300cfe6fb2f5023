//! What the catalog says about a swap: the only source for "it happened", whatever a connection's end looked like.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::database::connection::{Login, Session, column, quote_literal};
use crate::escape::shown;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

use super::SwapOrder;

/// How many times the time for one connection a server may take to come back, before the outcome is called unclear.
const PATIENCE: u32 = 6;
const PAUSE: Duration = Duration::from_millis(250);

/// Whether a swap happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    Yes,
    No,
    /// Neither database has the live name: somebody else has renamed or dropped since.
    Unknown,
}

/// The backend that ran the swap; its process id alone might be somebody else's by now.
#[derive(Debug, Clone)]
pub struct Backend {
    pid: i32,
    /// Microseconds since 1970.
    started: i64,
}

const STARTED: &str = "
SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_activity WHERE pid = $1";

impl Backend {
    /// The backend of this session.
    ///
    /// # Errors
    /// As the session.
    pub async fn of(session: &Session) -> Outcome<Self> {
        let row = session.query_one(STARTED, &[&session.pid()]).await?;
        Ok(Self {
            pid: session.pid(),
            started: column(&row, 0)?,
        })
    }
}

/// Asks by OID whether the swap of these two happened. Meaningful only when its backend is gone: until then it may still commit.
///
/// # Errors
/// As the session.
pub async fn was_swapped(
    session: &Session,
    live_oid: u32,
    scratch_oid: u32,
    live_name: &str,
) -> Outcome<Happened> {
    let row = session
        .query_opt(
            "SELECT oid FROM pg_database WHERE datname::text = $1",
            &[&live_name],
        )
        .await?;
    let holder: Option<u32> = row.as_ref().map(|row| column(row, 0)).transpose()?;
    Ok(match holder {
        Some(oid) if oid == scratch_oid => Happened::Yes,
        Some(oid) if oid == live_oid => Happened::No,
        None if live_oid == 0 => Happened::No,
        _ => Happened::Unknown,
    })
}

/// Asks until the server answers, on new connections, after the backend that ran the swap is gone.
///
/// # Errors
/// `unclear`, with the SQL to look by hand.
pub async fn settle(login: &Login, order: &SwapOrder, backend: &Backend) -> Outcome<Happened> {
    let until = Instant::now() + login.timeout * PATIENCE;
    loop {
        let last = match ask(login, order, backend).await {
            Ok(Some(happened)) => return Ok(happened),
            Ok(None) => Failed::new(
                Verdict::Failed,
                format!(
                    "the backend {} that ran the swap is still there",
                    backend.pid
                ),
            ),
            Err(failed) => failed,
        };
        if Instant::now() >= until {
            return Err(unclear(order, &last));
        }
        sleep(PAUSE).await;
    }
}

/// None: the swap's backend is still there, so that the answer could still change.
async fn ask(login: &Login, order: &SwapOrder, backend: &Backend) -> Outcome<Option<Happened>> {
    let session = login.maintenance().await?;
    let row = session.query_one("SELECT pg_is_in_recovery()", &[]).await?;
    if column(&row, 0)? {
        // A standby may lag behind what the primary has committed.
        return Err(Failed::new(Verdict::Network, "the server is a hot standby"));
    }
    if still_there(&session, backend).await? {
        session
            .query("SELECT pg_terminate_backend($1)", &[&backend.pid])
            .await
            .context("end the backend that ran the swap")?;
        return Ok(None);
    }
    let happened = was_swapped(
        &session,
        order.live.oid,
        order.incoming.oid,
        &order.live.name,
    )
    .await?;
    session.close().await;
    Ok(Some(happened))
}

async fn still_there(session: &Session, backend: &Backend) -> Outcome<bool> {
    let row = session.query_opt(STARTED, &[&backend.pid]).await?;
    let started: Option<i64> = row.as_ref().map(|row| column(row, 0)).transpose()?;
    Ok(started == Some(backend.started))
}

/// The live database may be either: says how to find out by hand.
pub fn unclear(order: &SwapOrder, cause: &Failed) -> Failed {
    let live = &order.live;
    let old = match live.oid {
        0 => "no row is the state before".to_owned(),
        oid => format!("{oid} is the old database"),
    };
    Failed::new(
        Verdict::Unclear,
        format!(
            "whether the swap of `{}` happened could not be found out: {}",
            shown(&live.name),
            cause.message()
        ),
    )
    .hint(format!(
        "look now, in the maintenance database: `SELECT oid FROM pg_database WHERE datname = {}`: {old}, {} the new one",
        shown(&quote_literal(&live.name)),
        order.incoming.oid
    ))
}
