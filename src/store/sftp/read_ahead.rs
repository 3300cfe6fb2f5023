//! Reads a remote file with many requests under way, so that a long way to the server costs no speed.
//!
//! Own, because the crate's file takes a reply longer than asked for as it is, asks beyond the end, and hides the status codes.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::{MaybeDone, maybe_done};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::StatusCode;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use super::{Connection, judged};
use crate::store::{Kind, StoreError};

/// Requests under way at most: 64 of 255 KiB are 16 MiB, which is what is held in memory.
const DEEPEST: usize = 64;

/// How long the server may take to close a file that nobody waits for.
const CLOSING: Duration = Duration::from_secs(30);

type Reply = Pin<Box<dyn Future<Output = Result<Vec<u8>, SftpError>> + Send>>;

struct Request {
    offset: u64,
    length: u32,
    reply: Pin<Box<MaybeDone<Reply>>>,
}

/// An open remote file.
pub struct ReadAhead {
    connection: Arc<Connection>,
    handle: String,
    bytes: u64,
    under_way: VecDeque<Request>,
    /// What came and was not taken yet.
    buffer: Vec<u8>,
    taken: usize,
    /// The offset of the next byte to hand out, and of the next one to ask for.
    position: u64,
    next: u64,
    /// Grows while reading goes straight on, so that a look at the end of a ZIP doesn't fetch 16 MiB.
    depth: usize,
}

impl ReadAhead {
    pub fn new(connection: Arc<Connection>, handle: String) -> Self {
        Self {
            connection,
            handle,
            bytes: 0,
            under_way: VecDeque::new(),
            buffer: Vec::new(),
            taken: 0,
            position: 0,
            next: 0,
            depth: 1,
        }
    }

    pub fn handle(&self) -> String {
        self.handle.clone()
    }

    /// Nothing beyond is ever asked for.
    pub fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    fn start_again_at(&mut self, position: u64) {
        self.under_way.clear();
        self.buffer = Vec::new();
        self.taken = 0;
        self.position = position;
        self.next = position;
        self.depth = 1;
    }

    /// Sends requests until enough are under way.
    fn ask(&mut self, cx: &mut Context<'_>) {
        while self.under_way.len() < self.depth && self.next < self.bytes {
            let left = self.bytes - self.next;
            let length = u32::try_from(left).unwrap_or(u32::MAX);
            let length = length.min(self.connection.longest_read);
            let request = self.request(self.next, length, cx);
            self.under_way.push_back(request);
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
        let (offset, length) = (oldest.offset, oldest.length);
        let reply = oldest.reply.as_mut().take_output();
        self.under_way.pop_front();
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
        self.take(data, offset, length, cx)?;
        Poll::Ready(Ok(()))
    }

    fn take(
        &mut self,
        data: Vec<u8>,
        offset: u64,
        length: u32,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let got = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if got > length {
            let message = format!("the server sent {got} bytes where {length} were asked for");
            return Err(StoreError::new(Kind::Protocol, message).into());
        }
        if got > 0 && got < length {
            let rest = self.request(offset + u64::from(got), length - got, cx);
            self.under_way.push_front(rest);
        }
        self.buffer = data;
        self.taken = 0;
        self.depth = (self.depth * 2).min(DEEPEST);
        Ok(())
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
    /// A server allows only so many open files; outside of a runtime the connection's end closes them.
    fn drop(&mut self) {
        let (connection, handle) = (
            Arc::clone(&self.connection),
            std::mem::take(&mut self.handle),
        );
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Nobody is left who could use the answer.
                let _ = tokio::time::timeout(CLOSING, connection.sftp.close(handle)).await;
            });
        }
    }
}
