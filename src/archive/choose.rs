//! Which entry is the dump: the one that `dump =` names, the only file there is, or the only one that starts like a dump.

use std::io::{Read, Seek};

use globset::{Glob, GlobMatcher};
use zip::read::{ZipFile, ZipReadOptions};
use zip::result::ZipError;

use super::directory::{Directory, Entry};
use super::head::Head;
use super::problem::Problem;
use super::window::Window;
use super::{MAX_PEEKS, encryption, gate, head, local_header};
use crate::escape::quoted;
use crate::secret::Secret;

/// The table of contents of a dump in directory format: files of its folder with these endings belong to it.
const TABLE_OF_CONTENTS: &str = "toc.dat";
const OF_A_DIRECTORY: [&str; 5] = [".dat", ".toc", ".dat.gz", ".dat.lz4", ".dat.zst"];

/// Tells a dump by its first bytes.
pub(super) type Recognise<'a> = &'a dyn Fn(&[u8]) -> bool;

/// By what a dump is known and read.
pub(super) struct Sought<'a> {
    pub(super) dump: Option<&'a str>,
    pub(super) password: Option<&'a Secret>,
    pub(super) recognise: Recognise<'a>,
}

/// The index of the dump's entry.
pub(super) fn dump<R: Read + Seek>(
    window: &mut Window<R>,
    directory: &Directory,
    sought: &Sought<'_>,
) -> Result<usize, Problem> {
    let wanted = sought.dump;
    let files: Vec<&Entry> = directory
        .entries
        .iter()
        .filter(|entry| !entry.is_directory())
        .collect();
    let candidates = match wanted {
        Some(pattern) => matching(&files, pattern)?,
        None => files.clone(),
    };
    match candidates[..] {
        [] => Err(none(&files, wanted)),
        [only] => Ok(only.index),
        _ => by_magic(window, directory, candidates, sought),
    }
}

/// Matches the whole name, or its last part where the pattern has no folder; a dump in directory format by its folder as well.
fn matching<'a>(files: &[&'a Entry], pattern: &str) -> Result<Vec<&'a Entry>, Problem> {
    let glob: GlobMatcher = Glob::new(pattern.trim_end_matches('/'))
        .map_err(|error| Problem::Config {
            message: format!("`dump = {pattern:?}` is no pattern: {}", error.kind()),
            hint: "name the dump inside the archive, for example `dump = \"*.dump\"`".into(),
        })?
        .compile_matcher();
    let by_last_part = !pattern.trim_end_matches('/').contains('/');
    let is_named =
        |name: &str| glob.is_match(name) || (by_last_part && glob.is_match(last_part(name)));
    let found = files.iter().copied().filter(|entry| {
        let is_contents = last_part(&entry.name) == TABLE_OF_CONTENTS;
        is_named(&entry.name) || (is_contents && is_named(folder(&entry.name)))
    });
    Ok(found.collect())
}

fn by_magic<R: Read + Seek>(
    window: &mut Window<R>,
    directory: &Directory,
    mut candidates: Vec<&Entry>,
    sought: &Sought<'_>,
) -> Result<usize, Problem> {
    let mut dumps: Vec<&Entry> = Vec::new();
    let mut unreadable = None;
    candidates.sort_by_key(|entry| last_part(&entry.name) != TABLE_OF_CONTENTS);
    let mut peeked = 0;
    for entry in candidates.iter().copied() {
        if dumps.iter().any(|dump| is_part_of(entry, dump)) {
            continue;
        }
        peeked += 1;
        if peeked > MAX_PEEKS {
            return Err(ambiguous(
                "the archive has too many files to look into each",
                &candidates,
            ));
        }
        if let Err(problem) = gate::check_readable(entry, sought.password) {
            unreadable.get_or_insert(problem);
            continue;
        }
        match head(window, directory, entry, sought) {
            Ok(head) if head.is_dump => dumps.push(entry),
            Ok(_) => {}
            // Each file may have a password of its own.
            Err(problem @ Problem::Config { .. }) => {
                unreadable.get_or_insert(problem);
            }
            Err(problem) => return Err(problem),
        }
    }
    match (&dumps[..], unreadable) {
        ([only], _) => Ok(only.index),
        ([], Some(problem)) => Err(problem),
        ([], None) => Err(ambiguous(no_dump(&candidates), &candidates)),
        (several, _) => Err(ambiguous("the archive has several dumps", several)),
    }
}

fn no_dump(candidates: &[&Entry]) -> &'static str {
    if candidates.iter().any(|entry| entry.is_encrypted()) {
        "no file in the archive is a PostgreSQL dump, or `zip_password` is wrong"
    } else {
        "no file in the archive is a PostgreSQL dump"
    }
}

fn is_part_of(entry: &Entry, dump: &Entry) -> bool {
    let is_of_a_directory = OF_A_DIRECTORY
        .iter()
        .any(|ending| entry.name.ends_with(ending));
    last_part(&dump.name) == TABLE_OF_CONTENTS
        && folder(&entry.name) == folder(&dump.name)
        && is_of_a_directory
}

/// What the first bytes of an entry tell. An encrypted one gives its password away as a wrong one here, or nowhere.
pub(super) fn head<R: Read + Seek>(
    window: &mut Window<R>,
    directory: &Directory,
    entry: &Entry,
    sought: &Sought<'_>,
) -> Result<Head, Problem> {
    local_header::check(window, entry)?;
    let plain = plain(window, directory, entry.index, sought.password)?;
    let (head, read) = head::look(plain, sought.recognise);
    match read.map_err(|problem| problem.in_entry(&entry.name)) {
        Err(Problem::Damaged { .. }) if entry.is_encrypted() && !head.is_dump => {
            Err(encryption::doubtful(entry))
        }
        read => read.map(|()| head),
    }
}

/// An entry's bytes, decrypted and unpacked.
pub(super) fn plain<'a, R: Read + Seek>(
    window: &'a mut Window<R>,
    directory: &'a Directory,
    index: usize,
    password: Option<&Secret>,
) -> Result<ZipFile<'a, Window<R>>, Problem> {
    let known = directory.parsed.entry(index).map_err(Problem::from_zip)?;
    let password = password.map(|password| password.expose().as_bytes());
    let options = ZipReadOptions::new().password(password);
    known
        .with_reader(window, options)
        .map_err(|error| match error {
            ZipError::InvalidPassword => encryption::wrong_password(&directory.entries[index]),
            other => Problem::from_zip(other),
        })
}

pub(super) fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn last_part(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

fn none(files: &[&Entry], wanted: Option<&str>) -> Problem {
    match wanted {
        _ if files.is_empty() => Problem::Config {
            message: "the archive is empty".into(),
            hint: "see what writes it, and `pattern`, which chose it".into(),
        },
        Some(pattern) => ambiguous(
            &format!("no file in the archive matches `dump = {pattern:?}`"),
            files,
        ),
        None => ambiguous("the archive has no file", files),
    }
}

fn ambiguous(what: &str, entries: &[&Entry]) -> Problem {
    const LISTED: usize = 10;
    let mut listed: Vec<String> = entries
        .iter()
        .take(LISTED)
        .map(|entry| format!("{} ({} bytes)", quoted(&entry.name), entry.bytes))
        .collect();
    if entries.len() > LISTED {
        listed.push(format!("and {} more", entries.len() - LISTED));
    }
    Problem::Config {
        message: format!("{what}; there are {}", listed.join(", ")),
        hint: "name the dump with `dump = \"…\"` in the restore's section, a pattern on the name inside the archive".into(),
    }
}
