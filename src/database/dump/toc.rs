//! The table of contents of a dump: every object in it, and what the target server must have for them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::header::{Format, Header};
use super::kind::{Kind, octal, what_is_it};
use super::reader::{Reader, broken, judged};
use super::roles;
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
    /// Owners, and whoever the SQL of grants, policies and user mappings names; of all that a restore into an existing
    /// database would make.
    pub roles: BTreeSet<String>,
    /// Those of them that what is restored will belong to.
    pub owners: BTreeSet<String>,
    pub extensions: BTreeSet<String>,
    pub tablespaces: BTreeSet<String>,
    /// Table access methods other than `heap`.
    pub access_methods: BTreeSet<String>,
    pub languages: BTreeSet<String>,
    /// The client encoding of everything in the dump: `UTF8`.
    pub encoding: Option<String>,
    /// The statement that would make the database anew, which a restore into an existing one leaves out.
    pub create_database: Option<String>,
    /// The dump makes the schema `public` itself, which fails where there is one.
    pub creates_public_schema: bool,
}

impl Toc {
    /// Reads the table of contents of a dump in one file (custom or tar), and no further.
    ///
    /// # Errors
    /// `damaged`: no dump, cut off or contradictory. `config`: of a newer PostgreSQL than is understood here. `local`: unreadable.
    pub fn read(mut source: impl Read) -> Outcome<Self> {
        let mut head = Vec::new();
        let mut first = (&mut source).take(512);
        first.read_to_end(&mut head).map_err(|e| judged(&e))?;
        match what_is_it(&head) {
            Kind::Custom => Self::parse(head.chain(source), Format::Custom),
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
            path.join("toc.dat")
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

/// Kinds whose SQL is looked into.
const READ_KINDS: [&str; 7] = [
    "ACL",
    "DEFAULT ACL",
    "POLICY",
    "USER MAPPING",
    "DATABASE",
    "ENCODING",
    "SCHEMA",
];

/// An entry as it lies in the file.
struct Raw {
    id: i64,
    kind: String,
    tag: String,
    sql: String,
    namespace: String,
    tablespace: String,
    access_method: String,
    owner: String,
}

impl Raw {
    fn read<R: Read>(reader: &mut Reader<R>, header: &Header) -> Outcome<Self> {
        let version = header.archive_version;
        let id = reader.int()?;
        if id <= 0 {
            return Err(broken(format!("entry id {id} in the table of contents")));
        }
        reader.int()?; // whether it has data
        reader.skip_text()?; // its catalog
        reader.skip_text()?; // its OID there
        let tag = reader.name()?.unwrap_or_default();
        let kind = reader.name()?.unwrap_or_default();
        reader.int()?; // its section
        let sql = if READ_KINDS.contains(&kind.as_str()) {
            reader.sql()?.unwrap_or_default()
        } else {
            reader.skip_text()?;
            String::new()
        };
        reader.skip_text()?; // how to drop it
        reader.skip_text()?; // its COPY statement
        let namespace = reader.name()?.unwrap_or_default();
        let tablespace = reader.name()?.unwrap_or_default();
        let mut access_method = String::new();
        if version >= (1, 14) {
            access_method = reader.name()?.unwrap_or_default();
        }
        if version >= (1, 16) {
            reader.int()?; // pg_class.relkind
        }
        let owner = reader.name()?.unwrap_or_default();
        reader.skip_text()?; // whether it has OIDs
        while reader.name()?.is_some() {} // what it depends on
        match header.format {
            Format::Custom => reader.skip_offset()?,
            Format::Tar | Format::Directory => reader.skip_text()?,
        }
        Ok(Self {
            id,
            kind,
            tag,
            sql,
            namespace,
            tablespace,
            access_method,
            owner,
        })
    }

    /// Whether a restore into an existing database (without `--create`, with `--no-subscriptions`) leaves it out.
    fn is_left_out(&self) -> bool {
        match self.kind.as_str() {
            "DATABASE" | "DATABASE PROPERTIES" => true,
            "ACL" | "COMMENT" | "SECURITY LABEL" => self.tag.starts_with("DATABASE "),
            kind => kind.starts_with("SUBSCRIPTION"),
        }
    }

    fn is_large_object(&self) -> bool {
        match self.kind.as_str() {
            "BLOB" | "BLOB METADATA" => true,
            "ACL" | "COMMENT" | "SECURITY LABEL" => self.tag.starts_with("LARGE OBJECT"),
            _ => false,
        }
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
            roles: BTreeSet::new(),
            owners: BTreeSet::new(),
            extensions: BTreeSet::new(),
            tablespaces: BTreeSet::new(),
            access_methods: BTreeSet::new(),
            languages: BTreeSet::new(),
            encoding: None,
            create_database: None,
            creates_public_schema: false,
        };
        Self {
            toc,
            names: HashSet::new(),
        }
    }

    fn add(&mut self, raw: Raw) -> Outcome<()> {
        self.needs(&raw);
        if raw.is_large_object() {
            self.toc.large_objects += u64::from(raw.kind.starts_with("BLOB"));
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
        };
        self.toc.entries.push(entry);
        Ok(())
    }

    fn needs(&mut self, raw: &Raw) {
        if raw.is_left_out() {
            if raw.kind == "DATABASE" {
                self.toc.create_database = Some(raw.sql.clone());
            }
            return;
        }
        let toc = &mut self.toc;
        note(&mut toc.roles, &raw.owner);
        // Whoever owns the new database is that role in it; nobody can be made a member.
        if raw.owner != "pg_database_owner" {
            note(&mut toc.owners, &raw.owner);
        }
        note(&mut toc.tablespaces, &raw.tablespace);
        if raw.access_method != "heap" {
            note(&mut toc.access_methods, &raw.access_method);
        }
        match raw.kind.as_str() {
            "EXTENSION" => note(&mut toc.extensions, &raw.tag),
            "PROCEDURAL LANGUAGE" => note(&mut toc.languages, &raw.tag),
            "ENCODING" => toc.encoding = raw.sql.split('\'').nth(1).map(str::to_owned),
            "SCHEMA" if raw.tag == "public" => {
                toc.creates_public_schema = raw.sql.contains("CREATE SCHEMA public");
            }
            "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING" => {
                roles::collect(&raw.sql, &mut toc.roles);
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
