//! `restore`: a dump into a scratch database, proven there, then live by one swap of names.
//!
//! Up to the swap nothing touches the live database; after any failure before it the scratch database is dropped by the
//! run's clean-up, and the live one is what it was.

use std::collections::BTreeSet;
use std::path::Path;

use super::hooks;
use super::unzip::{self, Unpacked};
use super::{App, Job, Order, perform};
use crate::config::{Method, Restore, format_bytes};
use crate::database::catalog::{self, Promised};
use crate::database::checks;
use crate::database::connection::{self, Login, Session};
use crate::database::dump::{PgVersion, Toc};
use crate::database::load::{self, Load};
use crate::database::preflight::{self, Needs, Target};
use crate::database::scratch::{self, PublicSchema, Scratch};
use crate::database::swap::{self, Named, Patience as SwapPatience, SwapOrder};
use crate::database::tools::{self, Tool};
use crate::escape::{quoted, shown};
use crate::network::Patience;
use crate::report::{DatabaseFacts, Record, Report, Step};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// The server with its live database, held against everybody else who would restore into it.
pub struct Held {
    pub session: Session,
    pub target: Target,
}

/// A loaded scratch database beside the live one that it will replace.
pub struct Restored {
    scratch: Scratch,
    held: Held,
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
    report.undivided_step(Step::Swap, swap(restored, job)).await
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

/// Everything that would make the restore fail, found before anything is downloaded or loaded.
pub async fn suits(held: &Held, toc: &Toc, job: &Job<'_>) -> Outcome<Tool> {
    let Held { session, target } = held;
    let found = tools::find(job.database.bin_dir.as_deref()).await?;
    let server = PgVersion::from_number(i32::try_from(target.server.version_num).unwrap_or(0));
    let needs = tools::Needs {
        pg_dump: toc.header.pg_dump(),
        archive_version: toc.header.archive_version,
        server,
    };
    let tool = tools::choose(&found, needs)?.clone();
    for warning in outdated(&tool, server) {
        job.run.notes.warn(warning);
    }
    let warnings = preflight::suits(session, target, &self::needs(toc, job), &job.run.id).await?;
    for warning in warnings {
        job.run.notes.warn(warning);
    }
    if job.restore.method == Method::Swap {
        let live = Named {
            name: target.live.name.clone(),
            oid: target.live.oid,
        };
        swap::obstacles(session, &live).await?;
    }
    if toc.has_subscriptions() {
        let names: Vec<_> = toc
            .of_kind("SUBSCRIPTION")
            .map(|entry| quoted(&entry.tag))
            .collect();
        job.run.notes.warn(format!(
            "subscriptions are left out of the restore: {}",
            names.join(", ")
        ));
    }
    if toc.has_no_rows() {
        let told =
            "the dump has tables but no rows of any: was it made with `pg_dump --schema-only`?";
        job.run.notes.warn(told);
    }
    hooks::judge(job)?;
    Ok(tool)
}

/// One warning where both are the same release, as they are with a distribution's packages.
fn outdated(tool: &Tool, server: PgVersion) -> Vec<String> {
    if tool.version == server {
        return tools::outdated("pg_restore and server", server)
            .into_iter()
            .collect();
    }
    let both = [
        tools::outdated("pg_restore", tool.version),
        tools::outdated("server", server),
    ];
    both.into_iter().flatten().collect()
}

fn needs(toc: &Toc, job: &Job<'_>) -> Needs {
    Needs {
        roles: toc.roles.clone(),
        owners: toc.owners.clone(),
        extensions: toc.extensions.clone(),
        languages: toc.languages.clone(),
        tablespaces: toc.tablespaces.clone(),
        encoding: toc.encoding.clone(),
        superuser_only: superuser_only(toc),
        jobs: job.restore.jobs,
    }
}

/// Entries that only a superuser may create.
fn superuser_only(toc: &Toc) -> BTreeSet<String> {
    let kinds = ["EVENT TRIGGER", "FOREIGN DATA WRAPPER"];
    let entries = toc
        .entries
        .iter()
        .filter(|entry| kinds.contains(&&*entry.kind));
    entries
        .map(|entry| format!("{} {}", entry.kind, entry.tag))
        .collect()
}

/// What a dry run says about the database side.
pub async fn plan(toc: &Toc, held: &Held, job: &Job<'_>) -> Outcome<()> {
    let tool = suits(held, toc, job).await?;
    let Held { session, target } = held;
    let live = &target.live;
    let size = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let size = size.map_or_else(|| "size unknown".to_owned(), format_bytes);
    let version = &target.server.version;
    let mut lines = vec![
        format!(
            "database  `{}` ({size}) on {}, PostgreSQL {}",
            live.name,
            job.database.host,
            version.split(' ').next().unwrap_or(version)
        ),
        "          free space on the server: unknown, SQL can't see its disks".to_owned(),
        format!("tool      {} {}", tool.path.display(), tool.version),
        format!("roles     {}", all_there(&toc.roles)),
        format!("needs     extensions: {}", all_there(&toc.extensions)),
    ];
    match job.restore.method {
        Method::Swap => {
            lines.push(format!(
                "scratch   {}",
                scratch::scratch_name(&live.name, &job.run.id)
            ));
            lines.push(format!(
                "previous  {} would be kept for undo",
                scratch::previous_name(&live.name, &job.run.id)
            ));
        }
        Method::InPlace => lines.push(
            "method    in one transaction over the live database; there is no undo".to_owned(),
        ),
    }
    lines.push(sessions_in_words(
        &preflight::sessions(session, &live.name).await?,
    ));
    job.run.notes.plan(lines);
    Ok(())
}

/// Who had to leave at the swap.
pub fn ended_sessions(count: usize) -> String {
    match count {
        1 => "1 session ended".to_owned(),
        count => format!("{count} sessions ended"),
    }
}

/// Missing ones have ended the plan before.
fn all_there(names: &BTreeSet<String>) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "none needed".to_owned();
    }
    let listed: Vec<String> = names.iter().take(SHOWN).map(|name| shown(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}: all there", listed.join(", "))
}

/// Who would have to leave at the swap.
pub fn sessions_in_words(sessions: &[preflight::Sessions]) -> String {
    if sessions.is_empty() {
        return "sessions  none in the live database now".to_owned();
    }
    let all: i64 = sessions.iter().map(|s| s.count).sum();
    let who: Vec<String> = sessions
        .iter()
        .take(5)
        .map(|s| {
            format!(
                "{} of {} ({})",
                s.count,
                shown(&s.user),
                shown(&s.application)
            )
        })
        .collect();
    format!(
        "sessions  {all} in the live database now: {}",
        who.join(", ")
    )
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
    let scratch = scratch::create(login, target, &job.run, public).await?;
    job.run
        .progress
        .note(&format!("loading into {}", scratch.name));
    let plan = Load {
        tool,
        login,
        target: &scratch.name,
        dump: &unpacked.path,
        format: unpacked.toc.header.format,
        jobs: job.restore.jobs,
        in_place: false,
        stall: job.restore.stall,
    };
    load::load(&plan, &job.run).await?;
    prove(login, &scratch, &unpacked.toc, job).await?;
    Ok(scratch)
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

/// Makes the scratch database live: hooks around it, the swap itself, then the duties that follow.
pub async fn swap(restored: Restored, job: &Job<'_>) -> Outcome<()> {
    let Restored { scratch, held } = restored;
    let before = held.target.live.oid;
    let Held { session, target } = still_held(held, job).await.map_err(lost_on_the_way)?;
    if target.live.oid != before {
        return Err(Failed::new(
            Verdict::Failed,
            format!(
                "`{}` is another database than when the restore began",
                target.live.name
            ),
        )
        .hint("somebody has replaced or renamed it meanwhile; find out who, then run again"));
    }
    let names = hooks::Names {
        database: target.live.name.clone(),
        scratch: scratch.name.clone(),
    };
    let exchanging = async {
        if session.is_closed() {
            return Err(unguarded(&target.live.name));
        }
        exchange(&scratch, &target, job)
            .await
            .map_err(lost_on_the_way)
    };
    let swapped = hooks::around(&names, job, exchanging).await;
    session.close().await;
    let (mut duties, after) = swapped?;
    duties.extend(after);
    duties.extend(super::previous::drop_old(job).await);
    super::open_duties(&duties)
}

/// Without the lock another machine may have begun to restore into the same database.
fn unguarded(live: &str) -> Failed {
    Failed::new(
        Verdict::Failed,
        format!("the session that kept others from restoring into `{live}` was lost"),
    )
    .hint(
        "look at the server's log: it was restarted, or somebody ended the session; then run again",
    )
}

/// The swap. Returns what differs between the old and the new database though it should not.
async fn exchange(scratch: &Scratch, target: &Target, job: &Job<'_>) -> Outcome<Vec<String>> {
    let previous = scratch::previous_name(&target.live.name, &job.run.id);
    let order = SwapOrder {
        live: Named {
            name: target.live.name.clone(),
            oid: target.live.oid,
        },
        incoming: Named {
            name: scratch.name.clone(),
            oid: scratch.oid,
        },
        previous: previous.clone(),
        patience: SwapPatience {
            sessions: job.restore.sessions,
            timeout: job.restore.sessions_timeout,
        },
    };
    let swapped = swap::swap(&login(job), &order, &job.run)
        .await
        .map_err(lost_on_the_way)
        .context(format!(
            "make `{}` live as `{}`",
            scratch.name, target.live.name
        ))?;
    job.run.notes.previous(&swapped.previous);
    job.run
        .notes
        .message(ended_sessions(swapped.ended_sessions));
    Ok(swapped.differences)
}
