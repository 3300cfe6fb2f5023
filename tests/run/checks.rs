//! The operator's checks, as the program runs them before a swap.

use super::{Scene, judged, says, text};

fn failing(check: &str) -> String {
    let scene = Scene::with_archive();
    let setup = scene.with(&format!("[[restores.erp.checks]]\n{check}\n"));
    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");
    assert_eq!(report["steps"][4]["step"], "check");
    scene.is_untouched();
    text(&report["message"]).to_owned()
}

#[test]
fn a_check_that_is_no_sql_writes_or_gives_no_value_fails_the_run() {
    says(
        &failing("sql = \"select nothing from nowhere\"\nat_least = 1"),
        &["nowhere"],
    );
    says(
        &failing("sql = \"delete from users returning id\"\nat_least = 1"),
        &["read-only"],
    );
    says(
        &failing("sql = \"select id from users where false\"\nat_least = 1"),
        &["select id"],
    );
    says(
        &failing("sql = \"select null::int\"\nat_most = 1"),
        &["select null"],
    );
    says(
        &failing("sql = \"select now() - interval '3 days'\"\nnewer_than = \"2d\""),
        &["newer than 2d"],
    );
}

#[test]
fn a_check_that_never_ends_is_ended_by_the_jobs_stall() {
    let scene = Scene::with_archive();
    let setup = scene.with(
        "stall = \"2s\"\n[[restores.erp.checks]]\nsql = \"select pg_sleep(600)\"\nequals = \"\"\n",
    );

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(text(&report["message"]), &["pg_sleep"]);
    scene.is_untouched();
}

#[test]
fn checks_of_every_kind_that_hold_let_the_data_go_live() {
    let scene = Scene::with_archive();
    let checks = [
        "sql = \"select count(*) from users\"\nat_most = 5",
        "sql = \"select name from users where id = 3\"\nequals = \"user 3\"",
        "sql = \"select count(*) = 5 from users\"\nequals = true",
        "sql = \"select now()\"\nnewer_than = \"1h\"",
    ];
    let setup = scene.with(
        &checks
            .map(|check| format!("[[restores.erp.checks]]\n{check}\n"))
            .concat(),
    );

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    let results = report["checks"].as_array().expect("checks");
    assert_eq!(results.len(), 4);
    assert!(
        results.iter().all(|result| result["ok"] == true),
        "{report}"
    );
    scene.is_new();
}

#[test]
fn a_check_that_fails_after_a_restore_in_place_is_unclear_and_said_to_be_live() {
    let scene = Scene::with_archive();
    let check = "[[restores.erp.checks]]\nsql = \"select count(*) from users\"\nat_least = 100\n";
    let setup = scene.with(&format!("method = \"in-place\"\n{check}"));

    let ran = setup.run(&["run", "--json"]);

    let report = judged(&setup, &ran, "unclear");
    says(text(&report["hint"]), &["live already"]);
    scene.is_new();
}
