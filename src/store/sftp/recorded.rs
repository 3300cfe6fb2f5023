//! A stream that remembers its first bytes and counts all of them: to show what was seen where SSH or SFTP was expected.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::store::exact::Arrived;
use crate::store::shown;

/// As much as a message can use.
const REMEMBERED: usize = 160;

/// What came first from the other side.
#[derive(Clone, Debug, Default)]
pub struct First(Arc<Mutex<Vec<u8>>>);

impl First {
    /// Escaped, without a trailing line end; None where nothing came.
    pub fn shown(&self) -> Option<String> {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        (!bytes.is_empty()).then(|| shown(text.trim_end()))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, bytes: &[u8]) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = REMEMBERED.saturating_sub(first.len()).min(bytes.len());
        first.extend_from_slice(&bytes[..room]);
    }
}

/// A stream whose incoming bytes are watched.
pub struct Recorded<S> {
    inner: S,
    first: First,
    arrived: Arrived,
    /// Read in the beginning by more than was asked for, and not handed out yet: who asks for four bytes shall not hide the rest.
    ahead: VecDeque<u8>,
}

impl<S> Recorded<S> {
    pub fn new(inner: S, first: First, arrived: Arrived) -> Self {
        Self {
            inner,
            first,
            arrived,
            ahead: VecDeque::new(),
        }
    }

    fn count(&self, bytes: usize) -> u64 {
        self.arrived.fetch_add(bytes as u64, Ordering::Relaxed)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() && self.arrived.load(Ordering::Relaxed) >= REMEMBERED as u64 {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            self.count(buf.filled().len() - before);
            return Poll::Ready(Ok(()));
        }
        if self.ahead.is_empty() {
            let mut space = [0; REMEMBERED];
            let mut more = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut more))?;
            self.count(more.filled().len());
            self.first.remember(more.filled());
            self.ahead.extend(more.filled());
        }
        let length = self.ahead.len().min(buf.remaining());
        let bytes: Vec<u8> = self.ahead.drain(..length).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
