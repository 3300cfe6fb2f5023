//! An installation, its live database and the archives that replace it; and the oracle that is asked after every fault.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::archives;
use crate::support::postgres::Postgres;
use crate::support::program::{Ran, Running, Setup};

/// Nothing that a test waits for takes longer.
const DEADLINE: Duration = Duration::from_secs(30);
/// The longest that a run may take to end once it was asked to.
pub const ORDERLY_END: Duration = Duration::from_secs(10);

/// One server for all tests of faults, apart from the shared one: they end backends and make it slow.
pub fn server() -> &'static Postgres {
    static SERVER: LazyLock<Postgres> =
        LazyLock::new(|| Postgres::start("client_connection_check_interval = '100ms'"));
    &SERVER
}

/// How long the restore of an archive stays in building an index (and in ANALYZE), and how long a check of it takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slow {
    pub index: f64,
    pub check: f64,
}

/// A ZIP with a dump, and what a database is like that was restored from it.
#[derive(Debug, Clone)]
pub struct Archive {
    pub zip: Vec<u8>,
    pub hash: String,
}

/// A database of `server` with content that says `word`, dumped and zipped.
pub fn archive(server: &Postgres, word: &str, slow: Slow) -> Archive {
    let source = server.database("source");
    fill(server, &source, word);
    let Slow { index, check } = slow;
    server.sql(
        &source,
        &format!(
            "create or replace function calm(n int) returns int immutable language plpgsql as
                 $$begin perform pg_catalog.pg_sleep({index}); return n; end$$;
             create or replace view slow as select 1 as one from pg_sleep({check})"
        ),
    );
    let zip = archives::zip()
        .entry("erp.dump", server.dump(&source, &["-Fc"]))
        .build();
    let hash = server.content_hash(&source);
    server.sql("postgres", &format!("drop database {source}"));
    Archive { zip, hash }
}

/// The content that says `word`, in an empty database.
pub fn fill(server: &Postgres, database: &str, word: &str) {
    server.sql(
        database,
        &format!(
            "create table item (id serial primary key, word text, payload text);
             insert into item (word, payload) select '{word}', repeat(md5('{word}' || n), 20) from generate_series(1, 2000) n;
             create table part (id serial primary key, item int references item, note text);
             insert into part (item, note) select 1 + n % 2000, md5(n::text) from generate_series(1, 3000) n;
             create index on part (note);
             create table once (n int); insert into once values (1);
             create function calm(n int) returns int immutable language plpgsql as $$begin return n; end$$;
             create index on once (calm(n));
             create view slow as select 1 as one from pg_sleep(0)"
        ),
    );
}

/// `backupctl run` with a live database that holds the word `old` and an archive to replace it.
pub struct World {
    pub setup: Setup,
    pub server: &'static Postgres,
    pub live: String,
    /// Where the archives lie.
    pub store: PathBuf,
    /// The hash of the live database before the fault.
    pub old: String,
    /// Every file of the installation outside of state_dir.
    pub outside: BTreeSet<PathBuf>,
    _store: tempfile::TempDir,
}

impl World {
    /// Archives come from a local directory; `job` has more lines of `[restores.erp]`.
    pub fn new(job: &str) -> Self {
        Self::with(job, Setup::local)
    }

    /// `extend` names the store `office`, and adds what else is configured.
    pub fn with(job: &str, extend: impl FnOnce(Setup, &Path) -> Setup) -> Self {
        Self::made(server(), job, extend)
    }

    /// On a server of its own.
    pub fn on(server: &'static Postgres, job: &str) -> Self {
        Self::made(server, job, Setup::local)
    }

    fn made(
        server: &'static Postgres,
        job: &str,
        extend: impl FnOnce(Setup, &Path) -> Setup,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a store");
        let live = server.database("live");
        fill(server, &live, "old");
        let setup = extend(Setup::new(), directory.path())
            .database(server, &live)
            .part("[network]\nattempts = 2\nwait = \"200ms\"\ntimeout = \"2s\"\n")
            .restore(job)
            .write();
        let mut world = Self {
            old: server.content_hash(&live),
            store: directory.path().to_owned(),
            _store: directory,
            outside: BTreeSet::new(),
            setup,
            server,
            live,
        };
        world.outside = world.files_outside();
        world
    }

    /// This archive is the newest one from now on.
    pub fn offer(&self, archive: &Archive) {
        fs::write(self.store.join("erp.zip"), &archive.zip).expect("an archive in the store");
    }

    pub fn live_hash(&self) -> String {
        self.server.content_hash(&self.live)
    }

    pub fn scratch_databases(&self) -> Vec<String> {
        self.server.databases_like(&format!("{}_new_%", self.live))
    }

    pub fn previous_databases(&self) -> Vec<String> {
        self.server
            .databases_like(&format!("{}_before_%", self.live))
    }

    /// The newest report on disk, by its start: names of runs that began in the same second have no order.
    pub fn report(&self) -> Value {
        let started = |report: &Value| -> jiff::Timestamp {
            let text = report["started"].as_str().expect("a start");
            text.parse().expect("a timestamp")
        };
        let reports = self.setup.reports().into_iter();
        reports.max_by_key(started).unwrap_or(Value::Null)
    }

    /// Waits until the newest run is in `step`.
    pub fn wait_for_step(&self, step: &str, running: &mut Running) {
        let reports = self.setup.reports().len();
        let mut last = Value::Null;
        wait(&format!("step {step}"), || {
            assert!(
                running.is_alive(),
                "the run ended before step {step}: {last:#}"
            );
            if self.setup.reports().len() < reports.max(1) {
                return None;
            }
            last = self.report();
            (current_step(&last) == Some(step)).then_some(())
        });
    }

    /// The live database is the old one, none was set aside, and the report says no other.
    pub fn is_unchanged(&self) {
        assert_eq!(self.live_hash(), self.old, "live is what it was");
        assert_eq!(self.previous_databases(), Vec::<String>::new());
        let report = self.report();
        assert_eq!(step_verdict(&report, "swap"), None, "{report:#}");
        assert_eq!(report["database"]["previous"], Value::Null, "{report:#}");
    }

    /// A run that ended in order, for whatever reason, told the truth and left nothing.
    pub fn ended(&self, ran: &Ran) {
        let report = self.report();
        let code = i64::from(ran.code.unwrap_or(-1));
        assert_eq!(report["exit_code"], code, "{report:#}\n{ran}");
        assert_ne!(report["verdict"], "unfinished", "{report:#}");
        assert_ne!(report["ended"], Value::Null, "{report:#}");
        assert_eq!(self.scratch_databases(), Vec::<String>::new(), "{ran}");
        // A download that was cut short stays for the next run, with what proves it.
        self.nothing_is_left_after(report["verdict"].as_str().expect("a verdict"));
    }

    /// As [`Self::nothing_is_left`], but for the download that the next run goes on with.
    pub fn nothing_is_left_after(&self, verdict: &str) {
        self.nothing_is_left_but(|path| goes_on(verdict) && is_download(path));
    }

    /// A run that was killed has said nothing that is not so.
    pub fn died(report: &Value) {
        assert_eq!(report["verdict"], "unfinished", "{report:#}");
        assert_eq!(report["exit_code"], Value::Null, "{report:#}");
        assert_eq!(report["ended"], Value::Null, "{report:#}");
    }

    /// No temporary file, no unpacked dump, no journal, and nothing outside of state_dir.
    pub fn nothing_is_left(&self) {
        self.nothing_is_left_but(|_| false);
    }

    fn nothing_is_left_but(&self, may_stay: impl Fn(&Path) -> bool) {
        let left: Vec<PathBuf> = files(&self.setup.path("state"))
            .into_iter()
            .filter(|path| !may_stay(path))
            .filter(|path| {
                let name = path.to_string_lossy();
                let ends = [".part", ".tmp", ".dump"];
                ends.iter().any(|end| name.ends_with(end))
                    || name.contains("/journal/")
                    || name.contains("/archives/")
                        && !(path.with_extension("zip").exists()
                            && path.with_extension("json").exists())
            })
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "left in state_dir");
        assert_eq!(self.files_outside(), self.outside, "outside of state_dir");
    }

    /// The next run needs nobody's help: it ends `done` with this archive and leaves nothing. Returns its report.
    pub fn recovers(&self, archive: &Archive) -> Value {
        let dead = self.report();
        self.offer(archive);
        let ran = self.setup.run(&["run", "--json"]).expect(0);
        let report = ran.json();
        assert_eq!(report["verdict"], "done", "{report:#}");
        assert_eq!(self.live_hash(), archive.hash, "{report:#}");
        self.ended(&ran);
        assert_eq!(self.previous_databases().len(), 1, "{report:#}");
        if dead["verdict"] == "unfinished" {
            Self::names_the_dead(&dead, &report);
        }
        report
    }

    pub fn names_the_dead(dead: &Value, report: &Value) {
        let run = dead["run"].as_str().expect("a run id");
        let has_begun = dead["steps"].as_array().is_some_and(|all| !all.is_empty());
        let step = match current_step(dead) {
            Some(step) => format!("in step {step}"),
            None if has_begun => "after step".to_owned(),
            None => "before its first step".to_owned(),
        };
        let named = texts(&report["warnings"]).iter().any(|warning| {
            warning.contains(run) && warning.contains("died") && warning.contains(&step)
        });
        assert!(named, "{run} died {step}\n{report:#}");
    }

    pub fn files_outside(&self) -> BTreeSet<PathBuf> {
        let state = self.setup.path("state");
        let all = files(&self.setup.path(""));
        all.into_iter()
            .filter(|path| !path.starts_with(&state))
            .collect()
    }
}

/// After these verdicts a download that was begun stays for the next run.
pub fn goes_on(verdict: &str) -> bool {
    ["network", "interrupted"].contains(&verdict)
}

/// The download that a next run goes on with: both of its files, or none.
pub fn is_download(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "arriving")
        && path.with_extension("part").exists()
        && path.with_extension("proven").exists()
}

/// The step that has begun and not ended.
pub fn current_step(report: &Value) -> Option<&str> {
    let steps = report["steps"].as_array()?;
    let open = steps.iter().find(|step| step["verdict"].is_null())?;
    open["step"].as_str()
}

/// How a step ended; None where it has not begun or not ended.
pub fn step_verdict<'a>(report: &'a Value, step: &str) -> Option<&'a str> {
    let steps = report["steps"].as_array()?;
    steps.iter().find(|s| s["step"] == step)?["verdict"].as_str()
}

pub fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts
        .filter_map(|text| Some(text.as_str()?.to_owned()))
        .collect()
}

/// Every file below `directory`.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Waits for a condition, and fails the test where it does not come.
pub fn wait<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
