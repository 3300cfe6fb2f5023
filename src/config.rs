//! What the operator configured, as values that are already proven to make sense.
//!
//! Reading and judging the file is in `config/read.rs`; no secret is resolved here (see `secret.rs`).

mod choosing;
mod contents;
mod drill;
mod endpoint;
mod name_time;
mod nearest;
mod notify;
mod read;
mod restores;
mod section;
mod session;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use endpoint::Endpoint;
pub use name_time::NameTime;
pub use nearest::{distance, instead, nearest};
pub use notify::{HttpUrl, Metrics, Notify, Webhook, WebhookFormat, is_mail_address};
pub use read::{Environment, environment, is_absent, is_plain_name, load, parse, place};
pub use restores::glob_problem;
pub use section::is_vault_id;
pub use units::{format_bytes, format_duration, parse_duration, parse_size};

/// The whole configuration file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; relative paths in it start at its directory.
    pub file: PathBuf,
    pub state_dir: PathBuf,
    pub secrets: SecretFiles,
    pub log: Log,
    pub network: Network,
    pub stores: BTreeMap<String, Store>,
    pub databases: BTreeMap<String, Postgres>,
    /// In the order of the file.
    pub restores: Vec<Restore>,
    pub drill: Drill,
    pub notify: Notify,
    pub metrics: Metrics,
}

/// `[secrets]`: where Fernet tokens and the keys that open them lie.
#[derive(Debug, Clone, Default)]
pub struct SecretFiles {
    pub env_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Need not exist.
    pub vault_file: Option<PathBuf>,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    pub file: Option<PathBuf>,
    /// Rotated daily files kept.
    pub keep: usize,
    pub level: String,
    pub json: bool,
}

/// `[network]`: how patiently unreachable things are tried again.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// At least 1. An attempt that moved bytes doesn't count.
    pub attempts: u32,
    /// Before the second attempt; doubles with jitter, up to 5 minutes.
    pub wait: Duration,
    /// For each of connect, banner, key exchange, login; three times this without a byte ends a transfer.
    pub timeout: Duration,
}

/// A reference to a secret: `env:NAME` and its like, never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// The TOML path of the setting, for messages: `stores.office.sftp.password`.
    pub setting: String,
    /// Tried in order.
    pub sources: Vec<SecretSource>,
}

/// One place where a secret may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A Fernet token in the env file, else the plain value in the process environment.
    Env(String),
    /// The content of a file, without one trailing newline.
    File(PathBuf),
    /// A password in the vault, by its ID.
    Vault(String),
    /// As `Vault`, and the user that stands there with it must be there too.
    Credentials(String),
    /// What a program prints, without one trailing newline: the program and its arguments, run without a shell.
    Command(Vec<String>),
}

impl SecretSource {
    /// The ID, where it is in the vault.
    #[must_use]
    pub fn vault_id(&self) -> Option<&str> {
        match self {
            Self::Vault(id) | Self::Credentials(id) => Some(id),
            _ => None,
        }
    }
}

/// `[stores.NAME]`: a place that keeps archives.
#[derive(Debug, Clone)]
pub struct Store {
    pub name: String,
    pub kind: StoreKind,
}

#[derive(Debug, Clone)]
pub enum StoreKind {
    Sftp(Box<Sftp>),
    Local(Local),
}

/// `[stores.NAME.sftp]`.
#[derive(Debug, Clone)]
pub struct Sftp {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretRef>,
    pub private_key: Option<PathBuf>,
    pub passphrase: Option<SecretRef>,
    /// `$SSH_AUTH_SOCK`; asked only where neither a password nor a private key is configured.
    pub agent_socket: Option<PathBuf>,
    pub path: String,
    pub known_hosts: PathBuf,
    /// A pinned fingerprint, `SHA256:…`, instead of known_hosts.
    pub host_key: Option<String>,
    pub legacy_algorithms: bool,
}

/// `[stores.NAME.local]`.
#[derive(Debug, Clone)]
pub struct Local {
    pub path: PathBuf,
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `[databases.NAME.postgres]`: a database that a restore replaces.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Its name in the configuration; `name` is its name on the server.
    pub key: String,
    /// A host name, an address, or a socket directory (starts with `/`).
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretRef>,
    pub name: String,
    pub sslmode: SslMode,
    pub sslrootcert: Option<PathBuf>,
    pub sslcert: Option<PathBuf>,
    pub sslkey: Option<PathBuf>,
    pub maintenance_database: String,
    pub bin_dir: Option<PathBuf>,
    pub system_identifier: Option<String>,
    /// Settings of the server for the sessions that load and analyze: names and values.
    pub session: Vec<(String, String)>,
    /// The database may be missing and is then made by the first restore.
    pub create: bool,
    /// What the live database and all that belongs to it may take on the server at any time.
    pub max_server_bytes: Option<u64>,
}

/// How small an archive may be before it is `stale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinSize {
    /// A share of the last good archive's size, 0.0 to 1.0.
    Share(f64),
    Bytes(u64),
}

/// Which of the matching archives is the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewestBy {
    /// By the store's modification time.
    Modified,
    /// By the time in its name.
    Name(NameTime),
}

/// What is done where the newest archive is the one that is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchanged {
    /// Restored again, with a warning.
    Restore,
    /// Nothing, and that is `done`.
    Skip,
    /// Nothing, and that is `stale`.
    Stale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Scratch database, checks, then both names are swapped in one transaction.
    Swap,
    /// One transaction over the live database: `--single-transaction --clean --if-exists`.
    InPlace,
}

/// What happens where the live database has what the new one would not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostObjects {
    Warn,
    Refuse,
}

/// What happens at the swap to sessions that others have in the live database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    Terminate,
    Wait,
    Fail,
}

/// When what was loaded and checked goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoLive {
    Now,
    /// At `backupctl swap`, in the maintenance window.
    Hold,
}

/// When previous databases beyond `keep_previous` are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropPrevious {
    AfterSwap,
    /// Where the server's disk holds two copies but not three.
    BeforeLoad,
}

/// A command with its arguments, run without a shell.
pub type Hook = Vec<String>;

/// `[restores.NAME]`: a restore job.
#[derive(Debug, Clone)]
pub struct Restore {
    pub name: String,
    /// A key of `Config::stores`.
    pub from: String,
    /// Glob on the file name.
    pub pattern: String,
    pub ignore_case: bool,
    pub newest_by: NewestBy,
    /// None: no limit.
    pub max_age: Option<Duration>,
    pub min_size: MinSize,
    pub settle: Duration,
    /// How long a fresh and settled archive is waited for.
    pub wait_for: Duration,
    pub unchanged: Unchanged,
    pub keep_archives: usize,
    /// Glob on the name of the dump inside the archive.
    pub dump: Option<String>,
    /// For encrypted archives; one that is not needs none.
    pub zip_password: Option<SecretRef>,
    pub max_unpacked: u64,
    /// A key of `Config::databases`.
    pub into: String,
    pub method: Method,
    pub jobs: u32,
    pub contents: Contents,
    /// From the store through to pg_restore, without a file.
    pub stream: bool,
    /// SQL files that run in the scratch database before the checks.
    pub after_load: Vec<PathBuf>,
    pub lost_objects: LostObjects,
    pub stall: Duration,
    pub sessions: Sessions,
    pub sessions_timeout: Duration,
    pub keep_previous: usize,
    pub drop_previous: DropPrevious,
    /// `swap = "now"` or `"hold"`.
    pub go_live: GoLive,
    pub before_swap: Vec<Hook>,
    pub after_swap: Vec<Hook>,
    pub hook_timeout: Duration,
    pub checks: Vec<Check>,
    pub after_checks: Vec<AfterCheck>,
    pub targets: Targets,
    /// This job's own, instead of `notify.ping`.
    pub ping: Option<HttpUrl>,
}

/// What the operator has promised to somebody; None: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets {
    /// How old the live data may become: the recovery point objective.
    pub rpo: Option<Duration>,
    /// How long a run may take: the recovery time objective.
    pub rto: Option<Duration>,
    /// How long a run usually takes; one that takes more than twice as long says so.
    pub expected: Option<Duration>,
}

/// `[[restores.NAME.after_checks]]`: must hold once the new database is live, else the swap is undone.
#[derive(Debug, Clone)]
pub enum AfterCheck {
    /// Ends with 0 within `hook_timeout`.
    Command(Hook),
    Sql(Check),
}

/// What of a dump goes in, and to whom it will belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub owner: Owner,
    /// GRANTs and default privileges of the dump.
    pub keeps_privileges: bool,
    /// Else everything lies in the database's own tablespace.
    pub keeps_tablespaces: bool,
    /// Roles that the dump needs and the server doesn't have, without login.
    pub creates_roles: bool,
    /// Kinds in the table of contents that are left out, upper case: `EVENT TRIGGER`, `COMMENT EXTENSION`.
    pub skip: Vec<String>,
}

/// To whom restored objects will belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// As in the dump.
    Keep,
    /// The live database's owner.
    Target,
    Role(String),
}

impl Owner {
    /// Who will own all that is restored; None: as in the dump.
    #[must_use]
    pub fn of_all(&self, of_live: &str) -> Option<String> {
        match self {
            Self::Keep => None,
            Self::Target => Some(of_live.to_owned()),
            Self::Role(name) => Some(name.clone()),
        }
    }
}

/// `[[restores.NAME.checks]]`: must hold in the scratch database before the swap.
#[derive(Debug, Clone)]
pub struct Check {
    pub sql: String,
    pub expect: Expectation,
}

impl Check {
    /// Whether it compares with what is live.
    #[must_use]
    pub fn needs_live(&self) -> bool {
        matches!(self.expect, Expectation::AtLeastOfLive(_))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    AtLeast(f64),
    AtMost(f64),
    /// Compared as numbers where both are, else as text.
    Equals(String),
    /// The check's value is a timestamp, no older than this by the server's clock.
    NewerThan(Duration),
    /// At least so many percent of what the same statement gives in the live database; more than 0, 100 at most.
    AtLeastOfLive(f64),
}

/// `[drill]`.
#[derive(Debug, Clone, Default)]
pub struct Drill {
    pub place: DrillPlace,
    /// None: nobody is told that one is overdue.
    pub every: Option<Duration>,
    pub checks: Vec<DrillCheck>,
}

/// Where a drill restores to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DrillPlace {
    /// A scratch database on the job's server.
    #[default]
    Server,
    /// A private server on this machine.
    Local,
}

/// `[[drill.checks]]`: must hold in what a drill has restored, beside the job's own checks.
#[derive(Debug, Clone)]
pub struct DrillCheck {
    /// None: of every job.
    pub job: Option<String>,
    pub check: Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyOn {
    Always,
    Failure,
    /// Failures, and the first success after one.
    Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// Required, never opportunistic.
    StartTls,
    /// TLS from the first byte (port 465).
    Tls,
    /// Clear text; loopback only.
    None,
}

/// `[notify.email]`.
#[derive(Debug, Clone)]
pub struct Email {
    pub server: String,
    pub port: u16,
    pub security: MailSecurity,
    pub user: Option<String>,
    pub password: Option<SecretRef>,
    pub from: String,
    pub to: Vec<String>,
    pub attach_log: bool,
    pub ca_file: Option<PathBuf>,
}
