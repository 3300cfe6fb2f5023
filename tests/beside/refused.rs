//! Names that are not taken, tables that are not there, and who is in the way.

use super::{identity, look, text, unzipped};
use crate::support::shop::Shop;

fn refused(shop: &Shop, arguments: &[&str], code: i32) -> String {
    let before = (identity(shop), shop.databases());
    let ran = shop.run(arguments).expect(code);
    assert_eq!((identity(shop), shop.databases()), before, "{ran}");
    format!("{}{}", ran.stdout, ran.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_name_that_can_be_none_is_a_wrong_command_line() {
    let shop = unzipped("");
    let long = "x".repeat(64);
    let previous = format!("{}_before_20261120_020000_7f3a", shop.live);
    for (name, why) in [
        ("", "empty"),
        ("a\nb", "control"),
        (long.as_str(), "64 bytes"),
        (shop.live.as_str(), "the live database"),
        ("postgres", "the server's own"),
        ("template1", "the server's own"),
        (previous.as_str(), "looks like"),
        ("x_new_20261120_020000_7f3a", "looks like"),
    ] {
        for option in ["--as", "--drop"] {
            let said = refused(&shop, &["restore", option, name], 2);
            assert!(said.contains(why), "{option} {name}: {said}");
        }
    }
    assert!(
        shop.setup
            .reports()
            .iter()
            .all(|report| report["command"] != "restore")
    );
}

#[test]
fn options_that_contradict_each_other_are_a_wrong_command_line() {
    let shop = unzipped("");
    for arguments in [
        ["restore", "--table", "t", "--yes"].as_slice(),
        &["restore", "--as", "a", "--drop", "b"],
        &["restore", "--drop", "b", "--file", "x"],
        &["restore", "--expires", "7d"],
        &["restore", "--as", "a", "--expires", "soon"],
        &["restore", "--as", "a", "--expires", "0s"],
        &["restore", "--as", "a", "--table", "a.b.c"],
        &["restore", "--as", "a", "--table", "\"a"],
    ] {
        refused(&shop, arguments, 2);
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_ours_is_said_to_be_ours() {
    let shop = unzipped("");
    let name = look(&shop);
    shop.server
        .sql("postgres", &format!("create database {name}"));

    let said = refused(&shop, &["restore", "--as", &name], 3);
    assert!(said.contains("choose another name"), "{said}");

    shop.server
        .sql("postgres", &format!("drop database {name}"));
    shop.run(&["restore", "--as", &name]).expect(0);
    let said = refused(&shop, &["restore", "--as", &name], 3);
    assert!(
        said.contains(&format!("backupctl restore erp --drop {name}")),
        "{said}"
    );
}

#[test]
fn a_name_that_somebody_takes_meanwhile_fails_the_load_and_stays_theirs() {
    // given: somebody makes the database while the load is at work
    let shop = unzipped("after_load = [\"slow.sql\"]");
    let name = look(&shop);
    let waits = format!(
        "do $$ begin while not exists (select from pg_database where datname = '{name}') loop perform pg_sleep(0.01); end loop; end $$;"
    );
    std::fs::write(shop.setup.path("slow.sql"), waits).expect("slow.sql");
    let scratch = format!("{}\\_new\\_%", shop.live);
    let running = shop.setup.start(&["restore", "--as", &name, "--json"]);
    super::until("the load begins", || {
        shop.server.databases_like(&scratch).len() == 1
    });
    shop.server
        .sql("postgres", &format!("create database {name}"));

    // when
    let report = running.finish().expect(10).json();

    // then
    assert!(
        text(&report["message"]).contains("already exists"),
        "{report}"
    );
    assert_eq!(shop.databases(), [shop.live.clone(), name.clone()]);
    let comment = "select shobj_description(oid, 'pg_database') is null from pg_database where datname = current_database()";
    assert_eq!(shop.server.value(&name, comment), "t");
}

#[test]
fn whoever_holds_the_name_is_waited_for_by_nobody() {
    let shop = unzipped("");
    let name = look(&shop);
    let key = format!(
        "select pg_advisory_lock(('x' || left(encode(sha256('backupctl restores into {name}'), 'hex'), 16))::bit(64)::int8)"
    );
    let _held = shop.server.session("postgres", &key);

    let said = refused(&shop, &["restore", "--as", &name], 4);

    assert!(
        said.contains(&format!("another restore into `{name}` is active")),
        "{said}"
    );
}

#[test]
fn a_run_of_the_job_meanwhile_is_locked_and_a_restore_from_elsewhere_is_not() {
    let shop = unzipped("");
    let name = look(&shop);
    // As a restore on another machine holds the live database.
    let live = &shop.live;
    let key = format!(
        "select pg_advisory_lock(('x' || left(encode(sha256('backupctl restores into {live}'), 'hex'), 16))::bit(64)::int8)"
    );
    let _held = shop.server.session("postgres", &key);
    shop.run(&["run"]).expect(4);

    shop.run(&["restore", "--as", &name]).expect(0);

    assert_eq!(shop.server.value(&name, "select v from t"), "new");
}
