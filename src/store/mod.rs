//! Where archives live: what every kind of store promises, and how one is opened.
//!
//! A store is only read here. Which archive is taken, retries, resuming and proving a download are the commands' business.

pub mod choose;
mod error;
mod exact;
pub mod known_hosts;
pub mod local;
pub mod sftp;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

pub use self::error::{Kind, StoreError};
use crate::config::{self, StoreKind};
use crate::escape::shown;
use crate::secret::Secret;

/// One regular file in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// A plain file name: never empty, `.` or `..`, without `/`, NUL and U+FFFD. It may hold control characters: escape it to show it.
    pub name: String,
    pub bytes: u64,
    pub modified: Timestamp,
    /// The time in its name, where a job goes by names; a store doesn't know it.
    pub dated: Option<Timestamp>,
}

impl Listed {
    /// The time that counts: the name's where a job goes by names, else the store's.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.dated.unwrap_or(self.modified)
    }
}

/// Something in a store that is never taken for an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name, escaped.
    pub name_shown: String,
    /// `a directory`, `a symbolic link`, `its name is not UTF-8` …
    pub why: &'static str,
    /// A regular file may stand behind it, but under a name that can't be asked for.
    pub is_unusable_name: bool,
}

/// What a store holds, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub archives: Vec<Listed>,
    /// The first hundred.
    pub passed_over: Vec<PassedOver>,
    /// How many were passed over in all.
    pub passed_over_count: usize,
}

impl Listing {
    /// What is shown of what was passed over; the rest is only counted, so that a strange directory can't fill the memory.
    const SHOWN: usize = 100;

    fn pass_over(&mut self, name: &str, why: &'static str) {
        self.passed_over_count += 1;
        if self.passed_over.len() < Self::SHOWN {
            // The bytes that stood there are not known any more: a mark that is no letter says so in every terminal.
            let name_shown = shown(name).replace(char::REPLACEMENT_CHARACTER, "\\u{fffd}");
            let is_unusable_name = unusable_name(name).is_some();
            self.passed_over.push(PassedOver {
                name_shown,
                why,
                is_unusable_name,
            });
        }
    }
}

/// The content of an open archive.
pub trait File: AsyncSeek + Ahead + Send {}

impl<F: AsyncSeek + Ahead + Send> File for F {}

/// What a block holds at most that is read into a buffer of the caller's.
const BLOCK: usize = 256 << 10;

/// What a reader can do better than [`AsyncRead`] asks for.
pub trait Ahead: AsyncRead + Unpin {
    /// Everything from here to the offset `end` will be read, without a seek, and nothing beyond: what reads ahead may ask for
    /// as much as it dares at once.
    fn straight_to(&mut self, _end: u64) {}

    /// Makes the next bytes, `most` of them at most, the first ones of `buffer`, and says how many there are; 0 at the end. Who
    /// has them in a buffer of its own exchanges the two, so that nothing is copied.
    fn poll_block(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if buffer.len() < BLOCK {
            buffer.resize(BLOCK, 0);
        }
        let mut part = ReadBuf::new(&mut buffer[..most.min(BLOCK)]);
        ready!(Pin::new(self).poll_read(cx, &mut part))?;
        Poll::Ready(Ok(part.filled().len()))
    }
}

impl Ahead for tokio::fs::File {}

/// An archive that was opened; size and time are those of the open file, not of its name.
pub struct Opened {
    pub bytes: u64,
    pub modified: Timestamp,
    /// Yields exactly `bytes` bytes or fails: what is added later is not seen, and what is missing is an error.
    pub file: Box<dyn File>,
}

impl Opened {
    pub fn stated(&self) -> Stated {
        Stated {
            bytes: self.bytes,
            modified: self.modified,
        }
    }
}

/// What a name stands for: always a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    pub bytes: u64,
    pub modified: Timestamp,
}

/// A place that keeps archives, logged in to and ready.
///
/// Every kind promises, and one suite in `tests/store.rs` proves, that
/// - only regular files directly in the directory exist; a symbolic link is passed over, even one to a regular file;
/// - every wait ends: no answer, or no byte, for three times the configured timeout is an error;
/// - nothing from the other side reaches an error unescaped;
/// - an error says by its [`Kind`] whether trying again can help;
/// - a failed read leaves the file unusable; open it again and seek to go on.
///
/// A file stays readable when the store it came from is dropped.
#[async_trait]
pub trait Store: Send {
    /// Where it is, for messages: `sftp://user@host:port/path`, or the path.
    fn location(&self) -> String;

    /// Everything in the directory. An empty directory is no error.
    async fn list(&mut self) -> Result<Listing, StoreError>;

    /// Opens a regular file for reading; what is no regular file is `NotFound`.
    async fn open(&mut self, name: &str) -> Result<Opened, StoreError>;

    /// What the name stands for now, without opening it; what is no regular file is `NotFound`.
    async fn stated(&mut self, name: &str) -> Result<Stated, StoreError>;

    /// The host key that was accepted, as `ssh-ed25519 SHA256:…`; None where there is none.
    fn host_key(&self) -> Option<String>;

    /// Says goodbye; dropping the store is as good, but less polite.
    async fn close(self: Box<Self>);
}

/// What a store may need to let us in.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    pub password: Option<Secret>,
    /// Of the private key.
    pub passphrase: Option<Secret>,
}

/// Connects and logs in. `timeout` is `network.timeout`.
pub async fn open(
    store: &config::Store,
    credentials: Credentials,
    timeout: Duration,
) -> Result<Box<dyn Store>, StoreError> {
    match &store.kind {
        StoreKind::Sftp(sftp) => sftp::open(&store.name, sftp, credentials, timeout)
            .await
            .map(|store| Box::new(store) as Box<dyn Store>),
        StoreKind::Local(local) => local::open(&local.path, timeout)
            .await
            .map(|store| Box::new(store) as Box<dyn Store>),
    }
}

/// Why a name can't be an archive's, whatever it belongs to.
fn unusable_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("its name is empty")
    } else if name.contains('/') || name == ".." || name == "." {
        Some("its name is a path")
    } else if name.contains('\0') {
        Some("its name holds a NUL")
    } else if name.contains(char::REPLACEMENT_CHARACTER) {
        Some("its name is not UTF-8")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_become_a_path_or_lie_are_unusable() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc/passwd",
            "a\0b",
            "a\u{fffd}",
        ] {
            assert!(unusable_name(name).is_some(), "{name:?}");
        }
        for name in [
            "a.zip",
            "..a",
            "-rf",
            "a b",
            "\u{1b}[2J",
            "ärger.zip",
            "a\\b",
        ] {
            assert_eq!(unusable_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn passed_over_entries_are_counted_but_only_the_first_are_kept() {
        let mut listing = Listing::default();
        for n in 0..1000 {
            listing.pass_over(&n.to_string(), "a directory");
        }
        assert_eq!(
            (listing.passed_over.len(), listing.passed_over_count),
            (100, 1000)
        );
    }
}
