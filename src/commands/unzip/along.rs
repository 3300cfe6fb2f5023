//! Unpacking while the archive comes: when its last byte is here, the dump is ready.
//!
//! A failure of unpacking is told by whoever fetches, where it ends the download, and else by [`finish`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::look::{Contents, contents as look_again, judged_here};
use super::writer::Writer;
use super::{Place, Unpacked};
use crate::archive::Found;
use crate::commands::Job;
use crate::commands::fetch::{Arriving, Feed, Fetched, feed};
use crate::database::dump::Toc;
use crate::durable;
use crate::escape::shown;
use crate::report::{ArchiveFacts, DumpFacts};
use crate::run::Run;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// A dump on its way out of an archive on its way here.
#[derive(Debug)]
pub struct Unpacking {
    contents: Contents,
    what: String,
    part: PathBuf,
    path: PathBuf,
    work: JoinHandle<Outcome<(u64, File)>>,
}

/// Starts to unpack what is put into the feed.
pub fn begin(contents: &Contents, archive: &str, job: &Job<'_>) -> Outcome<(Feed, Unpacking)> {
    let Place { part, path, out } = Place::take(job)?;
    let (feed, arriving) = feed(contents.found.span());
    let (found, run) = (contents.found.clone(), job.run.clone());
    let what = format!("write {}", part.display());
    let out = Writer::start(out).judge(Verdict::Local, &what)?;
    let work = move || {
        let (bytes, out) = unpack(&found, arriving, out, &run)?;
        let out = out.finish().judge(Verdict::Local, &what)?;
        Ok((bytes, out))
    };
    let unpacking = Unpacking {
        contents: contents.clone(),
        what: format!("unpack `{}` while it comes", shown(archive)),
        part,
        path,
        work: tokio::task::spawn_blocking(work),
    };
    Ok((feed, unpacking))
}

fn unpack(found: &Found, arriving: Arriving, mut out: Writer, run: &Run) -> Outcome<(u64, Writer)> {
    let ended_well = arriving.ended_well();
    let mut inside = found.over(arriving).map_err(judged_here)?;
    let unpacked = inside.unpack(&mut out, |_| {}, || run.stop.is_cancelled());
    let bytes = unpacked.map_err(judged_here)?;
    ended_well.store(true, Ordering::Release);
    Ok((bytes, out))
}

impl Unpacking {
    /// Why it ended before its archive did.
    pub async fn failure(self) -> Failed {
        let ended = self.work.await.judge(Verdict::Bug, &self.what);
        match ended.and_then(|outcome| outcome.context(&self.what)) {
            Err(failed) => failed,
            Ok(_) => Failed::new(
                Verdict::Bug,
                format!("{}: it was given up without a reason", self.what),
            ),
        }
    }
}

/// Waits until the dump is whole, proves that it came out of the archive that was looked into, and gives it its name.
/// `fetched`: the archive, where it is kept.
pub async fn finish(
    unpacking: Unpacking,
    archive: ArchiveFacts,
    fetched: Option<&Fetched>,
    job: &Job<'_>,
) -> Outcome<Unpacked> {
    let Unpacking {
        contents,
        what,
        part,
        path,
        work,
    } = unpacking;
    let (bytes, out) = work.await.judge(Verdict::Bug, &what)?.context(&what)?;
    if let Some(fetched) = fetched {
        let kept = look_again(&fetched.path, job).await?;
        let is_same = same(kept.found.is_same(&contents.found), &archive);
        if is_same.is_err() {
            // Its facts are those of another file: nobody is to find it.
            crate::commands::fetch::discard(fetched)?;
        }
        is_same?;
    }
    let toc = Toc::open(&part).context(&what)?;
    same(toc == contents.toc, &archive)?;
    durable::publish(&part, &path).judge(Verdict::Local, format!("write {}", path.display()))?;
    job.run.notes.bytes(bytes);
    job.run.notes.message("unpacked while it was fetched");
    let dump = DumpFacts {
        bytes,
        ..contents.facts()
    };
    job.run.notes.dump(dump.clone());
    Ok(Unpacked {
        on_disk: OnDisk::soon(out, &path),
        path,
        toc,
        archive: Some(archive),
        dump,
    })
}

fn same(is_same: bool, archive: &ArchiveFacts) -> Outcome<()> {
    if is_same {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Stale,
        format!(
            "take `{}`: what came is not what was looked into before",
            shown(&archive.name)
        ),
    )
    .hint("it was replaced meanwhile: let the upload end before this job starts, or lengthen `settle`"))
}

/// Whether a dump's bytes have reached the disk: what reads it meanwhile reads them from memory.
#[derive(Debug, Clone)]
pub struct OnDisk(Option<watch::Receiver<Option<Result<(), String>>>>);

impl OnDisk {
    pub fn already() -> Self {
        Self(None)
    }

    fn soon(file: File, path: &Path) -> Self {
        let (told, asked) = watch::channel(None);
        let what = format!("write {} to the disk", path.display());
        tokio::task::spawn_blocking(move || {
            let synced = file.sync_all().map_err(|error| format!("{what}: {error}"));
            // Nobody may be left who asks: then the run has failed otherwise.
            let _ = told.send(Some(synced));
        });
        Self(Some(asked))
    }

    /// Before anything that was read from the dump goes live: what can't be written could be read back as other bytes.
    pub async fn wait(&self) -> Outcome<()> {
        let Some(mut asked) = self.0.clone() else {
            return Ok(());
        };
        let synced = asked.wait_for(Option::is_some).await;
        let synced = synced.judge(Verdict::Bug, "write the dump to the disk")?;
        match &*synced {
            Some(Err(why)) => Err(Failed::new(Verdict::Local, why)
                .hint("look at the disk under `state_dir`, and at the kernel's log")),
            _ => Ok(()),
        }
    }
}
