//! Signals, other machines and other commands at a bad moment.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::hook::{Hook, Reply};
use crate::support::shop::Shop;

/// What is left after a signal, and as much again for a busy machine; the secret takes four times that.
const SOON: Duration = Duration::from_secs(15);

fn wait_for(path: &Path) {
    let until = Instant::now() + Duration::from_secs(30);
    while !path.exists() {
        assert!(Instant::now() < until, "no {}", path.display());
        sleep(Duration::from_millis(20));
    }
}

/// A program that prints the URL at once for the first `quick` times, and then says so and takes a minute.
fn slow_secret(shop: &Shop, url: &str, quick: usize) -> String {
    let directory = shop.setup.path("");
    let script = format!(
        "cd {}\nfor n in $(seq {quick}); do mkdir call$n 2>/dev/null && echo {url} && exit; done\n\
         touch slow; sleep 60\n",
        directory.display()
    );
    let path = directory.join("secret.sh");
    fs::write(&path, script).expect("a script");
    format!("command:/bin/sh {}", path.display())
}

fn append(shop: &Shop, toml: &str) {
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(path, format!("{config}\n{toml}")).expect("config.toml");
}

#[test]
fn a_signal_waits_for_no_secret_of_the_switch() {
    // given
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);
    let secret = slow_secret(&shop, "", 0);
    append(&shop, &format!("[notify]\nping = \"{secret}\"\n"));
    let running = shop.setup.start(&["run"]);
    wait_for(&shop.setup.path("slow"));

    // when
    let clock = Instant::now();
    running.signal(Signal::TERM);

    // then
    running.finish().expect(143);
    assert!(clock.elapsed() < SOON, "{:?}", clock.elapsed());
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_signal_waits_for_no_secret_of_the_webhook() {
    // given: the data is live, and the URL does not come
    let hook = Hook::in_clear();
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);
    let secret = slow_secret(&shop, &hook.url("x"), 1);
    append(&shop, &format!("[notify.webhook]\nurl = \"{secret}\"\n"));
    let running = shop.setup.start(&["run"]);
    wait_for(&shop.setup.path("slow"));

    // when
    let clock = Instant::now();
    running.signal(Signal::TERM);

    // then
    let ran = running.finish().expect(12);
    assert!(clock.elapsed() < SOON, "{:?}", clock.elapsed());
    assert!(ran.stderr.contains("was not waited for"), "{ran}");
    assert_eq!(shop.row(), "new");
}

#[test]
fn a_begin_that_was_told_has_an_end_where_another_machine_restores() {
    // given: another machine holds the live database
    let hook = Hook::in_clear();
    let part = format!("[notify]\nping = \"{}\"\n", hook.url("x"));
    let shop = Shop::with("", |setup| setup.part(&part));
    shop.offer("a.zip", "new", 10);
    let live = &shop.live;
    let sql = format!(
        "select pg_advisory_lock(('x' || left(encode(sha256('backupctl restores into {live}'), 'hex'), 16))::bit(64)::int8)"
    );
    let _held = shop.server.session("postgres", &sql);

    // when
    shop.run(&["run"]).expect(4);

    // then
    let requests = hook.wait_for(2);
    assert_eq!(hook.paths(), ["/x/start", "/x/fail"]);
    assert_eq!(requests[0].rid(), requests[1].rid());
    assert!(requests[1].body.contains("locked"), "{}", requests[1].body);
    assert!(shop.setup.reports().is_empty());
}

#[test]
fn a_report_that_is_sent_while_its_run_works_stays_the_runs_own() {
    // given: a run that waits for its switch
    let hook = Hook::in_clear();
    let part = format!(
        "[notify]\nping = \"{0}\"\n[notify.webhook]\nurl = \"{0}\"\n",
        hook.url("x")
    );
    let shop = Shop::with("", |setup| setup.part(&part));
    shop.offer("a.zip", "new", 10);
    hook.reply(&[Reply::Hang]);
    let running = shop.setup.start(&["run"]);
    hook.wait_for(1);

    // when
    shop.run(&["notify"]).expect(0);

    // then
    assert!(!shop.setup.path("state/runs/chain").exists());
    running.signal(Signal::TERM);
    running.finish().expect(143);
    let chain = fs::read_to_string(shop.setup.path("state/runs/chain")).expect("a chain");
    assert_eq!(chain.lines().count(), 1, "{chain}");
    shop.run(&["report"]).expect(0);
}
