//! The end record: the last bytes of every ZIP, which say where its directory is. Exactly one, and the file ends with it.

use std::io::{Read, Seek};

use super::problem::Problem;
use super::record::Record;
use super::window::Window;
use super::{MAX_DIRECTORY_BYTES, MAX_ENTRIES};

const SIGNATURE: &[u8] = b"PK\x05\x06";
const BYTES: usize = 22;
const LOCATOR64_SIGNATURE: &[u8] = b"PK\x06\x07";
const LOCATOR64_BYTES: usize = 20;
const RECORD64_SIGNATURE: &[u8] = b"PK\x06\x06";
const RECORD64_BYTES: usize = 56;

/// Where the directory is, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndRecord {
    pub(super) entries: u64,
    pub(super) directory_at: u64,
    pub(super) directory_bytes: u64,
}

/// Finds the one end record, and holds it against what the file has.
pub(super) fn find<R: Read + Seek>(window: &Window<R>) -> Result<EndRecord, Problem> {
    let (tail_at, tail) = window.tail();
    let end = the_only_one(&Tail {
        at: tail_at,
        data: tail,
    })?;
    if end.entries > MAX_ENTRIES {
        return Err(Problem::damaged(format!(
            "the archive has {} entries, more than the {MAX_ENTRIES} that are read",
            end.entries
        )));
    }
    if end.directory_bytes > MAX_DIRECTORY_BYTES {
        return Err(Problem::damaged(format!(
            "the archive's directory has {} bytes, more than the {MAX_DIRECTORY_BYTES} that are read",
            end.directory_bytes
        )));
    }
    Ok(end)
}

struct Tail<'a> {
    at: u64,
    data: &'a [u8],
}

fn the_only_one(tail: &Tail) -> Result<EndRecord, Problem> {
    let found: Vec<usize> = tail.signatures().collect();
    let Some(at) = found.iter().copied().find(|at| tail.behind(*at) == Some(0)) else {
        return Err(without_a_fitting_one(tail, &found));
    };
    if found.iter().any(|other| *other > at) {
        return Err(Problem::damaged("the archive has two end records"));
    }
    parse(tail, at).map_err(Problem::damaged)
}

/// A record that points at its own directory is the archive's, even if the file does not end with it; any other signature
/// belongs to an archive inside, or is chance.
fn without_a_fitting_one(tail: &Tail, found: &[usize]) -> Problem {
    let ours = found.iter().rev().find(|at| parse(tail, **at).is_ok());
    match ours.map(|at| tail.behind(*at)) {
        Some(Some(bytes)) => Problem::damaged(format!(
            "{bytes} bytes follow the archive's end record, which nothing should"
        )),
        Some(None) => Problem::NoEndRecord("the archive is cut off within its comment".into()),
        None => Problem::NoEndRecord(
            "the file has no ZIP end record: it is not wholly there, or no ZIP archive".into(),
        ),
    }
}

impl Tail<'_> {
    fn signatures(&self) -> impl Iterator<Item = usize> {
        self.data
            .windows(BYTES)
            .enumerate()
            .filter(|(_, bytes)| bytes.starts_with(SIGNATURE))
            .map(|(at, _)| at)
    }

    /// Bytes between the end of the record at `at`, comment included, and the end of the file. None if it ends beyond.
    fn behind(&self, at: usize) -> Option<usize> {
        let record = Record::at(self.data, at, BYTES, SIGNATURE)?;
        self.data
            .len()
            .checked_sub(at + BYTES + usize::from(record.u16(20)))
    }
}

/// The record at `at`, if the directory that it names ends where it starts.
fn parse(tail: &Tail, at: usize) -> Result<EndRecord, String> {
    let record = Record::at(tail.data, at, BYTES, SIGNATURE).ok_or("the end record is cut off")?;
    let classic = Claims {
        disks: [record.u16(4).into(), record.u16(6).into()],
        entries_here: record.u16(8).into(),
        entries: record.u16(10).into(),
        directory_bytes: record.u32(12).into(),
        directory_at: record.u32(16).into(),
    };
    let (claims, ends_at) = match zip64(tail, at)? {
        Some((wide, record_at)) => {
            classic.agree_with(&wide)?;
            (wide, record_at)
        }
        None => (classic, at),
    };
    claims.checked(tail.at + ends_at as u64)
}

struct Claims {
    disks: [u64; 2],
    entries_here: u64,
    entries: u64,
    directory_bytes: u64,
    directory_at: u64,
}

/// The zip64 record, and where in the tail it is, where the locator before the end record at `at` announces one.
fn zip64(tail: &Tail, at: usize) -> Result<Option<(Claims, usize)>, String> {
    let Some(locator_at) = at.checked_sub(LOCATOR64_BYTES) else {
        return Ok(None);
    };
    let Some(locator) = Record::at(tail.data, locator_at, LOCATOR64_BYTES, LOCATOR64_SIGNATURE)
    else {
        return Ok(None);
    };
    if is_of_encrypted_directory(tail, locator.u64(8)) {
        return Err(ENCRYPTED_DIRECTORY.into());
    }
    let record_at = locator_at
        .checked_sub(RECORD64_BYTES)
        .filter(|at| locator.u64(8) == tail.at + *at as u64)
        .ok_or("the zip64 end record is not where its locator says")?;
    let record = Record::at(tail.data, record_at, RECORD64_BYTES, RECORD64_SIGNATURE)
        .filter(|record| record.u64(4) == (RECORD64_BYTES - 12) as u64)
        .ok_or("the zip64 end record is broken")?;
    if locator.u32(4) != 0 || locator.u32(16) > 1 {
        return Err(SPLIT.into());
    }
    let claims = Claims {
        disks: [record.u32(16).into(), record.u32(20).into()],
        entries_here: record.u64(24),
        entries: record.u64(32),
        directory_bytes: record.u64(40),
        directory_at: record.u64(48),
    };
    Ok(Some((claims, record_at)))
}

/// Whether the zip64 record there is of the version that says how the directory itself is encrypted.
fn is_of_encrypted_directory(tail: &Tail, at: u64) -> bool {
    let offset = at
        .checked_sub(tail.at)
        .and_then(|offset| usize::try_from(offset).ok());
    offset
        .and_then(|at| Record::at(tail.data, at, RECORD64_BYTES, RECORD64_SIGNATURE))
        .is_some_and(|record| record.u16(14) >= ENCRYPTED_DIRECTORY_VERSION)
}

/// 6.2: APPNOTE 6.3.10, section 7.3.
const ENCRYPTED_DIRECTORY_VERSION: u16 = 62;
const ENCRYPTED_DIRECTORY: &str = "the archive's directory is encrypted by PKWARE's strong encryption, which this version can't read: \
     have the archive written with AES encryption, as 7-Zip and WinZip do it";

const SPLIT: &str = "the archive is one part of several";

impl Claims {
    /// Beside a zip64 record, each of these fields repeats its value or says "too large for me".
    fn agree_with(&self, wide: &Self) -> Result<(), String> {
        let narrow = u64::from(u16::MAX);
        let word = u64::from(u32::MAX);
        let pairs = [
            (self.disks[0], wide.disks[0], narrow),
            (self.disks[1], wide.disks[1], narrow),
            (self.entries_here, wide.entries_here, narrow),
            (self.entries, wide.entries, narrow),
            (self.directory_bytes, wide.directory_bytes, word),
            (self.directory_at, wide.directory_at, word),
        ];
        let agree = pairs
            .iter()
            .all(|(short, long, too_large)| short == long || short == too_large);
        agree
            .then_some(())
            .ok_or_else(|| "the archive's two end records, classic and zip64, disagree".into())
    }

    fn checked(self, ends_at: u64) -> Result<EndRecord, String> {
        if self.disks != [0, 0] || self.entries_here != self.entries {
            return Err(SPLIT.into());
        }
        let end = self.directory_at.checked_add(self.directory_bytes);
        match end.and_then(|end| ends_at.checked_sub(end)) {
            Some(0) => Ok(EndRecord {
                entries: self.entries,
                directory_at: self.directory_at,
                directory_bytes: self.directory_bytes,
            }),
            Some(bytes) => Err(format!(
                "{bytes} bytes too many lie before the archive or before its end record"
            )),
            None => Err("the archive's directory would end behind its end record".into()),
        }
    }
}
