//! `fetch`: the newest archive, proven, and its path.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::run::{Scene, archive, archive_with_row, judged, says, steps, text};
use crate::support::archives::zip;
use crate::support::program::Setup;
use crate::support::sshd::Sshd;

#[test]
fn fetch_prints_just_the_path_of_the_archive() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.put("erp.zip", &archive());
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .restore("")
        .write();

    let ran = setup.run(&["fetch"]).expect(0);

    let path = Path::new(ran.stdout.strip_suffix('\n').expect("a line"));
    assert!(path.is_absolute(), "{ran}");
    assert!(path.starts_with(setup.path("state")), "{ran}");
    assert_eq!(fs::read(path).expect("the archive"), archive());
    assert_eq!(
        fs::metadata(path).expect("it").permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(ran.stderr, "");
    scene.is_untouched();
}

#[test]
fn fetch_needs_no_database() {
    let scene = Scene::with_archive();
    let setup = Setup::new()
        .local(scene.store.path())
        .part("[databases.erp.postgres]\nhost = \"127.0.0.1\"\nport = 1\nuser = \"x\"\npassword = \"env:NOT_THERE\"\nname = \"x\"\n")
        .restore("")
        .write();

    let report = judged(&setup, &setup.run(&["fetch", "--json"]), "done");

    assert_eq!(steps(&report), ["network", "fetch"]);
    assert!(Path::new(text(&report["path"])).is_file(), "{report}");
    assert_eq!(report["archive"]["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn fetch_keeps_the_newest_ones_and_its_own_even_where_a_run_keeps_none() {
    let scene = Scene::new();
    let setup = scene.with("keep_archives = 0");
    for (hours, row) in [(3, "one"), (2, "two")] {
        scene.put_old(
            "erp.zip",
            &archive_with_row(row),
            Duration::from_hours(hours),
        );
        let path = setup.run(&["fetch"]).expect(0).stdout;
        assert!(Path::new(path.trim_end()).is_file(), "{path}");
    }
    assert_eq!(crate::run::count(&setup, "state/archives", "zip"), 1);
}

#[test]
fn fetching_the_same_archive_again_gives_the_same_path() {
    let scene = Scene::with_archive();
    let setup = scene.with("");

    let first = setup.run(&["fetch"]).expect(0).stdout;
    let second = setup.run(&["fetch"]).expect(0).stdout;

    assert_eq!(first, second);
    assert_eq!(crate::run::count(&setup, "state/archives", "zip"), 1);
}

#[test]
fn fetch_refuses_what_a_run_would_refuse() {
    let scene = Scene::new();
    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["fetch", "--json"]), "stale");
    assert!(report.get("path").is_none(), "{report}");

    let whole = archive();
    scene.put("erp.zip", &whole[..whole.len() / 2]);
    judged(&setup, &setup.run(&["fetch", "--json"]), "stale");

    scene.put(
        "erp.zip",
        &zip().entry("a.sql", "create table t();").build(),
    );
    let ran = setup.run(&["fetch"]).expect(8);
    assert_eq!(ran.stdout, "");
    says(&ran.stderr, &["error: ", "hint: "]);
    assert_eq!(
        crate::run::files(&setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn fetch_takes_an_older_archive_by_name() {
    let scene = Scene::new();
    scene.put_old("monday.zip", &archive(), Duration::from_hours(30));
    scene.put("tuesday.zip", &archive_with_row("tuesday"));
    let setup = scene.with("");

    let report = judged(
        &setup,
        &setup.run(&["fetch", "--json", "--archive", "monday.zip"]),
        "done",
    );

    assert_eq!(report["archive"]["name"], "monday.zip");
}
