//! The links from here to the dump's table of contents: the store's host, the way in, the newest archive.

use std::time::Instant;

use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_util::io::SyncIoBridge;

use super::chain::Chain;
use super::here::Opened;
use super::{answers, noted};
use crate::commands::space::Coming;
use crate::commands::unzip::{Asked, Contents, look_apart};
use crate::commands::{App, Job, reach};
use crate::config::{Sftp, Store as Settings, StoreKind, format_bytes, format_duration};
use crate::escape::shown;
use crate::store::choose::{self, Choice, Wish};
use crate::store::sftp::{self, Login};
use crate::store::{self, Credentials, Listed, Listing, Opened as Archive, Store, StoreError};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// So much of the newest archive is read.
const FIRST_BYTES: u64 = 1 << 20;

/// A store that lets us in, and what is in it.
pub struct Reached {
    store: Box<dyn Store>,
    listing: Listing,
}

/// The archive that a run would take if nothing spoke against it.
pub struct Newest {
    pub archive: Listed,
    pub contents: Option<Contents>,
}

impl Newest {
    /// What it would take room for; None where nobody could look into it.
    pub fn coming(&self) -> Option<Coming> {
        let contents = self.contents.as_ref()?;
        let (archive, dump) = (self.archive.bytes, contents.bytes);
        Some(Coming::new(Some(archive), dump, &contents.toc))
    }
}

/// From the name of the store's host to its listing.
pub async fn reach(
    app: &App,
    chain: &mut Chain,
    store: &Settings,
    opened: &Opened,
) -> Option<Reached> {
    let patience = app.config.network.timeout;
    let entered = match &store.kind {
        StoreKind::Sftp(sftp) => enter(app, chain, (store, sftp), opened).await,
        StoreKind::Local(local) => {
            let found = store::open(store, Credentials::default(), patience).await;
            let found = found.map_err(Failed::from);
            chain.take("store", found, |_| local.path.display().to_string())
        }
    };
    let Some(mut store) = entered else {
        let needs = match store.kind {
            StoreKind::Sftp(_) => "store login",
            StoreKind::Local(_) => "store",
        };
        chain.skip(&["listing"], needs);
        return None;
    };
    let listing = store.list().await.map_err(Failed::from);
    let listing = chain.take("listing", listing, |listing| {
        let count = listing.archives.len();
        format!("{count} files in {}", store.location())
    })?;
    Some(Reached { store, listing })
}

/// Name, TCP, host key, login. What is configured to log in with is judged before any socket is opened.
async fn enter(
    app: &App,
    chain: &mut Chain,
    (store, sftp): (&Settings, &Sftp),
    opened: &Opened,
) -> Option<Box<dyn Store>> {
    let patience = app.config.network.timeout;
    let logins = logins(chain, store, sftp, opened);
    let target = reach::of_store(store)?;
    if !answers(chain, &target, ["store dns", "store tcp"], patience).await {
        chain.skip(&["host key", "store login"], "store tcp");
        return None;
    }
    let trusted = sftp::trusted(&store.name, sftp, patience).await;
    let trusted = trusted.map_err(Failed::from);
    let Some(trusted) = chain.take("host key", trusted, sftp::Trusted::host_key) else {
        chain.skip(&["store login"], "host key");
        return None;
    };
    let logins = match logins {
        Ok(Ok(logins)) => logins,
        Ok(Err(failed)) => {
            chain.failed("store login", &failed);
            return None;
        }
        Err(needs) => {
            chain.skip(&["store login"], needs);
            return None;
        }
    };
    let entered = trusted.log_in(logins).await.map_err(Failed::from);
    let entered = chain.take("store login", entered, |_| described(sftp))?;
    Some(Box::new(entered))
}

/// What to log in with; or the link that is missing for that.
fn logins(
    chain: &mut Chain,
    store: &Settings,
    sftp: &Sftp,
    opened: &Opened,
) -> Result<Outcome<Vec<Login>>, &'static str> {
    let key = &sftp.private_key;
    if !opened.has(sftp.password.iter().chain(&sftp.passphrase)) {
        if key.is_some() {
            chain.skip(&["private key"], "secret");
        }
        return Err("secret");
    }
    let credentials = Credentials {
        password: opened.get(sftp.password.as_ref()),
        passphrase: opened.get(sftp.passphrase.as_ref()),
    };
    let logins = sftp::configured(&store.name, sftp, credentials).map_err(Failed::from);
    let Some(key) = key else {
        return Ok(logins);
    };
    let logins = chain.take("private key", logins, |_| key.display().to_string());
    logins.map(Ok).ok_or("private key")
}

/// `password of backup_erp at sftp.example.org:22`.
fn described(sftp: &Sftp) -> String {
    let with = match (&sftp.private_key, &sftp.password) {
        (Some(_), Some(_)) => "private key or password",
        (Some(_), None) => "private key",
        (None, Some(_)) => "password",
        (None, None) => "agent",
    };
    let (user, host) = (shown(&sftp.user), shown(&sftp.host));
    format!("{with} of {user} at {host}:{}", sftp.port)
}

/// The newest archive, its age, and what is in it; looked into also where something speaks against taking it.
pub async fn newest(
    chain: &mut Chain,
    job: &Job<'_>,
    (reached, opened): (Option<Reached>, &Opened),
) -> Option<Newest> {
    let Some(mut reached) = reached else {
        chain.skip(&["archive", "first MiB", "end record", "dump"], "listing");
        return None;
    };
    let wish = Wish::default();
    let candidate = choose::candidate(&reached.listing, job.restore, &wish);
    let archive = match candidate {
        Ok(archive) => archive,
        Err(failed) => {
            chain.failed("archive", &failed);
            chain.skip(&["first MiB", "end record", "dump"], "archive");
            return None;
        }
    };
    chain.take("archive", taken(job, &reached.listing, &archive), |()| {
        described_archive(&archive)
    });
    chain.warn(&noted(job));
    let read = read_first(job, &mut *reached.store, &archive).await;
    let has_password = opened.has(&job.restore.zip_password);
    let contents = contents(chain, job, read, has_password).await;
    reached.store.close().await;
    Some(Newest { archive, contents })
}

fn described_archive(archive: &Listed) -> String {
    let age = Timestamp::now().duration_since(archive.time());
    format!(
        "{} ({}, {} old)",
        shown(&archive.name),
        format_bytes(archive.bytes),
        format_duration(age.unsigned_abs())
    )
}

/// Whether a run would take it; what it would remark is noted.
fn taken(job: &Job<'_>, listing: &Listing, archive: &Listed) -> Outcome<()> {
    let earlier = job.earlier();
    let known = (&Wish::default(), &earlier);
    match choose::judge(archive, listing, job.restore, known, Timestamp::now())? {
        Choice::Take(remarks) => {
            for remark in remarks {
                job.run.notes.warn(remark);
            }
            Ok(())
        }
        Choice::NothingToDo(_) => Ok(()),
        Choice::NotYet(failed) | Choice::Never(failed) => Err(failed),
    }
}

/// What is in it, where it could be read and its password was found.
async fn contents(
    chain: &mut Chain,
    job: &Job<'_>,
    read: Outcome<(Archive, String)>,
    has_password: bool,
) -> Option<Contents> {
    let read = chain.take("first MiB", read, |(_, told)| told.clone());
    let needs = match (&read, has_password) {
        (None, _) => "first MiB",
        (_, false) => "secret",
        _ => "",
    };
    let Some((opened, _)) = read.filter(|_| has_password) else {
        chain.skip(&["end record", "dump"], needs);
        return None;
    };
    let (asked, run) = (Asked::of(job), job.run.clone());
    let read = tokio::task::spawn_blocking(move || {
        look_apart(SyncIoBridge::new(opened.file), opened.bytes, &asked, &run)
    });
    let read = read.await.judge(Verdict::Bug, "look into the archive");
    let inside = read.and_then(|looked| looked);
    let Some(dump) = chain.take("end record", inside, |_| "the archive is whole".to_owned()) else {
        chain.skip(&["dump"], "end record");
        return None;
    };
    chain.take("dump", dump, described_dump)
}

fn described_dump(contents: &Contents) -> String {
    let lines = contents.in_words();
    let words = lines.iter().map(|line| line.trim_start_matches("dump"));
    words.map(str::trim).collect::<Vec<_>>().join(", ")
}

/// Opens it, and reads what comes first.
async fn read_first(
    job: &Job<'_>,
    store: &mut dyn Store,
    archive: &Listed,
) -> Outcome<(Archive, String)> {
    let clock = Instant::now();
    let mut opened = store.open(&archive.name).await.map_err(Failed::from)?;
    let mut bytes = Vec::new();
    let wanted = opened.bytes.min(FIRST_BYTES);
    let mut first = (&mut opened.file).take(wanted);
    // The file has a deadline for silence; this is one for a trickle.
    let patience = job.config.network.timeout * 6;
    let read = timeout(patience, first.read_to_end(&mut bytes)).await;
    let read = read.map_err(|_| {
        let limit = format_duration(patience);
        let told = format!("{} did not come within {limit}", format_bytes(wanted));
        Failed::new(Verdict::Network, told).hint("look at the link to the store")
    })?;
    read.map_err(|error| Failed::from(StoreError::of_read(error)))?;
    let took = format_duration(clock.elapsed());
    Ok((opened, format!("{} read in {took}", format_bytes(wanted))))
}
