//! Telling people by mail, against a real SMTP server, and scripted ones where a real one can't be made to misbehave.

mod command;
mod moments;
mod peers;
mod ping;
mod servers;
mod webhook;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backupctl::config::{Email, MailSecurity};
use backupctl::notify::compose::{LOG_LIMIT, Log, Mail};
use backupctl::notify::email::send;
use backupctl::report::Notified;
use backupctl::secret::Secret;
use backupctl::verdict::Verdict;

use crate::support::smtp::{Options, PASSWORD, Security, Smtp, USER};

const DEADLINE: Duration = Duration::from_secs(20);

fn email(smtp: &Smtp, security: MailSecurity, to: &[&str]) -> Email {
    Email {
        ca_file: Some(smtp.ca_file.clone()),
        ..email_to_port(smtp.port, security, to)
    }
}

fn email_to_port(port: u16, security: MailSecurity, to: &[&str]) -> Email {
    let has_login = security != MailSecurity::None;
    Email {
        server: "127.0.0.1".into(),
        port,
        security,
        user: has_login.then(|| USER.into()),
        password: None,
        from: "backupctl <backup@example.org>".into(),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        attach_log: true,
        ca_file: None,
    }
}

fn mail() -> Mail {
    Mail {
        subject: "[backupctl] erp: done".into(),
        text: "erp on db.example.org is now the backup of today.\n.\nA line with a dot alone is above.\n".into(),
        log: None,
        run: "20261120-020000-7f3a".into(),
        verdict: Some(Verdict::Done),
        host: "backup1.example.org".into(),
        date: "2026-11-20T02:00:00Z".parse().expect("a timestamp"),
    }
}

async fn sent(email: &Email, mail: &Mail) -> Vec<Notified> {
    send(email, Some(&Secret::new(PASSWORD.into())), mail, DEADLINE).await
}

/// The one result of a mail to one recipient that must not have arrived.
async fn not_sent(email: &Email) -> String {
    let mut told = sent(email, &mail()).await;
    assert_eq!(told.len(), email.to.len());
    let first = told.swap_remove(0);
    assert!(!first.ok, "{first:?}");
    first.message
}

/// A mail as another program decodes it: `{subject, from, to, parts: [[type, charset, file name, text]]}`.
fn decoded(raw: &str) -> serde_json::Value {
    let script = "import sys, json, email, email.policy
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = [[p.get_content_type(), p.get_content_charset(), p.get_filename(), p.get_content().replace(chr(13), '')] for p in mail.walk() if not p.is_multipart()]
print(json.dumps({'subject': mail['subject'], 'from': mail['from'], 'to': mail['to'], 'parts': parts, 'defects': [str(d) for d in mail.defects]}))";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = python.stdin.take().expect("its standard input");
    stdin.write_all(raw.as_bytes()).expect("the mail to decode");
    drop(stdin);
    let output = python.wait_with_output().expect("the decoded mail");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn each_recipient_gets_a_mail_of_their_own_over_starttls() {
    let smtp = Smtp::start(Options::default());
    let email = email(
        &smtp,
        MailSecurity::StartTls,
        &["ops@example.org", "Dora <dba@example.org>"],
    );

    let told = sent(&email, &mail()).await;

    assert!(told.iter().all(|notified| notified.ok), "{told:?}");
    assert_eq!(told[1].to, "Dora <dba@example.org>");
    assert!(
        told[0].message.ends_with(": 250 2.0.0 queued as 1"),
        "{told:?}"
    );
    let mails = smtp.wait_for(2);
    assert_eq!(
        mails.iter().map(|mail| mail.to.clone()).collect::<Vec<_>>(),
        [["ops@example.org"], ["dba@example.org"]]
    );
    assert!(
        mails
            .iter()
            .all(|mail| mail.encrypted && mail.login.as_deref() == Some(USER))
    );
    assert_eq!(mails[0].from, "backup@example.org");
    let logins = smtp
        .commands()
        .iter()
        .filter(|command| *command == "AUTH")
        .count();
    assert_eq!(logins, 1, "one connection for all");
}

#[tokio::test]
async fn the_headers_say_what_it_is_and_the_text_arrives_as_written() {
    let smtp = Smtp::start(Options::default());
    let email = email(&smtp, MailSecurity::StartTls, &["ops@example.org"]);

    sent(&email, &mail()).await;

    let data = smtp.wait_for(1).remove(0).data;
    for header in [
        "Date: Fri, 20 Nov 2026 02:00:00 +0000",
        "From: backupctl <backup@example.org>",
        "To: ops@example.org",
        "Subject: [backupctl] erp: done",
        "Auto-Submitted: auto-generated",
        "X-Backupctl-Run: 20261120-020000-7f3a",
        "X-Backupctl-Verdict: done",
        "Content-Type: text/plain; charset=utf-8",
    ] {
        assert!(
            data.lines().any(|line| line == header),
            "{header} in\n{data}"
        );
    }
    assert_eq!(decoded(&data)["parts"][0][3], mail().text);
}

#[tokio::test]
async fn words_beyond_ascii_and_the_log_arrive_as_they_were() {
    let smtp = Smtp::start(Options::default());
    let mut email = email(
        &smtp,
        MailSecurity::StartTls,
        &["Jürgen Groß <ops@example.org>"],
    );
    email.from = "Datensicherung Zürich <backup@example.org>".into();
    let log = "2026-11-20 geprüft\n".to_owned() + &"long ".repeat(2000) + "\u{1b}[31mred\n";
    let mail = Mail {
        subject: "[backupctl] größe: done".into(),
        text: "größe auf db.example.org ist neu. 日本\n".into(),
        log: Some(Log {
            name: "20261120-020000-7f3a.log".into(),
            content: log.clone(),
        }),
        ..mail()
    };

    sent(&email, &mail).await;

    let data = smtp.wait_for(1).remove(0).data;
    assert!(data.is_ascii());
    let decoded = decoded(&data);
    assert_eq!(decoded["subject"], mail.subject.as_str());
    assert_eq!(decoded["from"], email.from.as_str());
    assert_eq!(decoded["to"], email.to[0].as_str());
    assert_eq!(decoded["parts"][0][3], mail.text.as_str());
    let attached = &decoded["parts"][1];
    assert_eq!(attached[0], "text/plain");
    assert_eq!(attached[1], "utf-8");
    assert_eq!(attached[2], "20261120-020000-7f3a.log");
    assert_eq!(attached[3], log.replace('\u{1b}', "\\u{1b}").as_str());
}

#[tokio::test]
async fn a_log_of_fifty_megabytes_is_sent_capped() {
    let smtp = Smtp::start(Options::default());
    let email = email(&smtp, MailSecurity::StartTls, &["ops@example.org"]);
    let content = "a line of a log that is much too long to send\n".repeat(1_100_000);
    let mail = Mail {
        log: Some(Log {
            name: "run.log".into(),
            content,
        }),
        ..mail()
    };

    let told = sent(&email, &mail).await;

    assert!(told[0].ok, "{told:?}");
    assert!(smtp.wait_for(1)[0].data.len() < LOG_LIMIT * 3 / 2);
}

#[tokio::test]
async fn a_repeated_delivery_has_the_same_message_id() {
    let smtp = Smtp::start(Options::default());
    let email = email(
        &smtp,
        MailSecurity::StartTls,
        &["ops@example.org", "dba@example.org"],
    );

    sent(&email, &mail()).await;
    sent(&email, &mail()).await;

    let mails = smtp.wait_for(4);
    let ids: Vec<&str> = mails
        .iter()
        .filter_map(|mail| {
            mail.data
                .lines()
                .find(|line| line.starts_with("Message-ID:"))
        })
        .collect();
    assert_eq!(ids[..2], ids[2..]);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn implicit_tls_works() {
    let smtp = Smtp::start(Options {
        security: Security::Tls,
        ..Options::default()
    });
    let told = sent(
        &email(&smtp, MailSecurity::Tls, &["ops@example.org"]),
        &mail(),
    )
    .await;

    assert!(told[0].ok, "{told:?}");
    let mail = smtp.wait_for(1).remove(0);
    assert!(mail.encrypted);
    assert_eq!(mail.login.as_deref(), Some(USER));
}

#[tokio::test]
async fn a_relay_on_this_machine_may_be_used_without_tls_and_login() {
    let smtp = Smtp::start(Options {
        security: Security::None,
        auth: None,
        ..Options::default()
    });
    let told = sent(
        &email(&smtp, MailSecurity::None, &["ops@example.org"]),
        &mail(),
    )
    .await;

    assert!(told[0].ok, "{told:?}");
    assert!(!smtp.wait_for(1)[0].encrypted);
}

#[tokio::test]
async fn a_password_is_never_sent_without_tls() {
    let smtp = Smtp::start(Options {
        security: Security::None,
        ..Options::default()
    });
    let mut email = email(&smtp, MailSecurity::None, &["ops@example.org"]);
    email.user = Some(USER.into());

    let message = not_sent(&email).await;

    assert!(
        message.contains("a password is never sent without TLS; set `notify.email.security`"),
        "{message}"
    );
    assert!(smtp.commands().is_empty(), "{:?}", smtp.commands());
}

#[tokio::test]
async fn mail_without_tls_leaves_this_machine_never() {
    let mut email = email_to_port(25, MailSecurity::None, &["ops@example.org"]);
    email.server = "192.0.2.1".into();

    let start = Instant::now();
    let message = not_sent(&email).await;

    assert!(
        message.contains("mail goes without TLS to this machine only"),
        "{message}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "no connection was tried"
    );
}

#[tokio::test]
async fn one_refused_recipient_costs_no_other_their_mail() {
    let smtp = Smtp::start(Options {
        refuse: vec!["gone@example.org"],
        ..Options::default()
    });
    let to = [
        "ops@example.org",
        "gone@example.org",
        "no address",
        "dba@example.org",
    ];

    let told = sent(&email(&smtp, MailSecurity::StartTls, &to), &mail()).await;

    assert_eq!(
        told.iter().map(|notified| notified.ok).collect::<Vec<_>>(),
        [true, false, false, true],
        "{told:?}"
    );
    assert!(
        told[1]
            .message
            .ends_with("the recipient was refused: 550 5.1.1 no mailbox of that name here"),
        "{told:?}"
    );
    assert!(
        told[2]
            .message
            .contains("`no address` is no single mail address"),
        "{told:?}"
    );
    assert_eq!(smtp.wait_for(2).len(), 2);
}

/// Everything that is logged at any level while it is the subscriber.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_login_is_in_no_log_not_even_at_level_trace() {
    let smtp = Smtp::start(Options::default());
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);

    tracing::trace!("the log works");
    let told = sent(
        &email(&smtp, MailSecurity::StartTls, &["ops@example.org"]),
        &mail(),
    )
    .await;
    drop(guard);

    assert!(told[0].ok, "{told:?}");
    let log = String::from_utf8_lossy(&logged.0.lock().expect("not poisoned")).into_owned();
    assert!(log.contains("the log works"));
    assert!(!log.contains("AUTH") && !log.contains(PASSWORD), "{log}");
}
