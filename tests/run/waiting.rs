//! `wait_for`: a late archive is waited for, boundedly, and nobody is kept waiting by it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    Scene, archive, archive_with_row, dump_of, grow_old, judged, says, text, until, warnings,
};
use crate::support::archives::zip;
use crate::support::postgres::OpenSession;
use crate::support::program::Setup;
use crate::support::sshd::Sshd;

const HOUR: Duration = Duration::from_hours(1);
/// Far longer than any of these tests takes.
const LONG: &str = "wait_for = \"2m\"";
const IMPATIENT: &str = "[network]\nattempts = 3\nwait = \"100ms\"\ntimeout = \"5s\"\n";

/// The log of the one run that is at work.
fn log(setup: &Setup) -> String {
    let Ok(runs) = fs::read_dir(setup.path("state/runs")) else {
        return String::new();
    };
    let logs = runs.map(|file| file.expect("a file").path());
    let logs = logs.filter(|path| path.extension().is_some_and(|it| it == "log"));
    logs.map(|path| fs::read_to_string(path).expect("a log"))
        .collect()
}

fn until_it_waits(setup: &Setup) {
    until("the run waits", || {
        log(setup).contains("waiting up to 2 min")
    });
}

/// Starts a run that finds nothing good, changes the world once it waits, and expects that it ends well.
fn done_after(setup: &Setup, change: impl FnOnce()) -> Value {
    let running = setup.start(&["run", "--json"]);
    until_it_waits(setup);
    change();
    judged(setup, &running.finish(), "done")
}

#[test]
fn an_archive_that_comes_late_is_taken_and_the_report_tells_how_long_it_was_waited_for() {
    let scene = Scene::new();
    let setup = scene.with(LONG);

    let report = done_after(&setup, || {
        scene.put("erp.zip", &archive());
    });

    says(
        warnings(&report)[0],
        &["waited ", " s for a fresh archive", "empty"],
    );
    scene.is_new();
}

#[test]
fn one_that_is_too_old_too_small_or_without_its_end_is_waited_for() {
    let whole = archive();
    let table: [(&str, &[u8], Duration, &str); 3] = [
        ("", &whole, 40 * HOUR, "max_age"),
        ("min_size = \"1 KiB\"", b"tiny", HOUR, "min_size"),
        ("", &whole[..whole.len() - 30], HOUR, "upload"),
    ];
    for (lines, content, age, why) in table {
        let scene = Scene::new();
        scene.put_old("erp.zip", content, age);
        let setup = scene.with(&format!("{LONG}\n{lines}"));

        let report = done_after(&setup, || {
            // As an upload in place ends, or the next one begins.
            let next = scene.put(".next", &archive());
            fs::rename(next, scene.store.path().join("erp.zip")).expect("the next archive");
        });

        let said = log(&setup);
        assert!(said.contains(why) || why == "upload", "{why}: {said}");
        says(warnings(&report)[0], &["waited ", "erp.zip"]);
        scene.is_new();
    }
}

#[test]
fn the_wait_ends_and_says_how_long_it_was() {
    let scene = Scene::new();
    scene.put_old("erp.zip", &archive(), 40 * HOUR);
    let setup = scene.with("wait_for = \"700ms\"");
    let clock = Instant::now();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "stale");

    assert!(clock.elapsed() >= Duration::from_millis(700));
    says(
        text(&report["message"]),
        &["waited 0.", " s for a fresh archive", "1 d 16 h", "max_age"],
    );
    scene.is_untouched();
}

#[test]
fn nobody_is_kept_out_of_the_live_database_while_a_run_waits() {
    let scene = Scene::new();
    let setup = scene.with(LONG);

    let report = done_after(&setup, || {
        let run = text(&setup.reports()[0]["run"]).to_owned();
        let sessions = format!(
            "select count(*) from pg_stat_activity where application_name = 'backupctl/{run}'"
        );
        until("its sessions are closed", || {
            scene.server.value("postgres", &sessions) == "0"
        });
        // Another job restores into the same database meanwhile; it looks elsewhere.
        let other = Scene {
            store: tempfile::tempdir().expect("a store"),
            server: scene.server,
            live: scene.live.clone(),
            oid: String::new(),
        };
        other.put("erp.zip", &archive_with_row("meanwhile"));
        let elsewhere = other.with("");
        judged(&elsewhere, &elsewhere.run(&["run", "--json"]), "done");
        assert_eq!(scene.row(), "meanwhile");
        scene.put("erp.zip", &archive());
    });

    assert_eq!(report["archive"]["name"], "erp.zip");
    scene.is_new();
}

/// Another machine's restore into the scene's database: the lock that it holds.
fn other_restore(scene: &Scene) -> OpenSession {
    let sql = format!("select pg_advisory_lock({})", key(scene));
    scene.server.session("postgres", &sql)
}

fn key(scene: &Scene) -> String {
    let live = &scene.live;
    let hash = format!("encode(sha256('backupctl restores into {live}'), 'hex')");
    format!("('x' || left({hash}, 16))::bit(64)::bigint")
}

#[test]
fn who_restores_when_the_archive_comes_is_waited_for_too() {
    let scene = Scene::new();
    let setup = scene.with(LONG);

    done_after(&setup, || {
        let other = other_restore(&scene);
        scene.put("erp.zip", &archive());
        until("it waits for the other", || {
            log(&setup).contains("another restore into")
        });
        drop(other);
    });

    scene.is_new();
}

/// Its check ends when there is a session with the name `go LIVE`.
const GATE: &str = "create table t (v text); insert into t values ('new');
    create function gate() returns int language plpgsql as $$begin
        while not exists (select from pg_stat_activity
            where application_name = 'go ' || regexp_replace(current_database(), '_new_.*', '')) loop
            perform pg_sleep(0.02), pg_stat_clear_snapshot();
        end loop;
        return 1;
    end$$";

#[test]
fn one_that_finds_the_database_held_late_has_failed_and_leaves_its_report() {
    // given
    let scene = Scene::new();
    let dump = dump_of(GATE, &["-Fc"]);
    scene.put("erp.zip", &zip().entry("erp.dump", dump).build());
    let setup = scene.with("[[restores.erp.checks]]\nsql = \"select gate()\"\nequals = 1");
    let running = setup.start(&["run", "--json"]);
    let checking = format!(
        "select count(*) from pg_stat_activity where datname like '{}\\_new\\_%' and query like '%gate%' and state = 'active'",
        scene.live
    );
    until("its check runs", || {
        scene.server.value("postgres", &checking) != "0"
    });

    // when
    let holder = format!(
        "select pg_terminate_backend(pid, 20000) from pg_locks where locktype = 'advisory' and granted
         and (classid::bigint << 32) + objid::bigint = {}",
        key(&scene)
    );
    assert_eq!(scene.server.value("postgres", &holder), "t");
    let other = other_restore(&scene);
    let go = format!("set application_name = 'go {}'", scene.live);
    let go = scene.server.session("postgres", &go);

    // then
    let report = judged(&setup, &running.finish(), "failed");
    says(text(&report["message"]), &["another restore into"]);
    drop((other, go));
    scene.is_untouched();
}

#[test]
fn a_signal_ends_the_wait_at_once() {
    let scene = Scene::new();
    let setup = scene.with(LONG);
    let running = setup.start(&["run", "--json"]);
    until_it_waits(&setup);
    let clock = Instant::now();

    running.signal(Signal::TERM);

    let ran = running.finish().expect(143);
    assert!(clock.elapsed() < Duration::from_secs(20), "{ran}");
    assert_eq!(ran.json()["verdict"], "interrupted");
    scene.is_untouched();
}

#[test]
fn a_link_that_breaks_while_a_run_waits_is_tried_again() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .part(IMPATIENT)
        .restore(LONG)
        .write();

    let report = done_after(&setup, || {
        sshd.kill();
        until("it noticed", || log(&setup).contains("next attempt in"));
        sshd.put("erp.zip", &archive());
        sshd.restart();
    });

    says(warnings(&report)[0], &["waited "]);
    scene.is_new();
}

#[test]
fn a_server_that_stays_away_ends_the_wait_as_network() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .part(IMPATIENT)
        .restore(LONG)
        .write();
    let running = setup.start(&["run", "--json"]);
    until_it_waits(&setup);

    sshd.kill();

    let report = judged(&setup, &running.finish(), "network");
    says(text(&report["message"]), &["waited ", "3 attempts"]);
    scene.is_untouched();
}

#[test]
fn what_no_wait_can_mend_ends_at_once() {
    let scene = Scene::with_archive();
    let setup = scene.with(LONG);
    judged(&setup, &setup.run(&["run", "--json"]), "done");
    setup.run(&["undo", "--yes"]).expect(0);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "stale");
    says(text(&report["message"]), &["rejected by undo"]);
    let named = ["run", "--json", "--archive", "epr.zip"];
    let report = judged(&setup, &setup.run(&named), "stale");
    says(text(&report["message"]), &["epr.zip"]);

    assert!(!log(&setup).contains("waiting up to"), "{}", log(&setup));
}

#[test]
fn a_dry_run_does_not_wait_but_says_that_the_real_one_would() {
    let scene = Scene::new();
    let path = scene.put("erp.zip", &archive());
    grow_old(&path, 40 * HOUR);
    let setup = scene.with(LONG);

    let ran = setup.run(&["run", "--dry-run"]).expect(7);

    says(&ran.stderr, &["max_age", "wait up to 2 min", "wait_for"]);
    scene.is_untouched();
}

#[test]
fn fetch_waits_as_well() {
    let scene = Scene::new();
    let setup = scene.with(LONG);
    let running = setup.start(&["fetch", "--json"]);
    until_it_waits(&setup);

    scene.put("erp.zip", &archive());

    let report = judged(&setup, &running.finish(), "done");
    assert!(std::path::Path::new(text(&report["path"])).is_file());
}
