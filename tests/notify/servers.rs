//! Real mail servers that refuse, break down, are slow, or can't be trusted.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use backupctl::config::MailSecurity;
use backupctl::notify::email::send;
use backupctl::secret::Secret;

use super::{email, email_to_port, mail, not_sent, sent};
use crate::support::smtp::{Options, PASSWORD, Security, Smtp, USER};

#[tokio::test]
async fn an_unknown_authority_is_refused_and_the_remedy_named() {
    let smtp = Smtp::start(Options::default());
    let mut email = email(&smtp, MailSecurity::StartTls, &["ops@example.org"]);
    email.ca_file = None;

    let message = not_sent(&email).await;

    assert!(
        message.contains("signed by an authority that this machine doesn't know"),
        "{message}"
    );
    assert!(message.contains("`notify.email.ca_file`"), "{message}");
    assert_eq!(smtp.commands(), ["EHLO", "STARTTLS"]);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let smtp = Smtp::start(Options {
        certificate_for: "DNS:mail.example.org",
        ..Options::default()
    });

    let message = not_sent(&email(&smtp, MailSecurity::StartTls, &["ops@example.org"])).await;

    assert!(message.contains("not valid for name"), "{message}");
    assert!(
        message.contains("`notify.email.server` must be a name in the certificate"),
        "{message}"
    );
    assert_eq!(smtp.commands(), ["EHLO", "STARTTLS"]);
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_named() {
    let smtp = Smtp::start(Options::default());
    let mut email = email(&smtp, MailSecurity::StartTls, &["ops@example.org"]);
    let empty = tempfile::NamedTempFile::new().expect("an empty file");
    for file in ["/nonexistent/ca.pem", &empty.path().to_string_lossy()] {
        email.ca_file = Some(file.into());
        let message = not_sent(&email).await;
        assert!(
            message.contains(file) && message.contains("`notify.email.ca_file` is a PEM file"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn where_starttls_is_stripped_nothing_is_sent() {
    // given: a server that offers AUTH, but no TLS
    let smtp = Smtp::start(Options {
        security: Security::None,
        ..Options::default()
    });

    let message = not_sent(&email(&smtp, MailSecurity::StartTls, &["ops@example.org"])).await;

    assert!(
        message.contains(
            "offers no STARTTLS (or somebody in between removes it), so nothing was sent"
        ),
        "{message}"
    );
    assert_eq!(smtp.commands(), ["EHLO"]);
}

#[tokio::test]
async fn a_refused_login_is_told_once_without_the_password() {
    let smtp = Smtp::start(Options {
        auth: Some((USER, "another")),
        ..Options::default()
    });

    let told = sent(
        &email(
            &smtp,
            MailSecurity::StartTls,
            &["ops@example.org", "dba@example.org"],
        ),
        &mail(),
    )
    .await;

    for notified in &told {
        assert!(
            notified
                .message
                .contains("the login as `backup@example.org` was refused: 535 5.7.8"),
            "{told:?}"
        );
        assert!(
            notified
                .message
                .contains("check `notify.email.user` and the secret"),
            "{told:?}"
        );
        assert!(!notified.message.contains(PASSWORD));
    }
    let logins = smtp
        .commands()
        .iter()
        .filter(|command| *command == "AUTH")
        .count();
    assert_eq!(
        logins, 1,
        "a second try with the same password may lock the account"
    );
}

#[tokio::test]
async fn what_the_server_repeats_of_the_login_is_not_repeated() {
    let smtp = Smtp::start(Options::default());
    smtp.reply_at("auth", "535 5.7.8 what is ARGUMENTS?");

    let message = not_sent(&email(&smtp, MailSecurity::StartTls, &["ops@example.org"])).await;

    assert!(
        message.contains("535 5.7.8 what is PLAIN <secret>?"),
        "{message}"
    );
}

#[tokio::test]
async fn a_server_without_login_is_not_guessed_at() {
    let smtp = Smtp::start(Options {
        auth: None,
        ..Options::default()
    });
    let email = email(&smtp, MailSecurity::StartTls, &["ops@example.org"]);

    let message = not_sent(&email).await;

    assert!(
        message.contains("offers no login") && message.contains("remove `notify.email.user`"),
        "{message}"
    );
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn a_temporary_refusal_is_told_and_the_next_try_delivers() {
    let smtp = Smtp::start(Options::default());
    let email = email(&smtp, MailSecurity::StartTls, &["ops@example.org"]);
    for (stage, reply, told) in [
        (
            "connect",
            "421 4.3.2 closing down",
            "421 4.3.2 closing down",
        ),
        (
            "mail",
            "451 4.3.0 try later",
            "the sender was refused: 451 4.3.0 try later",
        ),
        (
            "rcpt",
            "450 4.2.0 greylisted",
            "the recipient was refused: 450 4.2.0 greylisted",
        ),
        (
            "data",
            "452 4.3.1 no space",
            "the message was refused: 452 4.3.1 no space",
        ),
    ] {
        smtp.reply_at(stage, reply);
        let message = not_sent(&email).await;
        assert!(message.contains(told), "{stage}: {message}");
    }
    smtp.reply_normally();

    let told = sent(&email, &mail()).await;

    assert!(told[0].ok, "{told:?}");
    assert_eq!(smtp.wait_for(1).len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_told_for_everybody() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its number").port();
    drop(free);
    let email = email_to_port(
        port,
        MailSecurity::StartTls,
        &["ops@example.org", "dba@example.org"],
    );

    let told = sent(&email, &mail()).await;

    for notified in &told {
        assert!(!notified.ok);
        let expected = format!("127.0.0.1:{port}: connect to 127.0.0.1:{port}: Connection refused");
        assert!(notified.message.starts_with(&expected), "{told:?}");
    }
}

#[tokio::test]
async fn a_slow_server_ends_with_the_deadline() {
    let smtp = Smtp::start(Options {
        delay: Duration::from_millis(400),
        ..Options::default()
    });
    let email = email(
        &smtp,
        MailSecurity::StartTls,
        &["ops@example.org", "dba@example.org"],
    );

    let start = Instant::now();
    let told = send(
        &email,
        Some(&Secret::new(PASSWORD.into())),
        &mail(),
        Duration::from_secs(1),
    )
    .await;

    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(
        told.iter()
            .all(|notified| !notified.ok && notified.message.contains("not finished within 1.0 s")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_server_that_comes_back_gets_the_mail_after_all() {
    // given: a server that was stopped
    let smtp = Smtp::start(Options::default());
    let port = smtp.port;
    drop(smtp);
    not_sent(&email_to_port(
        port,
        MailSecurity::StartTls,
        &["ops@example.org"],
    ))
    .await;

    let smtp = Smtp::start_on(port, Options::default());
    let told = sent(
        &email(&smtp, MailSecurity::StartTls, &["ops@example.org"]),
        &mail(),
    )
    .await;

    assert!(told[0].ok, "{told:?}");
    assert_eq!(smtp.wait_for(1).len(), 1);
}

#[test]
fn the_servers_table_is_the_one_that_the_configuration_knows() {
    let smtp = Smtp::start(Options {
        security: Security::Tls,
        ..Options::default()
    });
    let file: toml::Table = smtp
        .toml(&["ops@example.org", "dba@example.org"])
        .parse()
        .expect("TOML");
    let email = &file["notify"]["email"];
    assert_eq!(email["security"].as_str(), Some("tls"));
    assert_eq!(email["password"].as_str(), Some("env:SMTP_PASSWORD"));
    assert_eq!(email["to"].as_array().map(Vec::len), Some(2));
}
