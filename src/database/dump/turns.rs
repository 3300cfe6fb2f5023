//! In what turns a dump with partitioned tables goes in where several sessions load it.
//!
//! pg_restore 13 to 18 lock only the two tables that a foreign key names before they give it to a session. One on a partitioned
//! table locks each partition too, and meets another session there that attaches an index to the partitioned table's: each waits
//! for the other until the server ends one with "deadlock detected", and the load with it. A trigger on a partitioned table is
//! made on each partition alike. So these wait until everything else is there, and go in one after the other; what pg_restore
//! would only do after them, as it says in `_tocEntryRestorePass`, waits for them in turn.

use std::collections::HashSet;

use super::selection::Hanging;
use super::toc::{Entry, LargeObjects, Toc};

/// Which entries one pg_restore is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// All but the next two.
    First,
    /// Foreign keys and triggers of partitioned tables: by one session.
    OneByOne,
    /// Privileges, the rows of materialized views, event triggers.
    Last,
}

impl Turn {
    pub const ALL: [Self; 3] = [Self::First, Self::OneByOne, Self::Last];
}

/// The entries that have to wait.
#[derive(Debug)]
pub struct Turns {
    one_by_one: HashSet<i64>,
    last: HashSet<i64>,
}

impl Turns {
    /// None: nothing in this dump has to wait.
    #[must_use]
    pub fn of(toc: &Toc) -> Option<Self> {
        let partitioned = partitioned(toc);
        let waits = |entry: &&Entry| {
            matches!(&*entry.kind, "FK CONSTRAINT" | "TRIGGER")
                && entry.depends_on.iter().any(|id| partitioned.contains(id))
        };
        let one_by_one: HashSet<i64> = toc.entries.iter().filter(waits).map(|e| e.id).collect();
        if one_by_one.is_empty() {
            return None;
        }
        let last = toc.entries.iter().filter(|entry| comes_last(entry));
        let mut turns = Self {
            one_by_one,
            last: last.map(|entry| entry.id).collect(),
        };
        let hanging = Hanging::of(toc);
        hanging.on_any_of(&mut turns.one_by_one, toc);
        hanging.on_any_of(&mut turns.last, toc);
        Some(turns)
    }

    /// Whose turn an entry is.
    #[must_use]
    pub fn turn(&self, entry: &Entry) -> Turn {
        if self.last.contains(&entry.id) {
            Turn::Last
        } else if self.one_by_one.contains(&entry.id) {
            Turn::OneByOne
        } else {
            Turn::First
        }
    }

    /// Whose turn large objects are, or what is said about them.
    #[must_use]
    pub fn turn_of_large(run: &LargeObjects) -> Turn {
        match &*run.kind {
            "ACL" => Turn::Last,
            _ => Turn::First,
        }
    }
}

fn comes_last(entry: &Entry) -> bool {
    entry.is_privilege()
        || matches!(&*entry.kind, "MATERIALIZED VIEW DATA" | "EVENT TRIGGER")
        || (matches!(&*entry.kind, "COMMENT" | "SECURITY LABEL")
            && entry.tag.starts_with("EVENT TRIGGER "))
}

/// Partitioned tables, their partitions, and the indexes and keys of both.
fn partitioned(toc: &Toc) -> HashSet<i64> {
    let attached = toc.entries.iter();
    let attached = attached.filter(|e| matches!(&*e.kind, "TABLE ATTACH" | "INDEX ATTACH"));
    let mut found: HashSet<i64> = attached
        .flat_map(|e| e.depends_on.iter().copied())
        .collect();
    let indexes = || {
        let entries = toc.entries.iter();
        entries.filter(|e| matches!(&*e.kind, "INDEX" | "CONSTRAINT"))
    };
    let tables: Vec<i64> = indexes()
        .filter(|index| found.contains(&index.id))
        .flat_map(|index| index.depends_on.iter().copied())
        .collect();
    found.extend(tables);
    let all: Vec<i64> = indexes()
        .filter(|index| index.depends_on.iter().any(|id| found.contains(id)))
        .map(|index| index.id)
        .collect();
    found.extend(all);
    found
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
