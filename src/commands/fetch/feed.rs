//! The bytes of an archive on their way from the download to whoever unpacks them: in order, and only so many at a time.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::archive::Found;

/// Blocks under way at most; with those of the download itself this bounds what is held in memory.
const BLOCKS: usize = 4;

/// A block of the archive, shared by everybody who takes it.
pub type Block = Arc<Piece>;

/// Bytes at the start of a buffer that is filled again once nobody has the block any more: a new one would be zeroed by the
/// system and by us.
#[derive(Debug, Default)]
pub struct Piece {
    buffer: Vec<u8>,
    length: usize,
}

impl Piece {
    /// The first `length` bytes of `buffer`.
    pub fn new(buffer: Vec<u8>, length: usize) -> Self {
        let length = length.min(buffer.len());
        Self { buffer, length }
    }

    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// The download's end. Dropped before the span's last byte it makes the other end fail.
#[derive(Debug)]
pub struct Feed {
    span: Range<u64>,
    sender: mpsc::Sender<(Block, Range<usize>)>,
    ended_well: Arc<AtomicBool>,
    /// Whoever unpacks has enough to do: the network is not what is waited for.
    is_full: Arc<AtomicBool>,
}

/// What a feed's other end makes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// More is wanted.
    Taken,
    /// The dump is unpacked.
    Enough,
    /// Unpacking has failed: nothing more is wanted either.
    GivenUp,
}

/// The unpacker's end: a file of which only the span is there, each byte once, and what lies behind the last start a second time.
#[derive(Debug)]
pub struct Arriving {
    span: Range<u64>,
    receiver: mpsc::Receiver<(Block, Range<usize>)>,
    /// Where what is unpacked begins, in order, as far as it has not come yet.
    starts: VecDeque<u64>,
    /// The last one that has come.
    start_at: u64,
    /// What may be read again, and where in the archive it ends.
    kept: Vec<u8>,
    kept_to: u64,
    block: Block,
    /// What of the block was not read yet.
    rest: Range<usize>,
    /// The place in the archive of the first byte that was not read yet, and of the next one that is.
    came: u64,
    at: u64,
    ended_well: Arc<AtomicBool>,
}

/// Both ends, for these bytes of an archive.
pub fn feed(span: Range<u64>) -> (Feed, Arriving) {
    let (sender, receiver) = mpsc::channel(BLOCKS);
    let ended_well = Arc::<AtomicBool>::default();
    let arriving = Arriving {
        came: span.start,
        at: span.start,
        span: span.clone(),
        receiver,
        starts: VecDeque::new(),
        start_at: span.start,
        kept: Vec::new(),
        kept_to: span.start,
        block: Block::default(),
        rest: 0..0,
        ended_well: Arc::clone(&ended_well),
    };
    let feed = Feed {
        span,
        sender,
        ended_well,
        is_full: Arc::default(),
    };
    (feed, arriving)
}

impl Feed {
    pub fn span(&self) -> Range<u64> {
        self.span.clone()
    }

    /// Whether the download waits for whoever unpacks, rather than for the network.
    pub fn is_full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_full)
    }

    /// Hands on what of a block belongs to the span; waits while enough is under way.
    pub async fn take(&self, at: u64, block: &Block) -> Fed {
        let offset = |place: u64| {
            let bytes = place.saturating_sub(at).min(block.len() as u64);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let part = offset(self.span.start)..offset(self.span.end);
        if part.is_empty() && !self.sender.is_closed() {
            return Fed::Taken;
        }
        self.is_full.store(true, Ordering::Relaxed);
        let sent = self.sender.send((Arc::clone(block), part)).await;
        self.is_full.store(false, Ordering::Relaxed);
        match sent {
            Ok(()) => Fed::Taken,
            Err(_) if self.ended_well.load(Ordering::Acquire) => Fed::Enough,
            Err(_) => Fed::GivenUp,
        }
    }
}

impl Arriving {
    /// What is unpacked begins at these places of the archive, in order, rather than with the span alone.
    #[must_use]
    pub fn beginning_at(mut self, starts: Vec<u64>) -> Self {
        self.starts = starts.into();
        self
    }

    /// To be set before the unpacker that took the last byte it needs lets go of this end.
    pub fn ended_well(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ended_well)
    }

    /// Waits for bytes. False: no more will come.
    fn more(&mut self) -> bool {
        while self.rest.is_empty() {
            let Some((block, rest)) = self.receiver.blocking_recv() else {
                return false;
            };
            self.remember(&block[rest.clone()]);
            (self.block, self.rest) = (block, rest);
        }
        true
    }

    /// Keeps the block where what is unpacked begins in it, or began shortly before it.
    fn remember(&mut self, block: &[u8]) {
        while let Some(start) = self.starts.front().filter(|start| **start <= self.came) {
            self.start_at = *start;
            self.starts.pop_front();
        }
        let behind = usize::try_from(self.came - self.start_at).unwrap_or(usize::MAX);
        // More than what lies behind the last start has been passed for good.
        let passed = match behind {
            0..=Found::LOOKED_AT => self.kept.len().saturating_sub(behind),
            _ => self.kept.len(),
        };
        self.kept.drain(..passed);
        let ends_at = self.came + block.len() as u64;
        let begins_here = self.starts.front().is_some_and(|start| *start < ends_at);
        if begins_here || behind <= Found::LOOKED_AT {
            self.kept.extend_from_slice(block);
            self.kept_to = ends_at;
        }
    }

    /// What is asked for once more, as far as it is at hand.
    fn again(&self) -> &[u8] {
        let ahead = |to: u64| usize::try_from(to.checked_sub(self.at)?).ok();
        let from = ahead(self.kept_to).and_then(|left| self.kept.len().checked_sub(left));
        let kept = from.and_then(|from| self.kept.get(from..));
        let (kept, came) = (kept.unwrap_or_default(), ahead(self.came).unwrap_or(0));
        &kept[..came.min(kept.len())]
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.at >= self.span.end {
            return Ok(0);
        }
        let again = self.again();
        if !again.is_empty() {
            let read = again.len().min(buffer.len());
            buffer[..read].copy_from_slice(&again[..read]);
            self.at += read as u64;
            return Ok(read);
        }
        if self.at < self.came {
            let told = "only the start of an entry that comes can be read again";
            return Err(io::Error::new(io::ErrorKind::Unsupported, told));
        }
        loop {
            if !self.more() {
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the download has ended",
                ));
            }
            let ahead = usize::try_from(self.at - self.came).unwrap_or(usize::MAX);
            if ahead == 0 {
                break;
            }
            // What lies between is wanted by nobody.
            let skipped = ahead.min(self.rest.len());
            self.rest.start += skipped;
            self.came += skipped as u64;
        }
        let read = self.rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&self.block[self.rest.start..][..read]);
        self.rest.start += read;
        self.came += read as u64;
        self.at = self.came;
        Ok(read)
    }
}

impl Seek for Arriving {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(_) => None,
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::Unsupported)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `content` in blocks of `bytes`, and drops the feed.
    fn deliver(feed: Feed, content: Vec<u8>, bytes: usize) -> std::thread::JoinHandle<Fed> {
        std::thread::spawn(move || {
            let mut at = 0;
            let mut last = Fed::Taken;
            for block in content.chunks(bytes) {
                let block = Block::new(Piece::new(block.to_vec(), block.len()));
                last = futures::executor::block_on(feed.take(at, &block));
                at += block.len() as u64;
            }
            last
        })
    }

    fn content() -> Vec<u8> {
        (0..2_000_000_u32).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn only_the_span_arrives_whatever_the_blocks_are() {
        for bytes in [777, 100_000, 2_000_000] {
            let (feed, mut arriving) = feed(100_001..1_900_001);
            let sender = deliver(feed, content(), bytes);

            let mut found = Vec::new();
            arriving.read_to_end(&mut found).expect("the whole span");

            assert!(found == content()[100_001..1_900_001], "{bytes}");
            assert_eq!(sender.join().expect("sent"), Fed::Taken);
        }
    }

    #[test]
    fn the_start_can_be_read_again_and_the_rest_goes_on_behind_it() {
        let (feed, mut arriving) = feed(10..2_000_000);
        let sender = deliver(feed, content(), 4096);
        let mut head = vec![0; 300_000];
        arriving.read_exact(&mut head).expect("the start");
        for place in [10, 40, 200_000] {
            arriving.seek(SeekFrom::Start(place)).expect("a seek");
            arriving.read_exact(&mut head[..1000]).expect("it again");
            let place = usize::try_from(place).expect("a small number");
            assert!(head[..1000] == content()[place..place + 1000]);
        }
        let mut rest = Vec::new();
        arriving.read_to_end(&mut rest).expect("the rest");
        assert!(rest == content()[201_000..]);
        sender.join().expect("sent");
    }

    #[test]
    fn what_is_gone_is_an_error_and_what_is_ahead_is_waited_for() {
        let (feed, mut arriving) = feed(0..2_000_000);
        let sender = deliver(feed, content(), 4096);
        let mut block = vec![0; 1_000_000];
        arriving.read_exact(&mut block).expect("half of it");
        arriving.seek(SeekFrom::Start(600_000)).expect("a seek");
        assert!(arriving.read(&mut block).is_err());
        arriving.seek(SeekFrom::Start(1_500_000)).expect("a seek");
        arriving
            .read_exact(&mut block[..1000])
            .expect("what is ahead");
        assert!(block[..1000] == content()[1_500_000..1_501_000]);
        drop(arriving);
        assert_eq!(sender.join().expect("sent"), Fed::GivenUp);
    }

    #[test]
    fn each_start_can_be_read_again_also_where_the_next_ones_have_come() {
        for bytes in [500, 4096, 300_000, 2_000_000] {
            let (feed, arriving) = feed(0..2_000_000);
            let starts = vec![0, 700, 1000, 262_140, 262_200, 1_500_000, 1_500_100];
            let mut arriving = arriving.beginning_at(starts.clone());
            let sender = deliver(feed, content(), bytes);
            for start in starts {
                let place = usize::try_from(start).expect("a small number");
                let mut head = [0; 90];
                for _ in 0..2 {
                    arriving.seek(SeekFrom::Start(start)).expect("a seek");
                    arriving.read_exact(&mut head).expect("a start");
                    assert!(head == content()[place..place + 90], "{start} {bytes}");
                }
            }
            assert!(arriving.kept.len() <= Found::LOOKED_AT + bytes);
            let mut rest = Vec::new();
            arriving.read_to_end(&mut rest).expect("the rest");
            assert!(rest == content()[1_500_190..], "{bytes}");
            assert_eq!(sender.join().expect("sent"), Fed::Taken);
        }
    }

    #[test]
    fn a_download_that_ends_early_is_an_error() {
        let (feed, mut arriving) = feed(0..3_000_000);
        let sender = deliver(feed, content(), 65_536);
        let mut found = Vec::new();
        let error = arriving.read_to_end(&mut found).expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(found.len(), 2_000_000);
        sender.join().expect("sent");
    }

    #[test]
    fn whoever_has_enough_is_not_taken_for_one_who_gave_up() {
        let (feed, mut arriving) = feed(0..2_000_000);
        arriving.ended_well().store(true, Ordering::Release);
        let sender = deliver(feed, content(), 65_536);
        arriving.read_exact(&mut [0; 100]).expect("a little");
        drop(arriving);
        assert_eq!(sender.join().expect("sent"), Fed::Enough);
    }
}
