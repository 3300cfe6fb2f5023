//! The download: what is wanted of a chosen archive, handed to those who keep and unpack it, resumed where a link was cut.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{BufReader, Read, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::feed::{Block, Fed, Feed, Piece};
use super::keeper::Keeper;
use super::part::{COMPARED, Origin, Part, Prefix};
use super::{Chosen, Fetched, connect, forget_part, open, patiently, rate, stated, unchanged};
use crate::commands::Job;
use crate::escape::shown;
use crate::network::Patience;
use crate::store::{File as Remote, Listed, Store, StoreError};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

const BLOCK: usize = 256 << 10;

/// Buffers that come back: as many as can be under way to those who keep and unpack.
const MOST_LENT: usize = 12;

/// Bytes a second that an attempt must have brought, or it counts against `attempts` like one that brought none: a server that
/// dribbles is not asked for ever.
const SLOWEST: u128 = 1024;

const LEAST_COMPARED: usize = COMPARED / 64;

/// An archive whose dump turns out to be broken is still fetched to its end if no more than this is left of it.
const NOT_WORTH_STOPPING: u64 = 16 << 20;

/// Brings the chosen archive here: temp name, every byte hashed, length against fstat, fsync, rename.
pub async fn download(chosen: Chosen, job: &Job<'_>) -> Outcome<Fetched> {
    let fetched = keep(chosen, None, job).await?;
    fetched.ok_or_else(|| Failed::new(Verdict::Bug, "the download was given up"))
}

/// As [`download`], and whoever unpacks gets the bytes as they come. None: unpacking has failed, so the rest was not fetched.
pub async fn keep(chosen: Chosen, feed: Option<Feed>, job: &Job<'_>) -> Outcome<Option<Fetched>> {
    let origin = Origin::of(&chosen);
    let prefix = proven(&origin, job).await?;
    let resumed = prefix.as_ref().map(Resumed::behind);
    let keeper = Keeper::start(&origin, prefix, job)?;
    let Chosen {
        store,
        file,
        archive,
        ..
    } = chosen;
    let mut transfer = Transfer {
        keeper: Some(keeper),
        feed,
        origin: Some(origin),
        resumed,
        ..Transfer::of(0..archive.bytes, archive, file)
    };
    let done = transfer.complete(store, job).await;
    let is_whole = transfer.span.is_empty();
    match (done, transfer.keeper.take()) {
        (Ok(()), Some(keeper)) if is_whole => keeper.keep(&transfer.archive, job).await.map(Some),
        (Err(failed), Some(keeper)) if failed.verdict == Verdict::Network => {
            keeper.leave(job).await;
            Err(failed)
        }
        (done, keeper) => {
            if let Some(keeper) = keeper {
                keeper.give_up(job).await;
            }
            done.map(|()| None)
        }
    }
}

/// What an earlier run has left of this archive, hashed again.
async fn proven(origin: &Origin, job: &Job<'_>) -> Outcome<Option<Prefix>> {
    let (part, origin, stop) = (Part::of(job), origin.clone(), job.run.stop.clone());
    job.run
        .progress
        .note("looking for what an earlier run has fetched");
    let hashed = tokio::task::spawn_blocking(move || part.proven(&origin, || stop.is_cancelled()));
    let hashed = hashed
        .await
        .judge(Verdict::Bug, "read what an earlier run has left")?;
    hashed.or_else(|failed| match failed.verdict {
        // It would end every night's run: what can't be read is worth no more than what is not there.
        Verdict::Local => {
            job.run.notes.warn(format!(
                "what an earlier run has fetched can't be read, and is fetched anew: {}",
                failed.message()
            ));
            Ok(None)
        }
        _ => Err(failed),
    })
}

/// Fetches only what unpacking reads, and keeps nothing. False: unpacking has failed, so the rest was not fetched.
pub async fn pass_on(chosen: Chosen, feed: Feed, job: &Job<'_>) -> Outcome<bool> {
    let span = feed.span();
    forget_part(job);
    let Chosen {
        store,
        file,
        archive,
        ..
    } = chosen;
    let mut transfer = Transfer {
        feed: Some(feed),
        ..Transfer::of(span, archive, file)
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
    /// Blocks that were handed on, oldest first: their buffers come back. The last [`COMPARED`] bytes are always here.
    lent: VecDeque<Block>,
    /// Still open since the look, for the first attempt.
    looked_into: Option<Box<dyn Remote>>,
    /// Where it is kept.
    origin: Option<Origin>,
    /// Here from an earlier run, and not yet compared with what the store has.
    resumed: Option<Resumed>,
    /// So many bytes are compared before the download goes on.
    compared: usize,
    /// Bytes that did not come over the network.
    were_here: u64,
}

/// What a download needs to know of a prefix that is on the disk.
struct Resumed {
    bytes: u64,
    sha256: String,
    tail: Vec<u8>,
}

impl Resumed {
    fn behind(prefix: &Prefix) -> Self {
        Self {
            bytes: prefix.bytes,
            sha256: prefix.sha256.clone(),
            tail: prefix.tail.clone(),
        }
    }
}

impl Transfer {
    fn of(span: Range<u64>, archive: Listed, looked_into: Box<dyn Remote>) -> Self {
        Self {
            archive,
            span,
            keeper: None,
            feed: None,
            given_up: false,
            lent: VecDeque::new(),
            looked_into: Some(looked_into),
            origin: None,
            resumed: None,
            compared: COMPARED,
            were_here: 0,
        }
    }

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
            let (before, begun) = (self.span.start, Instant::now());
            let Err(failed) = self.copy(&mut *store, job).await else {
                break;
            };
            let came = self.span.start.saturating_sub(before);
            let is_alive = u128::from(came) * 1000 >= begun.elapsed().as_millis() * SLOWEST;
            if came > 0 && is_alive || self.compares_less() {
                patience.refill();
            }
            patience.wait_after(failed.context(&what), &job.run).await?;
            job.run.notes.warn(format!(
                "the download was cut and resumed at {} of {} bytes",
                self.span.start, self.archive.bytes
            ));
            store = patiently(job, async || connect(job).await)
                .await
                .context(&what)?;
        }
        store.close().await;
        let came = self.span.start - start - self.were_here;
        job.run.notes.bytes(came);
        job.run.notes.message(rate(came, clock.elapsed()));
        // Its end tells whoever unpacks that this was all.
        self.feed = None;
        Ok(())
    }

    /// Copies from where it stopped to the end, unless nobody wants the rest.
    async fn copy(&mut self, store: &mut dyn Store, job: &Job<'_>) -> Outcome<()> {
        let mut file = self.open(store).await?;
        self.go_on(&mut *file, job).await?;
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

    /// Leaves `file` at the next byte to come. What came before it is read again and compared: an archive can be replaced by
    /// one of the same size and time.
    async fn go_on(&mut self, file: &mut dyn Remote, job: &Job<'_>) -> Outcome<()> {
        let (at, came) = match &self.resumed {
            Some(resumed) => (resumed.bytes, resumed.tail.clone()),
            None => (self.span.start, self.tail()),
        };
        let came = &came[came.len().saturating_sub(self.compared)..];
        let is_same = is_same(file, at, came, self.span.end).await?;
        match self.resumed.take() {
            Some(resumed) if is_same => self.replay(resumed, job).await,
            Some(_) => {
                self.start_over(job).await?;
                seek(file, 0, self.span.end).await
            }
            None if is_same => Ok(()),
            None => Err(Failed::new(
                Verdict::Stale,
                format!(
                    "go on at {at} of {} bytes: the store has other bytes before that than it had",
                    self.archive.bytes
                ),
            )
            .hint("it was replaced meanwhile: let the upload end before this job starts, or lengthen `settle`")),
        }
    }

    /// The last bytes that came, up to [`COMPARED`].
    fn tail(&self) -> Vec<u8> {
        let mut tail = Vec::new();
        let came = self.lent.iter().map(|block| block.len()).sum::<usize>();
        let mut skipped = came.saturating_sub(COMPARED);
        for block in &self.lent {
            tail.extend_from_slice(block.get(skipped..).unwrap_or_default());
            skipped = skipped.saturating_sub(block.len());
        }
        tail
    }

    /// A connection that doesn't last for the comparison must not keep the download from ever getting on: the next one compares
    /// less, down to [`LEAST_COMPARED`].
    fn compares_less(&mut self) -> bool {
        let has_come = self.resumed.is_some() || !self.lent.is_empty();
        let is_less = has_come && self.compared > LEAST_COMPARED;
        if is_less {
            self.compared /= 4;
        }
        is_less
    }

    /// The archive is not what an earlier run saw of it.
    async fn start_over(&mut self, job: &Job<'_>) -> Outcome<()> {
        job.run.notes.warn(
            "what an earlier run has fetched is not the start of this archive: it is fetched anew",
        );
        if let (Some(keeper), Some(origin)) = (self.keeper.take(), &self.origin) {
            keeper.give_up(job).await;
            self.keeper = Some(Keeper::start(origin, None, job)?);
        }
        Ok(())
    }

    /// What is on the disk goes to whoever unpacks, as if it came now.
    async fn replay(&mut self, resumed: Resumed, job: &Job<'_>) -> Outcome<()> {
        job.run.notes.warn(format!(
            "the download of an earlier run was resumed at {} of {} bytes",
            resumed.bytes, self.archive.bytes
        ));
        let part = Part::of(job).path;
        let read = format!("read {}", part.display());
        let mut file = tokio::fs::File::open(&part)
            .await
            .judge(Verdict::Local, &read)?;
        let mut hash = Sha256::new();
        while self.feed.is_some() && self.span.start < resumed.bytes {
            let left = usize::try_from(resumed.bytes - self.span.start).unwrap_or(BLOCK);
            let mut block = vec![0; left.min(BLOCK)];
            file.read_exact(&mut block)
                .await
                .judge(Verdict::Local, &read)?;
            hash.update(&block);
            let length = block.len();
            self.offer(&Block::new(Piece::new(block, length))).await;
            self.span.start += length as u64;
        }
        if self.span.start == resumed.bytes && hex(&hash.finalize()) != resumed.sha256 {
            return Err(Failed::new(
                Verdict::Local,
                format!("{read}: it is not what was read there a moment ago"),
            )
            .hint("look at the disk under `state_dir`, and at the kernel's log"));
        }
        self.span.start = resumed.bytes;
        self.were_here = resumed.bytes;
        job.run.progress.advance(resumed.bytes);
        let length = resumed.tail.len();
        self.lent = VecDeque::from([Block::new(Piece::new(resumed.tail, length))]);
        Ok(())
    }

    /// Whether the oldest block is not needed for a comparison any more.
    fn is_spare(&self) -> bool {
        let newer = self.lent.iter().skip(1).map(|block| block.len());
        newer.sum::<usize>() >= COMPARED
    }

    /// The oldest one that nobody has any more, or a new one.
    fn buffer(&mut self) -> Vec<u8> {
        while self.lent.len() > MOST_LENT && self.is_spare() {
            self.lent.pop_front();
        }
        let is_free = |block: &mut Block| Block::get_mut(block).is_some();
        if self.is_spare() && self.lent.front_mut().is_some_and(is_free) {
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

    /// To whoever unpacks.
    async fn offer(&mut self, block: &Block) {
        if let Some(feed) = &self.feed {
            let fed = feed.take(self.span.start, block).await;
            if fed != Fed::Taken {
                self.given_up = fed == Fed::GivenUp;
                self.feed = None;
            }
        }
    }

    async fn hand_on(&mut self, block: Block) -> Outcome<()> {
        self.offer(&block).await;
        if let Some(keeper) = &mut self.keeper {
            keeper.take(&block).await?;
        }
        self.span.start += block.len() as u64;
        Ok(())
    }
}

/// Whether `file` has these bytes before the offset `at`; then it stands there.
async fn is_same(file: &mut dyn Remote, at: u64, came: &[u8], end: u64) -> Outcome<bool> {
    seek(file, at - came.len() as u64, end).await?;
    let mut now = vec![0; came.len()];
    let read = file.read_exact(&mut now).await;
    read.map_err(|error| Failed::from(StoreError::of_read(error)))?;
    Ok(now == came)
}

async fn seek(file: &mut dyn Remote, to: u64, end: u64) -> Outcome<()> {
    let sought = file.seek(SeekFrom::Start(to)).await;
    sought.map_err(|error| Failed::from(StoreError::of_read(error)))?;
    file.straight_to(end);
    Ok(())
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
