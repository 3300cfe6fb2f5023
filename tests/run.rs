//! The whole program, driven from outside as cron and operators do: every verdict of `run`, and what it leaves behind.

mod along;
mod checks;
mod choosing;
mod clock;
mod create;
mod damaged;
mod directory;
mod dry_run;
mod encrypted;
mod hooks;
mod in_place;
mod keeping;
mod logins;
mod logs;
mod lost;
mod names;
mod network;
mod owners;
mod pgbouncer;
mod refresh;
mod refused;
mod several;
mod stale;
mod stream;
mod streams;
mod swap_time;
mod telling;
mod waiting;
mod wide;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use backupctl::database::connection::quote_identifier;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::archives::{Zip, zip};
use crate::support::postgres::Postgres;
use crate::support::program::{Ran, Setup};

const OLD: &str = "create table t (v text); insert into t values ('old');
    create table users (id int primary key, name text); insert into users values (1, 'ada'), (2, 'bob')";
const NEW: &str = "create table t (v text); insert into t values ('new');
    create table users (id int primary key, name text);
    insert into users select n, 'user ' || n from generate_series(1, 5) n;
    create index users_by_name on users (name)";

/// A live database with old rows, and a store to put archives into.
pub struct Scene {
    pub server: &'static Postgres,
    pub live: String,
    pub store: TempDir,
    oid: String,
}

impl Scene {
    /// With an empty store.
    pub fn new() -> Self {
        static TEMPLATE: OnceLock<String> = OnceLock::new();
        let server = Postgres::shared();
        let template = TEMPLATE.get_or_init(|| filled(server, OLD));
        let live = server.database("live");
        server.sql(
            "postgres",
            &format!("drop database {live}; create database {live} template {template}"),
        );
        Self::of(live)
    }

    /// With the newest archive in the store: `erp.zip`, good and new.
    pub fn with_archive() -> Self {
        let scene = Self::new();
        scene.put("erp.zip", &archive());
        scene
    }

    /// Whose live database has a name of one's own.
    pub fn named(live: &str) -> Self {
        let server = Postgres::shared();
        server.sql(
            "postgres",
            &format!("create database {}", quote_identifier(live)),
        );
        server.sql(live, OLD);
        Self::of(live.to_owned())
    }

    fn of(live: String) -> Self {
        let server = Postgres::shared();
        Self {
            oid: oid(server, &live),
            server,
            live,
            store: tempfile::tempdir().expect("a store"),
        }
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.store.path().join(name);
        fs::write(&path, bytes).expect("an archive in the store");
        path
    }

    /// Last modified so long ago.
    pub fn put_old(&self, name: &str, bytes: &[u8], age: Duration) -> PathBuf {
        let path = self.put(name, bytes);
        grow_old(&path, age);
        path
    }

    /// The store, the database and a key, but no job yet.
    pub fn setup(&self) -> Setup {
        Setup::new()
            .local(self.store.path())
            .database(self.server, &self.live)
    }

    /// A whole installation; `lines` of `[restores.erp]`.
    pub fn with(&self, lines: &str) -> Setup {
        self.setup().restore(lines).write()
    }

    /// The only row of `t`.
    pub fn row(&self) -> String {
        self.server.value(&self.live, "select v from t")
    }

    pub fn is_new(&self) {
        assert_eq!(self.row(), "new");
        assert_eq!(
            self.server
                .value(&self.live, "select count(*), max(name) from users"),
            "5|user 5"
        );
    }

    /// The oracle after every failure: the same database, the same content, and nothing beside it.
    pub fn is_untouched(&self) {
        assert_eq!(oid(self.server, &self.live), self.oid, "the live database");
        assert_eq!(
            self.server.content_hash(&self.live),
            old_content(),
            "its content"
        );
        assert_eq!(self.beside(), Vec::<String>::new(), "what a run left");
    }

    /// Scratch and previous databases.
    pub fn beside(&self) -> Vec<String> {
        let all = self.server.databases_like("%").into_iter();
        all.filter(|name| {
            name.starts_with(&format!("{}_new_", self.live))
                || name.starts_with(&format!("{}_before_", self.live))
        })
        .collect()
    }
}

fn oid(server: &Postgres, database: &str) -> String {
    let name = backupctl::database::connection::quote_literal(database);
    server.value(
        "postgres",
        &format!("select oid from pg_database where datname = {name}"),
    )
}

/// A new database with what the statements make.
pub fn filled(server: &Postgres, sql: &str) -> String {
    let database = server.database("source");
    server.sql(&database, sql);
    database
}

fn old_content() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let server = Postgres::shared();
        server.content_hash(&filled(server, OLD))
    })
}

/// A dump of what should be live after a run, in custom format.
pub fn dump() -> &'static [u8] {
    static DUMP: OnceLock<Vec<u8>> = OnceLock::new();
    DUMP.get_or_init(|| {
        let server = Postgres::shared();
        server.dump(&filled(server, NEW), &["-Fc"])
    })
}

/// What the statements make, dumped with pg_dump's `options`.
pub fn dump_of(sql: &str, options: &[&str]) -> Vec<u8> {
    let server = Postgres::shared();
    server.dump(&filled(server, sql), options)
}

/// `erp.dump` in a ZIP.
pub fn archive() -> Vec<u8> {
    packed().build()
}

/// The same, to be broken before it is built.
pub fn packed() -> Zip {
    zip().entry("erp.dump", dump())
}

/// An archive whose only row is another one.
pub fn archive_with_row(row: &str) -> Vec<u8> {
    let sql = format!("create table t (v text); insert into t values ('{row}')");
    zip().entry("erp.dump", dump_of(&sql, &["-Fc"])).build()
}

/// Bytes that don't pack, to make an archive large.
pub fn noise(bytes: usize) -> Vec<u8> {
    crate::support::archives::dump(bytes)[5..].to_vec()
}

pub fn grow_old(path: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(path);
    file.and_then(|file| file.set_modified(SystemTime::now() - age))
        .expect("an older file");
}

/// The report of a run with `--json` that ended with this verdict; stdout, disk and exit code agree on it.
pub fn judged(setup: &Setup, ran: &Ran, word: &str) -> Value {
    let report = ran.json();
    assert_eq!(report["verdict"], word, "{ran}");
    assert_eq!(ran.code, Some(code(word)), "{ran}");
    assert_eq!(report["exit_code"], code(word), "{ran}");
    let on_disk = setup
        .path("state/runs")
        .join(format!("{}.json", text(&report["run"])));
    let on_disk = fs::read(on_disk).expect("the report on disk");
    let on_disk: Value = serde_json::from_slice(&on_disk).expect("JSON");
    assert_eq!(on_disk, report, "the report on disk");
    if word != "done" {
        assert!(!text(&report["message"]).is_empty(), "a message\n{ran}");
        assert!(!text(&report["hint"]).is_empty(), "what to do\n{ran}");
    }
    report
}

/// As published in the manual.
pub fn code(word: &str) -> i32 {
    let words = [
        "done",
        "bug",
        "usage",
        "config",
        "locked",
        "network",
        "refused",
        "stale",
        "damaged",
        "local",
        "failed",
        "unclear",
        "attention",
    ];
    let at = words.iter().position(|known| *known == word);
    i32::try_from(at.expect("a verdict")).expect("a small number")
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Fails the test unless every one of `words` is in the text.
pub fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

/// The warnings, but for those about the versions of PostgreSQL that this machine happens to have.
pub fn warnings(report: &Value) -> Vec<&str> {
    let all = report["warnings"].as_array().expect("a list").iter();
    all.map(text)
        .filter(|text| !text.contains("CVE-"))
        .collect()
}

/// The names of the report's steps, in order.
pub fn steps(report: &Value) -> Vec<&str> {
    let steps = report["steps"].as_array().expect("steps");
    steps.iter().map(|step| text(&step["step"])).collect()
}

/// The files below a directory of the installation.
pub fn files(setup: &Setup, directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&setup.path(directory), &mut found);
    found.sort();
    found
}

/// How many of them have this extension.
pub fn count(setup: &Setup, directory: &str, extension: &str) -> usize {
    let all = files(setup, directory).into_iter();
    all.filter(|file| file.extension().is_some_and(|found| found == extension))
        .count()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(listing) = fs::read_dir(directory) else {
        return;
    };
    for entry in listing {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Waits for what another process does, with a deadline.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 seconds: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
