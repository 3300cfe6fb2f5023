//! The archives: valid ZIPs with a valid dump, made large by what follows it, which `pg_restore` never reads.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::support::archives;

pub const MIB: u64 = 1 << 20;
/// A block of text is written again and again: deflate sees only the last 32 KiB of it.
const BLOCK: usize = 32 << 20;
pub const DUMP: &str = "erp.dump";

/// What fills an archive behind its dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Random bytes, stored.
    Noise,
    /// Lines as COPY writes them, deflated at 3 to 4:1.
    Text,
}

/// An archive whose dump, `dump` and what follows, has `bytes`. Returns the dump's SHA-256.
pub fn archive(path: &Path, dump: &[u8], filling: Filling, bytes: u64) -> Result<String> {
    let (method, block) = match filling {
        Filling::Noise => (CompressionMethod::Stored, noise()),
        Filling::Text => (CompressionMethod::Deflated, text()),
    };
    let mut left = usize::try_from(bytes)?.saturating_sub(dump.len());
    pack(path, method, |out| {
        out.write_all(dump)?;
        while left > 0 {
            let now = left.min(block.len());
            out.write_all(&block[..now])?;
            left -= now;
        }
        Ok(())
    })
}

/// A file as the only entry of a deflated archive.
pub fn archive_of(path: &Path, dump: &Path) -> Result<String> {
    let mut file = File::open(dump)?;
    pack(path, CompressionMethod::Deflated, |out| {
        io::copy(&mut file, out).map(drop)
    })
}

/// An archive of about `bytes` that takes no room: `dump` and then zeros, stored, with holes in the file.
pub fn sparse(path: &Path, dump: &[u8], bytes: u64) -> Result<()> {
    let zeros = bytes.saturating_sub(dump.len() as u64);
    let zip = archives::zip()
        .entry(DUMP, dump)
        .stored()
        .zip64()
        .and_zeros(zeros);
    zip.write_to(&mut File::create(path)?);
    Ok(())
}

fn pack(
    path: &Path,
    method: CompressionMethod,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<String> {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut zip = ZipWriter::new(file);
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .large_file(true);
    zip.start_file(DUMP, options).context("begin an entry")?;
    let mut hashed = Hashed {
        to: &mut zip,
        hash: Sha256::new(),
    };
    fill(&mut hashed).context("write the entry")?;
    let hash = in_hex(hashed.hash);
    zip.finish().context("finish the archive")?.flush()?;
    Ok(hash)
}

struct Hashed<'a, W> {
    to: &'a mut W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

pub fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(in_hex(hash));
        }
        hash.update(&buffer[..read]);
    }
}

fn in_hex(hash: Sha256) -> String {
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

/// Marsaglia's xorshift, so that every run has the same data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let at = (self.next() >> 32) % words.len() as u64;
        words[usize::try_from(at).expect("a small number")]
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }
}

fn noise() -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes());
    words.take(BLOCK / 8).flatten().collect()
}

const FIRST: [&str; 13] = [
    "Ada", "Bruno", "Clara", "Emil", "Frida", "Hedy", "Ida", "Jonas", "Lena", "Max", "Nora",
    "Otto", "Paula",
];
const LAST: [&str; 11] = [
    "Abel", "Berg", "Conti", "Dahl", "Evers", "Fink", "Graf", "Holm", "Jansen", "Keller", "Lund",
];
const STATES: [&str; 5] = ["paid", "packed", "sent", "returned", "\\N"];

fn text() -> Vec<u8> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut lines = Vec::with_capacity(BLOCK + 256);
    for id in 1_000_000_u64.. {
        let (first, last) = (random.pick(&FIRST), random.pick(&LAST));
        let (day, second) = (random.below(28) + 1, random.below(86400));
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let (cents, note) = (random.below(100_000), random.below(1 << 40));
        let state = random.pick(&STATES);
        writeln!(
            lines,
            "{id}\t{first} {last}\t{}.{}@example.org\t2026-{:02}-{day:02} {hour:02}:{minute:02}:{second:02}+00\t{}.{:02}\t{state}\tparcel {note:010x}\tf\t\\N",
            first.to_lowercase(),
            last.to_lowercase(),
            random.below(12) + 1,
            cents / 100,
            cents % 100
        )
        .expect("memory");
        if lines.len() >= BLOCK {
            break;
        }
    }
    lines
}
