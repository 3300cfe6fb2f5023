//! What is in an archive, here or in a store: the gate, the dump in it, and its table of contents.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use crate::archive::{self, Found, Inside, Limits, Problem, Wanted};
use crate::commands::Job;
use crate::config::format_bytes;
use crate::database::dump::directory::{self, TABLE_OF_CONTENTS};
use crate::database::dump::{self, Format, Header, Kind, Toc};
use crate::escape::shown;
use crate::report::DumpFacts;
use crate::run::Run;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// What an archive holds, known before anything is unpacked.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The dump's name inside the archive; empty where the archive is the dump.
    pub name: String,
    /// Unpacked; None where the container doesn't say.
    pub bytes: Option<u64>,
    pub toc: Toc,
    /// By which the same dump is unpacked, and another archive known for another one.
    pub found: Found,
}

impl Contents {
    pub fn facts(&self) -> DumpFacts {
        self.toc.header.facts(&self.name, self.bytes.unwrap_or(0))
    }

    /// For a plan.
    pub fn in_words(&self) -> Vec<String> {
        in_words(&self.toc.header, &self.name, self.bytes)
    }
}

/// What a job's configuration asks of an archive.
#[derive(Debug, Clone)]
pub struct Asked {
    wanted: Wanted,
    limits: Limits,
}

impl Asked {
    pub fn of(job: &Job<'_>) -> Self {
        let restore = job.restore;
        Self {
            wanted: Wanted {
                dump: restore.dump.clone(),
                password: job.secret(restore.zip_password.as_ref()),
            },
            limits: Limits {
                max_unpacked: restore.max_unpacked,
            },
        }
    }
}

/// A dump, for a plan.
pub(super) fn in_words(header: &Header, name: &str, bytes: Option<u64>) -> Vec<String> {
    let size = bytes.map_or_else(|| "size unknown".to_owned(), format_bytes);
    let by = |version: &str| shown(version.split(' ').next().unwrap_or(version));
    vec![
        format!(
            "dump      {} ({size}, {} format)",
            shown(name),
            header.format
        ),
        format!(
            "          by pg_dump {} from server {}",
            by(&header.pg_dump_version),
            by(&header.server_version)
        ),
    ]
}

/// Looks into an archive on this machine.
pub async fn contents(path: &Path, job: &Job<'_>) -> Outcome<Contents> {
    let (path, asked, run) = (path.to_owned(), Asked::of(job), job.run.clone());
    let shown = path.display().to_string();
    let look = move || {
        let (file, bytes) = opened(&path)?;
        look_inside(file, bytes, &asked, HERE, &run).map(|(contents, _)| contents)
    };
    tokio::task::spawn_blocking(look)
        .await
        .judge(Verdict::Bug, "look into the archive")?
        .context(format!("look into {shown}"))
}

/// What a missing end record and a failing read mean for an archive on this machine.
pub(super) const HERE: (Verdict, Verdict) = (Verdict::Damaged, Verdict::Local);

pub(super) fn opened(path: &Path) -> Outcome<(File, u64)> {
    let what = || format!("open {}", path.display());
    let file = File::open(path).judge(Verdict::Local, what())?;
    let bytes = file.metadata().judge(Verdict::Local, what())?.len();
    Ok((file, bytes))
}

pub(super) fn gate<R: Read + Seek>(
    reader: R,
    bytes: u64,
    asked: &Asked,
    verdicts: (Verdict, Verdict),
) -> Outcome<Inside<R>> {
    let head = RefCell::new(Vec::new());
    let recognise = |bytes: &[u8]| {
        bytes.clone_into(&mut head.borrow_mut());
        dump::looks_like_dump(bytes)
    };
    archive::inspect(reader, bytes, &asked.wanted, &asked.limits, &recognise).map_err(|problem| {
        // The last that was looked at: without an end record the file itself, unpacked where it is gzip or Zstandard.
        let head = head.take();
        match problem {
            Problem::NoEndRecord(why) => without_end(&head, why, verdicts.0),
            other => judged(other, verdicts),
        }
    })
}

/// What is wrong with an archive whose bytes are here, or were on their way.
pub fn judged_here(problem: Problem) -> Failed {
    judged(problem, HERE)
}

pub(super) fn judged(problem: Problem, verdicts: (Verdict, Verdict)) -> Failed {
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
        Kind::Zip | Kind::Unknown | Kind::Gzip | Kind::Zstd | Kind::Empty
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

/// Applies the gate, finds the dump and reads its table of contents, from a file here or in a store.
/// Gives the reader back. `verdicts`: what a missing end record and a failing reader mean there.
pub fn look_inside<R: Read + Seek>(
    reader: R,
    bytes: u64,
    asked: &Asked,
    verdicts: (Verdict, Verdict),
    run: &Run,
) -> Outcome<(Contents, R)> {
    run.progress.note("looking into the archive");
    let inside = gate(reader, bytes, asked, verdicts)?;
    dump_in(inside, verdicts, run)
}

/// As [`look_inside`] of what lies in a store; what is wrong with the container is told apart from what is wrong with its dump.
pub fn look_apart<R: Read + Seek>(
    reader: R,
    bytes: u64,
    asked: &Asked,
    run: &Run,
) -> Outcome<Outcome<Contents>> {
    let verdicts = (Verdict::Stale, Verdict::Network);
    let inside = gate(reader, bytes, asked, verdicts)?;
    Ok(dump_in(inside, verdicts, run).map(|(contents, _)| contents))
}

/// The table of contents of what the gate has let through.
fn dump_in<R: Read + Seek>(
    mut inside: Inside<R>,
    verdicts: (Verdict, Verdict),
    run: &Run,
) -> Outcome<(Contents, R)> {
    let member = inside.member().clone();
    let judged = |problem: Problem| judged(problem, verdicts);
    let mut plain = Remembering {
        source: inside.open().map_err(judged)?,
        failed: None,
    };
    let toc = Toc::read(&mut plain);
    // The reader of the table of contents can't tell a cut link from a broken dump; the archive's can.
    if let Some(error) = plain.failed.take() {
        return Err(judged(Problem::from_reading(error)));
    }
    drop(plain);
    let toc = match toc {
        Err(failed) if failed.verdict == Verdict::Damaged => {
            Err(doubt(&mut inside).map_err(judged)?.map_or(failed, judged))
        }
        read => read,
    };
    let toc = toc.map_err(broken)?;
    let (name, bytes) = match toc.header.format {
        Format::Directory => many_files(&mut inside, &toc, verdicts, run)?,
        Format::Custom | Format::Tar => (member.name, member.bytes),
    };
    let (found, reader) = inside.into_parts();
    let contents = Contents {
        name,
        bytes,
        toc,
        found,
    };
    Ok((contents, reader))
}

/// A wrong password that passed gives noise: what else comes out is known for what it is.
fn doubt<R: Read + Seek>(inside: &mut Inside<R>) -> Result<Option<Problem>, Problem> {
    let Some(doubt) = inside.doubt() else {
        return Ok(None);
    };
    let mut head = Vec::new();
    let start = inside.open()?.take(dump::HEAD_BYTES as u64);
    { start }
        .read_to_end(&mut head)
        .map_err(Problem::from_reading)?;
    Ok((dump::what_is_it(&head) == Kind::Unknown).then_some(doubt))
}

/// A dump in directory format: takes the files that its table of contents names, and what those name. Its folder, and its length.
fn many_files<R: Read + Seek>(
    inside: &mut Inside<R>,
    toc: &Toc,
    verdicts: (Verdict, Verdict),
    run: &Run,
) -> Outcome<(String, Option<u64>)> {
    let judged = |problem: Problem| judged(problem, verdicts);
    let name = inside.member().name.clone();
    let (folder, last) = name.rsplit_once('/').unwrap_or(("", &name));
    if last != TABLE_OF_CONTENTS {
        let shown = if name.is_empty() { "the file" } else { &name };
        return Err(Kind::Contents.refuse(shown));
    }
    let whole = |name: &str| match folder {
        "" => name.to_owned(),
        _ => format!("{folder}/{name}"),
    };
    let last_part = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let beside = inside.beside();
    let present: BTreeSet<_> = beside.iter().map(|file| last_part(&file.name)).collect();
    let parts = directory::parts(toc, &present, |list| {
        inside.turn_to(&whole(list)).map_err(judged)?;
        let plain = inside.open().map_err(judged)?;
        directory::read_list(plain).map_err(|error| judged(Problem::from_reading(error)))
    });
    let parts = parts.map_err(broken)?;
    if let Some(remark) = parts.remark() {
        run.notes.warn(remark);
    }
    let names: Vec<String> = parts.names.iter().map(|name| whole(name)).collect();
    let bytes = inside.take_parts(&names).map_err(judged)?;
    let shown = if folder.is_empty() { &name } else { folder };
    Ok((shown.to_owned(), Some(bytes)))
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
