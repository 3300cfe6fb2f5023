//! `[notify] ping`: the dead man's switch hears of every run, and of nothing else.

use rustix::process::Signal;

use super::command::change;
use super::webhook::is_nowhere;
use crate::support::hook::{Hook, Reply};
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};

const UUID: &str = "5bf66975-ping-canary-8b1d";

fn with_ping(hook: &Hook, lines: &str) -> Shop {
    let notify = format!(
        "[notify]\nping = \"env:PING_URL\"\nca_file = \"{}\"\n",
        hook.ca_file().display()
    );
    let shop = Shop::with(lines, |setup| {
        setup.part(&notify).secret("PING_URL", &hook.url(UUID))
    });
    shop.offer("a.zip", "new", 10);
    shop
}

fn path(end: &str) -> String {
    format!("/{UUID}{end}")
}

#[test]
fn a_run_pings_its_begin_and_its_success_under_one_id() {
    let hook = Hook::start();
    let shop = with_ping(&hook, "");

    let ran = shop.run(&["run", "-vv"]).expect(0);

    let requests = hook.wait_for(2);
    assert_eq!(hook.paths(), [path("/start"), path("")]);
    assert_eq!(requests[0].rid().len(), 36);
    assert_eq!(requests[0].rid(), requests[1].rid());
    let body = &requests[1].body;
    assert!(
        body.starts_with("[backupctl] erp: done (exit code 0), run "),
        "{body}"
    );
    assert!(body.contains("\nswap      done "), "{body}");
    assert!(body.len() < 2000, "a summary, no log: {body}");
    is_nowhere(UUID, &shop, &[&ran]);
    // Another run is another pair.
    shop.run(&["run"]).expect(0);
    assert_ne!(hook.wait_for(4)[2].rid(), requests[0].rid());
}

#[test]
fn whatever_is_not_done_pings_a_failure() {
    // given
    let (hook, smtp) = (Hook::start(), Smtp::start(Options::default()));
    let shop = with_ping(&hook, "");

    // when: a failure, and an open duty
    shop.run(&["run", "--archive", "missing.zip"]).expect(7);
    let config = std::fs::read_to_string(shop.setup.path("config.toml")).expect("config.toml");
    let relay = smtp
        .toml(&["ops@example.org"])
        .replace("env:SMTP_PASSWORD", "env:PING_URL");
    std::fs::write(shop.setup.path("config.toml"), config + &relay).expect("config.toml");
    shop.run(&["run"]).expect(12);

    // then
    let requests = hook.wait_for(4);
    assert_eq!(
        hook.paths(),
        [path("/start"), path("/fail"), path("/start"), path("/fail")]
    );
    assert!(
        requests[1].body.contains("missing.zip"),
        "{}",
        requests[1].body
    );
    let told = &requests[3].body;
    assert!(told.contains("erp: attention (exit code 12)"), "{told}");
    assert!(told.contains("not delivered"), "{told}");
}

#[test]
fn each_job_has_its_own_check() {
    let hook = Hook::in_clear();
    let notify = format!(
        "[notify]\nping = \"{}\"\n",
        hook.url("key/backup-{job}?create=1")
    );
    let own = format!(
        "[restores.crm]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"crm_*.zip\"\nping = \"{}\"\n",
        hook.url("own")
    );
    let shop = Shop::with("", |setup| setup.part(&notify).part(&own));
    shop.offer("a.zip", "new", 10);

    shop.run(&["run", "erp"]).expect(0);
    shop.run(&["run", "crm"]).expect(7);

    let paths = [
        "/key/backup-erp/start",
        "/key/backup-erp",
        "/own/start",
        "/own/fail",
    ];
    assert_eq!(hook.paths(), paths);
    assert!(hook.requests()[0].target.contains("/start?create=1&rid="));
}

#[test]
fn jobs_that_share_a_check_are_warned_of_it() {
    let hook = Hook::in_clear();
    let notify = format!("[notify]\nping = \"{}\"\n", hook.url("one"));
    let other = "[restores.crm]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"*.zip\"\n";
    let shop = Shop::with("", |setup| setup.part(&notify).part(other));
    shop.offer("a.zip", "new", 10);

    let ran = shop.run(&["check", "erp"]).expect(0);

    assert!(ran.stdout.contains("warning  ping tcp"), "{ran}");
    assert!(
        ran.stdout.contains("success hides another's silence"),
        "{ran}"
    );
    assert!(hook.requests().is_empty());
}

#[test]
fn a_begin_that_is_not_heard_is_a_warning_and_an_end_a_duty() {
    // given
    let hook = Hook::start();
    let shop = with_ping(&hook, "");
    let refused = || Reply::Status(404, "no such check 5bf66975-ping-canary-8b1d");

    // when
    hook.reply(&[refused()]);
    let begin = shop.run(&["run", "--json"]).expect(0).json();
    hook.reply(&[Reply::Status(200, ""), refused()]);
    let end = shop.run(&["run", "--json"]).expect(12);
    hook.reply(&[Reply::Status(200, ""), refused()]);
    let worse = shop
        .run(&["run", "--json", "--archive", "missing.zip"])
        .expect(7)
        .json();

    // then
    let warnings = begin["warnings"].to_string();
    assert!(
        warnings.contains("the begin was not told to") && warnings.contains("404"),
        "{warnings}"
    );
    let report = end.json();
    let message = report["message"].as_str().expect("a message");
    let told = format!("the end was not told to {}: it answered 404", hook.origin());
    assert!(message.starts_with(&told), "{message}");
    assert!(
        report["hint"].to_string().contains("mend `ping`"),
        "{report}"
    );
    assert_eq!(
        shop.setup.reports()[1]["verdict"],
        "attention",
        "on disk too"
    );
    assert_eq!(shop.row(), "new");
    assert!(
        worse["warnings"]
            .to_string()
            .contains("the end was not told"),
        "{worse}"
    );
    is_nowhere(UUID, &shop, &[&end]);
}

#[test]
fn a_silent_switch_keeps_no_signal_waiting() {
    // given: it hears the begin and the end, and answers neither
    let hook = Hook::start();
    let shop = with_ping(&hook, "");
    hook.reply(&[Reply::Hang, Reply::Hang]);
    let running = shop.setup.start(&["run"]);
    hook.wait_for(1);

    // when
    running.signal(Signal::TERM);
    hook.wait_for(2);
    running.signal(Signal::TERM);

    // then
    running.finish().expect(143);
    assert_eq!(hook.paths(), [path("/start"), path("/fail")]);
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_dry_run_a_locked_one_and_single_steps_ping_nothing() {
    // given: a run that waits for its switch
    let hook = Hook::start();
    let shop = with_ping(&hook, "");
    shop.run(&["run", "-n"]).expect(0);
    shop.run(&["fetch"]).expect(0);
    assert!(hook.requests().is_empty());
    hook.reply(&[Reply::Hang]);
    let running = shop.setup.start(&["run"]);
    hook.wait_for(1);

    // when
    shop.run(&["run"]).expect(4);

    // then
    assert_eq!(hook.paths(), [path("/start")]);
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

#[test]
fn a_missing_secret_pings_nothing_and_says_so() {
    let hook = Hook::start();
    let shop = with_ping(&hook, "");
    change(&shop.setup, "env:PING_URL", "env:NO_SUCH_URL");

    let ran = shop.run(&["run"]).expect(3);

    assert!(ran.stderr.contains("NO_SUCH_URL"), "{ran}");
    assert_eq!((hook.connections(), shop.row().as_str()), (0, "old"));
}
