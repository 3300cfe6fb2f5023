//! A dump in directory format: which files belong to it, and whether they are all there.
//!
//! pg_restore loads a data file without compression as far as it goes, and large objects as far as their list goes, and exits 0
//! (seen with 15); a file that is missing altogether it notices, but only once it has begun.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::packed;
use super::reader::{broken, judged};
use super::toc::Toc;
use crate::escape::{quoted, shown};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// The file with the header and the table of contents.
pub const TABLE_OF_CONTENTS: &str = "toc.dat";

/// What pg_dump may append to the names of data files; pg_restore looks for them in this order.
const PACKED: [&str; 4] = ["", ".gz", ".lz4", ".zst"];

/// What the names of lists of large objects end with.
const LIST: &str = ".toc";

/// What COPY's rows end with in a data file.
const END_OF_ROWS: &[u8] = b"\\.\n\n\n";

/// A list of large objects has a line for each: more bytes than a million of them need.
const LONGEST_LIST: u64 = 64 << 20;

/// Up to this version of the format there is an entry for each large object.
const ONE_BY_ONE: (u8, u8) = (1, 15);

/// How many files are named in a message.
const NAMED: usize = 5;

/// A file that the table of contents promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Without what packing appends: `3012.dat`, `blobs.toc`.
    pub name: Box<str>,
    /// Rows as COPY takes them, rather than INSERT statements or large objects.
    is_copied: bool,
}

impl DataFile {
    pub(super) fn named(name: Option<String>, is_copied: bool) -> Outcome<Option<Self>> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: file_name(&name)?.into(),
            is_copied,
        }))
    }

    fn is_list(&self) -> bool {
        is_list(&self.name)
    }
}

fn is_list(name: &str) -> bool {
    name.ends_with(LIST)
}

/// The name of one of a dump's files, as it may become a path: pg_dump's are made of letters, digits, `_` and `.`.
///
/// # Errors
/// `damaged`: any other name. pg_restore would follow it out of the directory.
pub fn file_name(name: &str) -> Outcome<&str> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    let is_ours = name.contains(".dat") || is_list(name);
    if is_plain && is_ours && !name.starts_with('.') && !name.contains("..") {
        return Ok(name);
    }
    Err(broken(format!(
        "its table of contents names the file {}, as pg_dump names none",
        quoted(name)
    )))
}

/// A dump's files, by their names in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// With the table of contents.
    pub names: BTreeSet<String>,
    /// What lies there beside them.
    pub left_out: BTreeSet<String>,
}

impl Parts {
    /// What is left out in a line; None: nothing is.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let count = self.left_out.len();
        (count > 0).then(|| {
            format!(
                "{count} {} in the dump's directory that its table of contents doesn't know: {}",
                if count == 1 {
                    "file is left out,"
                } else {
                    "files are left out,"
                },
                named(&self.left_out)
            )
        })
    }
}

/// Which of the files that are `present` belong to the dump. `read` gives the whole content of one of them, a list of large objects.
///
/// # Errors
/// `damaged`: one is missing, or a list of large objects is cut off.
pub fn parts(
    toc: &Toc,
    present: &BTreeSet<String>,
    mut read: impl FnMut(&str) -> Outcome<Vec<u8>>,
) -> Outcome<Parts> {
    let mut found = Parts::default();
    found.names.insert(TABLE_OF_CONTENTS.to_owned());
    let (mut missing, mut listed) = (BTreeSet::new(), 0);
    let mut take = |found: &mut Parts, name: &str| match beside(name, present) {
        Some(name) => found.names.insert(name),
        None => missing.insert(name.to_owned()),
    };
    for file in &toc.files {
        take(&mut found, &file.name);
        if file.is_list() && present.contains(&*file.name) {
            let objects = large_objects(&file.name, &read(&file.name)?)?;
            listed += objects.len() as u64;
            for object in &objects {
                take(&mut found, object);
            }
        }
    }
    if !missing.is_empty() {
        return Err(incomplete(&missing));
    }
    let has_lists = toc.files.iter().any(DataFile::is_list);
    let expected = toc.large_objects;
    if has_lists && toc.header.archive_version <= ONE_BY_ONE && expected > listed {
        return Err(broken(format!(
            "it has {expected} large objects, and its list has {listed} of them"
        )));
    }
    found.left_out = present.difference(&found.names).cloned().collect();
    Ok(found)
}

fn beside(name: &str, present: &BTreeSet<String>) -> Option<String> {
    let endings = if is_list(name) {
        &PACKED[..1]
    } else {
        &PACKED[..]
    };
    let mut names = endings.iter().map(|ending| format!("{name}{ending}"));
    names.find(|name| present.contains(name))
}

/// The files that a list of large objects names, a line for each: its OID, and the file.
fn large_objects(list: &str, content: &[u8]) -> Outcome<Vec<String>> {
    let cut = || broken(format!("{} is cut off", quoted(list)));
    let text = std::str::from_utf8(content).map_err(|_| cut())?;
    let lines = match text.strip_suffix('\n') {
        Some(lines) => lines.lines(),
        None if text.is_empty() => "".lines(),
        None => return Err(cut()),
    };
    lines
        .map(|line| {
            let (oid, name) = line.split_once(' ').ok_or_else(cut)?;
            oid.parse::<u32>().map_err(|_| cut())?;
            file_name(name).map(str::to_owned)
        })
        .collect()
}

fn named(names: &BTreeSet<String>) -> String {
    let mut told: Vec<String> = names.iter().take(NAMED).map(|name| quoted(name)).collect();
    if names.len() > NAMED {
        told.push(format!("and {} more", names.len() - NAMED));
    }
    told.join(", ")
}

fn incomplete(missing: &BTreeSet<String>) -> Failed {
    let are = if missing.len() == 1 { "is" } else { "are" };
    Failed::new(
        Verdict::Damaged,
        format!(
            "the dump is not whole: {} {are} in its table of contents and not beside it",
            named(missing)
        ),
    )
    .hint("the whole directory that pg_dump wrote is needed, its files under their own names")
}

/// The files of the dump in a directory here.
///
/// # Errors
/// As [`parts`]; `local`: unreadable.
pub fn parts_in(directory: &Path, toc: &Toc) -> Outcome<Parts> {
    let what = || format!("list {}", directory.display());
    let mut present = BTreeSet::new();
    for entry in fs::read_dir(directory).judge(Verdict::Local, what())? {
        let name = entry.judge(Verdict::Local, what())?.file_name();
        present.insert(name.to_string_lossy().into_owned());
    }
    parts(toc, &present, |name| {
        File::open(directory.join(name)).and_then(read_list).judge(
            Verdict::Local,
            format!("read {}", directory.join(name).display()),
        )
    })
}

/// Reads a list of large objects, no matter how long it says it is.
///
/// # Errors
/// As reading goes.
pub fn read_list(source: impl Read) -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    source.take(LONGEST_LIST).read_to_end(&mut list)?;
    Ok(list)
}

/// Whether a dump is all there, as far as that is seen without unpacking its files: before anything is loaded.
///
/// # Errors
/// `damaged`: a file is missing, no file, or ends too early; `local`: unreadable.
pub fn is_whole(directory: &Path) -> Outcome<()> {
    let toc = Toc::open(directory)?;
    let parts = parts_in(directory, &toc)?;
    let copied = toc.files.iter().filter(|file| file.is_copied);
    let copied: BTreeSet<&str> = copied.map(|file| &*file.name).collect();
    for name in &parts.names {
        let what = || format!("read {}", directory.join(name).display());
        let file = File::open(directory.join(name)).judge(Verdict::Local, what())?;
        let meta = file.metadata().judge(Verdict::Local, what())?;
        if !meta.is_file() {
            return Err(broken(format!("{} is no file", quoted(name))));
        }
        if let Some(ending) = PACKED[2..].iter().find(|ending| name.ends_with(**ending)) {
            packed::is_whole(&file, ending).map_err(|error| in_file(name, &error))?;
        } else if copied.contains(&**name) && !has_all_rows(&file, meta.len()) {
            return Err(broken(format!(
                "{} ends in the middle of its rows",
                quoted(name)
            )));
        }
    }
    Ok(())
}

fn has_all_rows(file: &File, bytes: u64) -> bool {
    let mut end = [0; END_OF_ROWS.len()];
    let at = bytes.checked_sub(END_OF_ROWS.len() as u64);
    at.is_some_and(|at| file.read_exact_at(&mut end, at).is_ok()) && end == END_OF_ROWS
}

/// Unpacks every file that is packed with gzip, to nowhere: what no ZIP has proven is proven by its own checksum.
///
/// # Errors
/// `damaged`: a file is broken or cut off; `local`: unreadable. `interrupted` by `stopped`.
pub fn prove(
    directory: &Path,
    names: &BTreeSet<String>,
    stopped: impl Fn() -> bool,
) -> Outcome<()> {
    for name in names.iter().filter(|name| name.ends_with(PACKED[1])) {
        let what = || format!("read {}", directory.join(name).display());
        let file = File::open(directory.join(name)).judge(Verdict::Local, what())?;
        packed::prove_gzip(file, &stopped).map_err(|error| in_file(name, &error))?;
        if stopped() {
            return Err(Failed::interrupted());
        }
    }
    Ok(())
}

fn in_file(name: &str, error: &io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => broken(format!("{} is cut off", quoted(name))),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            broken(format!("{}: {}", quoted(name), shown(&error.to_string())))
        }
        _ => judged(error),
    }
}
