//! What a dump, or the chosen part of it, asks of the server: read from its table of contents and its statements.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::database::dump::{Entry, Selection, Toc};
use crate::escape::shown;

/// An entry of the table of contents that needs a right of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thing {
    /// `EVENT TRIGGER`.
    pub kind: String,
    pub name: String,
}

impl Thing {
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The setting that leaves it out.
    #[must_use]
    pub fn left_out_by(&self) -> String {
        let about = self.name.split(' ').next().unwrap_or_default();
        match self.kind.as_str() {
            "ACL" => "privileges = \"skip\"".to_owned(),
            "COMMENT" => format!("skip = [\"COMMENT {about}\"]"),
            kind => format!("skip = [{kind:?}]"),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", shown(&self.kind), shown(&self.name))
    }
}

/// What must be there, and who must be allowed what.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The role as which everything is made; None: the one that logs in.
    pub acting: Option<String>,
    /// Whether missing roles will be created.
    pub creates_roles: bool,
    /// Every role that is mentioned: owners, grantees, policies.
    pub roles: BTreeSet<String>,
    /// Those of them that objects will belong to, or as which something is made.
    pub owners: BTreeSet<String>,
    /// Those of them that privileges are granted to.
    pub grantees: BTreeSet<String>,
    /// Those of them that policies and user mappings are for.
    pub named: BTreeSet<String>,
    /// Those of them whose default privileges are set.
    pub grantors: BTreeSet<String>,
    pub extensions: BTreeSet<String>,
    pub languages: BTreeSet<String>,
    /// The languages that functions are written in.
    pub function_languages: BTreeSet<String>,
    pub tablespaces: BTreeSet<String>,
    /// The dump's encoding: `UTF8`.
    pub encoding: Option<String>,
    /// Entries that only a superuser can create.
    pub superuser_only: BTreeSet<Thing>,
    /// Entries that only a superuser can own, with their owners.
    pub superuser_owns: BTreeMap<Thing, String>,
    /// Functions that run with their owner's rights.
    pub run_as_owner: usize,
    /// Schemas that are made, with their owners.
    pub schemas: BTreeMap<String, String>,
    /// Schemas, and who will own something in them.
    pub places: BTreeSet<(String, String)>,
    /// Whether it stays beside the live database, so that nothing of that is in the way.
    pub beside: bool,
    /// pg_restore's parallel connections.
    pub jobs: u32,
}

impl Needs {
    /// What the chosen part of a dump needs.
    #[must_use]
    pub fn of(toc: &Toc, selection: &Selection) -> Self {
        let mut needs = Self {
            acting: selection.owner.clone(),
            encoding: toc.encoding.clone(),
            ..Self::default()
        };
        let keeps_owners = selection.owner.is_none();
        if let Some(owner) = &selection.owner {
            needs.owners.insert(owner.clone());
        }
        for entry in toc.entries.iter().filter(|entry| selection.takes(entry)) {
            needs.add(entry, keeps_owners, selection.keeps_tablespaces);
        }
        for run in toc.runs.iter().filter(|run| selection.takes_large(run)) {
            match &*run.kind {
                "ACL" => needs
                    .grantees
                    .extend(toc.large_object_grantees.iter().cloned()),
                "BLOB" | "BLOB METADATA" if keeps_owners => {
                    needs.owners.extend(toc.large_object_owners.iter().cloned());
                }
                _ => {}
            }
        }
        // Whoever owns the new database is that role in it: it is in every server, and nobody can be made a member.
        if needs.owners.remove("pg_database_owner") {
            needs.roles.insert("pg_database_owner".to_owned());
        }
        for more in [
            &needs.owners,
            &needs.grantees,
            &needs.grantors,
            &needs.named,
        ] {
            needs.roles.extend(more.iter().cloned());
        }
        needs
    }

    fn add(&mut self, entry: &Entry, keeps_owners: bool, keeps_tablespaces: bool) {
        let thing = || Thing::new(&entry.kind, &entry.tag);
        let names = entry.names.iter().map(ToString::to_string);
        if entry.is_privilege() {
            self.grantees.extend(names);
        } else {
            self.named.extend(names);
        }
        if &*entry.kind == "DEFAULT ACL" {
            self.grantors.insert(entry.owner.to_string());
        } else if keeps_owners && !entry.owner.is_empty() {
            self.owner_of(entry);
        }
        if keeps_tablespaces && !entry.tablespace.is_empty() {
            self.tablespaces.insert(entry.tablespace.to_string());
        }
        match &*entry.kind {
            "EXTENSION" => drop(self.extensions.insert(entry.tag.to_string())),
            "PROCEDURAL LANGUAGE" => drop(self.languages.insert(entry.tag.to_string())),
            _ => {}
        }
        if let Some(language) = &entry.traits.language {
            self.function_languages.insert(language.to_string());
        }
        if entry.traits.needs_superuser {
            self.superuser_only.insert(thing());
        }
        if entry.traits.superuser_owns && keeps_owners {
            self.superuser_owns.insert(thing(), entry.owner.to_string());
        }
        self.run_as_owner += usize::from(entry.traits.runs_as_owner);
    }

    fn owner_of(&mut self, entry: &Entry) {
        let owner = entry.owner.to_string();
        self.owners.insert(owner.clone());
        let belongs = !matches!(&*entry.kind, "ACL" | "COMMENT" | "SECURITY LABEL");
        if &*entry.kind == "SCHEMA" {
            self.schemas.insert(entry.tag.to_string(), owner);
        } else if belongs && !entry.namespace.is_empty() {
            self.places.insert((entry.namespace.to_string(), owner));
        }
    }
}
