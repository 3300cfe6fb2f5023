//! After the load: what the dump's table of contents promised must be in the scratch database, and usable.
//!
//! pg_restore's exit status doesn't say so: it has gone on after errors before.

use std::collections::BTreeMap;
use std::fmt;

use super::connection::{Session, column};
use crate::escape::shown;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// Missing objects that a message names.
const NAMED: usize = 10;

/// An entry of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised {
    /// As pg_dump says: `TABLE`, `FK CONSTRAINT`, `MATERIALIZED VIEW`.
    pub kind: String,
    pub schema: Option<String>,
    /// The entry's tag, as it is: `orders`, `orders orders_pkey` for what hangs on a table, `sum(integer)`.
    pub name: String,
}

/// How many of what was promised is there, for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    pub tables: usize,
    pub views: usize,
    pub sequences: usize,
    pub indexes: usize,
    pub constraints: usize,
    pub triggers: usize,
    pub functions: usize,
    pub types: usize,
    pub extensions: usize,
    pub schemas: usize,
    pub others: usize,
}

impl Counted {
    /// By the word for many of a kind: what there is any of.
    #[must_use]
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let others = (self.others, "other", "others");
        let all = self.all().into_iter().chain([others]);
        let there = all.filter(|(count, ..)| *count > 0);
        there
            .map(|(count, _, many)| (many.to_owned(), count))
            .collect()
    }

    fn all(&self) -> [(usize, &'static str, &'static str); 10] {
        [
            (self.tables, "table", "tables"),
            (self.views, "view", "views"),
            (self.sequences, "sequence", "sequences"),
            (self.indexes, "index", "indexes"),
            (self.constraints, "constraint", "constraints"),
            (self.triggers, "trigger", "triggers"),
            (self.functions, "function", "functions"),
            (self.types, "type", "types"),
            (self.extensions, "extension", "extensions"),
            (self.schemas, "schema", "schemas"),
        ]
    }
}

impl fmt::Display for Counted {
    /// `12 tables, 30 indexes`: what there is any of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        let shown = all.iter().filter(|(count, ..)| *count > 0);
        let words: Vec<String> = shown
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        f.write_str(&words.join(", "))
    }
}

/// What kinds of entries are looked for, and as what the catalog query calls them.
const KINDS: [(&str, &str); 24] = [
    ("TABLE", "table"),
    ("FOREIGN TABLE", "table"),
    ("VIEW", "view"),
    ("MATERIALIZED VIEW", "view"),
    ("SEQUENCE", "sequence"),
    ("INDEX", "index"),
    ("CONSTRAINT", "constraint"),
    ("FK CONSTRAINT", "constraint"),
    ("CHECK CONSTRAINT", "constraint"),
    ("TRIGGER", "trigger"),
    ("FUNCTION", "function"),
    ("PROCEDURE", "function"),
    ("AGGREGATE", "function"),
    ("TYPE", "type"),
    ("DOMAIN", "type"),
    ("EXTENSION", "extension"),
    ("SCHEMA", "schema"),
    ("POLICY", "policy"),
    ("RULE", "rule"),
    ("EVENT TRIGGER", "event trigger"),
    ("PUBLICATION", "publication"),
    ("SERVER", "server"),
    ("COLLATION", "collation"),
    ("STATISTICS", "statistics"),
];

/// Kind, schema (empty where there is none) and tag of everything, in the words of the table of contents.
const CATALOG: &str = "
SELECT CASE WHEN relkind IN ('r', 'p', 'f') THEN 'table' WHEN relkind IN ('v', 'm') THEN 'view'
            WHEN relkind = 'S' THEN 'sequence' ELSE 'index' END, nspname::text, relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I') AND {user}
UNION ALL SELECT 'constraint', nspname::text, relname || ' ' || conname
FROM pg_constraint JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {user}
UNION ALL SELECT 'constraint', nspname::text, typname || ' ' || conname
FROM pg_constraint JOIN pg_type t ON t.oid = contypid JOIN pg_namespace n ON n.oid = typnamespace WHERE {user}
UNION ALL SELECT 'trigger', nspname::text, relname || ' ' || tgname
FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {user}
UNION ALL SELECT 'policy', nspname::text, relname || ' ' || polname
FROM pg_policy JOIN pg_class c ON c.oid = polrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {user}
UNION ALL SELECT 'rule', nspname::text, relname || ' ' || rulename
FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class JOIN pg_namespace n ON n.oid = relnamespace WHERE {user}
UNION ALL SELECT 'function', nspname::text, proname::text FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE {user}
UNION ALL SELECT 'type', nspname::text, typname::text FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE {user}
UNION ALL SELECT 'collation', nspname::text, collname::text FROM pg_collation JOIN pg_namespace n ON n.oid = collnamespace WHERE {user}
UNION ALL SELECT 'statistics', nspname::text, stxname::text FROM pg_statistic_ext JOIN pg_namespace n ON n.oid = stxnamespace WHERE {user}
UNION ALL SELECT 'extension', '', extname::text FROM pg_extension
UNION ALL SELECT 'schema', '', nspname::text FROM pg_namespace
UNION ALL SELECT 'event trigger', '', evtname::text FROM pg_event_trigger
UNION ALL SELECT 'publication', '', pubname::text FROM pg_publication
UNION ALL SELECT 'server', '', srvname::text FROM pg_foreign_server";

/// pg_dump leaves out the system's own schemas; the catalogs' thousands of rows need not travel.
const USER: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";

type Key = (String, String, String);

/// Compares what is there with what was promised. Functions are compared by name and number, not by arguments.
///
/// # Errors
/// `failed`: something is missing, or an index is invalid; the first few are named.
pub async fn compare(session: &Session, promised: &[Promised]) -> Outcome<Counted> {
    let present = present(session).await?;
    let mut counted = Counted::default();
    let mut missing = Vec::new();
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    for entry in promised {
        let Some(key) = key(entry) else {
            continue;
        };
        let number = seen.entry(key.clone()).or_default();
        *number += 1;
        if present.get(&key).is_some_and(|there| there >= number) {
            *counted.of(&key.0) += 1;
        } else {
            missing.push(named(entry));
        }
    }
    if !missing.is_empty() {
        return Err(Failed::new(
            Verdict::Failed,
            format!(
                "the dump promised what the scratch database lacks: {}",
                some_of(&missing)
            ),
        ));
    }
    all_valid(session).await?;
    Ok(counted)
}

async fn present(session: &Session) -> Outcome<BTreeMap<Key, usize>> {
    let rows = session
        .query(&CATALOG.replace("{user}", USER), &[])
        .await
        .context("read the scratch database's catalog")?;
    let mut present = BTreeMap::new();
    for row in &rows {
        let key: Key = (column(row, 0)?, column(row, 1)?, column(row, 2)?);
        *present.entry(key).or_default() += 1;
    }
    Ok(present)
}

fn key(entry: &Promised) -> Option<Key> {
    let (_, kind) = KINDS.iter().find(|(said, _)| *said == entry.kind)?;
    let name = if *kind == "function" {
        entry
            .name
            .split_once('(')
            .map_or(entry.name.as_str(), |(name, _)| name)
    } else {
        entry.name.as_str()
    };
    let schema = entry.schema.as_deref().filter(|schema| *schema != "-");
    Some((
        (*kind).to_owned(),
        schema.unwrap_or_default().to_owned(),
        name.to_owned(),
    ))
}

fn named(entry: &Promised) -> String {
    let schema = entry
        .schema
        .as_ref()
        .filter(|schema| *schema != "-")
        .map_or_else(String::new, |schema| format!("{}.", shown(schema)));
    format!(
        "{} `{schema}{}`",
        shown(&entry.kind.to_lowercase()),
        shown(&entry.name)
    )
}

fn some_of(names: &[String]) -> String {
    let listed = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// pg_dump leaves invalid indexes out, so each one that is here broke on its way.
async fn all_valid(session: &Session) -> Outcome<()> {
    let rows = session
        .query(
            "SELECT format('%I.%I', nspname, relname) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
             JOIN pg_namespace n ON n.oid = relnamespace WHERE NOT indisvalid AND relkind = 'i' ORDER BY 1",
            &[],
        )
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut names = Vec::new();
    for row in &rows {
        names.push(format!("`{}`", shown(&column::<String>(row, 0)?)));
    }
    Err(Failed::new(
        Verdict::Failed,
        format!("invalid indexes after the load: {}", some_of(&names)),
    ))
}

impl Counted {
    fn of(&mut self, kind: &str) -> &mut usize {
        match kind {
            "table" => &mut self.tables,
            "view" => &mut self.views,
            "sequence" => &mut self.sequences,
            "index" => &mut self.indexes,
            "constraint" => &mut self.constraints,
            "trigger" => &mut self.triggers,
            "function" => &mut self.functions,
            "type" => &mut self.types,
            "extension" => &mut self.extensions,
            "schema" => &mut self.schemas,
            _ => &mut self.others,
        }
    }
}
