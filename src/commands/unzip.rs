//! `unzip`: the dump out of a fetched archive, proven by its CRC, in the state directory.

mod along;
mod look;
mod named;
mod place;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::along::{OnDisk, Unpacking, begin, finish};
use self::look::opened;
pub use self::look::{Asked, Contents, contents, judged_here, look_apart, look_inside};
pub use self::named::{dump as named_dump, toc as toc_of};
use self::place::{Place, to_the_disk};
use super::fetch::{self, Fetched};
use super::space::{self, Coming};
use super::{App, Job, Order, perform};
use crate::archive::Found;
use crate::config::Restore;
use crate::database::dump::Toc;
use crate::durable;
use crate::journal::Created;
use crate::report::{ArchiveFacts, DumpFacts, Record, Report, Step};
use crate::state_dir;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// A dump on this machine whose bytes were proven on the way out of its archive.
#[derive(Debug, Clone)]
pub struct Unpacked {
    pub path: PathBuf,
    pub toc: Toc,
    /// None for a dump that somebody named with `--file`.
    pub archive: Option<ArchiveFacts>,
    pub dump: DumpFacts,
    pub on_disk: OnDisk,
}

impl Unpacked {
    pub fn coming(&self) -> Coming {
        let archive = self.archive.as_ref().map(|archive| archive.bytes);
        Coming::new(archive, Some(self.dump.bytes), &self.toc)
    }
}

/// What is noted beside an unpacked dump, for a `restore` by hand.
#[derive(Debug, Serialize, Deserialize)]
struct Beside {
    archive: Option<ArchiveFacts>,
    dump: DumpFacts,
}

/// `backupctl unzip [JOB] [--file ARCHIVE]`.
pub async fn command(app: &App, restore: &Restore, file: Option<&Path>, notify: bool) -> Record {
    let order = Order {
        command: "unzip",
        store: false,
        archives: true,
        database: false,
        mail: notify,
    };
    perform(app, restore, order, async |job, report| {
        report.record.path = steps(job, app, report, file).await?;
        Ok(())
    })
    .await
}

async fn steps(
    job: &Job<'_>,
    app: &App,
    report: &mut Report,
    file: Option<&Path>,
) -> Outcome<Option<PathBuf>> {
    if let Some(directory) = file.filter(|file| file.is_dir()) {
        return a_directory(job, app, report, directory).await;
    }
    let fetched = match file {
        Some(file) => named_archive(job, file)?,
        None => fetch::newest_kept(job)?,
    };
    if app.options.dry_run {
        let contents = report
            .step(Step::Unzip, contents(&fetched.path, job))
            .await?;
        job.run.notes.plan(contents.in_words());
        let room = space::of_unzip(fetched.facts.bytes, contents.bytes, job)?;
        job.run.notes.plan(room.in_words());
        room.judge()?;
        return Ok(None);
    }
    let unpacked = report.step(Step::Unzip, dump(&fetched, job)).await?;
    leave(job, &unpacked)?;
    Ok(Some(unpacked.path))
}

/// A dump in directory format that is in no archive.
async fn a_directory(
    job: &Job<'_>,
    app: &App,
    report: &mut Report,
    directory: &Path,
) -> Outcome<Option<PathBuf>> {
    if app.options.dry_run {
        let planned = async { named::plan(job, directory) };
        report.step(Step::Unzip, planned).await?;
        return Ok(None);
    }
    let copying = named::copied(job, directory);
    let unpacked = report.step(Step::Unzip, copying).await?;
    leave(job, &unpacked)?;
    Ok(Some(unpacked.path))
}

const NAMED: &str = "check the path after `--file`, and whether this user may read it";

/// An archive that somebody named, wherever it came from. Its SHA-256 is not known yet.
pub fn named_archive(job: &Job<'_>, file: &Path) -> Outcome<Fetched> {
    let meta = std::fs::metadata(file)
        .judge(Verdict::Local, format!("look at {}", file.display()))
        .hint(NAMED)?;
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let modified = meta
        .modified()
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok());
    let facts = ArchiveFacts {
        name,
        bytes: meta.len(),
        modified,
        dated: None,
        sha256: None,
    };
    job.run.notes.archive(facts.clone());
    Ok(Fetched {
        path: file.to_owned(),
        facts,
    })
}

/// Unpacks the archive's dump below state_dir, and hashes the archive meanwhile where nobody has yet.
pub async fn dump(fetched: &Fetched, job: &Job<'_>) -> Outcome<Unpacked> {
    let (archive, unpacked) = tokio::join!(hashed(fetched, job), unpacked(fetched, job));
    let archive = Some(archive?);
    Ok(Unpacked {
        archive,
        ..unpacked?
    })
}

/// The archive's facts with its SHA-256, which the report has even if the archive turns out to be broken.
async fn hashed(fetched: &Fetched, job: &Job<'_>) -> Outcome<ArchiveFacts> {
    let mut facts = fetched.facts.clone();
    if facts.sha256.is_some() {
        return Ok(facts);
    }
    let path = fetched.path.clone();
    let sha256 = tokio::task::spawn_blocking(move || fetch::sha256_of(&path))
        .await
        .judge(Verdict::Bug, "hash the archive")?
        .judge(Verdict::Local, format!("read {}", fetched.path.display()))?;
    facts.sha256 = Some(sha256);
    job.run.notes.archive(facts.clone());
    Ok(facts)
}

/// Temp name, byte budget, CRC, fsync, rename.
async fn unpacked(fetched: &Fetched, job: &Job<'_>) -> Outcome<Unpacked> {
    let contents = contents(&fetched.path, job).await?;
    space::of_unzip(fetched.facts.bytes, contents.bytes, job)?.judge()?;
    let place = Place::take(contents.toc.header.format, job)?.syncing();
    job.run.progress.total(contents.bytes.unwrap_or(0));
    let path = place.path.clone();
    let (bytes, rate) = unpack(&fetched.path, contents.found.clone(), place, job).await?;
    job.run.notes.bytes(bytes);
    job.run.notes.message(rate);
    let facts = DumpFacts {
        bytes,
        ..contents.facts()
    };
    job.run.notes.dump(facts.clone());
    Ok(Unpacked {
        path,
        toc: contents.toc,
        archive: Some(fetched.facts.clone()),
        dump: facts,
        on_disk: OnDisk::already(),
    })
}

async fn unpack(
    archive: &Path,
    found: Found,
    mut place: Place,
    job: &Job<'_>,
) -> Outcome<(u64, String)> {
    let what = format!("unpack {}", archive.display());
    let (archive, run) = (archive.to_owned(), job.run.clone());
    let work = move || {
        let clock = Instant::now();
        let (file, _) = opened(&archive)?;
        let mut inside = found.over(file).map_err(judged_here)?;
        let written = place.fill(
            &mut inside,
            |bytes| run.progress.advance(bytes),
            || run.stop.is_cancelled(),
        )?;
        written
            .sync()
            .judge(Verdict::Local, to_the_disk(&place.part))?;
        place.publish()?;
        Ok((written.bytes, fetch::rate(written.bytes, clock.elapsed())))
    };
    tokio::task::spawn_blocking(work)
        .await
        .judge(Verdict::Bug, &what)?
        .context(what)
}

/// Leaves the dump for a `restore` by hand, in place of any earlier one.
fn leave(job: &Job<'_>, unpacked: &Unpacked) -> Outcome<()> {
    let beside = Beside {
        archive: unpacked.archive.clone(),
        dump: unpacked.dump.clone(),
    };
    let text = serde_json::to_vec_pretty(&beside).judge(Verdict::Bug, "write the dump's facts")?;
    let facts = unpacked.path.with_extension("json");
    durable::write(&facts.with_file_name("facts.tmp"), &facts, &text)
        .judge(Verdict::Local, format!("write {}", facts.display()))?;
    for file in [unpacked.path.clone(), unpacked.path.with_extension("part")] {
        job.run
            .journal
            .forget(&Created::File(file))
            .judge(Verdict::Local, "write the journal")?;
    }
    for older in kept(&state_dir::dumps(job.state_dir(), &job.restore.name))? {
        if older != unpacked.path {
            remove(&older).judge(Verdict::Local, format!("remove {}", older.display()))?;
        }
    }
    Ok(())
}

fn remove(dump: &Path) -> io::Result<()> {
    durable::remove_all(dump)?;
    durable::remove(&dump.with_extension("json"))
}

/// The dumps that `unzip` has left, oldest first.
fn kept(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.judge(Verdict::Local, format!("list {}", directory.display()))?,
    };
    let mut found: Vec<PathBuf> = listing
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "dump")
        })
        .filter(|path| path.with_extension("json").is_file())
        .collect();
    found.sort();
    Ok(found)
}

/// The dump that the last `unzip` has left.
pub fn newest_kept(job: &Job<'_>) -> Outcome<Unpacked> {
    let directory = state_dir::dumps(job.state_dir(), &job.restore.name);
    let path = kept(&directory)?.pop().ok_or_else(|| {
        Failed::new(
            Verdict::Stale,
            format!(
                "find an unzipped dump in {}: there is none",
                directory.display()
            ),
        )
        .hint(format!(
            "`backupctl unzip {}` makes one, or name a file with `--file`",
            job.restore.name
        ))
    })?;
    let facts = path.with_extension("json");
    let text = std::fs::read(&facts).judge(Verdict::Local, format!("read {}", facts.display()))?;
    let Beside { archive, dump } =
        serde_json::from_slice(&text).judge(Verdict::Local, format!("read {}", facts.display()))?;
    if let Some(archive) = &archive {
        job.run.notes.archive(archive.clone());
    }
    job.run.notes.dump(dump.clone());
    Ok(Unpacked {
        toc: Toc::open(&path)?,
        path,
        archive,
        dump,
        on_disk: OnDisk::already(),
    })
}
