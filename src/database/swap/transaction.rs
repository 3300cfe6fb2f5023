//! One attempt at the swap: two connections, one transaction, which holds wholly or not at all.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::database::connection::{Login, Session, column, quote_identifier};
use crate::escape::shown;
use crate::run::RunId;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

use super::carry;
use super::confirm::Backend;
use super::obstacles::{obstacles, prepared_transactions, whole};
use super::properties::{Properties, properties};
use super::rights::{Rights, missing_rights};
use super::sessions::{because_of_others, clear_the_way, keep_ending, named, sessions};
use super::stamp::Stamp;
use super::{Named, SwapOrder};

/// More than the server waits by itself for others to leave a database that is renamed (5 s), twice, and for the lock.
pub(super) const STATEMENT_DEADLINE: Duration = Duration::from_secs(30);

/// The limits are the server's own: they hold even where this process is stopped with the live database locked.
/// What a role's or the server's default says about durability is only ever raised: COMMIT must be on disk.
pub(super) const BEGIN: &str = "
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '15s';
SET LOCAL idle_in_transaction_session_timeout = '15s';
SELECT set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true);";

const CHANGED: &str = "changed by somebody else meanwhile";
const CONCURRENTLY: &str = "tuple concurrently";

/// Why an attempt ended.
pub enum Stopped {
    /// Somebody was in the way: the whole may be tried again.
    Busy(Failed),
    Broken(Failed),
}

/// What is known after an attempt.
#[derive(Default)]
pub struct Carried {
    pub outgoing: Option<Properties>,
    pub remarks: Vec<String>,
    pub ended: BTreeSet<i32>,
    /// From here on only the catalog knows.
    pub commit_sent: bool,
}

/// Two connections that are ready to swap.
pub struct Attempt {
    /// Runs the transaction.
    swapping: Session,
    /// Ends others' sessions while the transaction waits for them.
    ending: Session,
    backend: Backend,
    run: RunId,
    own: String,
    carried: Carried,
}

impl Attempt {
    /// Connects, and makes sure that the swap may begin.
    pub async fn prepare(
        login: &Login,
        order: &SwapOrder,
        run: &RunId,
        until: Instant,
    ) -> Outcome<Self> {
        let swapping = login.maintenance().await?.with_deadline(STATEMENT_DEADLINE);
        let ending = login.maintenance().await?.with_deadline(STATEMENT_DEADLINE);
        let backend = Backend::of(&swapping).await?;
        obstacles(&ending, &order.live).await?;
        prepared_transactions(&ending, &order.incoming.name).await?;
        clear_the_way(&ending, &order.oids(), order.patience.sessions, until).await?;
        Ok(Self {
            swapping,
            ending,
            backend,
            run: run.clone(),
            own: login.application_name.clone(),
            carried: Carried::default(),
        })
    }

    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The transaction, from BEGIN to the answer to COMMIT.
    pub async fn carry_out(&mut self, order: &SwapOrder) -> Result<(), Stopped> {
        self.transaction(order).await.map_err(stopped)
    }

    async fn transaction(&mut self, order: &SwapOrder) -> Outcome<()> {
        self.swapping.batch(BEGIN).await?;
        let outgoing = self.carry_over(order).await?;
        self.rename(order, &order.live.name, &order.previous)
            .await?;
        self.still_the_same(&outgoing).await?;
        let stamp = stamp(order, &self.run, &outgoing)?;
        self.carried.outgoing = Some(outgoing);
        self.swapping.batch(&stamp).await?;
        self.rename(order, &order.incoming.name, &order.live.name)
            .await?;
        self.exactly_these_two(order).await?;
        self.carried.commit_sent = true;
        self.swapping.batch("COMMIT").await
    }

    /// Gives the incoming database the outgoing one's properties. Locks nobody out yet.
    async fn carry_over(&mut self, order: &SwapOrder) -> Outcome<Properties> {
        let outgoing = properties(&self.swapping, order.live.oid).await?;
        let incoming = properties(&self.swapping, order.incoming.oid).await?;
        for (database, expected) in [(&outgoing, &order.live), (&incoming, &order.incoming)] {
            whole(database)?;
            has_the_name(database, expected)?;
        }
        let rights = Rights::ask(&self.swapping, &outgoing).await?;
        let plan = carry::plan(&outgoing, &incoming, &rights);
        for statement in &plan.statements {
            if let Err(failed) = self.swapping.batch(statement).await {
                return Err(self.advised(failed, &outgoing).await);
            }
        }
        self.carried.remarks = plan.remarks;
        Ok(outgoing)
    }

    /// The remedy, where a right was missing.
    async fn advised(&self, failed: Failed, outgoing: &Properties) -> Failed {
        match missing_rights(&self.ending, outgoing).await {
            Ok(missing) if !missing.is_empty() => failed.hint(missing.join("; ")),
            _ => failed,
        }
    }

    /// The server waits a few seconds for others to leave; they are ended while it does, with the lock already held.
    async fn rename(&mut self, order: &SwapOrder, from: &str, to: &str) -> Outcome<()> {
        let sql = format!(
            "ALTER DATABASE {} RENAME TO {}",
            quote_identifier(from),
            quote_identifier(to)
        );
        let (oids, policy) = (order.oids(), order.patience.sessions);
        let ended = &mut self.carried.ended;
        let ending = keep_ending(&self.ending, &oids, policy, &self.own, ended);
        tokio::select! {
            renamed = self.swapping.batch(&sql) => renamed,
            lost = ending => Err(lost.context("end others' sessions")),
        }
    }

    /// What was carried over was read before the lock; a change in between is carried by the next attempt.
    async fn still_the_same(&self, outgoing: &Properties) -> Outcome<()> {
        let locked = properties(&self.swapping, outgoing.oid).await?;
        if locked.unchanged_since(outgoing) {
            return Ok(());
        }
        Err(Failed::new(
            Verdict::Failed,
            format!(
                "the properties of `{}` were {CHANGED}",
                shown(&outgoing.name)
            ),
        ))
    }

    /// The renames went by name: what they moved must be what was ordered.
    async fn exactly_these_two(&self, order: &SwapOrder) -> Outcome<()> {
        let sql = "SELECT oid FROM pg_database WHERE datname::text = $1";
        for (name, expected) in [
            (&order.live.name, order.incoming.oid),
            (&order.previous, order.live.oid),
        ] {
            let found: u32 = column(&self.swapping.query_one(sql, &[name]).await?, 0)?;
            if found != expected {
                return Err(Failed::new(
                    Verdict::Failed,
                    format!("`{}` was exchanged by somebody else meanwhile", shown(name)),
                ));
            }
        }
        Ok(())
    }

    /// Says who was in the way in the end.
    pub async fn blame(&self, order: &SwapOrder, failed: Failed) -> Failed {
        blame(&self.ending, order, failed).await
    }

    /// Ends the transaction if it is still open, and both connections. What was learnt remains.
    pub async fn give_up(self) -> Carried {
        if let Err(failed) = self.swapping.batch("ROLLBACK").await {
            // The connection is gone, and with it the transaction; whoever needs to know asks the catalog.
            tracing::debug!("roll back: {}", failed.message());
        }
        self.swapping.close().await;
        self.ending.close().await;
        self.carried
    }
}

/// See [`Attempt::blame`].
pub(super) async fn blame(session: &Session, order: &SwapOrder, failed: Failed) -> Failed {
    let timeout = order.patience.timeout;
    match sessions(session, &order.oids()).await {
        Ok(seen) if !seen.is_empty() => because_of_others(
            failed,
            format!("others did not leave within {timeout:?}: {}", named(&seen)),
        ),
        _ => because_of_others(
            failed,
            format!("others were in the way for longer than {timeout:?}"),
        ),
    }
}

fn stamp(order: &SwapOrder, run: &RunId, outgoing: &Properties) -> Outcome<String> {
    let comment = Stamp::new(&order.live.name, &order.previous, run, outgoing.read_at)
        .with_comment(outgoing.comment.as_deref())
        .to_comment()
        .judge(Verdict::Bug, "write the stamp")?;
    Ok(carry::comment_on(&order.previous, Some(&comment)))
}

fn has_the_name(database: &Properties, expected: &Named) -> Outcome<()> {
    if database.name == expected.name {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "`{}` was renamed to `{}` by somebody else meanwhile",
            shown(&expected.name),
            shown(&database.name)
        ),
    ))
}

/// Object in use, lock not available, serialization failure, deadlock, statement timeout.
const BUSY: [&str; 5] = ["55006", "55P03", "40001", "40P01", "57014"];

pub(super) fn stopped(failed: Failed) -> Stopped {
    let cause = failed.error.root_cause().to_string();
    let code = |code: &&str| cause.ends_with(&format!("(SQLSTATE {code})"));
    // The last one is how the server says that somebody else altered the same database at the same moment.
    if BUSY.iter().any(code) || cause.ends_with(CHANGED) || cause.contains(CONCURRENTLY) {
        Stopped::Busy(failed)
    } else {
        Stopped::Broken(failed)
    }
}
