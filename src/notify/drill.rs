//! What a drill has shown, for the report's text: where, how long, and how many rows.

use super::layout::duration_text;
use super::message::list;
use crate::escape::escaped;
use crate::report::{CountedTable, DrillFacts, Origin, Place, Record};

/// Tables that the text names; the report has all of them.
const NAMED: usize = 10;

/// `restores: 12 rows in 3 tables, in 4 min. All of it was dropped again`.
pub(super) fn proven(record: &Record) -> String {
    let Some(facts) = &record.drill else {
        return "restores".to_owned();
    };
    let rows = facts.rows.map(|rows| {
        let tables = facts.tables.len();
        format!(": {} in {}", many(rows, "row"), many(tables as u64, "table"))
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

pub(super) fn evidence(facts: &DrillFacts) -> String {
    let place = match facts.place {
        Place::Server => "a scratch database on the job's server",
        Place::Local => "a private PostgreSQL server on this machine",
    };
    let origin = facts.origin.map(|origin| match origin {
        Origin::Store => "fetched from the store",
        Origin::Streamed => "streamed from the store",
        Origin::Kept => "fetched by an earlier run, same SHA-256",
    });
    let objects = facts.objects.iter();
    let objects: Vec<String> = objects.map(|(kind, count)| format!("{count} {kind}")).collect();
    let objects = (!objects.is_empty()).then(|| objects.join(", "));
    let time = facts.time_to_restore_seconds.map(duration_text);
    let rows = facts.rows.map(|rows| rows.to_string());
    let dropped = if facts.dropped { "yes" } else { "not by the drill itself" };
    let mut lines = vec![list(
        "Drill",
        &[
            ("where", Some(place.to_owned())),
            ("archive", origin.map(str::to_owned)),
            ("host key", facts.host_key.as_deref().map(escaped)),
            ("tool", facts.pg_restore.as_ref().map(|v| format!("pg_restore {}", escaped(v)))),
            ("restored", time.map(|time| format!("in {time}: fetch, unzip, restore and check"))),
            ("objects", objects.map(|all| format!("{all}, as the dump lists"))),
            ("rows", rows),
            ("dropped", Some(dropped.to_owned())),
        ],
    )];
    lines.extend(facts.tables.iter().take(NAMED).map(one));
    if let more @ 1.. = facts.tables.len().saturating_sub(NAMED) {
        lines.push(format!("            and {} more; the report has all of them", many(more as u64, "table")));
    }
    lines.join("\n")
}

/// Within 80 columns, but for a name that is longer.
fn one(table: &CountedTable) -> String {
    let rows = table.rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    let name = escaped(&format!("{}.{}", table.schema, table.name));
    format!("            {rows:>14}  {name}")
}
