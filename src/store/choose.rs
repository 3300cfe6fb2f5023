//! Which archive is taken, and why another one is not. Pure: it judges a listing, and asks nobody.

mod earlier;
mod matching;
mod objection;
mod remarks;

use jiff::Timestamp;

pub use self::earlier::{Earlier, superfluous};
use self::matching::{dated, matching, nothing_matches, without_time};
use self::objection::{Ground, objections};
use self::remarks::remarks;
use super::{Listed, Listing};
use crate::config::Restore;
use crate::escape::shown;
use crate::report::ArchiveFacts;
use crate::verdict::{Failed, Outcome, Verdict};

/// What the archive is wanted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    #[default]
    Restore,
    /// To have it here; whether it was restored before doesn't matter.
    Fetch,
    /// Nothing is live: what was restored before is gone, and no reason to do nothing.
    First,
}

/// What the operator asked for on the command line.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// By name instead of the newest.
    pub archive: Option<String>,
    pub accept_stale: bool,
    pub accept_rejected: bool,
    pub purpose: Purpose,
    /// What is prepared already and waits for `swap`, and since when; for a job that would prepare it again.
    pub waiting: Option<(ArchiveFacts, Timestamp)>,
}

/// What becomes of the candidate. An older one is never taken in its place.
#[derive(Debug)]
pub enum Choice {
    /// It is taken; with what the operator should know about it.
    Take(Vec<String>),
    /// It is what is live or waits for that, and the job wants nothing done then; with the words for that.
    NothingToDo(String),
    /// `stale`, and another one or more of this one may come.
    NotYet(Failed),
    /// `stale`, and waiting would not mend it.
    Never(Failed),
}

/// The archive that would be taken if nothing speaks against it: the newest matching one, or the named one.
///
/// # Errors
/// `stale`: nothing matches; the near misses are named. `config`: the pattern is no glob.
pub fn candidate(listing: &Listing, restore: &Restore, wish: &Wish) -> Outcome<Listed> {
    if let Some(name) = &wish.archive {
        return named(listing, name).map(|archive| dated(archive, restore));
    }
    let found = matching(listing, restore)?;
    match found.archives.first() {
        Some(newest) => Ok(newest.clone()),
        None => Err(nothing_matches(listing, restore, &found)),
    }
}

/// Whether the candidate is taken.
///
/// # Errors
/// `config`: the pattern is no glob.
pub fn judge(
    archive: &Listed,
    listing: &Listing,
    restore: &Restore,
    (wish, earlier): (&Wish, &Earlier),
    now: Timestamp,
) -> Outcome<Choice> {
    let mut warnings = Vec::new();
    for objection in objections(archive, restore, (wish, earlier), now) {
        if objection.is_overruled(wish) {
            // That it is restored again is a remark of its own.
            if !matches!(objection.ground, Ground::Unchanged | Ground::NothingToDo) {
                warnings.push(format!("taken although {}", objection.text));
            }
            continue;
        }
        return Ok(match objection.ground {
            Ground::NothingToDo => Choice::NothingToDo(nothing_to_do(archive, &objection.text)),
            Ground::Rejected => Choice::Never(objection.failed(archive)),
            _ => Choice::NotYet(objection.failed(archive)),
        });
    }
    let among = matching(listing, restore)?;
    warnings.extend(remarks(archive, &among, (earlier, wish.purpose), now));
    Ok(Choice::Take(warnings))
}

fn nothing_to_do(archive: &Listed, why: &str) -> String {
    let name = shown(&archive.name);
    format!(
        "Nothing to do: the newest archive is `{name}`, and {why}. \
         Nothing was downloaded or changed; `--archive` with its name restores it again."
    )
}

/// One line of `list`.
#[derive(Debug)]
pub struct Judged {
    /// None: its name is unusable, and this is that name escaped.
    pub archive: Result<Listed, String>,
    /// Why it would not be taken.
    pub objection: Option<String>,
}

/// Everything that matches, newest first, with what speaks against it; what has no usable name or time in it comes last.
///
/// # Errors
/// `config`: the pattern is no glob.
pub fn judged(
    listing: &Listing,
    restore: &Restore,
    earlier: &Earlier,
    now: Timestamp,
) -> Outcome<Vec<Judged>> {
    let found = matching(listing, restore)?;
    let why = without_time(restore);
    let wish = Wish::default();
    let archives = found.archives.into_iter().map(|archive| {
        let against = objections(&archive, restore, (&wish, earlier), now);
        let against: Vec<String> = against.into_iter().map(|o| o.text).collect();
        Judged {
            archive: Ok(archive),
            objection: (!against.is_empty()).then(|| against.join("; ")),
        }
    });
    let undated = found.undated.into_iter().map(|archive| Judged {
        archive: Ok(archive),
        objection: Some(why.clone()),
    });
    let unusable = found.unusable.into_iter().map(|miss| Judged {
        archive: Err(miss.name_shown),
        objection: Some(miss.why.to_owned()),
    });
    Ok(archives.chain(undated).chain(unusable).collect())
}

fn named<'a>(listing: &'a Listing, name: &str) -> Outcome<&'a Listed> {
    let found = listing.archives.iter().find(|archive| archive.name == name);
    found.ok_or_else(|| {
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

fn day_and_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
