//! No fresh archive: the run ends before the download, says what it saw, and never takes an older one instead.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Scene, archive, archive_with_row, files, judged, noise, packed, says, text, warnings};
use crate::support::program::Setup;

const HOUR: Duration = Duration::from_hours(1);

/// The run ends as `stale`, and everything is as it was.
fn is_stale(scene: &Scene, setup: &Setup) -> Value {
    let report = judged(setup, &setup.run(&["run", "--json"]), "stale");
    assert_eq!(
        files(setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    scene.is_untouched();
    report
}

#[test]
fn an_archive_whose_end_is_missing_is_stale_in_a_store() {
    let scene = Scene::new();
    let whole = archive();
    for cut in [whole.len() / 2, whole.len() - 1] {
        scene.put("erp.zip", &whole[..cut]);
        let report = is_stale(&scene, &scene.with(""));
        says(text(&report["message"]), &["erp.zip"]);
        says(text(&report["hint"]), &["upload"]);
    }
}

#[test]
fn an_empty_file_and_one_without_any_meaning_are_stale_in_a_store() {
    let scene = Scene::new();
    scene.put("erp.zip", b"");
    let report = is_stale(&scene, &scene.with(""));
    says(text(&report["message"]), &["erp.zip", "0 bytes"]);
    // not even by the smallest limit
    is_stale(&scene, &scene.with("min_size = \"0%\""));

    scene.put("erp.zip", &noise(5000));
    is_stale(&scene, &scene.with(""));
}

#[test]
fn an_old_archive_is_stale_unless_there_is_no_limit_or_it_is_accepted() {
    let scene = Scene::new();
    scene.put_old("erp.zip", &archive(), 40 * HOUR);
    let setup = scene.with("");

    let report = is_stale(&scene, &setup);
    says(
        text(&report["message"]),
        &["erp.zip", "1 d 16 h", "1 d 12 h"],
    );

    let report = judged(
        &setup,
        &setup.run(&["run", "--json", "--accept", "stale"]),
        "done",
    );
    says(warnings(&report)[0], &["although", "1 d 16 h"]);
    scene.is_new();
    let setup = scene.with("max_age = \"none\"");
    judged(&setup, &setup.run(&["run", "--json"]), "done");
}

#[test]
fn an_older_archive_asked_for_by_name_is_taken() {
    let scene = Scene::new();
    scene.put_old("monday.zip", &archive(), 40 * HOUR);
    scene.put_old("tuesday.zip", &archive_with_row("tuesday"), 16 * HOUR);
    let setup = scene.with("");

    let ran = setup.run(&[
        "run",
        "--json",
        "--archive",
        "monday.zip",
        "--accept",
        "stale",
    ]);

    let report = judged(&setup, &ran, "done");
    assert_eq!(report["archive"]["name"], "monday.zip");
    assert!(!warnings(&report).is_empty(), "{report}");
    scene.is_new();

    let ran = setup.run(&["run", "--json", "--archive", "mondy.zip"]);
    let report = judged(&setup, &ran, "stale");
    says(text(&report["message"]), &["mondy.zip", "monday.zip"]);
}

#[test]
fn an_archive_half_as_large_as_the_last_good_one_is_stale_unless_accepted() {
    // given
    let scene = Scene::new();
    let large = packed()
        .entry("attached.bin", noise(100_000))
        .stored()
        .build();
    scene.put_old("erp_1.zip", &large, 2 * HOUR);
    let setup = scene.with("dump = \"*.dump\"");
    judged(&setup, &setup.run(&["run", "--json"]), "done");

    // when
    scene.put_old("erp_2.zip", &archive_with_row("small"), HOUR);
    let report = judged(&setup, &setup.run(&["run", "--json"]), "stale");

    // then
    says(text(&report["message"]), &["erp_2.zip", "min_size", "KiB"]);
    assert_eq!(scene.row(), "new");
    let accepted = setup.run(&["run", "--json", "--accept", "stale"]);
    judged(&setup, &accepted, "done");
    assert_eq!(scene.row(), "small");
}

#[test]
fn an_archive_below_a_fixed_size_is_stale() {
    let scene = Scene::with_archive();
    let report = is_stale(&scene, &scene.with("min_size = \"1 MiB\""));
    says(text(&report["message"]), &["erp.zip", "1.0 MiB"]);
}

#[test]
fn nothing_that_matches_is_stale_and_what_is_there_is_named() {
    let scene = Scene::new();
    let setup = scene.with("pattern = \"erp_*.zip\"");
    says(
        text(&is_stale(&scene, &setup)["message"]),
        &["erp_*.zip", "empty"],
    );

    scene.put("ERP_2026.ZIP", b"x");
    scene.put("crm.zip", b"x");
    fs::create_dir(scene.store.path().join("erp_dir.zip")).expect("a directory");
    std::os::unix::fs::symlink("crm.zip", scene.store.path().join("erp_link.zip")).expect("a link");
    let fifo = std::process::Command::new("mkfifo")
        .arg(scene.store.path().join("erp_pipe.zip"))
        .status();
    assert!(fifo.expect("mkfifo").success());
    let report = is_stale(&scene, &scene.with("pattern = \"erp_*.zip\""));

    let wanted = [
        "ERP_2026.ZIP",
        "crm.zip",
        "erp_dir.zip",
        "a directory",
        "erp_link.zip",
    ];
    says(text(&report["message"]), &wanted);
}

#[test]
fn an_archive_that_still_grows_while_it_is_watched_is_stale() {
    let scene = Scene::new();
    let path = scene.put("erp.zip", &archive());
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, mut file) = (
        Arc::clone(&stop),
        fs::File::options().append(true).open(path).expect("it"),
    );
    let upload = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            file.write_all(b"more").expect("an upload");
            thread::sleep(Duration::from_millis(10));
        }
    });

    let setup = scene.with("settle = \"200ms\"");
    let ran = setup.run(&["run", "--json"]);
    stop.store(true, Ordering::Relaxed);
    upload.join().expect("the upload ends");

    says(
        text(&judged(&setup, &ran, "stale")["message"]),
        &["still being written"],
    );
    scene.is_untouched();
}

#[test]
fn the_newest_is_never_passed_over_for_an_older_good_one() {
    let scene = Scene::new();
    scene.put_old("erp_1.zip", &archive(), 2 * HOUR);
    let whole = archive();
    scene.put_old("erp_2.zip", &whole[..whole.len() - 30], HOUR);

    let report = is_stale(&scene, &scene.with(""));

    assert_eq!(report["archive"]["name"], "erp_2.zip");
}

#[test]
fn of_equally_old_archives_the_last_by_name_is_taken_and_it_is_said() {
    let scene = Scene::new();
    let then = SystemTime::now() - HOUR;
    for (name, row) in [("erp_b.zip", "b"), ("erp_c.zip", "c"), ("erp_a.zip", "a")] {
        let path = scene.put(name, &archive_with_row(row));
        let file = fs::File::options().write(true).open(path).expect("it");
        file.set_modified(then).expect("a time");
    }

    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    assert_eq!(report["archive"]["name"], "erp_c.zip");
    says(warnings(&report)[0], &["same modification time"]);
    assert_eq!(scene.row(), "c");
}
