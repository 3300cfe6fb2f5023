//! What is kept after a run: archives here, previous databases there.

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
