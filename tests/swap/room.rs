//! How many previous databases are kept, and when the others go.

use std::fs;

use serde_json::Value;

use super::command::{rewrite, waiting};
use crate::support::shop::Shop;

const BEFORE: &str = "drop_previous = \"before-load\"\n";

/// A check that counts the previous databases while the new one is in its scratch database.
fn counting(shop: &Shop, count: u32) {
    let check = format!(
        "[[restores.erp.checks]]\nsql = \"select count(*) from pg_database where datname like '{}_before_%'\"\nequals = \"{count}\"\n",
        shop.live
    );
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(path, format!("{config}\n{check}")).expect("config.toml");
}

fn night(shop: &Shop, word: &str, minutes_old: u64) -> Value {
    shop.offer(&format!("{word}.zip"), word, minutes_old);
    shop.refreshed()
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

fn rows(shop: &Shop) -> Vec<String> {
    let row = |name: &String| shop.server.value(name, "select v from t");
    let mut rows: Vec<String> = shop.previous().iter().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn with_before_load_there_are_never_more_than_two_copies_and_it_is_said_that_there_is_no_undo() {
    // given
    let shop = Shop::new(BEFORE);
    let first = night(&shop, "one", 30);
    assert!(!warnings(&first).contains("dropped"), "{first}");
    let previous = shop.previous().remove(0);
    counting(&shop, 0);
    let before = shop.databases();
    shop.offer("two.zip", "two", 20);

    // when
    let planned = shop.run(&["run", "-n"]).expect(0).stdout;

    // then
    for words in [&previous, "dropped before the load", "no undo"] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    assert_eq!(shop.databases(), before);

    // when
    let second = shop.refreshed();

    // then
    assert_eq!(shop.row(), "two");
    assert_eq!(rows(&shop), ["one"]);
    let said = warnings(&second);
    assert!(
        said.contains(&previous) && said.contains("there is no undo until"),
        "{said}"
    );
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "one");
}

#[test]
fn nothing_is_dropped_before_the_load_while_anything_else_speaks_against_it() {
    let shop = Shop::new(BEFORE);
    night(&shop, "one", 30);
    let before = shop.databases();
    shop.offer("two.zip", "two", 20);
    rewrite(
        &shop,
        BEFORE,
        &format!("{BEFORE}before_swap = [[\"no-such-program\"]]\n"),
    );

    shop.run(&["run"]).expect(3);

    assert_eq!(shop.databases(), before);
}

#[test]
fn what_is_not_ours_is_not_dropped_for_room_and_what_cannot_be_dropped_ends_the_run() {
    // given: one that only looks like a previous database
    let shop = Shop::new(BEFORE);
    night(&shop, "one", 30);
    let theirs = format!("{}_before_20261120_020000_7f3a", shop.live);
    shop.server
        .sql("postgres", &format!("create database {theirs}"));

    let report = night(&shop, "two", 20);
    assert!(shop.previous().contains(&theirs), "{report}");
    shop.server
        .sql("postgres", &format!("drop database {theirs}"));

    // when: one of ours that can't be dropped
    let stuck = shop.previous().remove(0);
    let gid = format!("in {stuck}");
    let sql = format!("begin; insert into t values ('x'); prepare transaction '{gid}'");
    shop.server.sql(&stuck, &sql);
    shop.offer("three.zip", "three", 10);
    let failed = shop.run(&["run", "--json"]).expect(10).json();

    // then
    shop.server
        .sql(&stuck, &format!("rollback prepared '{gid}'"));
    assert!(failed["message"].to_string().contains(&stuck), "{failed}");
    assert_eq!(shop.row(), "two");
    assert!(waiting(&shop).is_empty(), "nothing was loaded");
    shop.refreshed();
    assert_eq!(shop.row(), "three");
}

#[test]
fn what_waited_for_a_swap_makes_room_before_the_load_too() {
    let shop = Shop::new(&format!("{BEFORE}swap = \"hold\""));
    night(&shop, "one", 30);
    let first = waiting(&shop).remove(0);
    shop.offer("two.zip", "two", 20);

    let planned = shop.run(&["run", "-n"]).expect(0).stdout;
    shop.refreshed();

    assert!(planned.contains(&first), "{planned}");
    assert_eq!(waiting(&shop).len(), 1);
    assert!(!waiting(&shop).contains(&first));
}

#[test]
fn three_are_kept_the_newest_ones_and_an_undo_goes_back_and_forth_between_the_last_two() {
    // given
    let shop = Shop::new("keep_previous = 3");
    for (word, minutes_old) in [("one", 50), ("two", 40), ("three", 30), ("four", 20)] {
        night(&shop, word, minutes_old);
    }
    assert_eq!(rows(&shop), ["one", "three", "two"]);

    // when
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "three");
    assert_eq!(rows(&shop), ["four", "one", "two"]);
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "four");
    assert_eq!(rows(&shop), ["one", "three", "two"]);

    // then
    night(&shop, "five", 10);
    assert_eq!(rows(&shop), ["four", "three", "two"]);
}

#[test]
fn an_archive_whose_hash_was_never_known_is_recognised_as_rejected_by_name_size_and_time() {
    let shop = Shop::new("");
    night(&shop, "one", 30);
    shop.run(&["undo", "--yes"]).expect(0);
    for mut report in shop.setup.reports() {
        report["archive"]["sha256"] = Value::Null;
        let name = report["run"].as_str().expect("an id");
        let file = shop.setup.path(&format!("state/runs/{name}.json"));
        fs::write(file, report.to_string()).expect("the report");
    }

    let refused = shop.run(&["run", "--json"]).expect(7).json();

    assert!(
        refused["message"]
            .to_string()
            .contains("rejected by undo on 20")
    );
    // another content under the same name
    shop.offer("one.zip", "two", 5);
    shop.refreshed();
    assert_eq!(shop.row(), "two");
}
