//! `restore`: a dump into a scratch database, proven there, then live by one swap of names.
//!
//! Up to the swap nothing touches the live database; after any failure before it the scratch database is dropped by the
//! run's clean-up, and the live one is what it was.

mod contents;
mod plan;
mod prove;

use std::path::Path;
use std::time::{Duration, Instant};

pub use self::contents::listed;
pub use self::plan::{
    Suited, loadable, needs, none_in_words, plan, selection, sessions_in_words, suits, tool, unmade,
};
use self::prove::after_load;
pub use self::prove::{check, count, scripts};
use super::unzip::{self, Unpacked};
use super::{App, Job, Order, perform};
use crate::config::{GoLive, Method, Owner, Restore, format_duration};
use crate::database::analyze::analyze;
use crate::database::catalog::{self, Promised};
use crate::database::connection::{self, Login, Session};
use crate::database::dump::{Selection, Toc};
use crate::database::load::{self, Input, Load, Select};
use crate::database::preflight::{self, Target};
use crate::database::roles;
use crate::database::scratch::{self, PublicSchema, Scratch};
use crate::database::space;
use crate::database::unmade::shaped;
use crate::escape::{quoted, shown};
use crate::network::Patience;
use crate::report::{DatabaseFacts, Record, Report, Step};
use crate::verdict::{Failed, Outcome, Verdict};

/// Between two attempts to take a hold that somebody else has.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
        // Which of the two a named file is shows only once it is opened.
        archives: file.is_some(),
        database: true,
        mail: notify,
    };
    perform(app, restore, order, async |job, report| {
        scripts(job)?;
        let reached = async {
            super::reach::database(job).await?;
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
    go_live(restored, job, report).await
}

/// Check and swap of what was loaded, from a file or from a stream.
pub async fn go_live(restored: Restored, job: &Job<'_>, report: &mut Report) -> Outcome<()> {
    report.step(Step::Check, check(&restored, job)).await?;
    if job.restore.go_live == GoLive::Hold {
        let holding = super::prepared::hold(restored, job);
        return report.undivided_step(Step::Hold, holding).await;
    }
    super::swap::go_live(restored, job, report).await
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
    // A later look of the same run forgets nothing that the run has made meanwhile.
    let noted = job.run.notes.lock().database.clone().unwrap_or_default();
    job.run.notes.database(DatabaseFacts {
        host: job.database.host.clone(),
        name: target.live.name.clone(),
        server_version: target.server.version.clone(),
        ..noted
    });
    Ok((session, target))
}

/// Looks at the server and holds the live database: one restore into it at a time, whatever machine it comes from.
pub async fn hold(job: &Job<'_>) -> Outcome<Held> {
    let (session, target) = look(job).await?;
    scratch::hold_database(&session, &target.live.name).await?;
    super::prepared::mention(&session, target.live.oid, job).await?;
    super::prepared::mention_unknown(&session, job).await?;
    super::beside::mention(&session, job).await?;
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
            hold_again(job, Instant::now()).await
        }
        Err(failed) => Err(failed),
    }
}

/// Takes the hold anew in a run that has done something already. Whoever has it meanwhile is waited for until then. After
/// that the run has failed: `locked` is for one that did nothing, and leaves no report and no mail.
pub async fn hold_again(job: &Job<'_>, until: Instant) -> Outcome<Held> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let failed = match hold(job).await {
            Err(failed) if failed.verdict == Verdict::Locked => failed,
            other => return other,
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let verdict = Verdict::Failed;
            return Err(Failed { verdict, ..failed });
        }
        tracing::info!(
            "{}; waiting up to {} more for it",
            failed.message(),
            format_duration(left)
        );
        job.run.progress.note(&failed.message());
        tokio::time::sleep(pause.min(left)).await;
        pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
    }
}

async fn plan_file(job: &Job<'_>, file: Option<&Path>, held: &Held) -> Outcome<()> {
    let (toc, coming) = if let Some(file) = file {
        unzip::toc_of(job, file).await?
    } else {
        let unpacked = unzip::newest_kept(job)?;
        let coming = unpacked.coming();
        (unpacked.toc, coming)
    };
    plan(&toc, coming, held, job).await
}

/// Loads the dump into a scratch database and proves that what its table of contents lists is there.
pub async fn load(held: Held, unpacked: &Unpacked, job: &Job<'_>) -> Outcome<Restored> {
    let login = login(job);
    let suited = suits(&held, &unpacked.toc, unpacked.coming(), job).await?;
    suited.room.warn(job);
    super::previous::make_room(&held.target.live, job).await?;
    make_roles(&held, &suited, job).await?;
    let loaded = into_scratch(&login, &held.target, &suited, unpacked, job).await;
    let scratch = loaded.map_err(lost_on_the_way)?;
    unpacked.on_disk.wait().await?;
    Ok(Restored { scratch, held })
}

/// Creates the roles that are missing, where the configuration says so.
pub async fn make_roles(held: &Held, suited: &Suited, job: &Job<'_>) -> Outcome<()> {
    if !job.restore.contents.creates_roles {
        return Ok(());
    }
    let made = roles::create(&held.session, &held.target, &suited.needs).await?;
    if !made.is_empty() {
        let names: Vec<String> = made.iter().map(|role| quoted(role)).collect();
        job.run.notes.warn(format!(
            "roles were created, without login, password and membership, and stay whatever becomes of this run: {}",
            names.join(", ")
        ));
    }
    Ok(())
}

/// Once the load has begun, a server that goes away has made the restore fail; trying again is another run.
pub fn lost_on_the_way(failed: Failed) -> Failed {
    let verdict = match failed.verdict {
        Verdict::Network => Verdict::Failed,
        other => other,
    };
    Failed { verdict, ..failed }
}

/// Loads into a new scratch database, and proves that all is there.
pub async fn into_scratch(
    login: &Login,
    target: &Target,
    suited: &Suited,
    unpacked: &Unpacked,
    job: &Job<'_>,
) -> Outcome<Scratch> {
    let scratch = empty_scratch(login, target, &unpacked.toc, job).await?;
    let plan = Load {
        tool: &suited.tool,
        login,
        target: &scratch.name,
        input: Input::File(&unpacked.path),
        format: unpacked.toc.header.format,
        jobs: job.restore.jobs,
        in_place: false,
        select: Some(Select {
            toc: &unpacked.toc,
            selection: &suited.selection,
        }),
        stall: job.restore.stall,
        most_bytes: suited.room.most_bytes(),
    };
    load::load(plan, &job.run).await?;
    prove(login, &scratch, (&unpacked.toc, suited), job).await?;
    Ok(scratch)
}

/// A scratch database in which the load may begin.
pub async fn empty_scratch(
    login: &Login,
    target: &Target,
    toc: &Toc,
    job: &Job<'_>,
) -> Outcome<Scratch> {
    let public = if toc.creates_public_schema {
        PublicSchema::Dump
    } else {
        PublicSchema::Template
    };
    let target = &made_for(&shaped(target, toc), job);
    let scratch = scratch::create(login, target, &job.run, public).await;
    let scratch = scratch.map_err(|failed| unmakable(failed, target))?;
    job.run
        .progress
        .note(&format!("loading into {}", scratch.name));
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

/// The role that makes everything must be allowed to; the swap gives the database to live's owner, or to whoever restores.
fn made_for(target: &Target, job: &Job<'_>) -> Target {
    let mut target = target.clone();
    if let Owner::Role(name) = &job.restore.contents.owner {
        target.live.owner.clone_from(name);
    }
    target
}

/// That what the table of contents lists is in the loaded database, which is then analyzed.
pub async fn prove(
    login: &Login,
    scratch: &Scratch,
    (toc, suited): (&Toc, &Suited),
    job: &Job<'_>,
) -> Outcome<()> {
    let session = connection::connect(login, &scratch.name).await?;
    let promised = promised(toc, &suited.selection);
    let counted = catalog::compare(&session, &promised).await?;
    job.run
        .notes
        .drill(|drill| drill.objects = counted.by_kind());
    // Before the statistics, which cover what the files make. They are written for the whole of the dump.
    let added = match suited.selection.part() {
        None => after_load(login, &scratch.name, job).await?,
        Some(_) => None,
    };
    job.run.progress.note("gathering statistics");
    let analyzing = analyze(login, &scratch.name, job.restore.jobs, job.restore.stall);
    let apart = not_analyzed(&analyzing.await?);
    let told = [counted.to_string()].into_iter().chain(added).chain(apart);
    let told: Vec<String> = told.collect();
    job.run.notes.message(told.join("; "));
    let bytes = space::own_size(&session).await?;
    job.run.notes.size(bytes);
    session.close().await;
    space::within(bytes, suited.room.most_bytes())
}

/// Nobody on another server is asked by a restore.
fn not_analyzed(parents: &[String]) -> Option<String> {
    let first = parents.first()?;
    let more = match parents.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "not analyzed, since a part of it lies on another server: {}{more}",
        shown(first)
    ))
}

/// What the table of contents lists and is not left out.
fn promised(toc: &Toc, selection: &Selection) -> Vec<Promised> {
    let taken = toc.entries.iter().filter(|entry| selection.takes(entry));
    let listed = taken.map(|entry| Promised {
        kind: entry.kind.to_string(),
        schema: (!entry.namespace.is_empty()).then(|| entry.namespace.to_string()),
        name: entry.tag.to_string(),
    });
    listed.collect()
}
