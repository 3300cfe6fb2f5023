//! `restore`: a dump into a scratch database, proven there, then live by one swap of names.
//!
//! Up to the swap nothing touches the live database; after any failure before it the scratch database is dropped by the
//! run's clean-up, and the live one is what it was.

mod plan;

use std::path::Path;

pub use self::plan::{plan, sessions_in_words, suits};
use super::unzip::{self, Unpacked};
use super::{App, Job, Order, perform};
use crate::config::{Method, Restore};
use crate::database::catalog::{self, Promised};
use crate::database::checks;
use crate::database::connection::{self, Login, Session};
use crate::database::dump::Toc;
use crate::database::load::{self, Input, Load};
use crate::database::preflight::{self, Target};
use crate::database::scratch::{self, PublicSchema, Scratch};
use crate::database::tools::Tool;
use crate::database::unmade;
use crate::network::Patience;
use crate::report::{DatabaseFacts, Record, Report, Step};
use crate::verdict::{Failed, Outcome, Verdict};

/// The server with its live database, held against everybody else who would restore into it.
pub struct Held {
    pub session: Session,
    pub target: Target,
}

/// A loaded scratch database beside the live one that it will replace.
pub struct Restored {
    pub scratch: Scratch,
    pub held: Held,
}

/// `backupctl restore [JOB] [--file DUMP_OR_ARCHIVE]`.
pub async fn command(app: &App, restore: &Restore, file: Option<&Path>, notify: bool) -> Record {
    let order = Order {
        command: "restore",
        store: false,
        database: true,
        mail: notify,
    };
    perform(app, restore, order, async |job, report| {
        let reached = async {
            super::run::database_reachable(job).await?;
            if app.options.dry_run {
                could_hold(job).await
            } else {
                hold(job).await
            }
        };
        let held = report.step(Step::Network, reached).await?;
        if app.options.dry_run {
            return report
                .step(Step::Restore, plan_file(job, file, &held))
                .await;
        }
        let unpacked = match file {
            Some(file) => {
                report
                    .step(Step::Unzip, unzip::named_dump(job, file))
                    .await?
            }
            None => unzip::newest_kept(job)?,
        };
        into_live(held, &unpacked, job, report).await
    })
    .await
}

/// Load, check and swap, as `run` does it too.
pub async fn into_live(
    held: Held,
    unpacked: &Unpacked,
    job: &Job<'_>,
    report: &mut Report,
) -> Outcome<()> {
    if job.restore.method == Method::InPlace {
        return super::in_place::restore(held, unpacked, job, report).await;
    }
    let loading = async { load(still_held(held, job).await?, unpacked, job).await };
    let restored = report.step(Step::Restore, loading).await?;
    report.step(Step::Check, check(&restored, job)).await?;
    report
        .undivided_step(Step::Swap, super::swap::step(restored, job))
        .await
}

/// How this run logs in to the job's server.
pub fn login(job: &Job<'_>) -> Login {
    Login {
        settings: job.database.clone(),
        password: job.secret(job.database.password.as_ref()),
        application_name: job.run.id.application_name(),
        timeout: job.config.network.timeout,
    }
}

/// The server and the live database as they are; patient while the server can't be reached.
pub async fn look(job: &Job<'_>) -> Outcome<(Session, Target)> {
    let login = login(job);
    let mut patience = Patience::new(&job.config.network);
    let session = loop {
        match login.maintenance().await {
            Ok(session) => break session,
            Err(failed) => patience.wait_after(failed, &job.run).await?,
        }
    };
    let target = preflight::look(&session, &login).await?;
    job.run.notes.database(DatabaseFacts {
        host: job.database.host.clone(),
        name: target.live.name.clone(),
        server_version: target.server.version.clone(),
        previous: None,
    });
    Ok((session, target))
}

/// Looks at the server and holds the live database: one restore into it at a time, whatever machine it comes from.
pub async fn hold(job: &Job<'_>) -> Outcome<Held> {
    let (session, target) = look(job).await?;
    scratch::hold_database(&session, &target.live.name).await?;
    Ok(Held { session, target })
}

/// As [`hold`] for a dry run, which only wants to know whether the real one could: it stands in no other run's way.
pub async fn could_hold(job: &Job<'_>) -> Outcome<Held> {
    let held = hold(job).await?;
    scratch::let_go(&held.session, &held.target.live.name).await?;
    Ok(held)
}

/// Looks again after a long step. Where the session has died meanwhile, and the hold with it, both are taken anew.
pub async fn still_held(held: Held, job: &Job<'_>) -> Outcome<Held> {
    let Held { session, .. } = held;
    match preflight::look(&session, &login(job)).await {
        Ok(target) => Ok(Held { session, target }),
        Err(failed) if session.is_closed() || failed.verdict == Verdict::Network => {
            tracing::warn!(
                "the session that held the live database was lost: {}",
                failed.message()
            );
            drop(session);
            hold(job).await
        }
        Err(failed) => Err(failed),
    }
}

async fn plan_file(job: &Job<'_>, file: Option<&Path>, held: &Held) -> Outcome<()> {
    let toc = match file {
        Some(file) => unzip::toc_of(job, file).await?,
        None => unzip::newest_kept(job)?.toc,
    };
    plan(&toc, held, job).await
}

/// Loads the dump into a scratch database and proves that what its table of contents lists is there.
pub async fn load(held: Held, unpacked: &Unpacked, job: &Job<'_>) -> Outcome<Restored> {
    let login = login(job);
    let tool = suits(&held, &unpacked.toc, job).await?;
    let loaded = into_scratch(&login, &held.target, &tool, unpacked, job).await;
    let scratch = loaded.map_err(lost_on_the_way)?;
    Ok(Restored { scratch, held })
}

/// Once the load has begun, a server that goes away has made the restore fail; trying again is another run.
pub fn lost_on_the_way(failed: Failed) -> Failed {
    let verdict = match failed.verdict {
        Verdict::Network => Verdict::Failed,
        other => other,
    };
    Failed { verdict, ..failed }
}

async fn into_scratch(
    login: &Login,
    target: &Target,
    tool: &Tool,
    unpacked: &Unpacked,
    job: &Job<'_>,
) -> Outcome<Scratch> {
    let public = if unpacked.toc.creates_public_schema {
        PublicSchema::Dump
    } else {
        PublicSchema::Template
    };
    let target = &unmade::shaped(target, &unpacked.toc);
    let scratch = scratch::create(login, target, &job.run, public).await;
    let scratch = scratch.map_err(|failed| unmakable(failed, target))?;
    job.run
        .progress
        .note(&format!("loading into {}", scratch.name));
    let plan = Load {
        tool,
        login,
        target: &scratch.name,
        input: Input::File(&unpacked.path),
        format: unpacked.toc.header.format,
        jobs: job.restore.jobs,
        in_place: false,
        stall: job.restore.stall,
    };
    load::load(plan, &job.run).await?;
    prove(login, &scratch, &unpacked.toc, job).await?;
    Ok(scratch)
}

/// Where it is the live database's locale that the server can't make, an operator can choose another one.
fn unmakable(failed: Failed, target: &Target) -> Failed {
    if !target.live.is_missing() {
        return failed;
    }
    failed.hint(format!(
        "or make the live database by hand, with a locale that this server has: CREATE DATABASE {}; then run again",
        connection::quote_identifier(&target.live.name)
    ))
}

async fn prove(login: &Login, scratch: &Scratch, toc: &Toc, job: &Job<'_>) -> Outcome<()> {
    let session = connection::connect(login, &scratch.name).await?;
    let counted = catalog::compare(&session, &promised(toc)).await?;
    job.run.progress.note("gathering statistics");
    catalog::analyze(login, &scratch.name, job.restore.stall).await?;
    job.run.notes.message(counted.to_string());
    session.close().await;
    Ok(())
}

fn promised(toc: &Toc) -> Vec<Promised> {
    let listed = toc.entries.iter().map(|entry| Promised {
        kind: entry.kind.to_string(),
        schema: (!entry.namespace.is_empty()).then(|| entry.namespace.to_string()),
        name: entry.tag.to_string(),
    });
    listed.collect()
}

/// The configured checks, in the scratch database.
pub async fn check(restored: &Restored, job: &Job<'_>) -> Outcome<()> {
    let checks = &job.restore.checks;
    if checks.is_empty() {
        job.run.notes.message("none configured");
        return Ok(());
    }
    checks::check(
        &login(job),
        &restored.scratch.name,
        checks,
        job.restore.stall,
        &job.run,
    )
    .await
    .map_err(lost_on_the_way)
}
