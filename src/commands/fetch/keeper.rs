//! The downloaded archive on disk: written and hashed on a thread of its own, kept only when it is whole.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::download::hex;
use super::feed::Block;
use super::kept::facts_path;
use super::part::{Origin, Part, Prefix};
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
/// Bytes after which it is noted how much is proven: what a run that is killed loses at most, beside what it is syncing and what came
/// since the last note where it comes faster than that.
const NOTED_AT_ONCE: u64 = 32 << 20;
/// Between two notes: each waits for the disk, which a fast link has other work for.
const BETWEEN_NOTES: Duration = Duration::from_secs(2);
/// Blocks that wait to be written at most.
const BLOCKS: usize = 4;
/// How long a run that is stopped waits for the last blocks to be written. A note that comes later is written by nobody.
const LAST_BLOCKS: Duration = Duration::from_secs(3);

/// The file that a download grows in, under a name that nobody takes for an archive.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    part: Part,
    origin: Origin,
    sender: mpsc::Sender<Block>,
    /// None once its failure was told.
    work: Option<JoinHandle<Outcome<Written>>>,
    /// The last field: what is dropped before lets the writer end.
    _ended: Ended,
}

/// Everything that was sent, on the disk.
#[derive(Debug)]
struct Written {
    bytes: u64,
    sha256: String,
}

/// Dropped, it waits for the writer, which may have a note to write: whoever cleans up comes after it.
#[derive(Debug)]
struct Ended(Receiver<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nothing is ever sent: the other end goes with the writer.
        let _ = self.0.recv_timeout(LAST_BLOCKS);
    }
}

impl Keeper {
    /// Lists the file in the journal, creates it or goes on behind `prefix`, and waits for blocks.
    pub fn start(origin: &Origin, prefix: Option<Prefix>, job: &Job<'_>) -> Outcome<Self> {
        let directory = state_dir::archives(job.state_dir(), &job.restore.name);
        durable::create_private_dir(&directory)
            .judge(Verdict::Local, format!("create {}", directory.display()))?;
        let part = Part::of(job);
        job.run
            .journal
            .will_create(Created::Part(part.path.clone()))
            .judge(Verdict::Local, "write the journal")?;
        let writing = Writing::start(&part, origin, prefix)?;
        let (sender, blocks) = mpsc::channel(BLOCKS);
        let (ending, ended) = channel();
        let work = tokio::task::spawn_blocking(move || writing.all(blocks, ending));
        Ok(Self {
            directory,
            part,
            origin: origin.clone(),
            sender,
            work: Some(work),
            _ended: Ended(ended),
        })
    }

    /// Hands on the next block; waits while enough are under way.
    pub async fn take(&mut self, block: &Block) -> Outcome<()> {
        if self.sender.send(Block::clone(block)).await.is_ok() {
            return Ok(());
        }
        let early = || Failed::new(Verdict::Bug, "the archive's writer ended early");
        let work = self.work.take().ok_or_else(early)?;
        let ended = work.await.judge(Verdict::Bug, "write the archive")?;
        Err(ended.err().unwrap_or_else(early))
    }

    /// Makes the finished download an archive of ours: named by time and content, with its facts beside it.
    pub async fn keep(self, archive: &Listed, job: &Job<'_>) -> Outcome<Fetched> {
        let part = self.part.clone();
        let kept = self.finish(archive, job).await;
        // Also where it was kept: the note beside it goes.
        let forgotten = part.forget();
        let kept = kept?;
        forgotten?;
        job.run
            .journal
            .forget(&Created::Part(part.path))
            .judge(Verdict::Local, "write the journal")?;
        Ok(kept)
    }

    async fn finish(mut self, archive: &Listed, job: &Job<'_>) -> Outcome<Fetched> {
        let written = self.written().await?;
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
        let path = publish(&self.directory, &self.part.path, &facts, archive)?;
        job.run.notes.archive(facts.clone());
        Ok(Fetched { path, facts })
    }

    /// Waits until everything that was sent is written.
    async fn written(&mut self) -> Outcome<Written> {
        // Closed: no more will be sent.
        self.sender = mpsc::channel(1).0;
        let early = || Failed::new(Verdict::Bug, "the archive's writer ended early");
        let work = self.work.take().ok_or_else(early)?;
        work.await.judge(Verdict::Bug, "write the archive")?
    }

    /// The link is lost: what has come stays for the next run.
    pub async fn leave(mut self, job: &Job<'_>) {
        let left = self.written().await.and_then(|written| {
            // One that is not whole has its note from the writer.
            if written.bytes < self.origin.bytes {
                return Ok(());
            }
            let noted = self.part.note(&self.origin, written.bytes, written.sha256);
            noted.judge(Verdict::Local, "note what has come")
        });
        if let Err(failed) = left {
            job.run.notes.warn(failed.message());
        }
    }

    /// Nobody can go on with it.
    pub async fn give_up(mut self, job: &Job<'_>) {
        // Why it was given up is told by whoever gives up.
        let _ = self.written().await;
        if let Err(failed) = self.part.forget() {
            job.run.notes.warn(failed.message());
        }
    }
}

/// The writer's side.
struct Writing {
    file: File,
    part: Part,
    origin: Origin,
    hash: Sha256,
    bytes: u64,
    /// Up to here it is noted what came, or will be in a moment.
    noted: u64,
    noted_at: Option<Instant>,
    noting: Option<JoinHandle<std::io::Result<()>>>,
}

impl Writing {
    fn start(part: &Part, origin: &Origin, prefix: Option<Prefix>) -> Outcome<Self> {
        let what = || format!("create {}", part.path.display());
        let (file, hash, bytes) = if let Some(prefix) = prefix {
            let mut file = prefix.file;
            // What lies behind it came, but was not noted.
            file.set_len(prefix.bytes)
                .and_then(|()| file.seek(SeekFrom::Start(prefix.bytes)))
                .judge(Verdict::Local, what())?;
            (file, prefix.hash, prefix.bytes)
        } else {
            part.forget()?;
            let file = durable::create_private(&part.path).judge(Verdict::Local, what())?;
            (file, Sha256::new(), 0)
        };
        Ok(Self {
            file,
            part: part.clone(),
            origin: origin.clone(),
            hash,
            bytes,
            noted: bytes,
            noted_at: None,
            noting: None,
        })
    }

    /// Takes blocks until the sender is dropped. What was written is proven: it came in order, and the hash goes with it.
    fn all(mut self, blocks: mpsc::Receiver<Block>, ending: Sender<()>) -> Outcome<Written> {
        let taken = self.take(blocks);
        // Whatever came of it: after this nobody writes a note any more.
        let noted = self.settle();
        let ended = taken.and(noted).and_then(|()| self.end());
        drop(ending);
        ended
    }

    fn take(&mut self, mut blocks: mpsc::Receiver<Block>) -> Outcome<()> {
        let mut begun = self.bytes;
        while let Some(block) = blocks.blocking_recv() {
            self.file
                .write_all(&block)
                .judge(Verdict::Local, self.what())?;
            self.hash.update(&block[..]);
            self.bytes += block.len() as u64;
            if self.bytes - begun >= WRITTEN_AT_ONCE {
                begin_writing(&self.file, begun..self.bytes);
                begun = self.bytes;
            }
            if self.bytes - self.noted >= NOTED_AT_ONCE {
                self.begin_noting()?;
            }
        }
        Ok(())
    }

    fn what(&self) -> String {
        format!("write {}", self.part.path.display())
    }

    /// Beside the writing, and not before the last time is over: the link doesn't wait for the disk.
    fn begin_noting(&mut self) -> Outcome<()> {
        let lately = |at: Instant| at.elapsed() < BETWEEN_NOTES;
        if self.noted_at.is_some_and(lately)
            || self.noting.as_ref().is_some_and(|work| !work.is_finished())
        {
            return Ok(());
        }
        self.settle()?;
        self.noted_at = Some(Instant::now());
        let file = self.file.try_clone().judge(Verdict::Local, self.what())?;
        let (part, origin) = (self.part.clone(), self.origin.clone());
        let (bytes, sha256) = (self.bytes, hex(&self.hash.clone().finalize()));
        self.noted = bytes;
        self.noting = Some(tokio::task::spawn_blocking(move || {
            file.sync_data()?;
            part.note(&origin, bytes, sha256)
        }));
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        let Some(work) = self.noting.take() else {
            return Ok(());
        };
        let noted = Handle::current().block_on(work);
        noted
            .judge(Verdict::Bug, self.what())?
            .judge(Verdict::Local, format!("{} to the disk", self.what()))
    }

    fn end(self) -> Outcome<Written> {
        let what = format!("{} to the disk", self.what());
        let sha256 = hex(&self.hash.finalize());
        if self.bytes == self.origin.bytes {
            self.file.sync_all().judge(Verdict::Local, what)?;
        } else if self.bytes > 0 {
            // Not synced: should the power go as well, the hash will not fit and the next run starts anew.
            let noted = self.part.note(&self.origin, self.bytes, sha256.clone());
            noted.judge(Verdict::Local, what)?;
        }
        Ok(Written {
            bytes: self.bytes,
            sha256,
        })
    }
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
