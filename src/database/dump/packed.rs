//! Whether a compressed file is whole: gzip by unpacking it, lz4 and zstd by going from block to block.
//!
//! pg_restore takes the end of an lz4 or zstd file for the end of the data, wherever it is; the frames know better. Sources: RFC 8878,
//! section 3.1.1, and `lz4_Frame_format.md`.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;

const BLOCK: usize = 256 << 10;
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const LZ4: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Unpacks to nowhere, which compares length and CRC.
pub(super) fn prove_gzip(file: File, stopped: &impl Fn() -> bool) -> io::Result<()> {
    let mut plain = MultiGzDecoder::new(BufReader::with_capacity(BLOCK, file));
    let mut block = vec![0; BLOCK];
    while plain.read(&mut block)? > 0 && !stopped() {}
    Ok(())
}

/// Whether a file with this ending consists of whole frames, one at least.
pub(super) fn is_whole(file: &File, ending: &str) -> io::Result<()> {
    let bytes = file.metadata()?.len();
    let mut walk = Walk { file, at: 0 };
    loop {
        match ending {
            ".zst" => walk.zstd()?,
            _ => walk.lz4()?,
        }
        if walk.at > bytes {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if walk.at == bytes {
            return Ok(());
        }
    }
}

struct Walk<'a> {
    file: &'a File,
    at: u64,
}

impl Walk<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, self.at)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn zstd(&mut self) -> io::Result<()> {
        magic(self.take()? == ZSTD, "zstd")?;
        let [descriptor] = self.take()?;
        let is_single = descriptor & 0x20 != 0;
        let size = match descriptor >> 6 {
            0 => u64::from(is_single),
            code => 1 << code,
        };
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        self.at += u64::from(!is_single) + dictionary + size;
        loop {
            let [a, b, c] = self.take()?;
            let header = u32::from_le_bytes([a, b, c, 0]);
            self.at += match header >> 1 & 3 {
                1 => 1,
                3 => return Err(invalid("a block of no kind")),
                _ => u64::from(header >> 3),
            };
            if header & 1 == 1 {
                break;
            }
        }
        self.at += if descriptor & 4 == 0 { 0 } else { 4 };
        Ok(())
    }

    fn lz4(&mut self) -> io::Result<()> {
        magic(self.take()? == LZ4, "lz4")?;
        let [flags, _] = self.take()?;
        let has = |bit: u8, bytes: u64| if flags & bit == 0 { 0 } else { bytes };
        self.at += has(0x08, 8) + has(0x01, 4) + 1;
        loop {
            let size = u32::from_le_bytes(self.take()?);
            if size == 0 {
                break;
            }
            self.at += u64::from(size & 0x7fff_ffff) + has(0x10, 4);
        }
        self.at += has(0x04, 4);
        Ok(())
    }
}

fn magic(is_right: bool, name: &str) -> io::Result<()> {
    if is_right {
        return Ok(());
    }
    Err(invalid(&format!("it does not start as {name} files do")))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
