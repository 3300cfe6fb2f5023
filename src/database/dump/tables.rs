//! Some tables out of a dump: their definition, rows and own parts, what these need, and nothing else.
//!
//! Backwards every dependency is followed; forwards only to what is a part of a table, or said about something that goes in.
//! A part that needs another table, a foreign key above all, stays out and is told.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::toc::{Entry, Toc};
use crate::config::nearest;
use crate::escape::{quoted, shown};
use crate::verdict::{Failed, Outcome, Verdict};

/// What rows are in, or are shown by.
const RELATIONS: [&str; 4] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW"];
/// Parts of a table that are named behind it: `orders orders_pkey`.
const NAMED_BEHIND: [&str; 7] = [
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "POLICY",
    "RULE",
    "TRIGGER",
];
/// Parts of a table that only their dependency ties to it.
const PARTS: [&str; 8] = [
    "INDEX",
    "INDEX ATTACH",
    "ROW SECURITY",
    "SEQUENCE",
    "STATISTICS",
    "STATISTICS DATA",
    "TABLE ATTACH",
    "TABLE DATA",
];
/// What goes with whatever it belongs to.
const ABOUT: [&str; 6] = [
    "ACL",
    "COMMENT",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS DATA",
];
/// Names that a message shows.
const NAMED: usize = 10;

/// A table as somebody has typed it: `orders`, `crm.orders`, `"odd.schema"."a ""quoted"" one"`. Never folded: a name is the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    pub schema: Option<String>,
    pub name: String,
}

impl TableName {
    /// # Errors
    /// `usage`: no name, or more than a schema and a name.
    pub fn parse(text: &str) -> Outcome<Self> {
        let wrong = || {
            let problem = format!("{} is no name of a table", quoted(text));
            Failed::new(Verdict::Usage, problem).hint(
                "write TABLE or SCHEMA.TABLE; a dot that is part of a name needs quotes: '\"odd.schema\".\"odd.table\"'",
            )
        };
        let mut parts = parts(text).ok_or_else(wrong)?;
        let name = parts.pop().ok_or_else(wrong)?;
        let schema = parts.pop();
        if parts.is_empty() && !name.is_empty() && schema.as_deref() != Some("") {
            return Ok(Self { schema, name });
        }
        Err(wrong())
    }

    fn means(&self, entry: &Entry) -> bool {
        let in_schema = |schema: &String| **schema == *entry.namespace;
        *self.name == *entry.tag && self.schema.as_ref().is_none_or(in_schema)
    }

    fn text(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Divided at the dots that are not quoted; None where a quote has no end, or stands in the middle of a name.
fn parts(text: &str) -> Option<Vec<String>> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        let (part, after) = if let Some(inside) = rest.strip_prefix('"') {
            unquoted(inside)?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        if part.contains('"') && !rest.starts_with('"') {
            return None;
        }
        found.push(part);
        if after.is_empty() {
            return Some(found);
        }
        rest = after.strip_prefix('.')?;
    }
}

/// The text up to its closing quote, and what comes after that.
fn unquoted(inside: &str) -> Option<(String, &str)> {
    let (mut name, mut rest) = (String::new(), inside);
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// What goes in for some tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// All that goes in.
    pub taken: HashSet<i64>,
    /// The tables with their rows, partitions among them: `public.orders`.
    pub tables: Vec<String>,
    /// Tables that are made because others need them, without rows.
    pub bare: Vec<String>,
    /// Kind and name of what belongs to the tables and needs something that is not there.
    pub left_out: Vec<(String, String)>,
}

impl Part {
    /// What must be told although it was asked for.
    #[must_use]
    pub fn warnings(&self, toc: &Toc) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.left_out.is_empty() {
            let names = self.left_out.iter();
            let names =
                names.map(|(kind, name)| format!("{} `{}`", kind.to_lowercase(), shown(name)));
            warnings.push(format!(
                "left out because they need what `--table` leaves out: {}",
                some_of(&names.collect::<Vec<_>>())
            ));
        }
        if !self.bare.is_empty() {
            let names = self.bare.iter().map(|name| format!("`{}`", shown(name)));
            warnings.push(format!(
                "made without rows, because others need their definition: {}",
                some_of(&names.collect::<Vec<_>>())
            ));
        }
        if toc.large_objects > 0 {
            let told = "large objects are left out with `--table`: what refers to one finds none";
            warnings.push(told.to_owned());
        }
        warnings
    }
}

/// The part of a dump that `wanted` names, out of what `left_out` leaves of it.
///
/// # Errors
/// `config`: one is not in the dump, is in several schemas, is no table, or is left out.
pub fn part(toc: &Toc, wanted: &[TableName], left_out: &HashSet<i64>) -> Outcome<Part> {
    let graph = Graph::of(toc, left_out);
    let mut seeds = BTreeSet::new();
    for name in wanted {
        let table = find(toc, name)?;
        if !graph.by_id.contains_key(&table.id) {
            return Err(Failed::new(
                Verdict::Config,
                format!("`skip` leaves out `{}`, which `--table` names", full(table)),
            ));
        }
        graph.with_partitions(table.id, &mut seeds);
    }
    Ok(graph.part(toc, &seeds))
}

fn is_table(entry: &Entry) -> bool {
    matches!(&*entry.kind, "TABLE" | "FOREIGN TABLE")
}

fn full(entry: &Entry) -> String {
    if entry.namespace.is_empty() {
        return entry.tag.to_string();
    }
    format!("{}.{}", entry.namespace, entry.tag)
}

fn find<'t>(toc: &'t Toc, name: &TableName) -> Outcome<&'t Entry> {
    let tables = toc.entries.iter().filter(|entry| is_table(entry));
    let found: Vec<&Entry> = tables.filter(|entry| name.means(entry)).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(not_there(toc, name)),
        several => {
            let names = several
                .iter()
                .map(|entry| format!("`{}`", shown(&full(entry))));
            let names: Vec<String> = names.collect();
            let problem = format!(
                "`{}` is in {} schemas of the dump: {}",
                shown(&name.name),
                several.len(),
                some_of(&names)
            );
            Err(Failed::new(Verdict::Config, problem).hint("say which: `--table SCHEMA.TABLE`"))
        }
    }
}

fn not_there(toc: &Toc, name: &TableName) -> Failed {
    let text = name.text();
    let other = toc.entries.iter().find(|entry| {
        name.means(entry) && (RELATIONS.contains(&&*entry.kind) || &*entry.kind == "SEQUENCE")
    });
    if let Some(other) = other {
        return Failed::new(
            Verdict::Config,
            format!(
                "`{}` is a {} in the dump, not a table",
                shown(&full(other)),
                other.kind.to_lowercase()
            ),
        )
        .hint("name the tables that its rows come from, or load the whole dump");
    }
    let tables: Vec<&Entry> = toc.entries.iter().filter(|entry| is_table(entry)).collect();
    let names = tables.iter().map(|entry| match &name.schema {
        Some(_) => full(entry),
        None => entry.tag.to_string(),
    });
    let elsewhere = tables.iter().filter(|entry| *entry.tag == *name.name);
    let elsewhere: Vec<String> = elsewhere.map(|entry| full(entry)).collect();
    let names: Vec<String> = names.collect();
    let near = nearest(&text, names.iter().map(String::as_str));
    let near = elsewhere.first().map(String::as_str).or(near);
    let failed = Failed::new(
        Verdict::Config,
        format!("there is no table `{}` in the dump", shown(&text)),
    );
    match near {
        Some(near) => failed.hint(format!("is it `{}`?", shown(near))),
        None if tables.is_empty() => failed.hint("the dump has no table at all"),
        None => {
            let all = tables
                .iter()
                .map(|entry| format!("`{}`", shown(&full(entry))));
            let all: Vec<String> = all.collect();
            failed.hint(format!("it has {}", some_of(&all)))
        }
    }
}

/// The entries that may go in, and who hangs on whom.
struct Graph<'t> {
    by_id: HashMap<i64, &'t Entry>,
    schemas: HashMap<&'t str, i64>,
    /// The partitions of each table.
    partitions: HashMap<i64, Vec<i64>>,
    /// Partitions that are a table of their own until they are attached.
    attached: HashSet<(i64, i64)>,
}

impl<'t> Graph<'t> {
    fn of(toc: &'t Toc, left_out: &HashSet<i64>) -> Self {
        let usable = toc.entries.iter();
        let usable = usable.filter(|e| !e.is_passed_over() && !left_out.contains(&e.id));
        let by_id: HashMap<i64, &Entry> = usable.map(|entry| (entry.id, entry)).collect();
        let schemas = toc.of_kind("SCHEMA");
        let schemas = schemas.filter(|schema| by_id.contains_key(&schema.id));
        let mut graph = Self {
            schemas: schemas.map(|schema| (&*schema.tag, schema.id)).collect(),
            by_id,
            partitions: HashMap::new(),
            attached: HashSet::new(),
        };
        let mut divided = false;
        for attach in toc.of_kind("TABLE ATTACH") {
            divided = true;
            if let Some((child, parent)) = graph.attaches(attach) {
                graph.partitions.entry(parent).or_default().push(child);
                graph.attached.insert((child, parent));
            }
        }
        if !divided {
            graph.attached_by_themselves(toc);
        }
        graph
    }

    /// The partition, by its name, and its parent.
    fn attaches(&self, attach: &Entry) -> Option<(i64, i64)> {
        let mut tables = attach.depends_on.iter().filter_map(|id| self.by_id.get(id));
        let is_child =
            |entry: &&&Entry| entry.tag == attach.tag && entry.namespace == attach.namespace;
        let child = tables.clone().find(is_child)?.id;
        Some((child, tables.find(|entry| entry.id != child)?.id))
    }

    /// Before pg_dump 14 a partition's own statement attaches it. Its parent is then a table without an entry for rows.
    fn attached_by_themselves(&mut self, toc: &Toc) {
        let with_rows: HashSet<i64> = toc
            .of_kind("TABLE DATA")
            .flat_map(|data| data.depends_on.iter().copied())
            .collect();
        for child in self.by_id.values().filter(|entry| is_table(entry)) {
            let parents = child.depends_on.iter().filter_map(|id| self.by_id.get(id));
            let divided = parents.filter(|parent| {
                is_table(parent) && parent.id != child.id && !with_rows.contains(&parent.id)
            });
            for parent in divided {
                self.partitions.entry(parent.id).or_default().push(child.id);
            }
        }
    }

    fn with_partitions(&self, table: i64, into: &mut BTreeSet<i64>) {
        let mut open = vec![table];
        while let Some(table) = open.pop() {
            if into.insert(table) {
                open.extend(self.partitions.get(&table).into_iter().flatten());
            }
        }
    }

    /// What must be there before an entry. What only says in which order things are made is no need.
    fn needs(&self, entry: &'t Entry, seeds: &BTreeSet<i64>) -> Vec<&'t Entry> {
        let is_of_index = |kind: &str| matches!(kind, "INDEX" | "CONSTRAINT");
        let dependencies = entry.depends_on.iter().filter_map(|id| self.by_id.get(id));
        let real = dependencies.filter(|other| {
            let of_parent = is_of_index(&entry.kind) && is_of_index(&other.kind);
            let unattached =
                self.attached.contains(&(entry.id, other.id)) && !seeds.contains(&other.id);
            !of_parent && !unattached
        });
        let schema = self.schemas.get(&*entry.namespace);
        let schema = schema.and_then(|id| self.by_id.get(id));
        real.chain(schema).copied().collect()
    }

    /// The entry with everything that it needs, and what that needs.
    fn closure(&self, entry: &'t Entry, seeds: &BTreeSet<i64>) -> HashMap<i64, &'t Entry> {
        let (mut found, mut open) = (HashMap::new(), vec![entry]);
        while let Some(entry) = open.pop() {
            if found.insert(entry.id, entry).is_none() {
                open.extend(self.needs(entry, seeds));
            }
        }
        found
    }

    fn part(&self, toc: &Toc, seeds: &BTreeSet<i64>) -> Part {
        let mut taken = HashSet::new();
        // Some extensions go there, and the empty one is dropped where the dump makes it.
        let public = toc
            .creates_public_schema
            .then(|| self.schemas.get("public"));
        taken.extend(public.flatten());
        for seed in seeds.iter().filter_map(|id| self.by_id.get(id)) {
            taken.extend(self.closure(seed, seeds).into_keys());
        }
        let mut before = 0;
        while before < taken.len() {
            before = taken.len();
            for entry in &toc.entries {
                if self.goes_with(entry, seeds, &taken) && self.can_be_there(entry, seeds, &taken) {
                    taken.extend(self.closure(self.by_id[&entry.id], seeds).into_keys());
                }
            }
        }
        let named = |entry: &&Entry| (entry.kind.to_string(), full(entry));
        let of_entries = |wanted: &dyn Fn(&&Entry) -> bool| -> Vec<(String, String)> {
            toc.entries
                .iter()
                .filter(wanted)
                .map(|entry| named(&entry))
                .collect()
        };
        let names = |list: Vec<(String, String)>| list.into_iter().map(|(_, name)| name).collect();
        Part {
            tables: names(of_entries(&|entry| seeds.contains(&entry.id))),
            bare: names(of_entries(&|entry| {
                is_table(entry) && taken.contains(&entry.id) && !seeds.contains(&entry.id)
            })),
            // That a partition is no part of another table was asked for.
            left_out: of_entries(&|entry| {
                !entry.kind.ends_with(" ATTACH") && self.goes_with(entry, seeds, &taken)
            }),
            taken,
        }
    }

    /// Whether it is a part of one of the tables, or about something that goes in, and is not yet there itself.
    fn goes_with(&self, entry: &Entry, seeds: &BTreeSet<i64>, taken: &HashSet<i64>) -> bool {
        if taken.contains(&entry.id) || !self.by_id.contains_key(&entry.id) {
            return false;
        }
        let kind = &*entry.kind;
        let mut on = entry.depends_on.iter();
        let is_seed = |id: &i64| seeds.contains(id);
        if NAMED_BEHIND.contains(&kind) {
            return on.any(|id| {
                let of = self
                    .by_id
                    .get(id)
                    .filter(|of| is_seed(id) || &*of.kind == "DOMAIN");
                of.is_some_and(|of| taken.contains(id) && is_behind(entry, of))
            });
        }
        let is_part = PARTS.contains(&kind) && entry.depends_on.iter().any(is_seed);
        is_part || (ABOUT.contains(&kind) && on.any(|id| taken.contains(id)))
    }

    /// Whether all that it needs is there or can come with it: no other table, and for a foreign key no table without rows.
    fn can_be_there(&self, entry: &Entry, seeds: &BTreeSet<i64>, taken: &HashSet<i64>) -> bool {
        let Some(entry) = self.by_id.get(&entry.id) else {
            return false;
        };
        self.closure(entry, seeds).values().all(|need| {
            let is_there = if &*entry.kind == "FK CONSTRAINT" {
                seeds.contains(&need.id)
            } else {
                taken.contains(&need.id)
            };
            is_there || !RELATIONS.contains(&&*need.kind)
        })
    }
}

/// `orders orders_pkey` behind the table `orders` of the same schema.
fn is_behind(part: &Entry, of: &Entry) -> bool {
    let rest = part.tag.strip_prefix(&*of.tag);
    part.namespace == of.namespace && rest.is_some_and(|rest| rest.starts_with(' '))
}

fn some_of(names: &[String]) -> String {
    let listed = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
#[path = "tables_tests.rs"]
pub(super) mod tests;
