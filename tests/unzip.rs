//! `unzip` and `restore` by hand: the dump out of an archive, and into the database.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::run::{
    Scene, archive, archive_with_row, count, dump, dump_of, files, judged, says, steps, text,
};
use crate::support::archives::zip;

#[test]
fn fetch_unzip_and_restore_by_hand_do_what_a_run_does() {
    // given
    let scene = Scene::with_archive();
    let setup = scene.with("");
    setup.run(&["fetch"]).expect(0);

    // when
    let ran = setup.run(&["unzip"]).expect(0);

    // then
    let path = Path::new(ran.stdout.strip_suffix('\n').expect("a line"));
    assert_eq!(fs::read(path).expect("the dump"), dump());
    assert!(path.starts_with(setup.path("state")), "{ran}");
    assert_eq!(ran.stderr, "");
    scene.is_untouched();

    // when
    let report = judged(&setup, &setup.run(&["restore", "--json"]), "done");

    // then
    scene.is_new();
    assert_eq!(steps(&report), ["network", "restore", "check", "swap"]);
    assert_eq!(report["archive"]["name"], "erp.zip");
    assert_eq!(report["dump"]["name"], "erp.dump");
    assert_eq!(scene.beside(), [text(&report["database"]["previous"])]);
}

#[test]
fn a_step_without_the_one_before_it_says_which_command_makes_it() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["unzip", "--json"]), "stale");
    says(text(&report["hint"]), &["backupctl fetch erp"]);
    let report = judged(&setup, &setup.run(&["restore", "--json"]), "stale");
    says(text(&report["hint"]), &["backupctl unzip erp"]);
    scene.is_untouched();
}

#[test]
fn unzip_and_restore_take_the_newest_and_keep_one_dump() {
    let scene = Scene::new();
    let setup = scene.with("");
    for (hours, row) in [(2, "one"), (1, "two")] {
        scene.put_old(
            "erp.zip",
            &archive_with_row(row),
            Duration::from_hours(hours),
        );
        setup.run(&["fetch"]).expect(0);
        setup.run(&["unzip"]).expect(0);
    }

    setup.run(&["restore"]).expect(0);

    assert_eq!(scene.row(), "two");
    assert_eq!(count(&setup, "state/dumps", "dump"), 1);
}

#[test]
fn a_named_archive_is_unzipped_and_a_broken_one_is_damaged() {
    let scene = Scene::new();
    let setup = scene.with("");
    let file = scene.put("mine.zip", &archive());
    let file = file.to_str().expect("a path");

    let ran = setup.run(&["unzip", "--file", file]).expect(0);
    assert_eq!(fs::read(ran.stdout.trim_end()).expect("the dump"), dump());
    assert!(Path::new(file).exists(), "the named file stays");

    // What is stale in a store is damaged here.
    let cut = scene.put("cut.zip", &archive()[..400]);
    let report = judged(
        &setup,
        &setup.run(&["unzip", "--json", "--file", cut.to_str().expect("a path")]),
        "damaged",
    );
    says(text(&report["message"]), &["cut.zip"]);
    let report = judged(
        &setup,
        &setup.run(&["unzip", "--json", "--file", "/nowhere/x.zip"]),
        "local",
    );
    says(text(&report["message"]), &["/nowhere/x.zip"]);
    assert_eq!(count(&setup, "state", "part"), 0);
}

#[test]
fn restore_takes_a_named_dump_or_archive_and_leaves_the_file() {
    for (name, bytes) in [("mine.dump", dump().to_vec()), ("mine.zip", archive())] {
        let scene = Scene::new();
        let setup = scene.with("");
        let file = scene.put(name, &bytes);

        let ran = setup.run(&[
            "restore",
            "--json",
            "--file",
            file.to_str().expect("a path"),
        ]);

        let report = judged(&setup, &ran, "done");
        scene.is_new();
        assert_eq!(
            steps(&report),
            ["network", "unzip", "restore", "check", "swap"]
        );
        says(text(&report["dump"]["name"]), &[".dump"]);
        assert!(
            text(&report["dump"]["pg_dump_version"]).contains('.'),
            "{report}"
        );
        assert_eq!(fs::read(&file).expect("it stays"), bytes);
        assert_eq!(
            files(&setup, "state/dumps"),
            Vec::<std::path::PathBuf>::new()
        );
    }
}

#[test]
fn a_named_dump_relative_to_the_current_directory_is_found() {
    let scene = Scene::new();
    let setup = scene.with("");
    fs::write(setup.path("here.dump"), dump()).expect("a dump");

    let ran = setup.run(&["restore", "--file", "here.dump"]).expect(0);

    says(&ran.stdout, &["is now", "here.dump"]);
    scene.is_new();
}

#[test]
fn a_named_file_that_is_no_dump_is_damaged_and_named() {
    let scene = Scene::new();
    let setup = scene.with("");
    let plain = dump_of("create table t (v text)", &["-Fp"]);
    for (name, bytes, word) in [
        ("plain.sql", plain.clone(), "plain SQL"),
        (
            "plain.zip",
            zip().entry("plain.sql", &plain).build(),
            "plain SQL",
        ),
        (
            "cut.dump",
            dump()[..dump().len() - 20].to_vec(),
            "end of file",
        ),
        ("empty", Vec::new(), "empty"),
        ("cut.zip", archive()[..300].to_vec(), "cut.zip"),
    ] {
        let file = scene.put(name, &bytes);
        let ran = setup.run(&[
            "restore",
            "--json",
            "--file",
            file.to_str().expect("a path"),
        ]);
        let report = judged(&setup, &ran, "damaged");
        says(text(&report["message"]), &[word]);
    }
    scene.is_untouched();
}
