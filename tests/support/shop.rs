//! A whole installation as an operator has it: a live database with the row `old`, a directory of archives, and the program.
//!
//! The databases lie on the shared server, and each word is dumped once, so that a refresh in a test costs what it costs the program.

use std::collections::HashMap;
use std::fs::{self, File};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use super::archives;
use super::postgres::Postgres;
use super::program::{Ran, Setup};

#[derive(Debug)]
pub struct Shop {
    pub setup: Setup,
    pub server: &'static Postgres,
    /// The live database's name.
    pub live: String,
    pub store: TempDir,
}

impl Shop {
    /// `lines` go into `[restores.erp]`.
    pub fn new(lines: &str) -> Self {
        Self::with(lines, |setup| setup)
    }

    /// `more` adds other parts of the configuration.
    pub fn with(lines: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        let server = Postgres::shared();
        let live = server.database("shop");
        server.sql(
            &live,
            "create table t (v text); insert into t values ('old')",
        );
        let store = tempfile::tempdir().expect("a directory for the archives");
        let setup = Setup::new().local(store.path()).database(server, &live);
        Self {
            setup: more(setup).restore(lines).write(),
            server,
            live,
            store,
        }
    }

    /// Puts an archive into the store whose dump has the row `word`.
    pub fn offer(&self, name: &str, word: &str, minutes_old: u64) {
        let zip = archives::zip().entry("shop.dump", dump_of(self.server, word));
        let path = self.store.path().join(name);
        fs::write(&path, zip.build()).expect("an archive");
        let modified = SystemTime::now() - Duration::from_secs(60 * minutes_old);
        let file = File::options().write(true).open(path).expect("the archive");
        file.set_modified(modified).expect("its time");
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.setup.run(arguments)
    }

    /// A run that must end well: its report.
    pub fn refreshed(&self) -> Value {
        self.run(&["run", "--json"]).expect(0).json()
    }

    /// The one row of the live database.
    pub fn row(&self) -> String {
        self.server.value(&self.live, "select v from t")
    }

    /// The live database and everything that was set aside or left behind.
    pub fn databases(&self) -> Vec<String> {
        self.server.databases_like(&format!("{}%", self.live))
    }

    /// The databases that were set aside.
    pub fn previous(&self) -> Vec<String> {
        self.server
            .databases_like(&format!("{}\\_before\\_%", self.live))
    }
}

fn dump_of(server: &Postgres, word: &str) -> Vec<u8> {
    static DUMPS: LazyLock<Mutex<HashMap<String, Vec<u8>>>> = LazyLock::new(Mutex::default);
    let mut dumps = DUMPS.lock().unwrap_or_else(PoisonError::into_inner);
    dumps
        .entry(word.to_owned())
        .or_insert_with(|| {
            let database = server.database("source");
            let sql = format!("create table t (v text); insert into t values ('{word}')");
            server.sql(&database, &sql);
            server.dump(&database, &["-Fc"])
        })
        .clone()
}
