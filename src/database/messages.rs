//! What pg_restore says on stderr, line by line, and what that means: its exit status alone says nothing about the cause.
//!
//! Expects `LC_MESSAGES=C`. A text that is not known is fatal. Rows of data and credentials that a message quotes are left out.

mod rules;

pub use rules::Level;
use rules::{Meaning, REMARKS, meaning};

use crate::escape::said;
use crate::verdict::{Failed, Verdict};

/// Degraded messages that the report tells; more are only counted.
const TOLD: usize = 20;
/// Bytes of one message that are kept, with its statement.
const KEPT: usize = 16 * 1024;

/// Reads lines and remembers what matters of them, in bounded memory.
#[derive(Debug, Default)]
pub struct Messages {
    open: Option<Message>,
    /// What pg_restore said it was working on: `TABLE public users postgres`.
    object: Option<String>,
    harmless: u64,
    degraded: Vec<String>,
    fatal: Option<(Message, Meaning)>,
}

/// A message with the lines that belong to it.
#[derive(Debug)]
struct Message {
    text: String,
    severe: bool,
    object: Option<String>,
    more: String,
}

/// What all lines together mean.
#[derive(Debug)]
pub struct Said {
    pub harmless: u64,
    /// For the report's warnings.
    pub degraded: Vec<String>,
    /// The failure that explains most, not the last.
    pub fatal: Option<Failed>,
}

/// How a line continues.
enum Line<'a> {
    Begins { text: &'a str, severe: bool },
    Object(&'a str),
    Continues,
    Remark,
}

impl Messages {
    /// Takes the next line.
    pub fn line(&mut self, line: &str) {
        match read(line) {
            Line::Begins { text, severe } => {
                self.close();
                self.open = Some(Message {
                    text: text.to_owned(),
                    severe,
                    object: self.object.take(),
                    more: String::new(),
                });
            }
            Line::Object(object) => {
                self.close();
                self.object = Some(object.to_owned());
            }
            Line::Continues => self.go_on(line),
            Line::Remark => {
                self.close();
                self.harmless += 1;
            }
        }
    }

    /// Whether a message that ends the restore was seen; the one that is still being read does not count yet.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.fatal.is_some()
    }

    /// The end of the output.
    #[must_use]
    pub fn finish(mut self) -> Said {
        self.close();
        Said {
            harmless: self.harmless,
            degraded: self.degraded,
            fatal: self
                .fatal
                .map(|(message, meaning)| failed(&message, meaning)),
        }
    }

    fn go_on(&mut self, line: &str) {
        let Some(open) = &mut self.open else {
            // Nothing before it that it could belong to: unknown, so fatal.
            if !line.trim().is_empty() {
                self.open = Some(Message {
                    text: line.to_owned(),
                    severe: true,
                    object: self.object.take(),
                    more: String::new(),
                });
            }
            return;
        };
        if open.more.len() + line.len() < KEPT {
            open.more.push_str(line);
            open.more.push('\n');
        }
    }

    fn close(&mut self) {
        let Some(message) = self.open.take() else {
            return;
        };
        let meaning = meaning(&message.text, message.severe);
        match meaning.level {
            Level::Harmless => self.harmless += 1,
            Level::Degraded if self.degraded.len() < TOLD => {
                self.degraded
                    .push(format!("pg_restore: {}", said(&message.text)));
            }
            Level::Degraded => {}
            Level::Fatal => self.fail(message, meaning),
        }
    }

    /// The first failure counts, unless it only follows from one that is told later.
    fn fail(&mut self, message: Message, meaning: Meaning) {
        let explained = self
            .fatal
            .as_ref()
            .is_some_and(|(_, known)| !known.consequence || meaning.consequence);
        if !explained {
            self.fatal = Some((message, meaning));
        }
    }
}

fn read(line: &str) -> Line<'_> {
    let Some(said) = line.strip_prefix("pg_restore: ") else {
        return read_server(line);
    };
    // `[archiver (db)]` before PostgreSQL 12.
    let said = match said.strip_prefix('[') {
        Some(rest) => rest.split_once("] ").map_or(said, |(_, text)| text),
        None => said,
    };
    let lower = said.to_ascii_lowercase();
    if lower.starts_with("detail: ") || lower.starts_with("hint: ") {
        return Line::Continues;
    }
    if let Some(at) = lower.find("from toc entry ").filter(|at| *at <= 6) {
        return Line::Object(&said[at + "from TOC entry ".len()..]);
    }
    if lower.starts_with("while ")
        || lower.starts_with("error while processing toc")
        || lower.starts_with("error while initializing")
    {
        return Line::Remark;
    }
    for severity in ["error: ", "fatal: "] {
        if lower.starts_with(severity) {
            let text = &said[severity.len()..];
            return Line::Begins { text, severe: true };
        }
    }
    if lower.starts_with("warning: ") {
        let text = &said["warning: ".len()..];
        return Line::Begins {
            text,
            severe: false,
        };
    }
    if REMARKS.iter().any(|start| lower.starts_with(start)) {
        return Line::Remark;
    }
    Line::Begins {
        text: said,
        severe: false,
    }
}

/// A line without pg_restore's name: of the server by libpq, or the rest of a message.
fn read_server(line: &str) -> Line<'_> {
    for severity in ["ERROR:  ", "FATAL:  ", "PANIC:  "] {
        if line.starts_with(severity) {
            return Line::Begins {
                text: line,
                severe: true,
            };
        }
    }
    if line.starts_with("WARNING:  ") {
        return Line::Begins {
            text: line,
            severe: false,
        };
    }
    for remark in ["NOTICE:  ", "INFO:  ", "LOG:  ", "DEBUG:  "] {
        if line.starts_with(remark) {
            return Line::Remark;
        }
    }
    Line::Continues
}

fn failed(message: &Message, meaning: Meaning) -> Failed {
    let mut text = said(&without_values(&message.text));
    if let Some(place) = continuation(&message.more, "CONTEXT:  ") {
        // Behind the colon stands the row itself.
        let place = place.split(':').next().unwrap_or_default();
        text = format!("{text} ({})", said(place));
    }
    if let Some(statement) = statement(message) {
        text = format!("{text}; the statement: {}", said(&statement));
    }
    if let Some(object) = &message.object {
        text = format!("{}: {text}", said(object_name(object)));
    }
    let failed = Failed::new(meaning.verdict, format!("pg_restore: {text}"));
    let hint = continuation(&message.more, "HINT:  ").map(said);
    match (meaning.remedy, hint) {
        ("", Some(hint)) => failed.hint(hint),
        ("", None) if meaning.verdict == Verdict::Failed => {
            failed.hint("the log at level `debug` has all that pg_restore said")
        }
        ("", None) => failed,
        (remedy, _) => failed.hint(remedy),
    }
}

/// `invalid input syntax for type integer: "a row's value"` without the value.
fn without_values(text: &str) -> String {
    const QUOTING: [&str; 3] = [
        "invalid input syntax",
        "out of range for type",
        "value too long",
    ];
    match text.rsplit_once(": \"") {
        Some((before, _)) if QUOTING.iter().any(|start| text.contains(start)) => before.to_owned(),
        _ => text.to_owned(),
    }
}

fn continuation<'a>(more: &'a str, start: &str) -> Option<&'a str> {
    more.lines().find_map(|line| line.strip_prefix(start))
}

/// The failing statement, without the rows and credentials that may be in it.
fn statement(message: &Message) -> Option<String> {
    let (_, statement) = message.more.split_once("Command was: ")?;
    let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let upper = statement.to_ascii_uppercase();
    let end = [" VALUES (", " OPTIONS (", " CONNECTION '"]
        .iter()
        .filter_map(|mark| upper.find(mark))
        .min();
    Some(match end {
        Some(end) => format!("{} …", &statement[..end]),
        None => statement,
    })
}

/// `TABLE public users postgres` of `214; 1259 16399 TABLE public users postgres`.
fn object_name(entry: &str) -> &str {
    entry.splitn(4, ' ').nth(3).unwrap_or(entry)
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
