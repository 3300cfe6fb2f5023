//! The history as text, within 80 columns: a table for each job, newest first, and what proves it.

use std::time::Duration;

use super::{Asked, Entry, History, Tone};
use crate::config::{format_bytes, format_duration};
use crate::escape::{escaped, said};
use crate::report::Audit;

const COLUMNS: usize = 80;

pub(super) fn text(asked: &Asked, histories: &[History]) -> String {
    let mut parts: Vec<String> = histories
        .iter()
        .map(|history| of_job(asked, history))
        .collect();
    parts.push(proof(&asked.audit));
    parts.join("\n\n")
}

fn of_job(asked: &Asked, history: &History) -> String {
    let span = asked.now.duration_since(asked.since).unsigned_abs();
    let span = format_duration(span);
    let name = &history.restore.name;
    if history.runs.is_empty() {
        return format!("{name}: no runs in the last {span}");
    }
    let mut lines = vec![format!("{name}: {} in the last {span}", counts(history))];
    lines.push(String::new());
    let cells: Vec<[String; 6]> = history.runs.iter().map(cells).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let [command, verdict, took, size] = [1, 2, 3, 4].map(width);
    for (run, row) in history.runs.iter().zip(&cells) {
        let [date, name, word, time, bytes, archive] = row;
        let facts = format!(
            "  {date}  {name:<command$}  {word:<verdict$}  {time:>took$}  {bytes:>size$}  "
        );
        let room = COLUMNS.saturating_sub(facts.chars().count());
        let line = facts + &end_of(archive, room);
        lines.push(line.trim_end().to_owned());
        lines.extend(why(run));
    }
    lines.join("\n")
}

/// `28 runs, 26 done, 1 attention, 1 failed`.
pub(super) fn counts(history: &History) -> String {
    let count = history.runs.len();
    let mut words: Vec<(&str, usize)> = Vec::new();
    for run in &history.runs {
        match words.iter_mut().find(|(word, _)| *word == run.word()) {
            Some((_, count)) => *count += 1,
            None => words.push((run.word(), 1)),
        }
    }
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words = words.iter().map(|(word, count)| format!("{count} {word}"));
    let all = if count == 1 {
        "1 run".to_owned()
    } else {
        format!("{count} runs")
    };
    std::iter::once(all)
        .chain(words)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Date, command, verdict, time, size and name of the archive.
fn cells(run: &Entry) -> [String; 6] {
    let record = run.record;
    let archive = record.archive.as_ref();
    [
        record.started.strftime("%Y-%m-%d %H:%M").to_string(),
        said(&record.command),
        run.word().to_owned(),
        took(record.seconds),
        archive.map_or_else(String::new, |archive| format_bytes(archive.bytes)),
        archive.map_or_else(String::new, |archive| escaped(&archive.name)),
    ]
}

pub(super) fn took(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Of names that differ by a date, the end is what tells them apart.
fn end_of(name: &str, room: usize) -> String {
    let count = name.chars().count();
    if count <= room {
        return name.to_owned();
    }
    let kept: String = name.chars().skip(count + 1 - room.max(1)).collect();
    format!("…{kept}")
}

/// What a run that did not go well says, in one line.
fn why(run: &Entry) -> Option<String> {
    let is_well = matches!(run.tone(), Tone::Good | Tone::Open);
    let message = run.record.message.as_deref().filter(|_| !is_well)?;
    let line = format!("    {}", said(message));
    if line.chars().count() <= COLUMNS {
        return Some(line);
    }
    let cut: String = line.chars().take(COLUMNS - 1).collect();
    Some(format!("{}…", cut.trim_end()))
}

/// What the chain says, in a sentence.
pub(super) fn proof(audit: &Audit) -> String {
    let since = |begun: jiff::Timestamp| begun.strftime("%Y-%m-%d").to_string();
    let reports = match audit.reports {
        1 => "1 report".to_owned(),
        count => format!("{count} reports"),
    };
    let text = match (audit.problems.len(), audit.begun) {
        (0, None) => return "chain: none yet; the next run begins it".to_owned(),
        (0, Some(begun)) => format!("chain: intact, {reports} since {}", since(begun)),
        (1, _) => "chain: NOT INTACT, 1 problem".to_owned(),
        (count, _) => format!("chain: NOT INTACT, {count} problems"),
    };
    let more = [
        (audit.unchained.len(), "not in it yet"),
        (audit.late.len(), "added by a later run"),
        (audit.pruned, "removed by age"),
    ];
    let more = more.into_iter().filter(|(count, _)| *count > 0);
    let more = more.map(|(count, what)| format!("{count} {what}"));
    { std::iter::once(text).chain(more) }
        .collect::<Vec<_>>()
        .join(", ")
}
