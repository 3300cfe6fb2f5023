//! `backupctl notify`, and the mail at the end of a run, as an operator gets them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::decoded;
use crate::support::postgres::free_port;
use crate::support::program::Setup;
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Received, Smtp};

const OPS: &str = "ops@example.org";
const DBA: &str = "dba@example.org";

fn with_mail(smtp: &Smtp, to: &[&str]) -> Shop {
    let shop = Shop::with("", |setup| setup.mail(smtp, to));
    shop.offer("a.zip", "new", 10);
    shop
}

fn header<'a>(mail: &'a Received, name: &str) -> &'a str {
    let mut lines = mail.data.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in\n{}", mail.data))
}

fn text(mail: &Received) -> String {
    let decoded = decoded(&mail.data);
    decoded["parts"][0][3].as_str().expect("a text").to_owned()
}

pub fn change(setup: &Setup, from: &str, to: &str) {
    let path = setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    assert!(config.contains(from), "{from} in\n{config}");
    fs::write(path, config.replace(from, to)).expect("config.toml");
}

fn fits_80_columns(text: &str) {
    for line in text.lines() {
        let words = line.split_whitespace().count();
        // A path, a hash or an address can't be broken, nor be parted from its label.
        assert!(
            line.chars().count() <= 80 || words <= 2,
            "{line}\nin\n{text}"
        );
    }
}

#[test]
fn a_run_mails_what_it_prints_and_the_way_back_by_hand() {
    // given
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);

    // when
    let ran = shop.run(&["run"]).expect(0);

    // then
    let mail = smtp.wait_for(1).remove(0);
    assert_eq!(header(&mail, "Subject"), "[backupctl] erp: done");
    assert_eq!(header(&mail, "X-Backupctl-Verdict"), "done");
    let text = text(&mail);
    assert!(text.contains("go back   backupctl undo erp"), "{text}");
    assert!(text.contains("a.zip"), "{text}");
    fits_80_columns(&text);
    fits_80_columns(&ran.stdout);
    let opening = |text: &str| text.lines().take(12).collect::<Vec<_>>().join("\n");
    assert_eq!(opening(&text), opening(&ran.stdout));
    assert_eq!(decoded(&mail.data)["parts"][1][0], "text/plain", "the log");
}

#[test]
fn a_stale_run_and_a_failed_check_are_mailed_with_what_to_do() {
    // given
    let smtp = Smtp::start(Options::default());
    let lines = "max_age = \"1h\"\n[[restores.erp.checks]]\nsql = \"select count(*) from t\"\nat_least = 2\n";
    let shop = Shop::with(lines, |setup| setup.mail(&smtp, &[OPS]));

    // when
    shop.offer("a.zip", "new", 90);
    let stale = shop.run(&["run"]).expect(7);
    shop.offer("a.zip", "new", 1);
    let failed = shop.run(&["run"]).expect(10);

    // then
    let mails = smtp.wait_for(2);
    assert_eq!(header(&mails[0], "Subject"), "[backupctl] erp: stale");
    let first = text(&mails[0]);
    assert!(
        first.contains("--accept") && first.contains("What to do:"),
        "{first}"
    );
    assert!(
        first.contains(&format!("{} on 127.0.0.1 is unchanged", shop.live)),
        "{first}"
    );
    assert_eq!(header(&mails[1], "Subject"), "[backupctl] erp: failed");
    let second = text(&mails[1]);
    assert!(
        second.starts_with("A check of the new data did not hold; "),
        "{second}"
    );
    assert!(
        second.contains("proven\nunchanged") || second.contains("proven unchanged"),
        "{second}"
    );
    assert!(second.contains("expected at least 2, found 1"), "{second}");
    assert!(
        !second.contains("backupctl undo"),
        "nothing to go back from: {second}"
    );
    for text in [&first, &second, &stale.stdout, &failed.stdout] {
        fits_80_columns(text);
    }
    assert_eq!(shop.row(), "old");
}

#[test]
fn notify_sends_the_last_runs_report_again_under_the_same_id() {
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS, DBA]);
    shop.run(&["run"]).expect(0);
    let reports = shop.setup.reports();

    let ran = shop.run(&["notify"]).expect(0);

    let mails = smtp.wait_for(4);
    for (first, again) in [(0, 2), (1, 3)] {
        assert_eq!(
            header(&mails[first], "Message-ID"),
            header(&mails[again], "Message-ID")
        );
        assert_eq!(mails[first].to, mails[again].to);
    }
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("ops@example.org: ") && lines[1].starts_with("dba@example.org: "),
        "{ran}"
    );
    assert_eq!(ran.stderr, "");
    assert_eq!(shop.setup.reports(), reports, "it is no run");
}

#[test]
fn a_test_message_needs_no_run_and_says_that_it_is_one() {
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);

    let document = shop.run(&["notify", "--test", "--json"]).expect(0).json();

    let mail = smtp.wait_for(1).remove(0);
    assert!(
        header(&mail, "Subject").starts_with("[backupctl] test from "),
        "{}",
        mail.data
    );
    assert_eq!(document["verdict"], "done");
    assert_eq!(document["notified"][0]["to"], OPS);
    assert_eq!(document["notified"][0]["ok"], true);
    assert!(shop.setup.reports().is_empty());
}

#[test]
fn without_a_run_there_is_nothing_to_send_again() {
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);

    let ran = shop.run(&["notify"]).expect(7);
    shop.run(&["notify", "--dry-run"]).expect(7);

    assert!(ran.stderr.contains("--test"), "{ran}");
    assert!(smtp.mails().is_empty());
}

#[test]
fn without_notify_email_nobody_can_be_told() {
    let shop = Shop::new("");
    for arguments in [&["notify"][..], &["notify", "--test"], &["notify", "-n"]] {
        let ran = shop.run(arguments).expect(3);
        assert!(ran.stderr.contains("[notify.email]"), "{ran}");
    }
}

#[test]
fn a_dry_notify_sends_nothing_and_finds_a_missing_password() {
    // given
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);

    // when, then
    let ran = shop.run(&["notify", "--test", "-n"]).expect(0);
    assert!(ran.stdout.contains(OPS), "{ran}");
    change(&shop.setup, "env:SMTP_PASSWORD", "env:NO_SUCH_PASSWORD");
    let ran = shop.run(&["notify", "--test", "-n"]).expect(3);
    assert!(ran.stderr.contains("NO_SUCH_PASSWORD"), "{ran}");
    assert!(smtp.commands().is_empty());
}

#[test]
fn a_mail_server_that_is_down_is_a_duty_and_the_data_stands() {
    // given
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);
    change(
        &shop.setup,
        &format!("port = {}\nsecurity", smtp.port),
        &format!("port = {}\nsecurity", free_port()),
    );

    // when
    let ran = shop.run(&["run", "--json"]).expect(12);

    // then
    let report = ran.json();
    assert_eq!(shop.row(), "new");
    assert_eq!(report["verdict"], "attention");
    assert_eq!(report["notified"][0]["ok"], false);
    let steps = report["steps"].as_array().expect("steps");
    let notify = steps.last().expect("a step");
    assert_eq!(
        (&notify["step"], &notify["verdict"]),
        (&"notify".into(), &"attention".into())
    );
    assert!(
        !steps[0]["message"].to_string().contains(", "),
        "only who answered: {}",
        steps[0]
    );
    assert!(
        report["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("notify --test")),
        "{report}"
    );
    assert_eq!(
        shop.setup.reports().pop().expect("a report")["verdict"],
        "attention"
    );

    // when: asked for again
    let again = shop.run(&["notify", "--json"]).expect(12);

    // then
    let document = again.json();
    assert_eq!(document["verdict"], "attention");
    assert_eq!(document["exit_code"], 12);
    assert_eq!(document["notified"][0]["ok"], false);
}

#[test]
fn what_could_not_be_delivered_goes_out_with_the_next_run_once() {
    // given: one of two refused for a night
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS, DBA]);
    smtp.reply_at("rcpt", "451 4.3.0 later");
    let missed = shop.run(&["run", "--json"]).expect(12).json();
    smtp.reply_normally();

    // when
    shop.run(&["run"]).expect(0);
    shop.run(&["run"]).expect(0);

    // then
    let mails = smtp.wait_for(6);
    assert_eq!(mails.len(), 6, "three reports for two people");
    let late: Vec<&Received> = mails
        .iter()
        .filter(|mail| missed["run"] == header(mail, "X-Backupctl-Run"))
        .collect();
    assert_eq!(late.len(), 2);
    let first = shop.setup.reports().remove(0);
    assert_eq!(first["run"], missed["run"]);
    assert_eq!(first["notified"][1]["ok"], true);
    assert_eq!(first["verdict"], "attention", "how it ended stays true");
    // Its report was written anew by us, which is no edit.
    shop.run(&["report"]).expect(0);
}

#[test]
fn an_undelivered_report_goes_out_even_where_success_is_not_mailed() {
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);
    change(
        &shop.setup,
        "[restores.erp]",
        "[notify]\non = \"failure\"\n\n[restores.erp]",
    );
    smtp.reply_at("connect", "421 4.3.2 closing");
    shop.run(&["run", "--archive", "missing.zip"]).expect(7);
    smtp.reply_normally();

    let report = shop.refreshed();
    shop.refreshed();

    let mails = smtp.wait_for(1);
    assert_eq!(mails.len(), 1);
    assert_eq!(header(&mails[0], "Subject"), "[backupctl] erp: stale");
    assert_eq!(report["notified"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_wrong_mail_password_is_a_duty_named_for_everybody_and_shown_nowhere() {
    // given
    let smtp = Smtp::start(Options::default());
    let wrong = "wrong-canary-51aa";
    let shop = Shop::with("", |setup| {
        setup
            .part(&smtp.toml(&[OPS, DBA]))
            .secret("SMTP_PASSWORD", wrong)
    });
    shop.offer("a.zip", "new", 10);

    // when
    let ran = shop.run(&["run", "-vv"]).expect(12);

    // then
    assert!(
        ran.stderr.contains(OPS) && ran.stderr.contains(DBA),
        "{ran}"
    );
    assert!(!ran.to_string().contains(wrong), "{ran}");
    assert!(smtp.mails().is_empty());
    assert_eq!(shop.row(), "new");
}

#[test]
fn a_missing_mail_password_stops_a_run_before_anything_is_done() {
    let smtp = Smtp::start(Options::default());
    let shop = Shop::with("", |setup| setup.part(&smtp.toml(&[OPS])));
    shop.offer("a.zip", "new", 10);

    let ran = shop.run(&["run"]).expect(3);

    assert!(ran.stderr.contains("SMTP_PASSWORD"), "{ran}");
    assert_eq!(shop.row(), "old");
}

#[test]
fn people_are_told_even_when_the_report_can_no_longer_be_written() {
    // given: the reports' directory becomes a file while the application is stopped
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);
    let runs = shop.setup.path("state/runs");
    let script = format!("rm -rf {0} && touch {0}", runs.display());
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    let hook = format!("{config}before_swap = [[\"sh\", \"-c\", \"{script}\"]]\n");
    fs::write(&path, hook).expect("config.toml");

    // when
    let report = shop.run(&["run", "--json"]).expect(12).json();

    // then
    assert_eq!(shop.row(), "new");
    assert!(
        report["message"]
            .as_str()
            .is_some_and(|m| m.contains("write the report")),
        "{report}"
    );
    let mail = smtp.wait_for(1).remove(0);
    assert_eq!(header(&mail, "Subject"), "[backupctl] erp: attention");
}

#[test]
fn the_text_for_an_open_duty_says_the_data_is_live_and_what_is_left() {
    let smtp = Smtp::start(Options::default());
    let shop = with_mail(&smtp, &[OPS]);
    let hook = "after_swap = [[\"sh\", \"-c\", \"echo cannot start; exit 1\"]]";
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(&path, format!("{config}{hook}\n")).expect("config.toml");

    let ran = shop.run(&["run"]).expect(12);

    let mail = smtp.wait_for(1).remove(0);
    assert_eq!(header(&mail, "Subject"), "[backupctl] erp: attention");
    let text = text(&mail);
    assert!(
        text.contains("is now the backup of") && text.contains("a duty is left to you"),
        "{text}"
    );
    assert!(
        text.contains("cannot start") && text.contains("after_swap"),
        "{text}"
    );
    assert!(text.contains("backupctl undo erp"), "{text}");
    fits_80_columns(&text);
    fits_80_columns(&ran.stdout);
    let log = shop.setup.reports().pop().expect("a report")["run"].clone();
    let log = shop
        .setup
        .path(&format!("state/runs/{}.log", log.as_str().expect("an id")));
    let mode = fs::metadata(log)
        .expect("the run's log")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
