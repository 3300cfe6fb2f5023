//! `swap = "hold"` with `unchanged`: the archive that is prepared and waits already is not prepared again each night.

use super::command::{HOLD, prepared, rewrite, text, waiting};

fn nothing_was_made(report: &serde_json::Value) -> bool {
    let steps = report["steps"].as_array().expect("steps");
    steps.iter().all(|step| step["step"] != "restore")
}

#[test]
fn an_archive_that_waits_for_swap_is_not_prepared_again() {
    // given
    let (shop, held) = prepared("unchanged = \"skip\"");
    let kept = text(&held["database"]["scratch"]);

    // when
    let planned = shop.run(&["run", "-n"]).expect(0).stdout;
    let report = shop.refreshed();

    // then
    let message = text(&report["message"]);
    assert!(message.starts_with("Nothing to do"), "{report}");
    for said in [message, &planned] {
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains("waits for `backupctl swap erp` since 20"),
            "{said}"
        );
    }
    assert!(nothing_was_made(&report), "{report}");
    assert_eq!(waiting(&shop), [kept]);

    // when: there is a newer one, or it is asked for by name
    shop.run(&["run", "--archive", "a.zip"]).expect(0);
    assert_ne!(waiting(&shop), [kept]);
    shop.offer("b.zip", "newer", 1);
    let report = shop.refreshed();

    // then
    assert!(!nothing_was_made(&report), "{report}");
    assert_eq!(
        shop.server.value(&waiting(&shop)[0], "select v from t"),
        "newer"
    );

    // and: once live it is live
    shop.run(&["swap", "--yes"]).expect(0);
    let report = shop.refreshed();
    assert!(
        text(&report["message"]).contains("already restored on"),
        "{report}"
    );
}

#[test]
fn with_stale_it_is_stale_and_accepted_knowingly() {
    let (shop, held) = prepared("unchanged = \"stale\"");

    let report = shop.run(&["run", "--json"]).expect(7).json();

    assert!(
        text(&report["message"]).contains("waits for `backupctl swap erp`"),
        "{report}"
    );
    assert_eq!(waiting(&shop), [text(&held["database"]["scratch"])]);
    shop.run(&["run", "--accept", "stale"]).expect(0);
    assert_ne!(waiting(&shop), [text(&held["database"]["scratch"])]);
}

#[test]
fn what_waits_no_more_or_can_go_live_no_more_is_prepared_again() {
    // given: dropped by hand
    let (shop, held) = prepared("unchanged = \"skip\"");
    let kept = text(&held["database"]["scratch"]);
    shop.server
        .sql("postgres", &format!("drop database {kept}"));
    assert!(!nothing_was_made(&shop.refreshed()));

    // and: made to replace a database that is live no more
    let again = waiting(&shop);
    shop.server
        .sql("postgres", &format!("drop database {}", shop.live));
    shop.server
        .sql("postgres", &format!("create database {}", shop.live));
    assert!(!nothing_was_made(&shop.refreshed()));
    assert_ne!(waiting(&shop), again);

    // and: a job that goes live at once does not wait for what another night has left
    rewrite(&shop, HOLD, "swap = \"now\"");
    shop.refreshed();
    assert_eq!(shop.row(), "new");
}
