//! `create = true`: the first restore makes the live database, wholly or not at all.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{Scene, archive, dump_of, judged, says, text, until, warnings};
use crate::support::archives::zip;
use crate::support::program::Setup;

/// A store with an archive, and a name that no database has.
fn without_live() -> Scene {
    let scene = Scene::with_archive();
    drop_live(&scene);
    scene
}

fn drop_live(scene: &Scene) {
    let sql = format!("drop database {} with (force)", scene.live);
    scene.server.sql("postgres", &sql);
}

fn creating(scene: &Scene, lines: &str) -> Setup {
    Setup::new()
        .local(scene.store.path())
        .part(&format!(
            "{}create = true\n",
            scene.server.toml("erp", &scene.live)
        ))
        .secret("DB_PASSWORD", &scene.server.password)
        .restore(lines)
        .write()
}

fn is_there(scene: &Scene) -> bool {
    !scene.server.databases_like(&scene.live).is_empty()
}

fn run(setup: &Setup, word: &str) -> Value {
    judged(setup, &setup.run(&["run", "--json"]), word)
}

#[test]
fn the_first_run_makes_the_live_database_and_the_next_one_swaps() {
    // given
    let scene = without_live();
    let setup = creating(&scene, "");

    // when
    let report = run(&setup, "done");

    // then
    scene.is_new();
    assert_eq!(scene.beside(), Vec::<String>::new());
    assert!(report["database"]["previous"].is_null(), "{report}");
    says(
        warnings(&report)[0],
        &[&scene.live, "is made", "UTF8", "postgres"],
    );
    let swap = report["steps"].as_array().expect("steps").iter();
    let swap = swap.filter(|step| step["step"] == "swap");
    let said: Vec<&str> = swap.map(|step| text(&step["message"])).collect();
    says(said[0], &["was made", "no previous"]);
    let facts = format!(
        "select has_database_privilege('public', oid, 'connect'), shobj_description(oid, 'pg_database') is null
         from pg_database where datname = '{}'",
        scene.live
    );
    assert_eq!(
        scene.server.value("postgres", &facts),
        "t|t",
        "like any new database"
    );

    // and
    let ran = setup.run(&["undo", "--yes"]).expect(10);
    says(&ran.stderr, &["no previous database"]);
    scene.is_new();
    run(&setup, "done");
    assert_eq!(scene.beside().len(), 1);
    setup.run(&["undo", "--yes"]).expect(0);
}

#[test]
fn without_it_a_missing_database_is_config_and_the_setting_is_named() {
    let scene = without_live();

    let report = run(&scene.with(""), "config");

    says(
        text(&report["message"]),
        &["there is no database", &scene.live],
    );
    says(text(&report["hint"]), &["create = true"]);
    assert!(!is_there(&scene));
}

#[test]
fn a_dry_run_tells_what_would_be_made_and_makes_nothing() {
    let scene = without_live();
    let near = format!("{}x", scene.live);
    scene
        .server
        .sql("postgres", &format!("create database {near}"));
    let setup = creating(&scene, "");

    let ran = setup.run(&["run", "--dry-run"]).expect(0);

    says(&ran.stdout, &["would be made", "nothing to undo to"]);
    // Other tests have databases with names like this one too, so which are named is not known here.
    says(&ran.stderr, &["is made: UTF8", "mistyped"]);
    assert!(!is_there(&scene));
    scene
        .server
        .sql("postgres", &format!("drop database {near}"));
}

/// How the live database is after a restore of a database in this encoding, with the locale C.
fn shape_after(encoding: &str, options: &[&str]) -> (String, String) {
    let scene = without_live();
    let source = scene.server.database("latin");
    scene.server.sql(
        "postgres",
        &format!("drop database {source}; create database {source} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"),
    );
    scene.server.sql(
        &source,
        "create table t (v text); insert into t values ('new')",
    );
    let dump = scene.server.dump(&source, options);
    scene.put("erp.zip", &zip().entry("erp.dump", dump).build());
    let setup = creating(&scene, "");

    let report = run(&setup, "done");

    let shape = format!(
        "select pg_encoding_to_char(encoding), datcollate, datctype from pg_database where datname = '{}'",
        scene.live
    );
    assert_eq!(scene.row(), "new");
    let told = warnings(&report).join("\n");
    (scene.server.value("postgres", &shape), told)
}

#[test]
fn encoding_and_locale_are_the_dumps_own_where_it_names_them() {
    let (shape, told) = shape_after("UTF8", &["-Fc"]);
    assert_eq!(shape, "UTF8|C|C", "the server's own is C.UTF-8");
    says(&told, &["is made: UTF8", "locale C (as in the dump)"]);

    let (shape, told) = shape_after("LATIN1", &["-Fc", "--create"]);
    assert_eq!(shape, "LATIN1|C|C");
    says(&told, &["is made: LATIN1", "locale C (as in the dump)"]);
}

#[test]
fn a_restore_that_fails_makes_no_database() {
    let scene = without_live();
    let bad = dump_of(
        "create table t (v text); insert into t values ('new');
         create function f(text) returns bool language plpgsql as $$ begin
             return current_database() like 'source%'; end $$;
         alter table t add check (f(v))",
        &["-Fc"],
    );
    scene.put("erp.zip", &zip().entry("erp.dump", bad).build());
    let setup = creating(&scene, "");

    run(&setup, "failed");

    assert!(!is_there(&scene));
    assert_eq!(scene.beside(), Vec::<String>::new());

    scene.put("erp.zip", &archive());
    let checked = creating(
        &scene,
        "checks = [{ sql = \"select count(*) from t\", at_least = 2 }]",
    );
    run(&checked, "failed");
    assert!(!is_there(&scene));
    assert_eq!(scene.beside(), Vec::<String>::new());
}

#[test]
fn a_check_that_compares_with_live_is_left_out_while_there_is_none() {
    // given
    let scene = without_live();
    let checks = |least: u8| {
        format!(
            "checks = [{{ sql = \"select count(*) from users\", at_least_of_live = \"80%\" }},
                       {{ sql = \"select count(*) from t\", at_least = {least} }}]"
        )
    };
    let told = ["at_least_of_live", "no live database"];
    let setup = creating(&scene, &checks(1));

    // when, then
    let planned = setup.run(&["run", "--dry-run"]).expect(0);
    says(&format!("{}{}", planned.stdout, planned.stderr), &told);
    // The others are asked.
    let report = run(&creating(&scene, &checks(2)), "failed");
    says(text(&report["message"]), &["1 of 1 checks"]);
    assert!(!is_there(&scene));
    let report = run(&setup, "done");
    says(&warnings(&report).join("\n"), &told);
    scene.is_new();

    // and with one to compare with
    let report = run(&setup, "done");
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(2));
    assert!(!warnings(&report).join("\n").contains("at_least_of_live"));
}

#[test]
fn a_database_that_somebody_makes_meanwhile_is_left_alone() {
    let scene = without_live();
    let flag = scene.store.path().join("flag");
    let wait = format!(
        "before_swap = [[\"sh\", \"-c\", \"touch {0}; while [ -e {0} ]; do sleep 0.05; done\"]]",
        flag.display()
    );
    let setup = creating(&scene, &wait);
    let running = setup.start(&["run", "--json"]);
    until("the hook runs", || flag.exists());
    scene
        .server
        .sql("postgres", &format!("create database {}", scene.live));
    scene.server.sql(&scene.live, "create table theirs ()");
    fs::remove_file(&flag).expect("the flag");

    let report = judged(&setup, &running.finish(), "failed");

    says(text(&report["message"]), &["already exists"]);
    assert_eq!(
        scene
            .server
            .value(&scene.live, "select count(*) from theirs"),
        "0"
    );
    assert_eq!(scene.beside(), Vec::<String>::new());
}

#[test]
fn in_place_has_nothing_to_restore_over() {
    let scene = without_live();

    let report = run(&creating(&scene, "method = \"in-place\""), "config");

    says(text(&report["hint"]), &["method = \"swap\""]);
    assert!(!is_there(&scene));
}

#[test]
fn a_live_database_that_is_gone_is_made_again_from_an_archive_that_was_restored_before() {
    let scene = without_live();
    let setup = creating(&scene, "unchanged = \"skip\"");
    run(&setup, "done");
    drop_live(&scene);

    run(&setup, "done");

    scene.is_new();
}

#[test]
fn before_load_leaves_the_last_copy_where_nothing_is_live() {
    // given: only a previous database
    let scene = Scene::with_archive();
    let setup = creating(&scene, "drop_previous = \"before-load\"");
    run(&setup, "done");
    let kept = scene.beside();
    drop_live(&scene);
    let bad = dump_of(
        "create table t (v text); insert into t values ('new');
         create function f(text) returns bool language plpgsql as $$ begin
             return current_database() like 'source%'; end $$;
         alter table t add check (f(v))",
        &["-Fc"],
    );
    scene.put("erp.zip", &zip().entry("erp.dump", bad).build());

    // when
    let planned = setup.run(&["run", "--dry-run"]).expect(0).stdout;
    run(&setup, "failed");

    // then
    assert!(!planned.contains("dropped before the load"), "{planned}");
    assert_eq!(kept.len(), 1);
    assert_eq!(scene.beside(), kept);
}

#[test]
fn an_undo_behind_a_database_that_was_made_again_rejects_the_archive_that_made_it() {
    // given: a previous database of an earlier swap
    let scene = Scene::new();
    scene.put_old("erp1.zip", &archive(), Duration::from_mins(10));
    let setup = creating(&scene, "");
    run(&setup, "done");
    let kept = scene.beside().remove(0);
    drop_live(&scene);
    scene.put("erp2.zip", &archive());

    // when
    let planned = setup.run(&["run", "--dry-run"]).expect(0).stdout;
    let made = run(&setup, "done");
    let undone = judged(&setup, &setup.run(&["undo", "--yes", "--json"]), "done");

    // then
    says(&planned, &["previous  none", &kept]);
    says(&made["steps"].to_string(), &["was made", &kept]);
    assert_eq!(undone["archive"]["name"], "erp2.zip");
    assert_eq!(scene.row(), "old");
}

#[test]
fn what_others_kept_from_its_first_name_goes_live_by_swap() {
    // given: somebody is connected to what was loaded
    let scene = without_live();
    let flag = scene.store.path().join("flag");
    let wait = format!(
        "sessions = \"fail\"\nbefore_swap = [[\"sh\", \"-c\", \"test -e {0}.once && exit; touch {0} {0}.once; while [ -e {0} ]; do sleep 0.05; done\"]]",
        flag.display()
    );
    let setup = creating(&scene, &wait);
    let running = setup.start(&["run", "--json"]);
    until("the hook runs", || flag.exists());
    let scratch = scene.beside().remove(0);
    let curious = scene.server.session(&scratch, "select 1");
    fs::remove_file(&flag).expect("the flag");
    let report = judged(&setup, &running.finish(), "failed");
    says(text(&report["hint"]), &["backupctl swap erp"]);
    drop(curious);

    // when
    let planned = setup.run(&["swap", "--dry-run"]).expect(0).stdout;
    let swapped = judged(&setup, &setup.run(&["swap", "--yes", "--json"]), "done");

    // then
    says(&planned, &["previous  none"]);
    scene.is_new();
    assert_eq!(scene.beside(), Vec::<String>::new());
    assert!(swapped["database"]["previous"].is_null(), "{swapped}");
}

#[test]
fn what_is_made_belongs_to_whoever_restores_also_where_the_objects_do_not() {
    let scene = without_live();
    let role = scene.server.role("keeper", "NOLOGIN");
    let setup = creating(&scene, &format!("owner = \"role:{role}\""));

    run(&setup, "done");

    let owner = format!(
        "select pg_get_userbyid(datdba) from pg_database where datname = '{}'",
        scene.live
    );
    assert_eq!(scene.server.value("postgres", &owner), "postgres");
    let table = "select tableowner from pg_tables where tablename = 't'";
    assert_eq!(scene.server.value(&scene.live, table), role);
}
