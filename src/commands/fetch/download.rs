//! The download: what is wanted of a chosen archive, handed to those who keep and unpack it, resumed where a link was cut.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{BufReader, Read, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::io::AsyncSeekExt;

use super::feed::{Block, Fed, Feed, Piece};
use super::keeper::Keeper;
use super::{Chosen, Fetched, connect, open, patiently, rate, stated, unchanged};
use crate::commands::Job;
use crate::config::format_bytes;
use crate::escape::shown;
use crate::network::Patience;
use crate::store::{File as Remote, Listed, Store, StoreError};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

const BLOCK: usize = 256 << 10;

/// Buffers that come back: as many as can be under way to those who keep and unpack.
const MOST_LENT: usize = 20;

/// An archive whose dump turns out to be broken is still fetched to its end if no more than this is left of it.
const NOT_WORTH_STOPPING: u64 = 16 << 20;

/// Brings the chosen archive here: temp name, every byte hashed, length against fstat, fsync, rename.
pub async fn download(chosen: Chosen, job: &Job<'_>) -> Outcome<Fetched> {
    let fetched = keep(chosen, None, job).await?;
    fetched.ok_or_else(|| Failed::new(Verdict::Bug, "the download was given up"))
}

/// As [`download`], and whoever unpacks gets the bytes as they come. None: unpacking has failed, so the rest was not fetched.
pub async fn keep(chosen: Chosen, feed: Option<Feed>, job: &Job<'_>) -> Outcome<Option<Fetched>> {
    let Chosen {
        store,
        file,
        archive,
        ..
    } = chosen;
    let mut transfer = Transfer {
        span: 0..archive.bytes,
        keeper: Some(Keeper::start(&archive, job)?),
        feed,
        given_up: false,
        lent: VecDeque::new(),
        looked_into: Some(file),
        archive,
    };
    transfer.complete(store, job).await?;
    match transfer.keeper.take() {
        Some(keeper) if transfer.span.is_empty() => {
            Ok(Some(keeper.keep(&transfer.archive, job).await?))
        }
        _ => Ok(None),
    }
}

/// Fetches only what unpacking reads, and keeps nothing. False: unpacking has failed, so the rest was not fetched.
pub async fn pass_on(chosen: Chosen, feed: Feed, job: &Job<'_>) -> Outcome<bool> {
    let Chosen {
        store,
        file,
        archive,
        ..
    } = chosen;
    let mut transfer = Transfer {
        span: feed.span(),
        keeper: None,
        feed: Some(feed),
        given_up: false,
        lent: VecDeque::new(),
        looked_into: Some(file),
        archive,
    };
    transfer.complete(store, job).await?;
    Ok(!transfer.given_up)
}

/// What is still to come of an archive, and who takes it.
struct Transfer {
    archive: Listed,
    /// Starts at the next byte to come. What was handed on is proven: it came in order.
    span: Range<u64>,
    keeper: Option<Keeper>,
    feed: Option<Feed>,
    /// Whoever unpacks has failed.
    given_up: bool,
    /// Blocks that were handed on, oldest first: their buffers come back.
    lent: VecDeque<Block>,
    /// Still open since the look, for the first attempt.
    looked_into: Option<Box<dyn Remote>>,
}

impl Transfer {
    /// Goes on over as many connections as it takes, as long as bytes come.
    async fn complete(&mut self, mut store: Box<dyn Store>, job: &Job<'_>) -> Outcome<()> {
        let start = self.span.start;
        job.run.progress.total(self.span.end - start);
        let mut patience = Patience::new(&job.config.network);
        let (clock, what) = (
            Instant::now(),
            format!("download `{}`", shown(&self.archive.name)),
        );
        loop {
            let before = self.span.start;
            let Err(failed) = self.copy(&mut *store, job).await else {
                break;
            };
            if self.span.start > before {
                patience.refill();
            }
            patience.wait_after(failed.context(&what), &job.run).await?;
            job.run.notes.warn(format!(
                "the download was cut at {} and resumed",
                format_bytes(self.span.start)
            ));
            store = patiently(job, async || connect(job).await)
                .await
                .context(&what)?;
        }
        store.close().await;
        let came = self.span.start - start;
        job.run.notes.bytes(came);
        job.run.notes.message(rate(came, clock.elapsed()));
        // Its end tells whoever unpacks that this was all.
        self.feed = None;
        Ok(())
    }

    /// Copies from where it stopped to the end, unless nobody wants the rest.
    async fn copy(&mut self, store: &mut dyn Store, job: &Job<'_>) -> Outcome<()> {
        let mut file = self.open(store).await?;
        let sought = file.seek(SeekFrom::Start(self.span.start)).await;
        sought.map_err(|error| Failed::from(StoreError::of_read(error)))?;
        file.straight_to(self.span.end);
        while !self.is_over() {
            let left = usize::try_from(self.span.end - self.span.start).unwrap_or(usize::MAX);
            let mut buffer = self.buffer();
            let read = poll_fn(|cx| file.poll_block(cx, &mut buffer, left))
                .await
                .map_err(|error| Failed::from(StoreError::of_read(error)))?;
            if read == 0 {
                return Err(Failed::new(
                    Verdict::Network,
                    format!(
                        "the file ended after {} of {} bytes",
                        self.span.start, self.archive.bytes
                    ),
                ));
            }
            job.run.progress.advance(read as u64);
            let block = Block::new(Piece::new(buffer, read));
            self.lent.push_back(Block::clone(&block));
            self.hand_on(block).await?;
        }
        // Also where it was found to be broken: it may have been replaced while it came.
        unchanged(&self.archive, stated(store, &self.archive).await?)
    }

    /// The file of the look, whose name was compared then and is again in the end; or, on another connection, what its name
    /// stands for by now.
    async fn open(&mut self, store: &mut dyn Store) -> Outcome<Box<dyn Remote>> {
        if let Some(file) = self.looked_into.take() {
            return Ok(file);
        }
        let opened = open(store, &self.archive).await?;
        unchanged(&self.archive, opened.stated())?;
        Ok(opened.file)
    }

    /// The oldest one that nobody has any more, or a new one.
    fn buffer(&mut self) -> Vec<u8> {
        while self.lent.len() > MOST_LENT {
            self.lent.pop_front();
        }
        let is_free = |block: &mut Block| Block::get_mut(block).is_some();
        if self.lent.front_mut().is_some_and(is_free) {
            let oldest = self.lent.pop_front().and_then(Block::into_inner);
            return oldest.map_or_else(Vec::new, Piece::into_buffer);
        }
        Vec::new()
    }

    fn is_over(&self) -> bool {
        let left = self.span.end - self.span.start;
        let is_wanted = self.feed.is_some()
            || (self.keeper.is_some() && !(self.given_up && left > NOT_WORTH_STOPPING));
        left == 0 || !is_wanted
    }

    async fn hand_on(&mut self, block: Block) -> Outcome<()> {
        if let Some(feed) = &self.feed {
            let fed = feed.take(self.span.start, &block).await;
            if fed != Fed::Taken {
                self.given_up = fed == Fed::GivenUp;
                self.feed = None;
            }
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.take(&block).await?;
        }
        self.span.start += block.len() as u64;
        Ok(())
    }
}

/// SHA-256 of a file, lower-case hex.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut reader = BufReader::with_capacity(BLOCK, File::open(path)?);
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let read = reader.read(&mut block)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&block[..read]);
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
