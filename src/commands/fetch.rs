//! `fetch`: the newest archive of a job, proven, in the state directory.
//!
//! Two halves, so that everything that can be refused is refused before the download: [`choose`] looks into the archive
//! where it lies, [`download`] brings it here.

mod download;
mod kept;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::io::SyncIoBridge;

pub use self::download::{download, sha256_of};
pub use self::kept::{discard, newest_kept, prune};
use super::unzip::{Contents, look_inside};
use super::{App, Job, Order, perform};
use crate::cli::{Accept, Which};
use crate::config::{Restore, StoreKind, format_bytes, format_duration};
use crate::durable;
use crate::escape::shown;
use crate::network::Patience;
use crate::report::{ArchiveFacts, Record, Report, Step};
use crate::store::choose::{self, Earlier, Wish};
use crate::store::{self, Credentials, Listed, Listing, Opened, Store};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// Left free on the file system of state_dir, for logs, reports and everybody else.
pub const RESERVE: u64 = 64 << 20;

/// An archive that nothing speaks against, still in its store.
pub struct Chosen {
    store: Box<dyn Store>,
    pub archive: Listed,
    pub contents: Contents,
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
    report
        .step(Step::Network, super::run::store_reachable(job))
        .await?;
    if app.options.dry_run {
        let chosen = report.step(Step::Fetch, choose(job, which)).await?;
        job.run.notes.plan(describe(&chosen));
        plan_space(job, chosen.archive.bytes)?;
        return Ok(None);
    }
    let fetched = report
        .step(Step::Fetch, async {
            let chosen = choose(job, which).await?;
            space(job, chosen.archive.bytes)?;
            download(chosen, job).await
        })
        .await?;
    prune(job, job.restore.keep_archives.max(1), &fetched.path);
    Ok(Some(fetched))
}

/// The plan of a dry run in words.
pub fn describe(chosen: &Chosen) -> Vec<String> {
    let Chosen {
        archive, contents, ..
    } = chosen;
    let age = Timestamp::now()
        .duration_since(archive.modified)
        .unsigned_abs();
    let mut lines = vec![
        format!(
            "archive   {} ({}, {} old)",
            shown(&archive.name),
            format_bytes(archive.bytes),
            format_duration(age)
        ),
        format!("          from {}", chosen.store.location()),
    ];
    lines.extend(contents.in_words());
    lines
}

/// Finds the archive to take and looks into it over the wire: end record, directory, gate, the dump's table of contents.
pub async fn choose(job: &Job<'_>, which: &Which) -> Outcome<Chosen> {
    patiently(job, async || look_for(job, which).await).await
}

async fn look_for(job: &Job<'_>, which: &Which) -> Outcome<Chosen> {
    let (mut store, listing) = listed(job).await?;
    let wish = Wish {
        archive: which.archive.clone(),
        accept_stale: which.accept.contains(&Accept::Stale),
        accept_rejected: which.accept.contains(&Accept::Rejected),
    };
    let looking = || format!("look for an archive in {}", store.location());
    let archive = choose::candidate(&listing, job.restore, &wish).context(looking())?;
    note(job, &archive);
    let earlier = Earlier::from_history(&job.history());
    let judged = choose::judge(
        &archive,
        &listing,
        job.restore,
        (&wish, &earlier),
        Timestamp::now(),
    );
    for warning in judged.context(looking())? {
        job.run.notes.warn(warning);
    }
    settled(job, &mut *store, &archive).await?;
    let contents = peek(job, &mut *store, &archive).await?;
    job.run.notes.dump(contents.facts());
    Ok(Chosen {
        store,
        archive,
        contents,
    })
}

/// From now on the report names the archive, whatever is found about it.
fn note(job: &Job<'_>, archive: &Listed) {
    let Listed {
        name,
        bytes,
        modified,
    } = archive.clone();
    job.run.notes.archive(ArchiveFacts {
        name,
        bytes,
        modified: Some(modified),
        sha256: None,
    });
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

/// An archive that still changes is not taken: its size and time must stay the same for `settle`.
async fn settled(job: &Job<'_>, store: &mut dyn Store, archive: &Listed) -> Outcome<()> {
    let before = open(store, archive).await?;
    unchanged(archive, &before)?;
    drop(before);
    job.run.progress.note(&format!(
        "watching `{}` for {}",
        shown(&archive.name),
        format_duration(job.restore.settle)
    ));
    tokio::time::sleep(job.restore.settle).await;
    unchanged(archive, &open(store, archive).await?)
}

async fn open(store: &mut dyn Store, archive: &Listed) -> Outcome<Opened> {
    store
        .open(&archive.name)
        .await
        .map_err(Failed::from)
        .context(format!("open `{}`", shown(&archive.name)))
}

fn unchanged(archive: &Listed, now: &Opened) -> Outcome<()> {
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
async fn peek(job: &Job<'_>, store: &mut dyn Store, archive: &Listed) -> Outcome<Contents> {
    let opened = open(store, archive).await?;
    unchanged(archive, &opened)?;
    let (bytes, restore, run) = (opened.bytes, job.restore.clone(), job.run.clone());
    let read = tokio::task::spawn_blocking(move || {
        let reader = SyncIoBridge::new(opened.file);
        look_inside(
            reader,
            bytes,
            &restore,
            (Verdict::Stale, Verdict::Network),
            &run,
        )
    });
    read.await
        .judge(Verdict::Bug, "look into the archive")?
        .context(format!("look into `{}`", shown(&archive.name)))
}

/// What a dry run says of the room here, and whether it is enough.
pub fn plan_space(job: &Job<'_>, bytes: u64) -> Outcome<()> {
    let line = format!(
        "space     {} needed in {}, {} free",
        format_bytes(bytes.saturating_add(RESERVE)),
        job.state_dir().display(),
        format_bytes(free_bytes(job)?)
    );
    job.run.notes.plan(vec![line]);
    space(job, bytes)
}

fn free_bytes(job: &Job<'_>) -> Outcome<u64> {
    let directory = job.state_dir();
    durable::free_bytes(directory).judge(
        Verdict::Local,
        format!("ask how much is free in {}", directory.display()),
    )
}

/// Whether state_dir's file system has room for so many bytes and the reserve.
pub fn space(job: &Job<'_>, bytes: u64) -> Outcome<()> {
    let directory = job.state_dir();
    let (needed, free) = (bytes.saturating_add(RESERVE), free_bytes(job)?);
    if free >= needed {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Local,
        format!(
            "find room in {}: {} are needed, {} are free",
            directory.display(),
            format_bytes(needed),
            format_bytes(free)
        ),
    )
    .hint("free space there, lower `keep_archives`, or move `state_dir` to a larger disk"))
}

/// `340 MiB/s`.
pub fn rate(bytes: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    format!("{}/s", format_bytes(bytes.saturating_mul(1000) / millis))
}
