//! What stands below a command's help, and in its manual page: examples, and what its exit codes mean for it.
//!
//! The table is by the command's words, so that a command's flags and its examples can be changed apart.

mod table;

use std::fmt::Write as _;

use clap::error::{ContextKind, ContextValue};

use crate::config::nearest;
use crate::verdict::{Signal, Verdict};

/// A command line, and what it does.
pub type Example = (&'static str, &'static str);

/// A verdict, and what it means of this command.
pub type Meaning = (Verdict, &'static str);

/// What is told of a command below its options.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// As typed behind `backupctl`.
    pub command: &'static str,
    pub examples: &'static [Example],
    pub codes: &'static [Meaning],
}

/// What is told of the command with these words; None: it has nothing here, and its own help instead.
pub fn told(words: &str) -> Option<&'static Told> {
    table::TOLD.iter().find(|told| told.command == words)
}

/// Every command of the table, to be held against the commands that there are.
pub fn commands() -> impl Iterator<Item = &'static str> {
    table::TOLD.iter().map(|told| told.command)
}

/// Puts the examples and exit codes below the long help of a command and of those below it.
pub fn with_help(command: clap::Command, words: &str) -> clap::Command {
    let command = match told(words) {
        Some(told) => command.after_help(told.as_text()),
        None => command,
    };
    command.mut_subcommands(|subcommand| {
        let words = format!("{words} {}", subcommand.get_name());
        with_help(subcommand, words.trim_start())
    })
}

impl Told {
    fn as_text(&self) -> String {
        let mut text = "Examples:\n".to_owned();
        let longest = |of: fn(&Example) -> &str| {
            let lengths = self.examples.iter().map(|example| of(example).len());
            lengths.max().unwrap_or(0)
        };
        let column = longest(|(line, _)| line);
        let fits = column + longest(|(_, what)| what) + 4 <= COLUMNS;
        for (line, what) in self.examples {
            // Writing to a string can't fail.
            let _ = if fits {
                writeln!(text, "  {line:<column$}  {what}")
            } else {
                writeln!(text, "  {line}\n      {what}")
            };
        }
        text += "\nExit codes:\n";
        for (verdict, what) in self.codes {
            let (code, word) = (verdict.exit_code(), verdict.word());
            let _ = writeln!(text, "  {code:<3} {word:<10} {what}");
        }
        text + "  1 bug, 2 usage, 130 and 143 ended by a signal"
    }
}

/// As wide as a help is set at least.
const COLUMNS: usize = 80;

/// The program's own, for its manual page.
pub const PROGRAM: [Example; 5] = [
    (
        "backupctl run --dry-run",
        "Would the real run start? Connects, reads, plans, and changes nothing anywhere.",
    ),
    (
        "backupctl run",
        "Every job: fetched, proven, loaded beside the live database, checked, swapped in, reported.",
    ),
    (
        "30 3 * * *  backupctl run -q >/dev/null",
        "The same every night, by a line of a crontab; the report comes by mail.",
    ),
    (
        "backupctl status --max-age 26h",
        "For a monitor: not zero where the last success is older.",
    ),
    (
        "backupctl undo erp",
        "Back to the database that was live before the last swap.",
    ),
];

/// Every verdict with what it means of any command, by its code.
pub const VERDICTS: [Meaning; 15] = [
    (Verdict::Done, "Proven good and reported."),
    (
        Verdict::Bug,
        "An error in backupctl itself; please report it.",
    ),
    (Verdict::Usage, "Wrong command line."),
    (
        Verdict::Config,
        "Configuration, secret, key file or permission; a role, right or tool that is missing.",
    ),
    (Verdict::Locked, "Another run of this job is active."),
    (
        Verdict::Network,
        "Unreachable, cut or too slow, after bounded retries.",
    ),
    (
        Verdict::Refused,
        "A host key, TLS or login was not accepted, by them or by us.",
    ),
    (
        Verdict::Stale,
        "No archive, or too old, still being written, shrunken, or rejected by an undo; nothing current is prepared for swap.",
    ),
    (
        Verdict::Damaged,
        "The archive or the dump is broken, unsafe, or no PostgreSQL archive.",
    ),
    (
        Verdict::Local,
        "This machine: disk full, unreadable, out of memory.",
    ),
    (
        Verdict::Failed,
        "The restore or a check failed; the live database is the old one.",
    ),
    (
        Verdict::Unclear,
        "The live database may have changed, or could not be asked: look now.",
    ),
    (
        Verdict::Attention,
        "The data is good, but a duty is open: the report was not delivered, or something is left to tidy up.",
    ),
    (
        Verdict::Interrupted(Signal::Interrupt),
        "Ended in order by SIGINT; the report says what is live.",
    ),
    (
        Verdict::Interrupted(Signal::Terminate),
        "Ended in order by SIGTERM; the report says what is live.",
    ),
];

/// Adds the command that was most likely meant, where clap has found none near enough. `all` is the whole command line.
pub fn with_suggestion(mut error: clap::Error, all: &clap::Command) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    let known = asked_of(&error, all).get_subcommands();
    if let Some(near) = nearest(typed, known.map(clap::Command::get_name)) {
        let near = ContextValue::Strings(vec![near.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, near);
    }
    error
}

/// The command whose subcommand is unknown: the words of the usage that the error shows.
fn asked_of<'c>(error: &clap::Error, all: &'c clap::Command) -> &'c clap::Command {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let mut command = all;
    for word in usage.split_whitespace() {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    command
}
