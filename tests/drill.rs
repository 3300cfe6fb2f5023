//! `drill`: the newest archive restored to be thrown away, on the job's server or in a private one that the drill makes.

mod local;
mod overdue;
mod server;
mod stopped;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::archives;
use crate::support::postgres::{Postgres, free_port};
use crate::support::program::{Ran, Setup};

/// An installation whose database server does not run: only PostgreSQL's programs are there.
struct Here {
    setup: Setup,
    store: TempDir,
    /// Where dumps are made.
    server: &'static Postgres,
}

impl Here {
    /// `lines` go into `[restores.erp]`, `drill` into `[drill]`.
    fn new(lines: &str, drill: &str) -> Self {
        Self::with((lines, drill), &Postgres::shared().bin_dir, |setup| setup)
    }

    fn with(
        (lines, drill): (&str, &str),
        bin_dir: &Path,
        more: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let store = tempfile::tempdir().expect("a directory for the archives");
        // Nobody listens, and the secret is nowhere.
        let database = format!(
            "[databases.erp.postgres]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"postgres\"\n\
             password = \"env:NOWHERE\"\nname = \"erp\"\nbin_dir = \"{}\"\n",
            free_port(),
            bin_dir.display()
        );
        let drill = format!("[drill]\nwhere = \"local\"\n{drill}\n");
        let setup = Setup::new()
            .local(store.path())
            .part(&database)
            .part(&drill);
        Self {
            setup: more(setup).restore(lines).write(),
            store,
            server: Postgres::shared(),
        }
    }

    /// Puts an archive into the store, of a database that `sql` has made.
    fn offer(&self, sql: &str) {
        let source = self.server.database("drilled");
        self.server.sql(&source, sql);
        let dump = self.server.dump(&source, &["-Fc"]);
        offer(self.store.path(), "erp.zip", dump);
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.setup.run(arguments)
    }

    /// No cluster, dump or journal, and no process of one.
    fn nothing_is_left(&self) {
        nothing_is_left(&self.setup);
        assert_eq!(servers_in(&self.setup.path("state")), [""; 0]);
    }
}

fn offer(store: &Path, name: &str, dump: Vec<u8>) {
    let path = store.join(name);
    fs::write(&path, archives::zip().entry("erp.dump", dump).build()).expect("an archive");
    let modified = SystemTime::now() - Duration::from_mins(10);
    let file = fs::File::options().write(true).open(path);
    file.and_then(|file| file.set_modified(modified))
        .expect("its time");
}

fn nothing_is_left(setup: &Setup) {
    for directory in ["state/drills", "state/journal", "state/dumps/erp"] {
        assert_eq!(names_in(&setup.path(directory)), [""; 0], "{directory}");
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The programs that work below `directory`.
fn servers_in(directory: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let places = processes.filter_map(|process| {
        let place: PathBuf = fs::read_link(process.path().join("cwd")).ok()?;
        place
            .starts_with(directory)
            .then(|| process.path().display().to_string())
    });
    places.collect()
}

/// The reports on disk of this command, newest first.
fn reports(setup: &Setup, command: &str) -> Vec<Value> {
    let mut names = names_in(&setup.path("state/runs"));
    names.retain(|name| name.contains(".json"));
    names.sort();
    let read = |name: &String| {
        let text = fs::read(setup.path("state/runs").join(name)).expect("a report");
        serde_json::from_slice::<Value>(&text).expect("JSON")
    };
    let reports = names.iter().rev().map(read);
    reports
        .filter(|report| report["command"] == command)
        .collect()
}

fn step(report: &Value, name: &str) -> Value {
    let mut steps = report["steps"].as_array().expect("steps").iter();
    let found = steps.find(|step| step["step"] == name).cloned();
    found.unwrap_or_else(|| panic!("no step {name} in {report:#}"))
}

fn says(report: &Value, what: &str, word: &str) {
    assert!(
        report[what].to_string().contains(word),
        "{what}: {word} in {report:#}"
    );
}

#[test]
fn all_jobs_are_drilled_in_turn_where_that_is_said() {
    let here = Here::new("", "");
    let config = fs::read_to_string(here.setup.path("config.toml")).expect("it");
    let two = config.replace("[restores.erp]", "[restores.crm]\nfrom = \"office\"\npattern = \"nothing\"\ninto = \"erp\"\n\n[restores.erp]");
    fs::write(here.setup.path("config.toml"), two).expect("two jobs");
    here.offer("create table t ()");
    assert!(here.run(&["drill"]).expect(2).stderr.contains("which job?"));
    assert!(
        here.run(&["drill", "--all", "erp"])
            .expect(2)
            .stderr
            .contains("cannot be used")
    );
    // The first one has no archive; the second one is drilled all the same.
    let ran = here.run(&["drill", "--all", "--json"]);
    let verdicts: Vec<Value> = { ran.stdout.lines() }
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["verdict"].clone())
        .collect();
    assert_eq!(verdicts, ["stale", "done"], "{ran}");
}
