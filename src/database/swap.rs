//! The swap: the scratch database becomes the live one and the live one a previous one, both or neither.
//!
//! One transaction in the maintenance database. The properties are carried over first, so that a missing right is found
//! before anybody is disconnected; the first rename then locks the live database, and only while it waits with that lock
//! held are others' sessions ended, from a second connection: nobody can come back in between, and a crash leaves nothing.

mod carry;
mod confirm;
mod first;
mod obstacles;
mod prepared;
mod previous;
mod properties;
mod rights;
mod sessions;
mod setting;
mod stamp;
mod transaction;
mod undo;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use confirm::{Happened, was_swapped};
pub use obstacles::{Attached, attached, obstacles};
pub use prepared::{
    Prepared, PreparedStamp, drop_prepared, is_prepared, prepare, prepared_databases, replaced_by,
    unstamped_scratch,
};
pub use previous::{
    Previous, Pruned, beyond, drop_old_previous, previous_databases, previous_name,
};
pub use properties::{Grant, Label, Properties, Settings, properties};
pub use rights::{missing_rights, uncarried_settings};
pub use sessions::{Seen, is_in_the_way, sessions};
pub use stamp::Stamp;
pub use undo::{UndoPlan, Undone, plan_undo, undo};

use crate::config;
use crate::database::connection::{Login, quote_identifier};
use crate::escape::shown;
use crate::journal::Created;
use crate::run::Run;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};
use transaction::{Attempt, Stopped};

/// The server cuts longer names, with a mere notice.
pub const NAME_BYTES: usize = 63;
/// Between two attempts: time for others to finish a transaction or two.
const PAUSE: Duration = Duration::from_millis(500);

/// A database by its name and by what nobody can rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub oid: u32,
}

/// What happens to sessions in the way, and for how long it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub sessions: config::Sessions,
    pub timeout: Duration,
}

/// A swap to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapOrder {
    /// Its OID is 0 where there is no live database yet: then the incoming one just gets the name.
    pub live: Named,
    /// The scratch database; for an undo the previous one.
    pub incoming: Named,
    /// The name that the live database gets; see [`previous_name`].
    pub previous: String,
    pub patience: Patience,
}

impl SwapOrder {
    fn oids(&self) -> [u32; 2] {
        [self.live.oid, self.incoming.oid]
    }
}

/// A swap that the catalog has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// Empty where there was no live database before.
    pub previous: String,
    pub ended_sessions: usize,
    /// Properties that the new live database has otherwise than the old one: a reason for `attention`.
    pub differences: Vec<String>,
}

/// Makes the incoming database live. Must not be dropped before it ends.
///
/// # Errors
/// `failed`, `config` and, before anything was begun, what connecting gives: the live database is unchanged.
/// `unclear`: nobody could be asked whether it happened.
pub async fn swap(login: &Login, order: &SwapOrder, run: &Run) -> Outcome<Swapped> {
    fits(&order.previous)?;
    let begun = Created::Swap {
        database: login.settings.key.clone(),
        live_oid: order.live.oid,
        scratch_oid: order.incoming.oid,
        previous: order.previous.clone(),
    };
    run.journal
        .will_create(begun.clone())
        .judge(Verdict::Local, "write the journal")?;
    let outcome = if order.live.oid == 0 {
        first::name(login, order, run).await
    } else {
        until_swapped(login, order, run).await
    };
    if !matches!(&outcome, Err(failed) if failed.verdict == Verdict::Unclear) {
        forget(run, &begun);
    }
    if outcome.is_ok() {
        // The scratch database is the live one now: nothing of ours to be removed.
        forget(
            run,
            &Created::Scratch {
                database: login.settings.key.clone(),
                name: order.incoming.name.clone(),
            },
        );
    }
    outcome.context(format!("swap `{}`", shown(&order.live.name)))
}

/// A journal that says too much is harmless: whoever reads it asks the catalog.
fn forget(run: &Run, created: &Created) {
    if let Err(error) = run.journal.forget(created) {
        run.notes
            .warn(format!("the journal can't be written: {error}"));
    }
}

/// Tries the transaction as a whole until it is through, or the patience with others' sessions is at its end.
async fn until_swapped(login: &Login, order: &SwapOrder, run: &Run) -> Outcome<Swapped> {
    let until = Instant::now() + order.patience.timeout;
    loop {
        // Up to here nothing is locked or changed, and sessions may be waited for: a signal need not wait as well.
        let mut attempt = tokio::select! {
            biased;
            prepared = Attempt::prepare(login, order, &run.id, until) => prepared?,
            () = run.stop.cancelled() => return Err(Failed::interrupted()),
        };
        match attempt.carry_out(order).await {
            Ok(()) => return confirmed(login, order, attempt, run).await,
            Err(Stopped::Busy(failed)) if Instant::now() < until => {
                tracing::info!("swap: trying again: {}", failed.message());
                attempt.give_up().await;
                sleep(PAUSE).await;
            }
            Err(Stopped::Busy(failed)) => {
                let failed = attempt.blame(order, failed).await;
                return ended(login, order, attempt, failed, run).await;
            }
            Err(Stopped::Broken(failed)) => return ended(login, order, attempt, failed, run).await,
        }
    }
}

/// The transaction ended with an error, or nobody knows how: the catalog is asked before anything is said.
async fn ended(
    login: &Login,
    order: &SwapOrder,
    attempt: Attempt,
    failed: Failed,
    run: &Run,
) -> Outcome<Swapped> {
    let backend = attempt.backend().clone();
    let carried = attempt.give_up().await;
    let happened = confirm::settle(login, order, &backend).await;
    if !carried.commit_sent {
        // What was never told to commit can't have; the question only made sure that its backend is gone.
        tracing::debug!(?happened, "the swap ended before its COMMIT");
        return Err(unchanged(failed));
    }
    match happened? {
        Happened::Yes => {
            run.notes.warn(format!(
                "the swap happened, as the catalog proves, although the connection ended with: {}",
                failed.message()
            ));
            compared(login, order, carried, run).await
        }
        Happened::No => Err(unchanged(failed)),
        Happened::Unknown => Err(confirm::unclear(order, &failed)),
    }
}

/// Whatever broke the swap, the live database is proven to be the old one.
fn unchanged(failed: Failed) -> Failed {
    let verdict = match failed.verdict {
        Verdict::Bug => Verdict::Bug,
        _ => Verdict::Failed,
    };
    Failed { verdict, ..failed }
}

/// The server has answered COMMIT; a new connection must see the same.
async fn confirmed(
    login: &Login,
    order: &SwapOrder,
    attempt: Attempt,
    run: &Run,
) -> Outcome<Swapped> {
    let backend = attempt.backend().clone();
    let carried = attempt.give_up().await;
    // An acknowledged COMMIT is no proof of what is live now: the server that comes back may be a standby that never saw it.
    let settled = confirm::settle(login, order, &backend).await;
    match settled.context("the server has acknowledged the COMMIT, but then")? {
        Happened::Yes => compared(login, order, carried, run).await,
        _ => Err(confirm::unclear(
            order,
            &Failed::new(
                Verdict::Unclear,
                "the server has confirmed the swap, but its catalog shows another database",
            ),
        )),
    }
}

/// The new live database against what the old one was when it was locked. What can't be read now is said, not guessed.
async fn compared(
    login: &Login,
    order: &SwapOrder,
    carried: transaction::Carried,
    run: &Run,
) -> Outcome<Swapped> {
    for remark in &carried.remarks {
        run.notes.warn(remark);
    }
    run.notes.previous(&order.previous);
    let differences = match (carried.outgoing, read_again(login, order).await) {
        (Some(outgoing), Ok(new)) => different(&outgoing, &new),
        (_, Err(failed)) => vec![format!(
            "the new database's owner, privileges and settings could not be compared: {}",
            failed.message()
        )],
        (None, Ok(_)) => Vec::new(),
    };
    Ok(Swapped {
        previous: order.previous.clone(),
        ended_sessions: carried.ended.len(),
        differences,
    })
}

async fn read_again(login: &Login, order: &SwapOrder) -> Outcome<Properties> {
    let session = login.maintenance().await?;
    let new = properties(&session, order.incoming.oid).await;
    session.close().await;
    new
}

fn different(outgoing: &Properties, new: &Properties) -> Vec<String> {
    outgoing
        .differences(new)
        .into_iter()
        .map(|what| {
            format!(
                "{what}: `{}` differs from what it was before the swap",
                shown(&new.name)
            )
        })
        .collect()
}

/// A longer name would be cut by the server, and then be another database's.
fn fits(name: &str) -> Outcome<()> {
    if name.len() <= NAME_BYTES {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Bug,
        format!(
            "the database name {} has {} bytes, more than the server's {NAME_BYTES}",
            shown(&quote_identifier(name)),
            name.len()
        ),
    ))
}
