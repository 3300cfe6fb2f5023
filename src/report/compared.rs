//! What the report knows of the new database beside the live one: what would be lost, and how many rows there are.

use serde::{Deserialize, Serialize};

/// The fields of the report that compare the two databases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// What the swap would lose, or has lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// The tables whose number of rows changed most, at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableRows>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_totals: Option<TableTotals>,
}

/// What of one kind the live database has and the new one has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// `table`, `view`, `grant`.
    pub kind: String,
    /// Whom it concerns, where it is a grant or an ownership.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    pub count: usize,
    /// The first ones, escaped; with the privileges where it is a grant.
    pub names: Vec<String>,
}

/// The rows of one table in the new and in the live database, by their statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    pub schema: String,
    pub name: String,
    /// Null where the new database has no such table.
    pub rows: Option<i64>,
    /// Null where live has no such table, or has never counted its rows.
    pub live_rows: Option<i64>,
    #[serde(rename = "in")]
    pub presence: Presence,
}

/// Which of the two databases has a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Both,
    New,
    Live,
}

/// Over all tables, also those that the report doesn't name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableTotals {
    pub tables: usize,
    pub rows: i64,
    pub live_tables: usize,
    /// Of those whose number is known.
    pub live_rows: i64,
    pub live_unknown: usize,
}
