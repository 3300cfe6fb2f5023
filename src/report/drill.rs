//! What a drill has shown: the evidence that an archive restores, for whoever asks a year later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;

/// The report's field `drill`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrillFacts {
    #[serde(rename = "where")]
    pub place: Place,
    /// Null until the archive was chosen.
    pub origin: Option<Origin>,
    /// As `ssh-ed25519 SHA256:…`; null where the store has none.
    pub host_key: Option<String>,
    /// Of the `pg_restore` that loaded it.
    pub pg_restore: Option<String>,
    /// What the table of contents lists and the restored database has, by kind.
    pub objects: BTreeMap<String, usize>,
    /// Fetch, unzip, restore and check together; null until they have gone well.
    pub time_to_restore_seconds: Option<f64>,
    /// Rows of all tables, counted; null until they are.
    pub rows: Option<u64>,
    /// Every table, largest first.
    pub tables: Vec<CountedTable>,
    /// Whether all that was made is gone again.
    pub dropped: bool,
}

/// Where it was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    #[default]
    Server,
    Local,
}

/// Where the archive's bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Store,
    /// From the store through to pg_restore; nothing hashed the archive.
    Streamed,
    /// An earlier run had fetched the same archive, and its SHA-256 still held.
    Kept,
}

/// A table with its exact number of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedTable {
    pub schema: String,
    pub name: String,
    /// Null where they could not be counted.
    pub rows: Option<u64>,
}

impl Record {
    /// Whether it restored to throw away, so that it says nothing about what is live.
    #[must_use]
    pub fn is_drill(&self) -> bool {
        self.command == "drill"
    }

    /// Whether what it restored was never meant to go live.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.is_beside() || self.is_drill()
    }
}
