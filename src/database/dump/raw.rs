//! An entry of the table of contents as it lies in the file, with what its SQL tells beyond its fields.

use std::collections::BTreeSet;
use std::io::Read;

use super::directory::DataFile;
use super::header::{Format, Header};
use super::reader::{Reader, broken};
use super::roles;
use super::traits::{self, Traits};
use crate::verdict::Outcome;

/// Kinds whose whole SQL is looked into: who is named in it.
const READ_WHOLE: [&str; 7] = [
    "ACL",
    "DEFAULT ACL",
    "POLICY",
    "USER MAPPING",
    "DATABASE",
    "ENCODING",
    "SCHEMA",
];
/// Kinds of which the beginning of the SQL tells what it takes to create them; the rest may be megabytes.
const READ_HEAD: [&str; 5] = ["FUNCTION", "PROCEDURE", "TYPE", "CAST", "PUBLICATION"];

#[derive(Debug)]
pub struct Raw {
    pub id: i64,
    pub kind: String,
    pub tag: String,
    pub sql: String,
    pub namespace: String,
    pub tablespace: String,
    pub access_method: String,
    pub owner: String,
    pub depends_on: Vec<i64>,
    pub names: BTreeSet<String>,
    pub traits: Traits,
    /// Of a dump in directory format: where its data lie.
    pub file: Option<DataFile>,
}

impl Raw {
    pub fn read<R: Read>(reader: &mut Reader<R>, header: &Header) -> Outcome<Self> {
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
        let sql = sql_of(reader, &kind)?;
        reader.skip_text()?; // how to drop it
        let is_copied = !reader.head()?.is_empty();
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
        let depends_on = dependencies(reader)?;
        let mut file = None;
        match header.format {
            Format::Custom => reader.skip_offset()?,
            Format::Tar => reader.skip_text()?,
            Format::Directory => file = DataFile::named(reader.name()?, is_copied)?,
        }
        let mut names = BTreeSet::new();
        if matches!(&*kind, "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING") {
            roles::collect(&sql, &mut names);
        }
        Ok(Self {
            traits: traits::of(&kind, &tag, &sql),
            id,
            kind,
            tag,
            sql,
            namespace,
            tablespace,
            access_method,
            owner,
            depends_on,
            names,
            file,
        })
    }

    pub fn is_large_object(&self) -> bool {
        match self.kind.as_str() {
            "BLOB" | "BLOB METADATA" => true,
            "ACL" | "COMMENT" | "SECURITY LABEL" => self.tag.starts_with("LARGE OBJECT"),
            _ => false,
        }
    }
}

fn sql_of<R: Read>(reader: &mut Reader<R>, kind: &str) -> Outcome<String> {
    if READ_WHOLE.contains(&kind) {
        return Ok(reader.sql()?.unwrap_or_default());
    }
    if READ_HEAD.contains(&kind) {
        return reader.head();
    }
    reader.skip_text()?;
    Ok(String::new())
}

fn dependencies<R: Read>(reader: &mut Reader<R>) -> Outcome<Vec<i64>> {
    let mut found = Vec::new();
    while let Some(text) = reader.name()? {
        let id = text.parse();
        found.push(id.map_err(|_| broken("a dependency is no number"))?);
    }
    Ok(found)
}

/// Whether a restore into an existing database (without `--create`, with `--no-subscriptions`) leaves it out.
pub fn is_passed_over(kind: &str, tag: &str) -> bool {
    match kind {
        "DATABASE" | "DATABASE PROPERTIES" => true,
        "ACL" | "COMMENT" | "SECURITY LABEL" => tag.starts_with("DATABASE "),
        kind => kind.starts_with("SUBSCRIPTION"),
    }
}
