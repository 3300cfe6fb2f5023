//! How a run ended, in one sentence: what happened, and what is live now.
//!
//! What is live is told by the steps that could change it, not by the verdict alone: a failure after the swap must not
//! read as if nothing had changed.

use jiff::Timestamp;

use super::drill;
use super::escaped_lines;
use super::layout::{age_text, minute};
use crate::escape::escaped;
use crate::report::{Record, Step, StepRecord};
use crate::verdict::Verdict;

/// What is live now, by the steps that could change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    Unchanged,
    New,
    /// As before a swap: undone.
    Back,
    Unknown,
}

pub(super) fn live(record: &Record) -> Live {
    if record.is_drill() {
        return Live::Unchanged;
    }
    if record.verdict == Some(Verdict::Unclear) {
        return Live::Unknown;
    }
    let changed = record
        .steps
        .iter()
        .rev()
        .find_map(|step| match (step.step, step.verdict) {
            (Step::Swap, Some(verdict)) if verdict.is_good() => Some(Live::New),
            (Step::Undo, Some(verdict)) if verdict.is_good() => Some(Live::Back),
            (Step::Swap | Step::Undo, None | Some(Verdict::Unclear)) => Some(Live::Unknown),
            _ => None,
        });
    // In place there is no swap: a restore that ended well is live.
    let is_loaded = || {
        record
            .steps
            .iter()
            .any(|step| step.step == Step::Restore && is_done(step))
    };
    let is_held = || record.steps.iter().any(|step| step.step == Step::Hold);
    match changed {
        Some(live) => live,
        None if is_held() => Live::Unchanged,
        None if record.verdict.is_some_and(Verdict::is_good) && is_loaded() => Live::New,
        None => Live::Unchanged,
    }
}

pub(super) fn is_done(step: &StepRecord) -> bool {
    step.verdict.is_some_and(Verdict::is_good)
}

/// The first sentence: what happened, and what is live now.
pub(super) fn outcome(record: &Record) -> String {
    if record.is_drill() {
        return of_drill(record);
    }
    let live = live(record);
    let subject = whose(record);
    match (record.verdict, &record.message) {
        (Some(Verdict::Done), Some(message)) => escaped_lines(message),
        (Some(Verdict::Done), None) => match live {
            Live::Unchanged if waiting(record).is_some() => {
                format!("{}.", waiting(record).unwrap_or_default())
            }
            Live::Unchanged => format!(
                "`{}` of job {} is done.",
                escaped(&record.command),
                escaped(&record.job)
            ),
            _ => format!("{}.", state(record, live)),
        },
        (Some(Verdict::Attention), _) if live == Live::Unchanged && waiting(record).is_some() => {
            let waits = waiting(record).unwrap_or_default();
            format!("{waits}, but a duty is left to you.")
        }
        (Some(Verdict::Attention), _) => {
            format!("{}, but a duty is left to you.", state(record, live))
        }
        (Some(Verdict::Unclear), _) => {
            format!("Look now: {subject} may have changed, or could not be asked.")
        }
        (Some(verdict), _) => format!("{}; {}.", cause(record, verdict), state(record, live)),
        (None, _) => format!(
            "The run has not ended, or died, in step {}; {}.",
            last_step(record),
            state(record, live)
        ),
    }
}

/// Of a drill it is said first that it was one.
fn of_drill(record: &Record) -> String {
    match record.verdict {
        Some(verdict) if verdict.is_good() => {
            let duty = match verdict {
                Verdict::Attention => ", but a duty is left to you",
                _ => "",
            };
            format!("Drill: {} {}{duty}.", backup(record), drill::proven(record))
        }
        Some(verdict) => {
            let cause = match (verdict, last_undone(record)) {
                (Verdict::Failed, Some(Step::Check)) => {
                    "A check of the restored data did not hold".to_owned()
                }
                _ => cause(record, verdict),
            };
            format!("Drill: {cause}; the live database was not touched.")
        }
        None => format!(
            "Drill: it has not ended, or died, in step {}; the live database was not touched.",
            last_step(record)
        ),
    }
}

fn last_undone(record: &Record) -> Option<Step> {
    let mut steps = record.steps.iter().rev();
    steps.find(|step| !is_done(step)).map(|step| step.step)
}

/// What was restored and is not live yet, by the command that takes it live.
fn waiting(record: &Record) -> Option<String> {
    record.database.as_ref()?.scratch.as_ref()?;
    Some(format!(
        "{} is restored and checked, and waits for `backupctl swap {}`; {} is unchanged",
        sentence_start(&backup(record)),
        escaped(&record.job),
        whose(record)
    ))
}

fn sentence_start(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

fn state(record: &Record, live: Live) -> String {
    let subject = whose(record);
    match live {
        Live::Unchanged if record.verdict == Some(Verdict::Failed) => {
            format!("{subject} is proven unchanged")
        }
        Live::Unchanged => format!("{subject} is unchanged"),
        Live::New => format!("{subject} is now {}", backup(record)),
        Live::Back => format!("{subject} is again {}", before(record)),
        Live::Unknown => format!("look now: {subject} may have changed"),
    }
}

fn cause(record: &Record, verdict: Verdict) -> String {
    let text = match verdict {
        Verdict::Failed => match last_undone(record) {
            Some(Step::Check) => "A check of the new data did not hold",
            Some(Step::Swap) => "The swap failed",
            Some(Step::Undo) => "The way back failed",
            _ => "The restore failed",
        },
        Verdict::Stale if record.command == "swap" => "There is nothing that could go live",
        Verdict::Stale => "There is no fresh backup",
        Verdict::Damaged => "The backup is damaged, or not what it should be",
        Verdict::Network => "A server could not be reached, or the connection was lost",
        Verdict::Refused => "A server did not accept us, or we did not accept it",
        Verdict::Config => "Something is missing or wrongly set up",
        Verdict::Local => {
            return format!(
                "{} could not do its part (disk, memory or files)",
                escaped(&record.host)
            );
        }
        Verdict::Locked => "Another run of this job is active",
        Verdict::Usage => "The command line was wrong",
        Verdict::Interrupted(_) if record.exit_code == Some(143) => "The run was ended by SIGTERM",
        Verdict::Interrupted(_) => "The run was ended by SIGINT",
        Verdict::Bug | Verdict::Done | Verdict::Attention | Verdict::Unclear => {
            "backupctl itself failed"
        }
    };
    text.to_owned()
}

/// `erp on db.example.org`: the live database, also where another one was loaded beside it.
fn whose(record: &Record) -> String {
    match &record.database {
        Some(database) if !database.name.is_empty() => {
            let is_socket = database.host.is_empty() || database.host.starts_with('/');
            let host = if is_socket {
                &record.host
            } else {
                &database.host
            };
            let live = database.beside.as_ref().unwrap_or(&database.name);
            format!("{} on {}", escaped(live), escaped(host))
        }
        _ => format!("the live database of job {}", escaped(&record.job)),
    }
}

/// What an undo has brought back.
fn before(record: &Record) -> String {
    match (&record.archive, &record.undoes) {
        (Some(_), Some(_)) => backup(record),
        (None, Some(_)) => "what it was before the undo".to_owned(),
        (Some(archive), None) => format!("what it was before `{}`", escaped(&archive.name)),
        (None, None) => "what it was before the swap".to_owned(),
    }
}

/// What an undo means for the next runs.
pub(super) fn consequence(record: &Record) -> Option<String> {
    let name = escaped(&record.archive.as_ref()?.name);
    (live(record) == Live::Back && record.undoes.is_none()).then(|| {
        format!("No run takes `{name}` by itself any more; a newer archive is taken as usual.")
    })
}

/// `the backup of 2026-11-20 02:00 UTC (6 h old)`.
fn backup(record: &Record) -> String {
    let Some(archive) = &record.archive else {
        return record
            .dump
            .as_ref()
            .map_or("a new one".to_owned(), |dump| escaped(&dump.name));
    };
    match archive.dated.or(archive.modified) {
        Some(time) => format!(
            "the backup of {} ({})",
            minute(time),
            age_text(time, end_of(record))
        ),
        None => format!("the backup `{}`", escaped(&archive.name)),
    }
}

pub(super) fn end_of(record: &Record) -> Timestamp {
    record.ended.unwrap_or(record.started)
}

fn last_step(record: &Record) -> String {
    record
        .steps
        .last()
        .map_or("start".to_owned(), |step| step.step.to_string())
}
