//! What takes how much room on the server: the budget of a database, what an estimate rests on, and what is free where.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::archives::zip;
use crate::support::program::{Ran, Setup, binary};
use crate::support::shop::Shop;

const BEFORE: &str = "drop_previous = \"before-load\"";

/// The configuration with one line exchanged.
fn set(shop: &Shop, from: &str, to: &str) {
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    assert!(config.contains(from), "{from}\n{config}");
    fs::write(path, config.replace(from, to)).expect("config.toml");
}

/// With another line in `[restores.erp]`.
fn job(shop: &Shop, line: &str) {
    let from = "[restores.erp]\n";
    set(shop, from, &format!("{from}{line}\n"));
}

/// With this budget, whatever it was before.
fn budget(shop: &Shop, size: &str) {
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    let kept = config
        .lines()
        .filter(|line| !line.starts_with("max_server"));
    let lines: Vec<&str> = kept.collect();
    fs::write(path, lines.join("\n") + "\n").expect("config.toml");
    let from = "[databases.erp.postgres]\n";
    set(
        shop,
        from,
        &format!("{from}max_server_bytes = \"{size}\"\n"),
    );
}

fn size(shop: &Shop, name: &str) -> u64 {
    let sql = format!("select pg_database_size('{name}')");
    let bytes = shop.server.value("postgres", &sql);
    bytes.parse().expect("a number")
}

/// So many times the live database's size, in percent.
fn times_live(shop: &Shop, percent: u64) -> String {
    format!("{} B", size(shop, &shop.live) * percent / 100)
}

fn report(ran: &Ran) -> Value {
    ran.json()
}

fn says(text: &Value, words: &[&str]) {
    let text = text.as_str().expect("a text");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

/// Two copies live and set aside, one measured run, and a newer archive.
fn after_one_night(lines: &str) -> Shop {
    let shop = Shop::new(lines);
    shop.offer("one.zip", "one", 30);
    shop.refreshed();
    shop.offer("two.zip", "two", 20);
    shop
}

/// What `max_server_bytes` is to be raised to, by the hint.
fn raised(report: &Value) -> String {
    let hint = report["hint"].as_str().expect("a hint");
    let (_, rest) = hint.split_once("raise `max_server_bytes` to ").expect(hint);
    rest.split_once(" or more").expect(hint).0.to_owned()
}

#[test]
fn a_budget_that_the_peak_would_pass_ends_the_run_before_the_download_and_each_remedy_helps() {
    // given: room for two copies, not for three
    let shop = after_one_night("");
    budget(&shop, &times_live(&shop, 250));
    let before = shop.databases();

    // when
    let dry = shop.run(&["run", "-n"]).expect(3);
    let refused = report(&shop.run(&["run", "--json"]).expect(3));

    // then
    for words in ["at the peak", "scratch about", "previous", "budget"] {
        assert!(dry.stdout.contains(words), "{words}: {dry}");
    }
    let parts = [
        "max_server_bytes",
        "live 7.",
        "scratch about",
        "previous 7.",
    ];
    says(&refused["message"], &parts);
    says(&refused["hint"], &[BEFORE]);
    assert!(refused["archive"]["sha256"].is_null(), "{refused}");
    assert_eq!(shop.databases(), before);
    assert_eq!(shop.row(), "one");

    // when: each remedy by itself
    budget(&shop, &raised(&refused));
    shop.run(&["run", "-n"]).expect(0);
    budget(&shop, &times_live(&shop, 250));
    job(&shop, BEFORE);
    let planned = shop.run(&["run", "-n"]).expect(0).stdout;
    assert!(!planned.contains("previous 7."), "{planned}");
    shop.refreshed();

    // then
    assert_eq!(shop.row(), "two");
}

#[test]
fn with_more_than_one_previous_database_the_hint_says_how_many_there_is_room_for() {
    let shop = after_one_night("keep_previous = 3");
    shop.refreshed();
    shop.offer("three.zip", "three", 10);
    budget(&shop, &times_live(&shop, 350));

    let refused = report(&shop.run(&["run", "--json"]).expect(3));

    says(&refused["message"], &["previous (2) 1"]);
    says(&refused["hint"], &["keep_previous = 2` and `drop_previous"]);
    set(
        &shop,
        "keep_previous = 3",
        &format!("keep_previous = 2\n{BEFORE}"),
    );
    shop.refreshed();
    assert_eq!(shop.previous().len(), 2);
}

#[test]
fn what_waits_for_a_swap_counts_whoever_has_prepared_it() {
    // given
    let other = "[restores.other]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"*.zip\"\nsettle = \"0s\"\nswap = \"hold\"\n";
    let shop = Shop::with("swap = \"hold\"", |setup| setup.part(other));
    shop.offer("one.zip", "one", 30);
    shop.run(&["run", "erp"]).expect(0);
    budget(&shop, &times_live(&shop, 250));

    // when
    let refused = report(&shop.run(&["run", "erp", "--json"]).expect(3));
    says(&refused["message"], &["waiting for swap 7."]);
    says(&refused["hint"], &[BEFORE]);
    let theirs = report(&shop.run(&["run", "other", "--json"]).expect(3));

    // then: its own is dropped first, another job's is not
    says(&theirs["hint"], &["`backupctl swap erp`"]);
    job(&shop, BEFORE);
    shop.run(&["run", "erp", "-n"]).expect(0);
    set(
        &shop,
        "[restores.other]\n",
        &format!("[restores.other]\n{BEFORE}\n"),
    );
    shop.run(&["run", "other", "-n"]).expect(3);
}

#[test]
fn in_place_needs_room_for_the_new_rows_beside_the_old_ones() {
    let shop = Shop::new("method = \"in-place\"");
    shop.offer("one.zip", "one", 30);
    budget(&shop, &times_live(&shop, 150));

    let refused = report(&shop.run(&["run", "--json"]).expect(3));

    says(&refused["message"], &["new beside old rows"]);
    assert_eq!(shop.row(), "old");
    budget(&shop, &raised(&refused));
    shop.refreshed();
    assert_eq!(shop.row(), "one");
}

#[test]
fn a_budget_that_is_nearly_used_up_is_told_and_a_roomy_one_is_not() {
    let shop = after_one_night("");
    let told =
        |shop: &Shop| shop.run(&["run", "-n", "--json"]).expect(0).json()["warnings"].to_string();

    budget(&shop, &times_live(&shop, 315));
    let close = told(&shop);
    budget(&shop, &times_live(&shop, 500));
    let roomy = told(&shop);

    assert!(close.contains("nearly used up"), "{close}");
    assert!(!roomy.contains("nearly used up"), "{roomy}");
}

/// An archive whose dump is small and makes a large database; with `sleep`, an index that takes so many seconds.
fn swelling(shop: &Shop, sleep: u32) {
    let source = shop.server.database("source");
    let sql = format!(
        "create table t (v text); insert into t values ('new');
         create table big as select n, repeat('x', 500) as pad from generate_series(1, 60000) n;
         create function calm(n int) returns int immutable language plpgsql as $$begin return n; end$$;
         create table once as select 1 as n; create index on once (calm(n));
         create or replace function calm(n int) returns int immutable language plpgsql as
             $$begin perform pg_catalog.pg_sleep({sleep}); return n; end$$"
    );
    shop.server.sql(&source, &sql);
    let dump = shop.server.dump(&source, &["-Fc"]);
    let archive = zip().entry("shop.dump", dump).build();
    fs::write(shop.store.path().join("big.zip"), archive).expect("an archive");
}

#[test]
fn a_load_that_outgrows_its_budget_is_ended_while_it_runs_and_at_the_latest_before_the_swap() {
    for sleep in [60, 0] {
        // given: by its size the dump would fit
        let shop = Shop::new("stall = \"10s\"");
        swelling(&shop, sleep);
        budget(&shop, "32 MiB");
        shop.run(&["run", "-n"]).expect(0);
        let before = shop.databases();

        // when
        let failed = report(&shop.run(&["run", "--json"]).expect(10));

        // then
        says(&failed["message"], &["max_server_bytes", "takes"]);
        assert_eq!(shop.databases(), before);
        assert_eq!(shop.row(), "old");
        budget(&shop, "200 MiB");
        if sleep == 0 {
            shop.refreshed();
        }
    }
}

#[test]
fn an_estimate_says_what_it_rests_on_and_the_last_run_is_the_best_witness() {
    // given
    let shop = Shop::new("");
    shop.offer("one.zip", "one", 30);
    let first = shop.run(&["run", "-n"]).expect(0).stdout;
    assert!(first.contains("guessed from the dump's size"), "{first}");

    // when
    let measured = shop.refreshed()["database"]["bytes"]
        .as_u64()
        .expect("its size");

    // then
    let live = size(&shop, &shop.live);
    assert!(measured.abs_diff(live) < live / 10, "{measured} {live}");
    let second = shop.run(&["run", "-n"]).expect(0).stdout;
    assert!(second.contains("estimated from the run of 20"), "{second}");
    assert!(
        second
            .lines()
            .all(|line| !line.starts_with("          ") || line.len() <= 80),
        "{second}"
    );
}

/// As if the only run so far had measured so much.
fn pretend(shop: &Shop, bytes: u64) {
    for mut report in shop.setup.reports() {
        report["database"]["bytes"] = bytes.into();
        let run = report["run"].as_str().expect("an id");
        let file = shop.setup.path(&format!("state/runs/{run}.json"));
        fs::write(file, report.to_string()).expect("the report");
    }
}

#[test]
fn a_disk_of_the_server_that_is_far_too_small_is_found_before_the_load_where_it_is_this_machines() {
    // given
    let shop = after_one_night("");
    let disk = rustix::fs::statvfs(shop.server.directory.as_path()).expect("a file system");
    let free = disk.f_bavail * disk.f_frsize;

    // when: a little more than there is is only an estimate
    pretend(&shop, free * 2);
    let warned = shop.run(&["run", "-n", "--json"]).expect(0).json();
    pretend(&shop, free * 8);
    let refused = report(&shop.run(&["run", "--json"]).expect(3));

    // then
    assert!(
        warned["warnings"]
            .to_string()
            .contains("the server's disk has"),
        "{warned}"
    );
    says(&refused["message"], &["the server's disk has"]);
    says(
        &refused["hint"],
        &["before-load", "free space on the server"],
    );
    assert_eq!(shop.row(), "one");
}

#[test]
fn what_the_role_may_not_see_is_unknown_and_a_budget_needs_to_see_everything() {
    // given: one previous database, and a role that is nobody special
    let shop = after_one_night("owner = \"target\"\nprivileges = \"skip\"");
    let (server, live) = (shop.server, &shop.live);
    let options = format!("LOGIN CREATEDB PASSWORD '{}'", server.password);
    let role = server.role("restorer", &options);
    let previous = shop.previous().remove(0);
    server.sql(
        "postgres",
        &format!("alter database {live} owner to {role}; revoke connect on database {previous} from public"),
    );
    server.sql(live, &format!("alter table t owner to {role}"));
    set(&shop, "user = \"postgres\"", &format!("user = \"{role}\""));

    // when
    let blind = shop.run(&["run", "-n"]).expect(0).stdout;
    budget(&shop, "1 TiB");
    let refused = report(&shop.run(&["run", "--json"]).expect(3));
    let grant = "grant pg_read_all_stats, pg_read_all_settings to";
    server.sql("postgres", &format!("{grant} {role}"));
    let seeing = shop.run(&["run", "-n"]).expect(0).stdout;

    // then
    for words in [
        "free: unknown",
        "pg_read_all_settings",
        "size unknown",
        &previous,
    ] {
        assert!(blind.contains(words), "{words}: {blind}");
        assert!(!seeing.contains(words), "{words}: {seeing}");
    }
    says(&refused["message"], &["can't be watched", &previous]);
    says(&refused["hint"], &["GRANT pg_read_all_stats TO", &role]);
}

/// Runs the program where it sees no process but its own: to it the server, at the same address, is another machine.
fn elsewhere(setup: &Setup, arguments: &[&str]) -> Option<String> {
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(binary())
        .args(["-c", "config.toml"])
        .args(arguments)
        .env_clear()
        .env("HOME", setup.path("."))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(setup.path("."))
        .output()
        .expect("unshare");
    if !output.status.success() && !rustix::process::geteuid().is_root() {
        return None;
    }
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_address_of_this_machine_is_no_proof_that_the_server_is_here() {
    let shop = Shop::new("");
    shop.offer("one.zip", "one", 30);
    let here = shop.run(&["run", "-n"]).expect(0).stdout;
    assert!(
        here.contains("free: ") && !here.contains("free: unknown"),
        "{here}"
    );

    // An ordinary user can't make a namespace everywhere.
    if let Some(there) = elsewhere(&shop.setup, &["run", "-n"]) {
        let words = ["free: unknown", "not this machine"];
        for words in words {
            assert!(there.contains(words), "{words}: {there}");
        }
    }
}

#[test]
fn where_nothing_is_live_everything_that_was_set_aside_stays_and_counts() {
    // given: the live database is gone, its previous one may be all that there is
    let shop = after_one_night(BEFORE);
    budget(&shop, &times_live(&shop, 150));
    let from = "[databases.erp.postgres]\n";
    set(&shop, from, &format!("{from}create = true\n"));
    let drop = format!("drop database {}", shop.live);
    shop.server.sql("postgres", &drop);
    let previous = shop.previous();

    // when
    let refused = report(&shop.run(&["run", "--json"]).expect(3));

    // then
    says(&refused["message"], &["scratch about", "previous 7."]);
    assert!(!refused["message"].to_string().contains("live 7."));
    assert!(!refused["hint"].to_string().contains("before-load"));
    assert_eq!(shop.databases(), previous);
    budget(&shop, &raised(&refused));
    shop.refreshed();
    assert_eq!(shop.row(), "two");
}

#[test]
fn what_was_loaded_to_be_looked_at_counts_and_the_hint_says_how_to_drop_it() {
    // given: live, and one beside it
    let shop = Shop::new("");
    shop.offer("one.zip", "one", 30);
    shop.run(&["fetch"]).expect(0);
    shop.run(&["unzip"]).expect(0);
    let name = format!("{}_look", shop.live);
    shop.run(&["restore", "--as", &name]).expect(0);
    budget(&shop, &times_live(&shop, 250));

    // when
    let dry = shop.run(&["run", "-n"]).expect(3).stdout;
    let refused = report(&shop.run(&["run", "--json"]).expect(3));
    let again = format!("{name}_2");
    let beside = report(&shop.run(&["restore", "--as", &again, "--json"]).expect(3));

    // then
    assert!(dry.contains("to be looked at 7."), "{dry}");
    let drop = format!("`backupctl restore erp --drop {name}`");
    for refused in [&refused, &beside] {
        says(
            &refused["message"],
            &["max_server_bytes", "to be looked at 7."],
        );
        says(&refused["hint"], &[&drop]);
        // No setting helps, since nothing else is there to go.
        assert!(
            !refused["hint"].to_string().contains("drop_previous"),
            "{refused}"
        );
    }
    shop.run(&["restore", "--drop", &name, "--yes"]).expect(0);
    shop.refreshed();
    assert_eq!(shop.row(), "one");
}

#[test]
fn what_is_loaded_beside_live_drops_nothing_for_its_room_and_no_hint_says_so() {
    // given: room for two copies, and a previous one there already
    let shop = after_one_night("");
    shop.run(&["fetch"]).expect(0);
    shop.run(&["unzip"]).expect(0);
    budget(&shop, &times_live(&shop, 250));

    let name = format!("{}_look", shop.live);
    let refused = report(&shop.run(&["restore", "--as", &name, "--json"]).expect(3));

    says(&refused["message"], &["previous 7."]);
    let hint = refused["hint"].to_string();
    assert!(
        !hint.contains("drop_previous") && !hint.contains("keep_previous"),
        "{hint}"
    );
}

#[test]
fn some_tables_are_not_judged_by_the_size_of_all() {
    // given: by the last run all of it would be far larger than the budget
    let shop = after_one_night("");
    pretend(&shop, 100 << 30);
    shop.run(&["fetch"]).expect(0);
    shop.run(&["unzip"]).expect(0);
    budget(&shop, &times_live(&shop, 400));
    let name = format!("{}_look", shop.live);

    // when
    shop.run(&["restore", "--as", &name]).expect(3);
    let asked = ["restore", "--as", &name, "--table", "t"];
    let dry = shop.run(&[&asked[..], &["-n"]].concat()).expect(0).stdout;
    shop.run(&asked).expect(0);

    // then
    assert!(
        dry.contains("how large some tables are is not known"),
        "{dry}"
    );
    assert_eq!(shop.server.value(&name, "select v from t"), "two");
}
