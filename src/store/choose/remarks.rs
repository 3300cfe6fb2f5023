//! What the operator should know about an archive that is taken all the same.

use jiff::{SignedDuration, Timestamp};

use super::matching::Matching;
use super::{Earlier, Purpose, day_and_time};
use crate::config::format_duration;
use crate::escape::shown;
use crate::store::{Listed, PassedOver};

/// How far a store's clock may run ahead of ours before it is worth a word.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// How far a name and the store's time may be apart: a name is in UTC, often only a day, and an upload takes its time.
const APART: SignedDuration = SignedDuration::from_hours(36);
/// Local time may be so far ahead of UTC.
const TIME_ZONE: SignedDuration = SignedDuration::from_hours(14);

pub(super) fn remarks(
    archive: &Listed,
    among: &Matching,
    (earlier, purpose): (&Earlier, Purpose),
    now: Timestamp,
) -> Vec<String> {
    let again = match purpose {
        Purpose::Restore => again(archive, earlier),
        Purpose::Fetch | Purpose::First => None,
    };
    [
        again,
        in_the_future(archive, now),
        twins(archive, among),
        apart(archive),
        other_order(archive, among),
        later_by_name(archive, among),
    ]
    .into_iter()
    .flatten()
    .chain(among.unusable.iter().map(unusable))
    .collect()
}

fn again(archive: &Listed, earlier: &Earlier) -> Option<String> {
    let at = day_and_time(earlier.restored_on(archive)?);
    let name = shown(&archive.name);
    Some(format!(
        "`{name}` was already restored on {at}; it is restored again"
    ))
}

fn in_the_future(archive: &Listed, now: Timestamp) -> Option<String> {
    let name = shown(&archive.name);
    let ahead = archive.modified.duration_since(now);
    if ahead > SKEW {
        let ahead = format_duration(ahead.unsigned_abs());
        return Some(format!(
            "`{name}` is dated {ahead} in the future: this machine's clock and the store's differ"
        ));
    }
    let ahead = archive.dated?.duration_since(now);
    (ahead > TIME_ZONE).then(|| {
        let ahead = format_duration(ahead.unsigned_abs());
        format!("the name of `{name}` is {ahead} in the future; until then no other one is newer")
    })
}

fn twins(archive: &Listed, among: &Matching) -> Option<String> {
    let is_twin = |other: &&Listed| other.time() == archive.time() && other.name != archive.name;
    let count = among.archives.iter().filter(is_twin).count() + 1;
    let what = match archive.dated {
        Some(_) => "time in their names",
        None => "modification time",
    };
    let name = shown(&archive.name);
    (count > 1)
        .then(|| format!("{count} archives have the same {what}; `{name}` is the last by name"))
}

/// The name says one time, the store another.
fn apart(archive: &Listed) -> Option<String> {
    let dated = archive.dated?;
    (dated.duration_since(archive.modified).abs() > APART).then(|| {
        format!(
            "by its name `{}` is of {}, by its modification time of {}; the name counts",
            shown(&archive.name),
            day_and_time(dated),
            day_and_time(archive.modified)
        )
    })
}

/// An older one by name was written later: uploaded anew, or uploaded late.
fn other_order(archive: &Listed, among: &Matching) -> Option<String> {
    archive.dated?;
    let is_older = |other: &&Listed| other.time() < archive.time();
    let is_later = |other: &&Listed| other.modified > archive.modified;
    let older = among.archives.iter().filter(is_older);
    let other = older.filter(is_later).max_by_key(|other| other.modified)?;
    Some(format!(
        "`{}` was modified after `{}`, which is newer by its name",
        shown(&other.name),
        shown(&archive.name)
    ))
}

/// Where names with dates are taken by modification time: one of the same shape stands later in the alphabet.
fn later_by_name(archive: &Listed, among: &Matching) -> Option<String> {
    let shape = shape(&archive.name).filter(|_| archive.dated.is_none())?;
    let is_alike = |other: &&Listed| self::shape(&other.name).is_some_and(|it| it == shape);
    let is_older = |other: &&Listed| other.modified < archive.modified;
    let others = among.archives.iter().filter(is_older).filter(is_alike);
    let last = others.map(|other| &other.name).max()?;
    (*last > archive.name).then(|| {
        format!(
            "`{}` was modified last, but by name `{}` is newer; `newest_by = \"name\"` takes that one",
            shown(&archive.name),
            shown(last)
        )
    })
}

/// The name without its digits, where there are as many as a date has.
fn shape(name: &str) -> Option<String> {
    let digits = name.chars().filter(char::is_ascii_digit).count();
    let plain = |c: char| if c.is_ascii_digit() { '0' } else { c };
    (digits >= 6).then(|| name.chars().map(plain).collect())
}

fn unusable(miss: &PassedOver) -> String {
    format!(
        "`{}` would match too, but {}; it is never taken",
        miss.name_shown, miss.why
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_dates_are_compared_and_rotating_ones_are_not() {
        assert_eq!(shape("erp_20261121.zip"), shape("erp_20250101.zip"));
        assert_eq!(shape("erp_7.zip"), None);
        assert_ne!(shape("erp_20261121.zip"), shape("crm_20261121.zip"));
    }
}
