//! The downloaded archive on disk: written and hashed on a thread of its own, kept only when it is whole.

use std::fs::File;
use std::io::Write;
use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::download::hex;
use super::feed::Block;
use super::kept::facts_path;
use super::{Fetched, facts_of};
use crate::commands::Job;
use crate::durable;
use crate::journal::Created;
use crate::report::ArchiveFacts;
use crate::state_dir;
use crate::store::Listed;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Bytes after which the system is asked to begin with writing them to the disk.
const WRITTEN_AT_ONCE: u64 = 8 << 20;
/// Blocks that wait to be written at most.
const BLOCKS: usize = 8;

/// The file that a download grows in, under a name that nobody takes for an archive.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    part: PathBuf,
    sender: mpsc::Sender<Block>,
    work: JoinHandle<Outcome<Written>>,
}

/// Everything that was sent, on the disk.
#[derive(Debug)]
struct Written {
    bytes: u64,
    sha256: String,
}

impl Keeper {
    /// Lists the file in the journal, creates it, and waits for blocks.
    pub fn start(archive: &Listed, job: &Job<'_>) -> Outcome<Self> {
        let directory = state_dir::archives(job.state_dir(), &job.restore.name);
        durable::create_private_dir(&directory)
            .judge(Verdict::Local, format!("create {}", directory.display()))?;
        let part = directory.join(format!("{}.part", job.run.id));
        job.run
            .journal
            .will_create(Created::File(part.clone()))
            .judge(Verdict::Local, "write the journal")?;
        let file = durable::create_private(&part)
            .judge(Verdict::Local, format!("create {}", part.display()))?;
        let (sender, blocks) = mpsc::channel(BLOCKS);
        let (path, whole) = (part.clone(), archive.bytes);
        let work = tokio::task::spawn_blocking(move || write(file, &path, blocks, whole));
        Ok(Self {
            directory,
            part,
            sender,
            work,
        })
    }

    /// Hands on the next block; waits while enough are under way.
    pub async fn take(&mut self, block: &Block) -> Outcome<()> {
        if self.sender.send(Block::clone(block)).await.is_ok() {
            return Ok(());
        }
        let ended = (&mut self.work)
            .await
            .judge(Verdict::Bug, "write the archive")?;
        Err(ended
            .err()
            .unwrap_or_else(|| Failed::new(Verdict::Bug, "the archive's writer ended early")))
    }

    /// Makes the finished download an archive of ours: named by time and content, with its facts beside it.
    pub async fn keep(self, archive: &Listed, job: &Job<'_>) -> Outcome<Fetched> {
        drop(self.sender);
        let written = self.work.await.judge(Verdict::Bug, "write the archive")??;
        if written.bytes != archive.bytes {
            return Err(Failed::new(
                Verdict::Bug,
                format!(
                    "the download has {} bytes, must be {}",
                    written.bytes, archive.bytes
                ),
            ));
        }
        let facts = facts_of(archive, Some(written.sha256));
        let path = publish(&self.directory, &self.part, &facts, archive)?;
        job.run
            .journal
            .forget(&Created::File(self.part))
            .judge(Verdict::Local, "write the journal")?;
        job.run.notes.archive(facts.clone());
        Ok(Fetched { path, facts })
    }
}

/// Takes blocks until the sender is dropped. What was written is proven: it came in order, and the hash goes with it.
fn write(
    mut file: File,
    part: &Path,
    mut blocks: mpsc::Receiver<Block>,
    whole: u64,
) -> Outcome<Written> {
    let (mut hash, mut bytes, mut begun) = (Sha256::new(), 0, 0);
    while let Some(block) = blocks.blocking_recv() {
        file.write_all(&block)
            .judge(Verdict::Local, format!("write {}", part.display()))?;
        hash.update(&block[..]);
        bytes += block.len() as u64;
        if bytes - begun >= WRITTEN_AT_ONCE {
            begin_writing(&file, begun..bytes);
            begun = bytes;
        }
    }
    // One that has failed or was stopped is removed, and nobody waits for it.
    if bytes == whole {
        file.sync_all().judge(
            Verdict::Local,
            format!("write {} to the disk", part.display()),
        )?;
    }
    Ok(Written {
        bytes,
        sha256: hex(&hash.finalize()),
    })
}

/// Lets the disk work while more comes, so that little is left for the end. Linux starts to write what it is told is not needed,
/// and doesn't wait for it; pages that are being written stay in memory.
fn begin_writing(file: &File, range: Range<u64>) {
    let length = NonZero::new(range.end - range.start);
    // Only time is lost where it can't be asked.
    let _ = rustix::fs::fadvise(file, range.start, length, rustix::fs::Advice::DontNeed);
}

fn publish(
    directory: &Path,
    part: &Path,
    facts: &ArchiveFacts,
    archive: &Listed,
) -> Outcome<PathBuf> {
    let sha256 = facts.sha256.as_deref().unwrap_or_default();
    let stem = format!(
        "{}-{}",
        archive.time().strftime("%Y%m%dT%H%M%SZ"),
        &sha256[..12]
    );
    let path = directory.join(format!("{stem}.zip"));
    let beside =
        serde_json::to_vec_pretty(facts).judge(Verdict::Bug, "write the archive's facts")?;
    durable::write(
        &path.with_file_name("facts.tmp"),
        &facts_path(&path),
        &beside,
    )
    .and_then(|()| durable::publish(part, &path))
    .judge(Verdict::Local, format!("write {}", path.display()))?;
    Ok(path)
}
