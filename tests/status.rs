//! `status`: the last run, the last success and its age, as a monitor and an operator ask for it.

use std::fs;

use serde_json::{Value, json};

use crate::run::until;
use crate::support::program::Ran;
use crate::support::shop::Shop;

fn state(shop: &Shop, arguments: &[&str], code: i32) -> Value {
    let ran = shop.run(&[&["status", "--json"], arguments].concat());
    ran.expect(code).json()
}

fn problems(state: &Value) -> String {
    let problems = state["problems"].as_array().expect("a list").iter();
    problems
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A report on disk as if a run had ended `hours` ago.
fn report(shop: &Shop, run: &str, hours: i64, more: &Value) {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    let mut record = json!({
        "format": 1, "run": run, "command": "run", "job": "erp", "host": "here", "version": "0",
        "started": then, "ended": then, "seconds": 42.0, "verdict": "done", "exit_code": 0,
        "archive": { "name": "erp.zip", "bytes": 1, "modified": then },
        "steps": [], "checks": [], "notified": [], "warnings": [],
    });
    for (name, value) in more.as_object().expect("fields") {
        record[name] = value.clone();
    }
    let runs = shop.setup.path("state/runs");
    fs::create_dir_all(&runs).expect("the reports' directory");
    fs::set_permissions(
        shop.setup.path("state"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .expect("a private directory");
    fs::write(runs.join(format!("{run}.json")), record.to_string()).expect("a report");
}

#[test]
fn a_job_that_never_ran_is_stale_and_asking_leaves_no_trace() {
    let shop = Shop::new("");
    let ran = shop.run(&["status"]).expect(7);
    assert_eq!(
        ran.stdout,
        "erp: stale\n  last success  none\n  last run      none\n  problem       no run has made anything live yet\n"
    );
    assert!(
        ran.stderr
            .starts_with("error: erp: no run has made anything live yet\n"),
        "{ran}"
    );
    assert!(!shop.setup.path("state").exists());
}

#[test]
fn after_a_refresh_it_is_well_until_the_success_is_too_old() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 90);
    let run = shop.refreshed();

    let state = state(&shop, &["--max-age", "26h"], 0);
    assert_eq!(state["last_success"]["run"], run["run"]);
    assert_eq!(state["last_success"]["archive"], "erp.zip");
    assert_eq!(state["last_run"]["verdict"], "done");
    let data_age = state["last_success"]["data_age_seconds"]
        .as_f64()
        .expect("an age");
    assert!((5_400.0..6_000.0).contains(&data_age), "{state}");
    assert_eq!(state["running"], Value::Null);

    let too_old = self::state(&shop, &["--max-age", "1ms"], 7);
    assert!(
        problems(&too_old).starts_with("the last success is "),
        "{too_old}"
    );
    let ran: Ran = shop.run(&["status", "-q"]).expect(0);
    assert!(
        ran.stdout
            .contains("  live data     erp.zip, 1 h 30 min old\n"),
        "{ran}"
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn live_data_older_than_its_rpo_is_stale_although_the_run_was_good() {
    let shop = Shop::new("rpo = \"1h\"\nmax_age = \"none\"");
    shop.offer("erp.zip", "new", 90);
    shop.refreshed();
    let state = state(&shop, &["--max-age", "26h"], 7);
    assert_eq!(
        problems(&state),
        "the live data is 1 h 30 min old, `rpo` is 1 h"
    );
}

#[test]
fn a_success_that_took_longer_than_its_rto_is_a_duty() {
    let shop = Shop::new("rto = \"1ms\"");
    shop.offer("erp.zip", "new", 5);
    shop.refreshed();
    let state = state(&shop, &[], 12);
    assert!(problems(&state).contains("`rto` is 0.0 s"), "{state}");
}

#[test]
fn a_run_that_takes_more_than_twice_its_expected_time_says_so() {
    let shop = Shop::new("expected = \"1ms\"");
    shop.offer("erp.zip", "new", 5);
    let report = shop.refreshed();
    assert!(
        report["warnings"]
            .to_string()
            .contains("slower than usual: this run took "),
        "{report}"
    );

    let shop = Shop::new("expected = \"10m\"");
    shop.offer("erp.zip", "new", 5);
    let report = shop.refreshed();
    assert!(
        !report["warnings"].to_string().contains("slower than usual"),
        "{report}"
    );
}

#[test]
fn without_a_limit_the_last_run_decides_and_with_one_the_age() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 5);
    shop.refreshed();
    fs::remove_file(shop.store.path().join("erp.zip")).expect("no archive any more");
    shop.run(&["run"]).expect(7);

    let bare = state(&shop, &[], 7);
    assert_eq!(problems(&bare), "the last run ended as `stale`");
    let dated = state(&shop, &["--max-age", "26h"], 0);
    assert_eq!(dated["last_run"]["verdict"], "stale");
    assert_eq!(problems(&dated), "");
}

#[test]
fn what_an_undo_took_back_is_no_success_until_a_second_undo() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "one", 30);
    let one = shop.refreshed();
    shop.offer("erp.zip", "two", 5);
    let two = shop.refreshed();
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(state(&shop, &[], 0)["last_success"]["run"], one["run"]);
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(state(&shop, &[], 0)["last_success"]["run"], two["run"]);
}

#[test]
fn what_is_only_prepared_is_no_success_until_its_swap() {
    let shop = Shop::new("swap = \"hold\"");
    shop.offer("erp.zip", "new", 5);
    shop.refreshed();
    assert_eq!(state(&shop, &[], 7)["last_success"], Value::Null);
    shop.run(&["swap", "--yes"]).expect(0);
    assert_eq!(state(&shop, &[], 0)["last_success"]["archive"], "erp.zip");
}

#[test]
fn what_is_unclear_is_never_hidden_by_a_fresh_success() {
    let shop = Shop::new("");
    report(&shop, "20260101-000000-0001", 2, &json!({}));
    report(
        &shop,
        "20260101-000001-0002",
        1,
        &json!({ "verdict": "unclear", "exit_code": 11 }),
    );
    let state = state(&shop, &["--max-age", "26h"], 11);
    assert_eq!(
        problems(&state),
        "the last run left it unclear what is live"
    );
}

#[test]
fn a_run_that_died_is_named_and_its_success_before_still_counts() {
    let shop = Shop::new("");
    report(&shop, "20260101-000000-0001", 2, &json!({}));
    report(
        &shop,
        "20260101-000001-0002",
        1,
        &json!({ "verdict": "unfinished", "ended": null }),
    );
    let bare = state(&shop, &[], 10);
    assert_eq!(problems(&bare), "the last run died");
    assert_eq!(bare["last_run"]["verdict"], "unfinished");
    state(&shop, &["--max-age", "26h"], 0);
}

#[test]
fn a_run_at_work_is_shown_with_its_step() {
    let shop = Shop::new("before_swap = [[\"sleep\", \"30\"]]");
    shop.offer("erp.zip", "new", 5);
    let running = shop.setup.start(&["run", "--json"]);
    until("the run swaps", || {
        let ran = shop.run(&["status", "--json"]);
        ran.json()["running"]["step"] == "swap"
    });
    let ran = shop.run(&["status"]).expect(7);
    let told = format!(
        "  running       `run` (pid {}), in step swap, for ",
        running.pid()
    );
    assert!(ran.stdout.contains(&told), "{ran}");
    running.signal(rustix::process::Signal::TERM);
    running.finish().expect(143);
}

#[test]
fn every_job_is_told_and_the_worst_one_decides() {
    let shop = Shop::with("", |setup| {
        setup.part("[restores.crm]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"crm_*\"\n")
    });
    report(&shop, "20260101-000000-0001", 1, &json!({ "job": "crm" }));
    let ran = shop.run(&["status", "--json"]).expect(7);
    let told: Vec<(Value, Value)> = ran
        .documents()
        .into_iter()
        .map(|state| (state["job"].clone(), state["verdict"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (json!("crm"), json!("done")),
            (json!("erp"), json!("stale"))
        ]
    );
    shop.run(&["status", "crm"]).expect(0);
    let ran = shop.run(&["status", "cmr"]).expect(2);
    assert!(ran.stderr.contains("there is no job `cmr`"), "{ran}");
    assert!(ran.stderr.contains("did you mean `crm`?"), "{ran}");
    shop.run(&["status", "--max-age", "yesterday"]).expect(2);
}

#[test]
fn an_undo_takes_back_what_was_live_and_not_the_run_that_found_nothing_to_do() {
    let shop = Shop::new("unchanged = \"skip\"");
    shop.offer("erp.zip", "new", 5);
    shop.refreshed();
    let idle = shop.refreshed();
    let found = state(&shop, &[], 0);
    assert_eq!(found["last_success"]["run"], idle["run"]);

    shop.run(&["undo", "--yes"]).expect(0);

    assert_eq!(shop.row(), "old");
    assert_eq!(state(&shop, &[], 7)["last_success"], Value::Null);
}

#[test]
fn a_run_that_found_its_archive_prepared_already_has_made_nothing_live() {
    let shop = Shop::new("swap = \"hold\"\nunchanged = \"skip\"");
    shop.offer("erp.zip", "new", 5);
    shop.refreshed();
    let idle = shop.refreshed();
    assert!(
        idle["message"]
            .as_str()
            .expect("a message")
            .starts_with("Nothing to do"),
        "{idle}"
    );
    assert_eq!(state(&shop, &[], 7)["last_success"], Value::Null);

    shop.run(&["swap", "--yes"]).expect(0);
    let swapped = state(&shop, &[], 0);
    assert_eq!(swapped["last_success"]["archive"], "erp.zip");
    shop.offer("erp.zip", "newer", 1);
    shop.refreshed();
    shop.refreshed();
    let waits = state(&shop, &[], 0);
    assert_eq!(waits["last_success"]["run"], swapped["last_success"]["run"]);
}
