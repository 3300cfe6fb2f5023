//! What other runs make of a database to be looked at: it counts for nothing, and is offered to be dropped once its day is over.

use rustix::process::Signal;

use super::{add, identity, journal, look, text, until, unzipped};
use crate::support::shop::Shop;

#[test]
fn it_has_not_gone_live_for_unchanged_nor_for_a_restore_again() {
    // given
    let shop = unzipped("unchanged = \"skip\"");
    let name = look(&shop);
    shop.run(&["restore", "--as", &name]).expect(0);

    // when: the same archive is refreshed for the first time
    let report = shop.refreshed();

    // then
    assert_eq!(shop.row(), "new");
    assert!(
        report["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .any(|step| step["step"] == "swap")
    );
    let warnings = report["warnings"].to_string();
    assert!(!warnings.contains("already restored"), "{warnings}");

    // and: what is live since is not forgotten by another look
    let dump = shop.setup.path("new.dump");
    std::fs::write(&dump, shop.server.dump(&shop.live, &["-Fc"])).expect("a dump");
    let again = format!("{name}_2");
    shop.run(&[
        "restore",
        "--as",
        &again,
        "--file",
        &dump.display().to_string(),
    ])
    .expect(0);
    let report = shop.refreshed();
    assert!(
        text(&report["message"]).starts_with("Nothing to do"),
        "{report}"
    );
}

#[test]
fn it_is_no_measure_for_the_size_of_the_next_archive() {
    // given: one that is many times as large
    let shop = Shop::new("min_size = \"90%\"");
    let words = std::iter::repeat_with(|| format!("{:016x}", rand::random::<u64>()));
    let noise = words.take(2000).collect::<Vec<_>>().concat();
    shop.offer("a.zip", &noise, 10);
    shop.run(&["fetch"]).expect(0);
    shop.run(&["unzip"]).expect(0);
    shop.run(&["restore", "--as", &look(&shop)]).expect(0);

    // when
    shop.offer("a.zip", "new", 5);
    shop.refreshed();

    // then
    assert_eq!(shop.row(), "new");
    shop.offer("a.zip", &noise, 3);
    shop.refreshed();
    shop.offer("a.zip", "new", 1);
    shop.run(&["run"]).expect(7);
}

#[test]
fn what_waits_for_swap_is_not_outdated_by_it() {
    let shop = unzipped("swap = \"hold\"");
    shop.refreshed();
    let name = look(&shop);
    shop.run(&["unzip"]).expect(0);
    shop.run(&["restore", "--as", &name]).expect(0);

    shop.run(&["swap", "--yes"]).expect(0);

    assert_eq!(shop.row(), "new");
}

#[test]
fn once_its_day_is_over_every_run_says_how_to_drop_it_and_none_does() {
    // given
    let shop = unzipped("");
    let name = format!("{} look", look(&shop));
    shop.run(&["restore", "--as", &name, "--expires", "1h"])
        .expect(0);
    let offered = |report: &serde_json::Value| {
        let command = format!("backupctl restore erp --drop '{name}'");
        report["warnings"].to_string().contains(&command)
    };
    assert!(!offered(&shop.refreshed()), "before its day is over");

    // when
    let quoted = format!("\"{name}\"");
    let comment = shop.server.value(
        "postgres",
        &format!(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = '{name}'"
        ),
    );
    let (head, rest) = comment.split_once("\"expires\":\"").expect("an expiry");
    let (_, tail) = rest.split_once('"').expect("an expiry");
    let past = format!("{head}\"expires\":\"2026-01-01T00:00:00Z\"{tail}");
    shop.server.sql(
        "postgres",
        &format!("comment on database {quoted} is '{past}'"),
    );

    // then
    assert!(offered(&shop.refreshed()), "after its day");
    let other = shop
        .run(&["restore", "--as", &look(&shop), "--json"])
        .expect(0)
        .json();
    assert!(offered(&other), "{other}");
    assert!(shop.databases().contains(&name));
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
    assert!(!offered(&shop.refreshed()));
}

#[test]
fn a_load_that_is_killed_leaves_nothing_of_that_name_and_the_next_run_cleans_up() {
    // given
    let shop = unzipped("after_load = [\"slow.sql\"]");
    let (before, name) = (identity(&shop), look(&shop));
    std::fs::write(shop.setup.path("slow.sql"), "select pg_sleep(600);").expect("slow.sql");
    let running = shop.setup.start(&["restore", "--as", &name]);
    let scratch = format!("{}\\_new\\_%", shop.live);
    until("the load begins", || {
        shop.server.databases_like(&scratch).len() == 1
    });

    // when
    running.signal(Signal::KILL);
    running.finish();

    // then
    assert_eq!(
        shop.server.databases_like(&format!("{name}%")),
        Vec::<String>::new()
    );
    assert_eq!(identity(&shop), before);
    std::fs::write(shop.setup.path("slow.sql"), "select 1;").expect("slow.sql");
    shop.run(&["restore", "--as", &name]).expect(0);
    assert_eq!(shop.databases(), [shop.live.clone(), name]);
    assert!(journal(&shop).is_empty());
}

#[test]
fn a_load_that_is_interrupted_cleans_up_after_itself() {
    let shop = unzipped("after_load = [\"slow.sql\"]");
    let (before, name) = (identity(&shop), look(&shop));
    std::fs::write(shop.setup.path("slow.sql"), "select pg_sleep(600);").expect("slow.sql");
    let running = shop.setup.start(&["restore", "--as", &name]);
    let scratch = format!("{}\\_new\\_%", shop.live);
    until("the load begins", || {
        shop.server.databases_like(&scratch).len() == 1
    });

    running.signal(Signal::TERM);
    running.finish().expect(143);

    assert_eq!(shop.databases(), [shop.live.as_str()]);
    assert_eq!(identity(&shop), before);
}

#[test]
fn a_signal_while_its_checks_run_leaves_it_to_be_looked_at() {
    let shop = unzipped("");
    add(
        &shop,
        "[[restores.erp.checks]]\nsql = \"select count(*) from pg_sleep(600)\"\nat_least = 1",
    );
    let name = look(&shop);
    let running = shop.setup.start(&["restore", "--as", &name, "--json"]);
    until("its checks run", || {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname = '{name}' and query like '%pg_sleep%'"
        );
        shop.server.value("postgres", &sql) == "1"
    });

    running.signal(Signal::TERM);
    let report = running.finish().expect(143).json();

    assert!(!report["database"]["expires"].is_null(), "{report}");
    assert_eq!(shop.server.value(&name, "select v from t"), "new");
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
}

#[test]
fn one_that_could_not_even_begin_says_nothing_of_the_live_database_to_status() {
    // given
    let shop = unzipped("");
    shop.refreshed();
    let port = format!("port = {}", shop.server.port);
    super::set(&shop, &port, "port = 1");
    add(&shop, "[network]\nattempts = 1\ntimeout = \"1s\"");

    // when
    let name = look(&shop);
    shop.run(&["restore", "--as", &name]).expect(5);
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(5);

    // then
    let state = shop.run(&["status", "--json"]).expect(0).json();
    assert_eq!(state["last_run"]["command"], "run", "{state}");
}
