//! The only place that prints: results to stdout, everything else to stderr.
//!
//! A closed stdout or stderr never ends a run: what can't be written there is in the report and the log.

mod ask;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{Color, Global};
use crate::config::format_bytes;
use crate::escape::{escaped_json, escaped_lines};
use crate::report::{Notified, Record};
use crate::secret::Scrubber;
use crate::verdict::{Failed, Verdict};

const LINE_EVERY: Duration = Duration::from_secs(20);

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
            (false, true) => Progress::new(Display::Bar),
            (false, false) => Progress::new(Display::Lines),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Display {
    #[default]
    Hidden,
    Bar,
    Lines,
}

/// How far a step is: on a terminal a bar with rate and ETA, without one a few plain lines a minute.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    display: Display,
    state: Arc<Mutex<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    step: String,
    total: Option<u64>,
    done: u64,
    note: String,
    began: Option<Instant>,
    last_line: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(display: Display) -> Self {
        Self {
            display,
            state: Arc::default(),
        }
    }

    /// A step starts; nothing is known about its size yet.
    pub fn begin(&self, step: &str) {
        let mut shown = self.lock();
        let now = Instant::now();
        *shown = Shown {
            step: step.to_owned(),
            began: Some(now),
            last_line: Some(now),
            ..Shown::default()
        };
        if self.display == Display::Bar {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(style("{spinner} {prefix} {msg}"));
            bar.set_prefix(step.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            shown.bar = Some(bar);
        }
    }

    /// The step's size in bytes is known.
    pub fn total(&self, bytes: u64) {
        let mut shown = self.lock();
        shown.total = Some(bytes);
        shown.done = 0;
        if let Some(bar) = &shown.bar {
            bar.set_length(bytes);
            bar.set_position(0);
            bar.reset_eta();
            bar.set_style(style(
                "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            ));
        }
    }

    /// So many more bytes are done.
    pub fn advance(&self, bytes: u64) {
        let mut shown = self.lock();
        shown.done += bytes;
        match &shown.bar {
            Some(bar) => bar.inc(bytes),
            None => self.line(&mut shown),
        }
    }

    /// What is going on, where bytes say nothing: `indexes 12 of 40`.
    pub fn note(&self, text: &str) {
        let mut shown = self.lock();
        text.clone_into(&mut shown.note);
        match &shown.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.line(&mut shown),
        }
    }

    /// The step is over.
    pub fn end(&self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints something else without tearing the bar.
    pub fn above(&self, print: impl FnOnce()) {
        let bar = self.lock().bar.clone();
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn line(&self, shown: &mut Shown) {
        if self.display != Display::Lines
            || shown
                .last_line
                .is_none_or(|last| last.elapsed() < LINE_EVERY)
        {
            return;
        }
        shown.last_line = Some(Instant::now());
        let line = shown.as_line();
        // Nothing is left to complain to.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn as_line(&self) -> String {
        let Some(total) = self.total else {
            return format!("{}: {}", self.step, self.note);
        };
        let seconds = self
            .began
            .map_or(1, |began| began.elapsed().as_secs().max(1));
        let rate = self.done / seconds;
        format!(
            "{}: {} of {}, {}/s",
            self.step,
            format_bytes(self.done),
            format_bytes(total),
            format_bytes(rate)
        )
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
