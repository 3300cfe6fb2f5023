//! What of a dump goes in: the table of contents without what the configuration leaves out, and without what hangs on that.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::tables::{self, Part, TableName};
use super::toc::{Entry, LargeObjects, Toc};
use super::turns::{Turn, Turns};
use crate::config::Contents;
use crate::escape::shown;
use crate::verdict::{Failed, Outcome, Verdict};

/// Kinds that hold rows or the place for them: never lost because of something else that is left out.
const DATA: [&str; 6] = [
    "TABLE",
    "TABLE DATA",
    "SEQUENCE",
    "SEQUENCE SET",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
];
/// Large objects are in the table of contents under these names.
const LARGE: [&str; 3] = ["BLOB", "BLOBS", "BLOB METADATA"];
/// Objects that a message names.
const NAMED: usize = 5;

/// What goes in, and to whom it will belong.
#[derive(Debug, Clone)]
pub struct Selection {
    /// To whom everything will belong; None: as in the dump.
    pub owner: Option<String>,
    pub keeps_privileges: bool,
    pub keeps_tablespaces: bool,
    skip: Vec<String>,
    ids: HashSet<i64>,
    told: LeftOut,
    /// Some tables only, with what they need.
    part: Option<Part>,
}

/// What is left out, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many entries each word of `skip` leaves out, the words in their order in the alphabet.
    pub skipped: BTreeMap<String, u64>,
    /// Kind and name of what can't be there without those.
    pub consequences: Vec<(String, String)>,
}

impl Selection {
    /// All that a restore into an existing database makes.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            owner: None,
            keeps_privileges: true,
            keeps_tablespaces: true,
            skip: Vec::new(),
            ids: HashSet::new(),
            told: LeftOut::default(),
            part: None,
        }
    }

    /// As the configuration says; `owner` is the role that it means.
    ///
    /// # Errors
    /// `config`: something else than what is to be left out would lose rows with it.
    pub fn new(toc: &Toc, contents: &Contents, owner: Option<String>) -> Outcome<Self> {
        let mut selection = Self {
            owner,
            keeps_privileges: contents.keeps_privileges,
            keeps_tablespaces: contents.keeps_tablespaces,
            skip: contents.skip.clone(),
            ..Self::everything()
        };
        for entry in toc.entries.iter().filter(|entry| !entry.is_passed_over()) {
            if let Some(word) = selection.word_for(&entry.kind, &entry.tag).cloned() {
                selection.ids.insert(entry.id);
                *selection.told.skipped.entry(word).or_default() += 1;
            }
        }
        for run in &toc.runs {
            if let Some(word) = selection.word_for(&run.kind, "LARGE OBJECT").cloned() {
                let count = run.ids.end().abs_diff(*run.ids.start()) + 1;
                *selection.told.skipped.entry(word).or_default() += count;
            }
        }
        selection.leave_out_what_hangs_on_it(toc);
        selection.loses_no_rows()?;
        Ok(selection)
    }

    /// Only these tables, with their parts and what they need; no large objects.
    ///
    /// # Errors
    /// `config`: one of them can't be taken, see [`tables::part`].
    pub fn only(mut self, toc: &Toc, wanted: &[TableName]) -> Outcome<Self> {
        let part = tables::part(toc, wanted, &self.ids)?;
        let others = toc.entries.iter().map(|entry| entry.id);
        self.ids
            .extend(others.filter(|id| !part.taken.contains(id)));
        self.part = Some(part);
        Ok(self)
    }

    /// The tables that are chosen; None: the whole dump.
    #[must_use]
    pub fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }

    /// Whether this entry goes in.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        !entry.is_passed_over()
            && !self.ids.contains(&entry.id)
            && (self.keeps_privileges || !entry.is_privilege())
    }

    /// Whether these large objects, or what is said about them, go in.
    #[must_use]
    pub fn takes_large(&self, run: &LargeObjects) -> bool {
        self.part.is_none()
            && self.word_for(&run.kind, "LARGE OBJECT").is_none()
            && (self.keeps_privileges || &*run.kind != "ACL")
    }

    /// What `skip` leaves out.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.told
    }

    /// The contents as `pg_restore --use-list` reads them, or those of one turn; None where nothing is left out.
    #[must_use]
    pub fn list(&self, toc: &Toc, turn: Option<(&Turns, Turn)>) -> Option<Vec<u8>> {
        if self.told.skipped.is_empty() && self.part.is_none() && turn.is_none() {
            return None;
        }
        let mut list = String::new();
        let large = |run: &LargeObjects, list: &mut String| {
            let its_turn = turn.is_none_or(|(_, turn)| Turns::turn_of_large(run) == turn);
            if its_turn && self.takes_large(run) {
                for id in run.ids.clone() {
                    add(id, list);
                }
            }
        };
        let mut runs = toc.runs.iter().peekable();
        for (at, entry) in toc.entries.iter().enumerate() {
            while let Some(run) = runs.next_if(|run| run.before <= at) {
                large(run, &mut list);
            }
            let its_turn = turn.is_none_or(|(turns, turn)| turns.turn(entry) == turn);
            if its_turn && !self.ids.contains(&entry.id) {
                add(entry.id, &mut list);
            }
        }
        for run in runs {
            large(run, &mut list);
        }
        Some(list.into_bytes())
    }

    /// The word of `skip` that means it.
    fn word_for(&self, kind: &str, tag: &str) -> Option<&String> {
        self.skip.iter().find(|word| {
            let about = || {
                let of = word.strip_prefix(kind)?.strip_prefix(' ')?;
                let rest = tag.strip_prefix(of)?;
                (rest.is_empty() || rest.starts_with(' ')).then_some(())
            };
            // The objects, their contents, and what is granted on them and said of them go together.
            let large = LARGE.contains(&word.as_str())
                && (LARGE.contains(&kind) || tag.starts_with("LARGE OBJECT"));
            word.as_str() == kind || large || about().is_some()
        })
    }

    /// However the dump orders its entries: each is looked at once for each that it depends on.
    fn leave_out_what_hangs_on_it(&mut self, toc: &Toc) {
        let found = Hanging::of(toc).on_any_of(&mut self.ids, toc);
        for entry in found.into_iter().map(|at| &toc.entries[at]) {
            let name = if entry.namespace.is_empty() {
                entry.tag.to_string()
            } else {
                format!("{}.{}", entry.namespace, entry.tag)
            };
            self.told.consequences.push((entry.kind.to_string(), name));
        }
    }

    fn loses_no_rows(&self) -> Outcome<()> {
        if self.skip.iter().any(|word| DATA.contains(&word.as_str())) {
            return Ok(());
        }
        let lost = self.told.consequences.iter();
        let lost = lost.filter(|(kind, _)| DATA.contains(&kind.as_str()));
        let lost: Vec<String> = lost.map(|(kind, name)| told(kind, name)).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = self.told.skipped.keys().map(|w| format!("{w:?}")).collect();
        Err(Failed::new(
            Verdict::Config,
            format!(
                "`skip` ({}) would take with it: {}",
                words.join(", "),
                some_of(&lost)
            ),
        )
        .hint("leave out of `skip` what these depend on"))
    }
}

/// What hangs on each entry, as places in the table of contents.
#[derive(Default)]
pub(super) struct Hanging<'a> {
    by_id: HashMap<i64, Vec<usize>>,
    /// User mappings by the name of their server: pg_dump writes down no dependency of theirs.
    mappings: HashMap<&'a str, Vec<usize>>,
    servers: HashMap<i64, Vec<&'a str>>,
}

impl<'a> Hanging<'a> {
    pub(super) fn of(toc: &'a Toc) -> Self {
        let mut hanging = Self::default();
        for (at, entry) in toc.entries.iter().enumerate() {
            for id in &entry.depends_on {
                hanging.by_id.entry(*id).or_default().push(at);
            }
            match &*entry.kind {
                "SERVER" => hanging
                    .servers
                    .entry(entry.id)
                    .or_default()
                    .push(&entry.tag),
                "USER MAPPING" => hanging.add_mapping(at, &entry.tag),
                _ => {}
            }
        }
        hanging
    }

    /// `USER MAPPING bob SERVER s`; where a name holds the word itself, it may be either server's.
    fn add_mapping(&mut self, at: usize, tag: &'a str) {
        const WORD: &str = " SERVER ";
        for (word, _) in tag.match_indices(WORD) {
            let server = &tag[word + WORD.len()..];
            self.mappings.entry(server).or_default().push(at);
        }
    }

    /// Adds to these whatever hangs on them, and on that in turn; the places of what was added.
    pub(super) fn on_any_of(&self, ids: &mut HashSet<i64>, toc: &Toc) -> BTreeSet<usize> {
        let mut open: Vec<i64> = ids.iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(id) = open.pop() {
            for at in self.on(id) {
                let entry = &toc.entries[at];
                if !entry.is_passed_over() && ids.insert(entry.id) {
                    found.insert(at);
                    open.push(entry.id);
                }
            }
        }
        found
    }

    fn on(&self, id: i64) -> impl Iterator<Item = usize> {
        let servers = self.servers.get(&id).into_iter().flatten();
        let mappings = servers.filter_map(|server| self.mappings.get(server));
        self.by_id
            .get(&id)
            .into_iter()
            .chain(mappings)
            .flatten()
            .copied()
    }
}

/// An object, as the dump calls it.
fn told(kind: &str, name: &str) -> String {
    format!("{} `{}`", shown(&kind.to_lowercase()), shown(name))
}

impl LeftOut {
    /// What a restore must tell although it was asked for: what goes missing beyond the words of `skip`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        // What is said about an object and granted on it goes with it.
        let about = ["ACL", "COMMENT", "SECURITY LABEL"];
        let names: Vec<String> = self
            .consequences
            .iter()
            .filter(|(kind, _)| !about.contains(&kind.as_str()))
            .map(|(kind, name)| told(kind, name))
            .collect();
        if !names.is_empty() {
            warnings.push(format!(
                "left out because they depend on what `skip` leaves out: {}",
                some_of(&names)
            ));
        }
        if self.skipped.contains_key("ROW SECURITY") {
            let told = "`skip` leaves row-level security off: whoever may read a table reads all of its rows";
            warnings.push(told.to_owned());
        } else if self.skipped.contains_key("POLICY") {
            let told = "`skip` leaves the policies of row-level security out: only its owner sees rows of a table that has it";
            warnings.push(told.to_owned());
        }
        warnings
    }
}

fn add(id: i64, list: &mut String) {
    list.push_str(&id.to_string());
    list.push_str(";\n");
}

fn some_of(names: &[String]) -> String {
    let listed = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}
