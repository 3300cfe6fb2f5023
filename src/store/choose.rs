//! Which archive is taken, and why another one is not. Pure: it judges a listing, and asks nobody.

use std::time::Duration;

use globset::{Glob, GlobMatcher};
use jiff::Timestamp;

use super::{Listed, Listing};
use crate::config::{MinSize, Restore, format_bytes, format_duration};
use crate::escape::shown;
use crate::report::{ArchiveFacts, Record, Step, StepRecord};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// How far a store's clock may run ahead of ours before it is worth a word.
const SKEW: Duration = Duration::from_mins(5);
const NEAR_MISSES: usize = 5;

/// What the operator asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// By name instead of the newest.
    pub archive: Option<String>,
    pub accept_stale: bool,
    pub accept_rejected: bool,
}

/// What earlier runs did with archives.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// Size of the last archive that became live.
    pub last_good_bytes: Option<u64>,
    /// Archives that became live, newest run first, and when.
    pub restored: Vec<(ArchiveFacts, Timestamp)>,
    /// Archives that an `undo` took back, and when.
    pub rejected: Vec<(ArchiveFacts, Timestamp)>,
}

impl Earlier {
    /// Learnt from the reports of a job, newest first.
    #[must_use]
    pub fn from_history(history: &[Record]) -> Self {
        let good = |record: &&Record| {
            record.verdict.is_some_and(Verdict::is_good) && record.archive.is_some()
        };
        let facts = |record: &Record| (record.archive.clone().unwrap_or_default(), record.started);
        let restored: Vec<_> = history
            .iter()
            .filter(good)
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
        let last_good = restored
            .iter()
            .find(|(archive, _)| !rejected.iter().any(|(other, _)| same(other, archive)));
        Self {
            last_good_bytes: last_good.map(|(archive, _)| archive.bytes),
            restored,
            rejected,
        }
    }
}

/// What was only prepared is no archive that became live; the `swap` that takes it is its record.
fn went_live(record: &Record) -> bool {
    let waits = record
        .database
        .as_ref()
        .is_some_and(|database| database.scratch.is_some());
    ["run", "restore", "swap"].contains(&record.command.as_str()) && !waits
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
    record.undoes.is_none() && record.archive.is_some() && undo_step(record).is_some_and(may_have)
}

/// The archive that would be taken if nothing speaks against it: the newest matching one, or the named one.
///
/// # Errors
/// `stale`: nothing matches; the near misses are named.
pub fn candidate(listing: &Listing, restore: &Restore, wish: &Wish) -> Outcome<Listed> {
    match &wish.archive {
        Some(name) => named(listing, name),
        None => newest(listing, restore),
    }
}

/// Whether the candidate is taken. An older one is never taken in its place. Returns what the operator should know about it.
///
/// # Errors
/// `stale`: it is too old, too small, empty or rejected, and that was not overruled.
pub fn judge(
    archive: &Listed,
    listing: &Listing,
    restore: &Restore,
    (wish, earlier): (&Wish, &Earlier),
    now: Timestamp,
) -> Outcome<Vec<String>> {
    let mut warnings = Vec::new();
    for objection in objections(archive, restore, earlier, now) {
        // A named archive is older than the newest by intention.
        let overruled = match objection.kind {
            Ground::Rejected => wish.accept_rejected,
            Ground::Age => wish.accept_stale || wish.archive.is_some(),
            Ground::Size => wish.accept_stale,
        };
        if !overruled {
            return Err(objection.failed(archive));
        }
        warnings.push(format!("taken although {}", objection.text));
    }
    warnings.extend(remarks(archive, listing, restore, earlier, now));
    Ok(warnings)
}

/// Every matching archive, newest first, with what speaks against it.
///
/// # Errors
/// `config`: the pattern is no glob.
pub fn judged(
    listing: &Listing,
    restore: &Restore,
    earlier: &Earlier,
    now: Timestamp,
) -> Outcome<Vec<(Listed, Option<String>)>> {
    let list = matching(listing, restore)?.into_iter().map(|archive| {
        let against: Vec<String> = objections(archive, restore, earlier, now)
            .into_iter()
            .map(|o| o.text)
            .collect();
        (
            archive.clone(),
            (!against.is_empty()).then(|| against.join("; ")),
        )
    });
    Ok(list.collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    Age,
    Size,
    Rejected,
}

#[derive(Debug)]
struct Objection {
    kind: Ground,
    text: String,
    hint: &'static str,
}

impl Objection {
    fn failed(self, archive: &Listed) -> Failed {
        Failed::new(
            Verdict::Stale,
            format!("take `{}`: {}", shown(&archive.name), self.text),
        )
        .hint(self.hint)
    }
}

fn objections(
    archive: &Listed,
    restore: &Restore,
    earlier: &Earlier,
    now: Timestamp,
) -> Vec<Objection> {
    let mut found = Vec::new();
    let age = age(archive, now);
    if let Some(limit) = restore.max_age.filter(|limit| age > *limit) {
        let text = format!(
            "it is {} old, `max_age` is {}",
            format_duration(age),
            format_duration(limit)
        );
        let hint = "ask whoever makes the backup why there is no newer one, or take it knowingly with `--accept stale`";
        found.push(Objection {
            kind: Ground::Age,
            text,
            hint,
        });
    }
    let (least, why) = least_bytes(restore, earlier);
    if archive.bytes < least.max(1) {
        let text = format!("it has {}, {why}", format_bytes(archive.bytes));
        let hint = "a shrunken backup usually lacks something; look into it, or take it knowingly with `--accept stale`";
        found.push(Objection {
            kind: Ground::Size,
            text,
            hint,
        });
    }
    if let Some((_, at)) = earlier
        .rejected
        .iter()
        .find(|(facts, _)| is(facts, archive))
    {
        let text = format!("rejected by undo on {}", day_and_time(*at));
        let hint =
            "a newer archive will be taken by itself; this one only with `--accept rejected`";
        found.push(Objection {
            kind: Ground::Rejected,
            text,
            hint,
        });
    }
    found
}

fn least_bytes(restore: &Restore, earlier: &Earlier) -> (u64, String) {
    match (restore.min_size, earlier.last_good_bytes) {
        (MinSize::Bytes(bytes), _) => (bytes, format!("`min_size` is {}", format_bytes(bytes))),
        (MinSize::Share(share), Some(last)) => {
            let least = share_of(last, share);
            (
                least,
                format!(
                    "less than `min_size` of the last good one's {}",
                    format_bytes(last)
                ),
            )
        }
        (MinSize::Share(_), None) => (1, "an empty file is no archive".to_owned()),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a size is not exact to the byte"
)]
fn share_of(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}

fn remarks(
    archive: &Listed,
    listing: &Listing,
    restore: &Restore,
    earlier: &Earlier,
    now: Timestamp,
) -> Vec<String> {
    let mut remarks = Vec::new();
    let name = shown(&archive.name);
    if let Some((_, at)) = earlier
        .restored
        .iter()
        .find(|(facts, _)| is(facts, archive))
    {
        remarks.push(format!(
            "`{name}` was already restored on {}; it is restored again",
            day_and_time(*at)
        ));
    }
    let ahead = archive.modified.duration_since(now);
    if ahead > SKEW.try_into().unwrap_or_default() {
        let ahead = format_duration(ahead.unsigned_abs());
        remarks.push(format!(
            "`{name}` is dated {ahead} in the future: this machine's clock and the store's differ"
        ));
    }
    let twins = matching(listing, restore).unwrap_or_default();
    let twins = twins
        .iter()
        .filter(|other| other.modified == archive.modified && other.name != archive.name)
        .count();
    if twins > 0 {
        remarks.push(format!(
            "{} archives have the same modification time; `{name}` is the last by name",
            twins + 1
        ));
    }
    remarks
}

fn named(listing: &Listing, name: &str) -> Outcome<Listed> {
    let found = listing.archives.iter().find(|archive| archive.name == name);
    found.cloned().ok_or_else(|| {
        let names = listing.archives.iter().map(|archive| archive.name.as_str());
        let near = crate::config::nearest(name, names)
            .map_or_else(String::new, |near| format!("; is it `{}`?", shown(near)));
        Failed::new(
            Verdict::Stale,
            format!("find the archive `{}`{near}", shown(name)),
        )
        .hint("`backupctl list` shows what is there")
    })
}

fn newest(listing: &Listing, restore: &Restore) -> Outcome<Listed> {
    matching(listing, restore)?
        .first()
        .map(|archive| (*archive).clone())
        .ok_or_else(|| nothing_matches(listing, restore))
}

/// Newest first; where times are equal, the last name first, so that the choice never depends on the server's order.
fn matching<'a>(listing: &'a Listing, restore: &Restore) -> Outcome<Vec<&'a Listed>> {
    let glob = glob(&restore.pattern)?;
    let mut found: Vec<&Listed> = listing
        .archives
        .iter()
        .filter(|archive| glob.is_match(&archive.name))
        .collect();
    found.sort_by(|a, b| {
        b.modified
            .cmp(&a.modified)
            .then_with(|| b.name.cmp(&a.name))
    });
    Ok(found)
}

fn glob(pattern: &str) -> Outcome<GlobMatcher> {
    Glob::new(pattern)
        .map(|glob| glob.compile_matcher())
        .judge(Verdict::Config, format!("read the pattern `{pattern}`"))
}

fn nothing_matches(listing: &Listing, restore: &Restore) -> Failed {
    let pattern = &restore.pattern;
    let message = format!(
        "find an archive that matches `{pattern}`: {}",
        near_misses(listing, restore)
    );
    Failed::new(Verdict::Stale, message).hint(format!(
        "check `restores.{}.pattern` and the store's `path`, and whether the backup was made at all",
        restore.name
    ))
}

fn near_misses(listing: &Listing, restore: &Restore) -> String {
    let seen = listing.archives.len() + listing.passed_over_count;
    if seen == 0 {
        return "the directory is empty".to_owned();
    }
    let mut misses: Vec<&Listed> = listing.archives.iter().collect();
    let stem: String = restore
        .pattern
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .collect::<String>()
        .to_lowercase();
    misses.sort_by_key(|miss| {
        (
            !miss.name.to_lowercase().starts_with(&stem),
            std::cmp::Reverse(miss.modified),
        )
    });
    let mut shown_misses: Vec<String> = misses
        .iter()
        .take(NEAR_MISSES)
        .map(|miss| {
            format!(
                "`{}` ({}, {})",
                shown(&miss.name),
                format_bytes(miss.bytes),
                day_and_time(miss.modified)
            )
        })
        .collect();
    let left = NEAR_MISSES.saturating_sub(shown_misses.len());
    shown_misses.extend(
        listing
            .passed_over
            .iter()
            .take(left)
            .map(|miss| format!("`{}` ({})", miss.name_shown, miss.why)),
    );
    format!(
        "{seen} other {} there: {}",
        if seen == 1 { "entry is" } else { "entries are" },
        shown_misses.join(", ")
    )
}

fn age(archive: &Listed, now: Timestamp) -> Duration {
    now.duration_since(archive.modified)
        .try_into()
        .unwrap_or_default()
}

/// The same file as far as a listing can tell.
fn is(facts: &ArchiveFacts, archive: &Listed) -> bool {
    facts.name == archive.name
        && facts.bytes == archive.bytes
        && facts.modified == Some(archive.modified)
}

fn same(a: &ArchiveFacts, b: &ArchiveFacts) -> bool {
    a.name == b.name && a.bytes == b.bytes && a.modified == b.modified
}

fn day_and_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
