//! Reads the configuration file into [`Config`], or lists everything that is wrong with it, each with line and TOML path.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::drill::drill;
use super::nearest::nearest;
use super::notify::{metrics, notify};
use super::restores::restores;
use super::section::{Problems, Section};
use super::session::session;
use super::{
    Config, Local, Log, Network, Postgres, SecretFiles, SecretRef, Sftp, SslMode, Store, StoreKind,
};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const DEFAULT_FILE: &str = "/etc/backupctl/config.toml";

/// What the configuration takes from the process environment, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$BACKUPCTL_CONFIG`.
    pub config_file: Option<PathBuf>,
    pub state_home: Option<PathBuf>,
    pub agent_socket: Option<PathBuf>,
    pub is_root: bool,
}

/// The process environment as far as the configuration cares.
#[must_use]
pub fn environment() -> Environment {
    let path = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    Environment {
        config_file: path("BACKUPCTL_CONFIG"),
        state_home: path("XDG_STATE_HOME")
            .or_else(|| path("HOME").map(|home| home.join(".local/state"))),
        agent_socket: path("SSH_AUTH_SOCK"),
        is_root: rustix::process::geteuid().is_root(),
    }
}

/// Reads the file named on the command line, else `$BACKUPCTL_CONFIG`, else `/etc/backupctl/config.toml`.
///
/// # Errors
/// `config`: the file is missing, unreadable or wrong; all problems are listed at once.
pub fn load(named: Option<&Path>, environment: &Environment) -> Outcome<Config> {
    let file = place(named, environment);
    let text = fs::read(&file)
        .judge(
            Verdict::Config,
            format!("read the configuration {}", file.display()),
        )
        .map_err(|failed| {
            failed
                .hint("name it with `-c FILE` or in $BACKUPCTL_CONFIG; `backupctl init` makes one")
        })?;
    let text = String::from_utf8(text).judge(
        Verdict::Config,
        format!("read the configuration {}: it is not UTF-8", file.display()),
    )?;
    parse(&file, &text, environment)
}

/// Which file that is, as an absolute path.
#[must_use]
pub fn place(named: Option<&Path>, environment: &Environment) -> PathBuf {
    let file = named
        .or(environment.config_file.as_deref())
        .unwrap_or(Path::new(DEFAULT_FILE));
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// Whether nobody has named a configuration and there is none at the usual place.
#[must_use]
pub fn is_absent(named: Option<&Path>, environment: &Environment) -> bool {
    let named = named.or(environment.config_file.as_deref());
    named.is_none() && !Path::new(DEFAULT_FILE).exists()
}

/// Judges the text of a configuration file that stands at `file`.
///
/// # Errors
/// `config`: all problems at once.
pub fn parse(file: &Path, text: &str, environment: &Environment) -> Outcome<Config> {
    let problems = Problems::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.add(
            error.span().map_or(0, |span| span.start),
            format!("no valid TOML: {}", error.message()),
        );
    }
    let directory = file.parent().unwrap_or(Path::new("/"));
    let config = errors.is_empty().then(|| {
        whole(
            file,
            Section::root(table.get_ref(), &problems, directory),
            environment,
            &problems,
        )
    });
    let lines = problems.lines();
    match (config, lines.as_slice()) {
        (Some(config), []) => Ok(config),
        (_, [line]) => Err(Failed::new(
            Verdict::Config,
            format!("read {}: {line}", file.display()),
        )),
        _ => Err(Failed::new(
            Verdict::Config,
            format!(
                "read {}: {} problems\n  {}",
                file.display(),
                lines.len(),
                lines.join("\n  ")
            ),
        )),
    }
    .map_err(|failed: Failed| {
        failed.hint("config.example.toml shows every setting with its default")
    })
}

fn whole(
    file: &Path,
    mut root: Section<'_>,
    environment: &Environment,
    problems: &Problems<'_>,
) -> Config {
    let config = Config {
        file: file.to_owned(),
        state_dir: root
            .file("state_dir")
            .unwrap_or_else(|| default_state_dir(environment)),
        secrets: secret_files(&mut root),
        log: log(&mut root),
        network: network(&mut root),
        stores: named(&mut root, "stores", |name, section| {
            store(name, section, environment)
        })
        .into_iter()
        .map(|store| (store.name.clone(), store))
        .collect(),
        databases: named(&mut root, "databases", database)
            .into_iter()
            .map(|database| (database.key.clone(), database))
            .collect(),
        restores: restores(&mut root),
        drill: drill(&mut root),
        notify: notify(&mut root),
        metrics: metrics(&mut root),
    };
    references(&config, &mut root, problems);
    root.finish();
    config
}

fn default_state_dir(environment: &Environment) -> PathBuf {
    match &environment.state_home {
        Some(home) if !environment.is_root => home.join("backupctl"),
        _ => PathBuf::from("/var/lib/backupctl"),
    }
}

/// Reads each `[kind.NAME]`; what `read` finds wrong is noted and the entry left out.
pub(super) fn named<T>(
    root: &mut Section<'_>,
    kind: &'static str,
    read: impl Fn(&str, Section<'_>) -> Option<T>,
) -> Vec<T> {
    let Some(section) = root.section(kind) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, entry) in section.named() {
        if !is_plain_name(&name) {
            section.problem(
                &name,
                "is no usable name; use letters, digits, `-` and `_`, 64 at most",
            );
        }
        found.extend(read(&name, entry));
    }
    found
}

/// Names become parts of file names and messages.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn secret_files(root: &mut Section<'_>) -> SecretFiles {
    let vault_file = Some(root.beside("vault.fernet"));
    let Some(mut section) = root.section("secrets") else {
        return SecretFiles {
            vault_file,
            ..SecretFiles::default()
        };
    };
    let files = SecretFiles {
        env_file: section.file("env_file"),
        key_file: section.file("key_file"),
        vault_file: section.file("vault_file").or(vault_file),
    };
    section.finish();
    files
}

fn log(root: &mut Section<'_>) -> Log {
    let default = Log {
        file: None,
        keep: 14,
        level: "info".to_owned(),
        json: false,
    };
    let Some(mut section) = root.section("log") else {
        return default;
    };
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
    let log = Log {
        file: section.file("file"),
        keep: usize::try_from(section.number("keep", 1..=3650, 14)).unwrap_or(14),
        level: section.choice("level", &levels, "info").to_owned(),
        json: section.choice("format", &[("text", false), ("json", true)], false),
    };
    section.finish();
    log
}

fn network(root: &mut Section<'_>) -> Network {
    let default = Network {
        attempts: 5,
        wait: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
    };
    let Some(mut section) = root.section("network") else {
        return default;
    };
    let network = Network {
        attempts: u32::try_from(section.number("attempts", 1..=1000, 5)).unwrap_or(5),
        wait: section.duration("wait", default.wait),
        timeout: section.duration("timeout", default.timeout),
    };
    if network.timeout.is_zero() {
        section.problem("timeout", "must be longer than zero");
    }
    section.finish();
    network
}

fn store(name: &str, mut section: Section<'_>, environment: &Environment) -> Option<Store> {
    let kind = match (section.section("sftp"), section.section("local")) {
        (Some(sftp_section), None) => {
            Some(StoreKind::Sftp(Box::new(sftp(sftp_section, environment))))
        }
        (None, Some(mut local)) => {
            let path = local.file("path");
            if path.is_none() && !local.has("path") {
                local.problem("path", "is missing; for example `path = \"/mnt/backups\"`");
            }
            local.finish();
            Some(StoreKind::Local(Local {
                path: path.unwrap_or_default(),
            }))
        }
        (Some(_), Some(_)) => {
            section.problem("local", "a store has one kind, either sftp or local");
            None
        }
        (None, None) => {
            section.problem(
                "sftp",
                &format!(
                    "what kind of store is it? write [stores.{name}.sftp] or [stores.{name}.local]"
                ),
            );
            None
        }
    };
    section.finish();
    kind.map(|kind| Store {
        name: name.to_owned(),
        kind,
    })
}

fn sftp(mut section: Section<'_>, environment: &Environment) -> Sftp {
    let (user, password) = required_login("backup", &mut section);
    let sftp = Sftp {
        host: section.required_text("host", "sftp.example.org"),
        port: port(&mut section, 22),
        user,
        password,
        private_key: section.file("private_key"),
        passphrase: section.secret("passphrase"),
        agent_socket: environment.agent_socket.clone(),
        path: section.required_text("path", "/backups"),
        known_hosts: section
            .file("known_hosts")
            .unwrap_or_else(|| section.beside("known_hosts")),
        host_key: section.text("host_key"),
        legacy_algorithms: section.flag("legacy_algorithms", false),
    };
    if sftp
        .host_key
        .as_ref()
        .is_some_and(|key| !key.starts_with("SHA256:"))
    {
        section.problem(
            "host_key",
            "is no fingerprint; it starts with \"SHA256:\" (`backupctl trust STORE` shows it)",
        );
    }
    if sftp.passphrase.is_some() && sftp.private_key.is_none() {
        section.problem("passphrase", "there is no `private_key` that it could open");
    }
    let has_login = ["password", "private_key", "credentials"]
        .iter()
        .any(|key| section.has(key));
    if !has_login && sftp.agent_socket.is_none() {
        section.problem(
            "password",
            "is missing: the login needs `password`, `private_key` or an SSH agent",
        );
    }
    section.finish();
    sftp
}

fn required_login(example: &str, section: &mut Section<'_>) -> (String, Option<SecretRef>) {
    if !section.has("user") && !section.has("credentials") {
        section.required_text("user", example);
    }
    let (user, password) = section.login();
    (user.unwrap_or_default(), password)
}

pub(super) fn port(section: &mut Section<'_>, default: u16) -> u16 {
    u16::try_from(section.number("port", 1..=65535, default.into())).unwrap_or(default)
}

fn database(name: &str, mut section: Section<'_>) -> Option<Postgres> {
    let postgres = section.section("postgres");
    if postgres.is_none() {
        section.problem(
            "postgres",
            &format!("what kind of database is it? write [databases.{name}.postgres]"),
        );
    }
    section.finish();
    postgres.map(|section| self::postgres(name, section))
}

fn postgres(key: &str, mut section: Section<'_>) -> Postgres {
    let modes = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
    let (user, password) = required_login("postgres", &mut section);
    let postgres = Postgres {
        key: key.to_owned(),
        host: section.required_text("host", "db.example.org"),
        port: port(&mut section, 5432),
        user,
        password,
        name: section.required_text("name", "erp"),
        sslmode: section.choice("sslmode", &modes, SslMode::Prefer),
        // libpq's word for the system's own certificates; no file of that name is meant.
        sslrootcert: section.file("sslrootcert").map(|file| {
            if file.ends_with("system") {
                "system".into()
            } else {
                file
            }
        }),
        sslcert: section.file("sslcert"),
        sslkey: section.file("sslkey"),
        maintenance_database: section
            .text("maintenance_database")
            .unwrap_or_else(|| "postgres".to_owned()),
        bin_dir: section.file("bin_dir"),
        system_identifier: section.scalar("system_identifier"),
        session: session(&mut section),
        create: section.flag("create", false),
        max_server_bytes: section
            .has("max_server_bytes")
            .then(|| section.size("max_server_bytes", 0)),
    };
    if postgres.sslcert.is_some() != postgres.sslkey.is_some() {
        section.problem("sslcert", "`sslcert` and `sslkey` belong together");
    }
    if !postgres.name.is_empty() && postgres.name == postgres.maintenance_database {
        section.problem(
            "name",
            "is also the `maintenance_database`, and a database in use can't be swapped",
        );
    }
    section.finish();
    postgres
}

/// Names that point nowhere.
fn references(config: &Config, root: &mut Section<'_>, problems: &Problems<'_>) {
    let Some(section) = root.section("restores") else {
        return;
    };
    let sections = section.named();
    for restore in &config.restores {
        let Some((_, entry)) = sections.iter().find(|(name, _)| *name == restore.name) else {
            continue;
        };
        let known: [(&str, &str, Vec<&str>); 2] = [
            ("from", &restore.from, declared(root, "stores")),
            ("into", &restore.into, declared(root, "databases")),
        ];
        for (key, name, known) in known {
            if name.is_empty() || known.contains(&name) {
                continue;
            }
            let near = nearest(name, known.iter().copied());
            let hint = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!(
                    "known: {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ),
            };
            problems.add(
                entry.place_of(key),
                format!("{}: there is no \"{name}\"; {hint}", entry.path_of(key)),
            );
        }
    }
}

/// The names declared under `[kind.…]`, also of those that are wrong inside.
fn declared<'a>(root: &mut Section<'a>, kind: &'static str) -> Vec<&'a str> {
    root.section(kind)
        .map(|section| section.names())
        .unwrap_or_default()
}
