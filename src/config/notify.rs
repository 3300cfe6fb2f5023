//! Reads `[notify]`: who is told, and by which mail server.

use super::read::port;
use super::section::Section;
use super::{Email, MailSecurity, Notify, NotifyOn};

pub fn notify(root: &mut Section<'_>) -> Notify {
    let Some(mut section) = root.section("notify") else {
        return Notify {
            on: NotifyOn::Always,
            email: None,
        };
    };
    let on = [
        ("always", NotifyOn::Always),
        ("failure", NotifyOn::Failure),
        ("change", NotifyOn::Change),
    ];
    let notify = Notify {
        on: section.choice("on", &on, NotifyOn::Always),
        email: section.section("email").map(email),
    };
    section.finish();
    notify
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

fn judge_addresses(section: &Section<'_>, email: &Email) {
    // A list in one entry would lose all but its first address.
    let is_address = |text: &str| {
        let parsed = text.parse::<lettre::message::Mailboxes>();
        parsed.is_ok_and(|boxes| boxes.iter().count() == 1)
    };
    for address in email.to.iter().filter(|address| !is_address(address)) {
        section.problem("to", &format!("{address:?} is no mail address"));
    }
    if !email.from.is_empty() && !is_address(&email.from) {
        section.problem("from", &format!("{:?} is no mail address", email.from));
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
