//! The list of runs, and of drills with their evidence: a line each, and all that its report knows on demand.

use jiff::Timestamp;

use super::markup::Html;
use super::unit::grouped;
use super::{badge, minute};
use crate::commands::report::text::took;
use crate::commands::report::{Entry, History, Tone};
use crate::config::format_bytes;
use crate::escape::said;
use crate::report::{
    ArchiveFacts, CountedTable, DatabaseFacts, DrillFacts, DumpFacts, Origin, Place, Presence,
    Record, TableRows,
};
use crate::verdict::Verdict;

/// Runs with all their details, the newest; the page must not grow for ever.
const DETAILED: usize = 600;
/// Drills that are seen at once.
const DRILLS: usize = 5;
/// Of each kind of detail, the first ones.
const SHOWN: usize = 12;
/// Tables whose rows are told, those that changed most.
const TABLES: usize = 5;

pub(super) fn runs(history: &History) -> Html {
    let runs: Vec<&Entry> = { history.runs.iter() }
        .filter(|run| run.record.command != "drill")
        .collect();
    let mut html = Html::default();
    if runs.is_empty() {
        return html;
    }
    html.raw("<h3>Runs</h3>");
    let mut is_first = true;
    let of_month = |run: &&Entry| run.record.started.strftime("%B %Y").to_string();
    let detailed = runs.len().min(DETAILED);
    for month in runs[..detailed].chunk_by(|a, b| of_month(a) == of_month(b)) {
        html.raw(if is_first {
            "<details class=mo open>"
        } else {
            "<details class=mo>"
        });
        is_first = false;
        html.raw("<summary><b>")
            .text(&month.first().map(of_month).unwrap_or_default());
        html.raw("</b> <span>")
            .text(&summed(month, "run"))
            .raw("</span></summary>");
        for run in month {
            entry(&mut html, run);
        }
        html.raw("</details>");
    }
    if runs.len() > detailed {
        let older = runs.len() - detailed;
        html.raw("<p class=n>")
            .text(&format!(
                "{older} older runs are in `backupctl report --json`."
            ))
            .raw("</p>");
    }
    html
}

/// `21 runs, 1 failed`.
fn summed(runs: &[&Entry], noun: &str) -> String {
    let count = |tone: Tone| runs.iter().filter(|run| run.tone() == tone).count();
    let all = match runs.len() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let others = [(Tone::Duty, "attention"), (Tone::Bad, "failed")].into_iter();
    let others = others.filter(|(tone, _)| count(*tone) > 0);
    let others = others.map(|(tone, word)| format!("{} {word}", count(tone)));
    { std::iter::once(all).chain(others) }
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn drills(history: &History) -> Html {
    let drills: Vec<&Entry> = { history.runs.iter() }
        .filter(|run| run.record.command == "drill")
        .take(DETAILED)
        .collect();
    let mut html = Html::default();
    if drills.is_empty() {
        return html;
    }
    html.raw("<h3>Drills</h3><p class=n>Restores into a throw-away database: the evidence that the archives restore.</p>");
    let (newest, earlier) = drills.split_at(drills.len().min(DRILLS));
    for run in newest {
        entry(&mut html, run);
    }
    if !earlier.is_empty() {
        html.raw("<details class=mo><summary><b>Earlier</b> <span>")
            .text(&summed(earlier, "drill"))
            .raw("</span></summary>");
        for run in earlier {
            entry(&mut html, run);
        }
        html.raw("</details>");
    }
    html
}

fn entry(html: &mut Html, run: &Entry) {
    let record = run.record;
    html.raw("<details><summary><time>")
        .text(&minute(record.started))
        .raw("</time>");
    badge(html, run.tone(), run.word());
    // What is usual needs no room on a phone.
    let is_usual = matches!(record.command.as_str(), "run" | "drill");
    html.raw(if is_usual { "<span class=c>" } else { "<span>" })
        .text(&said(&record.command))
        .raw("</span><span class=r>");
    html.text(&took(record.seconds))
        .raw("</span><span class=r>");
    if let Some(archive) = &record.archive {
        html.text(&format_bytes(archive.bytes))
            .raw("</span><span class=f>")
            .text(&said(&archive.name));
    }
    html.raw("</span></summary><div id='")
        .text(&record.run)
        .raw("'>");
    if let Some(message) = &record.message {
        html.raw("<p>").text(&said(message));
    }
    if let Some(hint) = &record.hint {
        html.raw("<p class=n>").text(&said(hint));
    }
    steps(html, record);
    html.raw("<dl>");
    facts(html, record);
    if let Some(drill) = &record.drill {
        drill_facts(html, drill);
    }
    html.raw("</dl>");
    judged(html, record);
    html.raw("</div></details>");
}

fn steps(html: &mut Html, record: &Record) {
    if record.steps.is_empty() {
        return;
    }
    html.raw("<ol>");
    for step in record.steps.iter().take(SHOWN) {
        html.raw("<li>")
            .text(&step.step.to_string())
            .raw(" <b>")
            .text(&took(step.seconds))
            .raw("</b>");
        if let Some(bytes) = step.bytes {
            html.raw(" ").text(&format_bytes(bytes));
        }
        match step.verdict {
            Some(Verdict::Done) => {}
            verdict => {
                let word = verdict.map_or("not ended", Verdict::word);
                html.raw(" <em>").text(word).raw("</em>");
            }
        }
        // What stopped the run is said above.
        if let Some(message) = step
            .message
            .as_ref()
            .filter(|_| step.verdict == Some(Verdict::Done))
        {
            html.raw(" <small>").text(&said(message)).raw("</small>");
        }
    }
    html.raw("</ol>");
}

fn fact(html: &mut Html, name: &str, value: &str) {
    if !value.is_empty() {
        html.raw("<dt>").text(name).raw("<dd>").text(value);
    }
}

fn facts(html: &mut Html, record: &Record) {
    if let Some(archive) = &record.archive {
        archive_facts(html, archive, record.ended);
    }
    if let Some(dump) = &record.dump {
        dump_facts(html, dump);
    }
    if let Some(database) = &record.database {
        database_facts(html, database);
    }
    if let Some(totals) = record.compared.table_totals {
        let rows = grouped(u64::try_from(totals.rows).unwrap_or(0));
        let text = format!("{rows} in {} tables", totals.tables);
        fact(html, "rows", &text);
    }
    let changed = record
        .compared
        .tables
        .iter()
        .filter(|table| table.rows != table.live_rows);
    let changed: Vec<String> = changed.take(TABLES).map(changed_rows).collect();
    fact(html, "changed most", &changed.join(", "));
    for lost in record.compared.lost.iter().take(SHOWN) {
        let names = said(&lost.names.join(", "));
        fact(
            html,
            "lost",
            &format!("{} {}: {names}", lost.count, said(&lost.kind)),
        );
    }
    let by = format!(
        "{} of {} on {}, backupctl {}",
        said(&record.command),
        record.run,
        said(&record.host),
        said(&record.version)
    );
    fact(html, "run", &by);
    fact(
        html,
        "chain",
        &said(record.chain.as_deref().unwrap_or_default()),
    );
}

fn changed_rows(table: &TableRows) -> String {
    let name = said(&format!("{}.{}", table.schema, table.name));
    let count = |rows: Option<i64>| {
        let rows = rows.and_then(|rows| u64::try_from(rows).ok());
        rows.map_or("?".to_owned(), grouped)
    };
    match table.presence {
        Presence::New => format!("{name} new"),
        Presence::Live => format!("{name} gone"),
        Presence::Both => format!("{name} {} → {}", count(table.live_rows), count(table.rows)),
    }
}

fn archive_facts(html: &mut Html, archive: &ArchiveFacts, ended: Option<Timestamp>) {
    fact(html, "archive", &said(&archive.name));
    if let Some(from) = archive.dated.or(archive.modified) {
        let age = ended.map(|ended| ended.duration_since(from).as_secs_f64().max(0.0));
        let age = age.map_or_else(String::new, |age| format!(", {} old", took(age)));
        fact(html, "from", &format!("{}{age}", minute(from)));
    }
    fact(
        html,
        "SHA-256",
        &said(archive.sha256.as_deref().unwrap_or_default()),
    );
}

fn dump_facts(html: &mut Html, dump: &DumpFacts) {
    let (version, server) = (said(&dump.pg_dump_version), said(&dump.server_version));
    let (name, bytes) = (said(&dump.name), format_bytes(dump.bytes));
    fact(
        html,
        "dump",
        &format!("{name}, {bytes}, pg_dump {version} from {server}"),
    );
}

fn database_facts(html: &mut Html, database: &DatabaseFacts) {
    let (name, host) = (said(&database.name), said(&database.host));
    let version = said(&database.server_version);
    fact(
        html,
        "database",
        &format!("{name} on {host}, PostgreSQL {version}"),
    );
    fact(
        html,
        "previous",
        &said(database.previous.as_deref().unwrap_or_default()),
    );
}

/// Checks, warnings, and who was told.
fn judged(html: &mut Html, record: &Record) {
    let mark = |ok: bool| if ok { "<li class=ok>" } else { "<li class=ko>" };
    html.raw("<ul>");
    for check in record.checks.iter().take(SHOWN) {
        html.raw(mark(check.ok))
            .raw("<code>")
            .text(&said(&check.sql))
            .raw("</code> ");
        html.text(&format!(
            "expected {}, found {}",
            said(&check.expected),
            said(&check.found)
        ));
    }
    for warning in record.warnings.iter().take(SHOWN) {
        html.raw("<li class=wa>").text(&said(warning));
    }
    let hidden =
        record.checks.len().saturating_sub(SHOWN) + record.warnings.len().saturating_sub(SHOWN);
    if hidden > 0 {
        html.raw("<li>")
            .text(&format!("and {hidden} more in the report"));
    }
    for told in record.notified.iter().take(SHOWN) {
        html.raw(mark(told.ok))
            .text(&format!("{}: {}", said(&told.to), said(&told.message)));
    }
    html.raw("</ul>");
}

/// The evidence of a drill: what restored where, and what was found in it.
fn drill_facts(html: &mut Html, drill: &DrillFacts) {
    let place = match drill.place {
        Place::Server => "in a scratch database on the job's server",
        Place::Local => "in a private server of its own",
    };
    fact(html, "restored", place);
    let origin = drill.origin.map_or("", |origin| match origin {
        Origin::Store => "fetched from the store",
        Origin::Streamed => "streamed from the store, not hashed",
        Origin::Kept => "kept from an earlier run, its SHA-256 still held",
    });
    fact(html, "origin", origin);
    let text = |text: &Option<String>| said(text.as_deref().unwrap_or_default());
    fact(html, "host key", &text(&drill.host_key));
    fact(html, "pg_restore", &text(&drill.pg_restore));
    let time = drill.time_to_restore_seconds.map(took);
    fact(html, "time to restore", &time.unwrap_or_default());
    let objects = drill.objects.iter().take(SHOWN);
    let objects: Vec<String> = objects
        .map(|(kind, count)| format!("{} {}", grouped(*count as u64), said(&kind.to_lowercase())))
        .collect();
    fact(html, "objects", &objects.join(", "));
    if let Some(rows) = drill.rows {
        let tables = grouped(drill.tables.len() as u64);
        fact(
            html,
            "rows",
            &format!("{} in {tables} tables, counted", grouped(rows)),
        );
    }
    let largest = drill.tables.iter().take(SHOWN);
    let largest: Vec<String> = largest.map(counted).collect();
    fact(html, "largest", &largest.join(", "));
    let dropped = match (drill.dropped, &drill.pg_restore) {
        (false, _) => "no",
        (true, Some(_)) => "all of it",
        // Nothing was made.
        (true, None) => "",
    };
    fact(html, "dropped", dropped);
}

fn counted(table: &CountedTable) -> String {
    let rows = table.rows.map_or("?".to_owned(), grouped);
    said(&format!("{}.{} {rows}", table.schema, table.name))
}
