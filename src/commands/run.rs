//! `run`: the whole refresh, from the newest archive to the live database and the mail.

use std::time::{Duration, Instant};

use super::fetch::{self, Fetched, Found, Wanted};
use super::restore::Held;
use super::unzip::Unpacking;
use super::{App, Job, Order, perform, reach, restore, space, stream, unzip};
use crate::cli::Which;
use crate::config::{Restore, format_duration};
use crate::report::{ArchiveFacts, Record, Report, Step};
use crate::store::choose::Purpose;
use crate::verdict::{Outcome, Verdict};

/// `backupctl run [JOB]`, for one job.
pub async fn command(app: &App, job: &Restore, which: &Which) -> Record {
    let order = Order {
        command: "run",
        store: true,
        archives: true,
        database: true,
        mail: true,
    };
    perform(app, job, order, async |job, report| {
        restore::scripts(job)?;
        if app.options.dry_run {
            return plan(job, which, report).await;
        }
        let begun = Instant::now();
        let outcome = refresh(job, which, report).await;
        remark_on_time(job, begun.elapsed());
        outcome
    })
    .await
}

/// A run that waits for its archive is not slow.
fn remark_on_time(job: &Job<'_>, took: Duration) {
    let Some(expected) = job.restore.targets.expected else {
        return;
    };
    if took
        > expected
            .saturating_mul(2)
            .saturating_add(job.restore.wait_for)
    {
        job.run.notes.warn(format!(
            "slower than usual: this run took {}, and `expected` is {}",
            format_duration(took),
            format_duration(expected)
        ));
    }
}

async fn refresh(job: &Job<'_>, which: &Which, report: &mut Report) -> Outcome<()> {
    let reached = async {
        reach::all(job).await?;
        restore::hold(job).await
    };
    let held = report.step(Step::Network, reached).await?;
    let newest = report.step(Step::Fetch, newest(job, which, held)).await?;
    let (held, arrived) = match newest {
        Newest::Arrived(held, arrived) => (*held, *arrived),
        Newest::Streamable(held, ready) => return streamed(*held, *ready, job, report).await,
        Newest::Unchanged(why) => {
            fetch::forget_part(job);
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

/// Fetch, unzip and load at the same time: `stream = true`.
async fn streamed(
    held: Held,
    ready: stream::Ready,
    job: &Job<'_>,
    report: &mut Report,
) -> Outcome<()> {
    let restored = report
        .step(Step::Restore, stream::load(held, ready, job))
        .await?;
    fetch::prune(job, job.restore.keep_archives, None);
    restore::go_live(restored, job, report).await
}

/// An archive whose last byte was fetched, and its dump.
pub struct Arrived {
    pub archive: ArchiveFacts,
    /// None: nothing keeps the archive.
    pub fetched: Option<Fetched>,
    pub unpacking: Unpacking,
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
        reach::all(job).await?;
        restore::could_hold(job).await
    };
    let held = report.step(Step::Network, reached).await?;
    let work = async {
        let found = fetch::look_ahead(job, &wanted(job, which, &held).await?).await?;
        job.run.notes.plan(found.describe());
        let Found::Chosen(chosen) = found else {
            return Ok(());
        };
        plan_room(job, &chosen)?;
        restore::plan(&chosen.contents.toc, chosen.coming(), &held, job).await
    };
    report.step(Step::Fetch, work).await
}

/// What a dry run says of how the dump comes, and of the room for it.
fn plan_room(job: &Job<'_>, chosen: &fetch::Chosen) -> Outcome<()> {
    let told = if job.restore.stream {
        "way       streamed from the store into pg_restore, one session; no file is written here"
    } else if job.restore.keep_archives > 0 {
        "way       fetched and kept, and unpacked while it comes"
    } else {
        "way       only the dump's bytes are fetched, and unpacked while they come; the archive is not kept"
    };
    job.run.notes.plan(vec![told.to_owned()]);
    if job.restore.stream {
        stream::suits(chosen.contents.toc.header.format)?;
    }
    let room = space::of_run(chosen.archive.bytes, chosen.contents.bytes, job)?;
    job.run.notes.plan(room.in_words());
    room.judge()
}

/// What the fetch step ends with.
enum Newest {
    Arrived(Box<Held>, Box<Arrived>),
    /// For `stream = true`: nothing has come yet.
    Streamable(Box<Held>, Box<stream::Ready>),
    /// It is live or prepared already, and the job wants nothing done then; in words.
    Unchanged(String),
}

async fn wanted<'w>(job: &Job<'_>, which: &'w Which, held: &Held) -> Outcome<Wanted<'w>> {
    let live = &held.target.live;
    let (purpose, waiting) = if live.is_missing() {
        (Purpose::First, None)
    } else {
        let waiting = super::prepared::again(&held.session, live.oid, job).await?;
        (Purpose::Restore, waiting)
    };
    Ok(Wanted {
        which,
        purpose,
        waiting,
    })
}

/// The newest archive, unpacked while it comes. What would make the restore fail is found before the download.
async fn newest(job: &Job<'_>, which: &Which, mut held: Held) -> Outcome<Newest> {
    let wanted = wanted(job, which, &held).await?;
    let looked = fetch::look(job, &wanted).await?;
    let found = if looked.is_waited_for(job) {
        // Nobody is kept out of the live database while nothing is done to it, and no session idles for hours.
        held.session.close().await;
        let until = Instant::now() + job.restore.wait_for;
        let found = fetch::wait(job, &wanted, looked).await?;
        held = restore::hold_again(job, until).await?;
        found
    } else {
        looked.found()?
    };
    let chosen = match found {
        Found::Chosen(chosen) => *chosen,
        Found::Unchanged(_, why) => return Ok(Newest::Unchanged(why)),
    };
    let suited = restore::suits(&held, &chosen.contents.toc, chosen.coming(), job).await?;
    if job.restore.stream {
        let ready = stream::ready(chosen, suited, job)?;
        return Ok(Newest::Streamable(Box::new(held), Box::new(ready)));
    }
    space::of_run(chosen.archive.bytes, chosen.contents.bytes, job)?.judge()?;
    let arrived = arrive(chosen, job).await?;
    Ok(Newest::Arrived(Box::new(held), Box::new(arrived)))
}

/// Downloads the archive and unpacks what comes.
pub async fn arrive(chosen: fetch::Chosen, job: &Job<'_>) -> Outcome<Arrived> {
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
