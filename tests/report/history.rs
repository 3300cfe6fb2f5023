//! The history as text and JSON, and that it is the one that was written: with real runs.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::year;
use crate::run::until;
use crate::support::program::Setup;
use crate::support::shop::Shop;

fn report_of(shop: &Shop, run: &Value) -> PathBuf {
    let run = run["run"].as_str().expect("an id");
    shop.setup.path(&format!("state/runs/{run}.json"))
}

fn chain(shop: &Shop) -> Value {
    shop.run(&["report", "--json"]).expect(0).json()["chain"].clone()
}

#[test]
fn a_report_that_was_edited_or_removed_is_named_with_its_run() {
    // given: two nights
    let shop = Shop::new("");
    shop.offer("erp.zip", "one", 30);
    let one = shop.refreshed();
    shop.offer("erp.zip", "two", 5);
    let two = shop.refreshed();
    let ran = shop.run(&["report"]).expect(0);
    assert!(
        ran.stdout.contains("\nchain: intact, 2 reports since "),
        "{ran}"
    );
    // A report has the head of the chain before it, for the mail.
    assert_eq!(one["chain"], Value::Null);
    let head = two["chain"].as_str().expect("a head");
    shop.run(&["report", "--head", head]).expect(0);

    // when
    let file = report_of(&shop, &one);
    let text = fs::read_to_string(&file).expect("a report");
    fs::write(&file, text.replace("erp.zip", "old.zip")).expect("an edited report");

    // then
    let ran = shop.run(&["report"]).expect(10);
    let named = format!(
        "the report of run {} (erp) was edited after the run",
        one["run"].as_str().expect("an id")
    );
    assert!(ran.stderr.contains(&named), "{ran}");
    assert!(ran.stdout.contains("chain: NOT INTACT, 1 problem"), "{ran}");
    fs::remove_file(&file).expect("removed");
    let told = shop.run(&["report", "--json"]).expect(10).json();
    assert_eq!(told["verdict"], "failed");
    assert!(
        told["message"]
            .as_str()
            .expect("a message")
            .contains("is missing"),
        "{told}"
    );
    assert_eq!(told["chain"]["is_intact"], false);
    shop.run(&["report", "--head", &"0".repeat(64)]).expect(10);
    // Nothing else is any worse for it.
    shop.run(&["status"]).expect(0);
    shop.refreshed();
}

#[test]
fn the_report_of_a_killed_run_gets_its_line_from_the_next_one() {
    let shop = Shop::new("before_swap = [[\"sleep\", \"30\"]]\nhook_timeout = \"31s\"");
    shop.offer("erp.zip", "new", 5);
    shop.run(&["fetch"]).expect(0);
    let running = shop.setup.start(&["run"]);
    until("the run swaps", || {
        shop.run(&["status", "--json"]).json()["running"]["step"] == "swap"
    });
    let at_work = shop.run(&["report"]).expect(0);
    assert!(at_work.stdout.contains("  run    running "), "{at_work}");
    running.signal(rustix::process::Signal::KILL);
    running.finish();
    let died = shop.setup.reports().remove(1);
    let ran = shop.run(&["report"]).expect(0);
    assert!(ran.stdout.contains("  run    unfinished "), "{ran}");
    assert!(ran.stdout.contains(", 1 not in it yet"), "{ran}");

    shop.run(&["fetch"]).expect(0);

    let chain = chain(&shop);
    assert_eq!(chain["reports"], 3);
    assert_eq!(chain["late"], json!([died["run"]]));
    fs::remove_file(report_of(&shop, &died)).expect("removed");
    shop.run(&["report"]).expect(10);
}

#[test]
fn a_dry_run_a_listing_and_a_locked_run_leave_the_chain_alone() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 5);
    shop.run(&["run", "--dry-run"]).expect(0);
    shop.run(&["list"]).expect(0);
    assert!(!shop.setup.path("state/runs/chain").exists());
    shop.refreshed();
    let before = chain(&shop);
    shop.run(&["run", "--dry-run"]).expect(0);
    assert_eq!(chain(&shop), before);
}

/// Reports of an hour, a day and forty days ago.
fn three(setup: &Setup) {
    let hours = [
        ("1", 1, "done"),
        ("2", 24, "failed"),
        ("3", 24 * 40, "done"),
    ];
    for (number, hours, verdict) in hours {
        let started = Timestamp::now() - SignedDuration::from_hours(hours);
        let run = format!("{}-000{number}", started.strftime("%Y%m%d-%H%M%S"));
        let mut report = year::bones("run", &run, started);
        let name = format!("a_name_that_is_so_long_that_no_terminal_shows_all_of_it_{number}.zip");
        year::merge(
            &mut report,
            &json!({
                "verdict": verdict, "seconds": 86_399.0, "message": "check: ".to_owned() + &"no rows ".repeat(40),
                "archive": { "name": name, "bytes": 1_098_000_000_000_u64, "modified": started, "sha256": null },
                "of_a_later_version": { "kept": true },
            }),
        );
        year::put(setup, &report);
    }
}

#[test]
fn the_text_fits_eighty_columns_and_goes_as_far_back_as_asked() {
    let setup = year::setup();
    three(&setup);
    let ran = setup.run(&["report"]).expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "erp: 2 runs, 1 done, 1 failed in the last 30 d");
    assert!(lines[2].ends_with("_1.zip"), "newest first: {ran}");
    assert!(
        lines[3].contains("failed") && lines[4].starts_with("    check: no rows"),
        "{ran}"
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{ran}");
    assert!(lines.iter().any(|line| line.chars().count() > 76), "{ran}");

    let all = setup
        .run(&["report", "--since", "41d", "--json"])
        .expect(0)
        .json();
    let runs = all["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[0]["of_a_later_version"]["kept"], true);
    let none = setup.run(&["report", "--since", "1m"]).expect(0);
    assert!(
        none.stdout.starts_with("erp: no runs in the last 1 min\n"),
        "{none}"
    );
    setup.run(&["report", "crm"]).expect(2);
    setup.run(&["report", "--since", "yesterday"]).expect(2);
}

#[test]
fn before_the_first_run_there_is_no_history_and_asking_leaves_no_trace() {
    let shop = Shop::new("");
    let ran = shop.run(&["report"]).expect(0);
    assert_eq!(
        ran.stdout,
        "erp: no runs in the last 30 d\n\nchain: none yet; the next run begins it\n"
    );
    assert!(!shop.setup.path("state").exists());
}

#[test]
fn every_job_has_a_document_and_the_chain_is_that_of_all() {
    let setup = year::setup();
    three(&setup);
    let setup = setup
        .part("[restores.crm]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"crm_*\"\n")
        .write();
    let documents = setup.run(&["report", "--json"]).expect(0).documents();
    let told: Vec<_> = documents
        .iter()
        .map(|job| {
            (
                job["job"].as_str(),
                job["runs"].as_array().map(Vec::len),
                &job["chain"],
            )
        })
        .collect();
    assert_eq!((told[0].0, told[0].1), (Some("erp"), Some(2)));
    assert_eq!((told[1].0, told[1].1), (Some("crm"), Some(0)));
    assert_eq!(told[0].2, told[1].2);
}
