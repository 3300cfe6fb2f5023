//! A whole dump beside the live database.

use super::{add, identity, journal, look, text, unzipped};
use crate::support::postgres::Postgres;
use crate::support::shop::Shop;

#[test]
fn a_dump_is_loaded_under_a_name_of_its_own_and_live_is_untouched() {
    // given
    let shop = unzipped("");
    let hooks = shop.setup.path("hooked");
    let touch = format!("[[\"touch\", \"{}\"]]", hooks.display());
    add(
        &shop,
        &format!("before_swap = {touch}\nafter_swap = {touch}"),
    );
    let (before, name) = (identity(&shop), look(&shop));

    // when
    let report = shop
        .run(&["restore", "--as", &name, "--json"])
        .expect(0)
        .json();

    // then
    assert_eq!(shop.server.value(&name, "select v from t"), "new");
    assert_eq!(identity(&shop), before);
    assert_eq!(shop.databases(), [shop.live.clone(), name.clone()]);
    assert!(!hooks.exists(), "a hook ran");
    assert_eq!(report["command"], "restore");
    assert_eq!(report["verdict"], "done");
    assert_eq!(report["database"]["name"], name.as_str());
    assert_eq!(report["database"]["beside"], shop.live.as_str());
    assert_eq!(report["archive"]["name"], "a.zip");
    let steps = report["steps"].as_array().expect("steps");
    let steps: Vec<&str> = steps.iter().map(|step| text(&step["step"])).collect();
    assert_eq!(steps, ["network", "restore", "hold", "check"]);
    assert!(
        report["compared"]["lost"].is_null() && report["lost"].is_null(),
        "{report}"
    );
    assert!(
        !report["tables"].as_array().expect("rows").is_empty(),
        "{report}"
    );
    assert_eq!(journal(&shop), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        shop.setup.reports().pop().expect("a report")["run"],
        report["run"]
    );
}

#[test]
fn its_comment_says_what_it_is_and_only_owners_may_connect() {
    let shop = unzipped("");
    let name = look(&shop);
    let reader = shop.server.role("reader", "LOGIN");

    shop.run(&["restore", "--as", &name, "--expires", "12h"])
        .expect(0);

    let of = |sql: &str| {
        shop.server
            .value("postgres", &sql.replace("$1", &format!("'{name}'")))
    };
    let comment =
        of("select shobj_description(oid, 'pg_database') from pg_database where datname = $1");
    for words in [
        "backupctl restore --drop",
        "\"job\":\"erp\"",
        "\"a.zip\"",
        &shop.live,
    ] {
        assert!(comment.contains(words), "{words}: {comment}");
    }
    let (_, json) = comment.split_once(": ").expect("a sentence");
    let (_, json) = json.split_once(". ").expect("a sentence");
    let stamp: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let at = |key: &str| -> jiff::Timestamp {
        text(&stamp["backupctl_beside"][key])
            .parse()
            .expect("a time")
    };
    assert_eq!(at("expires").duration_since(at("since")).as_hours(), 12);
    let may = of(&format!(
        "select has_database_privilege('{reader}', $1, 'CONNECT')"
    ));
    assert_eq!(may, "f");
}

#[test]
fn the_text_says_what_was_loaded_and_how_it_goes_away() {
    let shop = unzipped("");
    let name = look(&shop);

    let said = shop.run(&["restore", "--as", &name]).expect(0).stdout;

    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = format!(
        "`{name}` is loaded beside `{}`, which is untouched.",
        shop.live
    );
    assert!(said.starts_with(&start), "{said}");
    assert!(
        said.contains(&format!("backupctl restore erp --drop {name}")),
        "{said}"
    );
}

#[test]
fn a_check_that_fails_makes_the_verdict_and_the_database_stays() {
    let shop = unzipped("[[restores.erp.checks]]\nsql = \"select count(*) from t\"\nat_least = 7");
    let (before, name) = (identity(&shop), look(&shop));

    let report = shop
        .run(&["restore", "--as", &name, "--json"])
        .expect(10)
        .json();

    assert_eq!(report["verdict"], "failed");
    assert_eq!(report["checks"][0]["found"], "1");
    assert!(
        text(&report["hint"]).contains("stays all the same"),
        "{report}"
    );
    assert_eq!(shop.server.value(&name, "select v from t"), "new");
    assert_eq!(identity(&shop), before);
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
    assert_eq!(shop.databases(), [shop.live.as_str()]);
}

#[test]
fn after_load_runs_and_a_load_that_fails_leaves_no_database_of_that_name() {
    let shop = unzipped("after_load = [\"more.sql\"]");
    let (name, file) = (look(&shop), shop.setup.path("more.sql"));
    let before = identity(&shop);

    std::fs::write(&file, "select 1/0;").expect("more.sql");
    shop.run(&["restore", "--as", &name]).expect(10);
    assert_eq!(shop.databases(), [shop.live.as_str()]);
    std::fs::write(&file, "create table more ();").expect("more.sql");
    shop.run(&["restore", "--as", &name]).expect(0);

    assert_eq!(shop.server.value(&name, "select count(*) from more"), "0");
    assert_eq!(identity(&shop), before);
}

#[test]
fn a_dry_run_says_the_plan_and_makes_nothing() {
    let shop = unzipped("");
    let (before, name) = (shop.databases(), look(&shop));
    let reports = shop.setup.reports();

    let said = shop.run(&["restore", "--as", &name, "-n"]).expect(0).stdout;

    for words in [
        &format!("`{}` on 127.0.0.1, which stays as it is", shop.live),
        &format!("`{name}`, offered to be dropped after 7 d"),
    ] {
        assert!(said.contains(words.as_str()), "{words}: {said}");
    }
    assert_eq!(shop.databases(), before);
    assert_eq!(shop.setup.reports(), reports);
}

#[test]
fn an_in_place_job_and_one_that_holds_load_beside_as_well() {
    for lines in [
        "method = \"in-place\"",
        "swap = \"hold\"",
        "drop_previous = \"before-load\"",
    ] {
        let shop = unzipped(lines);
        let (before, name) = (identity(&shop), look(&shop));

        shop.run(&["restore", "--as", &name]).expect(0);

        assert_eq!(
            shop.server.value(&name, "select v from t"),
            "new",
            "{lines}"
        );
        assert_eq!(identity(&shop), before, "{lines}");
    }
}

#[test]
fn a_job_that_streams_loads_a_file_beside() {
    let shop = Shop::new("stream = true\nkeep_archives = 0");
    shop.offer("a.zip", "new", 10);
    let (name, file) = (look(&shop), shop.store.path().join("a.zip"));
    let file = file.display().to_string();

    shop.run(&["restore", "--as", &name, "--file", &file])
        .expect(0);

    assert_eq!(shop.server.value(&name, "select v from t"), "new");
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_live_database_that_is_still_to_be_made_stays_unmade() {
    let shop = unzipped("");
    shop.server
        .sql("postgres", &format!("drop database {}", shop.live));
    let name = look(&shop);

    let refused = shop.run(&["restore", "--as", &name]).expect(3);
    assert!(
        refused.stderr.contains("there is no database")
            || refused.stdout.contains("there is no database"),
        "{refused}"
    );
    super::set(
        &shop,
        "[databases.erp.postgres]",
        "[databases.erp.postgres]\ncreate = true",
    );
    shop.run(&["restore", "--as", &name]).expect(0);

    assert_eq!(shop.databases(), [name.as_str()]);
    assert_eq!(shop.server.value(&name, "select v from t"), "new");
}

#[test]
fn what_only_a_swap_would_stumble_over_is_not_in_the_way() {
    // given: a slot on the live database, for which a restore is refused
    let server = Postgres::start("wal_level = logical");
    let live = server.database("shop");
    server.sql(
        &live,
        "create table t (v text); insert into t values ('old')",
    );
    server.value(
        &live,
        "select pg_create_logical_replication_slot('s', 'test_decoding')",
    );
    let dump = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(dump.path(), server.dump(&live, &["-Fc"])).expect("a dump");
    let file = dump.path().display().to_string();
    let store = tempfile::tempdir().expect("a directory");
    let setup = crate::support::program::Setup::new()
        .local(store.path())
        .database(&server, &live)
        .restore("")
        .write();
    let refused = setup.run(&["restore", "--file", &file]).expect(3);
    assert!(refused.stdout.contains("replication slot"), "{refused}");

    setup
        .run(&["restore", "--file", &file, "--as", "look"])
        .expect(0);

    assert_eq!(server.value("look", "select v from t"), "old");
}
