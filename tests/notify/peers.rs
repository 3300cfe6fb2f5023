//! Scripted peers, which do to their one client what no real mail server does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use backupctl::config::MailSecurity;
use backupctl::notify::email::send;
use backupctl::secret::Secret;

use super::{email_to_port, mail, not_sent};
use crate::support::smtp::PASSWORD;

/// A peer that does to its one client what no real server does.
fn scripted(talk: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its number").port();
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        talk(stream);
    });
    port
}

fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a command");
    line.trim_end().to_owned()
}

#[tokio::test]
async fn bytes_in_clear_behind_the_answer_to_starttls_are_refused() {
    let after = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&after);
    let port = scripted(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        stream
            .write_all(b"220 mail.test\r\n")
            .expect("the greeting");
        line(&mut reader);
        stream
            .write_all(b"250-mail.test\r\n250 STARTTLS\r\n")
            .expect("the offer");
        line(&mut reader);
        stream
            .write_all(b"220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n")
            .expect("the injection");
        let mut rest = Vec::new();
        // A reset by the client is as good as its end.
        let _ = reader.read_to_end(&mut rest);
        *seen.lock().expect("not poisoned") = rest;
    });

    let message = not_sent(&email_to_port(
        port,
        MailSecurity::StartTls,
        &["ops@example.org"],
    ))
    .await;

    assert!(
        message.contains("more bytes in clear text followed the answer to STARTTLS"),
        "{message}"
    );
    assert!(
        after.lock().expect("not poisoned").is_empty(),
        "nothing more is said to such a server"
    );
}

#[tokio::test]
async fn peers_that_are_no_mail_servers_end_in_an_error_that_shows_what_they_said() {
    type Talk = fn(TcpStream);
    let talks: [(Talk, &str); 5] = [
        (
            |mut stream| {
                drop(stream.write_all(&[b"554 ", &b"x"[..].repeat(10_000)[..], b"\r\n"].concat()));
            },
            "x; check `notify.email.port`",
        ),
        (|stream| drop(stream), "the connection was closed"),
        (
            |mut stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")),
            "said: SSH-2.0-OpenSSH_9.2",
        ),
        (
            |mut stream| drop(stream.write_all(b"554 \x1b[31mno\r\n")),
            "said: 554 \\u{1b}[31mno",
        ),
        (
            |mut stream| drop(stream.write_all(&vec![b'x'; 1 << 20])),
            "the connection was closed",
        ),
    ];
    for (talk, expected) in talks {
        let email = email_to_port(scripted(talk), MailSecurity::StartTls, &["ops@example.org"]);
        let message = not_sent(&email).await;
        assert!(message.contains(expected), "{message}");
        assert!(message.len() < 800, "{message}");
    }
}

#[tokio::test]
async fn a_silent_peer_ends_with_the_deadline() {
    for security in [
        MailSecurity::None,
        MailSecurity::StartTls,
        MailSecurity::Tls,
    ] {
        let port = scripted(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
        let start = Instant::now();
        let email = email_to_port(port, security, &["ops@example.org"]);
        let told = send(
            &email,
            Some(&Secret::new(PASSWORD.into())),
            &mail(),
            Duration::from_millis(300),
        )
        .await;
        assert!(
            told[0].message.contains("not finished within 0.3 s"),
            "{told:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(8));
    }
}

#[tokio::test]
async fn tls_on_a_port_without_it_says_which_port_is_which() {
    let port = scripted(|mut stream| {
        stream
            .write_all(b"220 mail.test\r\n")
            .expect("the greeting");
        // Keeps the connection open until the client has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    });

    let message = not_sent(&email_to_port(
        port,
        MailSecurity::Tls,
        &["ops@example.org"],
    ))
    .await;

    assert!(message.contains("TLS: "), "{message}");
    assert!(
        message.ends_with("587 is `starttls`, 465 is `tls`"),
        "{message}"
    );
}
