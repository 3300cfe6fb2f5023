//! Reads a remote file with many requests under way, so that a long way to the server costs no speed.
//!
//! Own, because the crate's file takes a reply longer than asked for as it is, asks beyond the end, and hides the status codes.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::future::{MaybeDone, maybe_done};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::StatusCode;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use super::{Connection, judged};
use crate::store::{Ahead, Kind, StoreError};

/// Bytes under way at most, which is what is held in memory when nobody takes them: with a round trip of 40 ms enough for
/// 600 MB/s, and half of the window, so that the window never ends before the requests do.
pub(super) const MOST_BYTES: u64 = 24 * 1024 * 1024;

/// Bytes under way at least, however near the server is.
const LEAST_BYTES: u64 = 2 * 1024 * 1024;

/// What is under way on a round trip at this rate is enough for any link: more only lies in memory where the disk is slower.
const BYTES_A_SECOND: u128 = 1_000_000_000;

/// Requests under way at most: where each is small, a server's queue is the bound. OpenSSH's own client has 64.
const MOST_REQUESTS: usize = 160;

/// A reply cut shorter than this says nothing about what the server serves at once.
const LEAST_CUT: u32 = 4096;

type Reply = Pin<Box<dyn Future<Output = Result<Vec<u8>, SftpError>> + Send>>;

struct Request {
    offset: u64,
    /// What is wanted of the reply; what comes beyond it was asked for again.
    length: u32,
    asked: u32,
    reply: Pin<Box<MaybeDone<Reply>>>,
}

/// An open remote file.
pub struct ReadAhead {
    connection: Arc<Connection>,
    handle: String,
    bytes: u64,
    under_way: VecDeque<Request>,
    under_way_bytes: u64,
    /// What came and was not taken yet.
    buffer: Vec<u8>,
    taken: usize,
    /// The offset of the next byte to hand out, and of the next one to ask for.
    position: u64,
    next: u64,
    /// What one request asks for: what the server says that it serves at once, or what it was seen to serve.
    at_once: u32,
    /// The length at which the reply before was cut.
    cut_at: Option<u32>,
    /// Bytes that may be under way. Grows while reading goes straight on, so that a look at the end of a ZIP doesn't fetch
    /// all that [`MOST_BYTES`] allows.
    budget: u64,
    /// What of [`MOST_BYTES`] the way to the server is worth.
    most: u64,
    /// When a request was sent while no other was under way.
    alone_since: Option<Instant>,
    /// Up to here everything is wanted and nothing beyond: the budget needs no growing.
    promised: u64,
}

impl ReadAhead {
    /// `round_trip`: what an earlier request took.
    pub fn new(
        connection: Arc<Connection>,
        handle: String,
        bytes: u64,
        at_once: u32,
        round_trip: Duration,
    ) -> Self {
        Self {
            connection,
            handle,
            bytes,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            buffer: Vec::new(),
            taken: 0,
            position: 0,
            next: 0,
            at_once,
            cut_at: None,
            budget: 0,
            most: most_bytes(round_trip),
            alone_since: None,
            promised: 0,
        }
    }

    fn start_again_at(&mut self, position: u64) {
        self.alone_since = None;
        self.under_way.clear();
        self.under_way_bytes = 0;
        self.buffer = Vec::new();
        self.taken = 0;
        self.position = position;
        self.next = position;
        self.budget = 0;
        self.promised = 0;
    }

    /// Sends requests until enough are under way; one always is. Nothing beyond the end is asked for.
    fn ask(&mut self, cx: &mut Context<'_>) {
        let (end, budget) = if self.position < self.promised {
            (self.promised.min(self.bytes), self.most)
        } else {
            (self.bytes, self.budget)
        };
        while self.next < end && self.under_way.len() < MOST_REQUESTS {
            let left = u32::try_from(end - self.next).unwrap_or(u32::MAX);
            let length = left.min(self.at_once);
            let more = self.under_way_bytes + u64::from(length);
            if more > budget && !self.under_way.is_empty() {
                break;
            }
            if self.under_way.is_empty() {
                self.alone_since = Some(Instant::now());
            }
            let request = self.request(self.next, length, cx);
            self.under_way.push_back(request);
            self.under_way_bytes = more;
            self.next += u64::from(length);
        }
    }

    fn request(&self, offset: u64, length: u32, cx: &mut Context<'_>) -> Request {
        let (connection, handle) = (Arc::clone(&self.connection), self.handle.clone());
        let reply: Reply = Box::pin(async move {
            let data = connection.sftp.read(handle, offset, length).await?;
            Ok(data.data)
        });
        let mut reply = Box::pin(maybe_done(reply));
        // The first poll sends it; whether it is ready is asked when its turn comes.
        let _ = reply.as_mut().poll(cx);
        Request {
            offset,
            length,
            asked: length,
            reply,
        }
    }

    /// Fills the buffer from the oldest request. Ready without bytes means that the file has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(cx);
        let Some(oldest) = self.under_way.front_mut() else {
            return Poll::Ready(Ok(()));
        };
        ready!(oldest.reply.as_mut().poll(cx));
        let reply = oldest.reply.as_mut().take_output();
        let Some(oldest) = self.under_way.pop_front() else {
            return Poll::Ready(Ok(()));
        };
        self.under_way_bytes -= u64::from(oldest.length);
        if let Some(since) = self.alone_since.take() {
            self.most = self.most.min(most_bytes(since.elapsed()));
        }
        let data = match reply {
            Some(Ok(data)) => data,
            Some(Err(SftpError::Status(status))) if status.status_code == StatusCode::Eof => {
                Vec::new()
            }
            Some(Err(error)) => {
                return Poll::Ready(Err(judged(&error, &self.connection.seen).into()));
            }
            None => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
        };
        self.take(data, &oldest, cx)?;
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, mut data: Vec<u8>, of: &Request, cx: &mut Context<'_>) -> io::Result<()> {
        let got = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if got > of.asked {
            let asked = of.asked;
            let message = format!("the server sent {got} bytes where {asked} were asked for");
            return Err(StoreError::new(Kind::Protocol, message).into());
        }
        data.truncate(of.length as usize);
        if got > 0 && got < of.length {
            let mut rest = VecDeque::new();
            self.split(of.offset + u64::from(got), of.length - got, &mut rest, cx);
            self.under_way_bytes += u64::from(of.length - got);
            rest.append(&mut self.under_way);
            self.under_way = rest;
            self.learn(got, cx);
        }
        self.buffer = data;
        self.taken = 0;
        let grown = self.budget.max(u64::from(self.at_once)) * 2;
        self.budget = grown.min(self.most);
        Ok(())
    }

    /// Asks for `length` bytes in pieces that the server serves at once.
    fn split(
        &self,
        mut offset: u64,
        length: u32,
        into: &mut VecDeque<Request>,
        cx: &mut Context<'_>,
    ) {
        let end = offset + u64::from(length);
        while offset < end {
            let left = u32::try_from(end - offset).unwrap_or(u32::MAX);
            let piece = left.min(self.at_once);
            into.push_back(self.request(offset, piece, cx));
            offset += u64::from(piece);
        }
    }

    /// Two replies in a row that were cut at the same length say what the server serves at once. What is under way will be cut
    /// there as well, so the rest of it is asked for now: else each would cost a round trip of its own.
    fn learn(&mut self, got: u32, cx: &mut Context<'_>) {
        let again = self.cut_at.replace(got) == Some(got);
        if !again || got < LEAST_CUT || got >= self.at_once {
            return;
        }
        self.at_once = got;
        for mut request in std::mem::take(&mut self.under_way) {
            if self.under_way.len() >= MOST_REQUESTS || self.next < request.offset {
                // Smaller pieces are more of them: the last ones are asked for again when their turn comes.
                self.next = self.next.min(request.offset);
                self.under_way_bytes -= u64::from(request.length);
                continue;
            }
            let length = request.length.min(got);
            let (rest, from) = (request.length - length, request.offset + u64::from(length));
            request.length = length;
            let mut split = VecDeque::from([request]);
            self.split(from, rest, &mut split, cx);
            self.under_way.append(&mut split);
        }
    }
}

/// What may be under way where a request takes so long.
fn most_bytes(round_trip: Duration) -> u64 {
    let bytes = round_trip.as_micros() * BYTES_A_SECOND / 1_000_000;
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .clamp(LEAST_BYTES, MOST_BYTES)
}

impl Ahead for ReadAhead {
    fn straight_to(&mut self, end: u64) {
        self.promised = end;
    }

    fn poll_block(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if self.taken == self.buffer.len() {
            ready!(self.poll_fill(cx))?;
        }
        let left = self.buffer.len() - self.taken;
        let got = left.min(most);
        if self.taken == 0 && got == left {
            std::mem::swap(&mut self.buffer, buffer);
            self.buffer.clear();
        } else {
            buffer.clear();
            buffer.extend_from_slice(&self.buffer[self.taken..][..got]);
            self.taken += got;
        }
        self.position += got as u64;
        Poll::Ready(Ok(got))
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken == self.buffer.len() {
            ready!(self.poll_fill(cx))?;
        }
        let ready = &self.buffer[self.taken..];
        let length = ready.len().min(buf.remaining());
        buf.put_slice(&ready[..length]);
        self.taken += length;
        self.position += length as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for ReadAhead {
    /// Only `SeekFrom::Start` comes here: the wrapper around knows the size.
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let SeekFrom::Start(target) = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if target != self.position {
            self.start_again_at(target);
        }
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        super::close_later(&self.connection, std::mem::take(&mut self.handle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_server_needs_little_under_way_and_a_far_one_all() {
        let most = |millis| most_bytes(Duration::from_millis(millis));
        assert_eq!(most(0), LEAST_BYTES);
        assert_eq!(most(10), 10_000_000);
        assert_eq!(most(40), MOST_BYTES);
        assert_eq!(most_bytes(Duration::MAX), MOST_BYTES);
    }
}
