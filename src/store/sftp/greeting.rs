//! SFTP's first packet, sent together with the request for the subsystem as OpenSSH's client does: one round trip less.
//!
//! The crate sends the packet once more when it gets the channel: that one is kept back here. Until then the answer is kept back too,
//! since the crate would not know what it answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `SSH_FXP_INIT` for version 3, with its length (draft-ietf-secsh-filexfer-02, section 4).
pub const INIT: [u8; 9] = [0, 0, 0, 5, 1, 0, 0, 0, 3];

/// A channel on which [`INIT`] was sent already.
pub struct Greeted<S> {
    inner: S,
    /// What came before the subsystem was granted.
    early: Vec<u8>,
    /// What of the second greeting is still to come.
    unsent: &'static [u8],
    reader: Option<Waker>,
}

impl<S> Greeted<S> {
    pub fn new(inner: S, early: Vec<u8>) -> Self {
        Self {
            inner,
            early,
            unsent: &INIT,
            reader: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.early.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..length]);
        self.early.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.is_empty() {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        let length = self.unsent.len().min(bytes.len());
        let (now, later) = self.unsent.split_at(length);
        if now != &bytes[..length] {
            return Poll::Ready(Err(io::Error::other("SFTP begins in another way")));
        }
        self.unsent = later;
        if later.is_empty()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

    use super::*;

    #[tokio::test]
    async fn the_second_greeting_is_kept_back_and_with_it_the_answer() {
        let (ours, mut theirs) = duplex(1000);
        theirs.write_all(b"world").await.expect("sent");
        let (mut reader, mut writer) = split(Greeted::new(ours, b"hello ".to_vec()));
        let mut answer = [0; 11];
        let mut reading = std::pin::pin!(reader.read_exact(&mut answer));
        assert!(futures::poll!(reading.as_mut()).is_pending());

        writer.write_all(&INIT[..4]).await.expect("kept back");
        assert!(futures::poll!(reading.as_mut()).is_pending());
        writer.write_all(&INIT[4..]).await.expect("kept back");
        writer.write_all(b"next").await.expect("sent");

        reading.await.expect("all of it");
        assert_eq!(&answer, b"hello world");
        let mut sent = [0; 4];
        theirs.read_exact(&mut sent).await.expect("what was sent");
        assert_eq!(&sent, b"next");
    }

    #[tokio::test]
    async fn another_greeting_is_an_error() {
        let (ours, _theirs) = duplex(1000);
        let mut greeted = Greeted::new(ours, Vec::new());
        assert!(
            greeted
                .write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 4])
                .await
                .is_err()
        );
    }
}
