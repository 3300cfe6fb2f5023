//! How many entries of the table of contents a load has behind it. pg_restore says nothing of it without `--verbose`, whose lines
//! would be one more language to judge; so it is read off what its sessions are at, and off the catalog where several work at once.

use super::list::Select;
use crate::database::dump::Entry;

/// Entries of these kinds are made after everything else, in this order.
const ACL_PASS: [&str; 3] = ["ACL", "ACL LANGUAGE", "DEFAULT ACL"];
const LAST_PASS: [&str; 2] = ["EVENT TRIGGER", "MATERIALIZED VIEW DATA"];
const CONSTRAINTS: [&str; 3] = ["CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT"];

/// The entry that a statement of pg_restore belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// One of these.
    kinds: &'static [&'static str],
    schema: Option<String>,
    tag: String,
    /// As people call it.
    pub name: String,
}

/// What the catalog of a database that is being filled has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub tables: u64,
    /// Those whose rows have come: each of several sessions truncates its table before, which gives it a new file.
    pub filled: u64,
    /// Those of constraints left out.
    pub indexes: u64,
    pub constraints: u64,
}

/// The entries that go in, in the order in which one session makes them.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a>(Select<'a>);

impl<'a> Items<'a> {
    pub fn new(select: Select<'a>) -> Self {
        Self(select)
    }

    fn in_order(self) -> impl Iterator<Item = &'a Entry> {
        let Select { toc, selection } = self.0;
        (0..3).flat_map(move |pass| {
            let taken = toc.entries.iter().filter(|entry| selection.takes(entry));
            taken.filter(move |entry| pass_of(&entry.kind) == pass)
        })
    }

    pub fn total(self) -> u64 {
        self.in_order().count() as u64
    }

    /// How many are behind the one that a single session is at.
    pub fn before(self, at: &At) -> Option<u64> {
        let found = self.in_order().position(|entry| at.is(entry));
        found.map(|position| position as u64)
    }

    /// How many are there by what the catalog has, whoever made them.
    pub fn by_catalog(self, counted: Counted) -> u64 {
        let (mut tables, mut definitions, mut behind) = (0, 0, 0);
        let mut promised = Counted::default();
        for entry in self.in_order() {
            match &*entry.kind {
                "TABLE DATA" => promised.filled += 1,
                "INDEX" => promised.indexes += 1,
                kind if CONSTRAINTS.contains(&kind) => promised.constraints += 1,
                kind => {
                    if promised == Counted::default() {
                        definitions += 1;
                    }
                    tables += u64::from(kind == "TABLE");
                    if kind == "TABLE" && tables == counted.tables {
                        behind = definitions;
                    }
                }
            }
        }
        if counted.tables < tables {
            return behind;
        }
        definitions
            + counted.filled.min(promised.filled)
            + counted.indexes.min(promised.indexes)
            + counted.constraints.min(promised.constraints)
    }
}

fn pass_of(kind: &str) -> u8 {
    match kind {
        kind if ACL_PASS.contains(&kind) => 1,
        kind if LAST_PASS.contains(&kind) => 2,
        _ => 0,
    }
}

impl At {
    /// Of those statements that take long or are many; the start of one is enough.
    pub fn read(statement: &str) -> Option<Self> {
        let mut words = Words(statement);
        match words.keyword()? {
            "COPY" => Some(Self::of(&["TABLE DATA"], words.qualified()?)),
            "REFRESH" => {
                words.all(&["MATERIALIZED", "VIEW"])?;
                let name = words.qualified()?;
                Some(Self::of(&["MATERIALIZED VIEW DATA"], name))
            }
            "CREATE" => Self::created(&mut words),
            "ALTER" => {
                words.all(&["TABLE"])?;
                words.skip("ONLY");
                let (schema, table) = words.qualified()?;
                words.all(&["ADD", "CONSTRAINT"])?;
                let constraint = words.name()?;
                let tag = format!("{table} {constraint}");
                let mut at = Self::of(&CONSTRAINTS, (schema, tag));
                at.name = full(at.schema.as_deref(), &constraint);
                Some(at)
            }
            _ => None,
        }
    }

    fn created(words: &mut Words<'_>) -> Option<Self> {
        words.skip("UNIQUE");
        words.skip("UNLOGGED");
        match words.keyword()? {
            "TABLE" => Some(Self::of(&["TABLE"], words.qualified()?)),
            "INDEX" => {
                let index = words.name()?;
                words.all(&["ON"])?;
                words.skip("ONLY");
                let (schema, _) = words.qualified()?;
                Some(Self::of(&["INDEX"], (schema, index)))
            }
            _ => None,
        }
    }

    fn of(kinds: &'static [&'static str], (schema, tag): (Option<String>, String)) -> Self {
        Self {
            kinds,
            name: full(schema.as_deref(), &tag),
            schema,
            tag,
        }
    }

    fn is(&self, entry: &Entry) -> bool {
        *entry.tag == *self.tag
            && self.kinds.contains(&&*entry.kind)
            && self
                .schema
                .as_deref()
                .is_none_or(|schema| *entry.namespace == *schema)
    }
}

fn full(schema: Option<&str>, name: &str) -> String {
    schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"))
}

/// What is left of a statement, as pg_dump writes them.
struct Words<'s>(&'s str);

impl<'s> Words<'s> {
    fn keyword(&mut self) -> Option<&'s str> {
        let text = self.0.trim_start();
        let end = text
            .find(|c: char| !c.is_ascii_uppercase())
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn skip(&mut self, word: &str) {
        let mut ahead = Words(self.0);
        if ahead.keyword() == Some(word) {
            self.0 = ahead.0;
        }
    }

    fn all(&mut self, words: &[&str]) -> Option<()> {
        words
            .iter()
            .all(|word| self.keyword() == Some(word))
            .then_some(())
    }

    /// A name, with its schema where it has one.
    fn qualified(&mut self) -> Option<(Option<String>, String)> {
        let first = self.name()?;
        let Some(rest) = self.0.strip_prefix('.') else {
            return Some((None, first));
        };
        self.0 = rest;
        Some((Some(first), self.name()?))
    }

    fn name(&mut self) -> Option<String> {
        let text = self.0.trim_start();
        let Some(quoted) = text.strip_prefix('"') else {
            let letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
            let end = text.find(|c| !letter(c)).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            self.0 = rest;
            return (!name.is_empty()).then(|| name.to_owned());
        };
        let mut name = String::new();
        let mut letters = quoted.char_indices();
        while let Some((at, letter)) = letters.next() {
            if letter != '"' {
                name.push(letter);
            } else if quoted[at + 1..].starts_with('"') {
                letters.next();
                name.push('"');
            } else {
                self.0 = &quoted[at + 1..];
                return Some(name);
            }
        }
        // Cut off by the server, which shows the first kilobyte.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(statement: &str) -> Option<(&'static str, String, String)> {
        let at = At::read(statement)?;
        Some((at.kinds[0], at.schema.unwrap_or_default(), at.tag))
    }

    #[test]
    fn a_statement_of_pg_restore_is_an_entry() {
        let cases = [
            (
                "COPY public.orders (id, name) FROM stdin;\n",
                ("TABLE DATA", "public", "orders"),
            ),
            (
                "COPY \"A b\".\"say \"\"hi\"\"\" (id) FROM stdin;",
                ("TABLE DATA", "A b", "say \"hi\""),
            ),
            (
                "CREATE TABLE public.größe (\n id int\n)",
                ("TABLE", "public", "größe"),
            ),
            ("CREATE UNLOGGED TABLE crm.t2 (", ("TABLE", "crm", "t2")),
            (
                "CREATE UNIQUE INDEX i ON ONLY public.orders USING btree (id)",
                ("INDEX", "public", "i"),
            ),
            (
                "ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT \"Key\" PRIMARY KEY (id)",
                ("CONSTRAINT", "public", "orders Key"),
            ),
            (
                "REFRESH MATERIALIZED VIEW public.sums;",
                ("MATERIALIZED VIEW DATA", "public", "sums"),
            ),
        ];
        for (statement, (kind, schema, tag)) in cases {
            let found = read(statement).unwrap_or_else(|| panic!("{statement}"));
            assert_eq!(found, (kind, schema.to_owned(), tag.to_owned()));
        }
    }

    #[test]
    fn what_is_no_entry_or_is_cut_off_is_none() {
        for statement in [
            "",
            "SET statement_timeout = 0;",
            "ALTER TABLE public.orders OWNER TO erp;",
            "COPY \"a very long na",
            "COPY",
            "CREATE INDEX i",
            "CREATE FUNCTION public.f() RETURNS int",
            "<insufficient privilege>",
            "Ä",
        ] {
            assert_eq!(read(statement), None, "{statement}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(COPY|CREATE|ALTER|TABLE|INDEX|ON|ADD|CONSTRAINT|\"|\\.| |ä|x){0,12}") {
            let _ = At::read(&text);
        }
    }
}
