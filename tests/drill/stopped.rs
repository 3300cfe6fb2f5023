//! Ended by a signal, or killed: nothing stays, at once or after the next run.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Here, nothing_is_left, reports, says, servers_in};
use crate::run::until;
use crate::support::postgres::Postgres;
use crate::support::program::{Running, Setup};
use crate::support::shop::Shop;

const SLOW: &str = "[[drill.checks]]\nsql = \"select count(*) from pg_sleep(60)\"\nat_least = 1";

/// Until the drill is in its check.
fn checking(setup: &Setup) -> Running {
    let running = setup.start(&["drill"]);
    until("it checks", || {
        let report = reports(setup, "drill");
        let last = report
            .first()
            .and_then(|report| report["steps"].as_array()?.last().cloned());
        last.is_some_and(|step| step["step"] == "check")
    });
    running
}

fn soften(setup: &Setup) {
    let path = setup.path("config.toml");
    let text = fs::read_to_string(&path).expect("config.toml");
    fs::write(path, text.replace("pg_sleep(60)", "pg_sleep(0)")).expect("config.toml");
}

#[test]
fn a_signal_ends_a_local_one_in_order() {
    let here = Here::new("", SLOW);
    here.offer("create table t ()");
    let running = checking(&here.setup);
    assert_ne!(servers_in(&here.setup.path("state")), [""; 0]);

    let clock = Instant::now();
    running.signal(Signal::TERM);
    running.finish().expect(143);

    assert!(
        clock.elapsed() < Duration::from_secs(5),
        "{:?}",
        clock.elapsed()
    );
    here.nothing_is_left();
    assert_eq!(reports(&here.setup, "drill")[0]["verdict"], "interrupted");
}

#[test]
fn a_cluster_that_is_killed_says_nothing_about_the_backup() {
    let here = Here::new("", SLOW);
    here.offer("create table t ()");
    let running = checking(&here.setup);
    // The server itself, which its backends outlive for a moment: it is the one that our program has started.
    for server in servers_in(&here.setup.path("state")) {
        let status = fs::read_to_string(format!("{server}/status")).unwrap_or_default();
        if status.contains(&format!("\nPPid:\t{}\n", running.pid())) {
            let pid = server.trim_start_matches("/proc/");
            let mut kill = std::process::Command::new("kill");
            let status = kill.args(["-KILL", pid]).status();
            assert!(status.expect("kill").success());
        }
    }
    running.finish().expect(9);
    let report = reports(&here.setup, "drill").remove(0);
    says(&report, "message", "the private cluster has ended");
    here.nothing_is_left();
}

#[test]
fn an_initdb_that_hangs_and_heeds_no_signal_ends_with_the_drill() {
    // given
    let real = &Postgres::shared().bin_dir;
    let programs = tempfile::tempdir().expect("a directory");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(programs.path(), open.clone()).expect("a mode");
    for name in ["pg_restore", "postgres"] {
        symlink(real.join(name), programs.path().join(name)).expect("a link");
    }
    let initdb = programs.path().join("initdb");
    let hang = "#!/bin/sh\ntrap '' TERM QUIT INT\necho it hangs\nwhile :; do sleep 1; done\n";
    fs::write(&initdb, hang).expect("a program");
    fs::set_permissions(&initdb, open).expect("a mode");
    let here = Here::with(("", ""), programs.path(), |setup| setup);
    here.offer("create table t ()");
    let at_work = || {
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let path = initdb.display().to_string();
        lines
            .filter(|line| String::from_utf8_lossy(line).contains(&path))
            .count()
    };
    let running = here.setup.start(&["drill"]);
    until("it hangs", || at_work() > 0);

    // when
    running.signal(Signal::TERM);
    running.finish().expect(143);

    // then
    until("it is gone", || at_work() == 0);
    here.nothing_is_left();
}

#[test]
fn a_signal_ends_one_on_the_server_in_order() {
    let shop = Shop::with("", |setup| setup.part(SLOW));
    shop.offer("erp.zip", "new", 10);
    let running = checking(&shop.setup);
    assert_eq!(shop.databases().len(), 2);
    running.signal(Signal::INT);
    running.finish().expect(130);
    assert_eq!(shop.databases(), [shop.live.as_str()]);
    nothing_is_left(&shop.setup);
}

#[test]
fn the_server_of_a_killed_one_ends_with_it_and_the_next_drill_removes_the_rest() {
    // given
    let here = Here::new("", SLOW);
    here.offer("create table t ()");
    let running = checking(&here.setup);

    // when
    running.signal(Signal::KILL);
    running.finish();

    // then: the death of its parent has told it
    let state = here.setup.path("state");
    until("no server is left", || servers_in(&state).is_empty());
    assert_eq!(super::names_in(&state.join("drills")).len(), 1);
    soften(&here.setup);
    let report = here.run(&["drill", "--json"]).expect(0).json();
    says(&report, "warnings", "died in step check");
    here.nothing_is_left();
}

#[test]
fn a_server_that_has_outlived_its_drill_is_ended_by_the_next_one() {
    // given: a drill that can't tell its server, because both are stopped
    let here = Here::new("", SLOW);
    here.offer("create table t ()");
    let running = checking(&here.setup);
    let state = here.setup.path("state");
    let servers = servers_in(&state);
    let memory = memory_of(&state);
    assert!(is_listed(&memory), "{memory}");
    let tell = |word: &str| {
        for server in &servers {
            let pid = server.trim_start_matches("/proc/");
            // One that has ended meanwhile needs none.
            let _ = std::process::Command::new("kill")
                .args([word, pid])
                .output();
        }
    };
    tell("-STOP");
    running.signal(Signal::KILL);
    running.finish();
    assert_ne!(servers_in(&state), [""; 0]);

    // when
    soften(&here.setup);
    let ran = here.run(&["drill", "--json"]).expect(0);

    // then
    says(&ran.json(), "warnings", "died in step check");
    here.nothing_is_left();
    assert!(!is_listed(&memory), "{memory}");
}

/// The key of the System V shared memory of the one cluster: PostgreSQL makes it of its directory's inode.
fn memory_of(state: &Path) -> String {
    let drill = super::names_in(&state.join("drills")).remove(0);
    let data = fs::metadata(state.join("drills").join(drill).join("data")).expect("a cluster");
    data.ino().to_string()
}

fn is_listed(key: &str) -> bool {
    let listed = fs::read_to_string("/proc/sysvipc/shm").expect("the segments");
    listed
        .lines()
        .any(|line| line.split_whitespace().next() == Some(key))
}

#[test]
fn what_a_killed_one_has_left_on_the_server_is_dropped_by_the_next_run() {
    let shop = Shop::with("unchanged = \"skip\"", |setup| setup.part(SLOW));
    shop.offer("erp.zip", "new", 10);
    shop.refreshed();
    let previous = shop.databases().len();
    let running = checking(&shop.setup);
    running.signal(Signal::KILL);
    running.finish();
    assert_eq!(shop.databases().len(), previous + 1);

    // What is live is known all the same.
    let report = shop.refreshed();

    says(&report, "message", "Nothing to do");
    says(&report, "warnings", "died in step check");
    assert_eq!(shop.databases().len(), previous);
    nothing_is_left(&shop.setup);
}

#[test]
fn a_job_that_is_at_work_is_not_drilled() {
    let here = Here::new("", SLOW);
    here.offer("create table t ()");
    let running = checking(&here.setup);
    let report = here.run(&["drill", "--json"]).expect(4).json();
    says(&report, "message", "is locked by `backupctl drill`");
    running.signal(Signal::TERM);
    running.finish();
}
