//! What an archive as a whole must be before any of it is unpacked, and what the one entry must be that is.

use std::collections::HashSet;

use super::directory::{Entry, PATCH};
use super::end_record::EndRecord;
use super::problem::Problem;
use super::{Limits, encryption, local_header};
use crate::escape::quoted;
use crate::secret::Secret;

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

/// Deflate can't pack better: 258 bytes from two bits.
const BEST_DEFLATE: u64 = 1032;

const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const PIPE: u32 = 0o010_000;
const SYMLINK: u32 = 0o120_000;
const SET_ID: u32 = 0o6_000;

/// Holds every entry of the directory against the rules for all, and tells each where the next one starts.
pub(super) fn check(entries: &mut [Entry], end: &EndRecord) -> Result<(), Problem> {
    for entry in entries.iter() {
        check_name(&entry.name)?;
        check_name(&String::from_utf8_lossy(&entry.raw_name))?;
        check_mode(entry)?;
    }
    check_duplicates(entries)?;
    check_layout(entries, end)
}

fn check_name(name: &str) -> Result<(), Problem> {
    let bytes = name.as_bytes();
    let fault = if name.is_empty() {
        "is empty"
    } else if name.contains('\0') {
        "contains a NUL"
    } else if name.contains('\\') {
        "contains a backslash"
    } else if name.starts_with('/') {
        "is an absolute path"
    } else if bytes[0].is_ascii_alphabetic() && bytes.get(1) == Some(&b':') {
        "starts with a drive letter"
    } else if name.split('/').any(|part| part == "..") {
        "leads out of the archive"
    } else {
        return Ok(());
    };
    Err(Problem::damaged(format!(
        "unsafe archive: the entry name {} {fault}",
        quoted(name)
    )))
}

/// Set-group-ID is usual for directories of a shared folder, and those are never unpacked. A pipe is what Info-ZIP calls its
/// standard input: `pg_dump | zip erp.zip -`.
fn check_mode(entry: &Entry) -> Result<(), Problem> {
    let fault = match (entry.mode & FILE_TYPE, entry.is_directory()) {
        (0 | DIRECTORY, true) => return Ok(()),
        (0 | REGULAR | PIPE, false) if entry.mode & SET_ID == 0 => return Ok(()),
        (0 | REGULAR | PIPE, false) => "has a set-user-ID or set-group-ID bit",
        (SYMLINK, _) => "is a symbolic link",
        (REGULAR | DIRECTORY, _) => {
            "is a file by its mode and a directory by its name, or the reverse"
        }
        _ => "is a device or socket",
    };
    Err(Problem::damaged(format!(
        "unsafe archive: the entry {} {fault}",
        quoted(&entry.name)
    )))
}

fn check_duplicates(entries: &[Entry]) -> Result<(), Problem> {
    let mut seen = HashSet::with_capacity(entries.len());
    for entry in entries {
        if !seen.insert(entry.name.trim_end_matches('/')) {
            return Err(Problem::damaged(format!(
                "the archive has two entries with the name {}",
                quoted(&entry.name)
            )));
        }
    }
    Ok(())
}

/// The entries follow each other from the first byte to the directory, with room for nothing but extra fields and descriptors.
fn check_layout(entries: &mut [Entry], end: &EndRecord) -> Result<(), Problem> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_unstable_by_key(|index| entries[*index].header_at);
    let first_at = order
        .first()
        .map_or(end.directory_at, |index| entries[*index].header_at);
    if first_at != 0 {
        return Err(Problem::damaged(format!(
            "{first_at} bytes lie before the archive's first entry, where nothing should"
        )));
    }
    let starts: Vec<u64> = order
        .iter()
        .map(|index| entries[*index].header_at)
        .collect();
    for (place, index) in order.into_iter().enumerate() {
        let next_at = starts.get(place + 1).copied();
        let entry = &mut entries[index];
        entry.next_at = next_at.unwrap_or(end.directory_at);
        check_extent(entry)?;
    }
    Ok(())
}

fn check_extent(entry: &Entry) -> Result<(), Problem> {
    let room = local_header::least_bytes(entry)
        .and_then(|bytes| entry.header_at.checked_add(bytes))
        .and_then(|ends_at| entry.next_at.checked_sub(ends_at));
    match room {
        None => Err(Problem::damaged(format!(
            "the entry {} overlaps what follows it",
            quoted(&entry.name)
        ))),
        Some(room) if room > local_header::MOST_ROOM => Err(Problem::damaged(format!(
            "{room} bytes behind the entry {} belong to no entry",
            quoted(&entry.name)
        ))),
        Some(_) => Ok(()),
    }
}

/// Whether this version can unpack the entry at all.
pub(super) fn check_readable(entry: &Entry, password: Option<&Secret>) -> Result<(), Problem> {
    encryption::check(entry, password)?;
    if entry.flags & PATCH != 0 {
        return Err(Problem::damaged(format!(
            "the entry {} is a patch of something else",
            quoted(&entry.name)
        )));
    }
    let method = entry.packed_by();
    if !matches!(method, STORED | DEFLATED) {
        return Err(Problem::Damaged {
            message: format!(
                "the entry {} is packed by method {}{}, which this version can't read",
                quoted(&entry.name),
                method,
                method_name(method),
            ),
            hint: Some("have the archive written with deflate, which every ZIP program can".into()),
        });
    }
    Ok(())
}

fn method_name(method: u16) -> &'static str {
    match method {
        1 => " (shrink)",
        2..=5 => " (reduce)",
        6 => " (implode)",
        9 => " (deflate64)",
        12 => " (bzip2)",
        14 => " (LZMA)",
        93 | 20 => " (Zstandard)",
        95 => " (XZ)",
        98 => " (PPMd)",
        _ => "",
    }
}

/// Whether the sizes can be true, and are not more than is allowed.
pub(super) fn check_sizes(entry: &Entry, limits: Limits) -> Result<(), Problem> {
    let possible = entry.content_bytes().is_some_and(|packed| {
        if entry.packed_by() == STORED {
            entry.bytes == packed
        } else {
            entry.bytes <= packed.saturating_mul(BEST_DEFLATE)
        }
    });
    if !possible {
        return Err(Problem::damaged(format!(
            "the entry {} can't have {} bytes in {} packed ones",
            quoted(&entry.name),
            entry.bytes,
            entry.packed
        )));
    }
    if entry.bytes > limits.max_unpacked {
        return Err(too_large(&entry.name, entry.bytes, limits));
    }
    Ok(())
}

pub(super) fn too_large(name: &str, bytes: u64, limits: Limits) -> Problem {
    Problem::Damaged {
        message: format!(
            "{} unpacks to {bytes} bytes or more, and `max_unpacked` allows {}",
            quoted(name),
            limits.max_unpacked
        ),
        hint: Some("raise `max_unpacked` if the dump is meant to be this large".into()),
    }
}
