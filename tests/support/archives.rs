//! ZIP archives made by code, byte by byte, so that they can also lie.
//!
//! `archives::zip().entry("erp.dump", bytes).stored().data_descriptor().comment("…").build()`. A method that is about an entry
//! speaks of the last one added. Entries are deflated unless said otherwise.

use std::io::{Cursor, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::Crc;
use flate2::write::DeflateEncoder;

/// The first bytes of a dump in custom format.
pub const DUMP_MAGIC: &[u8] = b"PGDMP";

/// Something that starts as a dump does and packs as badly as one.
pub fn dump(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    DUMP_MAGIC
        .iter()
        .copied()
        .chain(noise)
        .take(bytes)
        .collect()
}

pub fn zip() -> Zip {
    Zip::default()
}

#[derive(Default, Clone)]
pub struct Zip {
    entries: Vec<Entry>,
    comment: Vec<u8>,
    before: Vec<u8>,
    behind: Vec<u8>,
    zip64: bool,
    says_entries: Option<u64>,
}

#[derive(Default, Clone)]
struct Entry {
    name: Vec<u8>,
    plain: Vec<u8>,
    content: Vec<u8>,
    zeros: u64,
    method: u16,
    flags: u16,
    attributes: u32,
    crc: u32,
    bytes: u64,
    packed: u64,
    descriptor: Option<Descriptor>,
    zip64: bool,
    local_name: Option<Vec<u8>>,
    local_method: Option<u16>,
    local_flags: Option<u16>,
    local_crc: Option<u32>,
    local_bytes: Option<u32>,
    hidden_behind: Vec<u8>,
    header_at: Option<u64>,
}

/// The forms that writers give the record behind streamed data.
#[derive(Clone, Copy, PartialEq)]
pub enum Descriptor {
    Signed,
    Bare,
    Wide,
    WideBare,
    /// With the CRC of other data.
    Lying,
}

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const UNIX: u16 = 3 << 8;
const VERSION: u16 = 45;

impl Zip {
    pub fn entry(mut self, name: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut crc = Crc::new();
        crc.update(bytes);
        let content = deflate(bytes);
        self.entries.push(Entry {
            name: name.as_ref().to_vec(),
            method: 8,
            attributes: 0o100_644 << 16,
            crc: crc.sum(),
            bytes: bytes.len() as u64,
            packed: content.len() as u64,
            plain: bytes.to_vec(),
            content,
            ..Entry::default()
        });
        self
    }

    pub fn folder(self, name: &str) -> Self {
        self.entry(name, b"").stored().mode(0o040_755)
    }

    /// A stored entry of zeros, for archives of many gigabytes in a sparse file. Its CRC is wrong.
    pub fn zeros(mut self, name: &str, bytes: u64) -> Self {
        self = self.entry(name, b"").stored().zip64();
        let entry = self.last();
        (entry.zeros, entry.bytes, entry.packed) = (bytes, bytes, bytes);
        self
    }

    /// So many zeros behind the content of a stored entry, with the right CRC: sparse in a file.
    pub fn and_zeros(mut self, bytes: u64) -> Self {
        let entry = self.last();
        assert_eq!(entry.method, 0, "only stored content is followed by zeros");
        let mut crc = Crc::new();
        crc.update(&entry.plain);
        let block = vec![0; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(block.len() as u64);
            crc.update(&block[..usize::try_from(now).expect("a block")]);
            left -= now;
        }
        entry.crc = crc.sum();
        entry.zeros = bytes;
        entry.bytes += bytes;
        entry.packed += bytes;
        self
    }

    pub fn stored(mut self) -> Self {
        let entry = self.last();
        entry.method = 0;
        entry.content = entry.plain.clone();
        entry.packed = entry.content.len() as u64;
        self
    }

    pub fn data_descriptor(self) -> Self {
        self.descriptor(Descriptor::Signed)
    }

    pub fn descriptor(mut self, form: Descriptor) -> Self {
        self.last().descriptor = Some(form);
        self.flags(FLAG_DESCRIPTOR)
    }

    /// Sizes in extra fields, for the entry and in the end record.
    pub fn zip64(mut self) -> Self {
        self.last().zip64 = true;
        self.zip64 = true;
        self
    }

    pub fn encrypted(self) -> Self {
        self.flags(FLAG_ENCRYPTED)
    }

    pub fn flags(mut self, flags: u16) -> Self {
        self.last().flags |= flags;
        self
    }

    pub fn method(mut self, method: u16) -> Self {
        self.last().method = method;
        self
    }

    /// Unix file type and permissions.
    pub fn mode(mut self, mode: u32) -> Self {
        self.last().attributes = mode << 16;
        self
    }

    pub fn comment(mut self, comment: impl AsRef<[u8]>) -> Self {
        self.comment = comment.as_ref().to_vec();
        self
    }

    pub fn says_crc(mut self, crc: u32) -> Self {
        self.last().crc = crc;
        self
    }

    pub fn says_bytes(mut self, bytes: u64) -> Self {
        self.last().bytes = bytes;
        self
    }

    pub fn says_packed(mut self, bytes: u64) -> Self {
        self.last().packed = bytes;
        self
    }

    pub fn says_entries(mut self, entries: u64) -> Self {
        self.says_entries = Some(entries);
        self
    }

    pub fn local_name(mut self, name: &str) -> Self {
        self.last().local_name = Some(name.into());
        self
    }

    pub fn local_method(mut self, method: u16) -> Self {
        self.last().local_method = Some(method);
        self
    }

    pub fn local_flags(mut self, flags: u16) -> Self {
        self.last().local_flags = Some(flags);
        self
    }

    pub fn local_crc(mut self, crc: u32) -> Self {
        self.last().local_crc = Some(crc);
        self
    }

    pub fn local_bytes(mut self, bytes: u32) -> Self {
        self.last().local_bytes = Some(bytes);
        self
    }

    /// Bytes between the entry and the next that belong to neither.
    pub fn hidden_behind(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.last().hidden_behind = bytes.as_ref().to_vec();
        self
    }

    /// The directory sends this entry's readers to another place.
    pub fn says_header_at(mut self, at: u64) -> Self {
        self.last().header_at = Some(at);
        self
    }

    /// Bytes before the archive, with every offset pointing behind them.
    pub fn junk_before(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.before = bytes.as_ref().to_vec();
        self
    }

    pub fn junk_behind(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.behind = bytes.as_ref().to_vec();
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        self.write_to(&mut file);
        file.into_inner()
    }

    /// Writes the archive, with holes for `zeros`.
    pub fn write_to(&self, file: &mut (impl Write + Seek)) {
        put(file, &self.before);
        let mut directory = Vec::new();
        for entry in &self.entries {
            let at = file.stream_position().expect("a position");
            entry.write_to(file);
            directory.extend(entry.listed(entry.header_at.unwrap_or(at)));
        }
        let at = file.stream_position().expect("a position");
        put(file, &directory);
        put(file, &self.end(at, directory.len() as u64));
        put(file, &self.behind);
    }

    fn last(&mut self) -> &mut Entry {
        self.entries
            .last_mut()
            .expect("an entry before what is said of it")
    }

    fn end(&self, directory_at: u64, directory_bytes: u64) -> Vec<u8> {
        let entries = self.says_entries.unwrap_or(self.entries.len() as u64);
        let mut end = Vec::new();
        if self.zip64 {
            end.extend(b"PK\x06\x06");
            end.extend(44_u64.to_le_bytes());
            end.extend([45, 3, 45, 0]);
            end.extend([0; 8]);
            for field in [entries, entries, directory_bytes, directory_at] {
                end.extend(field.to_le_bytes());
            }
            end.extend(b"PK\x06\x07\0\0\0\0");
            end.extend((directory_at + directory_bytes).to_le_bytes());
            end.extend(1_u32.to_le_bytes());
        }
        end.extend(b"PK\x05\x06\0\0\0\0");
        end.extend([short(entries), short(entries)].concat());
        end.extend([word(directory_bytes), word(directory_at)].concat());
        end.extend(short(self.comment.len() as u64));
        end.extend(&self.comment);
        end
    }
}

impl Entry {
    fn write_to(&self, file: &mut (impl Write + Seek)) {
        put(file, &self.local_header());
        put(file, &self.content);
        let hole = i64::try_from(self.zeros).expect("a size that fits");
        file.seek(SeekFrom::Current(hole)).expect("a hole");
        put(file, &self.hidden_behind);
        if let Some(form) = self.descriptor {
            put(file, &self.described(form));
        }
    }

    fn local_header(&self) -> Vec<u8> {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let streamed = self.descriptor.is_some();
        let known = |value: u64| if streamed { 0 } else { value };
        let crc = self
            .local_crc
            .unwrap_or(if streamed { 0 } else { self.crc });
        let bytes = self.local_bytes.map_or(known(self.bytes), u64::from);
        let mut header = b"PK\x03\x04\x2d\0".to_vec();
        header.extend(self.local_flags.unwrap_or(self.flags).to_le_bytes());
        header.extend(self.local_method.unwrap_or(self.method).to_le_bytes());
        header.extend([0, 0, 0x21, 0x5b]);
        header.extend(crc.to_le_bytes());
        header.extend(self.sizes_or_sentinels(known(self.packed), bytes));
        header.extend(short(name.len() as u64));
        let extra = self.extra(&[bytes, known(self.packed)]);
        header.extend(short(extra.len() as u64));
        header.extend(name);
        header.extend(extra);
        header
    }

    fn listed(&self, at: u64) -> Vec<u8> {
        let mut header = b"PK\x01\x02".to_vec();
        header.extend((UNIX + VERSION).to_le_bytes());
        header.extend([45, 0]);
        header.extend(self.flags.to_le_bytes());
        header.extend(self.method.to_le_bytes());
        header.extend([0, 0, 0x21, 0x5b]);
        header.extend(self.crc.to_le_bytes());
        header.extend(self.sizes_or_sentinels(self.packed, self.bytes));
        header.extend(short(self.name.len() as u64));
        let extra = self.extra(&[self.bytes, self.packed, at]);
        header.extend(short(extra.len() as u64));
        header.extend([0; 6]);
        header.extend(self.attributes.to_le_bytes());
        header.extend(if self.zip64 { [0xff; 4] } else { word(at) });
        header.extend(&self.name);
        header.extend(extra);
        header
    }

    fn sizes_or_sentinels(&self, packed: u64, bytes: u64) -> Vec<u8> {
        if self.zip64 {
            vec![0xff; 8]
        } else {
            [word(packed), word(bytes)].concat()
        }
    }

    fn extra(&self, fields: &[u64]) -> Vec<u8> {
        if !self.zip64 {
            return Vec::new();
        }
        let content: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        [&[1, 0], &short(content.len() as u64)[..], &content].concat()
    }

    fn described(&self, form: Descriptor) -> Vec<u8> {
        let mut record = Vec::new();
        if matches!(
            form,
            Descriptor::Signed | Descriptor::Wide | Descriptor::Lying
        ) {
            record.extend(b"PK\x07\x08");
        }
        let crc = if form == Descriptor::Lying {
            !self.crc
        } else {
            self.crc
        };
        record.extend(crc.to_le_bytes());
        for size in [self.packed, self.bytes] {
            if matches!(form, Descriptor::Wide | Descriptor::WideBare) {
                record.extend(size.to_le_bytes());
            } else {
                record.extend(word(size));
            }
        }
        record
    }
}

fn put(file: &mut impl Write, bytes: &[u8]) {
    file.write_all(bytes).expect("a written archive");
}

fn short(value: u64) -> [u8; 2] {
    u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes()
}

fn word(value: u64) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("deflated bytes");
    packed.finish().expect("deflated bytes")
}
