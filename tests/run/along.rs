//! The dump is unpacked while its archive comes: with the archive kept, and with only the dump's own bytes fetched.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    Scene, count, dump, dump_of, files, judged, noise, packed, says, steps, text, until, warnings,
};
use crate::support::archives::{Descriptor, zip};
use crate::support::packers::zstd;
use crate::support::program::{Running, Setup};
use crate::support::sshd::{Fault, Sshd};

const NETWORK: &str = "[network]\nattempts = 2\nwait = \"100ms\"\ntimeout = \"1s\"\n";
const KEPT: &str = "keep_archives = 1";
const NOT_KEPT: &str = "keep_archives = 0";

fn over(sshd: &Sshd, scene: &Scene, lines: &str) -> Setup {
    Setup::new()
        .sftp(sshd)
        .database(scene.server, &scene.live)
        .part(NETWORK)
        .restore(&format!("dump = \"*.dump\"\n{lines}"))
        .write()
}

/// A dump with so much noise behind its end, which pg_restore doesn't read.
fn long_dump(bytes: usize) -> Vec<u8> {
    [dump(), &noise(bytes)].concat()
}

fn nothing_is_left(setup: &Setup) {
    for directory in ["state/archives", "state/dumps", "state/journal"] {
        assert_eq!(files(setup, directory), Vec::<PathBuf>::new());
    }
}

/// The bytes that a step has moved.
fn bytes_of(report: &Value, step: &str) -> u64 {
    let steps = report["steps"].as_array().expect("steps");
    let found = steps.iter().find(|found| found["step"] == step);
    found.expect("the step")["bytes"].as_u64().expect("bytes")
}

#[test]
fn without_a_kept_archive_only_the_dumps_bytes_are_fetched() {
    // given: much else before and behind the dump
    let scene = Scene::new();
    let sshd = Sshd::start();
    let whole = zip()
        .entry("before.bin", noise(900_000))
        .stored()
        .entry("erp.dump", dump())
        .entry("behind.bin", noise(900_000))
        .stored()
        .comment("made at night")
        .build();
    sshd.put("erp.zip", &whole);
    let setup = over(&sshd, &scene, NOT_KEPT);

    // when
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    // then
    scene.is_new();
    assert_eq!(warnings(&report), Vec::<&str>::new());
    let all = ["network", "fetch", "unzip", "restore", "check", "swap"];
    assert_eq!(steps(&report)[..6], all);
    assert!(
        bytes_of(&report, "fetch") <= dump().len() as u64 + 100,
        "{report:#}"
    );
    assert_eq!(bytes_of(&report, "unzip"), dump().len() as u64);
    assert_eq!(report["archive"]["bytes"], whole.len());
    assert!(report["archive"]["sha256"].is_null(), "{report:#}");
    nothing_is_left(&setup);
}

#[test]
fn every_kind_of_archive_is_unpacked_while_it_comes() {
    let plain = dump_of(super::NEW, &["-Fc", "-Z0"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let streamed = |form| {
        let first = zip().entry("README", "see the manual");
        first.entry("erp.dump", &plain).descriptor(form).build()
    };
    let made = [
        (KEPT, streamed(Descriptor::Signed)),
        (NOT_KEPT, streamed(Descriptor::WideBare)),
        (
            KEPT,
            zip().entry("erp.dump", &plain).stored().zip64().build(),
        ),
        (NOT_KEPT, zip().entry("erp.dump", &gzip).build()),
        (KEPT, gzip.clone()),
        (NOT_KEPT, gzip),
        (KEPT, zstd(&[], &plain)),
        (NOT_KEPT, zip().entry("erp.dump", zstd(&[], &plain)).build()),
        (KEPT, plain.clone()),
        (NOT_KEPT, dump_of(super::NEW, &["-Ft"])),
    ];
    for (round, (keep, archive)) in made.into_iter().enumerate() {
        let scene = Scene::new();
        scene.put("erp.zip", &archive);
        let setup = scene.with(keep);

        let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

        scene.is_new();
        let kept = count(&setup, "state/archives", "zip");
        assert_eq!(kept, usize::from(keep == KEPT), "{round}");
        assert_eq!(report["archive"]["sha256"].is_null(), keep == NOT_KEPT);
    }
}

#[test]
fn a_cut_link_is_resumed_where_nothing_keeps_the_archive() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    let whole = zip().entry("erp.dump", long_dump(3_000_000)).build();
    sshd.put("erp.zip", &whole);
    // The first connection only knocks.
    for bytes in [u64::MAX, 1_500_000, 1_800_000] {
        sshd.next_connection(Fault::CutAfter(bytes));
    }
    let setup = over(&sshd, &scene, NOT_KEPT);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    assert_eq!(warnings(&report).len(), 2, "{report:#}");
    says(warnings(&report)[0], &["resumed"]);
    scene.is_new();
    nothing_is_left(&setup);
}

/// A download that has stalled somewhere in the middle.
fn stalled(sshd: &Sshd, setup: &Setup) -> Running {
    sshd.next_connection(Fault::CutAfter(u64::MAX));
    sshd.next_connection(Fault::StallAfter(1_500_000));
    let running = setup.start(&["run", "--json"]);
    until("some of it was unpacked", || {
        let all = files(setup, "state/dumps").into_iter();
        all.filter_map(|file| file.metadata().ok())
            .any(|file| file.len() > 500_000)
    });
    running
}

#[test]
fn a_server_that_goes_down_for_good_ends_both_halves_as_network() {
    for keep in [KEPT, NOT_KEPT] {
        let scene = Scene::new();
        let sshd = Sshd::start();
        let whole = zip().entry("erp.dump", long_dump(3_000_000)).build();
        sshd.put("erp.zip", &whole);
        let setup = over(&sshd, &scene, keep);
        let running = stalled(&sshd, &setup);

        sshd.kill();

        let report = judged(&setup, &running.finish(), "network");
        says(text(&report["message"]), &["erp.zip", "attempts"]);
        assert_eq!(steps(&report)[..2], ["network", "fetch"]);
        scene.is_untouched();
        if keep == KEPT {
            let kept = files(&setup, "state/archives");
            let names: Vec<_> = kept.iter().filter_map(|file| file.file_name()).collect();
            assert_eq!(names, ["arriving.part", "arriving.proven"]);
            fs::remove_dir_all(setup.path("state/archives"))
                .expect("what the next run would go on with");
        }
        nothing_is_left(&setup);
    }
}

#[test]
fn an_archive_that_is_replaced_while_it_is_unpacked_is_stale() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    let whole = zip().entry("erp.dump", long_dump(3_000_000)).build();
    sshd.put("erp.zip", &whole);
    let setup = over(&sshd, &scene, NOT_KEPT);
    let running = stalled(&sshd, &setup);

    sshd.put(
        "erp.zip",
        &packed().entry("x.bin", noise(3_000_000)).build(),
    );
    sshd.cut();

    let report = judged(&setup, &running.finish(), "stale");
    says(
        text(&report["message"]),
        &["erp.zip", "still being written"],
    );
    scene.is_untouched();
    nothing_is_left(&setup);
}

/// Over one connection, which has the old file open all the time: only its name tells that there is another one.
#[test]
fn an_archive_that_is_replaced_behind_an_open_file_is_stale() {
    let scene = Scene::new();
    let whole = zip().entry("erp.dump", long_dump(3_000_000)).build();
    for lines in [KEPT, NOT_KEPT] {
        let sshd = Sshd::start();
        sshd.put("erp.zip", &whole);
        let setup = over(&sshd, &scene, lines);
        sshd.next_connection(Fault::CutAfter(u64::MAX));
        sshd.next_connection(Fault::Hold(1_500_000));
        let running = setup.start(&["run", "--json"]);
        until("some of it was unpacked", || {
            let mut all = files(&setup, "state/dumps").into_iter();
            all.any(|file| file.metadata().is_ok_and(|file| file.len() > 500_000))
        });

        let newer = sshd.put("newer", &packed().entry("erp.dump", dump()).build());
        fs::rename(newer, sshd.dir.join("erp.zip")).expect("another archive");
        sshd.go_on();

        let report = judged(&setup, &running.finish(), "stale");
        says(
            text(&report["message"]),
            &["erp.zip", "still being written"],
        );
        scene.is_untouched();
        nothing_is_left(&setup);
    }
}

/// Changes a byte in place, and nothing that a listing shows.
fn changed_unseen(file: &Path, at: u64) {
    let archive = File::options().read(true).write(true).open(file);
    let archive = archive.expect("the archive");
    let time = archive.metadata().and_then(|meta| meta.modified());
    let mut byte = [0];
    archive.read_exact_at(&mut byte, at).expect("a byte");
    archive.write_all_at(&[byte[0] ^ 1], at).expect("another");
    archive
        .set_modified(time.expect("its time"))
        .expect("the same time");
}

#[test]
fn an_archive_that_is_not_the_one_looked_into_is_refused_whatever_its_size_and_time() {
    let whole = zip()
        .entry("erp.dump", long_dump(3_000_000))
        .comment("made at night")
        .build();
    let end = whole.len() as u64;
    // In the comment, of which the dump knows nothing, and in the dump's own bytes.
    for (keep, at, verdict) in [
        (KEPT, end - 3, "stale"),
        (KEPT, end - 200_000, "damaged"),
        (NOT_KEPT, end - 200_000, "damaged"),
    ] {
        // given
        let scene = Scene::new();
        let sshd = Sshd::start();
        let file = sshd.put("erp.zip", &whole);
        let setup = over(&sshd, &scene, keep);
        let running = stalled(&sshd, &setup);

        // when
        changed_unseen(&file, at);
        sshd.cut();

        // then
        let report = judged(&setup, &running.finish(), verdict);
        says(text(&report["message"]), &["unzip", "erp.zip"]);
        scene.is_untouched();
        assert_eq!(files(&setup, "state/dumps"), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_dump_that_is_broken_at_its_start_ends_a_long_download_early() {
    // given: 40 MiB, and a flipped byte in the first of them
    let row = "create table t as select 1";
    let mut long = dump_of(row, &["-Fc"]);
    long.extend(noise(40 << 20));
    let mut whole = zip().entry("erp.dump", &long).build();
    whole[1 << 20] ^= 0x10;
    for keep in [KEPT, NOT_KEPT] {
        let scene = Scene::new();
        scene.put("erp.zip", &whole);
        let setup = scene.with(keep);

        // when
        let report = judged(&setup, &setup.run(&["run", "--json"]), "damaged");

        // then
        says(text(&report["message"]), &["erp.zip", "erp.dump"]);
        scene.is_untouched();
        nothing_is_left(&setup);
    }
}

#[test]
fn an_archive_that_nothing_keeps_is_rejected_by_undo_as_any_other() {
    let scene = Scene::with_archive();
    let setup = scene.with(NOT_KEPT);
    setup.run(&["run"]).expect(0);
    setup.run(&["undo", "--yes"]).expect(0);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "stale");

    says(text(&report["message"]), &["erp.zip", "rejected"]);
    assert_eq!(scene.row(), "old");
    setup.run(&["list"]).expect(0);
    let again = setup.run(&["run", "--accept", "rejected", "--json"]);
    let report = judged(&setup, &again, "done");
    assert!(
        warnings(&report)
            .iter()
            .any(|text| text.contains("already restored")),
        "{report:#}"
    );
    scene.is_new();
}
