//! A directory of this machine, often a mounted NAS: so its waits have deadlines as well.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::exact::{Arrived, Exact};
use super::{Kind, Listed, Listing, Opened, Stated, Store, StoreError, unusable_name};
use crate::escape::shown;

/// A local directory.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    /// Three times `network.timeout`, for each answer of the file system.
    patience: Duration,
}

/// A missing directory is `local`, not `config`: yesterday it was there, so most likely something is not mounted.
pub async fn open(path: &Path, timeout: Duration) -> Result<LocalStore, StoreError> {
    let store = LocalStore {
        path: path.to_owned(),
        patience: timeout * 3,
    };
    let directory = store.path.clone();
    store
        .in_time(move || fs::read_dir(&directory).map(drop).map_err(unlisted))
        .await?;
    Ok(store)
}

impl LocalStore {
    /// Runs what may block on a thread that may be left behind: a dead NFS server blocks for ever.
    async fn in_time<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = format!("`{}`", self.location());
        let task = tokio::task::spawn_blocking(work);
        match tokio::time::timeout(self.patience, task).await {
            Ok(Ok(done)) => done.map_err(|error| error.context(place)),
            Ok(Err(panicked)) => Err(StoreError::new(Kind::Local, panicked).context(place)),
            Err(_) => Err(StoreError::new(
                Kind::Interrupted,
                format!(
                    "{place}: no answer for {} seconds",
                    self.patience.as_secs_f32()
                ),
            )
            .hint("is its file server reachable?")),
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    fn location(&self) -> String {
        shown(&self.path.to_string_lossy())
    }

    async fn list(&mut self) -> Result<Listing, StoreError> {
        let path = self.path.clone();
        self.in_time(move || list(&path)).await
    }

    async fn open(&mut self, name: &str) -> Result<Opened, StoreError> {
        if let Some(why) = unusable_name(name) {
            let message = format!("no archive `{}`: {why}", shown(name));
            return Err(StoreError::new(Kind::NotFound, message));
        }
        let (path, name) = (self.path.join(name), shown(name));
        let (file, Stated { bytes, modified }) = self
            .in_time(move || {
                open_file(&path).map_err(|error| error.context(format!("open `{name}`")))
            })
            .await?;
        let file = tokio::fs::File::from_std(file);
        let file = Exact::new(file, bytes, self.patience, Arrived::default());
        Ok(Opened {
            bytes,
            modified,
            file: Box::new(file),
        })
    }

    async fn stated(&mut self, name: &str) -> Result<Stated, StoreError> {
        if let Some(why) = unusable_name(name) {
            let message = format!("no archive `{}`: {why}", shown(name));
            return Err(StoreError::new(Kind::NotFound, message));
        }
        let (path, name) = (self.path.join(name), shown(name));
        self.in_time(move || {
            let found = fs::symlink_metadata(&path).map_err(unopened);
            found
                .and_then(|found| regular(&found))
                .map_err(|error| error.context(format!("look at `{name}`")))
        })
        .await
    }

    fn host_key(&self) -> Option<String> {
        None
    }

    async fn close(self: Box<Self>) {}
}

fn list(path: &Path) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(path).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        let name = entry.file_name();
        let Some(name) = std::str::from_utf8(name.as_bytes()).ok() else {
            listing.pass_over(&name.to_string_lossy(), "its name is not UTF-8");
            continue;
        };
        // Doesn't follow a symbolic link. What vanishes while we look was not there.
        match entry.metadata() {
            Ok(found) => note(&mut listing, name, &found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unlisted(error)),
        }
    }
    Ok(listing)
}

fn note(listing: &mut Listing, name: &str, found: &fs::Metadata) {
    let modified = found
        .modified()
        .ok()
        .and_then(|m| Timestamp::try_from(m).ok());
    let why = unusable_name(name).or_else(|| not_regular(found.file_type()));
    match (why, modified) {
        (Some(why), _) => listing.pass_over(name, why),
        (None, None) => listing.pass_over(name, "its time is not known"),
        (None, Some(modified)) => listing.archives.push(Listed {
            name: name.to_owned(),
            bytes: found.len(),
            modified,
            dated: None,
        }),
    }
}

fn not_regular(found: fs::FileType) -> Option<&'static str> {
    if found.is_file() {
        None
    } else if found.is_dir() {
        Some("a directory")
    } else if found.is_symlink() {
        Some("a symbolic link")
    } else {
        Some("no regular file")
    }
}

/// Neither follows a symbolic link nor waits for somebody to write into a FIFO.
fn open_file(path: &Path) -> Result<(fs::File, Stated), StoreError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .map_err(unopened)?;
    let found = regular(&file.metadata().map_err(unopened)?)?;
    Ok((file, found))
}

fn regular(found: &fs::Metadata) -> Result<Stated, StoreError> {
    if let Some(why) = not_regular(found.file_type()) {
        return Err(StoreError::new(Kind::NotFound, format!("it is {why}")));
    }
    let modified = found.modified().map_err(unopened)?;
    let modified = Timestamp::try_from(modified)
        .map_err(|error| StoreError::new(Kind::Local, format!("its time: {error}")))?;
    Ok(Stated {
        bytes: found.len(),
        modified,
    })
}

fn unopened(error: io::Error) -> StoreError {
    let symlink = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    if symlink {
        return StoreError::new(Kind::NotFound, "it is a symbolic link");
    }
    StoreError::of_read(error)
}

fn unlisted(error: io::Error) -> StoreError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "is it mounted? otherwise correct the store's `path`",
        io::ErrorKind::PermissionDenied => "let the user who runs backupctl read and enter it",
        io::ErrorKind::NotADirectory => "the store's `path` must be a directory",
        _ => {
            return StoreError {
                kind: Kind::Local,
                error: error.into(),
                hint: None,
            };
        }
    };
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::NotADirectory => Kind::Config,
        _ => Kind::Local,
    };
    StoreError {
        kind,
        error: error.into(),
        hint: None,
    }
    .hint(hint)
}
