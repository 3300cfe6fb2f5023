//! An SFTP directory. Connecting, host keys, logging in and reading each have a file; here is what the store answers.

mod attributes;
mod auth;
mod channel;
mod connect;
mod enter;
mod host_key;
mod logins;
mod read_ahead;
mod recorded;

use std::collections::HashSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::{BoxFuture, MaybeDone, maybe_done};
use futures::{FutureExt, poll};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, Handle, OpenFlags, StatusCode};

#[cfg(fuzzing)]
#[doc(hidden)]
pub use self::attributes::fuzzed;
use self::attributes::{note, regular};
use self::channel::LongestRead;
use self::connect::Ssh;
pub use self::enter::{Trusted, open, trusted};
use self::host_key::Seen;
pub use self::host_key::{Known, Presented, presented_host_key};
pub use self::logins::{Login, configured};
use self::read_ahead::ReadAhead;
use super::exact::{Arrived, Exact, is_too_slow, too_slow};
use super::{Kind, Listing, Opened, Stated, Store, StoreError, unusable_name};
use crate::escape::shown;

/// An entry count at which a listing is a fault of the server, not a directory.
const MOST_ENTRIES: usize = 2_000_000;

/// How long the server may take to close a file that nobody waits for.
const CLOSING: Duration = Duration::from_secs(30);

/// Bytes that may come before an answer: twice what a read-ahead that was given up has under way.
const MOST_BEFORE_AN_ANSWER: u64 = 2 * read_ahead::MOST_BYTES;

/// Names of a listing that are remembered at most.
const MOST_REMEMBERED: usize = 10_000;

/// A logged-in SFTP session.
pub struct SftpStore {
    location: String,
    path: String,
    patience: Duration,
    connection: Arc<Connection>,
    /// What the last listing called regular files, unless there were too many to remember.
    listed: HashSet<String>,
}

/// What open files share with their store, so that they outlive it.
struct Connection {
    sftp: Arc<RawSftpSession>,
    ssh: Ssh,
    seen: Arc<Mutex<Seen>>,
    /// Bytes of SFTP that arrived.
    arrived: Arrived,
    /// The longest read that the server serves at once. Asked for in the beginning, and awaited where it is needed.
    longest_read: LongestRead,
}

/// Closes a file or a directory that nobody waits for: a server allows only so many open ones. Outside of a runtime the
/// connection's end closes it.
fn close_later(connection: &Arc<Connection>, handle: String) {
    let connection = Arc::clone(connection);
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            // Nobody is left who could use the answer.
            let _ = tokio::time::timeout(CLOSING, connection.sftp.close(handle)).await;
        });
    }
}

type Opening = BoxFuture<'static, Result<Handle, SftpError>>;

/// Asks for a file to be opened, once polled.
fn opening(connection: &Arc<Connection>, path: String) -> Opening {
    let connection = Arc::clone(connection);
    async move {
        let asked = connection
            .sftp
            .open(path, OpenFlags::READ, FileAttributes::empty());
        asked.await
    }
    .boxed()
}

/// What was asked for in vain may be opened all the same: it is closed then, as long as somebody is there to do it.
fn close_once_open(connection: &Arc<Connection>, mut request: Pin<Box<MaybeDone<Opening>>>) {
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        let answered = tokio::time::timeout(CLOSING, request.as_mut()).await;
        if let (Ok(()), Some(Ok(opened))) = (answered, request.as_mut().take_output()) {
            close_later(&connection, opened.handle);
        }
    });
}

impl SftpStore {
    /// What the server calls the path, where that differs: for who is confused by a chroot.
    async fn resolved(&self) -> Option<String> {
        let answer = self
            .ask(self.connection.sftp.realpath(self.directory()))
            .await;
        let resolved = answer.ok()?.files.into_iter().next()?.filename;
        (resolved != self.path && resolved != self.path.trim_end_matches('/')).then_some(resolved)
    }

    /// Awaits one answer of the server, but not for ever: as long as bytes come that were asked for before, it may be behind them.
    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, SftpError>> + Send,
    ) -> Result<T, Unanswered> {
        let mut request = pin!(request);
        let start = self.connection.arrived.load(Ordering::Relaxed);
        let (mut before, begun) = (start, Instant::now());
        loop {
            if let Ok(answer) = tokio::time::timeout(self.patience, &mut request).await {
                return answer.map_err(Unanswered::Sftp);
            }
            let now = self.connection.arrived.load(Ordering::Relaxed);
            if now == before || now - start > MOST_BEFORE_AN_ANSWER {
                return Err(Unanswered::Silence(self.patience));
            }
            before = now;
            self.is_quick_enough(start, begun)?;
        }
    }

    /// Whether what arrived since `start` is worth waiting on.
    fn is_quick_enough(&self, start: u64, begun: Instant) -> Result<(), Unanswered> {
        let came = self.connection.arrived.load(Ordering::Relaxed) - start;
        let waited = begun.elapsed();
        if is_too_slow(came, waited, self.patience) {
            return Err(Unanswered::Slow(came, waited));
        }
        Ok(())
    }

    /// An empty path is the directory in which the login lands.
    fn directory(&self) -> String {
        if self.path.is_empty() {
            ".".to_owned()
        } else {
            self.path.clone()
        }
    }

    fn path_of(&self, name: &str) -> String {
        match self.path.trim_end_matches('/') {
            "" if self.path.is_empty() => name.to_owned(),
            directory => format!("{directory}/{name}"),
        }
    }

    async fn directory_shown(&self) -> String {
        match self.resolved().await {
            Some(resolved) => format!("`{}` (there: `{}`)", shown(&self.path), shown(&resolved)),
            None => format!("`{}`", shown(&self.path)),
        }
    }

    fn failed(&self, unanswered: Unanswered) -> StoreError {
        unanswered.judged(&self.connection.seen)
    }

    /// What went wrong with the directory itself.
    async fn unlisted(&self, unanswered: Unanswered) -> StoreError {
        let missing = unanswered.status() == Some(StatusCode::NoSuchFile);
        let mut error = self.failed(unanswered);
        if missing {
            error.kind = Kind::Config;
            error = error.hint(
                "correct the store's `path`; a server that locks its users in (chroot) shows them other paths than an administrator sees",
            );
        } else if error.kind == Kind::Denied {
            error = error.hint("let this user read and enter the directory on the server");
        }
        // Asked only now: a listing that works needs no other name for the directory.
        let directory = match error.kind {
            Kind::Interrupted => format!("`{}`", shown(&self.path)),
            _ => self.directory_shown().await,
        };
        error.context(format!("list {directory}"))
    }

    fn remember(&mut self, listing: &Listing) {
        let names = listing.archives.iter().map(|listed| &listed.name);
        self.listed = match listing.archives.len() {
            0..=MOST_REMEMBERED => names.cloned().collect(),
            _ => HashSet::new(),
        };
    }

    async fn list_entries(&self, handle: &str) -> Result<Listing, Unanswered> {
        let mut listing = Listing::default();
        let mut entries = 0;
        let (start, begun) = (
            self.connection.arrived.load(Ordering::Relaxed),
            Instant::now(),
        );
        loop {
            match self.ask(self.connection.sftp.readdir(handle)).await {
                Ok(names) => {
                    entries += names.files.len();
                    names
                        .files
                        .into_iter()
                        .for_each(|entry| note(&mut listing, entry));
                }
                Err(end) if end.status() == Some(StatusCode::Eof) => return Ok(listing),
                Err(error) => return Err(error),
            }
            if entries > MOST_ENTRIES {
                return Err(Unanswered::Endless);
            }
            self.is_quick_enough(start, begun)?;
        }
    }

    async fn look_at(&self, name: &str) -> Result<Stated, StoreError> {
        let found = self
            .ask(self.connection.sftp.lstat(self.path_of(name)))
            .await;
        regular(&found.map_err(|error| self.failed(error))?.attrs)
    }

    async fn open_regular(&self, name: &str) -> Result<Opened, StoreError> {
        let handle = self.open_handle(name).await?;
        let sftp = &self.connection.sftp;
        let asked = Instant::now();
        let found = self.ask(sftp.fstat(handle.as_str())).await;
        let round_trip = asked.elapsed();
        let opened = found
            .map_err(|error| self.failed(error))
            .and_then(|found| regular(&found.attrs));
        let Stated { bytes, modified } = match opened {
            Ok(stated) => stated,
            Err(error) => {
                close_later(&self.connection, handle);
                return Err(error);
            }
        };
        let longest_read = self.ask(self.connection.longest_read.clone().map(Ok)).await;
        let longest_read = longest_read.map_err(|error| self.failed(error))?;
        let inner = ReadAhead::new(
            Arc::clone(&self.connection),
            handle,
            bytes,
            longest_read,
            round_trip,
        );
        let arrived = Arc::clone(&self.connection.arrived);
        let file = Box::new(Exact::new(inner, bytes, self.patience, arrived));
        Ok(Opened {
            bytes,
            modified,
            file,
        })
    }

    /// Looks before it opens: opening a FIFO would block the server, and a symbolic link would be followed. What the listing
    /// called a regular file is looked at and opened in one round trip; the look decides all the same.
    async fn open_handle(&self, name: &str) -> Result<String, StoreError> {
        let path = self.path_of(name);
        let look = self.ask(self.connection.sftp.lstat(path.clone()));
        let mut look = pin!(maybe_done(look));
        let mut request = Box::pin(maybe_done(opening(&self.connection, path)));
        // The first poll of each sends it. A FIFO that has come since would keep the server from answering the second one.
        let _ = poll!(look.as_mut());
        let is_sent = self.listed.contains(name);
        if is_sent {
            let _ = poll!(request.as_mut());
        }
        look.as_mut().await;
        let found = look.as_mut().take_output().unwrap_or_else(not_asked);
        let found = found.map_err(|error| self.failed(error));
        if let Err(error) = found.and_then(|found| regular(&found.attrs)) {
            if is_sent {
                close_once_open(&self.connection, request);
            }
            return Err(error);
        }
        let answer = self.ask(async {
            request.as_mut().await;
            let opened = request.as_mut().take_output();
            opened.unwrap_or(Err(SftpError::UnexpectedPacket))
        });
        Ok(answer.await.map_err(|error| self.failed(error))?.handle)
    }
}

/// The output of a finished future is there once; this is for the compiler.
fn not_asked<T>() -> Result<T, Unanswered> {
    Err(Unanswered::Sftp(SftpError::UnexpectedPacket))
}

#[async_trait]
impl Store for SftpStore {
    fn location(&self) -> String {
        self.location.clone()
    }

    async fn list(&mut self) -> Result<Listing, StoreError> {
        let opened = self
            .ask(self.connection.sftp.opendir(self.directory()))
            .await;
        let handle = match opened {
            Ok(opened) => opened.handle,
            Err(error) => return Err(self.unlisted(error).await),
        };
        let listing = self.list_entries(&handle).await;
        close_later(&self.connection, handle);
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => return Err(self.unlisted(error).await),
        };
        self.remember(&listing);
        Ok(listing)
    }

    async fn open(&mut self, name: &str) -> Result<Opened, StoreError> {
        let opened = match unusable_name(name) {
            Some(why) => Err(StoreError::new(Kind::NotFound, why)),
            None => self.open_regular(name).await,
        };
        opened
            .map_err(|error| error.context(format!("open `{}` in {}", shown(name), self.location)))
    }

    async fn stated(&mut self, name: &str) -> Result<Stated, StoreError> {
        let stated = match unusable_name(name) {
            Some(why) => Err(StoreError::new(Kind::NotFound, why)),
            None => self.look_at(name).await,
        };
        stated.map_err(|error| {
            error.context(format!("look at `{}` in {}", shown(name), self.location))
        })
    }

    fn host_key(&self) -> Option<String> {
        enter::accepted(&self.connection.seen)
    }

    async fn close(self: Box<Self>) {
        // A goodbye that can't be said is no failure: everything was read.
        let _ = self.connection.sftp.close_session();
        let goodbye = self
            .connection
            .ssh
            .disconnect(russh::Disconnect::ByApplication, "", "");
        let _ = tokio::time::timeout(self.patience, goodbye).await;
    }
}

/// Why a request brought no answer that is any use.
enum Unanswered {
    Silence(Duration),
    /// So few bytes in so long.
    Slow(u64, Duration),
    /// A listing that does not end.
    Endless,
    Sftp(SftpError),
}

impl Unanswered {
    fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Sftp(SftpError::Status(status)) => Some(status.status_code),
            _ => None,
        }
    }

    fn judged(self, seen: &Mutex<Seen>) -> StoreError {
        match self {
            Self::Silence(patience) => StoreError::new(
                Kind::Interrupted,
                format!("no answer for {} seconds", patience.as_secs_f32()),
            ),
            Self::Slow(bytes, waited) => too_slow(bytes, waited),
            Self::Endless => {
                StoreError::new(Kind::Protocol, format!("more than {MOST_ENTRIES} entries"))
            }
            Self::Sftp(error) => judged(&error, seen),
        }
    }
}

/// The class and text of an error of the SFTP layer; where the connection ended, why it did.
fn judged(error: &SftpError, seen: &Mutex<Seen>) -> StoreError {
    let text = shown(&error.to_string());
    match error {
        SftpError::Status(status) => StoreError::new(kind_of(status.status_code), text),
        SftpError::UnexpectedPacket | SftpError::Limited(_) => {
            StoreError::new(Kind::Protocol, text)
        }
        SftpError::IO(_) | SftpError::Timeout | SftpError::UnexpectedBehavior(_) => {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let why = seen.ended.clone();
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            StoreError::new(Kind::Interrupted, format!("the connection was lost{why}"))
        }
    }
}

fn kind_of(status: StatusCode) -> Kind {
    match status {
        StatusCode::NoSuchFile => Kind::NotFound,
        StatusCode::PermissionDenied => Kind::Denied,
        StatusCode::NoConnection | StatusCode::ConnectionLost => Kind::Interrupted,
        _ => Kind::Protocol,
    }
}
