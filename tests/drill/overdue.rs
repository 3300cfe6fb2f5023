//! `every` of [drill]: `status` and `check` are red where there should have been another drill.

use std::fs;

use serde_json::{Value, json};

use crate::support::shop::Shop;

fn with_limit() -> Shop {
    let shop = Shop::with("", |setup| setup.part("[drill]\nevery = \"7d\""));
    shop.offer("erp.zip", "new", 10);
    refreshed(&shop);
    shop
}

/// A run's report on disk, as if it had just ended.
fn refreshed(shop: &Shop) {
    let runs = shop.setup.path("state/runs");
    fs::create_dir_all(&runs).expect("the reports' directory");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(shop.setup.path("state"), private).expect("a private directory");
    report(shop, ("run", "20250101-000000-0000"), 0, &json!({}));
}

/// A drill's report on disk, as if it had ended so long ago.
fn drilled(shop: &Shop, run: &str, days: i64, verdict: &str) {
    let facts = json!({
        "where": "server", "origin": "store", "host_key": null, "pg_restore": "15.1", "objects": {},
        "time_to_restore_seconds": 240.0, "rows": 1, "tables": [], "dropped": true,
    });
    let more = json!({ "verdict": verdict, "drill": facts });
    report(shop, ("drill", run), days, &more);
}

fn report(shop: &Shop, (command, run): (&str, &str), days: i64, more: &Value) {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24);
    let mut record = json!({
        "format": 1, "run": run, "command": command, "job": "erp", "host": "here", "version": "0",
        "started": then, "ended": then, "seconds": 42.0, "verdict": "done", "exit_code": 0,
        "archive": { "name": "erp.zip", "bytes": 1, "modified": then },
        "steps": [], "checks": [], "notified": [], "warnings": [],
    });
    for (name, value) in more.as_object().expect("fields") {
        record[name] = value.clone();
    }
    let path = shop.setup.path("state/runs").join(format!("{run}.json"));
    fs::write(path, record.to_string()).expect("a report");
}

fn problems(shop: &Shop, code: i32) -> Value {
    let state = shop.run(&["status", "--json"]).expect(code).json();
    assert_eq!(state["targets"]["drill_every_seconds"], 604_800.0);
    state["problems"].clone()
}

fn link(shop: &Shop, code: i32) -> Value {
    let checked = shop.run(&["check", "--json"]).expect(code).json();
    let mut links = checked["links"].as_array().expect("links").iter();
    let drill = links.find(|link| link["link"] == "drill").cloned();
    drill.unwrap_or_else(|| panic!("no link in {checked:#}"))
}

#[test]
fn a_job_that_was_never_drilled_is_red() {
    let shop = with_limit();
    assert_eq!(
        problems(&shop, 12),
        json!(["no drill has proven yet that a backup restores; `every` of [drill] is 7 d"])
    );
    let link = link(&shop, 12);
    assert_eq!(link["state"], "failed");
    assert_eq!(link["hint"], "`backupctl drill erp` makes one");
}

#[test]
fn only_a_good_drill_that_is_young_enough_is_well() {
    let shop = with_limit();
    drilled(&shop, "20250101-000000-0001", 9, "done");
    assert_eq!(
        problems(&shop, 12),
        json!(["the last good drill is 9 d old, `every` of [drill] is 7 d"])
    );
    assert_eq!(link(&shop, 12)["verdict"], "attention");

    // One that failed since changes nothing.
    drilled(&shop, "20250102-000000-0001", 1, "failed");
    let ran = shop.run(&["status"]).expect(12);
    assert!(ran.stdout.contains("  good drill    "), "{ran}");
    assert!(
        ran.stdout.contains(" 9 d ago, restored in 4 min\n"),
        "{ran}"
    );
    assert!(ran.stdout.contains("  last drill    "), "{ran}");
    assert!(
        ran.stderr.contains("hint: `backupctl drill erp` makes one"),
        "{ran}"
    );

    drilled(&shop, "20250103-000000-0001", 6, "attention");
    assert_eq!(problems(&shop, 0), json!([]));
    assert_eq!(link(&shop, 0)["state"], "ok");
}

#[test]
fn where_nobody_has_said_how_often_nothing_is_red() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 10);
    refreshed(&shop);
    let state = shop.run(&["status", "--json"]).expect(0).json();
    assert_eq!(state["last_drill"], Value::Null);
    let checked = shop.run(&["check", "--json"]).expect(0).json();
    assert!(
        !checked["links"].to_string().contains("\"drill\""),
        "{checked:#}"
    );
}

#[test]
fn what_is_wrong_in_its_settings_is_listed_with_the_lines() {
    let wrong = "[drill]\nwhere = \"cloud\"\nevery = \"0s\"\nevry = \"7d\"\n\
                 [[drill.checks]]\njob = \"epr\"\nsql = \"select 1\"\nat_least = 1";
    let shop = Shop::with("", |setup| setup.part(wrong));
    let ran = shop.run(&["drill", "-n"]).expect(3);
    for said in [
        "drill.where: ",
        "drill.every: must be longer than zero",
        "drill.evry: ",
        "there is no job \"epr\"; known: erp",
    ] {
        assert!(ran.stderr.contains(said), "{said}\n{ran}");
    }
}
