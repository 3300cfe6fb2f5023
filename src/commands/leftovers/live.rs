//! What is live since a run that died, or that nobody could be asked about: said by the next one.

use crate::commands::restore::login;
use crate::commands::{Job, Order};
use crate::database::swap::{self, Happened, Previous};
use crate::journal::{Created, Entries};
use crate::report::{Record, Step};
use crate::run::RunId;
use crate::verdict::{Outcome, Verdict};

/// What an exchange of names was begun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Swap,
    Undo,
}

impl Begun {
    /// Only an undo sets the live database aside under another name than the run's swap would, or is the whole command.
    pub fn of(command: &str, previous: &str, dead: &RunId, job: &Job<'_>) -> Self {
        if command == "undo" || previous != swap::previous_name(&job.database.name, dead) {
            Self::Undo
        } else {
            Self::Swap
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Undo => "undo",
        }
    }
}

/// Whether a swap that was cut short happened is asked of the catalog, by OID.
pub async fn swapped(
    job: &Job<'_>,
    dead: &RunId,
    begun: Begun,
    (live_oid, incoming_oid): (u32, u32),
) -> Outcome<()> {
    let session = login(job).maintenance().await?;
    let name = &job.database.name;
    let happened = swap::was_swapped(&session, live_oid, incoming_oid, name).await?;
    session.close().await;
    warn(
        job,
        dead.as_str(),
        begun,
        match happened {
            Happened::No if live_oid == 0 => "had not happened: there is still no live database",
            Happened::Unknown => "can't be judged any more: another database is live now",
            Happened::Yes => came(begun),
            Happened::No => stayed(begun),
        },
    );
    Ok(())
}

fn came(begun: Begun) -> &'static str {
    match begun {
        Begun::Undo => "had happened: the previous database is live again",
        Begun::Swap => "had happened: the new database is live",
    }
}

fn stayed(begun: Begun) -> &'static str {
    match begun {
        Begun::Undo => {
            "had not happened: what it was to take back is still live, and `backupctl undo` takes it back"
        }
        Begun::Swap => "had not happened: the old database is live",
    }
}

fn warn(job: &Job<'_>, dead: &str, begun: Begun, ended: &str) {
    job.run.notes.warn(format!(
        "the {} of `{}` that run {dead} had begun {ended}",
        begun.word(),
        job.database.name
    ));
}

/// What no journal tells: a run that died after its exchange of names, which the journal has forgotten by then.
pub async fn tell(job: &Job<'_>, order: Order, dead: &Record, found: &[Entries]) {
    if let Some(warning) = unjudged(dead) {
        return job.run.notes.warn(warning);
    }
    let step = dead.steps.iter().find(|step| step.verdict.is_none());
    let step = step.map(|step| step.step);
    let mut journals = found.iter().filter(|entries| entries.run == dead.run);
    let is_told = journals.any(|entries| entries.created.iter().any(Created::touches_live));
    let (Some(step @ (Step::Swap | Step::Undo)), false, true) = (step, is_told, order.database)
    else {
        return;
    };
    match set_aside(job, dead).await {
        Ok(Some(previous)) => after(job, dead, step, &previous),
        // It died before, or nothing was kept; then nothing proves what is live.
        Ok(None) => {}
        Err(failed) => job.run.notes.warn(format!(
            "what is live since run {} could not be asked: {}",
            dead.run,
            failed.message()
        )),
    }
}

/// What the dead run has set aside, if nobody has exchanged anything since.
async fn set_aside(job: &Job<'_>, dead: &Record) -> Outcome<Option<Previous>> {
    let session = login(job).maintenance().await?;
    let all = swap::previous_databases(&session, &job.database.name).await?;
    session.close().await;
    let newest = all.into_iter().next();
    Ok(newest.filter(|newest| newest.run == dead.run))
}

fn after(job: &Job<'_>, dead: &Record, step: Step, previous: &Previous) {
    let Some(run) = RunId::parse(&dead.run) else {
        return;
    };
    match (Begun::of(&dead.command, &previous.name, &run, job), step) {
        (Begun::Undo, _) => warn(job, &dead.run, Begun::Undo, came(Begun::Undo)),
        (Begun::Swap, Step::Undo) => warn(job, &dead.run, Begun::Undo, stayed(Begun::Undo)),
        (Begun::Swap, _) => {
            warn(job, &dead.run, Begun::Swap, came(Begun::Swap));
            if !job.restore.after_checks.is_empty() {
                job.run.notes.warn(format!(
                    "the `after_checks` of run {} never ran; `backupctl undo {}` goes back",
                    dead.run, dead.job
                ));
            }
        }
    }
}

/// A run that died between its swap and the end of `after_checks`, or before the way back that they call for, has left live
/// what is not judged, or judged to be bad.
fn unjudged(dead: &Record) -> Option<String> {
    let last = dead.steps.last()?;
    let swapped = dead
        .steps
        .iter()
        .any(|step| step.step == Step::Swap && step.verdict.is_some_and(Verdict::is_good));
    let how = match last.verdict {
        _ if !swapped || last.step != Step::Check => return None,
        None => "is live, and its `after_checks` never ended",
        Some(verdict) if verdict.is_good() => return None,
        Some(_) => "is live although one of its `after_checks` has failed",
    };
    Some(format!(
        "the new database of run {} {how}; `backupctl undo {}` goes back",
        dead.run, dead.job
    ))
}
