//! The directory: parsed by the crate `zip`, walked here as well, so that what the gate judges is what will be inflated.

use std::io::{Read, Seek};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config, ZipArchiveMetadata};

use super::Member;
use super::encryption::Aes;
use super::end_record::EndRecord;
use super::problem::Problem;
use super::record::Record;
use super::window::Window;

const SIGNATURE: &[u8] = b"PK\x01\x02";
const BYTES: usize = 46;

/// What the directory says about one entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The place in the directory, by which `zip` opens it.
    pub(super) index: usize,
    pub(super) name: String,
    /// The bytes in the header, which the local header must repeat; `name` may come from an extra field.
    pub(super) raw_name: Box<[u8]>,
    pub(super) bytes: u64,
    pub(super) packed: u64,
    pub(super) crc: u32,
    /// As the header says; under encryption see `packed_by`.
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) aes: Option<Aes>,
    /// Unix file type and permissions where the writer knew them, else 0.
    pub(super) mode: u32,
    pub(super) header_at: u64,
    /// Where the next entry or the directory starts: set by the gate.
    pub(super) next_at: u64,
}

impl Entry {
    pub(super) fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    pub(super) fn member(&self) -> Member {
        Member {
            name: self.name.clone(),
            bytes: Some(self.bytes),
            packed: self.packed,
        }
    }
}

pub(super) const ENCRYPTED: u16 = 1;
pub(super) const DESCRIPTOR: u16 = 1 << 3;
pub(super) const PATCH: u16 = 1 << 5;
pub(super) const STRONGLY_ENCRYPTED: u16 = 1 << 6;
pub(super) const MASKED: u16 = 1 << 13;

/// All entries in the directory's order, and the same as `zip` keeps them.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) entries: Vec<Entry>,
    pub(super) parsed: Arc<ZipArchiveMetadata>,
    /// SHA-256 of everything from the directory's first byte to the archive's last one.
    pub(super) seal: [u8; 32],
}

/// Reads the directory that `end` names. One read of the archive at most.
pub(super) fn read<R: Read + Seek>(
    window: &mut Window<R>,
    end: &EndRecord,
) -> Result<Directory, Problem> {
    let held = window.hold_from(end.directory_at)?;
    let seal = Sha256::digest(held).into();
    let bytes = usize::try_from(end.directory_bytes).unwrap_or(usize::MAX);
    let walked = walk(held.get(..bytes).unwrap_or(held), end)?;
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let parsed = ZipArchive::with_config(config, &mut *window)
        .map_err(Problem::from_zip)?
        .metadata();
    window.release();
    let entries = join(walked, &parsed)?;
    Ok(Directory {
        entries,
        parsed,
        seal,
    })
}

struct Walked {
    at: u64,
    raw_name: Box<[u8]>,
    flags: u16,
    method: u16,
    aes: Option<Aes>,
    crc: u32,
    mode: u32,
}

fn walk(directory: &[u8], end: &EndRecord) -> Result<Vec<Walked>, Problem> {
    let mut walked = Vec::new();
    let mut at = 0;
    for number in 1..=end.entries {
        let broken = || {
            Problem::damaged(format!(
                "entry {number} of {} in the archive's directory is broken",
                end.entries
            ))
        };
        let record = Record::at(directory, at, BYTES, SIGNATURE).ok_or_else(broken)?;
        let [name, extra, comment, disk] =
            [28, 30, 32, 34].map(|field| usize::from(record.u16(field)));
        if disk != 0 {
            return Err(broken());
        }
        let raw_name = directory.get(at + BYTES..at + BYTES + name);
        let fields = directory.get(at + BYTES + name..at + BYTES + name + extra);
        walked.push(Walked {
            at: end.directory_at + at as u64,
            raw_name: raw_name.ok_or_else(broken)?.into(),
            flags: record.u16(8),
            method: record.u16(10),
            aes: Aes::of(fields.ok_or_else(broken)?),
            crc: record.u32(16),
            mode: record.u32(38) >> 16,
        });
        at += BYTES + name + extra + comment;
    }
    if at != directory.len() {
        return Err(Problem::damaged(
            "the archive's directory and its end record disagree about the number of entries",
        ));
    }
    Ok(walked)
}

fn join(walked: Vec<Walked>, parsed: &ZipArchiveMetadata) -> Result<Vec<Entry>, Problem> {
    if parsed.has_duplicate_names() || parsed.len() != walked.len() {
        return Err(Problem::damaged(
            "the archive has two entries of the same name",
        ));
    }
    walked
        .into_iter()
        .enumerate()
        .map(|(index, walked)| entry(index, walked, parsed))
        .collect()
}

/// No archive is known that fails here: it is what makes the gate's findings hold for what `zip` inflates.
fn entry(index: usize, walked: Walked, parsed: &ZipArchiveMetadata) -> Result<Entry, Problem> {
    let known = parsed.entry(index).map_err(Problem::from_zip)?;
    if known.central_header_start() != walked.at || known.crc32() != walked.crc {
        return Err(Problem::damaged(
            "the archive's directory can be read in two ways",
        ));
    }
    Ok(Entry {
        index,
        name: known.name().map_err(Problem::from_zip)?.into_owned(),
        raw_name: walked.raw_name,
        bytes: known.size(),
        packed: known.compressed_size(),
        crc: walked.crc,
        method: walked.method,
        aes: walked.aes,
        flags: walked.flags,
        mode: walked.mode,
        header_at: known.header_start(),
        next_at: 0,
    })
}
