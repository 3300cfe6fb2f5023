//! Ports that are closed or silent, and links that are cut: bounded patience, and no half downloads.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{Scene, archive, files, judged, noise, packed, says, text, until, warnings};
use crate::support::postgres::free_port;
use crate::support::program::{Running, Setup};
use crate::support::sshd::{Fault, Sshd};

const IMPATIENT: &str = "[network]\nattempts = 2\nwait = \"100ms\"\ntimeout = \"1s\"\n";

fn with_database_port(scene: &Scene, port: u16) -> Setup {
    let table = scene.server.toml("erp", &scene.live);
    let real = format!("port = {}", scene.server.port);
    Setup::new()
        .local(scene.store.path())
        .part(&table.replace(&real, &format!("port = {port}")))
        .secret("DB_PASSWORD", "unused")
        .part(IMPATIENT)
        .restore("")
        .write()
}

#[test]
fn a_closed_and_a_silent_database_port_are_network_in_bounded_time() {
    let scene = Scene::with_archive();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    for port in [free_port(), silent.local_addr().expect("it").port()] {
        let setup = with_database_port(&scene, port);
        let clock = Instant::now();

        let report = judged(&setup, &setup.run(&["run", "--json"]), "network");

        assert!(
            clock.elapsed() < Duration::from_secs(10),
            "{:?}",
            clock.elapsed()
        );
        says(
            text(&report["message"]),
            &[&format!("127.0.0.1:{port}"), "2 attempts"],
        );
        scene.is_untouched();
    }
}

#[test]
fn a_closed_store_port_is_network() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.kill();
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .part(IMPATIENT)
        .restore("")
        .write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "network");

    says(
        text(&report["message"]),
        &[&format!("127.0.0.1:{}", sshd.port), "2 attempts"],
    );
    scene.is_untouched();
}

fn large() -> Vec<u8> {
    packed()
        .entry("attached.bin", noise(3_000_000))
        .stored()
        .build()
}

fn over(sshd: &Sshd, scene: &Scene) -> Setup {
    Setup::new()
        .sftp(sshd)
        .database(scene.server, &scene.live)
        .part(IMPATIENT)
        .restore("dump = \"*.dump\"")
        .write()
}

#[test]
fn a_download_that_is_cut_twice_is_resumed_and_the_report_says_so() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &large());
    // The first connection only knocks.
    for bytes in [u64::MAX, 1_500_000, 1_800_000] {
        sshd.next_connection(Fault::CutAfter(bytes));
    }
    let setup = over(&sshd, &scene);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    let warnings = warnings(&report);
    assert_eq!(warnings.len(), 2, "{report}");
    says(warnings[0], &["resumed"]);
    assert_eq!(report["archive"]["bytes"], large().len());
    scene.is_new();
}

#[test]
fn a_link_that_is_always_cut_at_the_start_ends_as_network_without_a_trace() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &archive());
    sshd.next_connection(Fault::CutAfter(u64::MAX));
    for _ in 0..5 {
        sshd.next_connection(Fault::CutAfter(200));
    }
    let setup = over(&sshd, &scene);

    judged(&setup, &setup.run(&["run", "--json"]), "network");

    assert_eq!(
        files(&setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    scene.is_untouched();
}

#[test]
fn a_store_directory_that_is_not_there_is_named() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    let missing = sshd.dir.join("nowhere");
    let setup = Setup::new()
        .part(&sshd.toml("office", &missing))
        .database(scene.server, &scene.live)
        .restore("")
        .write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(text(&report["message"]), &["nowhere"]);
    scene.is_untouched();
}

#[test]
fn a_link_cut_while_the_archive_is_looked_for_is_tried_again() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &archive());
    for bytes in [2500, 3500, 4500, 5500] {
        sshd.next_connection(Fault::CutAfter(u64::MAX));
        sshd.next_connection(Fault::CutAfter(bytes));
        let setup = over(&sshd, &scene);

        let ran = setup.run(&["fetch", "--json"]);

        judged(&setup, &ran, "done");
    }
}

/// A download that has stalled somewhere in the middle.
fn stalled(sshd: &Sshd, setup: &Setup) -> Running {
    sshd.next_connection(Fault::CutAfter(u64::MAX));
    sshd.next_connection(Fault::StallAfter(1_500_000));
    let running = setup.start(&["run", "--json"]);
    until("some of it has come", || {
        let all = files(setup, "state/archives").into_iter();
        all.filter_map(|file| file.metadata().ok())
            .any(|file| file.len() > 500_000)
    });
    running
}

#[test]
fn a_server_whose_key_changes_during_a_download_is_refused() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &large());
    let setup = over(&sshd, &scene);
    let running = stalled(&sshd, &setup);

    let key = sshd.home.join("host_ed25519");
    std::fs::remove_file(&key).expect("the old key");
    std::fs::remove_file(key.with_extension("pub")).expect("the old key");
    crate::support::sshd::key_pair(&key, "ed25519", "");
    sshd.cut();

    let report = judged(&setup, &running.finish(), "refused");
    says(text(&report["message"]), &["host key", &sshd.fingerprint]);
    assert_eq!(
        files(&setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    scene.is_untouched();
}

#[test]
fn an_archive_that_is_replaced_during_a_download_is_never_mixed() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &large());
    let setup = over(&sshd, &scene);
    let running = stalled(&sshd, &setup);

    let other = packed()
        .entry("attached.bin", noise(2_900_000))
        .stored()
        .build();
    sshd.put("erp.zip", &other);
    sshd.cut();

    let report = judged(&setup, &running.finish(), "stale");
    says(
        text(&report["message"]),
        &["erp.zip", "still being written"],
    );
    assert_eq!(
        files(&setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    scene.is_untouched();
    judged(&setup, &setup.run(&["run", "--json"]), "done");
}

#[test]
fn a_server_that_goes_down_in_the_middle_ends_as_network_and_the_next_run_is_done() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &large());
    let setup = over(&sshd, &scene);
    let running = stalled(&sshd, &setup);

    sshd.kill();

    let report = judged(&setup, &running.finish(), "network");
    says(text(&report["message"]), &["erp.zip", "attempts"]);
    assert_eq!(super::count(&setup, "state/archives", "zip"), 0);
    scene.is_untouched();
    sshd.restart();
    judged(&setup, &setup.run(&["run", "--json"]), "done");
}

#[test]
fn a_stalled_download_is_cut_by_us_and_resumed() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &large());
    let setup = over(&sshd, &scene);

    let report = judged(&setup, &stalled(&sshd, &setup).finish(), "done");

    says(warnings(&report)[0], &["resumed"]);
    scene.is_new();
}
