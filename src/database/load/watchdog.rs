//! Whether a load still makes progress, and stays within its room, asked of the server in a session apart: the dump itself
//! switches all timeouts off.
//!
//! Progress is any change of the database's size, of what its sessions are at, of pg_restore's output, and of what goes into the
//! pipe that it reads: a slow network is no stall. A session that computes without a visible change, such as one that checks a
//! foreign key, is given six times as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Load;
use super::input::Flow;
use super::telling::Telling;
use crate::database::blockers;
use crate::database::connection::{Login, Session, column};
use crate::database::space;
use crate::run::Run;
use crate::verdict::{Failed, Outcome, Verdict};

const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(5);
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// For each of the watchdog's own statements.
const DEADLINE: Duration = Duration::from_secs(20);
/// How many times `stall` something may compute, or be out of sight, without any visible change.
const LENIENCE: u32 = 6;

/// Sessions of this run in the target database; $1 is the application name, $2 the database.
const OURS: &str = "application_name = $1 AND datname = $2 AND pid <> pg_backend_pid()";

#[derive(Debug)]
pub struct Watchdog<'a> {
    login: &'a Login,
    target: &'a str,
    stall: Duration,
    most_bytes: Option<u64>,
    telling: Telling<'a>,
}

/// What moves without the server.
#[derive(Debug, Default)]
pub struct Moved {
    /// Lines of pg_restore's output.
    pub lines: AtomicU64,
    /// What goes through the pipe that pg_restore reads.
    pub flow: Option<Arc<Flow>>,
}

impl Moved {
    fn so_far(&self) -> (u64, u64) {
        let fed = self.flow.as_ref().map_or(0, |flow| flow.moved());
        (self.lines.load(Ordering::Relaxed), fed)
    }

    /// Whether pg_restore has nothing more to read, for now.
    fn is_dry(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.is_dry())
    }
}

/// What one look has shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    /// Differs where anything has moved.
    fingerprint: String,
    bytes: i64,
    /// Some session computes or reads and writes, rather than waiting for somebody.
    at_work: bool,
}

impl<'a> Watchdog<'a> {
    pub fn new(plan: &Load<'a>, run: &'a Run) -> Self {
        Self {
            login: plan.login,
            target: plan.target,
            stall: plan.stall,
            most_bytes: plan.most_bytes,
            telling: Telling::new(plan, run),
        }
    }

    /// Ends only where the load has stalled, or has taken more room than it may.
    pub async fn watch(&mut self, moved: &Moved) -> Failed {
        let between = (self.stall / 10).clamp(LEAST_BETWEEN_LOOKS, MOST_BETWEEN_LOOKS);
        let mut session = None;
        let mut last = Look::default();
        let mut last_moved = moved.so_far();
        let (mut changed, mut alive) = (Instant::now(), Instant::now());
        // Soon for the first time: an operator may watch.
        let mut pause = between.min(LEAST_BETWEEN_LOOKS);
        loop {
            self.tell_for(pause, session.as_ref(), last.bytes).await;
            pause = between;
            let look = self.look(&mut session).await;
            let now_moved = moved.so_far();
            let now = Instant::now();
            if now_moved != last_moved
                || look
                    .as_ref()
                    .is_some_and(|look| look.fingerprint != last.fingerprint)
            {
                (changed, alive) = (now, now);
            }
            // A server that can't be asked says nothing about the load.
            if look.as_ref().is_none_or(|look| look.at_work) {
                alive = now;
            }
            last_moved = now_moved;
            if let Some(look) = look {
                let bytes = u64::try_from(look.bytes).unwrap_or(0);
                if let Err(outgrown) = space::within(bytes, self.most_bytes) {
                    return outgrown;
                }
                last = look;
            }
            if alive.elapsed() >= self.stall || changed.elapsed() >= self.stall * LENIENCE {
                let quiet = changed.elapsed();
                return self.stalled(quiet, session.as_ref(), moved).await;
            }
        }
    }

    /// Waits, and tells meanwhile how far the load is.
    async fn tell_for(&mut self, between: Duration, session: Option<&Session>, bytes: i64) {
        let until = Instant::now() + between;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(self.telling.pause(left)).await;
            if let Some(session) = session {
                let bytes = u64::try_from(bytes).unwrap_or(0);
                self.telling.tell(session, bytes).await;
            }
        }
    }

    /// None where the server can't be asked now.
    async fn look(&self, session: &mut Option<Session>) -> Option<Look> {
        if session.as_ref().is_none_or(Session::is_closed) {
            *session = match self.login.maintenance().await {
                Ok(fresh) => Some(fresh.with_deadline(DEADLINE)),
                Err(failed) => {
                    tracing::debug!("the watchdog can't connect: {}", failed.message());
                    None
                }
            };
        }
        let asked = self.ask(session.as_ref()?).await;
        asked
            .inspect_err(|failed| {
                tracing::debug!("the watchdog can't look: {}", failed.message());
                *session = None;
            })
            .ok()
    }

    async fn ask(&self, session: &Session) -> Outcome<Look> {
        let mut sql = format!(
            "SELECT pg_database_size(d.oid)::int8, coalesce(a.text, ''), coalesce(a.at_work, false) \
             FROM pg_database d LEFT JOIN ( \
                 SELECT string_agg(concat_ws(' ', pid, state, query_start, state_change, xact_start), ',' ORDER BY pid) AS text, \
                     bool_or(state = 'active' AND coalesce(wait_event_type, 'IO') IN ('IO', 'IPC', 'LWLock')) AS at_work \
                 FROM pg_stat_activity WHERE {OURS}) a ON true \
             WHERE d.datname = $2"
        );
        if let Some(counters) = counters(session.version_num()) {
            sql = sql.replacen(
                "coalesce(a.text, '')",
                &format!("concat(a.text, {counters})"),
                1,
            );
        }
        let names: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&self.login.application_name, &self.target];
        let Some(row) = session.query_opt(&sql, &names).await? else {
            return Ok(Look::default());
        };
        let (bytes, text): (i64, String) = (column(&row, 0)?, column(&row, 1)?);
        Ok(Look {
            fingerprint: format!("{bytes} {text}"),
            bytes,
            at_work: column(&row, 2)?,
        })
    }

    async fn stalled(&self, quiet: Duration, session: Option<&Session>, moved: &Moved) -> Failed {
        let mut problem = format!("pg_restore made no progress for {}s", quiet.as_secs());
        if moved.is_dry() {
            problem.push_str(": it waits for more of the dump");
            return Failed::new(Verdict::Failed, problem).hint(
                "look at the way that the dump comes by: the store, and the network between",
            );
        }
        let blockers = match session {
            Some(session) => self.blockers(session).await.unwrap_or_default(),
            None => String::new(),
        };
        problem.push_str(&blockers);
        let hint = if blockers.is_empty() {
            "look at the server's log and load; where the work is only slow, raise `stall` of this job"
        } else {
            blockers::HINT
        };
        Failed::new(Verdict::Failed, problem).hint(hint)
    }

    async fn blockers(&self, session: &Session) -> Outcome<String> {
        let ours = format!("SELECT pid FROM pg_stat_activity WHERE {OURS}");
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&self.login.application_name, &self.target];
        blockers::blockers(session, &ours, &parameters).await
    }

    /// Ends what pg_restore's sessions still do: killing a client does not stop its backend.
    pub async fn end_backends(&self) {
        if let Err(failed) = self.try_end_backends().await {
            // Whoever drops the scratch database tries again, and says so where it must.
            tracing::warn!("end the sessions of pg_restore: {}", failed.message());
        }
    }

    async fn try_end_backends(&self) -> Outcome<()> {
        let session = self.login.maintenance().await?.with_deadline(DEADLINE);
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}");
        session
            .query(&sql, &[&self.login.application_name, &self.target])
            .await?;
        session.close().await;
        Ok(())
    }
}

/// Counters that move while one statement works; views that this server's version has.
fn counters(version: u32) -> Option<String> {
    let one = |view: &str, columns: &str| {
        format!(
            "(SELECT string_agg(concat_ws(' ', pid, {columns}), ',' ORDER BY pid) FROM {view} WHERE datname = $2)"
        )
    };
    let indexes = one(
        "pg_stat_progress_create_index",
        "phase, blocks_done, tuples_done, partitions_done",
    );
    match version {
        140_000.. => {
            let copies = one("pg_stat_progress_copy", "bytes_processed, tuples_processed");
            Some(format!("' ', {indexes}, ' ', {copies}"))
        }
        120_000.. => Some(format!("' ', {indexes}")),
        _ => None,
    }
}
