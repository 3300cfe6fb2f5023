//! What speaks against an archive: too old, too small, rejected, restored before.

use std::time::Duration;

use jiff::Timestamp;

use super::earlier::is;
use super::{Earlier, Purpose, Wish, day_and_time};
use crate::config::{MinSize, Restore, Unchanged, format_bytes, format_duration};
use crate::escape::shown;
use crate::store::Listed;
use crate::verdict::{Failed, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    Age,
    Size,
    Rejected,
    /// It is what is live, or waits for that, and `unchanged` says that this is too old.
    Unchanged,
    /// It is what is live, or waits for that, and `unchanged` says that there is nothing to do then.
    NothingToDo,
}

#[derive(Debug)]
pub(super) struct Objection {
    pub ground: Ground,
    pub text: String,
    hint: &'static str,
}

impl Objection {
    /// Whether the operator has asked for this archive all the same.
    pub fn is_overruled(&self, wish: &Wish) -> bool {
        // A named archive is older than the newest, or restored again, by intention.
        let is_named = wish.archive.is_some();
        match self.ground {
            Ground::Rejected => wish.accept_rejected,
            Ground::Age | Ground::Unchanged => wish.accept_stale || is_named,
            Ground::Size => wish.accept_stale,
            Ground::NothingToDo => is_named,
        }
    }

    pub fn failed(&self, archive: &Listed) -> Failed {
        let name = shown(&archive.name);
        Failed::new(Verdict::Stale, format!("take `{name}`: {}", self.text)).hint(self.hint)
    }
}

pub(super) fn objections(
    archive: &Listed,
    restore: &Restore,
    (wish, earlier): (&Wish, &Earlier),
    now: Timestamp,
) -> Vec<Objection> {
    let again = match wish.purpose {
        Purpose::Restore => live_already(archive, restore, earlier)
            .or_else(|| waits_already(archive, restore, wish)),
        Purpose::Fetch | Purpose::First => None,
    };
    // The rejection first: it can't be waited out, and nothing else matters beside it.
    [
        rejected(archive, earlier),
        too_old(archive, restore, now),
        too_small(archive, restore, earlier),
        again,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn rejected(archive: &Listed, earlier: &Earlier) -> Option<Objection> {
    let at = earlier.rejected_on(archive)?;
    Some(Objection {
        ground: Ground::Rejected,
        text: format!("rejected by undo on {}", day_and_time(at)),
        hint: "a newer archive will be taken by itself; this one only with `--accept rejected`",
    })
}

fn too_old(archive: &Listed, restore: &Restore, now: Timestamp) -> Option<Objection> {
    let age = age(archive, now);
    let limit = restore.max_age.filter(|limit| age > *limit)?;
    let (age, limit) = (format_duration(age), format_duration(limit));
    let by = match archive.dated {
        Some(_) => "by its name it is",
        None => "it is",
    };
    Some(Objection {
        ground: Ground::Age,
        text: format!("{by} {age} old, `max_age` is {limit}"),
        hint: "ask whoever makes the backup why there is no newer one, or take it knowingly with `--accept stale`",
    })
}

fn too_small(archive: &Listed, restore: &Restore, earlier: &Earlier) -> Option<Objection> {
    let (least, why) = least_bytes(restore, earlier);
    (archive.bytes < least.max(1)).then(|| Objection {
        ground: Ground::Size,
        text: format!("it has {}, {why}", format_bytes(archive.bytes)),
        hint: "a shrunken backup usually lacks something; look into it, or take it knowingly with `--accept stale`",
    })
}

fn live_already(archive: &Listed, restore: &Restore, earlier: &Earlier) -> Option<Objection> {
    let at = day_and_time(earlier.is_live_since(archive)?);
    match restore.unchanged {
        Unchanged::Restore => None,
        Unchanged::Stale => Some(Objection {
            ground: Ground::Unchanged,
            text: format!("it was already restored on {at}, and there is no newer one"),
            hint: "ask whoever makes the backup why there is no newer one, or restore it again with `--accept stale`",
        }),
        Unchanged::Skip => Some(Objection {
            ground: Ground::NothingToDo,
            text: format!("it was already restored on {at}"),
            hint: "name it with `--archive` to restore it again",
        }),
    }
}

fn waits_already(archive: &Listed, restore: &Restore, wish: &Wish) -> Option<Objection> {
    let (facts, since) = wish.waiting.as_ref()?;
    let waits = format!(
        "it waits for `backupctl swap {}` since {}",
        restore.name,
        day_and_time(*since)
    );
    match restore.unchanged {
        _ if !is(facts, archive) => None,
        Unchanged::Restore => None,
        Unchanged::Stale => Some(Objection {
            ground: Ground::Unchanged,
            text: format!("{waits}, and there is no newer one"),
            hint: "ask whoever makes the backup why there is no newer one, or prepare it again with `--accept stale`",
        }),
        Unchanged::Skip => Some(Objection {
            ground: Ground::NothingToDo,
            text: format!("{waits} already"),
            hint: "name it with `--archive` to prepare it again",
        }),
    }
}

fn least_bytes(restore: &Restore, earlier: &Earlier) -> (u64, String) {
    let last_good = earlier.last_good.as_ref().map(|(facts, _)| facts.bytes);
    match (restore.min_size, last_good) {
        (MinSize::Bytes(bytes), _) => (bytes, format!("`min_size` is {}", format_bytes(bytes))),
        (MinSize::Share(share), Some(last)) => (
            share_of(last, share),
            format!(
                "less than `min_size` of the last good one's {}",
                format_bytes(last)
            ),
        ),
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

/// By the time that counts for the job; what is dated in the future is new.
fn age(archive: &Listed, now: Timestamp) -> Duration {
    now.duration_since(archive.time())
        .try_into()
        .unwrap_or_default()
}
