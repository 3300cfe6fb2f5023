//! Which archives of a listing a job is about, in which order, and what to say where there is none.

use std::cmp::Reverse;

use globset::{GlobBuilder, GlobMatcher};

use super::day_and_time;
use crate::config::{NewestBy, Restore, format_bytes};
use crate::escape::shown;
use crate::store::{Listed, Listing, PassedOver};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const NEAR_MISSES: usize = 5;

/// What in a listing the pattern is about.
pub(super) struct Matching {
    /// Newest first; where times are equal, the last name first, so that the choice never depends on the server's order.
    pub archives: Vec<Listed>,
    /// They match the pattern, but `name_time` finds no time in their names.
    pub undated: Vec<Listed>,
    /// They would match, but their names are unusable.
    pub unusable: Vec<PassedOver>,
}

pub(super) fn matching(listing: &Listing, restore: &Restore) -> Outcome<Matching> {
    let glob = glob(&restore.pattern, restore.ignore_case)?;
    let named = listing.archives.iter().filter(|a| glob.is_match(&a.name));
    let (mut archives, mut undated): (Vec<Listed>, Vec<Listed>) = named
        .map(|archive| dated(archive, restore))
        .partition(|archive| restore.newest_by == NewestBy::Modified || archive.dated.is_some());
    archives.sort_by(|a, b| (b.time(), &b.name).cmp(&(a.time(), &a.name)));
    undated.sort_by(|a, b| (b.modified, &b.name).cmp(&(a.modified, &a.name)));
    let unusable = listing.passed_over.iter();
    let unusable = unusable.filter(|miss| miss.is_unusable_name && glob.is_match(&miss.name_shown));
    Ok(Matching {
        archives,
        undated,
        unusable: unusable.cloned().collect(),
    })
}

/// The archive with the time that its name states, where the job goes by names.
pub(super) fn dated(archive: &Listed, restore: &Restore) -> Listed {
    let dated = match &restore.newest_by {
        NewestBy::Modified => None,
        NewestBy::Name(time) => time.read(&archive.name, restore.ignore_case),
    };
    Listed {
        dated,
        ..archive.clone()
    }
}

fn glob(pattern: &str, ignore_case: bool) -> Outcome<GlobMatcher> {
    GlobBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .build()
        .map(|glob| glob.compile_matcher())
        .judge(Verdict::Config, format!("read the pattern `{pattern}`"))
}

/// Why an archive is never taken whose name states no time.
pub(super) fn without_time(restore: &Restore) -> String {
    match &restore.newest_by {
        NewestBy::Modified => String::new(),
        NewestBy::Name(time) => format!("its name states no time as `{time}` does"),
    }
}

pub(super) fn nothing_matches(listing: &Listing, restore: &Restore, found: &Matching) -> Failed {
    let pattern = &restore.pattern;
    let message = format!(
        "find an archive that matches `{pattern}`: {}",
        near_misses(listing, restore, found)
    );
    let setting = |key: &str| format!("`restores.{}.{key}`", restore.name);
    let hint = if !found.undated.is_empty() {
        format!("let {} fit the names that are there", setting("name_time"))
    } else if !found.unusable.is_empty() {
        "let whoever makes the backup name it in ASCII or UTF-8; the file can be renamed on the server".to_owned()
    } else if let Some(name) = in_another_case(listing, restore) {
        format!("with `ignore_case = true` the job takes `{}`", shown(&name))
    } else {
        format!(
            "check {} and the store's `path`, and whether the backup was made at all",
            setting("pattern")
        )
    };
    Failed::new(Verdict::Stale, message).hint(hint)
}

/// The newest archive that only its upper and lower case keeps from matching.
fn in_another_case(listing: &Listing, restore: &Restore) -> Option<String> {
    let glob = glob(&restore.pattern, true).ok()?;
    let alike = listing.archives.iter().filter(|a| glob.is_match(&a.name));
    let newest = alike.max_by_key(|archive| (archive.modified, &archive.name));
    newest.map(|archive| archive.name.clone())
}

/// What is there instead: first what comes nearest, which is what matches but can't be taken.
fn near_misses(listing: &Listing, restore: &Restore, found: &Matching) -> String {
    let seen = listing.archives.len() + listing.passed_over_count;
    if seen == 0 {
        return "the directory is empty".to_owned();
    }
    let undated = found.undated.iter();
    let undated =
        undated.map(|miss| format!("`{}` ({})", shown(&miss.name), without_time(restore)));
    let unusable = found.unusable.iter().map(passed_over);
    let archives = others(listing, restore, found);
    let rest = listing.passed_over.iter();
    let rest = rest.filter(|miss| !found.unusable.contains(miss));
    let shown_misses: Vec<String> = undated
        .chain(unusable)
        .chain(archives)
        .chain(rest.map(passed_over))
        .take(NEAR_MISSES)
        .collect();
    format!(
        "{seen} other {} there: {}",
        if seen == 1 { "entry is" } else { "entries are" },
        shown_misses.join(", ")
    )
}

fn passed_over(miss: &PassedOver) -> String {
    format!("`{}` ({})", miss.name_shown, miss.why)
}

/// Regular files that don't match, those that begin like the pattern first.
fn others(listing: &Listing, restore: &Restore, found: &Matching) -> Vec<String> {
    let is_undated = |other: &&Listed| found.undated.iter().any(|miss| miss.name == other.name);
    let mut others: Vec<&Listed> = listing.archives.iter().filter(|o| !is_undated(o)).collect();
    let stem: String = restore
        .pattern
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .collect::<String>()
        .to_lowercase();
    let is_like = |miss: &Listed| miss.name.to_lowercase().starts_with(&stem);
    others.sort_by_key(|miss| (!is_like(miss), Reverse(miss.modified)));
    let words = others.iter().take(NEAR_MISSES).map(|miss| {
        format!(
            "`{}` ({}, {})",
            shown(&miss.name),
            format_bytes(miss.bytes),
            day_and_time(miss.modified)
        )
    });
    words.collect()
}
