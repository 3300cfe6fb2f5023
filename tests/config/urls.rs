//! URLs that something is sent to, and the metrics' file: what is wrong with them is said without repeating them.

use std::path::Path;

use super::{GOOD, complaints, read};

#[test]
fn a_url_is_https_or_stays_here_or_is_a_reference() {
    let config = read(&format!(
        "{GOOD}ping = \"vault:hc-erp\"\n[notify]\nping = \"https://hc-ping.com/KEY/backup-{{job}}\"\nca_file = \"ca.pem\"\n\
         [notify.webhook]\nurl = \"http://localhost:8065/hook\"\nheaders = {{ X-Token = [\"env:A\", \"env:B\"] }}\n"
    ))
    .expect("a good file");

    let webhook = config.notify.webhook.as_ref().expect("a webhook");
    assert_eq!(webhook.headers[0].0, "X-Token");
    assert_eq!(
        webhook.headers[0].1.setting,
        "notify.webhook.headers.X-Token"
    );
    assert_eq!(
        webhook.ca_file.as_deref(),
        Some(Path::new("/etc/backupctl/ca.pem"))
    );
    let own = config.notify.ping_of(&config.restores[0]).expect("a ping");
    assert_eq!(own.setting(), "restores.erp.ping");
}

#[test]
fn what_is_wrong_with_a_url_is_told_without_it() {
    let text = format!(
        "{GOOD}[notify]\nping = \"http://example.org/canary\"\n[notify.webhook]\nurl = \"canary-that-is-no-url\"\n\
         headers = {{ Host = \"env:A\", \"a b\" = \"env:B\", X-Key = \"canary\" }}\nformat = \"teams\"\n"
    );
    let told = complaints(&text);
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(
        told.iter().all(|line| !line.contains("canary")),
        "{told:#?}"
    );
    for part in [
        "line 18: notify.ping: is http://, which sends in clear and is for this machine only; write https://",
        "line 20: notify.webhook.url: looks like the secret itself",
        "line 21: notify.webhook.headers.Host: is set by backupctl itself",
        "line 21: notify.webhook.headers.X-Key: looks like the secret itself",
        "line 21: notify.webhook.headers.a b: is no name of a header",
        "line 22: notify.webhook.format: \"teams\" is unknown; known: json, slack",
    ] {
        assert!(
            told.iter().any(|line| line.starts_with(part)),
            "{part} in {told:#?}"
        );
    }
}

#[test]
fn a_webhook_needs_a_url_and_has_no_jobs_in_it() {
    let none = complaints(&format!("{GOOD}[notify.webhook]\n"));
    assert_eq!(none.len(), 1);
    assert!(
        none[0].contains("notify.webhook.url: is missing; for example"),
        "{none:?}"
    );
    let job = complaints(&format!(
        "{GOOD}[notify.webhook]\nurl = \"https://example.org/{{job}}\"\n"
    ));
    assert!(job[0].contains("`{job}` is for `ping`"), "{job:?}");
}

#[test]
fn a_textfile_that_nobody_would_read_is_an_error() {
    let told = complaints(&format!(
        "{GOOD}[metrics]\ntextfile = \"/var/lib/backupctl.txt\"\n"
    ));
    assert_eq!(
        told,
        ["line 18: metrics.textfile: must end with `.prom`: node_exporter reads no other files"]
    );
}
