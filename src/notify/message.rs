//! What is said about a run: the mail's subject and the text that a person reads, in the mail and on stdout alike.
//!
//! Pure: the same record gives the same text. Nothing from outside gets in unescaped.

use std::path::Path;

use jiff::Timestamp;

use super::drill::evidence;
use super::escaped_lines;
use super::layout::{age_text, columns, duration_text, second, wrapped};
use super::outcome::{Live, consequence, end_of, is_done, live, outcome};
use super::tables::tables;
use crate::config::format_bytes;
use crate::escape::escaped;
use crate::report::{ArchiveFacts, CheckResult, DatabaseFacts, DumpFacts, Record, StepRecord};
use crate::verdict::Verdict;

/// `[backupctl] erp: done`, whatever the command: filters of mail programs know it so.
#[must_use]
pub fn subject(record: &Record) -> String {
    let verdict = record.verdict.map_or("unfinished", Verdict::word);
    format!("[backupctl] {}: {verdict}", escaped(&record.job))
}

/// The outcome in a sentence, what to do, then everything that the report knows. `report_file` is where its JSON lies.
#[must_use]
pub fn text(record: &Record, report_file: Option<&Path>) -> String {
    let sections = [
        Some(opening(record, "below")),
        record
            .archive
            .as_ref()
            .map(|facts| archive(facts, end_of(record))),
        record.dump.as_ref().map(dump),
        record
            .database
            .as_ref()
            .filter(|_| !record.is_drill())
            .map(|facts| database(facts, record)),
        steps(&record.steps),
        record
            .drill
            .as_ref()
            .map(|facts| evidence(facts, record.database.as_ref())),
        checks(&record.checks),
        tables(&record.compared),
        warnings(&record.warnings),
        told(record),
        Some(run(record, report_file)),
    ];
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    format!("{}\n", sections.join("\n\n"))
}

/// The subject of `backupctl notify --test`.
#[must_use]
pub fn test_subject(host: &str) -> String {
    format!("[backupctl] test from {}", escaped(host))
}

/// The text of `backupctl notify --test`.
#[must_use]
pub fn test_text(host: &str, now: Timestamp) -> String {
    let sentence = format!(
        "backupctl on {} can send you mail: this is a test, sent {}.",
        escaped(host),
        second(now)
    );
    let rest = "Reports of its runs will look like it and come from the same sender, with a subject such as \
                `[backupctl] erp: done`. Nothing was restored or changed.";
    format!("{}\n\n{}\n", wrapped("", &sentence), wrapped("", rest))
}

/// The outcome in a sentence, what happened, and what to do; `where_else` the warnings are to be seen.
pub(super) fn opening(record: &Record, where_else: &str) -> String {
    let mut lines = vec![wrapped("", &outcome(record))];
    lines.extend(consequence(record).map(|text| wrapped("", &text)));
    match record.warnings.len() {
        0 => {}
        1 => lines.push(format!("There is a warning, see {where_else}.")),
        count => lines.push(format!("There are {count} warnings, see {where_else}.")),
    }
    let is_said = record.verdict == Some(Verdict::Done);
    if let Some(message) = record.message.as_ref().filter(|_| !is_said) {
        lines.push(String::new());
        lines.push(wrapped("What happened: ", &escaped_lines(message)));
    }
    let please = "please report this as a bug, with the version below and the log of this run";
    let default = (record.verdict == Some(Verdict::Bug)).then(|| please.to_owned());
    if let Some(hint) = record.hint.clone().or(default) {
        lines.push(String::new());
        lines.push(wrapped("What to do: ", &escaped_lines(&hint)));
    }
    lines.join("\n")
}

fn archive(facts: &ArchiveFacts, now: Timestamp) -> String {
    let size = match facts.bytes {
        0..1024 => format_bytes(facts.bytes),
        bytes => format!("{} ({bytes} bytes)", format_bytes(bytes)),
    };
    let when = |time| format!("{}, {}", second(time), age_text(time, now));
    let (dated, modified) = (facts.dated.map(when), facts.modified.map(when));
    list(
        "Archive",
        &[
            ("name", Some(escaped(&facts.name))),
            ("size", Some(size)),
            ("by name", dated),
            ("modified", modified),
            ("SHA-256", facts.sha256.as_deref().map(escaped)),
        ],
    )
}

fn dump(facts: &DumpFacts) -> String {
    let made = format!(
        "pg_dump {} from server {}",
        facts.pg_dump_version, facts.server_version
    );
    list(
        "Dump",
        &[
            ("name", Some(escaped(&facts.name))),
            (
                "size",
                Some(format!(
                    "{}, {} format",
                    format_bytes(facts.bytes),
                    escaped(&facts.format)
                )),
            ),
            ("made by", Some(escaped(&made))),
        ],
    )
}

fn database(facts: &DatabaseFacts, record: &Record) -> String {
    // An undo of an undo has come forward, and goes back again.
    let way = match live(record) {
        _ if facts.previous.is_none() => None,
        Live::New => Some("go back"),
        Live::Back if record.undoes.is_some() => Some("go back"),
        Live::Back => Some("forward"),
        Live::Unchanged | Live::Unknown => None,
    };
    let undo = format!("backupctl undo {}", escaped(&record.job));
    let swap = format!("backupctl swap {}", escaped(&record.job));
    list(
        "Database",
        &[
            ("name", Some(escaped(&facts.name))),
            ("host", Some(escaped(&facts.host))),
            (
                "server",
                Some(format!("PostgreSQL {}", escaped(&facts.server_version))),
            ),
            ("previous", facts.previous.as_deref().map(escaped)),
            ("beside", facts.beside.as_deref().map(escaped)),
            ("until", facts.expires.map(second)),
            ("prepared", facts.scratch.as_deref().map(escaped)),
            (way.unwrap_or_default(), way.map(|_| undo)),
            ("go live", facts.scratch.is_some().then_some(swap)),
        ],
    )
}

pub(super) fn list(title: &str, rows: &[(&str, Option<String>)]) -> String {
    let rows = rows.iter().filter_map(|(label, value)| {
        let value = value.as_deref()?;
        Some(wrapped(&format!("  {label:<9} "), value))
    });
    titled(title, rows)
}

fn titled(title: &str, rows: impl Iterator<Item = String>) -> String {
    std::iter::once(title.to_owned())
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}

fn steps(steps: &[StepRecord]) -> Option<String> {
    let rows = steps.iter().map(|step| {
        let verdict = step.verdict.map_or("unfinished", Verdict::word);
        let bytes = step.bytes.map(format_bytes).unwrap_or_default();
        let time = duration_text(step.seconds);
        let row = format!(
            "  {:<9} {verdict:<12} {time:>12} {bytes:>12}",
            step.step.to_string()
        );
        // What stopped the run is said at the top, once.
        let note = step.message.as_ref().filter(|_| is_done(step));
        let note = note.map_or(String::new(), |note| {
            format!("\n{}", wrapped("            ", &escaped(note)))
        });
        format!("{}{note}", row.trim_end())
    });
    (!steps.is_empty()).then(|| titled("Steps", rows))
}

fn checks(checks: &[CheckResult]) -> Option<String> {
    let rows = checks.iter().map(|check| {
        let label = if check.ok {
            "  ok        "
        } else {
            "  FAILED    "
        };
        let indent = " ".repeat(columns(label));
        let found = format!(
            "expected {}, found {}",
            escaped(&check.expected),
            escaped(&check.found)
        );
        let sql: Vec<&str> = check.sql.split_whitespace().collect();
        format!(
            "{}\n{}",
            wrapped(label, &escaped(&sql.join(" "))),
            wrapped(&indent, &found)
        )
    });
    (!checks.is_empty()).then(|| titled("Checks", rows))
}

fn warnings(warnings: &[String]) -> Option<String> {
    let rows = warnings
        .iter()
        .map(|warning| wrapped("  - ", &escaped_lines(warning)));
    (!warnings.is_empty()).then(|| titled("Warnings", rows))
}

fn told(record: &Record) -> Option<String> {
    let rows = record.notified.iter().map(|notified| {
        let label = if notified.ok {
            "  ok        "
        } else {
            "  FAILED    "
        };
        let indent = " ".repeat(columns(label));
        format!(
            "{label}{}\n{}",
            escaped(&notified.to),
            wrapped(&indent, &escaped(&notified.message))
        )
    });
    let is_mail = |to: &str| !to.starts_with("http");
    let only_mail = record.notified.iter().all(|told| is_mail(&told.to));
    let title = if only_mail { "Mail" } else { "Told" };
    (!record.notified.is_empty()).then(|| titled(title, rows))
}

fn run(record: &Record, report_file: Option<&Path>) -> String {
    let times = match record.ended {
        Some(ended) => format!(
            "{} to {} ({})",
            second(record.started),
            second(ended),
            duration_text(record.seconds)
        ),
        None => format!("{}, not ended", second(record.started)),
    };
    list(
        "Run",
        &[
            ("id", Some(escaped(&record.run))),
            (
                "command",
                Some(format!(
                    "{} {}",
                    escaped(&record.command),
                    escaped(&record.job)
                )),
            ),
            ("time", Some(times)),
            (
                "host",
                Some(format!(
                    "{}, backupctl {}",
                    escaped(&record.host),
                    escaped(&record.version)
                )),
            ),
            (
                "report",
                report_file.map(|file| escaped(&file.to_string_lossy())),
            ),
            ("chain", record.chain.as_deref().map(escaped)),
        ],
    )
}

#[cfg(test)]
mod tests;
