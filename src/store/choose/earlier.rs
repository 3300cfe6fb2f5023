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
    /// The same, as far as nothing has come after it that may have made something else live.
    live: Option<(ArchiveFacts, Timestamp)>,
    /// Archives that became live, newest run first, and when.
    pub restored: Vec<(ArchiveFacts, Timestamp)>,
    /// Archives that an `undo` took back, and when.
    pub rejected: Vec<(ArchiveFacts, Timestamp)>,
}

/// Whether its archive is live since. A run that found nothing to do has loaded nothing, of what was only prepared the `swap`
/// that takes it is the record, and what was loaded to be looked at never goes live.
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
        && !record.is_apart()
        && record.steps.iter().any(has_loaded)
}

/// Whether something else than an archive that is known may be live since: a dump given as a file, a run that died or ended
/// `unclear` after it began to change live. One that died while it loaded counts, since with `method = "in-place"` that is live.
fn leaves_open(record: &Record) -> bool {
    let steps = |wanted: Step| record.steps.iter().filter(move |step| step.step == wanted);
    let is_good = |step: &StepRecord| step.verdict.is_some_and(Verdict::is_good);
    let may_have = |step: &StepRecord| {
        step.verdict
            .is_none_or(|verdict| verdict == Verdict::Unclear)
    };
    let mut changing = steps(Step::Restore)
        .chain(steps(Step::Swap))
        .chain(steps(Step::Undo));
    let (is_swapped, is_back) = (
        steps(Step::Swap).any(is_good),
        steps(Step::Undo).any(is_good),
    );
    let waits = record
        .database
        .as_ref()
        .is_some_and(|database| database.scratch.is_some());
    match record.verdict {
        _ if record.is_apart() => false,
        Some(Verdict::Unclear) => true,
        None => changing.next().is_some(),
        Some(_) if changing.any(may_have) => true,
        Some(verdict) if verdict.is_good() => {
            let has_loaded = is_swapped || steps(Step::Restore).any(is_good);
            record.archive.is_none() && (is_back || has_loaded && !waits)
        }
        Some(_) => is_swapped && !is_back,
    }
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
        let is_rejected =
            |archive: &ArchiveFacts| rejected.iter().any(|(other, _)| same(other, archive));
        let last_good = restored.iter().find(|(archive, _)| !is_rejected(archive));
        let live = history
            .iter()
            .take_while(|record| !leaves_open(record))
            .filter(|record| went_live(record))
            .map(facts)
            .find(|(archive, _)| !is_rejected(archive));
        Self {
            last_good: last_good.cloned(),
            live,
            restored,
            rejected,
        }
    }

    /// With what other jobs did to the same database: theirs is live where one has changed it since.
    #[must_use]
    pub fn beside(mut self, others: impl IntoIterator<Item = Record>) -> Self {
        let Some((_, at)) = &self.live else {
            return self;
        };
        let is_later = |record: &Record| record.ended.unwrap_or(record.started) > *at;
        let changed = |record: &Record| went_live(record) || leaves_open(record);
        if others
            .into_iter()
            .any(|record| is_later(&record) && changed(&record))
        {
            self.live = None;
        }
        self
    }

    /// When the archive was restored last, if that restore is what is live.
    pub(super) fn is_live_since(&self, archive: &Listed) -> Option<Timestamp> {
        let (facts, at) = self.live.as_ref()?;
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

/// Of the reports that began before `before`, newest first, those that no later run asks for: none of the `newest` ones, none
/// since the last good archive, not the last good drill, and none that has a say in whether an archive is rejected.
#[must_use]
pub fn superfluous(history: &[Record], before: Timestamp, newest: usize) -> Vec<&Record> {
    let last_good = Earlier::from_history(history).last_good;
    let is_older = |record: &Record| {
        record.started < before
            && last_good
                .as_ref()
                .is_none_or(|(_, at)| record.started < *at)
    };
    let is_undo = |record: &Record| took_back(record) || undo_step(record).is_some();
    let judged: Vec<&ArchiveFacts> = history
        .iter()
        .filter(|record| is_undo(record))
        .filter_map(|record| record.archive.as_ref())
        .collect();
    // Which `status` goes by, however long ago it was.
    let is_good_drill =
        |record: &&Record| record.is_drill() && record.verdict.is_some_and(Verdict::is_good);
    let last_drill = history.iter().find(is_good_drill).map(|record| &record.run);
    let has_a_say = |record: &Record| {
        let archive = record.archive.as_ref();
        is_undo(record)
            || Some(&record.run) == last_drill
            || archive.is_some_and(|archive| judged.iter().any(|other| same(archive, other)))
    };
    let old = history.iter().skip(newest);
    old.filter(|record| is_older(record) && !has_a_say(record))
        .collect()
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
pub(super) fn is(facts: &ArchiveFacts, archive: &Listed) -> bool {
    facts.name == archive.name
        && facts.bytes == archive.bytes
        && facts.modified == Some(archive.modified)
}

fn same(a: &ArchiveFacts, b: &ArchiveFacts) -> bool {
    a.name == b.name && a.bytes == b.bytes && a.modified == b.modified
}

#[cfg(test)]
#[path = "earlier_tests.rs"]
mod tests;
