//! One at a time changes key file, env file and vault; whoever reads several of them reads them as one.
//!
//! The kernel's lock on the vault's directory: there is no file to leave behind, and the files themselves are replaced.

use std::fs::File;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::shown;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Nobody holds it while somebody types: a change takes milliseconds.
const LONGEST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// Dropped, it is free.
#[derive(Debug)]
pub struct Held {
    _directory: File,
}

/// For whoever changes.
pub fn to_change(vault: &Path) -> Outcome<Held> {
    let directory = directory(vault);
    let what = || format!("lock {}", shown(directory));
    let opened = File::open(directory).judge(Verdict::Config, what())?;
    match take(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Held { _directory: opened }),
        Err(Errno::WOULDBLOCK) => Err(Failed::new(
            Verdict::Locked,
            format!(
                "{} is being changed by another `backupctl vault`",
                shown(vault)
            ),
        )
        .hint("wait for it to end")),
        Err(error) => Err(std::io::Error::from(error)).judge(Verdict::Local, what()),
    }
}

/// For whoever reads more than one of the files; None where it can't be had.
pub fn to_read(vault: &Path) -> Option<Held> {
    let opened = File::open(directory(vault)).ok()?;
    take(&opened, FlockOperation::NonBlockingLockShared).ok()?;
    Some(Held { _directory: opened })
}

fn directory(vault: &Path) -> &Path {
    let parent = vault.parent();
    let named = parent.filter(|parent| !parent.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

fn take(directory: &File, how: FlockOperation) -> Result<(), Errno> {
    let begun = Instant::now();
    loop {
        match flock(directory, how) {
            Err(Errno::WOULDBLOCK) if begun.elapsed() < LONGEST => sleep(LOOK),
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
