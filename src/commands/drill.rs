//! `drill`: proves that the newest archive restores, by restoring it to be thrown away.
//!
//! As a run up to the checks, but with other ends: a scratch database on the job's server, or a private cluster on this machine.
//! The live database is neither held nor touched, and need not be there.

mod ground;
mod own;
mod plan;

use std::time::Duration;

use self::ground::Ground;
use super::fetch::{self, Chosen, Fetched, Found, Wanted};
use super::restore::{self, Held, Restored};
use super::run::{Arrived, arrive};
use super::unzip::{self, Unpacked};
use super::{App, Job, Order, perform, reach, space};
use crate::cli::Which;
use crate::config::{DrillPlace, Restore, format_duration};
use crate::database::tools::Tool;
use crate::database::{checks, rows};
use crate::report::{DrillFacts, Origin, Place, Record, Report, Step, StepRecord};
use crate::verdict::{Failed, Outcome, Verdict};

/// Those whose time a restore takes; what is counted and dropped, no restore would wait for.
const TIMED: [Step; 4] = [Step::Fetch, Step::Unzip, Step::Restore, Step::Check];

/// `backupctl drill [JOB]`.
pub async fn command(app: &App, job: &Restore, which: &Which) -> Record {
    let place = app.config.drill.place;
    let order = Order {
        command: "drill",
        store: true,
        archives: true,
        database: place == DrillPlace::Server,
        mail: true,
    };
    perform(app, job, order, async |job, report| {
        restore::scripts(job)?;
        job.run.notes.begin_drill(DrillFacts {
            place: match place {
                DrillPlace::Server => Place::Server,
                DrillPlace::Local => Place::Local,
            },
            ..DrillFacts::default()
        });
        let (own, database) = (own::restore(job), own::database(job));
        let drilled = own::job(job, &own, &database, job.run.clone());
        if app.options.dry_run {
            return plan::plan(&drilled, which, report).await;
        }
        drill(&drilled, (job.restore, which), report).await
    })
    .await
}

/// What is loaded.
enum Source {
    Unpacked(Box<Unpacked>),
    /// `stream = true`: it comes while it is loaded.
    Stream(Box<Chosen>),
}

/// What the fetch step ends with.
enum Newest {
    Arrived(Box<Arrived>),
    Kept(Fetched),
    Stream(Box<Chosen>),
}

async fn drill(
    job: &Job<'_>,
    (configured, which): (&Restore, &Which),
    report: &mut Report,
) -> Outcome<()> {
    let held = report.step(Step::Network, enter(job)).await?;
    let fetching = newest(job, which, held);
    let (newest, tool) = report.step(Step::Fetch, fetching).await?;
    let source = match newest {
        Newest::Stream(chosen) => Source::Stream(chosen),
        other => unpacked(other, configured, job, report).await?,
    };
    let loading = async {
        let ground = Ground::prepare(job, tool).await?;
        let restored = ground::load(&ground, source, job).await;
        let restored = ground.judge(restored).await?;
        Ok((ground, restored))
    };
    let (ground, restored) = report.step(Step::Restore, loading).await?;
    let drilled = ground.job(job);
    let checking = async { ground.judge(check(&restored, &drilled).await).await };
    report.step(Step::Check, checking).await?;
    timed(job, &report.record.steps);
    let counting = async { ground.judge(count(&restored, &drilled).await).await };
    report.step(Step::Count, counting).await?;
    let run = drilled.run.clone();
    let login = restore::login(&drilled);
    let dropping = ground.give_up(restored, login, (job, run));
    report.step(Step::Drop, dropping).await
}

/// The server as it is; None where the drill needs none.
async fn enter(job: &Job<'_>) -> Outcome<Option<Held>> {
    if job.config.drill.place == DrillPlace::Local {
        reach::all_but_database(job).await?;
        return Ok(None);
    }
    reach::all(job).await?;
    let (session, target) = restore::look(job).await?;
    Ok(Some(Held { session, target }))
}

/// The archive to take, as it lies in the store. A drill doesn't wait for one: its time is told.
async fn chosen(job: &Job<'_>, which: &Which) -> Outcome<Box<Chosen>> {
    match fetch::look(job, &Wanted::here(which)).await?.found()? {
        Found::Chosen(chosen) => Ok(chosen),
        Found::Unchanged(_, why) => Err(Failed::new(Verdict::Bug, why)),
    }
}

/// What would make the drill fail is found before the download. The tool is what the private cluster is made with.
async fn newest(
    job: &Job<'_>,
    which: &Which,
    held: Option<Held>,
) -> Outcome<(Newest, Option<Tool>)> {
    let chosen = chosen(job, which).await?;
    let tool = fits(&chosen, held, job).await?;
    if job.restore.stream {
        super::stream::suits(chosen.contents.toc.header.format)?;
        from(Origin::Streamed, job);
        job.run
            .notes
            .message("looked into; it is streamed into pg_restore");
        return Ok((Newest::Stream(chosen), tool));
    }
    let (archive, dump) = (chosen.archive.bytes, chosen.contents.bytes);
    if let Some(fetched) = fetch::kept_already(&chosen.archive, job).await? {
        space::of_unzip(archive, dump, job)?.judge()?;
        from(Origin::Kept, job);
        job.run
            .notes
            .message("an earlier run has fetched it, and its SHA-256 holds");
        return Ok((Newest::Kept(fetched), tool));
    }
    space::of_run(archive, dump, job)?.judge()?;
    from(Origin::Store, job);
    let arrived = arrive(*chosen, job).await?;
    Ok((Newest::Arrived(Box::new(arrived)), tool))
}

fn from(origin: Origin, job: &Job<'_>) {
    job.run.notes.drill(|drill| drill.origin = Some(origin));
}

async fn fits(chosen: &Chosen, held: Option<Held>, job: &Job<'_>) -> Outcome<Option<Tool>> {
    let toc = &chosen.contents.toc;
    let Some(held) = held else {
        space::of_cluster(chosen.coming(), job)?;
        return ground::suits_here(toc, job).await.map(Some);
    };
    ground::suits(&held, toc, chosen.coming(), job).await?;
    held.session.close().await;
    Ok(None)
}

/// The dump, and what becomes of its archive: it is kept as a run would keep it.
async fn unpacked(
    newest: Newest,
    configured: &Restore,
    job: &Job<'_>,
    report: &mut Report,
) -> Outcome<Source> {
    let arrived = match newest {
        Newest::Arrived(arrived) => *arrived,
        Newest::Kept(fetched) => {
            let unpacking = unzip::dump(&fetched, job);
            let unpacked = report.step(Step::Unzip, unpacking).await?;
            return Ok(Source::Unpacked(Box::new(unpacked)));
        }
        Newest::Stream(chosen) => return Ok(Source::Stream(chosen)),
    };
    let Arrived {
        archive,
        fetched,
        unpacking,
    } = arrived;
    let finished = unzip::finish(unpacking, archive, fetched.as_ref(), job);
    let unpacked = report.step(Step::Unzip, finished).await;
    if let (Some(fetched), Err(failed)) = (&fetched, &unpacked)
        && failed.verdict == Verdict::Damaged
        && let Err(failed) = fetch::discard(fetched)
    {
        job.run.notes.warn(failed.message());
    }
    let keep = configured.keep_archives;
    let at_hand = fetched.as_ref().filter(|_| keep > 0);
    fetch::prune(job, keep, at_hand.map(|fetched| fetched.path.as_path()));
    Ok(Source::Unpacked(Box::new(unpacked?)))
}

/// The job's checks and those of `[drill]`. What compares with live needs one.
async fn check(restored: &Restored, job: &Job<'_>) -> Outcome<()> {
    let (login, scratch) = (restore::login(job), &restored.scratch.name);
    let has_live = !restored.held.target.live.is_missing();
    if has_live {
        restore::count(&login, scratch, job).await;
    }
    let mut checks = job.restore.checks.clone();
    if !has_live {
        let all = checks.len();
        checks.retain(|check| !check.needs_live());
        if let skipped @ 1.. = all - checks.len() {
            job.run.notes.warn(format!(
                "checks that compare with the live database were SKIPPED, since there is none here: {skipped} of {all}"
            ));
        }
    }
    if checks.is_empty() {
        job.run.notes.message("none configured");
    }
    checks::check(&login, scratch, &checks, job.restore.stall, &job.run)
        .await
        .map_err(restore::lost_on_the_way)
        .map_err(|failed| own::about_a_drill(failed, job))
}

/// How long it has taken so far is how long a restore takes.
fn timed(job: &Job<'_>, steps: &[StepRecord]) {
    let timed = steps.iter().filter(|step| TIMED.contains(&step.step));
    let seconds: f64 = timed.map(|step| step.seconds).sum();
    let seconds = (seconds * 1000.0).round() / 1000.0;
    job.run
        .notes
        .drill(|drill| drill.time_to_restore_seconds = Some(seconds));
    let took = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if let Some(rto) = job.restore.targets.rto.filter(|rto| took > *rto) {
        job.run.notes.warn(format!(
            "the restore took {}, and `rto` is {}",
            format_duration(took),
            format_duration(rto)
        ));
    }
}

/// Every table's rows, read to the last one.
async fn count(restored: &Restored, job: &Job<'_>) -> Outcome<()> {
    job.run.progress.note("counting rows");
    let (login, scratch) = (restore::login(job), &restored.scratch.name);
    let tables = rows::count(&login, scratch, job.restore.jobs).await;
    let tables = tables.map_err(restore::lost_on_the_way)?;
    let rows: u64 = tables.iter().filter_map(|table| table.rows).sum();
    let unread = tables.iter().filter(|table| table.rows.is_none()).count();
    if unread > 0 {
        job.run.notes.warn(format!(
            "the rows of tables that {} may not read are not counted: {unread} of {}",
            login.settings.user,
            tables.len()
        ));
    }
    job.run
        .notes
        .message(format!("{rows} rows in {} tables", tables.len()));
    job.run.notes.drill(|drill| {
        drill.rows = Some(rows);
        drill.tables = tables;
    });
    Ok(())
}
