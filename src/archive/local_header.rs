//! What stands before and behind an entry's bytes: the local header and the data descriptor. Both must repeat the directory.

use std::io::{Read, Seek};

use super::directory::{DESCRIPTOR, ENCRYPTED, Entry, MASKED, PATCH, STRONGLY_ENCRYPTED};
use super::encryption::Aes;
use super::extra;
use super::problem::Problem;
use super::record::Record;
use super::window::Window;
use crate::escape::quoted;

const SIGNATURE: &[u8] = b"PK\x03\x04";
const BYTES: u64 = 30;
const DESCRIPTOR_SIGNATURE: &[u8] = b"PK\x07\x08";
const ZIP64_EXTRA: u16 = 1;
/// Bit 11, the name's encoding, is left out: writers differ in it, and the name's bytes are compared.
const DECIDING_FLAGS: u16 = ENCRYPTED | DESCRIPTOR | PATCH | STRONGLY_ENCRYPTED | MASKED;

/// What may lie between an entry's least extent and the next one: its extra fields and its descriptor.
pub(super) const MOST_ROOM: u64 = u16::MAX as u64 + 24;

/// The bytes that an entry takes if it has neither extra fields nor a descriptor.
pub(super) fn least_bytes(entry: &Entry) -> Option<u64> {
    (BYTES + entry.raw_name.len() as u64).checked_add(entry.packed)
}

/// Where the data descriptor of an entry is, where it has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    at: u64,
    bytes: u64,
}

/// Holds the local header against the directory. The entry's bytes must end where its descriptor, or the next entry, starts.
pub(super) fn check<R: Read + Seek>(
    window: &mut Window<R>,
    entry: &Entry,
) -> Result<Option<Descriptor>, Problem> {
    let data = window.read_at(entry.header_at, BYTES)?;
    let header = Record::at(&data, 0, 30, SIGNATURE).ok_or_else(|| unlike(entry, "is missing"))?;
    let [name_bytes, extra_bytes] = [26, 28].map(|field| u64::from(header.u16(field)));
    if header.u16(6) & DECIDING_FLAGS != entry.flags & DECIDING_FLAGS {
        return Err(unlike(entry, "has other flags than the directory"));
    }
    if header.u16(8) != entry.method {
        return Err(unlike(entry, "has another method than the directory"));
    }
    let rest = window.read_at(entry.header_at + BYTES, name_bytes + extra_bytes)?;
    let (name, extra) = rest.split_at(rest.len().min(entry.raw_name.len()));
    if name_bytes != entry.raw_name.len() as u64 || name != &*entry.raw_name {
        return Err(unlike(entry, "has another name than the directory"));
    }
    if Aes::of(extra) != entry.aes {
        return Err(unlike(entry, "has another encryption than the directory"));
    }
    let sizes = sizes(header, extra);
    let complete = check_sizes(entry, crc(header, entry), sizes)?;
    // Can't overflow: the gate proved that the least extent fits, and an extra field is short.
    let ends_at = entry.header_at + BYTES + name_bytes + extra_bytes + entry.packed;
    room_behind(entry, ends_at, complete)
}

/// The CRC, or 0 where it comes behind the data. Info-ZIP puts the time there that the password is checked by.
fn crc(header: Record, entry: &Entry) -> u32 {
    let crc = header.u32(14);
    let streamed_and_encrypted = DESCRIPTOR | ENCRYPTED;
    let is_time = entry.flags & streamed_and_encrypted == streamed_and_encrypted
        && crc == u32::from(header.u16(10)) << 16;
    if is_time { 0 } else { crc }
}

/// Where the entry's bytes begin.
pub(super) fn content_at<R: Read + Seek>(
    window: &mut Window<R>,
    entry: &Entry,
) -> Result<u64, Problem> {
    let data = window.read_at(entry.header_at, BYTES)?;
    let header = Record::at(&data, 0, 30, SIGNATURE).ok_or_else(|| unlike(entry, "is missing"))?;
    let [name_bytes, extra_bytes] = [26, 28].map(|field| u64::from(header.u16(field)));
    Ok(entry.header_at + BYTES + name_bytes + extra_bytes)
}

/// Unpacked and packed size; in a zip64 extra field where the header says so.
fn sizes(header: Record, extra: &[u8]) -> [u64; 2] {
    let mut wide = zip64_fields(extra);
    [header.u32(22), header.u32(18)].map(|short| match (short, &mut wide) {
        (u32::MAX, Some(fields)) => fields.next().unwrap_or(u64::MAX),
        _ => u64::from(short),
    })
}

fn zip64_fields(fields: &[u8]) -> Option<impl Iterator<Item = u64> + '_> {
    let content = extra::field(fields, ZIP64_EXTRA)?;
    Some((0..content.len() / 8).filter_map(|n| Some(Record::at(content, n * 8, 8, b"")?.u64(0))))
}

/// Whether the header has CRC and sizes; with a descriptor behind the data it may leave them 0.
fn check_sizes(entry: &Entry, crc: u32, [bytes, packed]: [u64; 2]) -> Result<bool, Problem> {
    let streamed = entry.flags & DESCRIPTOR != 0;
    let pairs = [
        (u64::from(crc), u64::from(entry.crc), "CRC"),
        (bytes, entry.bytes, "size"),
        (packed, entry.packed, "packed size"),
    ];
    for (here, there, what) in pairs {
        if here != there && !(streamed && here == 0) {
            return Err(unlike(
                entry,
                &format!("has another {what} than the directory"),
            ));
        }
    }
    Ok(pairs.iter().all(|(here, there, _)| here == there))
}

fn room_behind(entry: &Entry, ends_at: u64, complete: bool) -> Result<Option<Descriptor>, Problem> {
    let streamed = entry.flags & DESCRIPTOR != 0;
    match entry.next_at.checked_sub(ends_at) {
        None => Err(unlike(entry, "makes it overlap what follows it")),
        Some(0) if complete || !streamed => Ok(None),
        Some(bytes @ (12 | 16 | 20 | 24)) if streamed => {
            Ok(Some(Descriptor { at: ends_at, bytes }))
        }
        Some(bytes) => Err(Problem::damaged(format!(
            "{bytes} bytes behind the entry {} are no data descriptor",
            quoted(&entry.name)
        ))),
    }
}

/// Holds the descriptor against the directory. Its four forms, with a signature or not, with long sizes or not, differ in length.
pub(super) fn check_descriptor<R: Read + Seek>(
    window: &mut Window<R>,
    entry: &Entry,
    descriptor: Descriptor,
) -> Result<(), Problem> {
    let data = window.read_at(descriptor.at, descriptor.bytes)?;
    let signature: &[u8] = if matches!(descriptor.bytes, 16 | 24) {
        DESCRIPTOR_SIGNATURE
    } else {
        b""
    };
    let bytes = usize::try_from(descriptor.bytes).unwrap_or(usize::MAX);
    let agrees = Record::at(&data, 0, bytes, signature).is_some_and(|record| {
        let start = signature.len();
        let sizes = if bytes - start == 20 {
            [record.u64(start + 4), record.u64(start + 12)]
        } else {
            [record.u32(start + 4).into(), record.u32(start + 8).into()]
        };
        record.u32(start) == entry.crc && sizes == [entry.packed, entry.bytes]
    });
    agrees.then_some(()).ok_or_else(|| {
        Problem::damaged(format!(
            "the data descriptor of the entry {} is unlike the directory",
            quoted(&entry.name)
        ))
    })
}

fn unlike(entry: &Entry, fault: &str) -> Problem {
    Problem::damaged(format!(
        "the local header of the entry {} {fault}",
        quoted(&entry.name)
    ))
}
