//! `after_checks`: what does not hold once it is live is undone by itself.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::command::{rewrite, until, waiting};
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};

fn check(line: &str) -> String {
    format!("[[restores.erp.after_checks]]\n{line}\n")
}

fn command(script: &str) -> String {
    check(&format!("command = [\"sh\", \"-c\", \"{script}\"]"))
}

fn offered(lines: &str) -> Shop {
    let shop = Shop::new(lines);
    shop.offer("a.zip", "new", 10);
    shop
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn steps(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| (text(&step["step"]), text(&step["verdict"])))
        .collect()
}

/// A check that says when it runs, waits to be let go on, and then fails.
struct Gate {
    reached: PathBuf,
    open: PathBuf,
    _directory: tempfile::TempDir,
}

impl Gate {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            reached: directory.path().join("reached"),
            open: directory.path().join("open"),
            _directory: directory,
        }
    }

    fn lines(&self, end: &str) -> String {
        command(&format!(
            "touch {}; while ! test -e {}; do sleep 0.05; done; {end}",
            self.reached.display(),
            self.open.display()
        ))
    }

    fn wait(&self) {
        until("the check runs", || self.reached.exists());
    }

    fn let_go(&self) {
        fs::write(&self.open, "").expect("a file");
    }
}

#[test]
fn a_failing_command_brings_the_old_database_back_and_the_mail_says_so() {
    // given
    let smtp = Smtp::start(Options::default());
    let lines = command("echo the shop is shut; exit 22");
    let shop = Shop::with(&lines, |setup| setup.mail(&smtp, &["ops@example.org"]));
    shop.offer("a.zip", "new", 10);

    // when
    let report = shop.run(&["run", "--json"]).expect(10).json();

    // then
    assert_eq!(shop.row(), "old");
    let all = steps(&report);
    assert_eq!(
        all[5..8],
        [("swap", "done"), ("check", "failed"), ("undo", "done")]
    );
    for words in ["undone", "exit code 22", "the shop is shut"] {
        assert!(text(&report["message"]).contains(words), "{report}");
    }
    assert_eq!(report["checks"][0]["ok"], false);
    let aside = shop.previous();
    assert_eq!(aside, [text(&report["database"]["previous"])]);
    assert_eq!(shop.server.value(&aside[0], "select v from t"), "new");
    let mail = smtp.wait_for(1).remove(0).data;
    let mail = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "Subject: [backupctl] erp: failed",
        "A check of the new data did not hold",
        "is again what it was before `a.zip`",
        "No run takes `a.zip` by itself any more",
    ] {
        assert!(mail.contains(words), "{words}: {mail}");
    }
}

#[test]
fn what_was_undone_by_itself_is_rejected_until_somebody_accepts_it() {
    // given
    let shop = offered(&command("exit 1"));
    shop.run(&["run"]).expect(10);

    // when
    let refused = shop.run(&["run", "--json"]).expect(7).json();

    // then
    assert!(text(&refused["message"]).contains("`a.zip`: rejected by undo on 20"));
    assert_eq!(shop.row(), "old");
    rewrite(&shop, "exit 1", "exit 0");
    shop.run(&["run", "--accept", "rejected"]).expect(0);
    assert_eq!(shop.row(), "new");
    shop.run(&["run", "-n"]).expect(0);
}

#[test]
fn an_undo_by_hand_brings_forward_what_was_undone_by_itself_and_clears_it() {
    let shop = offered(&command("exit 1"));
    shop.run(&["run"]).expect(10);

    let report = shop.run(&["undo", "--yes", "--json"]).expect(0).json();

    assert_eq!(shop.row(), "new");
    assert!(!report["undoes"].is_null(), "{report}");
    shop.run(&["run", "-n"]).expect(0);
}

#[test]
fn live_is_the_old_one_again_within_two_seconds_of_the_failing_check() {
    let mut seconds = Vec::new();
    // One in three, since others are at work on the same machine.
    for _ in 0..3 {
        let shop = offered(&command("exit 1"));
        let report = shop.run(&["run", "--json"]).expect(10).json();
        assert_eq!(shop.row(), "old");
        assert_eq!(report["steps"][7]["step"], "undo");
        seconds.push(report["steps"][7]["seconds"].as_f64().expect("seconds"));
        if seconds.last() < Some(&2.0) {
            return;
        }
    }
    panic!("{seconds:?}");
}

#[test]
fn sql_that_does_not_hold_in_the_live_database_is_undone_too_and_the_rest_is_not_asked() {
    let lines = check("sql = \"select v from t\"\nequals = \"new\"")
        + &check("sql = \"select count(*) from t\"\nat_least = 2")
        + &check("sql = \"select 1\"\nat_least = 1");
    let shop = offered(&lines);

    let report = shop.run(&["run", "--json"]).expect(10).json();

    assert_eq!(shop.row(), "old");
    let checks = report["checks"].as_array().expect("checks");
    let seen: Vec<_> = checks
        .iter()
        .map(|check| (text(&check["found"]), check["ok"] == true))
        .collect();
    assert_eq!(seen, [("new", true), ("1", false)]);
    assert!(!report["hint"].to_string().contains("was left as it was"));
}

#[test]
fn checks_that_hold_see_the_new_database_after_after_swap_and_the_older_ones_go_after_them() {
    // given: the second swap
    let shop = offered("");
    shop.refreshed();
    shop.offer("b.zip", "newer", 1);
    let (swapped, seen) = (shop.setup.path("swapped"), shop.setup.path("seen"));
    let lines = format!(
        "after_swap = [[\"touch\", \"{swapped}\"]]\n{}{}",
        command(&format!(
            "test -e {swapped} && env > {seen}",
            swapped = swapped.display(),
            seen = seen.display()
        )),
        check(&format!(
            "sql = \"select v || (select count(*) from pg_database where datname like '{}_before_%') from t\"\nequals = \"newer2\"",
            shop.live
        )),
        swapped = swapped.display()
    );
    let config = shop.setup.path("config.toml");
    let text_before = fs::read_to_string(&config).expect("config.toml");
    fs::write(config, text_before + &lines).expect("config.toml");

    // when
    let report = shop.refreshed();

    // then
    assert_eq!(shop.row(), "newer");
    assert_eq!(shop.previous().len(), 1);
    assert_eq!(steps(&report)[6], ("check", "done"));
    let seen = fs::read_to_string(seen).expect("its environment");
    for line in [
        format!("BACKUPCTL_RUN={}\n", text(&report["run"])),
        format!("BACKUPCTL_DATABASE={}\n", shop.live),
        "BACKUPCTL_JOB=erp\n".to_owned(),
        format!("BACKUPCTL_SCRATCH={}_new_", shop.live),
    ] {
        assert!(seen.contains(&line), "{line}: {seen}");
    }
}

#[test]
fn the_hooks_run_around_the_swap_and_around_the_way_back() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let hook = |when: &str| {
        let script = format!("echo {when} >> {}", log.path().display());
        format!("{when} = [[\"sh\", \"-c\", \"{script}\"]]\n")
    };
    let shop = offered(&format!(
        "{}{}{}",
        hook("before_swap"),
        hook("after_swap"),
        command("exit 1")
    ));

    shop.run(&["run"]).expect(10);

    let told = fs::read_to_string(log.path()).expect("hooks ran");
    let words: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(
        words,
        ["before_swap", "after_swap", "before_swap", "after_swap"]
    );
}

#[test]
fn a_check_that_hangs_is_ended_by_hook_timeout_and_undone() {
    let shop = offered(&format!("hook_timeout = \"1s\"\n{}", command("sleep 60")));

    shop.run(&["run"]).expect(10);

    assert_eq!(shop.row(), "old");
}

#[test]
fn a_check_whose_program_is_missing_is_found_before_the_load() {
    let shop = offered(&check("command = [\"no-such-program\"]"));

    let report = shop.run(&["run", "--json"]).expect(3).json();

    assert!(
        text(&report["message"]).contains("after_checks"),
        "{report}"
    );
    assert_eq!(shop.databases(), [shop.live.as_str()]);
}

#[test]
fn the_way_back_by_itself_ends_sessions_whatever_is_configured_for_the_swap() {
    // given
    let gate = Gate::new();
    let shop = offered(&format!("sessions = \"fail\"\n{}", gate.lines("exit 1")));
    let running = shop.setup.start(&["run", "--json"]);
    gate.wait();
    let _open = shop.server.session(&shop.live, "select 1");

    // when
    gate.let_go();
    let report = running.finish().expect(10).json();

    // then
    assert_eq!(shop.row(), "old");
    assert_eq!(steps(&report)[7], ("undo", "done"));
}

#[test]
fn where_the_way_back_fails_the_run_is_unclear_and_says_what_is_live() {
    // given: a prepared transaction in the new database, which nothing can end
    let gate = Gate::new();
    let shop = offered(&gate.lines("exit 1"));
    let running = shop.setup.start(&["run", "--json"]);
    gate.wait();
    let gid = format!("stuck in {}", shop.live);
    let sql = format!("begin; insert into t values ('x'); prepare transaction '{gid}'");
    shop.server.sql(&shop.live, &sql);

    // when
    gate.let_go();
    let report = running.finish().expect(11).json();

    // then
    shop.server
        .sql(&shop.live, &format!("rollback prepared '{gid}'"));
    assert_eq!(shop.row(), "new");
    assert_eq!(steps(&report)[7], ("undo", "failed"));
    assert!(text(&report["message"]).contains(&gid), "{report}");
    assert!(
        text(&report["hint"]).contains("is the new database"),
        "{report}"
    );
    shop.run(&["run", "-n"]).expect(7);
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "old");
    shop.run(&["run", "-n"]).expect(7);
}

#[test]
fn a_run_killed_while_it_checks_what_is_live_is_named_by_the_next() {
    let gate = Gate::new();
    let shop = offered(&gate.lines("exit 1"));
    let running = shop.setup.start(&["run"]);
    gate.wait();

    running.signal(Signal::KILL);
    running.finish();
    gate.let_go();
    assert_eq!(shop.row(), "new");
    fs::remove_file(shop.store.path().join("a.zip")).expect("no archive any more");
    let report = shop.run(&["run", "--json"]).expect(7).json();

    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("`after_checks` never ended"),
        "{warnings}"
    );
    assert!(warnings.contains("backupctl undo erp"), "{warnings}");
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_run_killed_on_its_way_back_leaves_one_of_the_two_and_the_next_says_which() {
    // given: somebody holds the lock that the way back needs
    let gate = Gate::new();
    let shop = offered(&gate.lines("exit 1"));
    let running = shop.setup.start(&["run"]);
    gate.wait();
    let lock = format!("begin; comment on database {} is 'busy'", shop.live);
    let holder = shop.server.session("postgres", &lock);
    gate.let_go();
    let rename = format!(
        "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()
         and query like 'ALTER DATABASE \"{}\"%'",
        shop.live
    );
    until("the way back waits", || {
        shop.server.value("postgres", &rename) != "0"
    });

    // when
    running.signal(Signal::KILL);
    running.finish();
    let ended = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()
         and query like 'ALTER DATABASE \"{}\"%'",
        shop.live
    );
    shop.server.sql("postgres", &ended);
    drop(holder);
    let report = shop.run(&["run", "--json"]).expect(7).json();

    // then: the archive is rejected, and what is live is said
    assert_eq!(shop.row(), "new");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("died in step undo"), "{warnings}");
    assert!(warnings.contains("had not happened"), "{warnings}");
    assert!(text(&report["message"]).contains("rejected"), "{report}");
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "old");
    shop.run(&["run", "-n"]).expect(7);
}

#[test]
fn a_signal_does_not_leave_unjudged_what_is_live() {
    for (end, code, row) in [("exit 0", 0, "new"), ("exit 1", 10, "old")] {
        let gate = Gate::new();
        let shop = offered(&gate.lines(end));
        let running = shop.setup.start(&["run"]);
        gate.wait();

        running.signal(Signal::TERM);
        gate.let_go();
        running.finish().expect(code);

        assert_eq!(shop.row(), row);
    }
}

#[test]
fn what_waited_and_fails_its_check_when_it_goes_live_is_undone_too() {
    let shop = offered(&format!("swap = \"hold\"\n{}", command("exit 1")));
    shop.refreshed();

    let report = shop.run(&["swap", "--yes", "--json"]).expect(10).json();

    assert_eq!(shop.row(), "old");
    assert_eq!(shop.previous(), [text(&report["database"]["previous"])]);
    assert!(waiting(&shop).is_empty());
    let refused = shop.run(&["run", "--json"]).expect(7).json();
    assert!(text(&refused["message"]).contains("rejected"), "{refused}");
}

#[test]
fn what_waited_for_the_old_database_still_waits_after_the_way_back() {
    // given
    let shop = offered("swap = \"hold\"");
    shop.refreshed();
    let kept = waiting(&shop);
    rewrite(&shop, "swap = \"hold\"", &command("exit 1"));
    shop.offer("b.zip", "newer", 1);

    // when
    shop.run(&["run"]).expect(10);

    // then
    assert_eq!(shop.row(), "old");
    assert_eq!(waiting(&shop), kept);
    rewrite(&shop, "exit 1", "exit 0");
    shop.run(&["swap", "--yes"]).expect(0);
    assert_eq!(shop.row(), "new");
}

#[test]
fn where_none_is_kept_no_undo_is_promised_after_the_way_back() {
    let shop = offered(&format!("keep_previous = 0\n{}", command("exit 1")));

    let report = shop.run(&["run", "--json"]).expect(10).json();

    assert_eq!(shop.databases(), [shop.live.as_str()]);
    assert_eq!(shop.row(), "old");
    assert!(!text(&report["hint"]).contains("undo"), "{report}");
}

#[test]
fn a_run_that_died_after_a_check_failed_and_before_the_way_back_has_rejected_its_archive() {
    // given: killed while it checks, and the verdict written as if it had come one moment later
    let gate = Gate::new();
    let shop = offered(&gate.lines("exit 1"));
    let running = shop.setup.start(&["run"]);
    gate.wait();
    running.signal(Signal::KILL);
    running.finish();
    gate.let_go();
    let mut died = shop.setup.reports().pop().expect("a report");
    died["steps"][6]["verdict"] = "failed".into();
    let file = format!("state/runs/{}.json", text(&died["run"]));
    fs::write(shop.setup.path(&file), died.to_string()).expect("the report");

    // when
    let report = shop.run(&["run", "--json"]).expect(7).json();

    // then
    assert!(text(&report["message"]).contains("rejected"), "{report}");
    let warnings = report["warnings"].to_string();
    for words in ["is live although", "backupctl undo erp"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
}

#[test]
fn a_run_or_an_undo_killed_after_its_swap_and_before_the_step_ends_is_told_by_the_next() {
    // given: a hook that waits, once the names are exchanged
    let gate = Gate::new();
    let hook = format!(
        "after_swap = [[\"sh\", \"-c\", \"touch {}; while ! test -e {}; do sleep 0.05; done\"]]\n",
        gate.reached.display(),
        gate.open.display()
    );
    let shop = offered(&format!("{hook}{}", command("exit 0")));
    for (arguments, row, words) in [
        (["run", "erp"], "new", "the new database is live"),
        (
            ["undo", "--yes"],
            "old",
            "the previous database is live again",
        ),
    ] {
        let _ = (fs::remove_file(&gate.reached), fs::remove_file(&gate.open));
        let running = shop.setup.start(&arguments);
        gate.wait();
        running.signal(Signal::KILL);
        running.finish();
        gate.let_go();
        assert_eq!(shop.row(), row);

        // when
        let next = shop.run(&["swap", "--yes", "--json"]).expect(7).json();

        // then
        let warnings = next["warnings"].to_string();
        assert!(warnings.contains(words), "{warnings}");
    }
}
