//! The link to the store is cut or stalls in the middle of a download, or leads to another server.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::world::{Archive, Slow, World, archive, files, server, step_verdict, texts, wait};
use crate::support::program::Running;
use crate::support::sshd::{Fault, Options, Sshd, key_pair};

fn world(sshd: &Sshd) -> World {
    World::with("", |setup, _| setup.sftp(sshd))
}

/// The connection of the download suffers; the one before it only asks whether the server is there.
pub fn strike(sshd: &Sshd, fault: Fault) {
    sshd.next_connection(Fault::CutAfter(u64::MAX));
    sshd.next_connection(fault);
}

/// That the download was cut and went on.
fn resumed(report: &serde_json::Value) {
    let warnings = texts(&report["warnings"]);
    let is_resumed = warnings.iter().any(|warning| warning.contains("resumed"));
    assert!(is_resumed, "{report:#}");
}

/// Waits until bytes of the archive are on this disk.
pub fn until_the_download(world: &World, running: &mut Running) {
    wait("the download", || {
        assert!(running.is_alive());
        let state = files(&world.setup.path("state"));
        let is_part = |path: &PathBuf| path.extension().is_some_and(|e| e == "part");
        state.iter().any(is_part).then_some(())
    });
}

/// Noise behind the dump, so that a download is long enough to be cut.
pub fn long(word: &str) -> Archive {
    let mut long = archive(server(), word, Slow::default());
    let noise = crate::support::archives::dump(3 << 20);
    let dump = inner(&long.zip);
    long.zip = crate::support::archives::zip()
        .entry("erp.dump", dump)
        .entry("notes.bin", &noise[5..])
        .stored()
        .build();
    long
}

/// Noise behind the end of the dump but in its own file, so that unpacking it is as long as the download.
pub fn long_inside(word: &str, bytes: usize) -> Archive {
    let mut long = archive(server(), word, Slow::default());
    let mut dump = inner(&long.zip);
    dump.extend_from_slice(&crate::support::archives::dump(bytes)[5..]);
    let zip = crate::support::archives::zip();
    long.zip = zip.entry("erp.dump", dump).build();
    long
}

/// The first entry's bytes.
fn inner(zip: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).expect("an archive");
    let mut dump = Vec::new();
    let mut entry = archive.by_index(0).expect("an entry");
    entry.read_to_end(&mut dump).expect("a dump");
    dump
}

#[test]
fn a_download_cut_at_any_place_is_resumed_and_complete() {
    let sshd = Sshd::start();
    let world = world(&sshd);
    let words = ["even", "odd"].map(long);
    let total = words[0].zip.len() as u64;
    for (round, share) in [20_u64, 40, 60, 80, 95].into_iter().enumerate() {
        // given: looking inside takes some of the first connection's bytes
        let new = &words[round % 2];
        sshd.put("erp.zip", &new.zip);
        strike(&sshd, Fault::CutAfter(total * share / 100 + 20_000));

        // when
        let ran = world.setup.run(&["run", "--json"]).expect(0);

        // then
        resumed(&ran.json());
        assert_eq!(world.live_hash(), new.hash, "{share} %");
        world.ended(&ran);
    }
}

#[test]
fn a_download_cut_again_and_again_goes_on_as_long_as_bytes_come() {
    let sshd = Sshd::start();
    let world = world(&sshd);
    let new = long("new");
    sshd.put("erp.zip", &new.zip);
    strike(&sshd, Fault::CutAfter(900_000));
    for _ in 0..4 {
        sshd.next_connection(Fault::CutAfter(900_000));
    }
    let ran = world.setup.run(&["run", "--json"]).expect(0);
    resumed(&ran.json());
    assert_eq!(world.live_hash(), new.hash);
    world.ended(&ran);
}

#[test]
fn a_download_that_stalls_goes_on_after_bounded_time() {
    let sshd = Sshd::start();
    let world = world(&sshd);
    let new = long("new");
    sshd.put("erp.zip", &new.zip);
    strike(&sshd, Fault::StallAfter(1_500_000));
    let clock = Instant::now();
    let ran = world.setup.run(&["run", "--json"]).expect(0);
    assert!(clock.elapsed() < Duration::from_secs(25));
    resumed(&ran.json());
    assert_eq!(world.live_hash(), new.hash);
    world.ended(&ran);
}

#[test]
fn a_server_that_dies_in_the_middle_is_network_and_leaves_only_what_came() {
    // given
    let sshd = Sshd::start();
    let world = world(&sshd);
    let new = long("new");
    sshd.put("erp.zip", &new.zip);
    strike(&sshd, Fault::StallAfter(1_500_000));

    // when
    let mut running = world.setup.start(&["run", "--json"]);
    until_the_download(&world, &mut running);
    sshd.kill();
    let ran = running.finish().expect(5);

    // then
    let report = ran.json();
    assert_eq!(step_verdict(&report, "fetch"), Some("network"));
    world.ended(&ran);
    world.is_unchanged();
    sshd.restart();
    world.setup.run(&["run"]).expect(0);
    assert_eq!(world.live_hash(), new.hash);
}

#[test]
fn another_host_key_at_the_second_attempt_is_refused() {
    // given
    let sshd = Sshd::with(&Options {
        host_keys: vec!["ed25519"],
        ..Options::default()
    });
    let world = world(&sshd);
    sshd.put("erp.zip", &long("new").zip);
    strike(&sshd, Fault::StallAfter(1_500_000));

    // when: while it stalls somebody else takes the server's place
    let mut running = world.setup.start(&["run", "--json"]);
    until_the_download(&world, &mut running);
    for file in ["host_ed25519", "host_ed25519.pub"] {
        fs::remove_file(sshd.home.join(file)).expect("the old host key");
    }
    key_pair(&sshd.home.join("host_ed25519"), "ed25519", "");
    sshd.cut();
    let ran = running.finish().expect(6);

    // then
    let report = ran.json();
    assert_eq!(report["verdict"], "refused", "{report:#}");
    world.ended(&ran);
    world.is_unchanged();
}
