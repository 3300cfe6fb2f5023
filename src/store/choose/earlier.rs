//! What earlier runs of a job did with archives, learnt from their reports.

use jiff::Timestamp;

use crate::report::{ArchiveFacts, Record, Step, StepRecord};
use crate::store::Listed;
use crate::verdict::Verdict;

/// What earlier runs did with archives.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// The last archive that became live and was not taken back, and when.
    pub last_good: Option<(ArchiveFacts, Timestamp)>,
    /// Archives that became live, newest run first, and when.
    pub restored: Vec<(ArchiveFacts, Timestamp)>,
    /// Archives that an `undo` took back, and when.
    pub rejected: Vec<(ArchiveFacts, Timestamp)>,
}

/// Whether its archive is live since. A run that found nothing to do has loaded nothing, and of what was only prepared the
/// `swap` that takes it is the record.
fn went_live(record: &Record) -> bool {
    let waits = record
        .database
        .as_ref()
        .is_some_and(|database| database.scratch.is_some());
    let has_loaded = |step: &StepRecord| {
        matches!(step.step, Step::Restore | Step::Swap)
            && step.verdict.is_some_and(Verdict::is_good)
    };
    record.verdict.is_some_and(Verdict::is_good)
        && record.archive.is_some()
        && matches!(record.command.as_str(), "run" | "restore" | "swap")
        && !waits
        && record.steps.iter().any(has_loaded)
}

impl Earlier {
    /// Learnt from the reports of a job, newest first.
    #[must_use]
    pub fn from_history(history: &[Record]) -> Self {
        let facts = |record: &Record| (record.archive.clone().unwrap_or_default(), record.started);
        let restored: Vec<_> = history
            .iter()
            .filter(|record| went_live(record))
            .map(facts)
            .collect();
        let undone: Vec<&str> = history
            .iter()
            .filter(|record| {
                undo_step(record)
                    .and_then(|step| step.verdict)
                    .is_some_and(Verdict::is_good)
            })
            .filter_map(|record| record.undoes.as_deref())
            .collect();
        let rejected: Vec<_> = history
            .iter()
            .filter(|record| took_back(record) && !undone.contains(&record.run.as_str()))
            .map(facts)
            .filter(|(archive, at)| {
                !restored
                    .iter()
                    .any(|(other, later)| same(other, archive) && later > at)
            })
            .collect();
        let is_rejected = |archive| rejected.iter().any(|(other, _)| same(other, archive));
        let last_good = restored.iter().find(|(archive, _)| !is_rejected(archive));
        Self {
            last_good: last_good.cloned(),
            restored,
            rejected,
        }
    }

    /// When the archive was restored last, if that restore is what is live.
    pub(super) fn is_live_since(&self, archive: &Listed) -> Option<Timestamp> {
        let (facts, at) = self.last_good.as_ref()?;
        is(facts, archive).then_some(*at)
    }

    /// When the archive was last restored, whatever came after it.
    pub(super) fn restored_on(&self, archive: &Listed) -> Option<Timestamp> {
        let found = self.restored.iter().find(|(facts, _)| is(facts, archive));
        found.map(|(_, at)| *at)
    }

    pub(super) fn rejected_on(&self, archive: &Listed) -> Option<Timestamp> {
        let found = self.rejected.iter().find(|(facts, _)| is(facts, archive));
        found.map(|(_, at)| *at)
    }
}

fn undo_step(record: &Record) -> Option<&StepRecord> {
    record.steps.iter().find(|step| step.step == Step::Undo)
}

/// Whether an `undo` has taken its archive back, or may have: one that died or ended `unclear` after it began counts, since
/// a run that takes a bad archive again is worse than one that asks.
fn took_back(record: &Record) -> bool {
    let may_have = |step: &StepRecord| {
        let has_or_may = |verdict: Verdict| verdict.is_good() || verdict == Verdict::Unclear;
        step.verdict.is_none_or(has_or_may)
    };
    // A run that wanted to go back by itself has found its archive bad, whatever became of the way back.
    let may_have = |step: &StepRecord| record.command != "undo" || may_have(step);
    record.undoes.is_none()
        && record.archive.is_some()
        && (undo_step(record).is_some_and(may_have) || died_before_going_back(record))
}

/// Between a check of what was live that failed, and the way back by itself.
fn died_before_going_back(record: &Record) -> bool {
    let has_swapped =
        |step: &StepRecord| step.step == Step::Swap && step.verdict.is_some_and(Verdict::is_good);
    let has_failed = |step: &StepRecord| {
        step.step == Step::Check && step.verdict.is_some_and(|verdict| !verdict.is_good())
    };
    let mut after_swap = record.steps.iter().skip_while(|step| !has_swapped(step));
    record.verdict.is_none() && after_swap.any(has_failed)
}

/// The same file as far as a listing can tell: a constant name that is overwritten each night is another file each night.
fn is(facts: &ArchiveFacts, archive: &Listed) -> bool {
    facts.name == archive.name
        && facts.bytes == archive.bytes
        && facts.modified == Some(archive.modified)
}

fn same(a: &ArchiveFacts, b: &ArchiveFacts) -> bool {
    a.name == b.name && a.bytes == b.bytes && a.modified == b.modified
}
