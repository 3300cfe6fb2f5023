//! A deflated entry, inflated from long reads and held against the directory's CRC and size.
//!
//! The crate `zip` would do the same 8 KiB at a time: each call of inflate ends slowly and copies the last 32 KiB that came out of it.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::directory::Entry;
use super::gate::DEFLATED;
use super::local_header;
use super::problem::Problem;
use super::window::{self, Window};

/// The plain bytes of an entry. Only a read to the end has compared length and CRC.
pub(super) struct Inflated<'a, R> {
    plain: DeflateDecoder<BufReader<Take<&'a mut Window<R>>>>,
    crc: Crc,
    came: u64,
    declared: u64,
    declared_crc: u32,
}

/// Whether the entry's bytes are deflate and nothing else.
pub(super) fn is_for(entry: &Entry) -> bool {
    entry.method == DEFLATED && !entry.is_encrypted()
}

impl<'a, R: Read + Seek> Inflated<'a, R> {
    /// From the first byte behind the local header, which was compared with the directory before.
    pub(super) fn open(window: &'a mut Window<R>, entry: &Entry) -> Result<Self, Problem> {
        let at = local_header::content_at(window, entry)?;
        window
            .seek(SeekFrom::Start(at))
            .map_err(Problem::from_reading)?;
        let packed = BufReader::with_capacity(window::BLOCK_BYTES, window.take(entry.packed));
        Ok(Self {
            plain: DeflateDecoder::new(packed),
            crc: Crc::new(),
            came: 0,
            declared: entry.bytes,
            declared_crc: entry.crc,
        })
    }
}

impl<R: Read + Seek> Read for Inflated<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.crc.sum() != self.declared_crc {
            return Err(broken("its checksum is another one than the directory's"));
        }
        self.came += read as u64;
        if self.came > self.declared {
            return Err(broken("it is larger than the directory says"));
        }
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}

fn broken(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, how)
}
