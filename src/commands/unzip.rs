//! `unzip`: the dump out of a fetched archive, proven by its CRC, in the state directory.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fetch::{self, Fetched};
use super::{App, Job, Order, perform};
use crate::archive::{self, Inside, Limits, Problem};
use crate::config::{Restore, format_bytes};
use crate::database::dump::{self, Kind, Toc};
use crate::durable;
use crate::escape::shown;
use crate::journal::Created;
use crate::report::{ArchiveFacts, DumpFacts, Record, Report, Step};
use crate::run::Run;
use crate::state_dir;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// What an archive holds, known before anything is unpacked.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The dump's name inside the archive; empty where the archive is the dump.
    pub name: String,
    /// Unpacked; None where the container doesn't say.
    pub bytes: Option<u64>,
    pub toc: Toc,
}

impl Contents {
    pub fn facts(&self) -> DumpFacts {
        self.toc.header.facts(&self.name, self.bytes.unwrap_or(0))
    }

    /// For a plan.
    pub fn in_words(&self) -> Vec<String> {
        let header = &self.toc.header;
        let size = self
            .bytes
            .map_or_else(|| "size unknown".to_owned(), format_bytes);
        let by = |version: &str| shown(version.split(' ').next().unwrap_or(version));
        vec![
            format!(
                "dump      {} ({size}, {} format)",
                shown(&self.name),
                header.format
            ),
            format!(
                "          by pg_dump {} from server {}",
                by(&header.pg_dump_version),
                by(&header.server_version)
            ),
        ]
    }
}

/// A dump on this machine whose bytes were proven on the way out of its archive.
#[derive(Debug, Clone)]
pub struct Unpacked {
    pub path: PathBuf,
    pub toc: Toc,
    /// None for a dump that somebody named with `--file`.
    pub archive: Option<ArchiveFacts>,
    pub dump: DumpFacts,
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
        fetch::plan_space(job, contents.bytes.unwrap_or(0))?;
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

/// Looks into an archive on this machine.
pub async fn contents(path: &Path, job: &Job<'_>) -> Outcome<Contents> {
    let (path, restore, run) = (path.to_owned(), job.restore.clone(), job.run.clone());
    let shown = path.display().to_string();
    let look = move || {
        let (file, bytes) = opened(&path)?;
        look_inside(file, bytes, &restore, HERE, &run)
    };
    tokio::task::spawn_blocking(look)
        .await
        .judge(Verdict::Bug, "look into the archive")?
        .context(format!("look into {shown}"))
}

/// What a missing end record and a failing read mean for an archive on this machine.
const HERE: (Verdict, Verdict) = (Verdict::Damaged, Verdict::Local);

/// Unpacks the archive's dump below state_dir: temp name, byte budget, CRC, fsync, rename.
pub async fn dump(fetched: &Fetched, job: &Job<'_>) -> Outcome<Unpacked> {
    let contents = contents(&fetched.path, job).await?;
    fetch::space(job, contents.bytes.unwrap_or(0))?;
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
    job.run.progress.total(contents.bytes.unwrap_or(0));
    let (bytes, rate) = unpack(&fetched.path, &part, job).await?;
    durable::publish(&part, &path).judge(Verdict::Local, format!("write {}", path.display()))?;
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
    })
}

async fn unpack(archive: &Path, part: &Path, job: &Job<'_>) -> Outcome<(u64, String)> {
    let what = format!("unpack {}", archive.display());
    // Here and not in the work, which a signal leaves behind: it would create the file when all is cleaned up.
    let mut out = durable::create_private(part)
        .judge(Verdict::Local, format!("create {}", part.display()))?;
    let (archive, part, restore, run) = (
        archive.to_owned(),
        part.to_owned(),
        job.restore.clone(),
        job.run.clone(),
    );
    let work = move || {
        let clock = Instant::now();
        let (file, bytes) = opened(&archive)?;
        let mut inside = gate(file, bytes, &restore, HERE)?;
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
        Ok((unpacked, fetch::rate(unpacked, clock.elapsed())))
    };
    tokio::task::spawn_blocking(work)
        .await
        .judge(Verdict::Bug, &what)?
        .context(what)
}

fn opened(path: &Path) -> Outcome<(File, u64)> {
    let what = || format!("open {}", path.display());
    let file = File::open(path).judge(Verdict::Local, what())?;
    let bytes = file.metadata().judge(Verdict::Local, what())?.len();
    Ok((file, bytes))
}

fn gate<R: Read + Seek>(
    reader: R,
    bytes: u64,
    restore: &Restore,
    verdicts: (Verdict, Verdict),
) -> Outcome<Inside<R>> {
    let limits = Limits {
        max_unpacked: restore.max_unpacked,
    };
    let wanted = restore.dump.as_deref();
    let head = RefCell::new(Vec::new());
    let recognise = |bytes: &[u8]| {
        bytes.clone_into(&mut head.borrow_mut());
        dump::looks_like_dump(bytes)
    };
    archive::inspect(reader, bytes, wanted, &limits, &recognise).map_err(|problem| {
        // The last that was looked at: without an end record the file itself, unpacked from gzip where it is that.
        let head = head.take();
        match problem {
            Problem::NoEndRecord(why) => without_end(&head, why, verdicts.0),
            other => judged(other, verdicts),
        }
    })
}

fn judged(problem: Problem, verdicts: (Verdict, Verdict)) -> Failed {
    broken(problem.judged(verdicts.0, verdicts.1))
}

/// What can be done about an archive whose damage has no better remedy.
fn broken(failed: Failed) -> Failed {
    match failed.verdict {
        Verdict::Damaged => failed
            .hint("have the archive made and uploaded again, and look at the log of what makes it"),
        _ => failed,
    }
}

/// A file that is no ZIP, or not wholly one: what it is instead is said where its first bytes tell.
fn without_end(head: &[u8], why: String, no_end_record: Verdict) -> Failed {
    let is_something_else = !matches!(
        dump::what_is_it(head),
        Kind::Zip | Kind::Unknown | Kind::Gzip | Kind::Empty
    );
    if is_something_else {
        return dump::what_is_it(head).refuse("the file");
    }
    let failed = Failed::new(no_end_record, why);
    if no_end_record == Verdict::Stale {
        return failed.hint(
            "the upload is not finished or was cut off: ask whoever makes the backup, or run again later",
        );
    }
    failed.hint("fetch or make it again")
}

/// A dump in directory format is many files around a `toc.dat`: one that this version doesn't put together again.
fn one_file(name: &str) -> Outcome<()> {
    if name.rsplit('/').next() == Some("toc.dat") {
        return Err(Failed::new(
            Verdict::Config,
            "the archive holds a dump in directory format, which this version does not restore",
        )
        .hint("have the dump made with `pg_dump -Fc`"));
    }
    Ok(())
}

/// Applies the gate, finds the dump and reads its table of contents, from a file here or in a store.
/// `verdicts`: what a missing end record and a failing reader mean there.
pub fn look_inside<R: Read + Seek>(
    reader: R,
    bytes: u64,
    restore: &Restore,
    verdicts: (Verdict, Verdict),
    run: &Run,
) -> Outcome<Contents> {
    run.progress.note("looking into the archive");
    let mut inside = gate(reader, bytes, restore, verdicts)?;
    let member = inside.member().clone();
    one_file(&member.name)?;
    let judged = |problem: Problem| judged(problem, verdicts);
    let mut plain = Remembering {
        source: inside.open().map_err(judged)?,
        failed: None,
    };
    let toc = Toc::read(&mut plain);
    // The reader of the table of contents can't tell a cut link from a broken dump; the archive's can.
    if let Some(error) = plain.failed {
        return Err(judged(Problem::from_reading(error)));
    }
    Ok(Contents {
        name: member.name,
        bytes: member.bytes,
        toc: toc.map_err(broken)?,
    })
}

/// Keeps the first error that reading gave, with its cause.
struct Remembering<R> {
    source: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Remembering<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed.get_or_insert(error);
            kind.into()
        })
    }
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
    })
}

/// Only the table of contents of what somebody named with `--file`, for a dry run.
pub async fn toc_of(job: &Job<'_>, file: &Path) -> Outcome<Toc> {
    let mut head = Vec::new();
    let what = || format!("read {}", file.display());
    let source = File::open(file).judge(Verdict::Local, what()).hint(NAMED)?;
    source
        .take(dump::HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .judge(Verdict::Local, what())?;
    if dump::looks_like_dump(&head) {
        return Toc::open(file).context(what());
    }
    Ok(contents(file, job).await?.toc)
}
