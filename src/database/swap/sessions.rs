//! Who is connected to the databases of a swap, and how they are made to leave.
//!
//! Autovacuum doesn't count: the server itself ends its workers for a rename. Parallel workers leave with their leader.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Sessions;
use crate::database::connection::{Session, column, quote_identifier};
use crate::escape::shown;
use crate::verdict::{Failed, Outcome, Verdict};

/// Between two looks at who is still there.
const PAUSE: Duration = Duration::from_millis(50);
/// How many sessions a message names.
const NAMED: usize = 10;

/// Why a swap did not happen although nothing is wrong with what would go live: it can be tried again.
#[derive(Debug)]
pub struct InTheWay(String);

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InTheWay {}

/// `failed`, because of others who may be gone later.
pub(super) fn in_the_way(message: String) -> Failed {
    Failed {
        verdict: Verdict::Failed,
        error: anyhow::Error::new(InTheWay(message)),
        hint: None,
    }
}

/// The same for an error that has another cause beneath.
pub(super) fn because_of_others(failed: Failed, message: String) -> Failed {
    Failed {
        error: failed.error.context(InTheWay(message)),
        ..failed
    }
}

/// Whether a swap failed only because others were in its way.
#[must_use]
pub fn is_in_the_way(failed: &Failed) -> bool {
    failed.error.downcast_ref::<InTheWay>().is_some()
}

/// A session that is not this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub pid: i32,
    pub database: String,
    pub user: String,
    pub application: String,
    /// Unknown without the right to see it.
    pub state: Option<String>,
    /// Since when it is in this state, UTC.
    pub since: Option<String>,
    pub superuser: bool,
    /// The configured user may end it.
    pub can_be_ended: bool,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pid {} in `{}` (user `{}`",
            self.pid,
            shown(&self.database),
            shown(&self.user)
        )?;
        if !self.application.is_empty() {
            write!(f, ", application `{}`", shown(&self.application))?;
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(since) = &self.since {
            write!(f, " since {since}")?;
        }
        f.write_str(")")
    }
}

/// The server's own rule: superusers' sessions for superusers only, others' for members of their role or of pg_signal_backend.
macro_rules! others {
    ($select:literal) => {
        concat!(
            "SELECT ", $select, "
FROM pg_stat_activity a JOIN pg_database d ON d.oid = a.datid
    JOIN pg_roles me ON me.rolname = current_user LEFT JOIN pg_roles r ON r.oid = a.usesysid
    CROSS JOIN LATERAL (SELECT me.rolsuper OR NOT coalesce(r.rolsuper, false) AND coalesce(
        pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'), false) AS ended) may
WHERE a.datid = ANY ($1) AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
    AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'parallel worker')"
        )
    };
}

const SEEN: &str = concat!(
    others!(
        "a.pid, d.datname::text, coalesce(a.usename::text, a.usesysid::text), coalesce(a.application_name, ''), a.state,
    to_char(coalesce(a.state_change, a.backend_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
    coalesce(r.rolsuper, false), may.ended"
    ),
    " ORDER BY a.backend_start, a.pid"
);

const END: &str = concat!(
    others!("a.pid, pg_terminate_backend(a.pid)"),
    " AND may.ended AND ($2::text IS NULL OR a.application_name = $2)"
);

/// Everybody who is connected to one of these databases, longest first.
///
/// # Errors
/// As the session.
pub async fn sessions(session: &Session, oids: &[u32]) -> Outcome<Vec<Seen>> {
    let rows = session.query(SEEN, &[&oids]).await?;
    let seen = rows.iter().map(|row| {
        Ok(Seen {
            pid: column(row, 0)?,
            database: column(row, 1)?,
            user: column(row, 2)?,
            application: column(row, 3)?,
            state: column(row, 4)?,
            since: column(row, 5)?,
            superuser: column(row, 6)?,
            can_be_ended: column(row, 7)?,
        })
    });
    seen.collect()
}

/// Lets the swap begin, or says who is in its way: before anything is locked and anybody is ended.
///
/// # Errors
/// `failed`, with the sessions named.
pub async fn clear_the_way(
    session: &Session,
    oids: &[u32],
    policy: Sessions,
    until: Instant,
) -> Outcome<()> {
    match policy {
        Sessions::Terminate => {
            let stubborn: Vec<Seen> = strangers(session, oids).await?;
            judge_rights(session, stubborn).await
        }
        Sessions::Fail => {
            let seen = strangers(session, oids).await?;
            none_left(&seen, "are connected, and `sessions = \"fail\"`")
        }
        Sessions::Wait => wait(session, oids, until).await,
    }
}

/// Everybody who is not of this very run.
async fn strangers(session: &Session, oids: &[u32]) -> Outcome<Vec<Seen>> {
    let own = session
        .query_one("SELECT current_setting('application_name')", &[])
        .await?;
    let own: String = column(&own, 0)?;
    let mut seen = sessions(session, oids).await?;
    seen.retain(|other| other.application != own || !other.can_be_ended);
    Ok(seen)
}

async fn wait(session: &Session, oids: &[u32], until: Instant) -> Outcome<()> {
    loop {
        let seen = strangers(session, oids).await?;
        if seen.is_empty() || Instant::now() >= until {
            return none_left(&seen, "did not leave within `sessions_timeout`");
        }
        sleep(PAUSE.min(until - Instant::now())).await;
    }
}

fn none_left(seen: &[Seen], why: &str) -> Outcome<()> {
    if seen.is_empty() {
        return Ok(());
    }
    Err(in_the_way(format!("{} {why}", named(seen)))
        .hint("end these sessions, or set `sessions = \"terminate\"`"))
}

async fn judge_rights(session: &Session, seen: Vec<Seen>) -> Outcome<()> {
    let stubborn: Vec<Seen> = seen.into_iter().filter(|s| !s.can_be_ended).collect();
    if stubborn.is_empty() {
        return Ok(());
    }
    let row = session.query_one("SELECT current_user::text", &[]).await?;
    let me: String = column(&row, 0)?;
    let hint = if stubborn.iter().any(|s| s.superuser) {
        format!(
            "a superuser's session can only be ended by a superuser: close it, or `ALTER ROLE {} SUPERUSER`",
            shown(&quote_identifier(&me))
        )
    } else {
        format!(
            "`GRANT pg_signal_backend TO {}`",
            shown(&quote_identifier(&me))
        )
    };
    let message = format!("{} may not be ended by `{}`", named(&stubborn), shown(&me));
    Err(in_the_way(message).hint(hint))
}

/// `pid 12 in `erp` (user `web`, idle since …); pid 13 …; and 5 more`.
pub fn named(seen: &[Seen]) -> String {
    let mut names: Vec<String> = seen.iter().take(NAMED).map(ToString::to_string).collect();
    if seen.len() > NAMED {
        names.push(format!("and {} more", seen.len() - NAMED));
    }
    names.join("; ")
}

/// Ends sessions again and again while the rename waits for them with its lock held, so that nobody comes back in between.
/// Never returns by itself: it is to be dropped when the rename has ended.
pub async fn keep_ending(
    session: &Session,
    oids: &[u32],
    policy: Sessions,
    own: &str,
    ended: &mut BTreeSet<i32>,
) -> Failed {
    // Sessions of this run are its own to end, whatever the policy for others.
    let only = (policy != Sessions::Terminate).then_some(own);
    loop {
        match session.query(END, &[&oids, &only]).await {
            Ok(rows) => ended.extend(rows.iter().filter_map(|row| column::<i32>(row, 0).ok())),
            // The rename has its own limit; it then says whom it waited for.
            Err(failed) if session.is_closed() => return failed,
            Err(failed) => tracing::debug!("end sessions: {}", failed.message()),
        }
        sleep(PAUSE).await;
    }
}
