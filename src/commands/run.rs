//! `run`: the whole refresh, from the newest archive to the live database and the mail.

use super::fetch::{self, Fetched, Found};
use super::restore::Held;
use super::unzip::Unpacking;
use super::{App, Job, Order, perform, restore, unzip};
use crate::cli::Which;
use crate::config::{Restore, StoreKind};
use crate::network::{self, Address, Target};
use crate::report::{ArchiveFacts, Record, Report, Step};
use crate::store::choose::Purpose;
use crate::verdict::{Outcome, Verdict};

/// `backupctl run [JOB]`, for one job.
pub async fn command(app: &App, job: &Restore, which: &Which) -> Record {
    let order = Order {
        command: "run",
        store: true,
        database: true,
        mail: true,
    };
    perform(app, job, order, async |job, report| {
        if app.options.dry_run {
            plan(job, which, report).await
        } else {
            refresh(job, which, report).await
        }
    })
    .await
}

async fn refresh(job: &Job<'_>, which: &Which, report: &mut Report) -> Outcome<()> {
    let reached = async {
        reachable(job).await?;
        restore::hold(job).await
    };
    let held = report.step(Step::Network, reached).await?;
    let newest = report.step(Step::Fetch, newest(job, which, held)).await?;
    let (held, arrived) = match newest {
        Newest::Arrived(held, arrived) => (*held, arrived),
        Newest::Unchanged(why) => {
            report.record.message = Some(why);
            return Ok(());
        }
    };
    let fetched = arrived.fetched.clone();
    let outcome = go_live(held, arrived, job, report).await;
    if let Err(failed) = &outcome
        && failed.verdict == Verdict::Damaged
        && let Some(fetched) = fetched
        && let Err(failed) = fetch::discard(&fetched)
    {
        job.run.notes.warn(failed.message());
    }
    outcome
}

/// An archive whose last byte was fetched, and its dump.
struct Arrived {
    archive: ArchiveFacts,
    /// None: nothing keeps the archive.
    fetched: Option<Fetched>,
    unpacking: Unpacking,
}

async fn go_live(held: Held, arrived: Arrived, job: &Job<'_>, report: &mut Report) -> Outcome<()> {
    let Arrived {
        archive,
        fetched,
        unpacking,
    } = arrived;
    let finished = unzip::finish(unpacking, archive, fetched.as_ref(), job);
    let unpacked = report.step(Step::Unzip, finished).await?;
    let at_hand = fetched.as_ref().map(|fetched| fetched.path.as_path());
    fetch::prune(job, job.restore.keep_archives, at_hand);
    restore::into_live(held, &unpacked, job, report).await
}

/// What a dry run does: everything up to the download, and nothing that leaves a trace.
async fn plan(job: &Job<'_>, which: &Which, report: &mut Report) -> Outcome<()> {
    let reached = async {
        reachable(job).await?;
        restore::could_hold(job).await
    };
    let held = report.step(Step::Network, reached).await?;
    let work = async {
        let found = fetch::look_ahead(job, which, Purpose::Restore).await?;
        job.run.notes.plan(found.describe());
        let Found::Chosen(chosen) = found else {
            return Ok(());
        };
        fetch::plan_space(job, needed_bytes(&chosen, job))?;
        restore::plan(&chosen.contents.toc, &held, job).await
    };
    report.step(Step::Fetch, work).await
}

/// Both ends answer, and the mail server's absence is at least known.
async fn reachable(job: &Job<'_>) -> Outcome<()> {
    let targets: Vec<Target> = store_target(job)
        .into_iter()
        .chain([database_target(job)])
        .chain(mail_target(job))
        .collect();
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// Only the store, for `fetch`.
pub async fn store_reachable(job: &Job<'_>) -> Outcome<()> {
    let targets: Vec<Target> = store_target(job).into_iter().collect();
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// Only the database, for `restore` and `undo`.
pub async fn database_reachable(job: &Job<'_>) -> Outcome<()> {
    network::reachable(&[database_target(job)], &job.config.network, &job.run).await
}

fn store_target(job: &Job<'_>) -> Option<Target> {
    let StoreKind::Sftp(sftp) = &job.store.kind else {
        return None;
    };
    let address = Address::Tcp(sftp.host.clone(), sftp.port);
    Some(Target {
        setting: format!("stores.{}", job.store.name),
        address,
        required: true,
    })
}

fn database_target(job: &Job<'_>) -> Target {
    let database = job.database;
    let address = if database.host.starts_with('/') {
        Address::Socket(
            std::path::Path::new(&database.host).join(format!(".s.PGSQL.{}", database.port)),
        )
    } else {
        Address::Tcp(database.host.clone(), database.port)
    };
    Target {
        setting: format!("databases.{}", database.key),
        address,
        required: true,
    }
}

fn mail_target(job: &Job<'_>) -> Option<Target> {
    let email = job.config.notify.email.as_ref()?;
    let address = Address::Tcp(email.server.clone(), email.port);
    Some(Target {
        setting: "notify.email".to_owned(),
        address,
        required: false,
    })
}

/// What the fetch step ends with.
enum Newest {
    Arrived(Box<Held>, Arrived),
    /// It is live already, and the job wants nothing done then; in words.
    Unchanged(String),
}

/// The newest archive, unpacked while it comes. What would make the restore fail is found before the download.
async fn newest(job: &Job<'_>, which: &Which, mut held: Held) -> Outcome<Newest> {
    let looked = fetch::look(job, which, Purpose::Restore).await?;
    let found = if looked.is_waited_for(job) {
        // Nobody is kept out of the live database while nothing is done to it, and no session idles for hours.
        held.session.close().await;
        let found = fetch::wait(job, which, Purpose::Restore, looked).await?;
        held = restore::hold(job).await?;
        found
    } else {
        looked.found()?
    };
    let chosen = match found {
        Found::Chosen(chosen) => *chosen,
        Found::Unchanged(_, why) => return Ok(Newest::Unchanged(why)),
    };
    restore::suits(&held, &chosen.contents.toc, job).await?;
    fetch::space(job, needed_bytes(&chosen, job))?;
    let arrived = arrive(chosen, job).await?;
    Ok(Newest::Arrived(Box::new(held), arrived))
}

async fn arrive(chosen: fetch::Chosen, job: &Job<'_>) -> Outcome<Arrived> {
    let mut archive = fetch::facts_of(&chosen.archive, None);
    let (feed, unpacking) = unzip::begin(&chosen.contents, &archive.name, job)?;
    let fetched = if job.restore.keep_archives > 0 {
        let Some(fetched) = fetch::keep(chosen, Some(feed), job).await? else {
            return Err(unpacking.failure().await);
        };
        archive.clone_from(&fetched.facts);
        Some(fetched)
    } else if fetch::pass_on(chosen, feed, job).await? {
        None
    } else {
        return Err(unpacking.failure().await);
    };
    Ok(Arrived {
        archive,
        fetched,
        unpacking,
    })
}

/// The dump, and with it the archive where that is kept.
fn needed_bytes(chosen: &fetch::Chosen, job: &Job<'_>) -> u64 {
    let dump = chosen.contents.bytes.unwrap_or(chosen.archive.bytes);
    let is_kept = job.restore.keep_archives > 0;
    dump.saturating_add(if is_kept { chosen.archive.bytes } else { 0 })
}
