//! What live has and the new database would not have, as the program tells it: objects, grants, rows; and the files that mend it.

use std::fs;

use super::{Scene, dump_of, judged, packed, says, text, warnings};
use crate::support::archives::zip;
use crate::support::program::Setup;

/// Live with what somebody has added by hand.
fn with_additions() -> (Scene, String) {
    let scene = Scene::with_archive();
    let role = scene.server.role("reader", "");
    scene.server.sql(
        &scene.live,
        &format!(
            "create view names as select name from users; create table audit (n int); insert into audit values (1), (2);
             grant select on users to {role}; analyze"
        ),
    );
    (scene, role)
}

fn is_old(scene: &Scene) {
    assert_eq!(scene.row(), "old");
    assert_eq!(scene.beside(), Vec::<String>::new(), "what a run left");
}

#[test]
fn a_loss_is_told_in_report_and_text_and_the_data_goes_live() {
    let (scene, role) = with_additions();
    let setup = scene.with("");

    let ran = setup.run(&["run"]).expect(0);

    scene.is_new();
    let report = setup.reports().remove(0);
    let lost = report["lost"].as_array().expect("a list");
    let kinds: Vec<&str> = lost.iter().map(|lost| text(&lost["kind"])).collect();
    assert_eq!(kinds, ["table", "view", "grant"]);
    assert_eq!(lost[2]["role"], role);
    assert_eq!(lost[2]["names"][0], "public.users: SELECT");
    let told = warnings(&report).join("\n");
    says(
        &told,
        &[
            "(3 in all)",
            "1 table: public.audit",
            "1 view: public.names",
            &format!("1 grant to {role}: public.users: SELECT"),
        ],
    );
    says(
        &ran.stdout,
        &[
            "1 view: public.names",
            "\nTables ",
            "  2 in all ",
            "  public.audit                                     gone              2\n",
        ],
    );
    assert!(
        ran.stdout.lines().all(|line| line.chars().count() <= 80
            || line.contains("SHA-256")
            || line.contains('/')),
        "{ran}"
    );
    assert_eq!(report["tables"][0]["name"], "audit");
    assert_eq!(report["tables"][0]["rows"], serde_json::Value::Null);
    assert_eq!(report["tables"][0]["live_rows"], 2);
    assert_eq!(report["table_totals"]["rows"], 6);
}

#[test]
fn a_loss_that_is_refused_ends_the_run_and_says_how_to_go_on() {
    let (scene, _) = with_additions();
    let setup = scene.with(
        "lost_objects = \"refuse\"\n[[restores.erp.checks]]\nsql = \"select 1\"\nequals = 1\n",
    );

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(
        text(&report["message"]),
        &["check: ", "1 table: public.audit", "1 view: public.names"],
    );
    says(
        text(&report["hint"]),
        &["after_load", "lost_objects = \"warn\""],
    );
    assert_eq!(report["lost"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        report["checks"][0]["ok"], true,
        "the checks were run all the same"
    );
    is_old(&scene);
}

#[test]
fn grants_to_who_will_own_everything_are_no_loss() {
    let scene = Scene::with_archive();
    let (app, owner) = (scene.server.role("app", ""), scene.server.role("owner", ""));
    scene.server.sql(
        &scene.live,
        &format!(
            "alter database {} owner to {owner}; alter table users owner to {app}; grant select on users to {owner}",
            scene.live
        ),
    );
    for who in ["target", &format!("role:{owner}")] {
        let setup = scene.with(&format!("lost_objects = \"refuse\"\nowner = \"{who}\""));
        let ran = setup.run(&["run", "--json", "--accept", "rejected"]);
        let report = judged(&setup, &ran, "done");
        assert!(report.get("lost").is_none(), "{report}");
        setup.run(&["undo", "--yes"]).expect(0);
    }
}

/// An installation whose `after_load` names one file with this content.
fn with_file(scene: &Scene, lines: &str, sql: &str) -> Setup {
    let setup = scene.with(&format!("after_load = [\"grants.sql\"]\n{lines}"));
    fs::write(setup.path("grants.sql"), sql).expect("a file");
    setup
}

#[test]
fn what_a_file_of_after_load_makes_is_not_lost_and_has_statistics() {
    let (scene, role) = with_additions();
    let sql = format!(
        "create view names as select name from users;\ngrant select on users to {role};\n\
         create table audit as select generate_series(1, 3) n;\n"
    );
    let setup = with_file(&scene, "lost_objects = \"refuse\"\n", &sql);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    scene.is_new();
    assert_eq!(
        scene
            .server
            .value(&scene.live, "select count(*) from names"),
        "5"
    );
    assert!(report.get("lost").is_none(), "{report}");
    says(
        text(&report["steps"][3]["message"]),
        &["after_load: 1 file, 3 statements, 0 notices"],
    );
    let audit = report["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .find(|table| table["name"] == "audit");
    assert_eq!(audit.expect("the new table")["rows"], 3);
}

#[test]
fn a_file_of_after_load_that_fails_leaves_live_as_it_was() {
    let scene = Scene::with_archive();
    let setup = with_file(
        &scene,
        "",
        "select 1;\ngrant select on users to nobody_here;\n",
    );

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(
        text(&report["message"]),
        &["restore: ", "grants.sql`: line 2: ", "nobody_here"],
    );
    scene.is_untouched();
}

#[test]
fn a_file_of_after_load_that_is_missing_or_unfit_is_found_before_anything_else() {
    let scene = Scene::with_archive();
    let setup = with_file(&scene, "", "begin;\n");
    let unfit = judged(&setup, &setup.run(&["run", "--json"]), "config");
    says(
        text(&unfit["message"]),
        &["grants.sql`, line 1: ", "begins or ends a transaction"],
    );
    assert_eq!(unfit["steps"].as_array().map(Vec::len), Some(0));

    fs::remove_file(setup.path("grants.sql")).expect("the file");
    for command in [
        &["run", "--json"][..],
        &["run", "--dry-run", "--json"],
        &["restore", "--json"],
    ] {
        let missing = setup.run(command).expect(3).json();
        says(text(&missing["message"]), &["grants.sql", "No such file"]);
        says(text(&missing["hint"]), &["after_load"]);
    }
    scene.is_untouched();
}

#[test]
fn a_share_of_live_that_the_new_data_lacks_fails_the_run() {
    let scene = Scene::new();
    scene.server.sql(
        &scene.live,
        "insert into users select n, 'x' from generate_series(3, 10) n",
    );
    let small = dump_of(
        "create table t (v text); create table users (id int)",
        &["-Fc"],
    );
    scene.put("erp.zip", &zip().entry("erp.dump", small).build());
    let setup = scene.with("[[restores.erp.checks]]\nsql = \"select count(*) from users\"\nat_least_of_live = \"80%\"\n");

    let failed = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    assert_eq!(
        failed["checks"][0]["expected"],
        "at least 80% of live's 10, that is 8"
    );
    assert_eq!(failed["checks"][0]["found"], "0");
    is_old(&scene);
    scene.put("erp.zip", &packed().build());
    scene
        .server
        .sql(&scene.live, "delete from users where id > 6");
    let fine = judged(&setup, &setup.run(&["run", "--json"]), "done");
    assert_eq!(
        fine["checks"][0]["expected"],
        "at least 80% of live's 6, that is 4.8"
    );
    assert_eq!(fine["checks"][0]["found"], "5");
}
