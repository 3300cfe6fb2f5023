//! `stream = true`: from the store into pg_restore without a file; what breaks on either side, and who is told.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{
    NEW, Scene, archive, dump, dump_of, files, judged, noise, packed, says, steps, text, until,
    warnings,
};
use crate::support::archives::zip;
use crate::support::packers::zstd;
use crate::support::program::{Running, Setup};
use crate::support::sshd::{Fault, Sshd};

const STREAM: &str = "stream = true";

fn over(sshd: &Sshd, scene: &Scene, lines: &str) -> Setup {
    Setup::new()
        .sftp(sshd)
        .database(scene.server, &scene.live)
        .part("[network]\nattempts = 2\nwait = \"100ms\"\ntimeout = \"1s\"\n")
        .restore(&format!("dump = \"*.dump\"\nstream = true\n{lines}"))
        .write()
}

/// Noise behind the dump's end, which pg_restore doesn't read and which is proven all the same.
fn long() -> Vec<u8> {
    let dump = [dump(), &noise(6_000_000)].concat();
    zip().entry("erp.dump", dump).build()
}

/// Neither an archive nor a dump, not even the directory for one.
fn nothing_was_written(setup: &Setup) {
    for directory in ["state/archives", "state/dumps"] {
        assert!(!setup.path(directory).exists(), "{directory}");
    }
    assert_eq!(files(setup, "state/journal"), Vec::<PathBuf>::new());
}

/// A run of the only archive in a local store.
fn run(scene: &Scene, archive: &[u8], lines: &str, word: &str) -> Value {
    scene.put("erp.zip", archive);
    let setup = scene.with(&format!("{STREAM}\n{lines}"));
    let report = judged(&setup, &setup.run(&["run", "--json"]), word);
    nothing_was_written(&setup);
    if word != "done" {
        scene.is_untouched();
    }
    report
}

#[test]
fn a_streamed_run_goes_live_without_a_file_and_the_report_says_so() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    let whole = zip()
        .entry("before.bin", noise(500_000))
        .stored()
        .entry("erp.dump", dump())
        .build();
    sshd.put("erp.zip", &whole);
    let setup = over(&sshd, &scene, "");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    scene.is_new();
    nothing_was_written(&setup);
    assert_eq!(
        steps(&report)[..5],
        ["network", "fetch", "restore", "check", "swap"]
    );
    assert_eq!(warnings(&report), Vec::<&str>::new());
    assert_eq!(report["dump"]["bytes"], dump().len());
    assert!(report["archive"]["sha256"].is_null(), "{report:#}");
    let restore = &report["steps"][2];
    says(text(&restore["message"]), &["tables", "streamed"]);
    let bytes = restore["bytes"].as_u64().expect("bytes");
    assert!(bytes < dump().len() as u64 + 100, "{report:#}");
}

#[test]
fn every_kind_of_archive_can_be_streamed() {
    let plain = dump_of(NEW, &["-Fc", "-Z0"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory");
    let tar = dump_of(NEW, &["-Ft"]);
    let made = [
        zip().entry("erp.dump", &plain).data_descriptor().build(),
        zip().entry("erp.dump", &tar).build(),
        gzip.finish().expect("memory"),
        zstd(&[], &plain),
        zip().entry("erp.dump", zstd(&[], &tar)).build(),
        tar,
    ];
    for archive in made {
        let scene = Scene::new();
        run(&scene, &archive, "", "done");
        scene.is_new();
    }
}

#[test]
fn a_dry_run_says_that_nothing_is_written_here() {
    let scene = Scene::with_archive();
    for (lines, word) in [
        (STREAM, "streamed"),
        ("keep_archives = 0", "is not kept"),
        ("", "fetched and kept"),
    ] {
        let ran = scene.with(lines).run(&["run", "--dry-run"]).expect(0);
        says(&ran.stdout, &[word]);
    }
}

#[test]
fn a_cut_link_is_resumed_in_the_middle_of_the_load() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &long());
    // The first connection only knocks.
    for bytes in [u64::MAX, 1_500_000, 1_800_000] {
        sshd.next_connection(Fault::CutAfter(bytes));
    }
    let setup = over(&sshd, &scene, "");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    assert_eq!(warnings(&report).len(), 2, "{report:#}");
    says(warnings(&report)[0], &["resumed"]);
    scene.is_new();
}

/// A dump whose rows are far more than pipes and buffers hold, and last for a while.
fn many_rows() -> Vec<u8> {
    let sql = format!(
        "{NEW}; create table big as select n, md5(n::text) || repeat('x', 400) as v from generate_series(1, 20000) n"
    );
    let dump = dump_of(&sql, &["-Fc", "-Z0"]);
    zip().entry("erp.dump", dump).stored().build()
}

/// A run whose download has stalled while rows are being copied.
fn stalled(sshd: &Sshd, scene: &Scene, setup: &Setup) -> Running {
    sshd.next_connection(Fault::CutAfter(u64::MAX));
    sshd.next_connection(Fault::StallAfter(3_000_000));
    let running = setup.start(&["run", "--json"]);
    until("it loads", || {
        let copying = format!(
            "select count(*) from pg_stat_activity where datname like '{}_new_%' and query like 'COPY%'",
            scene.live
        );
        scene.server.value("postgres", &copying) != "0"
    });
    running
}

#[test]
fn a_server_that_goes_down_for_good_is_network_and_not_pg_restores_word() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &many_rows());
    let setup = over(&sshd, &scene, "");
    let running = stalled(&sshd, &scene, &setup);

    sshd.kill();

    let report = judged(&setup, &running.finish(), "network");
    says(
        text(&report["message"]),
        &["restore", "erp.zip", "attempts"],
    );
    assert!(!text(&report["message"]).contains("pg_restore"), "{report}");
    scene.is_untouched();
    nothing_was_written(&setup);
}

#[test]
fn a_slow_network_is_no_stall_of_the_load() {
    // given: three seconds without a byte until the link is given up, and a load that may rest for one
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &many_rows());
    let setup = over(&sshd, &scene, "stall = \"1s\"");

    let running = stalled(&sshd, &scene, &setup);

    let report = judged(&setup, &running.finish(), "done");
    says(warnings(&report)[0], &["resumed"]);
    scene.is_new();
}

#[test]
fn a_load_that_hangs_is_ended_by_the_stall_however_much_is_still_to_come() {
    // given: an index that hangs once the database is a scratch one, and more behind it than the buffers hold
    let dump = dump_of(&hostile("perform pg_sleep(60)"), &["-Fc"]);
    let dump = [dump, noise(12_000_000)].concat();
    let whole = zip().entry("erp.dump", dump).stored().build();

    let report = run(&Scene::new(), &whole, "stall = \"1s\"", "failed");

    says(text(&report["message"]), &["no progress"]);
}

/// An index whose function does this wherever a dump of it is restored.
fn hostile(statement: &str) -> String {
    format!(
        "create table t (v text); insert into t values ('new');
         create function calm(v text) returns text immutable language plpgsql as
             $$begin if current_database() like '%\\_new\\_%' then {statement}; end if; return v; end$$;
         create index on t (calm(v))"
    )
}

#[test]
fn what_makes_pg_restore_fail_is_told_in_its_own_words() {
    let dump = dump_of(&hostile("raise exception 'not in here'"), &["-Fc"]);
    for behind in [10, 6_000_000] {
        let dump = [&dump[..], &noise(behind)].concat();
        let whole = zip().entry("erp.dump", dump).build();

        let report = run(&Scene::new(), &whole, "", "failed");

        says(text(&report["message"]), &["pg_restore", "not in here"]);
        assert!(!text(&report["message"]).contains("pipe"), "{report}");
    }
}

#[test]
fn a_flipped_byte_is_damaged_whatever_pg_restore_made_of_it() {
    let whole = archive();
    for at in [whole.len() / 2, whole.len() - 200] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        run(&Scene::new(), &flipped, "", "damaged");
    }
    // In a row, where pg_restore sees nothing wrong, and behind the end, which it doesn't read.
    let dump = dump_of(NEW, &["-Fc", "-Z0"]);
    let row = dump.windows(6).rposition(|text| text == b"user 5");
    let long = [dump, noise(6_000_000)].concat();
    let whole = zip().entry("erp.dump", &long).stored().build();
    for at in [row.expect("a row") + 5 + 38, whole.len() - 500] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x03;

        let report = run(&Scene::new(), &flipped, "", "damaged");

        says(text(&report["message"]), &["restore", "erp.dump"]);
    }
}

#[test]
fn a_tar_dump_that_was_cut_off_before_it_was_packed_is_damaged() {
    let tar = dump_of(NEW, &["-Ft"]);
    let row = tar.windows(6).rposition(|text| text == b"user 5");
    let cut = &tar[..row.expect("a row")];
    let whole = zip().entry("erp.dump", cut).build();

    let report = run(&Scene::new(), &whole, "", "damaged");

    says(text(&report["message"]), &["in the middle of"]);
}

#[test]
fn an_archive_that_is_replaced_while_it_is_loaded_is_stale() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &many_rows());
    let setup = over(&sshd, &scene, "");
    let running = stalled(&sshd, &scene, &setup);

    sshd.put("erp.zip", &packed().entry("x.bin", noise(100_000)).build());
    sshd.cut();

    let report = judged(&setup, &running.finish(), "stale");
    says(
        text(&report["message"]),
        &["erp.zip", "still being written"],
    );
    scene.is_untouched();
}

#[test]
fn a_signal_ends_both_ends_and_leaves_nothing() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &many_rows());
    let setup = over(&sshd, &scene, "stall = \"1h\"");
    let running = stalled(&sshd, &scene, &setup);

    let clock = std::time::Instant::now();
    running.signal(Signal::TERM);
    let ran = running.finish().expect(143);

    assert!(clock.elapsed() < Duration::from_secs(10), "{ran}");
    assert_eq!(ran.json()["verdict"], "interrupted");
    scene.is_untouched();
    nothing_was_written(&setup);
}
