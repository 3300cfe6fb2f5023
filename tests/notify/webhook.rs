//! `[notify.webhook]`, against a real HTTPS server.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use backupctl::config::Endpoint;
use backupctl::notify::http::{self, Bounds, Message, Way};
use backupctl::verdict::Verdict;

use super::command::change;
use crate::support::hook::{Hook, Reply};
use crate::support::postgres::free_port;
use crate::support::program::{Ran, Setup};
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};

const PATH: &str = "services/T0/webhook-canary-77d1";
const TOKEN: &str = "header-canary-90ab";
const OPS: &str = "ops@example.org";

fn table(hook: &Hook, lines: &str) -> String {
    let ca_file = hook.ca_file();
    format!(
        "[notify.webhook]\nurl = \"env:HOOK_URL\"\nca_file = \"{}\"\n{lines}\n",
        ca_file.display()
    )
}

fn setup(setup: Setup, hook: &Hook, lines: &str) -> Setup {
    setup
        .part(&table(hook, lines))
        .secret("HOOK_URL", &hook.url(PATH))
}

fn with_hook(hook: &Hook, lines: &str) -> Shop {
    let shop = Shop::with("", |s| setup(s, hook, lines));
    shop.offer("a.zip", "new", 10);
    shop
}

/// Neither what was printed nor what lies in the state directory has any of it.
pub fn is_nowhere(canary: &str, shop: &Shop, ran: &[&Ran]) {
    for ran in ran {
        assert!(!ran.to_string().contains(canary), "{canary} in\n{ran}");
    }
    search(canary, &shop.setup.path("state"));
}

fn search(canary: &str, directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(canary, &path);
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        let found = bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
        assert!(!found, "{canary} in {}", path.display());
    }
}

#[test]
fn a_run_posts_its_summary_with_the_secret_headers_and_shows_only_the_origin() {
    // given
    let hook = Hook::start();
    let headers = "headers = { Authorization = \"env:HOOK_TOKEN\" }";
    let shop = Shop::with("", |s| {
        setup(s, &hook, headers).secret("HOOK_TOKEN", &format!("Bearer {TOKEN}"))
    });
    shop.offer("a.zip", "new", 10);

    // when
    let ran = shop.run(&["run", "--json", "-vv"]).expect(0);

    // then
    let request = hook.wait_for(1).remove(0);
    assert_eq!(
        (request.method.as_str(), request.path()),
        ("POST", &*format!("/{PATH}"))
    );
    assert_eq!(request.header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(request.header("content-type"), "application/json");
    let (sent, report) = (request.json(), ran.json());
    for field in ["run", "job", "host", "verdict", "exit_code", "seconds"] {
        assert!(sent.get(field).is_some(), "{field} in {sent:#}");
    }
    assert_eq!(sent["run"], report["run"]);
    assert_eq!(sent["verdict"], "done");
    assert_eq!(sent["archive"]["name"], "a.zip");
    assert_eq!(sent["steps"][1]["step"], "fetch");
    assert!(sent.get("log").is_none() && sent.get("checks").is_none());
    let told = &report["notified"][0];
    assert_eq!(
        (&told["to"], &told["ok"]),
        (&hook.origin().into(), &true.into())
    );
    assert_eq!(told["message"], "200 OK");
    for canary in [PATH, "webhook-canary-77d1", TOKEN] {
        is_nowhere(canary, &shop, &[&ran]);
    }
}

#[test]
fn a_failed_run_is_posted_in_slacks_format() {
    let hook = Hook::start();
    let shop = with_hook(&hook, "format = \"slack\"");

    shop.run(&["run", "--archive", "<missing>.zip"]).expect(7);

    let sent = hook.wait_for(1).remove(0).json();
    let text = sent["text"].as_str().expect("a text");
    assert_eq!(sent.as_object().map(serde_json::Map::len), Some(1));
    assert!(
        text.starts_with("[backupctl] erp: stale (exit code 7)"),
        "{text}"
    );
    assert!(
        text.contains("&lt;missing&gt;.zip") && !text.contains('<'),
        "{text}"
    );
    assert!(text.contains("What to do: "), "{text}");
}

#[test]
fn a_certificate_that_is_not_proven_gets_nothing_and_is_a_duty() {
    // given: an authority that nobody knows, and a name that is another one
    let (unknown, other) = (Hook::start(), Hook::start_for("DNS:other.example.org"));
    let shop = with_hook(&unknown, "");
    change(&shop.setup, "ca_file", "# ca_file");

    // when
    let first = shop.run(&["run", "--json"]).expect(12).json();
    let second = with_hook(&other, "");
    let second = second.run(&["run", "--json"]).expect(12).json();

    // then
    let message = first["message"].as_str().expect("a message");
    assert!(
        message.contains("an authority that this machine doesn't know"),
        "{message}"
    );
    assert!(
        message.contains("set `notify.webhook.ca_file`"),
        "{message}"
    );
    assert!(
        first["hint"].to_string().contains("mend `notify.webhook`"),
        "{first}"
    );
    let message = second["message"].as_str().expect("a message");
    assert!(
        message.contains("`notify.webhook.url` must be a name"),
        "{message}"
    );
    assert_eq!(unknown.requests().len() + other.requests().len(), 0);
    assert_eq!(
        unknown.connections(),
        1,
        "a certificate gets no better by trying"
    );
    assert_eq!(shop.row(), "new");
}

#[test]
fn a_server_with_a_moments_trouble_is_tried_again_and_one_that_refuses_is_not() {
    // given
    let hook = Hook::start();
    let headers = "headers = { Authorization = \"env:HOOK_TOKEN\" }";
    let shop = Shop::with("", |s| {
        setup(s, &hook, headers).secret("HOOK_TOKEN", &format!("Bearer {TOKEN}"))
    });
    shop.offer("a.zip", "new", 10);
    let refusal =
        "no_service for /services/T0/webhook-canary-77d1 and header-canary-90ab\u{1b}[31m";
    hook.reply(&[Reply::Status(500, "a moment"), Reply::Status(200, "")]);

    // when
    shop.run(&["run"]).expect(0);
    hook.reply(&[Reply::Status(404, refusal)]);
    let refused = shop.run(&["run"]).expect(12);

    // then
    assert_eq!(hook.requests().len(), 3);
    assert!(
        refused.stderr.contains("404 Not Found: no_service for"),
        "{refused}"
    );
    is_nowhere("webhook-canary-77d1", &shop, &[&refused]);
    is_nowhere(TOKEN, &shop, &[&refused]);
    assert!(!refused.to_string().contains('\u{1b}'), "{refused}");
}

#[test]
fn a_redirect_is_followed_nowhere() {
    let (hook, elsewhere) = (Hook::start(), Hook::in_clear());
    let shop = with_hook(&hook, "");
    hook.reply(&[Reply::Redirect(elsewhere.url("thief"))]);

    let ran = shop.run(&["run"]).expect(12);

    assert!(
        ran.stderr.contains("302 Found, which leads elsewhere"),
        "{ran}"
    );
    assert_eq!((hook.requests().len(), elsewhere.connections()), (1, 0));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_bounded_attempts() {
    let hook = Hook::in_clear();
    hook.reply(&[Reply::Hang, Reply::Hang, Reply::Hang]);
    let way = Way {
        endpoint: Endpoint::parse(&hook.url("x")).expect("a URL"),
        ca_file: None,
        setting: "notify.webhook.url".into(),
    };
    let message = Message {
        content_type: "text/plain",
        headers: Vec::new(),
        body: String::new(),
    };
    let short = Duration::from_millis(200);
    let bounds = Bounds {
        attempt: short,
        first_wait: short / 10,
        ..http::BOUNDS
    };

    let start = Instant::now();
    let failed = http::post(&way, &message, bounds)
        .await
        .expect_err("silence");
    let tight = Bounds {
        total: short,
        ..bounds
    };
    let once = http::post(&way, &message, tight).await;

    assert_eq!(failed.verdict, Verdict::Network);
    assert_eq!(
        failed.message(),
        "gave up after 3 attempts: no answer within 200ms"
    );
    assert_eq!(hook.wait_for(4).len(), 4);
    assert!(once.is_ok(), "the fourth answer is 200 again: {once:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let usual = http::BOUNDS;
    assert_eq!((usual.total.as_secs(), usual.attempt.as_secs()), (30, 10));
}

#[test]
fn mail_and_webhook_are_both_tried_and_who_missed_a_report_gets_it_with_the_next_run() {
    // given: both are configured, the webhook refuses for a night
    let (hook, smtp) = (Hook::start(), Smtp::start(Options::default()));
    let shop = Shop::with("", |s| setup(s.mail(&smtp, &[OPS]), &hook, ""));
    shop.offer("a.zip", "new", 10);
    hook.reply(&[Reply::Status(410, "gone")]);

    // when
    let missed = shop.run(&["run", "--json"]).expect(12).json();
    let next = shop.run(&["run", "--json"]).expect(0).json();
    shop.run(&["run"]).expect(0);

    // then
    assert_eq!(missed["notified"][0]["ok"], true);
    assert_eq!(missed["notified"][1]["ok"], false);
    let runs: Vec<_> = hook
        .requests()
        .iter()
        .map(|r| r.json()["run"].clone())
        .collect();
    assert_eq!(runs.len(), 4, "three reports, one of them twice");
    assert_eq!(
        runs[..3],
        [
            missed["run"].clone(),
            next["run"].clone(),
            missed["run"].clone()
        ]
    );
    assert_eq!(smtp.wait_for(3).len(), 3, "nobody is told twice");
    let first = shop.setup.reports().remove(0);
    assert_eq!(first["notified"][1]["ok"], true);
    let late = &hook.requests()[2].json();
    assert_eq!(late["verdict"], "attention");
}

#[test]
fn success_is_posted_only_where_it_is_wanted() {
    let hook = Hook::start();
    let shop = with_hook(&hook, "");
    change(
        &shop.setup,
        "[notify.webhook]",
        "[notify]\non = \"failure\"\n[notify.webhook]",
    );

    shop.run(&["run"]).expect(0);
    shop.run(&["run", "--archive", "missing.zip"]).expect(7);

    assert_eq!(hook.wait_for(1)[0].json()["verdict"], "stale");
    assert_eq!(hook.requests().len(), 1);
}

#[test]
fn a_webhook_that_is_down_never_hides_what_is_worse() {
    let hook = Hook::start();
    let shop = with_hook(&hook, "");
    hook.reply(&[Reply::Status(403, "no")]);

    let report = shop
        .run(&["run", "--json", "--archive", "missing.zip"])
        .expect(7)
        .json();

    assert_eq!(report["verdict"], "stale");
    assert!(
        report["warnings"].to_string().contains("403 Forbidden"),
        "{report}"
    );
}

#[test]
fn a_webhooks_secret_that_is_no_url_ends_a_run_before_anything_is_done() {
    let hook = Hook::start();
    let shop = Shop::with("", |s| {
        s.part(&table(&hook, ""))
            .secret("HOOK_URL", "http://example.org/webhook-canary-77d1")
    });
    shop.offer("a.zip", "new", 10);

    let ran = shop.run(&["run"]).expect(3);

    assert!(
        ran.stderr.contains("`notify.webhook.url` is http://"),
        "{ran}"
    );
    is_nowhere("webhook-canary-77d1", &shop, &[&ran]);
    assert_eq!(shop.row(), "old");
}

#[test]
fn notify_sends_the_last_report_again_and_a_test_by_every_channel() {
    // given
    let (hook, smtp, switch) = (
        Hook::start(),
        Smtp::start(Options::default()),
        Hook::in_clear(),
    );
    let ping = format!(
        "[notify]\nping = \"{}\"\n[notify.webhook]",
        switch.url("uuid")
    );
    let shop = Shop::with("", |s| setup(s.mail(&smtp, &[OPS]), &hook, ""));
    shop.offer("a.zip", "new", 10);
    change(&shop.setup, "[notify.webhook]", &ping);
    let report = shop.refreshed();

    // when
    let again = shop.run(&["notify"]).expect(0);
    let test = shop.run(&["notify", "--test"]).expect(0);
    let dry = shop.run(&["notify", "--test", "-n"]).expect(0);

    // then
    let requests = hook.wait_for(3);
    assert_eq!(requests[1].json()["run"], report["run"]);
    assert_eq!(requests[2].json()["test"], true);
    assert_eq!((requests.len(), smtp.wait_for(3).len()), (3, 3));
    let to = |ran: &Ran| -> Vec<String> {
        let lines = ran.stdout.lines();
        lines
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(to(&again), [OPS, &hook.origin()]);
    let all = [OPS, &hook.origin(), &format!("{} (ping)", switch.origin())];
    assert_eq!(
        (to(&test), to(&dry)),
        (
            all.map(str::to_owned).to_vec(),
            all.map(str::to_owned).to_vec()
        )
    );
    assert_eq!(
        switch.paths(),
        ["/uuid/start", "/uuid", "/uuid/log"],
        "a test is no sign of life"
    );
}

#[test]
fn check_proves_the_way_to_each_url_and_sends_nothing() {
    // given
    let (hook, other) = (Hook::start(), Hook::start_for("DNS:other.example.org"));
    let shop = with_hook(&hook, "");
    let ping = format!(
        "[notify]\nping = \"{}\"\n[notify.webhook]",
        other.url("uuid")
    );
    change(&shop.setup, "[notify.webhook]", &ping);

    // when
    let document = shop.run(&["check", "--json"]).expect(6).json();
    let port = free_port();
    change(
        &shop.setup,
        &format!("127.0.0.1:{}", other.port),
        &format!("127.0.0.1:{port}"),
    );
    let down = shop.run(&["check"]).expect(5);

    // then
    let links = document["links"].as_array().expect("links");
    let state = |name: &str| {
        let found = links.iter().find(|link| link["link"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {document:#}"))["state"].clone()
    };
    for name in [
        "webhook dns",
        "webhook tcp",
        "webhook tls",
        "ping dns",
        "ping tcp",
    ] {
        assert_eq!(state(name), "ok", "{name}");
    }
    assert_eq!(state("ping tls"), "failed");
    assert!(
        document["hint"].to_string().contains("`notify.ca_file`"),
        "{document}"
    );
    assert!(
        down.stdout
            .contains("skipped  ping tls       skipped: needs ping tcp"),
        "{down}"
    );
    assert_eq!(hook.requests().len() + other.requests().len(), 0);
    assert!(!down.to_string().contains("webhook-canary"), "{down}");
}
