//! `swap = "hold"` and `backupctl swap`: loaded and proven by night, live when it suits.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::program::Setup;
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};

pub const HOLD: &str = "swap = \"hold\"";

/// A live database beside which the dump of `a.zip` waits; and the report of the run.
pub fn prepared(lines: &str) -> (Shop, Value) {
    let shop = Shop::new(&format!("{HOLD}\n{lines}"));
    shop.offer("a.zip", "new", 10);
    let report = shop.refreshed();
    (shop, report)
}

pub fn waiting(shop: &Shop) -> Vec<String> {
    shop.server
        .databases_like(&format!("{}\\_new\\_%", shop.live))
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Waits until something holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The configuration with one line exchanged.
pub fn rewrite(shop: &Shop, from: &str, to: &str) {
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    assert!(config.contains(from), "{from}\n{config}");
    fs::write(path, config.replace(from, to)).expect("config.toml");
}

/// Another job into the same database.
fn second_job(setup: Setup) -> Setup {
    setup.part("[restores.other]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"other_*.zip\"\nsettle = \"0s\"\nswap = \"hold\"\n")
}

#[test]
fn a_held_run_ends_done_with_the_old_database_live_and_says_what_waits_for_whom() {
    // given
    let smtp = Smtp::start(Options::default());
    let shop = Shop::with(HOLD, |setup| setup.mail(&smtp, &["ops@example.org"]));
    shop.offer("a.zip", "new", 10);

    // when
    let planned = shop.run(&["run", "-n"]).expect(0).stdout;
    let report = shop.refreshed();

    // then
    assert!(planned.contains("backupctl swap erp"), "{planned}");
    assert_eq!(shop.row(), "old");
    let kept = text(&report["database"]["scratch"]);
    assert_eq!(waiting(&shop), [kept]);
    assert_eq!(shop.server.value(kept, "select v from t"), "new");
    assert!(shop.previous().is_empty());
    assert!(report["database"]["previous"].is_null(), "{report}");
    let steps: Vec<&str> = report["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| text(&step["step"]))
        .collect();
    assert_eq!(
        steps,
        [
            "network", "fetch", "unzip", "restore", "check", "hold", "notify"
        ]
    );
    let mail = smtp.wait_for(1).remove(0).data;
    let mail = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "Subject: [backupctl] erp: done",
        "waits for `backupctl swap erp`",
        "is unchanged",
        kept,
    ] {
        assert!(mail.contains(words), "{words}: {mail}");
    }
    let journal = shop.setup.path("state/journal");
    let left = fs::read_dir(journal).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing of it is a leftover");
}

#[test]
fn swap_makes_live_what_waits_with_hooks_around_it_and_an_undo_takes_it_back() {
    // given
    let (shop, held) = prepared("");
    let hooks = shop.setup.path("hooks");
    let hook = |when: &str| {
        let script = format!("echo {when} $BACKUPCTL_SCRATCH >> {}", hooks.display());
        format!("{when} = [[\"sh\", \"-c\", \"{script}\"]]\n")
    };
    rewrite(
        &shop,
        HOLD,
        &format!("{}{}{HOLD}", hook("before_swap"), hook("after_swap")),
    );
    let kept = text(&held["database"]["scratch"]);

    // when
    let report = shop.run(&["swap", "--yes", "--json"]).expect(0).json();

    // then
    assert_eq!(shop.row(), "new");
    assert_eq!(report["command"], "swap");
    assert_eq!(report["verdict"], "done");
    assert_eq!(report["archive"], held["archive"]);
    assert_eq!(report["dump"], held["dump"]);
    assert_eq!(shop.previous(), [text(&report["database"]["previous"])]);
    assert!(report["database"]["scratch"].is_null(), "{report}");
    let told = fs::read_to_string(hooks).expect("hooks ran");
    assert_eq!(told, format!("before_swap {kept}\nafter_swap {kept}\n"));
    let comment = "select shobj_description(oid, 'pg_database') is null from pg_database where datname = current_database()";
    assert_eq!(shop.server.value(&shop.live, comment), "t");

    // when: it was bad after all
    shop.run(&["undo", "--yes"]).expect(0);

    // then
    assert_eq!(shop.row(), "old");
    let refused = shop.run(&["run", "--json"]).expect(7).json();
    assert!(text(&refused["message"]).contains("rejected by undo on 20"));
}

#[test]
fn the_text_of_a_swap_says_what_is_live_and_how_to_go_back() {
    let (shop, _) = prepared("");

    let said = shop.run(&["swap", "--yes"]).expect(0).stdout;

    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = format!("{} on 127.0.0.1 is now the backup of 20", shop.live);
    assert!(said.starts_with(&start), "{said}");
    assert!(said.contains("backupctl undo erp"), "{said}");
}

#[test]
fn without_a_terminal_and_without_yes_or_with_dry_run_a_swap_changes_nothing() {
    let (shop, held) = prepared("");
    let before = (shop.databases(), shop.setup.reports());

    let ran = shop.run(&["swap"]).expect(2);
    assert!(ran.stderr.contains("--yes"), "{ran}");
    let planned = shop.run(&["swap", "-n"]).expect(0);

    let kept = text(&held["database"]["scratch"]);
    for words in [kept, "`a.zip`", "would become", "sessions"] {
        assert!(planned.stdout.contains(words), "{words}: {planned}");
    }
    assert_eq!((shop.databases(), shop.setup.reports()), before);
    assert_eq!(shop.row(), "old");
}

#[test]
fn with_nothing_prepared_a_swap_is_stale_and_says_what_would_prepare_it() {
    let shop = Shop::with(HOLD, second_job);
    shop.offer("other_a.zip", "other", 10);
    rewrite(&shop, "pattern = \"*.zip\"", "pattern = \"a*.zip\"");

    let report = shop
        .run(&["swap", "erp", "--yes", "--json"])
        .expect(7)
        .json();
    assert!(
        text(&report["message"]).contains("nothing is prepared"),
        "{report}"
    );
    assert!(
        text(&report["hint"]).contains("backupctl run erp"),
        "{report}"
    );

    // what another job has prepared is not taken, but named
    shop.run(&["run", "other"]).expect(0);
    let report = shop
        .run(&["swap", "erp", "--yes", "--json"])
        .expect(7)
        .json();
    assert!(
        text(&report["hint"]).contains("backupctl swap other"),
        "{report}"
    );
    assert_eq!(shop.row(), "old");
}

#[test]
fn what_was_prepared_before_the_live_database_was_replaced_is_refused_and_it_is_said_by_whom() {
    // given
    let shop = Shop::with(HOLD, second_job);
    shop.offer("a.zip", "new", 10);
    rewrite(&shop, "pattern = \"*.zip\"", "pattern = \"a*.zip\"");
    shop.run(&["run", "erp"]).expect(0);
    shop.offer("other_a.zip", "other", 10);
    shop.run(&["run", "other"]).expect(0);
    let by = shop
        .run(&["swap", "other", "--yes", "--json"])
        .expect(0)
        .json();

    // when
    let report = shop
        .run(&["swap", "erp", "--yes", "--json"])
        .expect(7)
        .json();

    // then: another job has no report in this one's history
    let message = text(&report["message"]);
    assert!(message.contains(text(&by["run"])), "{message}");
    assert_eq!(shop.row(), "other");
    assert_eq!(waiting(&shop).len(), 1);

    // when: somebody by hand
    shop.run(&["undo", "other", "--yes"]).expect(0);
    let name = &shop.live;
    shop.server.sql(
        "postgres",
        &format!("alter database {name} rename to {name}_x; create database {name}"),
    );
    let report = shop
        .run(&["swap", "erp", "--yes", "--json"])
        .expect(7)
        .json();

    // then
    assert!(
        text(&report["message"]).contains("who left no stamp"),
        "{report}"
    );
}

#[test]
fn an_undo_of_the_change_makes_what_was_prepared_current_again() {
    let (shop, _) = prepared("");
    shop.run(&["swap", "--yes"]).expect(0);
    shop.offer("b.zip", "newer", 5);
    shop.refreshed();
    shop.run(&["undo", "--yes"]).expect(0);

    let report = shop.run(&["swap", "--yes", "--json"]).expect(7).json();
    let message = text(&report["message"]);
    assert!(message.contains("`undo` of 20"), "{message}");
    let planned = shop.run(&["run", "-n", "--json"]).expect(0).json();
    let warnings = planned["warnings"].to_string();
    assert!(warnings.contains("can't go live"), "{warnings}");
    shop.run(&["undo", "--yes"]).expect(0);
    shop.run(&["swap", "--yes"]).expect(0);

    assert_eq!(shop.row(), "newer");
}

#[test]
fn a_newer_run_replaces_what_waits_only_when_it_is_proven_itself() {
    // given
    let (shop, first) = prepared(
        "[[restores.erp.checks]]\nsql = \"select count(*) from t where v = 'bad'\"\nat_most = 0",
    );
    let first = text(&first["database"]["scratch"]).to_owned();

    // when: a bad one
    shop.offer("b.zip", "bad", 5);
    let failed = shop.run(&["run", "--json"]).expect(10).json();

    // then
    assert_eq!(waiting(&shop), [first.as_str()]);
    let warnings = failed["warnings"].to_string();
    assert!(
        warnings.contains(&first) && warnings.contains("backupctl swap erp"),
        "{warnings}"
    );

    // when: a good one
    shop.offer("c.zip", "newest", 1);
    let good = shop.refreshed();

    // then
    assert_eq!(waiting(&shop), [text(&good["database"]["scratch"])]);
    shop.run(&["swap", "--yes"]).expect(0);
    assert_eq!(shop.row(), "newest");
}

#[test]
fn a_run_that_goes_live_at_once_drops_what_had_waited() {
    let (shop, _) = prepared("");
    rewrite(&shop, HOLD, "swap = \"now\"");

    let report = shop.refreshed();

    assert_eq!(shop.row(), "new");
    assert!(waiting(&shop).is_empty(), "{report}");
    assert_eq!(shop.databases().len(), 2);
}

#[test]
fn what_was_changed_while_it_waited_does_not_go_live() {
    let (shop, held) =
        prepared("[[restores.erp.checks]]\nsql = \"select count(*) from t\"\nat_least = 1");
    let kept = text(&held["database"]["scratch"]);
    shop.server.sql(kept, "delete from t");

    let report = shop.run(&["swap", "--yes", "--json"]).expect(10).json();

    assert_eq!(report["steps"][1]["step"], "check");
    assert_eq!(report["checks"][0]["ok"], false);
    assert_eq!(shop.row(), "old");
    assert_eq!(waiting(&shop), [kept], "it is still there to be looked at");
}

#[test]
fn a_database_that_only_looks_prepared_is_neither_taken_nor_dropped() {
    // given: one renamed by somebody, and one that carries no stamp
    let (shop, held) = prepared("");
    let kept = text(&held["database"]["scratch"]);
    let (renamed, bare) = (
        format!("{}_new_mine", shop.live),
        format!("{}_new_20261120_020000_7f3a", shop.live),
    );
    shop.server.sql(
        "postgres",
        &format!("alter database {kept} rename to {renamed}; create database {bare}"),
    );

    shop.run(&["swap", "--yes"]).expect(7);
    shop.offer("b.zip", "newer", 1);
    rewrite(&shop, HOLD, "swap = \"now\"");
    let report = shop.refreshed();

    let told = format!(
        "database `{bare}` looks like a scratch database of `{}`, but no journal here lists it: left alone",
        shop.live
    );
    assert!(report["warnings"].to_string().contains(&told), "{report}");
    assert_eq!(waiting(&shop), [bare, renamed]);
}

#[test]
fn sessions_that_block_a_swap_leave_it_prepared_and_the_second_try_succeeds() {
    // given
    let (shop, held) = prepared("sessions = \"fail\"");
    let open = shop.server.session(&shop.live, "select 1");

    // when
    let report = shop.run(&["swap", "--yes", "--json"]).expect(10).json();

    // then
    let kept = text(&held["database"]["scratch"]);
    assert_eq!(waiting(&shop), [kept]);
    assert!(
        text(&report["hint"]).contains("backupctl swap erp"),
        "{report}"
    );
    drop(open);
    shop.run(&["swap", "--yes"]).expect(0);
    assert_eq!(shop.row(), "new");
}

#[test]
fn what_a_run_could_not_swap_because_of_sessions_goes_live_by_hand() {
    let shop = Shop::new("sessions = \"fail\"");
    shop.offer("a.zip", "new", 10);
    let open = shop.server.session(&shop.live, "select 1");
    let failed = shop.run(&["run", "--json"]).expect(10).json();
    assert_eq!(waiting(&shop), [text(&failed["database"]["scratch"])]);
    drop(open);

    let report = shop.run(&["swap", "--yes", "--json"]).expect(0).json();

    assert_eq!(report["archive"]["name"], "a.zip");
    assert_eq!(shop.row(), "new");
    assert!(waiting(&shop).is_empty());
}

#[test]
fn a_check_whose_program_is_missing_is_found_before_the_swap_and_does_not_keep_an_undo_back() {
    let (shop, _) = prepared("");
    let missing = "[[restores.erp.after_checks]]\ncommand = [\"no-such-program\"]";
    rewrite(&shop, HOLD, &format!("{HOLD}\n{missing}"));

    let report = shop.run(&["swap", "--yes", "--json"]).expect(3).json();

    assert!(
        text(&report["message"]).contains("after_checks"),
        "{report}"
    );
    assert_eq!(shop.row(), "old");
    assert_eq!(waiting(&shop).len(), 1);
    rewrite(&shop, missing, "");
    shop.run(&["swap", "--yes"]).expect(0);
    rewrite(&shop, HOLD, &format!("{HOLD}\n{missing}"));
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "old");
}

#[test]
fn what_was_prepared_before_a_restore_over_the_live_database_is_dropped_also_where_its_check_fails()
{
    let (shop, _) = prepared("");
    rewrite(
        &shop,
        HOLD,
        "method = \"in-place\"\n[[restores.erp.checks]]\nsql = \"select 0\"\nat_least = 1",
    );
    shop.offer("b.zip", "newer", 1);

    shop.run(&["run"]).expect(11);

    assert_eq!(shop.row(), "newer");
    assert!(waiting(&shop).is_empty());
}

#[test]
fn what_was_prepared_before_a_restore_over_the_live_database_is_stale() {
    // given: a restore in place that could not drop what waits
    let (shop, held) = prepared("");
    let mut over = held;
    over["run"] = "29991231-235959-aaaa".into();
    over["verdict"] = "unclear".into();
    over["database"]["scratch"] = Value::Null;
    let steps = over["steps"].as_array_mut().expect("steps");
    steps.retain(|step| ["network", "fetch", "unzip", "restore"].contains(&text(&step["step"])));
    let put = |report: &Value| {
        let file = shop.setup.path("state/runs/29991231-235959-aaaa.json");
        fs::write(file, report.to_string()).expect("a report");
    };
    put(&over);

    // when
    let refused = shop.run(&["swap", "--dry-run"]).expect(7);

    // then
    assert!(refused.stderr.contains("29991231-235959-aaaa"), "{refused}");

    // when: a restore by swap that failed
    over["verdict"] = "failed".into();
    put(&over);

    // then
    shop.run(&["swap", "--dry-run"]).expect(0);
}
