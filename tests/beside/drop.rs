//! `restore --drop NAME`.

use super::{identity, journal, look, text, unzipped};
use crate::support::shop::Shop;

fn loaded(lines: &str) -> (Shop, String) {
    let shop = unzipped(lines);
    let name = look(&shop);
    shop.run(&["restore", "--as", &name]).expect(0);
    (shop, name)
}

fn said(shop: &Shop, arguments: &[&str], code: i32) -> String {
    let ran = shop.run(arguments).expect(code);
    format!("{}{}", ran.stdout, ran.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_drop_ends_the_sessions_and_touches_nothing_else() {
    // given
    let (shop, name) = loaded("");
    let _session = shop.server.session(&name, "select 1");
    let before = identity(&shop);

    // when
    let report = shop
        .run(&["restore", "--drop", &name, "--yes", "--json"])
        .expect(0)
        .json();

    // then
    assert_eq!(shop.databases(), [shop.live.as_str()]);
    assert_eq!(identity(&shop), before);
    assert_eq!(report["command"], "restore");
    assert_eq!(report["verdict"], "done");
    assert_eq!(report["database"]["name"], name.as_str());
    let steps = report["steps"].as_array().expect("steps");
    let steps: Vec<&str> = steps.iter().map(|step| text(&step["step"])).collect();
    assert_eq!(steps, ["network", "drop"]);
    assert!(text(&report["message"]).contains("is dropped"), "{report}");
    assert!(journal(&shop).is_empty());
}

#[test]
fn without_a_terminal_and_without_yes_or_with_dry_run_nothing_is_dropped() {
    let (shop, name) = loaded("");
    let before = (shop.databases(), shop.setup.reports());

    let asked = said(&shop, &["restore", "--drop", &name], 2);
    assert!(asked.contains("--yes"), "{asked}");
    let planned = said(&shop, &["restore", "--drop", &name, "-n"], 0);

    for words in [
        &format!("drop `{name}`"),
        "from `a.zip`",
        "sessions 0 in it now",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    assert_eq!((shop.databases(), shop.setup.reports()), before);
}

#[test]
fn what_carries_no_stamp_of_its_own_name_is_never_dropped() {
    let (shop, name) = loaded("");
    let other = format!("{}_other", shop.live);

    // never ours
    shop.server
        .sql("postgres", &format!("create database {other}"));
    let refused = said(&shop, &["restore", "--drop", &other, "--yes"], 3);
    assert!(refused.contains("was not loaded by"), "{refused}");
    shop.server
        .sql("postgres", &format!("drop database {other}"));

    // renamed by somebody who wants to keep it
    shop.server.sql(
        "postgres",
        &format!("alter database {name} rename to {other}"),
    );
    let refused = said(&shop, &["restore", "--drop", &other, "--yes"], 3);
    assert!(refused.contains("renamed since"), "{refused}");

    // its stamp taken away
    shop.server.sql(
        "postgres",
        &format!("alter database {other} rename to {name}; comment on database {name} is 'mine'"),
    );
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert!(refused.contains("was not loaded by"), "{refused}");
    assert_eq!(shop.databases(), [shop.live.clone(), name]);
}

#[test]
fn a_template_and_one_beside_another_live_database_are_refused() {
    let (shop, name) = loaded("");
    let stamp = shop.server.value(
        "postgres",
        &format!(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = '{name}'"
        ),
    );

    shop.server.sql(
        "postgres",
        &format!("alter database {name} is_template true"),
    );
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert!(refused.contains("a template"), "{refused}");

    let other = stamp.replace(&format!("\"live\":\"{}\"", shop.live), "\"live\":\"other\"");
    shop.server.sql(
        "postgres",
        &format!(
            "alter database {name} is_template false; comment on database {name} is '{other}'"
        ),
    );
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert!(refused.contains("beside `other`"), "{refused}");
    assert_eq!(shop.databases(), [shop.live.clone(), name]);
}

#[test]
fn what_undo_and_swap_need_is_refused_also_under_another_name() {
    let (shop, name) = loaded("swap = \"hold\"");
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
    let held = shop.refreshed();
    let waits = text(&held["database"]["scratch"]).to_owned();
    shop.server.sql(
        "postgres",
        &format!("alter database {waits} rename to {name}"),
    );
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert!(refused.contains("waits for `backupctl swap`"), "{refused}");
    shop.server.sql(
        "postgres",
        &format!("alter database {name} rename to {waits}"),
    );

    shop.run(&["swap", "--yes"]).expect(0);
    let previous = shop.previous().remove(0);
    let refused = said(&shop, &["restore", "--drop", &previous, "--yes"], 2);
    assert!(refused.contains("looks like"), "{refused}");
    shop.server.sql(
        "postgres",
        &format!("alter database {previous} rename to {name}"),
    );
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert!(refused.contains("undo"), "{refused}");
    assert_eq!(shop.databases(), [shop.live.clone(), name]);
}

#[test]
fn a_mistyped_name_is_answered_with_the_one_that_is_there() {
    let (shop, name) = loaded("");

    let refused = said(
        &shop,
        &["restore", "--drop", &format!("{name}s"), "--yes"],
        3,
    );
    assert!(refused.contains(&format!("is it `{name}`?")), "{refused}");

    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert!(refused.contains("nothing is loaded beside"), "{refused}");
}

#[test]
fn a_prepared_transaction_in_it_is_told_before_anything_is_done() {
    // given: a prepared transaction keeps a database from being dropped
    let server = crate::support::postgres::Postgres::start("max_prepared_transactions = 2");
    let live = server.database("shop");
    server.sql(&live, "create table t (v text)");
    let store = tempfile::tempdir().expect("a directory");
    let dump = store.path().join("t.dump");
    std::fs::write(&dump, server.dump(&live, &["-Fc"])).expect("a dump");
    let setup = crate::support::program::Setup::new()
        .local(store.path())
        .database(&server, &live)
        .restore("")
        .write();
    let file = dump.display().to_string();
    setup
        .run(&["restore", "--as", "look", "--file", &file])
        .expect(0);
    server.sql("look", "begin; create table u (); prepare transaction 'p'");

    // when
    let report = setup
        .run(&["restore", "--drop", "look", "--yes", "--json"])
        .expect(10)
        .json();

    // then
    assert!(
        text(&report["message"]).contains("prepared transaction"),
        "{report}"
    );
    assert_eq!(server.databases_like("look%"), ["look"]);
    server.sql("look", "rollback prepared 'p'");
    setup.run(&["restore", "--drop", "look", "--yes"]).expect(0);
    assert_eq!(server.databases_like("look%"), Vec::<String>::new());
    assert_eq!(server.databases_like(&format!("{live}%")), [live]);
}

#[test]
fn a_session_that_may_not_be_ended_is_named_and_nothing_is_done() {
    // given: a role as managed services give it, and a superuser who looks
    let (shop, role) = managed();
    let name = look(&shop);
    shop.run(&["restore", "--as", &name]).expect(0);
    let looking = shop.server.session(&name, "select 1");

    // when
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 10);

    // then
    assert!(refused.contains("may not be ended"), "{refused}");
    assert_eq!(shop.server.value(&name, "select v from t"), "new");
    assert_eq!(shop.databases(), [shop.live.clone(), name.clone()]);
    drop(looking);
    let gone = format!("select count(*) from pg_stat_activity where datname = '{name}'");
    super::until("the session is gone", || {
        shop.server.value("postgres", &gone) == "0"
    });
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
    assert_eq!(shop.databases(), [shop.live.as_str()], "{role}");
}

fn managed() -> (Shop, String) {
    let shop = unzipped("owner = \"target\"\nprivileges = \"skip\"");
    let login = format!("LOGIN CREATEDB PASSWORD '{}'", shop.server.password);
    let role = shop.server.role("keeper", &login);
    let owned = format!("alter database {} owner to {role}", shop.live);
    shop.server.sql("postgres", &owned);
    super::set(&shop, "user = \"postgres\"", &format!("user = \"{role}\""));
    (shop, role)
}

#[test]
fn what_became_live_by_a_swap_carries_no_stamp_and_is_never_dropped() {
    // given: another installation has the name for its live database, and restores into it
    let (shop, name) = loaded("");
    let from = format!("name = \"{}\"", shop.live);
    let to = format!("name = \"{name}\"");
    super::set(&shop, &from, &to);
    shop.offer("b.zip", "newer", 1);
    shop.refreshed();
    super::set(&shop, &to, &from);

    // when
    let refused = said(&shop, &["restore", "--drop", &name, "--yes"], 3);

    // then
    assert!(refused.contains("was not loaded by"), "{refused}");
    assert_eq!(shop.server.value(&name, "select v from t"), "newer");

    // and: what it was before is not offered either, once it is live again
    super::set(&shop, &from, &to);
    shop.run(&["undo", "--yes"]).expect(0);
    super::set(&shop, &to, &from);
    said(&shop, &["restore", "--drop", &name, "--yes"], 3);
    assert_eq!(shop.server.value(&name, "select v from t"), "new");
}

#[test]
fn a_drop_needs_no_password_of_an_archive() {
    let (shop, name) = loaded("");
    super::add(&shop, "zip_password = \"env:NOWHERE\"");

    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);

    assert_eq!(shop.databases(), [shop.live.as_str()]);
}

#[test]
fn what_a_stamp_says_of_its_job_is_no_command() {
    // given: whoever owns a database writes its comment
    let (shop, name) = loaded("");
    let comment = format!(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = '{name}'"
    );
    let stamp = shop.server.value("postgres", &comment);
    let (head, rest) = stamp.split_once("\"expires\":\"").expect("an expiry");
    let (_, tail) = rest.split_once('"').expect("an expiry");
    let forged = format!("{head}\"expires\":\"2026-01-01T00:00:00Z\"{tail}");
    let forged = forged.replace("\"job\":\"erp\"", "\"job\":\"erp; touch x #\"");
    let sql = format!("comment on database {name} is '{forged}'");
    shop.server.sql("postgres", &sql);

    // when
    let offered = shop.refreshed()["warnings"].to_string();
    let taken = said(&shop, &["restore", "--as", &name], 3);

    // then
    for text in [offered, taken] {
        assert!(text.contains("restore 'erp; touch x #' --drop"), "{text}");
    }
}

#[test]
fn one_that_is_restored_into_in_place_is_told_to_lose_its_stamp() {
    let (shop, name) = loaded("method = \"in-place\"");
    let from = format!("name = \"{}\"", shop.live);
    super::set(&shop, &from, &format!("name = \"{name}\""));

    let remedy = format!("COMMENT ON DATABASE \"{name}\" IS NULL;");
    let told = said(&shop, &["run"], 0);
    assert!(told.contains(&remedy), "{told}");

    shop.server.sql("postgres", &remedy);
    let told = said(&shop, &["run"], 0);
    assert!(!told.contains("COMMENT ON DATABASE"), "{told}");
}
