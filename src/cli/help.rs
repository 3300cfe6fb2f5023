//! What stands below a command's help, and in its manual page: examples, and what its exit codes mean for it.
//!
//! The table is by the command's words, so that a command's flags and its examples can be changed apart.

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

const CONFIG: Meaning = (Verdict::Config, "configuration, secret, right or tool");
const LOCKED: Meaning = (Verdict::Locked, "another run of this job is active");
const NETWORK: Meaning = (Verdict::Network, "unreachable or cut, after all attempts");
const REFUSED: Meaning = (Verdict::Refused, "host key, TLS or login not accepted");
const STALE: Meaning = (Verdict::Stale, "no fresh, settled archive");
const DAMAGED: Meaning = (Verdict::Damaged, "the archive or the dump is broken");
const LOCAL: Meaning = (Verdict::Local, "this machine: disk full, unreadable");
const FAILED: Meaning = (Verdict::Failed, "the load or a check; live is unchanged");
const UNCLEAR: Meaning = (Verdict::Unclear, "look now at what is live");
const ATTENTION: Meaning = (Verdict::Attention, "the data is good, a duty is open");

const TOLD: [Told; 22] = [
    Told {
        command: "run",
        examples: &[
            ("backupctl run", "every job, in the order of the file"),
            (
                "backupctl run erp --dry-run",
                "what would be done, and whether it could be",
            ),
            (
                "backupctl run erp --archive erp_20261119.zip",
                "an older archive",
            ),
            (
                "backupctl run erp --accept stale",
                "the newest, however old it is",
            ),
        ],
        codes: &[
            (Verdict::Done, "proven good, live and reported"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "list",
        examples: &[
            (
                "backupctl list erp",
                "which archive a run would take, and why",
            ),
            ("backupctl list erp --json", "the same for a program"),
        ],
        codes: &[
            (Verdict::Done, "listed, even if there is none"),
            CONFIG,
            NETWORK,
            REFUSED,
        ],
    },
    Told {
        command: "fetch",
        examples: &[
            ("backupctl fetch erp", "the newest; prints where it lies"),
            (
                "backupctl fetch erp --archive erp_20261119.zip",
                "an older one",
            ),
        ],
        codes: &[
            (Verdict::Done, "it is here, whole"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
        ],
    },
    Told {
        command: "unzip",
        examples: &[
            ("backupctl unzip erp", "the newest fetched archive's dump"),
            (
                "backupctl unzip erp --file /mnt/usb/erp.zip",
                "that of another archive",
            ),
        ],
        codes: &[
            (Verdict::Done, "the dump is here, whole"),
            CONFIG,
            LOCKED,
            DAMAGED,
            LOCAL,
        ],
    },
    Told {
        command: "restore",
        examples: &[
            (
                "backupctl restore erp",
                "the newest unzipped dump goes live",
            ),
            (
                "backupctl restore erp --file erp.dump",
                "another dump or archive goes live",
            ),
            (
                "backupctl restore erp --as erp_look",
                "beside live, to look at",
            ),
            (
                "backupctl restore erp --as erp_look --table orders",
                "one table, with what it needs",
            ),
            (
                "backupctl restore erp --drop erp_look",
                "what was looked at goes",
            ),
        ],
        codes: &[
            (Verdict::Done, "proven good and live, or beside live"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            DAMAGED,
            LOCAL,
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "swap",
        examples: &[
            (
                "backupctl swap erp --dry-run",
                "what waits, and whether it may go live",
            ),
            (
                "backupctl swap erp --yes",
                "in the maintenance window's crontab",
            ),
        ],
        codes: &[
            (Verdict::Done, "live"),
            CONFIG,
            LOCKED,
            NETWORK,
            (Verdict::Stale, "nothing current waits"),
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "undo",
        examples: &[
            (
                "backupctl undo erp",
                "asks, then goes back to the previous database",
            ),
            ("backupctl undo erp --yes", "without asking"),
            ("backupctl undo erp --dry-run", "where it would go back to"),
        ],
        codes: &[
            (Verdict::Done, "the previous database is live"),
            CONFIG,
            LOCKED,
            NETWORK,
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "notify",
        examples: &[
            ("backupctl notify --test", "does mail arrive?"),
            ("backupctl notify erp", "the last report once more"),
        ],
        codes: &[
            (Verdict::Done, "everybody was told"),
            CONFIG,
            NETWORK,
            REFUSED,
        ],
    },
    Told {
        command: "status",
        examples: &[
            ("backupctl status", "every job, for people"),
            (
                "backupctl status erp --max-age 26h",
                "for a monitor that knows only exit codes",
            ),
            ("backupctl status --json", "for one that reads"),
        ],
        codes: &[
            (Verdict::Done, "fresh enough"),
            CONFIG,
            (
                Verdict::Stale,
                "the last success, or what is live, is too old",
            ),
            UNCLEAR,
            (Verdict::Attention, "the last run took longer than `rto`"),
        ],
    },
    Told {
        command: "check",
        examples: &[
            ("backupctl check", "every job"),
            (
                "backupctl check --as-cron",
                "with the environment that cron gives",
            ),
            (
                "backupctl check --store nas",
                "only the way into [stores.nas]",
            ),
        ],
        codes: &[
            (Verdict::Done, "every link holds; there may be warnings"),
            CONFIG,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
            FAILED,
        ],
    },
    Told {
        command: "trust",
        examples: &[
            ("backupctl trust office", "shows the fingerprint and asks"),
            ("backupctl trust office --dry-run", "only shows it"),
        ],
        codes: &[(Verdict::Done, "known"), CONFIG, NETWORK, REFUSED],
    },
    Told {
        command: "completions",
        examples: &[
            ("source <(backupctl completions bash)", "for this shell"),
            (
                "backupctl completions fish > ~/.config/fish/completions/backupctl.fish",
                "for good",
            ),
        ],
        codes: &[(Verdict::Done, "printed")],
    },
    Told {
        command: "vault encrypt",
        examples: &[
            (
                "backupctl vault encrypt",
                "asks, prints the token for the env file",
            ),
            ("backupctl vault encrypt < password.txt", "from a file"),
        ],
        codes: &[(Verdict::Done, "printed"), CONFIG],
    },
    Told {
        command: "vault new-key",
        examples: &[(
            "backupctl vault new-key secret.key",
            "once; keep a copy somewhere safe",
        )],
        codes: &[
            (Verdict::Done, "written"),
            (Verdict::Config, "there is one already"),
            LOCAL,
        ],
    },
    Told {
        command: "vault add",
        examples: &[
            (
                "backupctl vault add erp-db --user postgres",
                "asks for the password",
            ),
            (
                "backupctl vault add erp-db --replace < new.txt",
                "another one, from a file",
            ),
        ],
        codes: &[(Verdict::Done, "it is in the vault"), CONFIG, LOCAL],
    },
    Told {
        command: "vault generate",
        examples: &[
            (
                "backupctl vault generate erp-db --user postgres",
                "24 characters",
            ),
            (
                "backupctl vault generate erp-db --replace --length 40",
                "a new one",
            ),
        ],
        codes: &[(Verdict::Done, "it is in the vault"), CONFIG, LOCAL],
    },
    Told {
        command: "vault get",
        examples: &[
            ("backupctl vault get erp-db", "user, description and dates"),
            ("backupctl vault get erp-db --show", "the password as well"),
        ],
        codes: &[
            (Verdict::Done, "shown"),
            (Verdict::Config, "no such ID, or no key"),
        ],
    },
    Told {
        command: "vault list",
        examples: &[(
            "backupctl vault list --json",
            "without passwords, for a program",
        )],
        codes: &[(Verdict::Done, "listed"), CONFIG],
    },
    Told {
        command: "vault remove",
        examples: &[("backupctl vault remove erp-db", "asks first")],
        codes: &[
            (Verdict::Done, "gone"),
            (Verdict::Config, "no such ID, or no key"),
            LOCAL,
        ],
    },
    Told {
        command: "vault info",
        examples: &[("backupctl vault info", "which settings refer to what")],
        codes: &[(Verdict::Done, "shown"), CONFIG],
    },
    Told {
        command: "vault import",
        examples: &[
            (
                "backupctl vault import .env --dry-run",
                "what would be taken over",
            ),
            (
                "backupctl vault import connections.json",
                "a list of objects",
            ),
        ],
        codes: &[
            (Verdict::Done, "taken over"),
            (Verdict::Config, "nothing was taken over, and why"),
            LOCAL,
        ],
    },
    Told {
        command: "vault rotate",
        examples: &[
            (
                "backupctl vault rotate --dry-run",
                "what would be encrypted anew",
            ),
            (
                "backupctl vault rotate",
                "a new key for the vault and the env file",
            ),
        ],
        codes: &[
            (Verdict::Done, "the new key opens everything"),
            CONFIG,
            LOCAL,
        ],
    },
];

/// What is told of the command with these words; None: it has nothing here, and its own help instead.
pub fn told(words: &str) -> Option<&'static Told> {
    TOLD.iter().find(|told| told.command == words)
}

/// Every command of the table, to be held against the commands that there are.
pub fn commands() -> impl Iterator<Item = &'static str> {
    TOLD.iter().map(|told| told.command)
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
