//! What a drill has shown, for the report's text: where, how long, and how many rows.

use super::layout::duration_text;
use super::message::list;
use crate::escape::escaped;
use crate::report::{CountedTable, DatabaseFacts, DrillFacts, Origin, Place, Record};

/// Tables that the text names; the report has all of them.
const NAMED: usize = 10;

/// `restores: 12 rows in 3 tables, in 4 min. All of it was dropped again`.
pub(super) fn proven(record: &Record) -> String {
    let Some(facts) = &record.drill else {
        return "restores".to_owned();
    };
    let rows = facts.rows.map(|rows| {
        let tables = facts.tables.len();
        format!(
            ": {} in {}",
            many(rows, "row"),
            many(tables as u64, "table")
        )
    });
    let time = facts.time_to_restore_seconds;
    let time = time.map(|seconds| format!(", in {}", duration_text(seconds)));
    let dropped = if facts.dropped {
        ". It was checked, counted and dropped again; the live database was not touched"
    } else {
        ""
    };
    format!(
        "restores{}{}{dropped}",
        rows.unwrap_or_default(),
        time.unwrap_or_default()
    )
}

fn many(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Everything that it has shown, as a section of the text.
pub(super) fn evidence(facts: &DrillFacts, database: Option<&DatabaseFacts>) -> String {
    let server =
        database.map(|database| format!("PostgreSQL {}", escaped(&database.server_version)));
    let tool = facts.pg_restore.as_ref();
    let time = facts.time_to_restore_seconds.map(duration_text);
    let dropped = match (facts.dropped, tool) {
        (false, _) => Some("NO: the next run of this job tries again"),
        (true, Some(_)) => Some("all of it"),
        // It ended before anything was made.
        (true, None) => None,
    };
    let mut lines = vec![list(
        "Drill",
        &[
            ("where", Some(place(facts, database))),
            ("server", server),
            (
                "archive",
                facts
                    .origin
                    .map(|origin| origin_in_words(origin).to_owned()),
            ),
            ("host key", facts.host_key.as_deref().map(escaped)),
            (
                "tool",
                tool.map(|version| format!("pg_restore {}", escaped(version))),
            ),
            (
                "restored",
                time.map(|time| format!("in {time}: fetch, unzip, restore and check")),
            ),
            ("objects", objects(facts)),
            ("rows", facts.rows.map(|rows| rows.to_string())),
            ("dropped", dropped.map(str::to_owned)),
        ],
    )];
    lines.extend(facts.tables.iter().take(NAMED).map(one));
    if let more @ 1.. = facts.tables.len().saturating_sub(NAMED) {
        let more = many(more as u64, "table");
        lines.push(format!(
            "            and {more} more; the report has all of them"
        ));
    }
    lines.join("\n")
}

fn place(facts: &DrillFacts, database: Option<&DatabaseFacts>) -> String {
    match (facts.place, database) {
        (Place::Local, _) => "a private server on this machine".to_owned(),
        (Place::Server, Some(database)) => {
            format!("a scratch database on {}", escaped(&database.host))
        }
        (Place::Server, None) => "a scratch database on the job's server".to_owned(),
    }
}

fn origin_in_words(origin: Origin) -> &'static str {
    match origin {
        Origin::Store => "fetched from the store",
        Origin::Streamed => "streamed from the store",
        Origin::Kept => "fetched by an earlier run, same SHA-256",
    }
}

/// None where it got not as far.
fn objects(facts: &DrillFacts) -> Option<String> {
    let kinds = facts.objects.iter();
    let kinds: Vec<String> = kinds
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    (!kinds.is_empty()).then(|| format!("{}, as the dump lists", kinds.join(", ")))
}

/// Within 80 columns, but for a name that is longer.
fn one(table: &CountedTable) -> String {
    let rows = table
        .rows
        .map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    let name = escaped(&format!("{}.{}", table.schema, table.name));
    format!("            {rows:>14}  {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_is_told_as_dropped() {
        let mut facts = DrillFacts {
            dropped: true,
            ..DrillFacts::default()
        };
        assert!(!evidence(&facts, None).contains("dropped"));
        facts.pg_restore = Some("17.6".to_owned());
        assert!(evidence(&facts, None).contains("all of it"));
        facts.dropped = false;
        assert!(evidence(&facts, None).contains("NO:"));
    }
}
