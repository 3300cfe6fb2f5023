//! What a dump is packed with on its own, in the ZIP or in its place: gzip or Zstandard, known by their first bytes.

use std::error::Error;
use std::fmt;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::problem::Problem;

const GZIP_MAGIC: &[u8] = b"\x1f\x8b\x08";
/// RFC 8878, 3.1.1 and 3.1.2; a file may start with a frame that is to be skipped, and pzstd's do.
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
const SKIPPABLE_MAGIC: &[u8] = b"\x2a\x4d\x18";

/// What a frame may have held in memory while it is unpacked: 8 MiB, which RFC 8878 asks of every reader and which `zstd` stays
/// within up to level 19.
const MOST_WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub(super) fn of(head: &[u8]) -> Self {
        let is_skippable = || {
            head.first().is_some_and(|byte| byte & 0xf0 == 0x50)
                && head[1..].starts_with(SKIPPABLE_MAGIC)
        };
        if head.starts_with(GZIP_MAGIC) {
            Self::Gzip
        } else if head.starts_with(ZSTD_MAGIC) || is_skippable() {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// What `packed` unpacks to: every member or frame of it, to its last byte.
    pub(super) fn unpacked<'a>(
        self,
        packed: Box<dyn Read + 'a>,
    ) -> Result<Box<dyn Read + 'a>, Problem> {
        Ok(match self {
            Self::Plain => packed,
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => Box::new(Zstd::new(packed).map_err(Problem::from_reading)?),
        })
    }
}

struct Zstd<'a>(zstd::Decoder<'static, BufReader<Box<dyn Read + 'a>>>);

impl<'a> Zstd<'a> {
    fn new(packed: Box<dyn Read + 'a>) -> io::Result<Self> {
        let mut decoder = zstd::Decoder::new(packed)?;
        decoder.window_log_max(MOST_WINDOW_LOG)?;
        Ok(Self(decoder))
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            // The only way in which libzstd tells it here.
            if error.to_string().contains("too much memory") {
                io::Error::other(WindowTooLarge)
            } else {
                error
            }
        })
    }
}

/// A frame that can't be unpacked within the memory that this program promises.
#[derive(Debug)]
pub(super) struct WindowTooLarge;

impl fmt::Display for WindowTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "its Zstandard frame wants more than the 8 MiB of memory that are given to it: \
             pack it with level 19 at most, without `--ultra` and `--long`",
        )
    }
}

impl Error for WindowTooLarge {}
