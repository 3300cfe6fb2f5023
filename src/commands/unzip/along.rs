//! Unpacking while the archive comes: when its last byte is here, the dump is ready.
//!
//! A failure of unpacking is told by whoever fetches, where it ends the download, and else by [`finish`].

use std::path::Path;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Unpacked;
use super::look::{Contents, contents as look_again, judged_here};
use super::place::{Place, Written, to_the_disk};
use crate::archive::Found;
use crate::commands::Job;
use crate::commands::fetch::{Arriving, Feed, Fetched, feed};
use crate::database::dump::Toc;
use crate::escape::shown;
use crate::report::{ArchiveFacts, DumpFacts};
use crate::run::Run;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// A dump on its way out of an archive on its way here.
#[derive(Debug)]
pub struct Unpacking {
    contents: Contents,
    what: String,
    work: JoinHandle<Outcome<(Place, Written)>>,
}

/// Starts to unpack what is put into the feed.
pub fn begin(contents: &Contents, archive: &str, job: &Job<'_>) -> Outcome<(Feed, Unpacking)> {
    let place = Place::take(contents.toc.header.format, job)?;
    let (found, run) = (contents.found.clone(), job.run.clone());
    let (feed, arriving) = feed(found.span());
    let arriving = arriving.beginning_at(found.starts());
    let work = move || unpack(&found, arriving, place, &run);
    let unpacking = Unpacking {
        contents: contents.clone(),
        what: format!("unpack `{}` while it comes", shown(archive)),
        work: tokio::task::spawn_blocking(work),
    };
    Ok((feed, unpacking))
}

fn unpack(
    found: &Found,
    arriving: Arriving,
    mut place: Place,
    run: &Run,
) -> Outcome<(Place, Written)> {
    let ended_well = arriving.ended_well();
    let mut inside = found.over(arriving).map_err(judged_here)?;
    let written = place.fill(&mut inside, |_| {}, || run.stop.is_cancelled())?;
    ended_well.store(true, Ordering::Release);
    Ok((place, written))
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
        work,
    } = unpacking;
    let (place, written) = work.await.judge(Verdict::Bug, &what)?.context(&what)?;
    if let Some(fetched) = fetched {
        let kept = look_again(&fetched.path, job).await?;
        let is_same = same(kept.found.is_same(&contents.found), &archive);
        if is_same.is_err() {
            // Its facts are those of another file: nobody is to find it.
            crate::commands::fetch::discard(fetched)?;
        }
        is_same?;
    }
    let toc = Toc::open(&place.part).context(&what)?;
    same(toc == contents.toc, &archive)?;
    place.publish()?;
    let bytes = written.bytes;
    job.run.notes.bytes(bytes);
    job.run.notes.message("unpacked while it was fetched");
    let dump = DumpFacts {
        bytes,
        ..contents.facts()
    };
    job.run.notes.dump(dump.clone());
    Ok(Unpacked {
        on_disk: OnDisk::soon(written, &place.path),
        path: place.path,
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

    fn soon(written: Written, path: &Path) -> Self {
        let (told, asked) = watch::channel(None);
        let what = to_the_disk(path);
        tokio::task::spawn_blocking(move || {
            let synced = written.sync().map_err(|error| format!("{what}: {error}"));
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
