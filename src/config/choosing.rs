//! Reads which archive a restore job takes: what is newest, and what is done where nothing is new.

use super::section::Section;
use super::{NameTime, NewestBy, Unchanged};

/// `newest_by` and `name_time`, which go together.
pub fn newest_by(section: &mut Section<'_>) -> NewestBy {
    let words = [("modified", false), ("name", true)];
    let by_name = section.choice("newest_by", &words, false);
    let is_given = section.has("name_time");
    let pattern = section.text("name_time");
    if is_given && !by_name {
        section.problem("name_time", "needs `newest_by = \"name\"`");
    }
    if by_name && !is_given {
        section.problem(
            "newest_by",
            "\"name\" needs `name_time`; for example `name_time = \"erp_%Y%m%d.zip\"`",
        );
    }
    let Some(pattern) = pattern.filter(|_| by_name) else {
        return NewestBy::Modified;
    };
    NameTime::new(&pattern).map_or_else(
        |why| {
            section.problem("name_time", &format!("{pattern:?} {why}"));
            NewestBy::Modified
        },
        NewestBy::Name,
    )
}

pub fn unchanged(section: &mut Section<'_>) -> Unchanged {
    let words = [
        ("restore", Unchanged::Restore),
        ("skip", Unchanged::Skip),
        ("stale", Unchanged::Stale),
    ];
    section.choice("unchanged", &words, Unchanged::Restore)
}
