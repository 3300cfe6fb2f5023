//! What pg_restore says on stderr, line by line, and what that means: its exit status alone says nothing about the cause.
//!
//! Expects `LC_MESSAGES=C`. A text that is not known is fatal. Rows of data and credentials that a message quotes are left out.

mod rules;

pub use rules::Level;
use rules::{Meaning, REMARKS, meaning};

use crate::escape::said;
use crate::verdict::{Failed, Verdict};

/// Degraded messages that the report tells; of more only the number.
const TOLD: usize = 20;
/// Bytes of one message that are kept, with its statement.
const KEPT: usize = 16 * 1024;

/// How the lines start that belong to the message before them.
const CONTINUATIONS: [&str; 8] = [
    "DETAIL:  ",
    "HINT:  ",
    "CONTEXT:  ",
    "QUERY:  ",
    "LINE ",
    "STATEMENT:  ",
    "LOCATION:  ",
    "Command was: ",
];

/// Reads lines and remembers what matters of them, in bounded memory.
#[derive(Debug, Default)]
pub struct Messages {
    open: Option<Message>,
    /// What pg_restore said it was working on: `TABLE public users postgres`.
    object: Option<String>,
    harmless: u64,
    degraded: Vec<String>,
    untold: u64,
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
        if self.untold > 0 {
            let more = format!(
                "pg_restore: and {} more like these, in the log at level `debug`",
                self.untold
            );
            self.degraded.push(more);
        }
        Said {
            harmless: self.harmless,
            degraded: self.degraded,
            fatal: self
                .fatal
                .map(|(message, meaning)| failed(&message, meaning)),
        }
    }

    fn go_on(&mut self, line: &str) {
        if self.open.as_ref().is_some_and(|open| !open.takes(line)) {
            self.close();
        }
        if let Some(open) = &mut self.open {
            if open.more.len() + line.len() < KEPT {
                open.more.push_str(line);
                open.more.push('\n');
            }
        } else if !line.trim().is_empty() {
            // Nothing before it that it could belong to: unknown, so fatal.
            self.open = Some(Message {
                text: line.to_owned(),
                severe: true,
                object: self.object.take(),
                more: String::new(),
            });
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
                self.degraded.push(degraded(&message, meaning));
            }
            Level::Degraded => self.untold += 1,
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

impl Message {
    /// Whether this line without a head may belong to it. pg_restore's own mild texts have one line: what follows one unasked is
    /// somebody else's, and unknown.
    fn takes(&self, line: &str) -> bool {
        self.severe
            || is_of_server(&self.text)
            || self.text.starts_with("warning from original dump file")
            || line.is_empty()
            // Its own details and hints.
            || line.starts_with("pg_restore: ")
            || line.starts_with([' ', '\t'])
            || CONTINUATIONS.iter().any(|start| line.starts_with(start))
            || meaning(&self.text, false).level == Level::Fatal
    }
}

/// The parts of its work that pg_restore names before an error of that part.
const PHASES: [&str; 3] = [
    "while initializing:",
    "while processing toc:",
    "while finalizing:",
];

fn read(line: &str) -> Line<'_> {
    let Some(said) = line.strip_prefix("pg_restore: ") else {
        return read_server(line);
    };
    // Up to version 14 it hands on what the server remarks, under its own name.
    if is_of_server(said) {
        return read_server(said);
    }
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
    let phase = lower.strip_prefix("error ").unwrap_or(&lower);
    if PHASES.contains(&phase) {
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

/// How the server's messages start, by libpq: with two spaces.
const ERRORS: [&str; 3] = ["ERROR:  ", "FATAL:  ", "PANIC:  "];
const NO_ERRORS: [&str; 5] = ["WARNING:  ", "NOTICE:  ", "INFO:  ", "LOG:  ", "DEBUG:  "];

fn is_of_server(text: &str) -> bool {
    let mut heads = ERRORS.iter().chain(&NO_ERRORS);
    heads.any(|head| text.starts_with(head))
}

/// A line without pg_restore's name: of the server by libpq, or the rest of a message.
fn read_server(line: &str) -> Line<'_> {
    if !is_of_server(line) {
        return Line::Continues;
    }
    Line::Begins {
        text: line,
        severe: ERRORS.iter().any(|head| line.starts_with(head)),
    }
}

/// What the report tells of a message that ends nothing.
fn degraded(message: &Message, meaning: Meaning) -> String {
    let hint = continuation(&message.more, "HINT:  ").map(said);
    let advice = match (meaning.remedy, hint) {
        ("", None) => String::new(),
        ("", Some(hint)) => format!("; {hint}"),
        (remedy, _) => format!("; {remedy}"),
    };
    format!("pg_restore: {}{advice}", said(&message.text))
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
#[path = "messages/lines_tests.rs"]
mod lines_tests;
#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
