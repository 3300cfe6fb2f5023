//! `[notify]`: who is told, and by which mail server or URL; and `[metrics]`.

use std::path::PathBuf;

use super::read::port;
use super::section::Section;
use super::{Email, MailSecurity, NotifyOn, Restore, SecretRef};

/// `[notify]`.
#[derive(Debug, Clone)]
pub struct Notify {
    pub on: NotifyOn,
    /// A dead man's switch: told when a run begins and how it ended. `{job}` in it is the job's name.
    pub ping: Option<HttpUrl>,
    /// An authority to believe beside the system's, for every channel that names none of its own.
    pub ca_file: Option<PathBuf>,
    pub email: Option<Email>,
    pub webhook: Option<Webhook>,
}

impl Notify {
    /// The dead man's switch of a job.
    #[must_use]
    pub fn ping_of<'a>(&'a self, restore: &'a Restore) -> Option<&'a HttpUrl> {
        restore.ping.as_ref().or(self.ping.as_ref())
    }
}

/// A URL: written down, or a reference, since for many it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpUrl {
    Written { setting: String, url: String },
    Referred(SecretRef),
}

impl HttpUrl {
    /// The TOML path of the setting, for messages.
    #[must_use]
    pub fn setting(&self) -> &str {
        match self {
            Self::Written { setting, .. } => setting,
            Self::Referred(reference) => &reference.setting,
        }
    }

    #[must_use]
    pub fn reference(&self) -> Option<&SecretRef> {
        match self {
            Self::Written { .. } => None,
            Self::Referred(reference) => Some(reference),
        }
    }
}

/// `[notify.webhook]`.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: HttpUrl,
    pub format: WebhookFormat,
    /// Names and values, such as Authorization.
    pub headers: Vec<(String, SecretRef)>,
    pub ca_file: Option<PathBuf>,
}

impl Webhook {
    /// Every secret that it needs.
    pub fn references(&self) -> impl Iterator<Item = &SecretRef> {
        let headers = self.headers.iter().map(|(_, reference)| reference);
        self.url.reference().into_iter().chain(headers)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFormat {
    /// The summary's own fields.
    Json,
    /// `{"text": …}`, as Slack, Mattermost and their like take it.
    Slack,
}

/// `[metrics]`.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// What Prometheus's node_exporter reads; its name ends with `.prom`.
    pub textfile: Option<PathBuf>,
}

/// Headers that the request has anyway.
const OWN_HEADERS: [&str; 7] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

pub fn notify(root: &mut Section<'_>) -> Notify {
    let Some(mut section) = root.section("notify") else {
        return Notify {
            on: NotifyOn::Always,
            ping: None,
            ca_file: None,
            email: None,
            webhook: None,
        };
    };
    let on = [
        ("always", NotifyOn::Always),
        ("failure", NotifyOn::Failure),
        ("change", NotifyOn::Change),
    ];
    let mut notify = Notify {
        on: section.choice("on", &on, NotifyOn::Always),
        ping: section.url("ping"),
        ca_file: section.file("ca_file"),
        email: section.section("email").map(email),
        webhook: section.section("webhook").and_then(webhook),
    };
    section.finish();
    if let Some(email) = &mut notify.email {
        email.ca_file = email.ca_file.take().or(notify.ca_file.clone());
    }
    if let Some(webhook) = &mut notify.webhook {
        webhook.ca_file = webhook.ca_file.take().or(notify.ca_file.clone());
    }
    notify
}

fn webhook(mut section: Section<'_>) -> Option<Webhook> {
    let formats = [
        ("json", WebhookFormat::Json),
        ("slack", WebhookFormat::Slack),
    ];
    if !section.has("url") {
        section.problem("url", "is missing; for example `url = \"env:WEBHOOK_URL\"`");
    }
    let url = section.url("url");
    if let Some(HttpUrl::Written { url, .. }) = &url
        && url.contains("{job}")
    {
        section.problem("url", "is one for all jobs; `{job}` is for `ping`");
    }
    let format = section.choice("format", &formats, WebhookFormat::Json);
    let headers = section.section("headers").map(|headers| {
        judge_headers(&headers);
        headers.secrets()
    });
    let ca_file = section.file("ca_file");
    section.finish();
    Some(Webhook {
        url: url?,
        format,
        headers: headers.unwrap_or_default(),
        ca_file,
    })
}

fn judge_headers(section: &Section<'_>) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    for name in section.names() {
        if name.is_empty() || !name.chars().all(is_token) {
            section.problem(name, "is no name of a header");
        } else if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            section.problem(name, "is set by backupctl itself");
        }
    }
}

pub fn metrics(root: &mut Section<'_>) -> Metrics {
    let Some(mut section) = root.section("metrics") else {
        return Metrics::default();
    };
    let textfile = section.file("textfile");
    let ends_right = |file: &PathBuf| file.extension().is_some_and(|e| e == "prom");
    if textfile.as_ref().is_some_and(|file| !ends_right(file)) {
        section.problem(
            "textfile",
            "must end with `.prom`: node_exporter reads no other files",
        );
    }
    section.finish();
    Metrics { textfile }
}

fn email(mut section: Section<'_>) -> Email {
    let security = [
        ("starttls", MailSecurity::StartTls),
        ("tls", MailSecurity::Tls),
        ("none", MailSecurity::None),
    ];
    let (user, password) = section.login();
    let email = Email {
        server: section.required_text("server", "smtp.example.org"),
        security: section.choice("security", &security, MailSecurity::StartTls),
        port: port(&mut section, 587),
        user,
        password,
        from: section.required_text("from", "backupctl <backup@example.org>"),
        to: section.texts("to"),
        attach_log: section.flag("attach_log", true),
        ca_file: section.file("ca_file"),
    };
    if email.to.is_empty() {
        section.problem(
            "to",
            "names nobody; for example `to = [\"ops@example.org\"]`",
        );
    }
    judge_addresses(&section, &email);
    if section.has("user") != section.has("password") && !section.has("credentials") {
        section.problem("user", "`user` and `password` belong together");
    }
    if email.security == MailSecurity::None && email.password.is_some() {
        section.problem(
            "password",
            "is never sent in clear; use security \"starttls\" or \"tls\", or no login",
        );
    }
    if email.security == MailSecurity::None && !is_loopback(&email.server) {
        section.problem(
            "security",
            "\"none\" sends in clear and is for a server on this machine only",
        );
    }
    section.finish();
    email
}

/// One address, with or without a name.
#[must_use]
pub fn is_mail_address(text: &str) -> bool {
    let parsed = text.parse::<lettre::message::Mailboxes>();
    parsed.is_ok_and(|boxes| boxes.iter().count() == 1)
}

fn judge_addresses(section: &Section<'_>, email: &Email) {
    // A list in one entry would lose all but its first address.
    for address in email.to.iter().filter(|address| !is_mail_address(address)) {
        section.problem("to", &format!("{address:?} is no mail address"));
    }
    if !email.from.is_empty() && !is_mail_address(&email.from) {
        section.problem("from", &format!("{:?} is no mail address", email.from));
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
