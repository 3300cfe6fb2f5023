//! Looking for the archive, and `wait_for`: looking again until there is a fresh and settled one.
//!
//! Each look connects anew, so that no connection has to outlive a night; within a look the network's own patience counts.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Chosen, describe_archive, facts_of, listed, patiently, peek, settled};
use crate::cli::{Accept, Which};
use crate::commands::Job;
use crate::commands::unzip::Contents;
use crate::config::format_duration;
use crate::report::ArchiveFacts;
use crate::store::choose::{self, Choice, Purpose, Wish};
use crate::store::{File, Listed, Store};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// Between two looks, at most; the first ones come sooner where `wait_for` is short.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// Which archive is looked for, and what for.
pub struct Wanted<'a> {
    pub which: &'a Which,
    pub purpose: Purpose,
    /// What waits for `swap` already, and since when; see [`Wish`].
    pub waiting: Option<(ArchiveFacts, Timestamp)>,
}

impl<'a> Wanted<'a> {
    /// To have it here.
    pub fn here(which: &'a Which) -> Self {
        Self {
            which,
            purpose: Purpose::Fetch,
            waiting: None,
        }
    }

    fn wish(&self) -> Wish {
        Wish {
            archive: self.which.archive.clone(),
            accept_stale: self.which.accept.contains(&Accept::Stale),
            accept_rejected: self.which.accept.contains(&Accept::Rejected),
            purpose: self.purpose,
            waiting: self.waiting.clone(),
        }
    }
}

/// What a look at the store has found.
pub enum Looked {
    Found(Found),
    /// `stale`, but what is missing may come.
    NotYet(Failed),
}

/// What there is to do.
pub enum Found {
    Chosen(Box<Chosen>),
    /// The newest archive is what is live or waits for that, and the job wants nothing done then; in words.
    Unchanged(Listed, String),
}

impl Looked {
    /// Whether the job waits for something better. One that a run has restored before is not fresh.
    pub fn is_waited_for(&self, job: &Job<'_>) -> bool {
        let is_fresh = matches!(self, Self::Found(Found::Chosen(_)));
        !is_fresh && !job.restore.wait_for.is_zero()
    }

    /// As it stands.
    ///
    /// # Errors
    /// `stale`.
    pub fn found(self) -> Outcome<Found> {
        match self {
            Self::Found(found) => Ok(found),
            Self::NotYet(failed) => Err(failed),
        }
    }

    /// What keeps it from being taken.
    fn why(&self) -> String {
        match self {
            Self::NotYet(failed) => failed.message(),
            Self::Found(Found::Unchanged(_, why)) => why.clone(),
            Self::Found(Found::Chosen(_)) => String::new(),
        }
    }
}

impl Found {
    /// The lines of a dry run's plan.
    pub fn describe(&self) -> Vec<String> {
        match self {
            Self::Chosen(chosen) => super::describe(chosen),
            Self::Unchanged(archive, why) => {
                vec![describe_archive(archive), format!("unchanged {why}")]
            }
        }
    }
}

/// Looks once: finds the archive to take and looks into it over the wire.
pub async fn look(job: &Job<'_>, wanted: &Wanted<'_>) -> Outcome<Looked> {
    patiently(job, async || look_for(job, wanted).await).await
}

/// As a dry run looks, which waits for nothing.
pub async fn look_ahead(job: &Job<'_>, wanted: &Wanted<'_>) -> Outcome<Found> {
    let looked = look(job, wanted).await?;
    let would_wait = looked.is_waited_for(job).then(|| {
        format!(
            "the real one would wait up to {} for a fresh one (`wait_for`)",
            format_duration(job.restore.wait_for)
        )
    });
    looked.found().map_err(|failed| Failed {
        hint: would_wait.or(failed.hint),
        ..failed
    })
}

/// Looks again and again for `wait_for`. `first` is what was found so far.
///
/// # Errors
/// `stale` when the time is over; at once whatever waiting can't mend.
pub async fn wait(job: &Job<'_>, wanted: &Wanted<'_>, first: Looked) -> Outcome<Found> {
    if !first.is_waited_for(job) {
        return first.found();
    }
    let (clock, wait_for) = (Instant::now(), job.restore.wait_for);
    let mut looked = first;
    let mut pause = (wait_for / 60).clamp(SHORTEST_PAUSE, LONGEST_PAUSE / 6);
    tracing::info!(
        "waiting up to {} for a fresh archive: {}",
        format_duration(wait_for),
        looked.why()
    );
    let reason = looked.why();
    let waited = || {
        format!(
            "waited {} for a fresh archive",
            format_duration(clock.elapsed())
        )
    };
    while looked.is_waited_for(job) && clock.elapsed() < wait_for {
        let left = wait_for.saturating_sub(clock.elapsed());
        job.run.progress.note(&format!(
            "waiting up to {} more for a fresh archive: {}",
            format_duration(left),
            looked.why()
        ));
        tokio::time::sleep(pause.min(left)).await;
        pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
        looked = look(job, wanted).await.context(waited())?;
    }
    let found = looked.found().context(waited())?;
    job.run
        .notes
        .warn(format!("{}; at first: {reason}", waited()));
    Ok(found)
}

/// Finds the archive to take and looks into it over the wire: end record, directory, gate, the dump's table of contents.
async fn look_for(job: &Job<'_>, wanted: &Wanted<'_>) -> Outcome<Looked> {
    let (mut store, listing) = listed(job).await?;
    let wish = wanted.wish();
    let looking = format!("look for an archive in {}", store.location());
    let archive = match choose::candidate(&listing, job.restore, &wish) {
        Ok(archive) => archive,
        // A name that the operator has typed is there, or will not come.
        Err(failed) if failed.verdict == Verdict::Stale && wish.archive.is_none() => {
            return Ok(Looked::NotYet(failed.context(looking)));
        }
        Err(failed) => return Err(failed.context(looking)),
    };
    job.run.notes.archive(facts_of(&archive, None));
    let earlier = job.earlier();
    let known = (&wish, &earlier);
    let warnings = match choose::judge(&archive, &listing, job.restore, known, Timestamp::now())? {
        Choice::Take(warnings) => warnings,
        Choice::NothingToDo(why) => return Ok(Looked::Found(Found::Unchanged(archive, why))),
        Choice::NotYet(failed) => return Ok(Looked::NotYet(failed.context(looking))),
        Choice::Never(failed) => return Err(failed.context(looking)),
    };
    let (contents, file) = match whole(job, &mut *store, &archive).await {
        Err(failed) if failed.verdict == Verdict::Stale => return Ok(Looked::NotYet(failed)),
        other => {
            for warning in warnings {
                job.run.notes.warn(warning);
            }
            other?
        }
    };
    job.run.notes.dump(contents.facts());
    Ok(Looked::Found(Found::Chosen(Box::new(Chosen {
        store,
        file,
        archive,
        contents,
    }))))
}

/// Settled, and with its end record and everything before it.
async fn whole(
    job: &Job<'_>,
    store: &mut dyn Store,
    archive: &Listed,
) -> Outcome<(Contents, Box<dyn File>)> {
    let opened = settled(job, store, archive).await?;
    peek(job, opened, archive).await
}
