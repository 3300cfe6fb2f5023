//! `backupctl undo` as an operator runs it after a bad night.

use std::fs;
use std::process::Command;

use crate::support::archives;
use crate::support::program::binary;
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};

/// A live database that `a.zip` has just replaced; what was live is set aside.
pub fn refreshed(lines: &str) -> Shop {
    let shop = Shop::new(lines);
    shop.offer("a.zip", "new", 10);
    shop.refreshed();
    shop
}

/// One more line of `[restores.erp]`, which is the last table.
fn add(shop: &Shop, line: &str) {
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(path, format!("{config}\n{line}\n")).expect("config.toml");
}

#[test]
fn an_undo_without_a_terminal_and_without_yes_changes_nothing() {
    let shop = refreshed("");
    let before = (shop.databases(), shop.setup.reports());

    let ran = shop.run(&["undo"]).expect(2);

    assert!(ran.stdout.is_empty(), "{ran}");
    assert!(ran.stderr.contains("--yes"), "{ran}");
    assert_eq!((shop.databases(), shop.setup.reports()), before);
    assert_eq!(shop.row(), "new");
}

#[test]
fn an_undo_brings_the_old_rows_back_and_says_what_it_took_back() {
    // given
    let shop = refreshed("");
    let set_aside = shop.previous();

    // when
    let ran = shop.run(&["undo", "erp", "--yes", "--json"]).expect(0);

    // then
    assert_eq!(shop.row(), "old");
    let report = ran.json();
    assert_eq!(report["command"], "undo");
    assert_eq!(report["verdict"], "done");
    assert_eq!(report["archive"]["name"], "a.zip");
    let previous = report["database"]["previous"].as_str().expect("a name");
    assert_eq!(shop.previous(), [previous]);
    assert_ne!(shop.previous(), set_aside);
    let on_disk = shop.setup.reports().pop().expect("a report");
    assert_eq!(on_disk["verdict"], "done");
    assert_eq!(on_disk["run"], report["run"]);
}

#[test]
fn the_text_of_an_undo_names_the_archive_and_the_way_forward() {
    let shop = refreshed("");

    let back = shop.run(&["undo", "--yes"]).expect(0).stdout;
    let forward = shop.run(&["undo", "--yes"]).expect(0).stdout;

    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let back = words(&back);
    assert!(
        back.starts_with(&format!(
            "{} on 127.0.0.1 is again what it was before `a.zip`",
            shop.live
        )),
        "{back}"
    );
    assert!(
        back.contains("No run takes `a.zip` by itself any more"),
        "{back}"
    );
    assert!(back.contains("forward backupctl undo erp"), "{back}");
    let forward = words(&forward);
    let coming = format!("{} on 127.0.0.1 is again the backup of 20", shop.live);
    assert!(forward.starts_with(&coming), "{forward}");
    assert!(forward.contains("go back backupctl undo erp"), "{forward}");
}

#[test]
fn no_run_takes_by_itself_what_was_undone() {
    // given
    let shop = refreshed("");
    shop.run(&["undo", "--yes"]).expect(0);
    let before = shop.databases();

    // when
    let refused = shop.run(&["run", "--json"]).expect(7).json();

    // then
    let message = refused["message"].as_str().expect("a message");
    assert!(
        message.contains("`a.zip`: rejected by undo on 20"),
        "{message}"
    );
    let hint = refused["hint"].as_str().expect("a hint");
    assert!(hint.contains("--accept rejected"), "{hint}");
    assert_eq!(shop.row(), "old");
    assert_eq!(shop.databases(), before);
    let listed = shop.run(&["list"]).expect(0).stdout;
    assert!(listed.contains("rejected by undo on"), "{listed}");

    // when: the operator knows better
    let report = shop
        .run(&["run", "--accept", "rejected", "--json"])
        .expect(0)
        .json();

    // then
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("taken although rejected by undo on"),
        "{warnings}"
    );
    assert_eq!(shop.row(), "new");
    shop.run(&["run"]).expect(0);
}

#[test]
fn accepting_stale_does_not_accept_rejected() {
    let shop = refreshed("");
    shop.run(&["undo", "--yes"]).expect(0);

    shop.run(&["run", "--accept", "stale"]).expect(7);
    shop.run(&["run", "--archive", "a.zip"]).expect(7);

    assert_eq!(shop.row(), "old");
}

#[test]
fn a_newer_archive_is_taken_by_itself_after_an_undo() {
    let shop = refreshed("");
    shop.run(&["undo", "--yes"]).expect(0);
    shop.offer("b.zip", "newer", 1);

    let report = shop.refreshed();

    assert_eq!(report["archive"]["name"], "b.zip");
    assert_eq!(shop.row(), "newer");
}

#[test]
fn each_undo_goes_the_other_way_and_the_rejection_goes_with_it() {
    let shop = refreshed("");
    for (row, code) in [("old", 7), ("new", 0), ("old", 7), ("new", 0)] {
        shop.run(&["undo", "--yes"]).expect(0);

        assert_eq!(shop.row(), row);
        shop.run(&["run", "--dry-run"]).expect(code);
    }
}

#[test]
fn an_undo_that_failed_neither_rejects_nor_clears_anything() {
    // given: `a.zip` taken back, and somebody whom `fail` doesn't end
    let shop = refreshed("sessions = \"fail\"\nsessions_timeout = \"1s\"");
    shop.run(&["undo", "--yes"]).expect(0);
    let session = shop.server.session(&shop.live, "select 1");

    // when
    let report = shop.run(&["undo", "--yes", "--json"]).expect(10).json();

    // then
    assert!(
        report["message"]
            .as_str()
            .is_some_and(|m| m.contains("session")),
        "{report}"
    );
    assert_eq!(shop.row(), "old");
    drop(session);
    shop.run(&["run", "--dry-run"]).expect(7);
}

#[test]
fn sessions_are_ended_by_an_undo_as_by_a_swap() {
    let shop = refreshed("");
    let _open = shop.server.session(&shop.live, "select 1");

    let report = shop.run(&["undo", "--yes", "--json"]).expect(0).json();

    let steps = report["steps"].to_string();
    assert!(steps.contains("1 session ended"), "{steps}");
    assert_eq!(shop.row(), "old");
}

#[test]
fn an_undo_with_nothing_to_go_back_to_says_so() {
    let shop = Shop::new("");
    let before = shop.databases();

    let report = shop.run(&["undo", "--yes", "--json"]).expect(10).json();
    let planned = shop.run(&["undo", "--dry-run"]).expect(10);

    let message = report["message"].as_str().expect("a message");
    assert!(
        message.contains(&format!("there is no previous database of `{}`", shop.live)),
        "{message}"
    );
    assert!(planned.stderr.contains("--archive"), "{planned}");
    assert_eq!(shop.databases(), before);
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_previous_database_that_was_dropped_by_hand_is_missed_and_nothing_is_touched() {
    let shop = refreshed("");
    let previous = shop.previous().remove(0);
    shop.server
        .sql("postgres", &format!("drop database \"{previous}\""));

    let ran = shop.run(&["undo", "--yes"]).expect(10);

    assert!(
        ran.stderr.contains("there is no previous database"),
        "{ran}"
    );
    assert_eq!(shop.row(), "new");
    shop.refreshed();
}

#[test]
fn a_previous_database_that_somebody_renamed_is_named_with_the_statement_that_helps() {
    // given
    let shop = refreshed("");
    let previous = shop.previous().remove(0);
    let kept = format!("{}_kept", shop.live);
    let rename = |from: &str, to: &str| {
        let sql = format!("alter database \"{from}\" rename to \"{to}\"");
        shop.server.sql("postgres", &sql);
    };
    rename(&previous, &kept);

    // when
    let failed = shop.run(&["undo", "--yes", "--json"]).expect(10).json();

    // then
    let hint = failed["hint"].as_str().expect("a hint");
    let statement = format!("ALTER DATABASE \"{kept}\" RENAME TO \"{previous}\"");
    assert!(hint.contains(&statement), "{hint}");
    rename(&kept, &previous);
    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(shop.row(), "old");
}

#[test]
fn an_undo_that_cannot_tell_what_it_takes_back_warns_of_the_next_run() {
    let shop = refreshed("");
    fs::remove_dir_all(shop.setup.path("state/runs")).expect("the reports are lost");

    let report = shop.run(&["undo", "--yes", "--json"]).expect(0).json();

    assert_eq!(shop.row(), "old");
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("the next run may take it again"),
        "{warnings}"
    );
}

#[test]
fn a_dry_undo_shows_the_plan_and_changes_nothing() {
    let shop = refreshed("");
    let hook = shop.setup.path("hook-ran");
    add(
        &shop,
        &format!("before_swap = [[\"touch\", \"{}\"]]", hook.display()),
    );
    let before = (shop.databases(), shop.setup.reports());
    let previous = shop.previous().remove(0);

    let ran = shop.run(&["undo", "-n"]).expect(0);

    assert!(ran.stdout.contains(&format!("`{previous}`")), "{ran}");
    assert!(ran.stdout.contains("a.zip"), "{ran}");
    assert_eq!((shop.databases(), shop.setup.reports()), before);
    assert_eq!(shop.row(), "new");
    assert!(!hook.exists());
}

#[test]
fn the_hooks_run_around_an_undo_and_know_what_it_is_about() {
    // given
    let shop = refreshed("");
    let file = shop.setup.path("hooks");
    let script = format!(
        "echo $1 $BACKUPCTL_JOB $BACKUPCTL_DATABASE $BACKUPCTL_SCRATCH $BACKUPCTL_RUN >> {}",
        file.display()
    );
    for when in ["before_swap", "after_swap"] {
        add(
            &shop,
            &format!("{when} = [[\"sh\", \"-c\", \"{script}\", \"sh\", \"{when}\"]]"),
        );
    }
    let previous = shop.previous().remove(0);

    // when
    let report = shop.run(&["undo", "--yes", "--json"]).expect(0).json();

    // then
    let told = fs::read_to_string(file).expect("hooks ran");
    let run = report["run"].as_str().expect("an id");
    let line = |when: &str| format!("{when} erp {} {previous} {run}\n", shop.live);
    assert_eq!(told, line("before_swap") + &line("after_swap"));
}

#[test]
fn a_hook_that_fails_before_an_undo_stops_it_and_the_application_is_started_again() {
    let shop = refreshed("");
    let after = shop.setup.path("after");
    add(
        &shop,
        "before_swap = [[\"sh\", \"-c\", \"echo no way; exit 3\"]]",
    );
    add(
        &shop,
        &format!("after_swap = [[\"touch\", \"{}\"]]", after.display()),
    );

    let report = shop.run(&["undo", "--yes", "--json"]).expect(10).json();

    assert!(
        report["message"]
            .as_str()
            .is_some_and(|m| m.contains("no way")),
        "{report}"
    );
    assert_eq!(shop.row(), "new");
    assert!(after.exists());
}

#[test]
fn an_undo_sends_mail_only_when_asked_to() {
    let smtp = Smtp::start(Options::default());
    let shop = Shop::with("", |setup| {
        setup
            .mail(&smtp, &["ops@example.org"])
            .part("[notify]\non = \"failure\"\n")
    });
    shop.offer("a.zip", "new", 10);
    shop.refreshed();

    shop.run(&["undo", "--yes"]).expect(0);
    assert_eq!(smtp.mails().len(), 0);
    let config = fs::read_to_string(shop.setup.path("config.toml")).expect("config.toml");
    let always = config.replace("on = \"failure\"", "on = \"always\"");
    fs::write(shop.setup.path("config.toml"), always).expect("config.toml");
    shop.run(&["undo", "--yes", "--notify"]).expect(0);

    let mail = smtp.wait_for(1).remove(0).data;
    assert!(mail.contains("Subject: [backupctl] erp: done"), "{mail}");
}

#[test]
fn an_undo_that_died_in_its_step_or_ended_unclear_counts_as_a_rejection() {
    let shop = refreshed("");
    shop.run(&["undo", "--yes"]).expect(0);
    let mut report = shop.setup.reports().pop().expect("a report");
    let file = format!("state/runs/{}.json", report["run"].as_str().expect("an id"));
    for (verdict, code) in [("null", 7), ("\"unclear\"", 7), ("\"failed\"", 0)] {
        report["steps"][1]["verdict"] = serde_json::from_str(verdict).expect("JSON");
        fs::write(shop.setup.path(&file), report.to_string()).expect("the report");

        shop.run(&["run", "--dry-run"]).expect(code);
    }
}

#[test]
fn what_was_rejected_is_no_measure_for_the_size_of_the_next() {
    // given: an archive a thousand times as large, taken back
    let shop = refreshed("");
    let large = archives::zip()
        .entry("shop.dump", shop.server.dump(&shop.live, &["-Fc"]))
        .entry("ballast.bin", vec![7; 1_000_000])
        .stored();
    shop.offer("b.zip", "newer", 5);
    let modified = fs::metadata(shop.store.path().join("b.zip"))
        .and_then(|meta| meta.modified())
        .expect("its time");
    fs::write(shop.store.path().join("b.zip"), large.build()).expect("a large archive");
    let file = fs::File::options()
        .write(true)
        .open(shop.store.path().join("b.zip"))
        .expect("the archive");
    file.set_modified(modified).expect("its time");
    shop.refreshed();
    shop.run(&["undo", "--yes"]).expect(0);

    // when
    shop.offer("c.zip", "newest", 1);
    let report = shop.refreshed();

    // then
    assert_eq!(report["archive"]["name"], "c.zip");
    assert_eq!(shop.row(), "newest");
}

/// Runs it on a terminal of its own, where `typed` answers the question.
fn on_terminal(shop: &Shop, arguments: &[&str], typed: &str) -> (Option<i32>, String) {
    let script = "
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = b''
while b'[y/N] ' not in seen:
    seen += os.read(terminal, 1)
os.write(terminal, sys.argv[1].encode())
try:
    while chunk := os.read(terminal, 1024):
        seen += chunk
except OSError:
    pass
print(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script, typed])
        .arg(binary())
        .arg("-c")
        .arg(shop.setup.path("config.toml"))
        .args(arguments)
        .output()
        .expect("python3");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), shown)
}

#[test]
fn on_a_terminal_an_undo_shows_what_it_would_do_and_asks() {
    let shop = refreshed("");
    let previous = shop.previous().remove(0);

    for (typed, code) in [("n\n", 2), ("\n", 2), ("\u{3}", 130)] {
        let (ended, shown) = on_terminal(&shop, &["undo"], typed);
        assert_eq!(ended, Some(code), "{shown}");
        assert!(
            shown.contains(&previous) && shown.contains("a.zip"),
            "{shown}"
        );
        assert_eq!(shop.row(), "new");
        assert_eq!(shop.previous(), [previous.as_str()]);
    }
    let (ended, shown) = on_terminal(&shop, &["undo"], "yes\n");

    assert_eq!(ended, Some(0), "{shown}");
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_hook_that_is_missing_is_found_before_anybody_is_asked_to_go_back() {
    let shop = refreshed("");
    add(&shop, "before_swap = [[\"no-such-program\"]]");

    let planned = shop.run(&["undo", "--dry-run"]).expect(3);

    assert!(planned.stderr.contains("before_swap"), "{planned}");
    assert_eq!(shop.row(), "new");
}
