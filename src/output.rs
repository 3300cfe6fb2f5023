//! The only place that prints: results to stdout, everything else to stderr.
//!
//! A closed stdout or stderr never ends a run: what can't be written there is in the report and the log.

mod ask;
mod progress;
mod terminal;

use std::io::{self, IsTerminal, Write};

use crate::cli::{Color, Global};
use crate::escape::{escaped_json, escaped_lines};
use crate::report::{Notified, Record};
use crate::secret::Scrubber;
use crate::verdict::{Failed, Verdict};

pub use progress::Progress;

/// How the user wants to be told.
#[derive(Debug, Clone)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
    dry_run: bool,
    color: bool,
    pub progress: Progress,
    pub scrubber: Scrubber,
}

impl Output {
    #[must_use]
    pub fn new(options: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let color = match options.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal,
        };
        let progress = match (options.quiet, terminal) {
            (true, _) => Progress::default(),
            (false, true) => Progress::on_a_terminal(),
            (false, false) => Progress::in_lines(),
        };
        Self {
            json: options.json,
            quiet: options.quiet,
            dry_run: options.dry_run,
            color,
            progress,
            scrubber: Scrubber::default(),
        }
    }

    /// The result of a command, on stdout.
    pub fn result(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        // A reader that has gone away (`| head`) is no failure of the run.
        let _ = writeln!(stdout, "{}", self.scrubber.scrub(text)).and_then(|()| stdout.flush());
    }

    /// Something to know, on stderr; not with `-q`.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// An error and what to do about it, on stderr.
    pub fn error(&self, failed: &Failed) {
        self.told_on_stderr(("error:", 31), &failed.message());
        if let Some(hint) = &failed.hint {
            self.told_on_stderr(("hint:", 36), hint);
        }
    }

    /// An error that came before any job began; with `--json` a document as well, as on every other failure.
    pub fn refuse(&self, failed: &Failed) -> Verdict {
        self.error(failed);
        if self.json {
            self.result(&without_job(failed));
        }
        failed.verdict
    }

    /// How a job's command ended: one JSON line, or what people read.
    pub fn record(&self, record: &Record, text: &str) {
        if self.json {
            return self.document(&serde_json::to_string(record).unwrap_or_default());
        }
        let tells = ["run", "restore", "swap", "undo", "drill"];
        let is_report = tells.contains(&record.command.as_str())
            && record.verdict != Some(Verdict::Locked)
            && !self.dry_run;
        if is_report {
            self.result(text);
        } else if let Some(path) = &record.path {
            self.result(&escaped_lines(&path.display().to_string()));
        } else if !record.plan.is_empty() {
            self.result(&escaped_lines(&record.plan.join("\n")));
        }
        if !is_report {
            for warning in &record.warnings {
                let warning = escaped_lines(warning);
                self.say(&format!("{} {warning}", self.paint("warning:", 33)));
            }
        }
        self.shortfalls(record);
    }

    /// On stderr: what went wrong, for whoever reads only that.
    fn shortfalls(&self, record: &Record) {
        let verdict = record.verdict.unwrap_or(Verdict::Bug);
        if verdict == Verdict::Done {
            return;
        }
        let word = if verdict == Verdict::Attention {
            "attention"
        } else {
            "error"
        };
        let message = record.message.as_deref().unwrap_or("no message");
        self.told_on_stderr((&format!("{word}:"), 31), message);
        if let Some(hint) = &record.hint {
            self.told_on_stderr(("hint:", 36), hint);
        }
    }

    /// A painted word and a text; whatever came into that on its way, no control character goes to the terminal.
    fn told_on_stderr(&self, (word, code): (&str, u8), text: &str) {
        self.stderr(&format!(
            "{} {}",
            self.paint(word, code),
            escaped_lines(text)
        ));
    }

    /// A JSON document, on stdout.
    fn document(&self, json: &str) {
        self.result(&escaped_json(json));
    }

    /// The result of a command that is no job's: a line, or with `--json` what it is made of.
    pub fn facts(&self, line: &str, facts: &[(&str, &str)]) {
        if !self.json {
            return self.result(&escaped_lines(line));
        }
        let mut document = serde_json::json!({
            "format": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "verdict": Verdict::Done.word(),
            "exit_code": Verdict::Done.exit_code(),
        });
        for (name, value) in facts {
            document[name] = (*value).into();
        }
        self.document(&document.to_string());
    }

    /// To whom something was sent, and what came of it.
    pub fn notified(&self, notified: &[Notified], failed: Option<&Failed>) -> Verdict {
        let verdict = failed.map_or(Verdict::Done, |failed| failed.verdict);
        if self.json {
            let document = serde_json::json!({
                "format": 1,
                "command": "notify",
                "version": env!("CARGO_PKG_VERSION"),
                "verdict": verdict.word(),
                "exit_code": verdict.exit_code(),
                "message": failed.map(Failed::message),
                "hint": failed.and_then(|failed| failed.hint.clone()),
                "notified": notified,
            });
            self.document(&document.to_string());
        } else {
            self.told(notified);
        }
        if let Some(failed) = failed {
            self.error(failed);
        }
        verdict
    }

    fn told(&self, notified: &[Notified]) {
        for Notified { to, ok, message } in notified {
            let word = if *ok { "" } else { "failed: " };
            self.result(&escaped_lines(&format!("{to}: {word}{message}")));
        }
    }

    /// A listing: one JSON document, or the table.
    pub fn listed<T: serde::Serialize>(
        &self,
        record: &Record,
        rows: &[T],
        text: impl FnOnce() -> String,
    ) -> Verdict {
        let verdict = record.verdict.unwrap_or(Verdict::Bug);
        if self.json {
            let mut document = serde_json::to_value(record).unwrap_or_default();
            document["archives"] = serde_json::to_value(rows).unwrap_or_default();
            self.document(&document.to_string());
        } else if verdict == Verdict::Done {
            self.result(&text());
        } else {
            self.shortfalls(record);
        }
        verdict
    }

    /// What was looked up, as a JSON document or for people, and what is wrong with it.
    pub fn state<T: serde::Serialize>(
        &self,
        document: &T,
        text: impl FnOnce() -> String,
        failed: Option<&Failed>,
    ) -> Verdict {
        let text = if self.json {
            escaped_json(&serde_json::to_string(document).unwrap_or_default())
        } else {
            text()
        };
        self.result(&text);
        if let Some(failed) = failed {
            self.error(failed);
        }
        failed.map_or(Verdict::Done, |failed| failed.verdict)
    }

    fn paint(&self, word: &str, code: u8) -> String {
        if self.color {
            format!("\x1b[1;{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }

    fn stderr(&self, text: &str) {
        let text = self.scrubber.scrub(text).into_owned();
        self.progress.above(|| {
            // Nothing is left to complain to.
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }
}

/// What clap has to say of a command line: help and version on stdout, the rest on stderr, with `json` a document as well.
/// Returns the exit code.
pub fn unparsed(error: &clap::Error, json: bool) -> u8 {
    // Either may be closed.
    let _ = error.print();
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let failed = Failed::new(Verdict::Usage, message.to_owned())
            .hint("`backupctl --help` names every command and option");
        let _ = writeln!(io::stdout(), "{}", without_job(&failed));
    }
    u8::try_from(error.exit_code()).unwrap_or(Verdict::Usage.exit_code())
}

/// The document of a failure that belongs to no job.
fn without_job(failed: &Failed) -> String {
    let document = serde_json::json!({
        "format": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": failed.verdict.word(),
        "exit_code": failed.verdict.exit_code(),
        "message": failed.message(),
        "hint": failed.hint,
    });
    escaped_json(&document.to_string())
}
