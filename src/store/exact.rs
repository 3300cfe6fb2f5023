//! A reader that yields exactly the stated number of bytes, or fails: for a file that ends early, and for one that stalls.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::{Ahead, Kind, StoreError};

/// Bytes a second that are waited for at least: a server that sends one now and then would keep a run busy for years.
pub const SLOWEST: u64 = 1024;

/// Whether so many bytes in so long are too few to go on waiting. Says nothing before `patience` is over twice.
pub fn is_too_slow(bytes: u64, waited: Duration, patience: Duration) -> bool {
    let least = waited.as_millis() * u128::from(SLOWEST);
    waited >= patience * 2 && u128::from(bytes) * 1000 < least
}

/// What [`is_too_slow`] says.
pub fn too_slow(bytes: u64, waited: Duration) -> StoreError {
    let seconds = waited.as_secs_f32();
    StoreError::new(
        Kind::Interrupted,
        format!("only {bytes} bytes in {seconds:.1} seconds of waiting"),
    )
}

/// Counts bytes as they arrive, below the level at which a read is complete.
pub type Arrived = Arc<AtomicU64>;

/// Wraps any reader; see the file's head.
pub struct Exact<R> {
    inner: R,
    bytes: u64,
    position: u64,
    yielded: u64,
    /// A seek is under way. Without one the inner position is not asked: tokio's file doesn't count what was read.
    seeking: bool,
    patience: Duration,
    arrived: Arrived,
    /// Running while a read waits: its timer and what had arrived when it was set.
    waiting: Option<(Pin<Box<Sleep>>, u64)>,
    pace: Pace,
}

/// How long was waited for how much; whoever takes the bytes slowly is not waited for.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    since: Option<Instant>,
    bytes_before: u64,
}

impl Pace {
    /// A wait is under way from now on, if none was.
    fn wait(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Counts the wait so far. `bytes`: all that came. Some: too few of them.
    fn count(&mut self, bytes: u64, patience: Duration) -> Option<StoreError> {
        let now = Instant::now();
        self.waited += self
            .since
            .take()
            .map_or(Duration::ZERO, |since| now - since);
        let (waited, came) = (self.waited, bytes.saturating_sub(self.bytes_before));
        if is_too_slow(came, waited, patience) {
            return Some(too_slow(came, waited));
        }
        if waited >= patience * 2 {
            (self.waited, self.bytes_before) = (Duration::ZERO, bytes);
        }
        None
    }
}

impl<R> Exact<R> {
    /// `patience` is how long no byte may arrive; `arrived` may move without a read being complete.
    pub fn new(inner: R, bytes: u64, patience: Duration, arrived: Arrived) -> Self {
        Self {
            inner,
            bytes,
            position: 0,
            yielded: 0,
            seeking: false,
            patience,
            arrived,
            waiting: None,
            pace: Pace::default(),
        }
    }

    /// Everything that came, whether a read is complete or not.
    fn came(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed).max(self.yielded)
    }

    fn room(&self, wanted: usize) -> usize {
        let left = self.bytes.saturating_sub(self.position);
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Holds what a read of the inner reader gave against the clock and the stated number of bytes.
    fn proven(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(read) = read else {
            return self.poll_stalled(cx).map(|stalled| Err(stalled.into()));
        };
        let has_waited = self.waiting.take().is_some();
        let got = read?;
        let (came, patience) = (self.came() + got as u64, self.patience);
        if has_waited && let Some(slow) = self.pace.count(came, patience) {
            return Poll::Ready(Err(slow.into()));
        }
        if got == 0 {
            return Poll::Ready(Err(ended_early(self.position, self.bytes).into()));
        }
        self.position += got as u64;
        self.yielded += got as u64;
        Poll::Ready(Ok(got))
    }

    /// Ready when nothing has arrived for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<StoreError> {
        self.pace.wait();
        let came = self.came();
        let arrived = self.arrived.load(Ordering::Relaxed);
        let (timer, before) = self
            .waiting
            .get_or_insert_with(|| (Box::pin(sleep(self.patience)), arrived));
        loop {
            ready!(timer.as_mut().poll(cx));
            if arrived == *before {
                break;
            }
            *before = arrived;
            if let Some(slow) = self.pace.count(came, self.patience) {
                self.waiting = None;
                return Poll::Ready(slow);
            }
            self.pace.wait();
            timer.as_mut().reset(Instant::now() + self.patience);
        }
        self.waiting = None;
        Poll::Ready(StoreError::new(
            Kind::Interrupted,
            format!(
                "no byte for {} seconds, at {} of {} bytes",
                self.patience.as_secs_f32(),
                self.position,
                self.bytes
            ),
        ))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Exact<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = self.room(buf.remaining());
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        let read = Pin::new(&mut self.inner).poll_read(cx, &mut part);
        let read = read.map_ok(|()| part.filled().len());
        let got = ready!(self.proven(cx, read))?;
        buf.advance(got);
        Poll::Ready(Ok(()))
    }
}

fn ended_early(position: u64, bytes: u64) -> StoreError {
    StoreError::new(
        Kind::Interrupted,
        format!("the file ended after {position} of {bytes} bytes"),
    )
    .hint("it was cut or replaced while it was read; is somebody still writing it?")
}

impl<R: Ahead> Ahead for Exact<R> {
    fn straight_to(&mut self, end: u64) {
        self.inner.straight_to(end);
    }

    fn poll_block(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let room = self.room(most);
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let read = self.inner.poll_block(cx, buffer, room);
        self.proven(cx, read)
    }
}

impl<R: AsyncSeek + Unpin> AsyncSeek for Exact<R> {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        self.seeking = true;
        Pin::new(&mut self.inner).start_seek(SeekFrom::Start(target))
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if self.seeking {
            self.position = ready!(Pin::new(&mut self.inner).poll_complete(cx))?;
            self.seeking = false;
        }
        Poll::Ready(Ok(self.position))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

    use super::*;

    fn exact(content: &'static [u8], bytes: u64) -> Exact<Cursor<&'static [u8]>> {
        Exact::new(
            Cursor::new(content),
            bytes,
            Duration::from_secs(1),
            Arrived::default(),
        )
    }

    #[tokio::test]
    async fn what_was_added_after_opening_is_not_read() {
        let mut content = Vec::new();
        exact(b"hello, world", 5)
            .read_to_end(&mut content)
            .await
            .expect("five bytes");
        assert_eq!(content, b"hello");
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error_that_says_where() {
        let mut content = Vec::new();
        let error = exact(b"hel", 5)
            .read_to_end(&mut content)
            .await
            .expect_err("too short");
        let error = StoreError::of_read(error);
        assert_eq!(error.kind, Kind::Interrupted);
        assert_eq!(error.to_string(), "the file ended after 3 of 5 bytes");
    }

    #[tokio::test]
    async fn seeking_from_the_end_counts_from_the_stated_size() {
        let mut reader = exact(b"hello, world", 5);
        let mut content = String::new();
        assert_eq!(reader.seek(SeekFrom::End(-2)).await.expect("a seek"), 3);
        reader.read_to_string(&mut content).await.expect("the rest");
        assert_eq!(content, "lo");
        assert_eq!(
            reader
                .seek(SeekFrom::Start(99))
                .await
                .expect("beyond the end"),
            99
        );
        assert_eq!(reader.read(&mut [0; 8]).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn a_read_ends_when_nothing_arrives_but_not_while_something_does() {
        let (mut other, ours) = tokio::io::duplex(64);
        let arrived = Arrived::default();
        let patience = Duration::from_millis(250);
        let mut reader = Exact::new(ours, 5, patience, Arc::clone(&arrived));

        let trickle = async {
            for _ in 0..10 {
                sleep(Duration::from_millis(50)).await;
                arrived.fetch_add(SLOWEST, Ordering::Relaxed);
            }
            other.write_all(b"he").await.expect("two bytes");
            sleep(Duration::from_secs(30)).await;
        };
        let read = async {
            let mut content = Vec::new();
            let error = reader.read_to_end(&mut content).await;
            (content, StoreError::of_read(error.expect_err("a stall")))
        };
        let (content, error) = tokio::select! {
            () = trickle => panic!("the read outlived its patience"),
            ended = read => ended,
        };

        assert_eq!(content, b"he");
        assert_eq!(error.kind, Kind::Interrupted);
        assert_eq!(
            error.to_string(),
            "no byte for 0.25 seconds, at 2 of 5 bytes"
        );
    }
}
