//! `run`: the whole refresh, from the newest archive to the live database and the mail.

use super::fetch::{self, Fetched, Found};
use super::restore::Held;
use super::{App, Job, Order, perform, restore, unzip};
use crate::cli::Which;
use crate::config::{Restore, StoreKind};
use crate::network::{self, Address, Target};
use crate::report::{Record, Report, Step};
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
    let (held, fetched) = match newest {
        Newest::Fetched(held, fetched) => (*held, fetched),
        Newest::Unchanged(why) => {
            report.record.message = Some(why);
            return Ok(());
        }
    };
    let outcome = go_live(held, &fetched, job, report).await;
    if let Err(failed) = &outcome
        && failed.verdict == Verdict::Damaged
        && let Err(failed) = fetch::discard(&fetched)
    {
        job.run.notes.warn(failed.message());
    }
    outcome
}

async fn go_live(held: Held, fetched: &Fetched, job: &Job<'_>, report: &mut Report) -> Outcome<()> {
    let unpacked = report.step(Step::Unzip, unzip::dump(fetched, job)).await?;
    fetch::prune(job, job.restore.keep_archives, &fetched.path);
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
        let found = fetch::look_ahead(job, which, purpose(&held)).await?;
        job.run.notes.plan(found.describe());
        let Found::Chosen(chosen) = found else {
            return Ok(());
        };
        fetch::plan_space(job, needed_bytes(&chosen))?;
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
    Fetched(Box<Held>, Fetched),
    /// It is live already, and the job wants nothing done then; in words.
    Unchanged(String),
}

/// Where there is no live database, what was restored before is gone, and no reason to do nothing.
fn purpose(held: &Held) -> Purpose {
    if held.target.live.is_missing() {
        Purpose::Fetch
    } else {
        Purpose::Restore
    }
}

/// The newest archive, here. What would make the restore fail is found before the download.
async fn newest(job: &Job<'_>, which: &Which, mut held: Held) -> Outcome<Newest> {
    let purpose = purpose(&held);
    let looked = fetch::look(job, which, purpose).await?;
    let found = if looked.is_waited_for(job) {
        // Nobody is kept out of the live database while nothing is done to it, and no session idles for hours.
        held.session.close().await;
        let found = fetch::wait(job, which, purpose, looked).await?;
        held = restore::hold(job).await?;
        found
    } else {
        looked.found()?
    };
    let chosen = match found {
        Found::Chosen(chosen) => chosen,
        Found::Unchanged(_, why) => return Ok(Newest::Unchanged(why)),
    };
    restore::suits(&held, &chosen.contents.toc, job).await?;
    fetch::space(job, needed_bytes(&chosen))?;
    let fetched = fetch::download(*chosen, job).await?;
    Ok(Newest::Fetched(Box::new(held), fetched))
}

/// The archive and the dump in it lie in state_dir together for a while.
fn needed_bytes(chosen: &fetch::Chosen) -> u64 {
    chosen
        .archive
        .bytes
        .saturating_add(chosen.contents.bytes.unwrap_or(chosen.archive.bytes))
}
