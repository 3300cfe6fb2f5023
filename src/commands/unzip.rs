//! `unzip`: the dump out of a fetched archive, proven by its CRC, in the state directory.

mod along;
mod look;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::along::{OnDisk, Unpacking, begin, finish};
pub use self::look::{Asked, Contents, contents, judged_here, look_apart, look_inside};
use self::look::{HERE, gate, judged, opened};
use super::fetch::{self, Fetched};
use super::space::{self, Coming};
use super::{App, Job, Order, perform};
use crate::config::Restore;
use crate::database::dump::{self, Toc};
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
    let fetched = match file {
        Some(file) => named_archive(job, file).await?,
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

const NAMED: &str = "check the path after `--file`, and whether this user may read it";

/// An archive that somebody named, wherever it came from.
pub async fn named_archive(job: &Job<'_>, file: &Path) -> Outcome<Fetched> {
    let shown = file.display();
    let meta = std::fs::metadata(file)
        .judge(Verdict::Local, format!("look at {shown}"))
        .hint(NAMED)?;
    let path = file.to_owned();
    let sha256 = tokio::task::spawn_blocking(move || fetch::sha256_of(&path))
        .await
        .judge(Verdict::Bug, "hash the archive")?
        .judge(Verdict::Local, format!("read {shown}"))?;
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
        sha256: Some(sha256),
    };
    job.run.notes.archive(facts.clone());
    Ok(Fetched {
        path: file.to_owned(),
        facts,
    })
}

/// Unpacks the archive's dump below state_dir: temp name, byte budget, CRC, fsync, rename.
pub async fn dump(fetched: &Fetched, job: &Job<'_>) -> Outcome<Unpacked> {
    let contents = contents(&fetched.path, job).await?;
    space::of_unzip(fetched.facts.bytes, contents.bytes, job)?.judge()?;
    let place = Place::take(job)?;
    job.run.progress.total(contents.bytes.unwrap_or(0));
    let path = place.path.clone();
    let (bytes, rate) = unpack(&fetched.path, place, job).await?;
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

/// The file that a dump is unpacked into: listed in the journal, then made, under a name that nobody takes for a dump.
struct Place {
    part: PathBuf,
    path: PathBuf,
    out: File,
}

impl Place {
    /// Not for a thread that a signal leaves behind: it would create the file when all is cleaned up.
    fn take(job: &Job<'_>) -> Outcome<Self> {
        let directory = state_dir::dumps(job.state_dir(), &job.restore.name);
        durable::create_private_dir(&directory)
            .judge(Verdict::Local, format!("create {}", directory.display()))?;
        let path = directory.join(format!("{}.dump", job.run.id));
        let part = path.with_extension("part");
        for file in [&part, &path] {
            job.run
                .journal
                .will_create(Created::File(file.clone()))
                .judge(Verdict::Local, "write the journal")?;
        }
        let out = durable::create_private(&part)
            .judge(Verdict::Local, format!("create {}", part.display()))?;
        Ok(Self { part, path, out })
    }
}

async fn unpack(archive: &Path, place: Place, job: &Job<'_>) -> Outcome<(u64, String)> {
    let what = format!("unpack {}", archive.display());
    let Place {
        part,
        path,
        mut out,
    } = place;
    let (archive, asked, run) = (archive.to_owned(), Asked::of(job), job.run.clone());
    let work = move || {
        let clock = Instant::now();
        let (file, bytes) = opened(&archive)?;
        let mut inside = gate(file, bytes, &asked, HERE)?;
        let unpacked = inside
            .unpack(
                &mut out,
                |bytes| run.progress.advance(bytes),
                || run.stop.is_cancelled(),
            )
            .map_err(|problem| judged(problem, HERE))?;
        out.sync_all().judge(
            Verdict::Local,
            format!("write {} to the disk", part.display()),
        )?;
        durable::publish(&part, &path)
            .judge(Verdict::Local, format!("write {}", path.display()))?;
        Ok((unpacked, fetch::rate(unpacked, clock.elapsed())))
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
    durable::remove(dump)?;
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

/// A dump, or an archive that is unpacked first, as somebody named it with `--file`.
pub async fn named_dump(job: &Job<'_>, file: &Path) -> Outcome<Unpacked> {
    let what = || format!("read {}", file.display());
    let mut head = Vec::new();
    let source = File::open(file).judge(Verdict::Local, what()).hint(NAMED)?;
    source
        .take(dump::HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .judge(Verdict::Local, what())?;
    if !dump::looks_like_dump(&head) {
        return dump(&named_archive(job, file).await?, job).await;
    }
    let toc = Toc::open(file).context(what())?;
    let bytes = std::fs::metadata(file).judge(Verdict::Local, what())?.len();
    let facts = toc.header.facts(
        &file.file_name().unwrap_or_default().to_string_lossy(),
        bytes,
    );
    job.run.notes.dump(facts.clone());
    // pg_restore works in another directory.
    let path = std::path::absolute(file).judge(Verdict::Local, what())?;
    Ok(Unpacked {
        path,
        toc,
        archive: None,
        dump: facts,
        on_disk: OnDisk::already(),
    })
}

/// Only the table of contents of what somebody named with `--file`, and its lengths, for a dry run.
pub async fn toc_of(job: &Job<'_>, file: &Path) -> Outcome<(Toc, Coming)> {
    let mut head = Vec::new();
    let what = || format!("read {}", file.display());
    let source = File::open(file).judge(Verdict::Local, what()).hint(NAMED)?;
    let length = source.metadata().judge(Verdict::Local, what())?.len();
    source
        .take(dump::HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .judge(Verdict::Local, what())?;
    if dump::looks_like_dump(&head) {
        let toc = Toc::open(file).context(what())?;
        let coming = Coming::new(None, Some(length), &toc);
        return Ok((toc, coming));
    }
    let contents = contents(file, job).await?;
    let room = space::of_unzip(length, contents.bytes, job)?;
    job.run.notes.plan(room.in_words());
    room.judge()?;
    let coming = Coming::new(Some(length), contents.bytes, &contents.toc);
    Ok((contents.toc, coming))
}
