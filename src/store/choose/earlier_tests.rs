use serde_json::{Value, json};

use super::*;

const ARCHIVE: &str = "a.zip";

/// A report of the minute, with its steps as `swap done` and its archive, if any.
fn record(minute: u8, verdict: &str, steps: &[&str], archive: Option<&str>) -> Record {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            let (step, verdict) = step.split_once(' ').unwrap_or((step, ""));
            let verdict = (!verdict.is_empty()).then_some(verdict);
            json!({ "step": step, "verdict": verdict, "seconds": 0.0 })
        })
        .collect();
    let command = if steps.len() == 1 && steps[0]["step"] == "undo" {
        "undo"
    } else {
        "run"
    };
    let started = format!("2026-11-21T02:{minute:02}:00Z");
    let record = json!({
        "format": 1, "run": format!("20261121-02{minute:02}00-0000"), "command": command, "job": "erp", "host": "here",
        "version": "0", "started": started, "seconds": 0.0, "verdict": verdict, "steps": steps, "checks": [],
        "notified": [], "warnings": [],
        "archive": archive.map(|name| json!({ "name": name, "bytes": 7, "modified": "2026-11-20T20:00:00Z" })),
    });
    serde_json::from_value(record).expect("a report")
}

fn restored(minute: u8) -> Record {
    let steps = ["restore done", "check done", "swap done"];
    record(minute, "done", &steps, Some(ARCHIVE))
}

fn listed() -> Listed {
    Listed {
        name: ARCHIVE.into(),
        bytes: 7,
        modified: "2026-11-20T20:00:00Z".parse().expect("a time"),
        dated: None,
    }
}

fn is_live(newest_first: &[Record]) -> bool {
    let earlier = Earlier::from_history(newest_first);
    earlier.is_live_since(&listed()).is_some()
}

#[test]
fn what_left_live_alone_is_passed_over() {
    let other = Some("b.zip");
    for (verdict, steps) in [
        ("stale", &["fetch stale"][..]),
        ("done", &["fetch done"]),
        ("failed", &["restore failed"]),
        ("failed", &["restore done", "check failed"]),
        ("failed", &["restore done", "check done", "swap failed"]),
        ("failed", &["swap done", "check failed", "undo done"]),
        ("unfinished", &["fetch"]),
    ] {
        let later = record(2, verdict, steps, other);
        assert!(is_live(&[later, restored(1)]), "{verdict} {steps:?}");
    }
    let undone = [
        record(3, "done", &["undo done"], other),
        record(2, "done", &["swap done"], other),
        restored(1),
    ];
    assert!(is_live(&undone));
}

#[test]
fn what_may_have_made_something_else_live_leaves_open_what_is() {
    for (verdict, steps, archive) in [
        // another archive, and a dump that was given as a file, also over the live database
        ("done", &["restore done", "swap done"][..], Some("b.zip")),
        ("done", &["restore done", "swap done"], None),
        ("attention", &["restore done", "check done"], None),
        ("done", &["undo done"], None),
        // not known how it ended
        ("unclear", &["restore done", "swap unclear"], Some(ARCHIVE)),
        ("unclear", &["restore done", "check failed"], Some("b.zip")),
        ("unclear", &["swap done", "undo failed"], Some("b.zip")),
        ("unclear", &["undo unclear"], None),
        // died
        ("unfinished", &["restore done", "swap"], Some("b.zip")),
        ("unfinished", &["restore done", "swap done"], Some("b.zip")),
        ("unfinished", &["restore"], Some("b.zip")),
        ("unfinished", &["undo"], None),
        // failed with it live
        ("bug", &["swap done", "check failed"], Some("b.zip")),
    ] {
        let later = record(2, verdict, steps, archive);
        assert!(!is_live(&[later.clone(), restored(1)]), "{later:?}");
        assert!(is_live(&[restored(3), later, restored(1)]));
    }
}

#[test]
fn what_another_job_did_to_the_database_counts_from_then_on() {
    let is_live = |minute, verdict, steps: &[&str]| {
        let other = record(minute, verdict, steps, Some("other.zip"));
        let earlier = Earlier::from_history(&[restored(2)]).beside([other]);
        earlier.is_live_since(&listed()).is_some()
    };
    assert!(!is_live(3, "done", &["restore done", "swap done"]));
    assert!(!is_live(3, "unclear", &["swap unclear"]));
    assert!(is_live(3, "failed", &["restore failed"]));
    assert!(is_live(1, "done", &["restore done", "swap done"]));
    assert!(is_live(1, "unfinished", &["swap"]));
}

/// What is superfluous of the reports before minute 50 besides the two newest ones, by the minute.
fn superfluous_minutes(newest_first: &[Record]) -> Vec<String> {
    let before = "2026-11-21T02:50:00Z".parse().expect("a time");
    let old = superfluous(newest_first, before, 2);
    old.iter()
        .map(|record| record.run[11..13].to_owned())
        .collect()
}

#[test]
fn old_reports_go_but_none_since_the_last_good_archive() {
    let failed = |minute| record(minute, "failed", &["restore failed"], Some("b.zip"));
    let good = |minute, name| record(minute, "done", &["restore done", "swap done"], Some(name));
    let all = [
        failed(55),
        failed(54),
        failed(53),
        failed(40),
        good(30, "c.zip"),
        failed(20),
        good(10, "d.zip"),
    ];
    assert_eq!(superfluous_minutes(&all), ["20", "10"]);
    assert!(superfluous_minutes(&all[..5]).is_empty());
    // Without any good one there is nothing to hold on to.
    assert_eq!(superfluous_minutes(&all[..4]), ["40"]);
}

#[test]
fn reports_that_reject_an_archive_or_take_that_back_stay() {
    let good = |minute| {
        record(
            minute,
            "done",
            &["restore done", "swap done"],
            Some("c.zip"),
        )
    };
    let undone = record(20, "done", &["undo done"], Some(ARCHIVE));
    let all = [
        good(45),
        good(44),
        good(43),
        restored(30),
        undone,
        restored(10),
    ];
    assert!(superfluous_minutes(&all).is_empty() || superfluous_minutes(&all) == ["43"]);
    let kept: Vec<Record> = all
        .iter()
        .filter(|record| !superfluous_minutes(&all).contains(&record.run[11..13].to_owned()))
        .cloned()
        .collect();
    let rejected = |history: &[Record]| Earlier::from_history(history).rejected_on(&listed());
    assert_eq!(rejected(&kept), rejected(&all));
    assert_eq!(rejected(&kept[..2]), None);
}

fn drilled(minute: u8, verdict: &str, step: &str) -> Record {
    Record {
        command: "drill".into(),
        ..record(minute, verdict, &[step], Some("b.zip"))
    }
}

#[test]
fn a_drill_changes_nothing_about_what_is_live_whatever_became_of_it() {
    for (verdict, step) in [
        ("done", "restore done"),
        ("failed", "restore failed"),
        ("unclear", "restore unclear"),
        ("unfinished", "restore"),
    ] {
        let history = [drilled(9, verdict, step), restored(5)];
        assert!(is_live(&history), "{verdict} {step}");
        let last_good = Earlier::from_history(&history).last_good;
        assert_eq!(last_good.expect("the run's").0.name, ARCHIVE);
    }
}

#[test]
fn the_last_good_drill_stays_however_old_it_is() {
    let good = |minute| record(minute, "done", &["swap done"], Some("c.zip"));
    let all = [
        good(55),
        good(54),
        good(53),
        drilled(20, "failed", "restore failed"),
        drilled(10, "done", "restore done"),
        drilled(5, "done", "restore done"),
    ];
    assert_eq!(superfluous_minutes(&all), ["20", "05"]);
}
