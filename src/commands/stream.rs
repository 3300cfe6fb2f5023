//! `stream = true`: from the store through the unpacker into pg_restore, with nothing on this machine's disk.
//!
//! The scratch database is filled before the archive is proven; nothing goes live before its checksum, its length and its
//! descriptor are, so a download that breaks off costs nothing but the time.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::fetch::{self, Arriving, Chosen, Feed, feed};
use super::restore::{self, Held, Restored, Suited, lost_on_the_way};
use super::{Job, unzip};
use crate::archive::Found;
use crate::database::connection::Login;
use crate::database::dump::{Format, Walk};
use crate::database::load::{self, Feeder, Input, Load, Loaded, Pulse, Select};
use crate::database::scratch::Scratch;
use crate::escape::shown;
use crate::report::DumpFacts;
use crate::run::Run;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// How long the archive is still read once pg_restore has failed: whether broken data, or data of another archive, made it fail is then known.
const DOUBT: Duration = Duration::from_mins(1);
const HEARTBEAT: Duration = Duration::from_millis(100);

/// An archive that can be streamed, and what loads it.
pub struct Ready {
    chosen: Chosen,
    suited: Suited,
}

/// Whether pg_restore reads a dump of this format from a pipe.
pub fn suits(format: Format) -> Outcome<()> {
    if format != Format::Directory {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Config,
        "stream the dump: it is in directory format, many files, which pg_restore can't read from a pipe",
    )
    .hint("remove `stream = true` from this job, or have the dump made with `pg_dump -Fc`"))
}

/// An archive that nothing speaks against, and how it will be restored.
pub fn ready(chosen: Chosen, suited: Suited, job: &Job<'_>) -> Outcome<Ready> {
    suits(chosen.contents.toc.header.format)?;
    job.run
        .notes
        .message("looked into; it is streamed into pg_restore");
    Ok(Ready { chosen, suited })
}

/// Fetches, unpacks and loads at the same time, and proves all of it.
pub async fn load(held: Held, ready: Ready, job: &Job<'_>) -> Outcome<Restored> {
    let Ready { chosen, suited } = ready;
    let login = restore::login(job);
    let contents = chosen.contents.clone();
    suited.room.warn(job);
    super::previous::make_room(&held.target.live, job).await?;
    restore::make_roles(&held, &suited, job).await?;
    let scratch = restore::empty_scratch(&login, &held.target, &contents.toc, job).await;
    let scratch = scratch.map_err(lost_on_the_way)?;
    let bytes = through_a_pipe(chosen, (&suited, &login, &scratch), job).await?;
    let rate = job.run.notes.lock().message.take().unwrap_or_default();
    let proven = restore::prove(&login, &scratch, (&contents.toc, &suited), job).await;
    proven.map_err(lost_on_the_way)?;
    job.run.notes.dump(DumpFacts {
        bytes,
        ..contents.facts()
    });
    let counted = job.run.notes.lock().message.take().unwrap_or_default();
    let told = format!("{counted}; streamed from the store, {rate}");
    job.run.notes.message(told);
    Ok(Restored { scratch, held })
}

/// Both ends at once; the length of what was unpacked and loaded.
async fn through_a_pipe(
    chosen: Chosen,
    (suited, login, scratch): (&Suited, &Login, &Scratch),
    job: &Job<'_>,
) -> Outcome<u64> {
    let (feeder, pipe) = load::pipe().judge(Verdict::Local, "make a pipe")?;
    let toc = chosen.contents.toc.clone();
    let plan = Load {
        tool: &suited.tool,
        login,
        target: &scratch.name,
        input: Input::Pipe(pipe),
        format: toc.header.format,
        jobs: 1,
        in_place: false,
        select: Some(Select {
            toc: &toc,
            selection: &suited.selection,
        }),
        stall: job.restore.stall,
        most_bytes: suited.room.most_bytes(),
    };
    let mut loading = pin!(load::load(plan, &job.run));
    let mut source = pin!(Source::start(chosen, feeder, job).run(job));
    tokio::select! {
        biased;
        came = &mut source => {
            // Where it failed this end keeps the pipe open, so that pg_restore sees no end that is none.
            let (feeder, bytes) = came?;
            feeder.finish();
            loading.await.map_err(lost_on_the_way)?;
            Ok(bytes)
        }
        loaded = &mut loading => {
            after_the_load(loaded, source).await
        }
    }
}

/// pg_restore has ended before the archive did, well or not.
async fn after_the_load(
    loaded: Outcome<Loaded>,
    source: impl Future<Output = Outcome<(Feeder, u64)>>,
) -> Outcome<u64> {
    match loaded {
        // It doesn't read what lies behind the last data it needs; the archive is proven to its end all the same.
        Ok(_) => {
            let (feeder, bytes) = source.await?;
            feeder.finish();
            Ok(bytes)
        }
        Err(failed) if matches!(failed.verdict, Verdict::Failed | Verdict::Damaged) => {
            match tokio::time::timeout(DOUBT, source).await {
                Ok(Err(cause)) if matches!(cause.verdict, Verdict::Damaged | Verdict::Stale) => {
                    Err(cause)
                }
                _ => Err(failed),
            }
        }
        Err(failed) => Err(lost_on_the_way(failed)),
    }
}

/// The archive's side of the pipe.
struct Source {
    chosen: Chosen,
    feed: Feed,
    what: String,
    pulse: Pulse,
    work: JoinHandle<(Feeder, Outcome<u64>)>,
}

impl Source {
    fn start(chosen: Chosen, feeder: Feeder, job: &Job<'_>) -> Self {
        let contents = &chosen.contents;
        let (feed, arriving) = feed(contents.found.span());
        let (found, run, pulse) = (contents.found.clone(), job.run.clone(), feeder.pulse());
        let pouring = Pouring {
            tar: (contents.toc.header.format == Format::Tar).then(Walk::default),
            is_read: true,
            feeder,
        };
        Self {
            what: format!("unpack `{}` while it comes", shown(&chosen.archive.name)),
            feed,
            pulse,
            work: tokio::task::spawn_blocking(move || pour(&found, arriving, pouring, &run)),
            chosen,
        }
    }

    /// Ends well once the whole dump went into the pipe and is proven. Where it does not, the pipe is open until it ends.
    async fn run(self, job: &Job<'_>) -> Outcome<(Feeder, u64)> {
        let is_full = self.feed.is_full();
        tokio::select! {
            passed = fetch::pass_on(self.chosen, self.feed, job) => passed.map(drop)?,
            never = beat(&self.pulse, &is_full) => match never {},
        }
        let (feeder, poured) = self.work.await.judge(Verdict::Bug, &self.what)?;
        let bytes = poured.context(&self.what)?;
        Ok((feeder, bytes))
    }
}

/// A slow network has bounds of its own, and is no stall of pg_restore; one that pg_restore doesn't read for is.
async fn beat(pulse: &Pulse, is_full: &AtomicBool) -> Infallible {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if !is_full.load(Ordering::Relaxed) {
            pulse.beat();
        }
    }
}

/// Unpacks into the pipe, and on to the archive's end where pg_restore reads no more.
fn pour(
    found: &Found,
    arriving: Arriving,
    mut pouring: Pouring,
    run: &Run,
) -> (Feeder, Outcome<u64>) {
    let ended_well = arriving.ended_well();
    let poured = found.over(arriving).and_then(|mut inside| {
        let bytes = inside.unpack(&mut pouring, |_| {}, || run.stop.is_cancelled())?;
        ended_well.store(true, Ordering::Release);
        Ok(bytes)
    });
    let Pouring { feeder, tar, .. } = pouring;
    let proven = poured
        .map_err(unzip::judged_here)
        .and_then(|bytes| tar.map_or(Ok(bytes), |walk| walk.is_whole().map(|()| bytes)));
    (feeder, proven)
}

/// The pipe as something that can always be written to.
struct Pouring {
    feeder: Feeder,
    tar: Option<Walk>,
    is_read: bool,
}

impl Write for Pouring {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = if self.is_read {
            match self.feeder.write(bytes) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.is_read = false;
                    bytes.len()
                }
                other => other?,
            }
        } else {
            bytes.len()
        };
        if let Some(walk) = &mut self.tar {
            walk.pass(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
