//! An unfinished download that the next run may go on with: of which archive it is, and how much of it is proven.
//!
//! One per job, under names of the job's. The proof is the SHA-256 of the first so many bytes as they came: what the disk has
//! is hashed again before anything is built on it, so that after a power cut, too, nothing else passes for them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Chosen;
use super::download::hex;
use crate::commands::Job;
use crate::durable;
use crate::state_dir;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// So many bytes before the place where a download goes on are read again and compared.
pub const COMPARED: usize = 1 << 20;

const BLOCK: usize = 256 << 10;

/// The archive, the store that it comes from, and the key of the host that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    store: String,
    host_key: Option<String>,
    name: String,
    pub bytes: u64,
    modified: Timestamp,
}

impl Origin {
    pub fn of(chosen: &Chosen) -> Self {
        let Chosen { store, archive, .. } = chosen;
        Self {
            store: store.location(),
            host_key: store.host_key(),
            name: archive.name.clone(),
            bytes: archive.bytes,
            modified: archive.modified,
        }
    }
}

/// What lies beside an unfinished download.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    origin: Origin,
    proven: u64,
    sha256: String,
}

/// The first bytes of an archive, here already, and as they came.
#[derive(Debug)]
pub struct Prefix {
    pub bytes: u64,
    pub sha256: String,
    /// The last ones, up to [`COMPARED`].
    pub tail: Vec<u8>,
    pub file: File,
    pub hash: Sha256,
}

/// Where a job's unfinished download lies, whether there is one or not.
#[derive(Debug, Clone)]
pub struct Part {
    pub path: PathBuf,
}

impl Part {
    pub fn of(job: &Job<'_>) -> Self {
        let directory = state_dir::archives(job.state_dir(), &job.restore.name);
        Self::at(&directory.join("arriving.part"))
    }

    /// As a journal names it.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn note_path(&self) -> PathBuf {
        self.path.with_extension("proven")
    }

    fn temp_path(&self) -> PathBuf {
        self.path.with_extension("tmp")
    }

    /// Writes down that so many bytes came, and what they are.
    pub fn note(&self, origin: &Origin, proven: u64, sha256: String) -> io::Result<()> {
        let noted = Noted {
            origin: origin.clone(),
            proven,
            sha256,
        };
        let text = serde_json::to_vec_pretty(&noted)?;
        durable::write(&self.temp_path(), &self.note_path(), &text)
    }

    /// Whether anything is known of what lies there.
    pub fn is_resumable(&self) -> bool {
        self.path.is_file() && self.noted().is_some()
    }

    fn noted(&self) -> Option<Noted> {
        let text = std::fs::read(self.note_path()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// What it takes of the disk, and gives back when it goes or is gone on with.
    pub fn bytes(&self) -> u64 {
        std::fs::symlink_metadata(&self.path).map_or(0, |found| found.len())
    }

    /// Removes it; the note first, so that it never speaks of another file.
    pub fn forget(&self) -> Outcome<()> {
        for path in [&self.note_path(), &self.temp_path(), &self.path] {
            durable::remove(path).judge(Verdict::Local, format!("remove {}", path.display()))?;
        }
        Ok(())
    }

    /// What of this very archive is here and proven; None where there is nothing to go on with.
    pub fn proven(
        &self,
        origin: &Origin,
        is_stopped: impl Fn() -> bool,
    ) -> Outcome<Option<Prefix>> {
        let Some(noted) = self.noted() else {
            return Ok(None);
        };
        let is_possible = (1..=origin.bytes).contains(&noted.proven);
        if noted.origin != *origin || !is_possible {
            return Ok(None);
        }
        let what = || format!("read {}", self.path.display());
        let file = match durable::reopen_private(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.judge(Verdict::Local, what())?,
        };
        let hash = hash_of(&file, noted.proven, is_stopped)?.judge(Verdict::Local, what())?;
        if hash.as_ref().map(|hash| hex(&hash.clone().finalize())) != Some(noted.sha256.clone()) {
            return Ok(None);
        }
        let length = noted.proven.min(COMPARED as u64);
        let mut tail = vec![0; usize::try_from(length).unwrap_or(COMPARED)];
        file.read_exact_at(&mut tail, noted.proven - length)
            .judge(Verdict::Local, what())?;
        Ok(hash.map(|hash| Prefix {
            bytes: noted.proven,
            sha256: noted.sha256,
            tail,
            file,
            hash,
        }))
    }
}

/// Of the file's first bytes; None where it has fewer.
fn hash_of(
    file: &File,
    bytes: u64,
    is_stopped: impl Fn() -> bool,
) -> Outcome<io::Result<Option<Sha256>>> {
    let (mut hash, mut left, mut block) = (Sha256::new(), bytes, vec![0; BLOCK]);
    while left > 0 {
        if is_stopped() {
            return Err(Failed::interrupted());
        }
        let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        match (&mut &*file).read(&mut block[..wanted]) {
            Ok(0) => return Ok(Ok(None)),
            Ok(read) => {
                hash.update(&block[..read]);
                left -= read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Some(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            store: "sftp://u@h:22/d".to_owned(),
            host_key: Some("ssh-ed25519 SHA256:one".to_owned()),
            name: "erp.zip".to_owned(),
            bytes: 4_000_000,
            modified: Timestamp::UNIX_EPOCH,
        }
    }

    fn content() -> Vec<u8> {
        (0..3_000_000_u32).map(|n| (n % 251) as u8).collect()
    }

    /// A part with three million bytes, of which `proven` are noted.
    fn left(directory: &Path, proven: usize) -> Part {
        let part = Part::at(&directory.join("arriving.part"));
        std::fs::write(&part.path, content()).expect("a part");
        let sha256 = hex(&Sha256::digest(&content()[..proven]));
        let proven = u64::try_from(proven).expect("a small number");
        part.note(&origin(), proven, sha256).expect("a note");
        part
    }

    fn proven(part: &Part, origin: &Origin) -> Option<Prefix> {
        part.proven(origin, || false).expect("readable")
    }

    #[test]
    fn what_was_noted_is_gone_on_with_and_nothing_behind_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let part = left(dir.path(), 2_500_000);
        let prefix = proven(&part, &origin()).expect("a prefix");
        assert_eq!(prefix.bytes, 2_500_000);
        assert!(prefix.tail == content()[2_500_000 - COMPARED..2_500_000]);
        let whole = prefix.hash.chain_update(&content()[2_500_000..]);
        assert_eq!(whole.finalize(), Sha256::digest(content()));
    }

    #[test]
    fn nothing_is_gone_on_with_that_is_of_another_archive_server_or_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let part = left(dir.path(), 2_500_000);
        let changed: [fn(&mut Origin); 5] = [
            |o| o.store.push('2'),
            |o| o.host_key = None,
            |o| o.name.push('2'),
            |o| o.bytes += 1,
            |o| o.modified = Timestamp::MAX,
        ];
        for change in changed {
            let mut other = origin();
            change(&mut other);
            assert!(proven(&part, &other).is_none(), "{other:?}");
        }
        assert!(proven(&part, &origin()).is_some());
    }

    #[test]
    fn a_disk_that_has_other_bytes_or_fewer_than_came_proves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let part = left(dir.path(), 2_500_000);
        let mut other = content();
        // As a power cut leaves a page that was not written.
        other[1_000_000..1_004_096].fill(0);
        std::fs::write(&part.path, other).expect("other bytes");
        assert!(proven(&part, &origin()).is_none());
        std::fs::write(&part.path, &content()[..2_499_999]).expect("fewer bytes");
        assert!(proven(&part, &origin()).is_none());
        std::fs::write(part.note_path(), "{").expect("half a note");
        assert!(proven(&part, &origin()).is_none());
        assert!(!part.is_resumable());
    }

    #[test]
    fn a_signal_ends_the_hashing_of_a_long_prefix() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let part = left(dir.path(), 2_500_000);
        let failed = part.proven(&origin(), || true).expect_err("stopped");
        assert!(matches!(failed.verdict, Verdict::Interrupted(_)));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let part = left(dir.path(), 1);
        assert!(part.is_resumable() && part.bytes() == 3_000_000);
        std::fs::write(part.temp_path(), "{").expect("half a note");
        part.forget().expect("removed");
        part.forget().expect("nothing is there any more");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
