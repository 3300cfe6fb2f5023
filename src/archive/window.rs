//! The archive as a few large reads: its tail held in memory, everything else fetched in blocks.
//!
//! Over SFTP every read is a round trip, so seeking costs nothing here until bytes are wanted that are not at hand.

use std::io::{self, Read, Seek, SeekFrom};

use super::problem::{Problem, ReaderFailed};

/// Enough for the longest comment and everything before it in the end record.
pub(super) const TAIL_BYTES: u64 = 66 * 1024;
/// Who reads so much at once gets it without a copy in between.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

pub(super) struct Window<R> {
    inner: R,
    inner_at: Option<u64>,
    bytes: u64,
    at: u64,
    tail: Held,
    block: Held,
}

/// Bytes at hand, and where in the archive they are.
#[derive(Default)]
struct Held {
    at: u64,
    data: Vec<u8>,
}

impl Held {
    fn from(&self, at: u64) -> Option<&[u8]> {
        let offset = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.data.get(offset..).filter(|rest| !rest.is_empty())
    }
}

impl<R: Read + Seek> Window<R> {
    /// Reads the tail of an archive of `bytes` bytes.
    pub(super) fn open(inner: R, bytes: u64) -> Result<Self, Problem> {
        let mut window = Self::over(inner, bytes);
        let at = bytes.saturating_sub(TAIL_BYTES);
        let data = window.fetch(at, bytes).map_err(Problem::from_reading)?;
        window.tail = Held { at, data };
        Ok(window)
    }

    /// Over an archive of which nothing is at hand yet: everything is read from `inner`.
    pub(super) fn over(inner: R, bytes: u64) -> Self {
        Self {
            inner,
            inner_at: None,
            bytes,
            at: 0,
            tail: Held::default(),
            block: Held::default(),
        }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    pub(super) fn archive_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn tail(&self) -> (u64, &[u8]) {
        (self.tail.at, &self.tail.data)
    }

    /// Holds everything from `at` to the end of the archive in memory, until `release`.
    pub(super) fn hold_from(&mut self, at: u64) -> Result<&[u8], Problem> {
        if at < self.tail.at {
            let mut data = self
                .fetch(at, self.tail.at)
                .map_err(Problem::from_reading)?;
            data.extend_from_slice(&self.tail.data);
            self.tail = Held { at, data };
        }
        Ok(self.tail.from(at).unwrap_or_default())
    }

    /// Lets go of everything before the tail.
    pub(super) fn release(&mut self) {
        let at = self.bytes.saturating_sub(TAIL_BYTES).max(self.tail.at);
        self.tail.data = self.tail.from(at).unwrap_or_default().to_vec();
        self.tail.at = at;
    }

    /// The `bytes` bytes at `at`; shorter only where the archive ends.
    pub(super) fn read_at(&mut self, at: u64, bytes: u64) -> Result<Vec<u8>, Problem> {
        let mut data = Vec::new();
        self.at = at;
        self.take(bytes)
            .read_to_end(&mut data)
            .map_err(Problem::from_reading)?;
        Ok(data)
    }

    fn fetch(&mut self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(to - from).map_err(io::Error::other)?;
        let mut data = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            filled += self.read_inner(from + filled as u64, &mut data[filled..])?;
        }
        Ok(data)
    }

    /// One read of the reader itself. Never 0: an archive that got shorter under us is an error.
    fn read_inner(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.try_read_inner(at, buffer);
        self.inner_at = result.as_ref().ok().map(|read| at + *read as u64);
        result.map_err(|error| io::Error::other(ReaderFailed(error)))
    }

    fn try_read_inner(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.inner_at != Some(at) {
            self.inner.seek(SeekFrom::Start(at))?;
        }
        loop {
            match self.inner.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let mut data = std::mem::take(&mut self.block.data);
        data.resize(left.min(BLOCK_BYTES), 0);
        let read = self.read_inner(self.at, &mut data)?;
        data.truncate(read);
        self.block = Held { at: self.at, data };
        Ok(())
    }
}

impl<R: Read + Seek> Read for Window<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let held = |window: &Self| {
            window.tail.from(window.at).is_some() || window.block.from(window.at).is_some()
        };
        let read = if !held(self) && wanted >= BLOCK_BYTES {
            self.read_inner(self.at, &mut buffer[..wanted])?
        } else {
            if !held(self) {
                self.next_block()?;
            }
            let rest = self.tail.from(self.at).or_else(|| self.block.from(self.at));
            let rest = rest.unwrap_or_default();
            let read = rest.len().min(wanted);
            buffer[..read].copy_from_slice(&rest[..read]);
            read
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl<R> Seek for Window<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
