//! One run per job on this machine: a kernel lock on a file, which dies with its holder, so there is no stale lock.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// How often the lock is tried again, and after how long each time.
const LOOKS: usize = 5;
const LOOK: Duration = Duration::from_millis(20);
/// So long a file is waited for that nobody holds for longer than it takes to write or read it.
const LONGEST: Duration = Duration::from_secs(10);

/// A held lock; dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Who holds a lock, as the holder wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub run: String,
    pub command: String,
    pub started: Timestamp,
}

/// Why a lock could not be had.
#[derive(Debug)]
pub enum Refused {
    /// Somebody else has it; None where they have not written their name yet.
    Held(Option<Holder>),
    Failed(Failed),
}

/// Takes the lock of `job`, or says at once who has it.
pub fn hold(state_dir: &Path, job: &str, holder: &Holder) -> Result<Lock, Refused> {
    let path = path_of(state_dir, job);
    let file = create(&path)
        .judge(Verdict::Local, format!("open the lock {}", path.display()))
        .map_err(Refused::Failed)?;
    match take(&file) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Refused::Held(read(file))),
        Err(error) => {
            let failed: Outcome<()> = Err(io::Error::from(error))
                .judge(Verdict::Local, format!("take the lock {}", path.display()));
            return Err(failed.map_or_else(Refused::Failed, |()| Refused::Held(None)));
        }
    }
    introduce(&file, holder)
        .judge(Verdict::Local, format!("write the lock {}", path.display()))
        .map_err(Refused::Failed)?;
    Ok(Lock { _file: file })
}

/// Takes a directory's lock, which is held for moments only, and waits so long for it. It is no job's, and leaves no file behind.
///
/// # Errors
/// Whatever the system says; `WouldBlock`: somebody held it all the time.
pub fn wait(directory: &Path, longest: Duration) -> io::Result<Lock> {
    let file = File::open(directory)?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < longest => sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whoever only looks who holds the lock has it for a moment as well: that is no other run.
fn take(file: &File) -> rustix::io::Result<()> {
    for _ in 0..LOOKS {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => sleep(LOOK),
            other => return other,
        }
    }
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// How a file is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By whoever reads it, together with other readers.
    Shared,
    /// By whoever changes it, alone.
    Exclusive,
}

/// Takes the lock on an open file of ours, which is held for moments only; it is free once the file is closed.
///
/// # Errors
/// `local`: it can't be had in time.
pub fn wait_for(file: &File, kind: Kind, path: &Path) -> Outcome<()> {
    let how = match kind {
        Kind::Shared => FlockOperation::NonBlockingLockShared,
        Kind::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let begun = Instant::now();
    let taken = loop {
        match flock(file, how) {
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LONGEST => sleep(LOOK),
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    { taken.map_err(io::Error::from) }.judge(
        Verdict::Local,
        format!("take the lock of {}", path.display()),
    )
}

/// Who holds the lock of `job` now, without taking or creating anything; None where it is free.
#[must_use]
pub fn held(state_dir: &Path, job: &str) -> Option<Option<Holder>> {
    let file = File::open(path_of(state_dir, job)).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Some(read(file)),
        _ => None,
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        durable::create_private_dir(directory)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn introduce(mut file: &File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

fn read(file: File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn path_of(state_dir: &Path, job: &str) -> PathBuf {
    state_dir.join("locks").join(format!("{job}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(run: &str) -> Holder {
        Holder {
            pid: 1,
            run: run.to_owned(),
            command: "run".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_second_run_learns_who_the_first_is() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = hold(dir.path(), "erp", &holder("first")).expect("a free lock");

        let second = hold(dir.path(), "erp", &holder("second"));

        assert!(matches!(second, Err(Refused::Held(Some(h))) if h.run == "first"));
        assert!(held(dir.path(), "erp").is_some());
        drop(first);
        assert!(held(dir.path(), "erp").is_none());
        hold(dir.path(), "erp", &holder("third")).expect("free again");
    }

    #[test]
    fn who_only_looks_does_not_keep_a_run_from_starting() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        drop(hold(dir.path(), "erp", &holder("earlier")).expect("a free lock"));
        let looking = File::open(path_of(dir.path(), "erp")).expect("the lock's file");
        flock(&looking, FlockOperation::NonBlockingLockShared).expect("a look");

        std::thread::scope(|scope| {
            scope.spawn(|| {
                sleep(LOOK);
                drop(looking);
            });
            hold(dir.path(), "erp", &holder("run")).expect("free after the look");
        });
    }

    #[test]
    fn a_moments_lock_is_waited_for_and_not_for_ever() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = wait(dir.path(), LOOK).expect("a free lock");
        let refused = wait(dir.path(), LOOK).expect_err("a held one");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sleep(LOOK);
                drop(first);
            });
            wait(dir.path(), Duration::from_secs(20)).expect("free after a moment");
        });
    }

    #[test]
    fn jobs_have_locks_of_their_own_and_looking_creates_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(held(dir.path(), "erp").is_none());
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
        let _erp = hold(dir.path(), "erp", &holder("erp")).expect("free");
        hold(dir.path(), "crm", &holder("crm")).expect("free as well");
    }
}
