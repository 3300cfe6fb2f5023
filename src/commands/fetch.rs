//! `fetch`: the newest archive of a job, proven, in the state directory.
//!
//! Two halves, so that everything that can be refused is refused before the download: [`look`] looks into the archive
//! where it lies, [`download`] brings it here.

mod download;
mod feed;
mod keeper;
mod kept;
mod part;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::io::SyncIoBridge;

pub use self::download::{download, keep, pass_on, sha256_of};
pub use self::feed::{Arriving, Feed, feed};
pub use self::kept::{discard, kept_already, newest_kept, prune};
pub use self::part::Part;
pub use self::wait::{Found, Looked, Wanted, look, look_ahead, wait};
use super::space::Coming;
use super::unzip::{Asked, Contents, look_inside};
use super::{App, Job, Order, perform, space};
use crate::cli::Which;
use crate::config::{Restore, StoreKind, format_bytes, format_duration};
use crate::escape::shown;
use crate::network::Patience;
use crate::report::{ArchiveFacts, Record, Report, Step};
use crate::store::{self, Credentials, File, Listed, Listing, Opened, Stated, Store};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// An archive that nothing speaks against, still in its store.
pub struct Chosen {
    store: Box<dyn Store>,
    /// As it was opened for the look.
    file: Box<dyn File>,
    pub archive: Listed,
    pub contents: Contents,
}

impl Chosen {
    pub fn coming(&self) -> Coming {
        let contents = &self.contents;
        Coming::new(Some(self.archive.bytes), contents.bytes, &contents.toc)
    }
}

/// An archive here, whole by its length, with its SHA-256.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub path: PathBuf,
    pub facts: ArchiveFacts,
}

/// `backupctl fetch [JOB]`.
pub async fn command(app: &App, restore: &Restore, which: &Which, notify: bool) -> Record {
    let order = Order {
        command: "fetch",
        store: true,
        archives: true,
        database: false,
        mail: notify,
    };
    perform(app, restore, order, async |job, report| {
        let fetched = steps(job, app, report, which).await?;
        report.record.path = fetched.map(|fetched| fetched.path);
        Ok(())
    })
    .await
}

async fn steps(
    job: &Job<'_>,
    app: &App,
    report: &mut Report,
    which: &Which,
) -> Outcome<Option<Fetched>> {
    report.step(Step::Network, super::reach::store(job)).await?;
    let wanted = Wanted::here(which);
    if app.options.dry_run {
        let looking = look_ahead(job, &wanted);
        let found = report.step(Step::Fetch, looking).await?;
        job.run.notes.plan(found.describe());
        if let Found::Chosen(chosen) = found {
            let room = space::of_fetch(chosen.archive.bytes, job)?;
            job.run.notes.plan(room.in_words());
            room.judge()?;
        }
        return Ok(None);
    }
    let fetched = report
        .step(Step::Fetch, async {
            let looked = look(job, &wanted).await?;
            match wait(job, &wanted, looked).await? {
                Found::Chosen(chosen) => {
                    space::of_fetch(chosen.archive.bytes, job)?.judge()?;
                    download(*chosen, job).await.map(Some)
                }
                Found::Unchanged(..) => {
                    forget_part(job);
                    Ok(None)
                }
            }
        })
        .await?;
    let Some(fetched) = fetched else {
        return Ok(None);
    };
    prune(job, job.restore.keep_archives.max(1), Some(&fetched.path));
    Ok(Some(fetched))
}

/// Removes what an earlier run has left of an archive that nobody goes on with. What can't be removed stands in nobody's way.
pub fn forget_part(job: &Job<'_>) {
    if let Err(failed) = Part::of(job).forget() {
        job.run.notes.warn(failed.message());
    }
}

/// The plan of a dry run in words.
pub fn describe(chosen: &Chosen) -> Vec<String> {
    let Chosen {
        archive, contents, ..
    } = chosen;
    let mut lines = vec![
        describe_archive(archive),
        format!("          from {}", chosen.store.location()),
    ];
    lines.extend(contents.in_words());
    lines
}

/// `archive   erp.zip (1.2 GiB, 6 h old)`.
fn describe_archive(archive: &Listed) -> String {
    let age = Timestamp::now()
        .duration_since(archive.time())
        .unsigned_abs();
    format!(
        "archive   {} ({}, {} old)",
        shown(&archive.name),
        format_bytes(archive.bytes),
        format_duration(age)
    )
}

/// What the report says of an archive, whatever is found about it later.
pub fn facts_of(archive: &Listed, sha256: Option<String>) -> ArchiveFacts {
    ArchiveFacts {
        name: archive.name.clone(),
        bytes: archive.bytes,
        modified: Some(archive.modified),
        dated: archive.dated,
        sha256,
    }
}

/// Tries again, within bounds, what the network has broken.
pub async fn patiently<T>(job: &Job<'_>, attempt: impl AsyncFn() -> Outcome<T>) -> Outcome<T> {
    let mut patience = Patience::new(&job.config.network);
    loop {
        match attempt().await {
            Err(failed) => patience.wait_after(failed, &job.run).await?,
            done => return done,
        }
    }
}

async fn connect(job: &Job<'_>) -> Outcome<Box<dyn Store>> {
    let store = store::open(job.store, credentials(job), job.config.network.timeout).await?;
    if let Some(key) = store.host_key() {
        tracing::info!(host_key = key, "logged in to {}", store.location());
        job.run.notes.drill(|drill| drill.host_key = Some(key));
    }
    Ok(store)
}

/// The store, and everything that is in it.
pub async fn listed(job: &Job<'_>) -> Outcome<(Box<dyn Store>, Listing)> {
    let mut store = connect(job).await?;
    let listing = store
        .list()
        .await
        .map_err(Failed::from)
        .context(format!("list {}", store.location()))?;
    Ok((store, listing))
}

fn credentials(job: &Job<'_>) -> Credentials {
    match &job.store.kind {
        StoreKind::Sftp(sftp) => Credentials {
            password: job.secret(sftp.password.as_ref()),
            passphrase: job.secret(sftp.passphrase.as_ref()),
        },
        StoreKind::Local(_) => Credentials::default(),
    }
}

/// An archive that still changes is not taken: its size and time must stay the same for `settle`. It is opened by its name
/// each time, so that one that was put in its place is seen, and as it was opened last it is looked into.
async fn settled(job: &Job<'_>, store: &mut dyn Store, archive: &Listed) -> Outcome<Opened> {
    if !job.restore.settle.is_zero() {
        unchanged(archive, open(store, archive).await?.stated())?;
        job.run.progress.note(&format!(
            "watching `{}` for {}",
            shown(&archive.name),
            format_duration(job.restore.settle)
        ));
        tokio::time::sleep(job.restore.settle).await;
    }
    let opened = open(store, archive).await?;
    unchanged(archive, opened.stated())?;
    Ok(opened)
}

async fn open(store: &mut dyn Store, archive: &Listed) -> Outcome<Opened> {
    store
        .open(&archive.name)
        .await
        .map_err(Failed::from)
        .context(format!("open `{}`", shown(&archive.name)))
}

/// What its name stands for now.
async fn stated(store: &mut dyn Store, archive: &Listed) -> Outcome<Stated> {
    store
        .stated(&archive.name)
        .await
        .map_err(Failed::from)
        .context(format!("look at `{}` again", shown(&archive.name)))
}

fn unchanged(archive: &Listed, now: Stated) -> Outcome<()> {
    if archive.bytes == now.bytes && archive.modified == now.modified {
        return Ok(());
    }
    let (before, after) = (format_bytes(archive.bytes), format_bytes(now.bytes));
    Err(Failed::new(
        Verdict::Stale,
        format!(
            "take `{}`: it is still being written ({before}, then {after})",
            shown(&archive.name)
        ),
    )
    .hint("let the upload end before this job starts, or lengthen `settle`"))
}

/// The archive's end record, its directory and the head of its dump, read where the archive lies.
async fn peek(
    job: &Job<'_>,
    opened: Opened,
    archive: &Listed,
) -> Outcome<(Contents, Box<dyn File>)> {
    let (bytes, asked, run) = (opened.bytes, Asked::of(job), job.run.clone());
    let read = tokio::task::spawn_blocking(move || {
        let reader = SyncIoBridge::new(opened.file);
        let verdicts = (Verdict::Stale, Verdict::Network);
        let (contents, reader) = look_inside(reader, bytes, &asked, verdicts, &run)?;
        Ok((contents, reader.into_inner()))
    });
    read.await
        .judge(Verdict::Bug, "look into the archive")?
        .context(format!("look into `{}`", shown(&archive.name)))
}

/// `340 MiB/s`.
pub fn rate(bytes: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    format!("{}/s", format_bytes(bytes.saturating_mul(1000) / millis))
}
