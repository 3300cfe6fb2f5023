//! What is kept after a run: archives here, previous databases there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::{Scene, archive_with_row, count, dump_of, files, judged, steps, text};
use crate::support::archives::zip;
use crate::support::program::Setup;

/// One run after the other, each with a newer archive.
fn nights(scene: &Scene, setup: &Setup, rows: &[&str]) -> Vec<String> {
    let mut previous = Vec::new();
    for (night, row) in rows.iter().enumerate() {
        let age = Duration::from_hours(24 - night as u64);
        scene.put_old("erp.zip", &archive_with_row(row), age);
        let report = judged(setup, &setup.run(&["run", "--json"]), "done");
        assert_eq!(scene.row(), *row);
        previous.push(text(&report["database"]["previous"]).to_owned());
    }
    previous
}

fn archives(setup: &Setup) -> usize {
    count(setup, "state/archives", "zip")
}

#[test]
fn two_archives_and_one_previous_database_are_kept() {
    let scene = Scene::new();
    let setup = scene.with("");

    let previous = nights(&scene, &setup, &["one", "two", "three"]);

    assert_eq!(archives(&setup), 2);
    assert_eq!(
        files(&setup, "state/dumps"),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(scene.beside(), [previous[2].as_str()]);
    assert_eq!(scene.server.value(&previous[2], "select v from t"), "two");
}

#[test]
fn more_or_nothing_is_kept_where_that_is_configured() {
    let scene = Scene::new();
    let setup = scene.with("keep_archives = 0\nkeep_previous = 2");
    let mut previous = nights(&scene, &setup, &["one", "two", "three"]);
    assert_eq!(
        files(&setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    previous.remove(0);
    previous.sort();
    assert_eq!(scene.beside(), previous);

    let setup = scene.with("keep_previous = 0");
    let previous = nights(&scene, &setup, &["four"]);
    assert_eq!(previous, [""]);
    assert_eq!(scene.beside(), Vec::<String>::new());
    assert_eq!(archives(&setup), 1);
}

#[test]
fn a_damaged_archive_does_not_push_a_good_one_out() {
    // given: two good nights
    let scene = Scene::new();
    let setup = scene.with("");
    nights(&scene, &setup, &["one", "two"]);
    let good = files(&setup, "state/archives");

    // when: nights with an archive that breaks while it is unpacked
    let sql = "create table t as select md5(n::text) v from generate_series(1, 30000) n";
    let dump = dump_of(sql, &["-Fc", "-Z0"]);
    let mut bytes = zip().entry("erp.dump", &dump).stored().build();
    let at = bytes.len() - 5000;
    bytes[at] ^= 0x01;
    for hours in [3, 2, 1] {
        scene.put_old("erp.zip", &bytes, Duration::from_hours(hours));
        let report = judged(&setup, &setup.run(&["run", "--json"]), "damaged");
        assert_eq!(steps(&report), ["network", "fetch", "unzip"]);
    }

    // then
    assert_eq!(files(&setup, "state/archives"), good);
    assert_eq!(scene.row(), "two");
}

/// A report, with its log, of a run of 2020 that found nothing.
fn put_old_run(setup: &Setup, job: &str, number: u32) {
    let run = format!("20200101-0200{:02}-{number:04x}", number % 60);
    let report = serde_json::json!({
        "format": 1, "run": run, "command": "run", "job": job, "host": "here", "version": "0",
        "started": format!("2020-01-01T02:00:{:02}Z", number % 60), "seconds": 0.0, "verdict": "stale",
        "steps": [], "checks": [], "notified": [], "warnings": [],
    });
    let runs = setup.path("state/runs");
    fs::create_dir_all(&runs).expect("a directory");
    fs::write(runs.join(format!("{run}.json")), report.to_string()).expect("a report");
    fs::write(runs.join(format!("{run}.log")), "a line\n").expect("a log");
}

#[test]
fn the_reports_of_old_runs_go_but_for_the_newest_and_those_of_other_jobs() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    (0..60).for_each(|number| put_old_run(&setup, "erp", number));
    (1000..1060).for_each(|number| put_old_run(&setup, "crm", number));
    fs::set_permissions(setup.path("state"), fs::Permissions::from_mode(0o700)).expect("a mode");

    setup.run(&["fetch"]).expect(0);

    let reports = setup.reports();
    let of = |job: &str| reports.iter().filter(|report| report["job"] == job).count();
    assert_eq!((of("erp"), of("crm")), (50, 60));
    let is_new = |report: &&serde_json::Value| report["command"] == "fetch";
    assert_eq!(reports.iter().filter(is_new).count(), 1);
    assert_eq!(count(&setup, "state/runs", "log"), 1, "the new run's");
    // What went by age is not missing from the history; the other job's reports wait for its own next run.
    let history = setup.run(&["report", "--json"]).expect(0).json();
    assert_eq!(history["chain"]["pruned"], 11);
    assert_eq!(history["chain"]["reports"], 50);
    assert_eq!(
        history["chain"]["unchained"].as_array().map(Vec::len),
        Some(60)
    );
}
