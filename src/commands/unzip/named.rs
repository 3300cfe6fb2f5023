//! What somebody named with `--file` instead of taking what `fetch` or `unzip` has left: a dump, its directory, or an archive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::along::OnDisk;
use super::look::in_words;
use super::place::{Place, to_the_disk};
use super::{NAMED, Unpacked, contents, named_archive};
use crate::commands::Job;
use crate::commands::space::{self, Coming};
use crate::database::dump::directory::{self, Parts, TABLE_OF_CONTENTS};
use crate::database::dump::{self, Format, Kind, Toc};
use crate::escape::escaped;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// A dump, or an archive that is unpacked first.
pub async fn dump(job: &Job<'_>, file: &Path) -> Outcome<Unpacked> {
    if file.is_dir() {
        return in_place(job, file).await;
    }
    let what = || format!("read {}", file.display());
    if !is_dump(file)? {
        return super::dump(&named_archive(job, file)?, job).await;
    }
    let toc = of_one_file(file)?;
    let bytes = fs::metadata(file).judge(Verdict::Local, what())?.len();
    taken(job, file, toc, bytes)
}

/// Only the table of contents, and its lengths, for a dry run.
pub async fn toc(job: &Job<'_>, file: &Path) -> Outcome<(Toc, Coming)> {
    if file.is_dir() {
        let (toc, _, bytes) = looked_into(job, file)?;
        let coming = Coming::new(None, Some(bytes), &toc);
        return Ok((toc, coming));
    }
    let what = || format!("read {}", file.display());
    let length = fs::metadata(file)
        .judge(Verdict::Local, what())
        .hint(NAMED)?;
    let length = length.len();
    if is_dump(file)? {
        let toc = of_one_file(file)?;
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

fn is_dump(file: &Path) -> Outcome<bool> {
    let what = || format!("read {}", file.display());
    let mut head = Vec::new();
    let source = File::open(file).judge(Verdict::Local, what()).hint(NAMED)?;
    source
        .take(dump::HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .judge(Verdict::Local, what())?;
    Ok(dump::looks_like_dump(&head))
}

fn of_one_file(file: &Path) -> Outcome<Toc> {
    let toc = Toc::open(file).context(format!("read {}", file.display()))?;
    if toc.header.format == Format::Directory {
        return Err(Kind::Contents.refuse(&file.to_string_lossy()));
    }
    Ok(toc)
}

fn taken(job: &Job<'_>, file: &Path, toc: Toc, bytes: u64) -> Outcome<Unpacked> {
    let facts = toc.header.facts(&last_part(file), bytes);
    job.run.notes.dump(facts.clone());
    // pg_restore works in another directory.
    let path = std::path::absolute(file);
    Ok(Unpacked {
        path: path.judge(Verdict::Local, format!("find {}", file.display()))?,
        toc,
        archive: None,
        dump: facts,
        on_disk: OnDisk::already(),
    })
}

fn last_part(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A dump in directory format where it is.
async fn in_place(job: &Job<'_>, directory: &Path) -> Outcome<Unpacked> {
    let (toc, _, bytes) = proven(job, directory).await?;
    taken(job, directory, toc, bytes)
}

/// What the directory holds, its files all there by name; their length together.
fn looked_into(job: &Job<'_>, directory: &Path) -> Outcome<(Toc, Parts, u64)> {
    let what = || format!("read {}", directory.display());
    let contents = directory.join(TABLE_OF_CONTENTS);
    if fs::symlink_metadata(&contents).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        let shown = escaped(&directory.to_string_lossy());
        return Err(Failed::new(
            Verdict::Damaged,
            format!("{shown} is no dump: there is no `{TABLE_OF_CONTENTS}` in it"),
        )
        .hint("name the directory that `pg_dump -Fd` has made, or a file"));
    }
    let toc = Toc::open(directory).context(what())?;
    let parts = directory::parts_in(directory, &toc).context(what())?;
    directory::is_whole(directory).context(what())?;
    let bytes = total(directory, &parts.names).judge(Verdict::Local, what())?;
    if bytes > job.restore.max_unpacked {
        let problem = format!(
            "{} has {bytes} bytes, and `max_unpacked` allows {}",
            directory.display(),
            job.restore.max_unpacked
        );
        return Err(Failed::new(Verdict::Damaged, problem)
            .hint("raise `max_unpacked` if the dump is meant to be this large"));
    }
    if let Some(remark) = parts.remark() {
        job.run.notes.warn(remark);
    }
    Ok((toc, parts, bytes))
}

fn total(directory: &Path, names: &BTreeSet<String>) -> std::io::Result<u64> {
    let sizes = names.iter().map(|name| fs::metadata(directory.join(name)));
    sizes
        .map(|meta| meta.map(|meta| meta.len()))
        .sum::<std::io::Result<u64>>()
}

/// As [`looked_into`], and each file that has a checksum of its own by that: no archive's has proven it.
async fn proven(job: &Job<'_>, directory: &Path) -> Outcome<(Toc, Parts, u64)> {
    let found = looked_into(job, directory)?;
    let what = format!("read {}", directory.display());
    let (directory, names, run) = (directory.to_owned(), found.1.names.clone(), job.run.clone());
    let work = move || directory::prove(&directory, &names, || run.stop.is_cancelled());
    tokio::task::spawn_blocking(work)
        .await
        .judge(Verdict::Bug, &what)?
        .context(what)?;
    Ok(found)
}

/// `unzip` of a dump in directory format that is in no archive: a copy below state_dir, proven there.
pub async fn copied(job: &Job<'_>, directory: &Path) -> Outcome<Unpacked> {
    let (toc, parts, bytes) = looked_into(job, directory)?;
    space::of_unzip(bytes, Some(bytes), job)?.judge()?;
    let place = Place::take(Format::Directory, job)?;
    let what = format!("copy {}", directory.display());
    let (from, run) = (directory.to_owned(), job.run.clone());
    let work = move || {
        let stopped = || run.stop.is_cancelled();
        let written = place.copy(&from, &parts.names, stopped)?;
        let synced = written.sync();
        synced.judge(Verdict::Local, to_the_disk(&place.part))?;
        directory::is_whole(&place.part)?;
        directory::prove(&place.part, &parts.names, stopped)?;
        place.publish()?;
        Ok((place.path, written.bytes))
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (path, bytes) = done.judge(Verdict::Bug, &what)?.context(what)?;
    job.run.notes.bytes(bytes);
    let dump = toc.header.facts(&last_part(directory), bytes);
    job.run.notes.dump(dump.clone());
    Ok(Unpacked {
        path,
        toc,
        archive: None,
        dump,
        on_disk: OnDisk::already(),
    })
}

/// What [`copied`] would do.
pub fn plan(job: &Job<'_>, directory: &Path) -> Outcome<()> {
    let (toc, _, bytes) = looked_into(job, directory)?;
    let lines = in_words(&toc.header, &last_part(directory), Some(bytes));
    job.run.notes.plan(lines);
    let room = space::of_unzip(bytes, Some(bytes), job)?;
    job.run.notes.plan(room.in_words());
    room.judge()
}
