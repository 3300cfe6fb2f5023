//! `list`: what is in the store, and why one would not be taken.

use std::time::Duration;

use crate::run::{Scene, archive, says, text, until};

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn archives_are_listed_newest_first_with_age_size_and_what_speaks_against_them() {
    let scene = Scene::new();
    scene.put_old("erp_1.zip", &archive(), 50 * HOUR);
    scene.put_old("erp_3.zip", b"", HOUR);
    scene.put_old("erp_2.zip", &archive(), 3 * HOUR);
    scene.put("other.txt", b"x");
    let setup = scene.with("");

    let ran = setup.run(&["list"]).expect(0);

    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran}");
    says(lines[0], &["erp_3.zip", "0 bytes", "1 h old"]);
    says(lines[1], &["erp_2.zip", "KiB", "3 h old"]);
    says(lines[2], &["erp_1.zip", "max_age", "1 d 12 h"]);
    assert!(
        lines[1].ends_with("old"),
        "nothing speaks against it: {ran}"
    );

    let document = setup.run(&["list", "--json"]).expect(0).json();
    let names: Vec<&str> = document["archives"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| text(&row["name"]))
        .collect();
    assert_eq!(names, ["erp_3.zip", "erp_2.zip", "erp_1.zip"]);
    let row = &document["archives"][1];
    assert_eq!(row["bytes"], archive().len());
    assert!(row["objection"].is_null(), "{row}");
    assert!(row["age_seconds"].as_u64() >= Some(3 * 3600), "{row}");
    assert!(!setup.path("state").exists(), "looking leaves no trace");
    scene.is_untouched();
}

#[test]
fn an_empty_store_is_an_empty_list_and_a_missing_one_an_error() {
    let scene = Scene::new();
    let setup = scene.with("");
    says(&setup.run(&["list"]).expect(0).stdout, &["*.zip"]);
    assert_eq!(
        setup.run(&["list", "--json"]).expect(0).json()["archives"],
        serde_json::json!([])
    );

    std::fs::remove_dir(scene.store.path()).expect("the store is gone");
    let ran = setup.run(&["list"]).expect(9);
    assert_eq!(ran.stdout, "");
    let place = scene.store.path().display().to_string();
    says(&ran.stderr, &[&place, "mounted"]);
}

#[test]
fn an_archive_that_an_undo_took_back_is_marked() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    setup.run(&["run"]).expect(0);
    setup.run(&["undo", "--yes"]).expect(0);

    says(
        &setup.run(&["list"]).expect(0).stdout,
        &["erp.zip", "rejected by undo"],
    );
    setup.run(&["run"]).expect(7);
    setup.run(&["run", "--accept", "rejected"]).expect(0);

    assert!(!setup.run(&["list"]).expect(0).stdout.contains("rejected"));
}

#[test]
fn a_list_can_be_had_while_a_run_is_at_work() {
    let scene = Scene::with_archive();
    let setup = scene.with("settle = \"20s\"");
    let running = setup.start(&["run"]);
    until("the run has begun", || !setup.reports().is_empty());

    let ran = setup.run(&["list"]);

    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.finish().code, Some(143));
    says(&ran.expect(0).stdout, &["erp.zip"]);
}

#[test]
fn a_list_fits_into_80_columns() {
    let scene = Scene::new();
    for n in 0..3 {
        let name = format!("erp_production_database_2026-11-{n:02}_020000.zip");
        scene.put_old(&name, &archive(), 50 * HOUR);
    }
    scene.put("erp_small.zip", b"x");
    let setup = scene.with("min_size = \"1 KiB\"");

    let ran = setup.run(&["list"]).expect(0);

    for line in ran.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{ran}");
    }
    says(
        &ran.stdout,
        &["\n    it is 2 d 2 h old, `max_age` is 1 d 12 h\n"],
    );
}

#[test]
fn a_list_by_name_shows_the_names_age_and_what_has_no_date() {
    let scene = Scene::new();
    let day = |days: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        then.strftime("erp_%Y%m%d.zip").to_string()
    };
    scene.put(&day(4), &archive());
    scene.put_old(&day(0), &archive(), 20 * HOUR);
    scene.put("erp_latest.zip", &archive());
    let setup = scene.with("newest_by = \"name\"\nname_time = \"erp_%Y%m%d.zip\"");

    let document = setup.run(&["list", "--json"]).expect(0).json();

    let rows = document["archives"].as_array().expect("a list");
    let told: Vec<(&str, bool)> = rows
        .iter()
        .map(|row| (text(&row["name"]), row["objection"].is_null()))
        .collect();
    let (old, new) = (day(4), day(0));
    let expected = [
        (new.as_str(), true),
        (old.as_str(), false),
        ("erp_latest.zip", false),
    ];
    assert_eq!(told, expected, "{document}");
    says(
        text(&rows[1]["objection"]),
        &["by its name it is 4 d", "max_age"],
    );
    says(text(&rows[2]["objection"]), &["states no time"]);
    assert!(rows[1]["age_seconds"].as_u64() >= Some(4 * 24 * 3600));
    assert!(
        text(&rows[1]["dated"]).ends_with("T00:00:00Z"),
        "{document}"
    );
}
