//! On the job's server: in a scratch database beside the live one.

use std::fs;

use serde_json::{Value, json};

use super::{nothing_is_left, offer, reports, says, step};
use crate::support::postgres::Postgres;
use crate::support::program::{Ran, Setup};
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};
use crate::support::sshd::Sshd;

fn drilled(shop: &Shop) -> Value {
    shop.run(&["drill", "--json"]).expect(0).json()
}

/// What a drill must not change.
fn traces(shop: &Shop) -> (String, String, Vec<String>) {
    let roles = shop.server.value(
        "postgres",
        "select count(*) from pg_roles where rolname like 'drill%'",
    );
    (
        shop.server.content_hash(&shop.live),
        roles,
        shop.databases(),
    )
}

#[test]
fn it_leaves_nothing_but_its_evidence() {
    // given
    let shop = Shop::new("[[restores.erp.checks]]\nsql = \"select count(*) from t\"\nequals = 1");
    shop.offer("erp.zip", "new", 10);
    let before = traces(&shop);

    // when
    let report = drilled(&shop);

    // then
    assert_eq!(traces(&shop), before);
    assert_eq!(shop.databases(), [shop.live.as_str()]);
    nothing_is_left(&shop.setup);
    let drill = &report["drill"];
    assert_eq!(drill["where"], "server");
    assert_eq!(drill["origin"], "store");
    assert_eq!(drill["dropped"], true);
    assert_eq!(drill["rows"], 1);
    assert_eq!(
        drill["tables"],
        json!([{ "schema": "public", "name": "t", "rows": 1 }])
    );
    assert_eq!(drill["objects"]["tables"], 1);
    assert_eq!(report["archive"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(report["checks"][0]["ok"], true);
    let seconds = |name: &str| step(&report, name)["seconds"].as_f64().expect("seconds");
    let sum: f64 = ["fetch", "unzip", "restore", "check"]
        .map(seconds)
        .iter()
        .sum();
    let told = drill["time_to_restore_seconds"].as_f64().expect("a time");
    assert!((told - sum).abs() < 0.002, "{told} of {sum}");
    // The rows of live beside it, since there is one.
    assert_eq!(report["table_totals"]["live_rows"], 1);
}

#[test]
fn it_is_no_run_for_status_and_for_what_is_restored_next() {
    let shop = Shop::new("unchanged = \"stale\"");
    shop.offer("erp.zip", "new", 10);
    drilled(&shop);

    let state = shop.run(&["status", "--json"]).expect(7).json();
    assert_eq!(state["last_run"], Value::Null);
    assert_eq!(state["last_success"], Value::Null);
    assert_eq!(state["last_good_drill"]["verdict"], "done");
    assert_eq!(state["last_good_drill"]["archive"], "erp.zip");
    // Were it taken for one, nothing would be new.
    assert_eq!(shop.refreshed()["verdict"], "done");
    assert_eq!(shop.row(), "new");
    // And what is live already is drilled all the same.
    assert_eq!(drilled(&shop)["verdict"], "done");
    shop.run(&["run"]).expect(7);
}

#[test]
fn what_a_run_has_kept_is_not_fetched_again_unless_it_has_rotted() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 10);
    let sha256 = shop.refreshed()["archive"]["sha256"].clone();
    let kept = shop.setup.path("state/archives/erp");
    let mut kept = fs::read_dir(kept)
        .expect("kept")
        .flatten()
        .map(|file| file.path());
    let kept = kept.find(|path| path.extension().is_some_and(|e| e == "zip"));

    let report = drilled(&shop);
    assert_eq!(report["drill"]["origin"], "kept");
    assert_eq!(report["archive"]["sha256"], sha256);

    let kept = kept.expect("an archive");
    let mut bytes = fs::read(&kept).expect("the archive");
    bytes[60] ^= 1;
    fs::write(&kept, bytes).expect("another archive");
    let report = drilled(&shop);
    assert_eq!(report["drill"]["origin"], "store");
    assert_eq!(report["archive"]["sha256"], sha256);
    says(&report, "warnings", "is not what was fetched any more");
}

#[test]
fn an_archive_that_nothing_is_to_keep_is_gone_after_it() {
    let shop = Shop::new("keep_archives = 0");
    shop.offer("erp.zip", "new", 10);
    let report = drilled(&shop);
    assert_eq!(report["archive"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(
        super::names_in(&shop.setup.path("state/archives/erp")),
        [""; 0]
    );
}

#[test]
fn a_check_that_fails_is_told_and_all_is_dropped() {
    let checks = "[[drill.checks]]\nsql = \"select count(*) from t\"\nat_least = 2\n\
                  [[drill.checks]]\njob = \"erp\"\nsql = \"select v from t\"\nequals = \"new\"";
    let shop = Shop::with("", |setup| setup.part(checks));
    shop.offer("erp.zip", "new", 10);

    let ran = shop.run(&["drill"]).expect(10);

    assert!(
        ran.stdout.replace('\n', " ").starts_with(
            "Drill: A check of the restored data did not hold; the live database was not touched."
        ),
        "{ran}"
    );
    let report = reports(&shop.setup, "drill").remove(0);
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(2));
    says(&report, "hint", "would not pass");
    assert_eq!(report["drill"]["dropped"], true);
    assert_eq!(shop.databases(), [shop.live.as_str()]);
    nothing_is_left(&shop.setup);
    let state = shop.run(&["status", "--json"]).expect(7).json();
    assert_eq!(state["last_good_drill"], Value::Null);
    assert_eq!(state["last_drill"]["verdict"], "failed");
}

#[test]
fn the_live_database_need_not_be_there() {
    // given
    let server = Postgres::shared();
    let store = tempfile::tempdir().expect("a store");
    let source = server.database("source");
    server.sql(&source, "create table t as select generate_series(1, 7) n");
    offer(store.path(), "erp.zip", server.dump(&source, &["-Fc"]));
    let checks = "[[restores.erp.checks]]\nsql = \"select count(*) from t\"\nat_least_of_live = \"80%\"\n\
                  [[restores.erp.checks]]\nsql = \"select count(*) from t\"\nequals = 7";
    let setup = Setup::new()
        .local(store.path())
        .database(server, "drill_nowhere");
    let setup = setup.restore(checks).write();

    // when
    let report = setup.run(&["drill", "--json"]).expect(0).json();

    // then
    says(
        &report,
        "warnings",
        "SKIPPED, since there is none here: 1 of 2",
    );
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.databases_like("drill\\_nowhere%"), [""; 0]);
}

fn fits_80_columns(ran: &Ran) {
    for line in ran.stdout.lines() {
        let is_one_word = line.split_whitespace().count() <= 3;
        assert!(line.chars().count() <= 80 || is_one_word, "{line}\n{ran}");
    }
}

#[test]
fn it_mails_what_it_prints_with_the_hosts_key_and_the_largest_tables() {
    // given
    let (sshd, smtp) = (Sshd::start(), Smtp::start(Options::default()));
    let server = Postgres::shared();
    let (source, live) = (server.database("source"), server.database("shop"));
    let tables: Vec<String> = (1..=14)
        .map(|n| format!("create table t{n} as select generate_series(1, {n}) n;"))
        .collect();
    server.sql(
        &source,
        &tables.join(
            "
",
        ),
    );
    let zip = crate::support::archives::zip().entry("erp.dump", server.dump(&source, &["-Fc"]));
    sshd.put("erp.zip", &zip.build());
    let setup = Setup::new()
        .sftp(&sshd)
        .database(server, &live)
        .mail(&smtp, &["ops@example.org"]);
    let setup = setup.restore("").write();

    // when
    let ran = setup.run(&["drill"]).expect(0);

    // then
    let mail = smtp.wait_for(1).remove(0);
    let subject = "Subject: [backupctl] erp: done";
    assert!(mail.data.contains(subject), "{}", mail.data);
    assert!(ran.stdout.starts_with("Drill: the backup of "), "{ran}");
    let sentence = ran
        .stdout
        .split("\n\n")
        .next()
        .expect("a sentence")
        .replace('\n', " ");
    assert!(
        sentence.contains("restores: 105 rows in 14 tables, in "),
        "{ran}"
    );
    for part in [
        "\nDrill\n",
        "SHA256:",
        "public.t14",
        "and 4 tables more",
        "tables 14, as the dump lists",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{ran}");
    }
    fits_80_columns(&ran);
    let report = reports(&setup, "drill").remove(0);
    assert_eq!(report["drill"]["tables"].as_array().map(Vec::len), Some(14));
    says(&report["drill"], "host_key", "SHA256:");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 10);
    let ran = shop.run(&["drill", "-n"]).expect(0);
    for part in [
        "where     on 127.0.0.1",
        "stays as it is",
        "scratch   ",
        "nothing was changed",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{ran}");
    }
    assert!(!shop.setup.path("state").exists());
    assert_eq!(shop.databases(), [shop.live.as_str()]);
}

#[test]
fn roles_that_only_a_run_would_create_are_not_left_on_the_server() {
    let server = Postgres::shared();
    let role = server.role("drillrole", "");
    let source = server.database("source");
    server.sql(
        &source,
        &format!("create table t (); alter table t owner to {role}"),
    );
    let dump = server.dump(&source, &["-Fc"]);
    server.sql(&source, "drop table t");
    server.sql("postgres", &format!("drop role {role}"));
    let shop = Shop::new("missing_roles = \"create\"");
    offer(shop.store.path(), "erp.zip", dump);

    let report = shop.run(&["drill", "--json"]).expect(3).json();

    says(&report, "message", &format!("role `{role}` is missing"));
    says(&report, "hint", "where = \\\"local\\\"");
    let there = format!("select count(*) from pg_roles where rolname = '{role}'");
    assert_eq!(server.value("postgres", &there), "0");
}

#[test]
fn an_older_or_a_stale_archive_is_taken_where_somebody_says_so() {
    let check = "[[drill.checks]]\nsql = \"select v from t\"\nequals = \"older\"";
    let shop = Shop::with("max_age = \"1h\"", |setup| setup.part(check));
    shop.offer("a.zip", "older", 180);
    shop.run(&["drill"]).expect(7);
    let report = shop
        .run(&["drill", "--accept", "stale", "--json"])
        .expect(0)
        .json();
    says(&report, "warnings", "taken although it is 3 h old");
    shop.offer("b.zip", "new", 10);
    let report = shop
        .run(&["drill", "--archive", "a.zip", "--json"])
        .expect(0)
        .json();
    assert_eq!(report["archive"]["name"], "a.zip");
}
