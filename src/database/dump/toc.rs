//! The table of contents of a dump: every object in it, and what the target server must have for them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::directory::{DataFile, TABLE_OF_CONTENTS};
use super::header::{Format, Header};
use super::kind::{Kind, octal, what_is_it};
use super::raw::{self, Raw};
use super::reader::{Reader, broken, judged};
use super::traits::Traits;
use crate::verdict::{Judge, Outcome, Verdict};

/// More entries than any real dump has, large objects aside.
const MOST_ENTRIES: usize = 4_000_000;

/// One object of the dump, as `pg_restore -l` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    /// `TABLE`, `TABLE DATA`, `ACL`, … as pg_dump writes it.
    pub kind: Arc<str>,
    /// Empty where the object is in no schema, as in the other fields.
    pub namespace: Arc<str>,
    /// Its name; a function's with its arguments, a trigger's behind its table's.
    pub tag: Box<str>,
    pub owner: Arc<str>,
    pub tablespace: Arc<str>,
    /// The ids of the entries that must be there before it.
    pub depends_on: Box<[i64]>,
    /// Roles that its SQL names: of a grant, a policy, a user mapping.
    pub names: Box<[Arc<str>]>,
    pub traits: Traits,
}

impl Entry {
    /// Whether every restore into an existing database (without `--create`, with `--no-subscriptions`) passes it over.
    #[must_use]
    pub fn is_passed_over(&self) -> bool {
        raw::is_passed_over(&self.kind, &self.tag)
    }

    /// Whether `privileges = "skip"` leaves it out.
    #[must_use]
    pub fn is_privilege(&self) -> bool {
        matches!(&*self.kind, "ACL" | "DEFAULT ACL")
    }
}

/// Large objects that follow each other in the dump with consecutive ids, or what is said about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeObjects {
    /// They stand before `Toc::entries[before]`.
    pub before: usize,
    /// `BLOB`, `ACL`, `COMMENT`, `SECURITY LABEL`.
    pub kind: Arc<str>,
    pub ids: RangeInclusive<i64>,
}

/// What a dump contains and needs. Large objects are counted, not listed: there may be millions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    pub header: Header,
    /// In the dump's order.
    pub entries: Vec<Entry>,
    /// All entries, the unlisted ones too.
    pub count: u64,
    pub large_objects: u64,
    /// Where the large objects stand among the entries.
    pub runs: Vec<LargeObjects>,
    /// To whom the large objects belong, and who is granted something on them.
    pub large_object_owners: BTreeSet<String>,
    pub large_object_grantees: BTreeSet<String>,
    /// Table access methods other than `heap`.
    pub access_methods: BTreeSet<String>,
    /// The client encoding of everything in the dump: `UTF8`.
    pub encoding: Option<String>,
    /// The statement that would make the database anew, which a restore into an existing one leaves out.
    pub create_database: Option<String>,
    /// The dump makes the schema `public` itself, which fails where there is one.
    pub creates_public_schema: bool,
    /// Where the data lie, for a dump in directory format.
    pub files: Vec<DataFile>,
}

impl Toc {
    /// Reads the table of contents at the start of a dump's only file, or of a `toc.dat`, and no further.
    ///
    /// # Errors
    /// `damaged`: no dump, cut off or contradictory. `config`: of a newer PostgreSQL than is understood here. `local`: unreadable.
    pub fn read(mut source: impl Read) -> Outcome<Self> {
        let mut head = Vec::new();
        let mut first = (&mut source).take(512);
        first.read_to_end(&mut head).map_err(|e| judged(&e))?;
        match what_is_it(&head) {
            Kind::Custom => Self::parse(head.chain(source), Format::Custom),
            Kind::Contents => Self::parse(head.chain(source), Format::Directory),
            Kind::Tar => {
                let bytes = head.get(124..136).and_then(octal).unwrap_or(0);
                Self::parse(source.take(bytes), Format::Tar)
            }
            other => Err(other.refuse("the dump")),
        }
    }

    /// Reads the table of contents of the dump at `path`: a file, or the directory of a dump in directory format.
    ///
    /// # Errors
    /// As [`Toc::read`].
    pub fn open(path: &Path) -> Outcome<Self> {
        let directory = path.is_dir();
        let file = if directory {
            path.join(TABLE_OF_CONTENTS)
        } else {
            path.to_owned()
        };
        let source =
            File::open(&file).judge(Verdict::Local, format!("open the dump {}", file.display()))?;
        let source = BufReader::with_capacity(64 * 1024, source);
        if directory {
            return Self::parse(source, Format::Directory);
        }
        Self::read(source)
    }

    /// Reads a header and its table of contents: a custom dump from its start, or a `toc.dat`.
    ///
    /// # Errors
    /// As [`Toc::read`].
    pub fn parse(source: impl Read, format: Format) -> Outcome<Self> {
        let mut reader = Reader::new(source);
        let header = Header::read(&mut reader, format)?;
        let stated = reader.int()?;
        let count = u64::try_from(stated)
            .map_err(|_| broken(format!("{stated} entries in the table of contents")))?;
        let mut building = Building::new(header, count);
        for _ in 0..count {
            let raw = Raw::read(&mut reader, &building.toc.header)?;
            building.add(raw)?;
        }
        Ok(building.toc)
    }

    /// The entries of one kind, such as `SUBSCRIPTION`.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| &*entry.kind == kind)
    }

    /// Whether the dump holds subscriptions, which a restore leaves out.
    #[must_use]
    pub fn has_subscriptions(&self) -> bool {
        self.of_kind("SUBSCRIPTION").next().is_some()
    }

    /// Whether the dump has tables and rows of none, not even an entry for them: `pg_dump --schema-only`.
    #[must_use]
    pub fn has_no_rows(&self) -> bool {
        self.of_kind("TABLE").next().is_some() && self.of_kind("TABLE DATA").next().is_none()
    }

    /// How many entries there are of each kind.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for entry in &self.entries {
            *kinds.entry(&*entry.kind).or_default() += 1;
        }
        kinds
    }
}

/// A table of contents on its way; names that come again are kept once.
struct Building {
    toc: Toc,
    names: HashSet<Arc<str>>,
}

impl Building {
    fn new(header: Header, count: u64) -> Self {
        let toc = Toc {
            header,
            entries: Vec::new(),
            count,
            large_objects: 0,
            runs: Vec::new(),
            large_object_owners: BTreeSet::new(),
            large_object_grantees: BTreeSet::new(),
            access_methods: BTreeSet::new(),
            encoding: None,
            create_database: None,
            creates_public_schema: false,
            files: Vec::new(),
        };
        Self {
            toc,
            names: HashSet::new(),
        }
    }

    fn add(&mut self, raw: Raw) -> Outcome<()> {
        self.note(&raw);
        self.toc.files.extend(raw.file.clone());
        if raw.is_large_object() {
            self.large_object(raw);
            return Ok(());
        }
        if self.toc.entries.len() == MOST_ENTRIES {
            return Err(broken(format!("more than {MOST_ENTRIES} objects")));
        }
        let entry = Entry {
            id: raw.id,
            kind: self.name(raw.kind),
            namespace: self.name(raw.namespace),
            tag: raw.tag.into_boxed_str(),
            owner: self.name(raw.owner),
            tablespace: self.name(raw.tablespace),
            depends_on: raw.depends_on.into_boxed_slice(),
            names: raw.names.into_iter().map(|name| self.name(name)).collect(),
            traits: raw.traits,
        };
        self.toc.entries.push(entry);
        Ok(())
    }

    fn large_object(&mut self, raw: Raw) {
        let kind = self.name(raw.kind);
        let toc = &mut self.toc;
        if kind.starts_with("BLOB") {
            toc.large_objects += 1;
            note(&mut toc.large_object_owners, &raw.owner);
        }
        toc.large_object_grantees.extend(raw.names);
        let before = toc.entries.len();
        match toc.runs.last_mut() {
            Some(run)
                if run.before == before && run.kind == kind && run.ids.end() + 1 == raw.id =>
            {
                run.ids = *run.ids.start()..=raw.id;
            }
            _ => toc.runs.push(LargeObjects {
                before,
                kind,
                ids: raw.id..=raw.id,
            }),
        }
    }

    fn note(&mut self, raw: &Raw) {
        let toc = &mut self.toc;
        if raw.access_method != "heap" {
            note(&mut toc.access_methods, &raw.access_method);
        }
        match raw.kind.as_str() {
            "DATABASE" => toc.create_database = Some(raw.sql.clone()),
            "ENCODING" => toc.encoding = raw.sql.split('\'').nth(1).map(str::to_owned),
            "SCHEMA" if raw.tag == "public" => {
                toc.creates_public_schema = raw.sql.contains("CREATE SCHEMA public");
            }
            _ => {}
        }
    }

    fn name(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.names.get(text.as_str()) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        self.names.insert(Arc::clone(&name));
        name
    }
}

fn note(names: &mut BTreeSet<String>, name: &str) {
    if !name.is_empty() && !names.contains(name) {
        names.insert(name.to_owned());
    }
}

#[cfg(test)]
#[path = "toc_tests.rs"]
mod tests;
