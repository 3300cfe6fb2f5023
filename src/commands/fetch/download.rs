//! The download: a chosen archive brought here, resumed where a link was cut, hashed on the way, kept only when it is whole.

use std::fs::File;
use std::io::{BufReader, Read, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::kept::facts_path;
use super::{Chosen, Fetched, connect, open, patiently, rate, unchanged};
use crate::commands::Job;
use crate::config::format_bytes;
use crate::durable;
use crate::escape::shown;
use crate::journal::Created;
use crate::network::Patience;
use crate::report::ArchiveFacts;
use crate::run::Run;
use crate::state_dir;
use crate::store::{Listed, Store, StoreError};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

const BLOCK: usize = 256 << 10;

/// Brings the chosen archive here: temp name, every byte hashed, length against fstat, fsync, rename.
pub async fn download(chosen: Chosen, job: &Job<'_>) -> Outcome<Fetched> {
    let Chosen {
        mut store, archive, ..
    } = chosen;
    let directory = state_dir::archives(job.state_dir(), &job.restore.name);
    durable::create_private_dir(&directory)
        .judge(Verdict::Local, format!("create {}", directory.display()))?;
    let part = directory.join(format!("{}.part", job.run.id));
    job.run
        .journal
        .will_create(Created::File(part.clone()))
        .judge(Verdict::Local, "write the journal")?;
    let mut target = Target::create(&part)?;
    job.run.progress.total(archive.bytes);
    let mut patience = Patience::new(&job.config.network);
    let (clock, what) = (
        Instant::now(),
        format!("download `{}`", shown(&archive.name)),
    );
    while let Err(failed) = copy(&mut *store, &archive, &mut target, &job.run).await {
        if target.grew() {
            patience.refill();
        }
        patience.wait_after(failed.context(&what), &job.run).await?;
        job.run.notes.warn(format!(
            "the download was cut at {} and resumed",
            format_bytes(target.bytes)
        ));
        store = patiently(job, async || connect(job).await)
            .await
            .context(&what)?;
    }
    store.close().await;
    job.run.notes.bytes(archive.bytes);
    job.run.notes.message(rate(archive.bytes, clock.elapsed()));
    let fetched = keep(&directory, &part, target, &archive)?;
    job.run
        .journal
        .forget(&Created::File(part))
        .judge(Verdict::Local, "write the journal")?;
    job.run.notes.archive(fetched.facts.clone());
    Ok(fetched)
}

/// The file that a download grows in. What was written is proven: it came in order, and the hash goes with it.
struct Target {
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
    bytes_before: u64,
}

impl Target {
    fn create(path: &Path) -> Outcome<Self> {
        let file = durable::create_private(path)
            .judge(Verdict::Local, format!("create {}", path.display()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            hash: Sha256::new(),
            bytes: 0,
            bytes_before: 0,
        })
    }

    fn write(&mut self, block: &[u8]) -> Outcome<()> {
        self.file
            .write_all(block)
            .judge(Verdict::Local, format!("write {}", self.path.display()))?;
        self.hash.update(block);
        self.bytes += block.len() as u64;
        Ok(())
    }

    /// Whether bytes came since this was asked last.
    fn grew(&mut self) -> bool {
        let grew = self.bytes > self.bytes_before;
        self.bytes_before = self.bytes;
        grew
    }
}

/// Copies from where the target ends to the archive's end.
async fn copy(
    store: &mut dyn Store,
    archive: &Listed,
    target: &mut Target,
    run: &Run,
) -> Outcome<()> {
    let mut opened = open(store, archive).await?;
    unchanged(archive, &opened)?;
    let sought = opened.file.seek(SeekFrom::Start(target.bytes)).await;
    sought.map_err(|error| Failed::from(StoreError::of_read(error)))?;
    let mut block = vec![0; BLOCK];
    while target.bytes < archive.bytes {
        let read = opened
            .file
            .read(&mut block)
            .await
            .map_err(|error| Failed::from(StoreError::of_read(error)))?;
        if read == 0 {
            return Err(Failed::new(
                Verdict::Network,
                format!(
                    "the file ended after {} of {} bytes",
                    target.bytes, archive.bytes
                ),
            ));
        }
        target.write(&block[..read])?;
        run.progress.advance(read as u64);
    }
    unchanged(archive, &open(store, archive).await?)
}

/// Makes the finished download an archive of ours: named by time and content, with its facts beside it.
fn keep(directory: &Path, part: &Path, target: Target, archive: &Listed) -> Outcome<Fetched> {
    let Target {
        file, hash, bytes, ..
    } = target;
    if bytes != archive.bytes {
        return Err(Failed::new(
            Verdict::Bug,
            format!("the download has {bytes} bytes, must be {}", archive.bytes),
        ));
    }
    file.sync_all().judge(
        Verdict::Local,
        format!("write {} to the disk", part.display()),
    )?;
    let sha256 = hex(&hash.finalize());
    let stem = format!(
        "{}-{}",
        archive.modified.strftime("%Y%m%dT%H%M%SZ"),
        &sha256[..12]
    );
    let facts = ArchiveFacts {
        name: archive.name.clone(),
        bytes,
        modified: Some(archive.modified),
        sha256: Some(sha256),
    };
    let path = directory.join(format!("{stem}.zip"));
    let beside =
        serde_json::to_vec_pretty(&facts).judge(Verdict::Bug, "write the archive's facts")?;
    durable::write(
        &path.with_file_name("facts.tmp"),
        &facts_path(&path),
        &beside,
    )
    .and_then(|()| durable::publish(part, &path))
    .judge(Verdict::Local, format!("write {}", path.display()))?;
    Ok(Fetched { path, facts })
}

/// SHA-256 of a file, lower-case hex.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut reader = BufReader::with_capacity(BLOCK, File::open(path)?);
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let read = reader.read(&mut block)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&block[..read]);
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
