//! The server, a backend or pg_restore dies, or hangs, while a dump is loaded, checked or swapped in.

use std::process::Command;
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::kills::CHECKED;
use super::world::{Slow, World, archive, server, wait};
use crate::support::archives;
use crate::support::program::Running;

/// Waits until the restore is at the slow index.
fn until_the_index(world: &World, running: &mut Running) {
    let query = format!(
        "select count(*) from pg_stat_activity where query like 'CREATE INDEX%calm%' and datname like '{}_new_%'",
        world.live
    );
    wait("the index is being built", || {
        assert!(running.is_alive());
        (world.server.value("postgres", &query) == "1").then_some(())
    });
}

fn slow_index() -> World {
    let world = World::new("");
    let index = Slow {
        index: 60.0,
        check: 0.0,
    };
    world.offer(&archive(server(), "slow", index));
    world
}

/// `failed`, live is what it was, and the next run needs no help.
fn failed(world: &World, running: Running) -> String {
    let ran = running.finish().expect(10);
    let report = world.report();
    assert_eq!(report["verdict"], "failed", "{report:#}");
    world.ended(&ran);
    world.is_unchanged();
    let message = report["message"].as_str().expect("a message").to_owned();
    world.recovers(&archive(world.server, "new", Slow::default()));
    message
}

#[test]
fn a_pg_restore_that_is_killed_makes_the_run_fail() {
    // given
    let world = slow_index();
    let mut running = world.setup.start(&["run"]);
    until_the_index(&world, &mut running);

    // when
    let children = pg_restores(running.pid());
    assert!(!children.is_empty());
    for child in children {
        let child = Pid::from_raw(i32::try_from(child).expect("a process id"));
        // One of several may have ended with the first.
        let _ = kill_process(child.expect("a process id"), Signal::KILL);
    }

    // then
    let message = failed(&world, running);
    assert!(message.contains("pg_restore"), "{message}");
}

/// The pg_restore processes among the descendants of `pid`.
fn pg_restores(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = Command::new("pgrep")
            .args(["-P", &parent.to_string()])
            .output()
            .expect("pgrep");
        for child in String::from_utf8_lossy(&children.stdout).lines() {
            let child = child.parse().expect("a process id");
            parents.push(child);
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "pg_restore" {
                found.push(child);
            }
        }
    }
    found
}

#[test]
fn a_backend_that_is_terminated_during_the_load_makes_the_run_fail() {
    let world = slow_index();
    let mut running = world.setup.start(&["run"]);
    until_the_index(&world, &mut running);
    terminate(&world, "query like 'CREATE INDEX%calm%'");
    failed(&world, running);
}

#[test]
fn a_backend_that_is_terminated_during_a_check_makes_the_run_fail() {
    let world = World::new(CHECKED);
    let check = Slow {
        index: 0.0,
        check: 60.0,
    };
    world.offer(&archive(server(), "slow", check));
    let mut running = world.setup.start(&["run"]);
    let query = format!(
        "select count(*) from pg_stat_activity where query like '%from slow%' and state = 'active' and datname like '{}_new_%'",
        world.live
    );
    wait("the check", || {
        assert!(running.is_alive());
        (world.server.value("postgres", &query) == "1").then_some(())
    });
    terminate(&world, "query like '%from slow%'");
    failed(&world, running);
}

fn terminate(world: &World, which: &str) {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where {which} and datname like '{}_new_%'",
        world.live
    );
    assert_eq!(world.server.value("postgres", &sql), "1");
}

#[test]
fn every_backend_of_the_run_terminated_at_any_moment_leaves_a_true_report() {
    // given
    let world = World::new(CHECKED);
    let slow = Slow {
        index: 0.05,
        check: 0.05,
    };
    let archives = [
        archive(server(), "even", slow),
        archive(server(), "odd", slow),
    ];
    world.recovers(&archives[0]);
    let clock = Instant::now();
    world.recovers(&archives[1]);
    let whole = clock.elapsed();
    let mut live = 1;
    for round in 0..12 {
        // when
        world.offer(&archives[1 - live]);
        let running = world.setup.start(&["run", "--json"]);
        thread::sleep(whole.mul_f64(f64::from(round) / 12.0));
        server().value(
            "postgres",
            &format!(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'backupctl/%'
                 and (datname like '{0}%' or datname = 'postgres' and exists (select from pg_stat_activity o
                      where o.application_name = pg_stat_activity.application_name and o.datname like '{0}%'))",
                world.live
            ),
        );
        let ran = running.finish();

        // then
        let hash = world.live_hash();
        let report = ran.json();
        let is_new = hash == archives[1 - live].hash;
        assert!(is_new || hash == archives[live].hash, "{report:#}");
        let good = ["done", "attention"].contains(&report["verdict"].as_str().expect("a verdict"));
        assert_eq!(good, is_new, "{report:#}");
        if !good {
            let verdict = report["verdict"].as_str().expect("a verdict");
            assert!(["failed", "network"].contains(&verdict), "{report:#}");
        }
        live = if is_new { 1 - live } else { live };
    }
    world.recovers(&archives[1 - live]);
}

#[test]
fn a_restore_that_hangs_on_a_lock_fails_and_names_who_holds_it() {
    // given
    let world = World::new("stall = \"2s\"");
    let source = server().database("locked");
    server().sql(
        &source,
        "create table item (n int); insert into item values (1); create table gate (n int);
         create function calm(n int) returns int immutable language plpgsql as
             $$begin perform pg_catalog.pg_sleep(1.5); perform count(*) from public.gate; return n; end$$;
         create index on item (calm(n))",
    );
    let zip = archives::zip()
        .entry("erp.dump", server().dump(&source, &["-Fc"]))
        .build();
    std::fs::write(world.store.join("erp.zip"), zip).expect("an archive");

    // when: somebody takes a lock that the restore will need
    let mut running = world.setup.start(&["run"]);
    until_the_index(&world, &mut running);
    let scratch = world.scratch_databases().pop().expect("a scratch database");
    let holder = server().session(
        &scratch,
        "set application_name = 'the holder'; begin; lock table gate in access exclusive mode",
    );
    let pid = server().value(
        "postgres",
        "select pid from pg_stat_activity where application_name = 'the holder'",
    );
    let ran = running.finish();
    drop(holder);

    // then
    let ran = ran.expect(10);
    let report = world.report();
    let message = report["message"].as_str().expect("a message");
    assert!(message.contains("no progress"), "{message}");
    assert!(
        message.contains(&pid) && message.contains("the holder"),
        "{pid}: {message}"
    );
    world.ended(&ran);
    world.is_unchanged();
    world.recovers(&archive(server(), "new", Slow::default()));
}

/// Stops the server at once, as a crash does, and starts it again.
fn crash(world: &World) {
    let data = world.server.directory.join("data");
    let control = |arguments: &[&str]| {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--",
            ]);
            command.arg(world.server.bin_dir.join("pg_ctl"));
            command
        } else {
            Command::new(world.server.bin_dir.join("pg_ctl"))
        };
        let status = command
            .arg("-D")
            .arg(&data)
            .args(arguments)
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        assert!(status.expect("pg_ctl").success(), "{arguments:?}");
    };
    control(&["stop", "-m", "immediate", "-w"]);
    control(&["start", "-w", "-l", "/dev/null"]);
}

#[test]
fn a_server_that_crashes_in_the_middle_makes_the_run_fail_and_the_next_one_cleans_up() {
    let own = crate::support::postgres::Postgres::start("fsync = on\nfull_page_writes = on");
    let own: &'static _ = Box::leak(Box::new(own));
    let end = EndOfServer(own);
    for step in ["restore", "check", "swap"] {
        // given
        let job = format!("{CHECKED_AND_SLOW_TO_SWAP}\n{CHECKED}");
        let world = World::on(own, &job);
        let slow = Slow {
            index: if step == "restore" { 60.0 } else { 0.0 },
            check: if step == "check" { 60.0 } else { 0.0 },
        };
        world.offer(&archive(own, "slow", slow));
        let mut running = world.setup.start(&["run"]);
        world.wait_for_step(step, &mut running);
        if step == "restore" {
            until_the_index(&world, &mut running);
        }

        // when
        crash(&world);

        // then
        let ran = running.finish().expect(10);
        let report = world.report();
        assert_eq!(report["verdict"], "failed", "{report:#}\n{ran}");
        assert_eq!(world.live_hash(), world.old);
        assert_eq!(world.previous_databases().len(), 0);
        world.recovers(&archive(own, "new", Slow::default()));
    }
    drop(end);
}

const CHECKED_AND_SLOW_TO_SWAP: &str = "before_swap = [[\"sleep\", \"3\"]]\nhook_timeout = \"20s\"";

/// Stops a server that was restarted by the test, whom its supervisor doesn't know any more.
struct EndOfServer(&'static crate::support::postgres::Postgres);

impl Drop for EndOfServer {
    fn drop(&mut self) {
        let pid = self.0.directory.join("data/postmaster.pid");
        let pid = std::fs::read_to_string(pid).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            // It may be down.
            let _ = Command::new("kill").args(["-QUIT", pid]).status();
        }
    }
}
