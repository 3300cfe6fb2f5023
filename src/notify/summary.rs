//! What leaves the machine for a URL: the verdict, what happened, what to do, and the steps. Never the log, never a database's words
//! beyond the one message, so that a third party learns no more than it needs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::layout::{duration_text, wrapped};
use super::message::{self, opening};
use crate::config::format_bytes;
use crate::escape::{escaped, shown};
use crate::report::{Record, StepRecord};
use crate::verdict::Verdict;

/// A report may have hundreds.
const WARNINGS: usize = 10;
/// Of a message with every problem on a line of its own.
const CHARACTERS: usize = 2000;
/// Slack cuts at 40,000 characters; nobody reads a tenth of it.
const SLACK_CHARACTERS: usize = 3500;

/// For people: the verdict, the first sentences of the mail, and a line for each step.
#[must_use]
pub fn text(record: &Record) -> String {
    let head = format!(
        "{} (exit code {}), run {} on {}",
        message::subject(record),
        record.exit_code.unwrap_or(Verdict::Bug.exit_code()),
        escaped(&record.run),
        escaped(&record.host)
    );
    let mut parts = vec![wrapped("", &head), opening(record, "the report")];
    if !record.steps.is_empty() {
        let rows: Vec<String> = record.steps.iter().map(step).collect();
        parts.push(rows.join("\n"));
    }
    format!("{}\n", parts.join("\n\n"))
}

fn step(step: &StepRecord) -> String {
    let verdict = step.verdict.map_or("unfinished", Verdict::word);
    let bytes = step.bytes.map(format_bytes).unwrap_or_default();
    let time = duration_text(step.seconds);
    let name = step.step.to_string();
    let row = format!("{name:<9} {verdict:<12} {time:>12} {bytes:>12}");
    row.trim_end().to_owned()
}

/// The fields of the report that a program asks for, with the report's own names.
#[must_use]
pub fn fields(record: &Record) -> Value {
    let archive = record.archive.as_ref();
    let steps = record.steps.iter().map(|step| {
        json!({
            "step": step.step,
            "verdict": step.verdict,
            "seconds": step.seconds,
            "bytes": step.bytes,
        })
    });
    let warnings = record.warnings.iter().take(WARNINGS);
    json!({
        "format": record.format,
        "run": record.run,
        "command": record.command,
        "job": record.job,
        "host": record.host,
        "version": record.version,
        "started": record.started,
        "ended": record.ended,
        "seconds": record.seconds,
        "verdict": record.verdict.map_or("unfinished", Verdict::word),
        "exit_code": record.exit_code,
        "message": record.message.as_deref().map(bounded),
        "hint": record.hint.as_deref().map(bounded),
        "archive": archive.map(|archive| json!({ "name": archive.name, "bytes": archive.bytes })),
        "steps": steps.collect::<Vec<_>>(),
        "warnings": warnings.map(|warning| shown(warning)).collect::<Vec<_>>(),
        "warnings_left_out": record.warnings.len().saturating_sub(WARNINGS),
    })
}

/// What `backupctl notify --test` sends.
#[must_use]
pub fn test_fields(run: &str, host: &str, now: Timestamp) -> Value {
    json!({
        "format": 1,
        "run": run,
        "command": "notify",
        "host": host,
        "version": env!("CARGO_PKG_VERSION"),
        "started": now,
        "verdict": null,
        "test": true,
        "message": test_text(host),
    })
}

#[must_use]
pub fn test_text(host: &str) -> String {
    format!(
        "{}: backupctl can reach you. Nothing was restored or changed.",
        message::test_subject(host)
    )
}

/// `{"text": …}` with what Slack would take for markup made harmless: above all `<!channel>`.
#[must_use]
pub fn slack(text: &str) -> Value {
    let text: String = text.trim_end().chars().take(SLACK_CHARACTERS).collect();
    let text = text.replace('&', "&amp;");
    json!({ "text": text.replace('<', "&lt;").replace('>', "&gt;") })
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        serde_json::from_value(json!({
            "format": 1, "run": "20261120-020000-7f3a", "command": "run", "job": "erp", "host": "backup1",
            "version": "0.1.0", "started": "2026-11-20T02:00:00Z", "ended": "2026-11-20T02:10:00Z", "seconds": 600.0,
            "verdict": "failed", "exit_code": 10, "message": "check: <none> & nothing", "hint": "look at the check",
            "archive": {"name": "erp.zip", "bytes": 2048, "modified": null, "sha256": "aa"},
            "dump": null, "database": null,
            "steps": [{"step": "fetch", "verdict": "done", "seconds": 1.5, "bytes": 2048, "message": "internal words"}],
            "checks": [], "notified": [], "warnings": (0..12).map(|n| format!("warning {n}")).collect::<Vec<_>>()
        }))
        .expect("a record")
    }

    #[test]
    fn a_summary_has_the_verdict_and_the_steps_and_no_more() {
        let text = text(&record());
        for part in [
            "[backupctl] erp: failed (exit code 10), run 20261120-020000-7f3a on backup1\n",
            "There are 12 warnings, see the report.",
            "What happened: check: <none> & nothing",
            "What to do: look at the check",
            "fetch     done                1.5 s      2.0 KiB",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(!text.contains("internal words"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn fields_are_named_as_in_the_report_and_bounded() {
        let mut long = record();
        long.message = Some("x".repeat(5000));
        let fields = fields(&long);
        assert_eq!(fields["verdict"], "failed");
        assert_eq!(fields["archive"], json!({"name": "erp.zip", "bytes": 2048}));
        assert_eq!(fields["steps"][0]["step"], "fetch");
        assert!(fields["steps"][0].get("message").is_none());
        assert_eq!(fields["warnings"].as_array().map(Vec::len), Some(10));
        assert_eq!(fields["warnings_left_out"], 2);
        let message = fields["message"].as_str().expect("a text");
        assert_eq!(message.chars().count(), 2001);
    }

    #[test]
    fn nobody_is_called_by_a_name_in_angle_brackets() {
        let body = slack(&text(&record()));
        let text = body["text"].as_str().expect("a text");
        assert!(text.contains("&lt;none&gt; &amp; nothing"), "{text}");
        assert!(!text.contains(['<', '>']), "{text}");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1));
    }
}
