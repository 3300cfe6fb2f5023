//! Every flag and command, with the help text.

pub mod completion;
pub mod help;
mod init;
mod schedule;
mod vault;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub use init::Init;
pub use schedule::{Schedule, TimeOfDay};
pub use vault::{Vault, Whose};

use crate::config::parse_duration;

/// Brings database backups back to life: proven first, then live all at once.
///
/// The live database is always wholly the old one or wholly the new one; `backupctl undo` goes back.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "`backupctl COMMAND --help` has examples, and `man backupctl` the rest.\n\n\
                  Exit codes: 0 done, 1 bug, 2 usage, 3 config, 4 locked, 5 network, 6 refused,\n\
                  7 stale, 8 damaged, 9 local, 10 failed, 11 unclear, 12 attention, 130 and 143\n\
                  ended by a signal."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The whole command line as it is parsed, told and completed: the definitions below with their examples.
#[must_use]
pub fn command() -> clap::Command {
    help::with_help(Cli::command(), "")
}

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file [default: $BACKUPCTL_CONFIG, else /etc/backupctl/config.toml]
    #[arg(short, long, value_name = "FILE", global = true, display_order = 100)]
    pub config: Option<PathBuf>,
    /// Print one JSON document per job on stdout instead of text
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
    /// Connect, read, plan and print the plan, but change nothing anywhere
    #[arg(short = 'n', long, global = true, display_order = 100)]
    pub dry_run: bool,
    /// Say more on stderr: -v for each step, -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true, display_order = 100)]
    pub verbose: u8,
    /// Nothing on stderr but errors; the result still goes to stdout
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        display_order = 100
    )]
    pub quiet: bool,
    /// Colour on stderr; auto: on a terminal
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN", global = true, display_order = 100)]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first configuration, with its key and env file, and check it
    ///
    /// Asks a few questions on a terminal; what flags have said is not asked, and without a terminal nothing is. It never overwrites
    /// anything, writes all files at the end or none, learns the store's host key only if you say so, and ends with `check`.
    Init(Box<Init>),
    /// Fetch, prove, load and swap in the newest archive, then tell people
    Run {
        /// Restore jobs, in this order [default: all of the configuration]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
        #[command(flatten)]
        which: Which,
    },
    /// The archives in a job's store, newest first, and why one would not be taken
    List(One),
    /// Bring the newest archive, proven, into the state directory and print its path
    Fetch {
        #[command(flatten)]
        job: One,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        tell: Tell,
    },
    /// Unpack the dump of the newest fetched archive and print its path
    Unzip {
        #[command(flatten)]
        job: One,
        /// Another archive than the newest fetched one, or the directory of a dump
        #[arg(long, value_name = "ARCHIVE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        tell: Tell,
    },
    /// Load a dump into a scratch database, check it and swap it in; or load it beside the live one, to look at
    ///
    /// With `--as NAME` nothing is swapped and no hook is run: the dump, or some tables of it, is loaded into a database of
    /// that name, which is there until `--drop NAME`. Only its owner, members of that role and superusers can connect to it.
    /// The checks of the job run in it unless tables are chosen; one that fails makes the verdict, and the database stays.
    Restore {
        #[command(flatten)]
        job: One,
        /// A dump, its directory, or an archive [default: the newest unzipped dump]
        #[arg(long, value_name = "DUMP_OR_ARCHIVE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        beside: Beside,
        #[command(flatten)]
        tell: Tell,
    },
    /// Restore the newest archive into a throw-away database, check it, count it, drop it, and say how long it took
    ///
    /// Proves that the newest archive restores. The live database is not touched and need not be there. Where: on the job's
    /// server, or with `where = "local"` in [drill] in a private PostgreSQL server that the drill makes and removes itself.
    /// The job's checks run in it and those of [drill]; the report keeps the evidence, and is mailed. `status` and `check` are
    /// red where the last good drill is older than `every` of [drill].
    Drill {
        /// The restore jobs [default: the only one of the configuration]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
        /// Every job of the configuration
        #[arg(long, conflicts_with = "jobs")]
        all: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Swap in what `swap = "hold"` has prepared, or what a run could not swap because of others' sessions
    ///
    /// Its checks are made again first. Refused as `stale` where nothing is prepared, or where the live database has been
    /// replaced since it was prepared.
    Swap {
        #[command(flatten)]
        job: One,
        /// Don't ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        tell: Tell,
    },
    /// Go back to the previous database, by the same swap; a second undo comes forward again
    ///
    /// The archive that is taken back counts as rejected: no later run takes it by itself, until a second undo or
    /// `run --accept rejected`. A newer archive is taken as usual.
    Undo {
        #[command(flatten)]
        job: One,
        /// Don't ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        tell: Tell,
    },
    /// Send the last report of a run, restore or undo again, or a test message, by mail and webhook
    ///
    /// A test also leaves an entry in the log of every `ping` (URL/log, healthchecks.io's convention): neither a sign of life
    /// nor an alarm. The report is never sent to a `ping` again.
    Notify {
        #[command(flatten)]
        job: One,
        /// Send a test message instead, to every job's `ping` as well, or to JOB's
        #[arg(long)]
        test: bool,
    },
    /// The last run and the last success of each job; not zero where that is too old
    ///
    /// Reads reports only: it connects to nothing and can be asked while a run works. The exit code is 7 (stale) where the last
    /// success is older than --max-age, or the live data older than the job's `rpo`; 12 where it took longer than `rto`, or where
    /// the last good drill is older than `every` of [drill];
    /// 11 where the last run left it unclear what is live. Where neither --max-age nor `rpo` is set, the last run's own.
    Status {
        /// Restore jobs, in this order [default: all of the configuration]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
        /// How old the last success may be, such as 26h
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        max_age: Option<Duration>,
    },
    /// The history of runs: as text, JSON, or one self-contained page
    ///
    /// Reads reports only: it connects to nothing and can be asked while a run works. Every report is compared with the chain over
    /// them: one that is missing, or was edited by somebody else, is named, and the exit code is 10 (failed). How the runs
    /// ended, or how old the last one is, changes nothing about the exit code: that is what `status` is for.
    Report {
        /// Restore jobs, in this order [default: all of the configuration]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
        #[command(flatten)]
        history: History,
    },
    /// Prove every link of the chain: a line each, with the remedy where it is broken
    ///
    /// From configuration, secrets and tools by the store, its newest archive and the database to the mail server: ok, warning, failed,
    /// or skipped where another link is missing. It goes on after a failure, tries everything once, takes no lock, changes nothing
    /// and sends no mail. The exit code is that of the worst link; a warning is none.
    Check(Check),
    /// Show the host key of a store and, confirmed, add it to known_hosts
    Trust {
        /// NAME of a [stores.NAME.sftp] in the configuration
        store: String,
        /// Don't ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// Print, or install, what runs the jobs every night: systemd's units or a crontab
    ///
    /// A hardened service with its timer, and a second timer for `status --max-age`, which fails, and so shows in `systemctl --failed`, where no
    /// run succeeds any more. Only files that backupctl wrote are ever replaced or removed. The exit code is 12 (attention) where
    /// the files are written but nothing could be started.
    Schedule(Schedule),
    /// Keep secrets: keys, tokens, and the vault that `vault:ID` refers to
    #[command(subcommand)]
    Vault(Vault),
    /// Print the completion script for a shell
    Completions {
        /// The shell that will read it
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// How much of the history, and where to.
#[derive(Debug, Clone, Args)]
pub struct History {
    /// How far back, such as 365d
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30d")]
    pub since: Duration,
    /// Write a page for people into FILE, which may be an earlier page; its mode stays, and is 0600 at first
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The head of the chain as a mail told it: it must still be in there
    #[arg(long, value_name = "SHA256")]
    pub head: Option<String>,
}

/// A single job.
#[derive(Debug, Clone, Args)]
pub struct One {
    /// The restore job [default: the only one of the configuration]
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
}

/// Which archive, and what may be overruled.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// Take this archive instead of the newest; it may be older than `max_age`
    #[arg(long, value_name = "NAME")]
    pub archive: Option<String>,
    /// Take the archive although it is stale, or was rejected by an undo; the report says so
    #[arg(long, value_enum, value_name = "VERDICT")]
    pub accept: Vec<Accept>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accept {
    Stale,
    Rejected,
}

/// To look without touching.
#[derive(Debug, Clone, Default, Args)]
pub struct Beside {
    /// Load it beside the live database under this name, and leave that one as it is
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Only this table, as TABLE or SCHEMA.TABLE, with what it needs; may be given again
    #[arg(long = "table", value_name = "TABLE", requires = "name")]
    pub tables: Vec<String>,
    /// After this long every run says how to drop it; nothing is dropped by itself [default: 7d]
    #[arg(long, value_name = "DURATION", requires = "name", value_parser = duration)]
    pub expires: Option<Duration>,
    /// Drop what `--as NAME` has loaded
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "file", "tables", "expires"])]
    pub drop: Option<String>,
    /// With `--drop`: don't ask; needed without a terminal
    #[arg(short, long, requires = "drop")]
    pub yes: bool,
}

/// What is checked, and how.
#[derive(Debug, Clone, Default, Args)]
pub struct Check {
    /// Restore jobs, in this order [default: all of the configuration]
    #[arg(value_name = "JOB", conflicts_with_all = ["store", "database", "email"])]
    pub jobs: Vec<String>,
    #[command(flatten)]
    pub only: Only,
    /// With the environment that cron gives: PATH=/usr/bin:/bin, HOME, SHELL and LOGNAME, in the home directory
    #[arg(long)]
    pub as_cron: bool,
}

/// One connection, without a job.
#[derive(Debug, Clone, Default, Args)]
pub struct Only {
    /// Only the way into this store
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// Only this database: its server, login and rights
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Only the mail server, up to the login
    #[arg(long)]
    pub email: bool,
}

impl Only {
    /// Whether there is anything that it is only.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.store.is_some() || self.database.is_some() || self.email
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or_else(|| "write a duration such as 12h or 7d".to_owned())
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Tell {
    /// Mail the report, as `run` does by itself
    #[arg(long)]
    pub notify: bool,
}
