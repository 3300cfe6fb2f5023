//! Networks and servers that misbehave: an error of the right class in bounded time, and never other bytes.

use std::io::{SeekFrom, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use backupctl::config::Sftp;
use backupctl::store::{self, Credentials, Kind, StoreError};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{
    TIMEOUT, content, error_of, named, names, open_sftp, password, refusal, scripted, settings,
    whole,
};
use crate::support::scripted_sftp::{Reads, Script, ScriptedSftp};
use crate::support::sshd::{Fault, Options, Sshd};

#[tokio::test]
async fn what_is_no_ssh_server_is_network_and_shown_escaped() {
    let junk = content(1 << 20);
    let table: [(&[u8], &str); 5] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "it sent `HTTP/1.1 400 Bad Request`",
        ),
        (b"\x1b[2Jhello\n", "it sent `\\u{1b}[2Jhello`"),
        (&junk, "no SSH server answers there"),
        (
            b"SSH-2.0-Broken\r\nrubbish, rubbish, rubbish",
            "the key exchange with `SSH-2.0-Broken",
        ),
        (b"", "without a word"),
    ];
    for (says, expected) in table {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let says = says.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may have had enough before all of it is written.
            let _ = stream.write_all(&says);
        });
        let error = refusal(&nobody_at(port)).await;
        server.join().unwrap();
        assert_eq!(error.kind, Kind::Unreachable, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}")),
            "{error}"
        );
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}

/// Settings for what never gets as far as a host key or a login.
fn nobody_at(port: u16) -> Sftp {
    Sftp {
        host: "127.0.0.1".to_owned(),
        port,
        user: "backup".to_owned(),
        password: None,
        private_key: None,
        passphrase: None,
        agent_socket: Some("/nonexistent".into()),
        path: "/".to_owned(),
        known_hosts: "/nonexistent".into(),
        host_key: None,
        legacy_algorithms: false,
    }
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sftp = nobody_at(listener.local_addr().unwrap().port());
    drop(listener);
    let error = refusal(&sftp).await;
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.to_string().contains("refused"), "{error}");

    sftp.host = "no-such-host.invalid".to_owned();
    let error = refusal(&sftp).await;
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(
        error.to_string().contains("no-such-host.invalid"),
        "{error}"
    );
}

#[tokio::test]
async fn a_silent_port_ends_within_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = named(nobody_at(listener.local_addr().unwrap().port()));
    let begin = Instant::now();
    let opened = store::open(&store, Credentials::default(), Duration::from_millis(500)).await;
    let error = error_of(opened);
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(
        error.to_string().contains("said nothing for 0.5 seconds"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_handshake_cut_at_any_byte_is_network_and_the_next_one_works() {
    let sshd = Sshd::start();
    let sftp = settings(&sshd);
    for bytes in [1, 21, 41, 200, 900, 1500, 1700, 2000, 2200, 2400] {
        sshd.next_connection(Fault::CutAfter(bytes));
        let opened = open_sftp(&sftp).await;
        if let Err(error) = opened {
            assert!(error.kind.may_pass(), "after {bytes} bytes: {error}");
        }
    }
    open_sftp(&sftp).await.unwrap();
}

#[tokio::test]
async fn a_download_cut_in_the_middle_is_interrupted_and_can_go_on_from_there() {
    let sshd = Sshd::start();
    sshd.put("a.zip", &content(4_000_000));
    sshd.next_connection(Fault::CutAfter(2_000_000));
    let mut opened = open_sftp(&settings(&sshd))
        .await
        .unwrap()
        .open("a.zip")
        .await
        .unwrap();
    let mut got = Vec::new();
    let error = StoreError::of_read(opened.file.read_to_end(&mut got).await.unwrap_err());
    assert_eq!(error.kind, Kind::Interrupted, "{error}");
    assert!(!got.is_empty() && got[..] == content(4_000_000)[..got.len()]);

    let mut again = open_sftp(&settings(&sshd))
        .await
        .unwrap()
        .open("a.zip")
        .await
        .unwrap();
    again
        .file
        .seek(SeekFrom::Start(got.len() as u64))
        .await
        .unwrap();
    again.file.read_to_end(&mut got).await.unwrap();
    assert!(got == content(4_000_000));
}

#[tokio::test]
async fn a_download_that_stalls_ends_after_three_timeouts() {
    let sshd = Sshd::start();
    sshd.put("a.zip", &content(4_000_000));
    sshd.next_connection(Fault::StallAfter(1_000_000));
    let timeout = Duration::from_secs(1);
    let opened = store::open(&named(settings(&sshd)), Credentials::default(), timeout).await;
    let opened = opened.unwrap().open("a.zip").await.unwrap();
    let begin = Instant::now();
    let error = whole(opened).await.unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted, "{error}");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}

/// Short, so that what is bounded by it ends soon.
const SHORT: Duration = Duration::from_millis(300);

async fn opened_in_short(server: &ScriptedSftp) -> Box<dyn store::Store> {
    let settings = named(scripted(server));
    let store = store::open(&settings, password("correct horse"), SHORT).await;
    store.expect("a login")
}

#[tokio::test]
async fn a_server_that_gives_a_byte_now_and_then_is_not_waited_for_for_ever() {
    let server = ScriptedSftp::start(Script {
        content: content(100_000),
        reads: Reads::DribbleIn(0, u64::MAX),
        ..Script::default()
    });
    let opened = opened_in_short(&server).await.open("a.zip").await;
    let error = whole(opened.unwrap()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted, "{error}");
    assert!(error.to_string().starts_with("only "), "{error}");
}

#[tokio::test]
async fn a_listing_that_comes_name_by_name_without_an_end_is_given_up() {
    let server = ScriptedSftp::start(Script {
        lists_for_ever: true,
        ..Script::default()
    });
    let error = opened_in_short(&server).await.list().await.unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted, "{error}");
    assert!(error.to_string().contains("only "), "{error}");
}

#[tokio::test]
async fn a_server_that_goes_down_is_network_and_works_when_it_is_back() {
    let sshd = Sshd::start();
    sshd.put("a.zip", b"one");
    let mut store = open_sftp(&settings(&sshd)).await.unwrap();
    sshd.kill();
    assert_eq!(store.list().await.unwrap_err().kind, Kind::Interrupted);
    assert_eq!(refusal(&settings(&sshd)).await.kind, Kind::Unreachable);
    sshd.restart();
    let mut store = open_sftp(&settings(&sshd)).await.unwrap();
    assert_eq!(names(&store.list().await.unwrap()), ["a.zip"]);
}

#[tokio::test]
async fn a_missing_subsystem_and_text_before_sftp_are_named() {
    let none = Sshd::with(&Options {
        sftp: None,
        ..Options::default()
    });
    let error = refusal(&settings(&none)).await;
    assert_eq!(error.kind, Kind::Config);
    assert!(error.to_string().contains("no SFTP subsystem"), "{error}");

    let chatty = "echo Welcome to nas; exec /usr/lib/openssh/sftp-server";
    let chatty = Sshd::with(&Options {
        sftp: Some(chatty.to_owned()),
        ..Options::default()
    });
    let error = refusal(&settings(&chatty)).await;
    assert_eq!(error.kind, Kind::Config, "{error}");
    assert!(error.to_string().contains("`Welcome to nas"), "{error}");
    assert!(error.hint.unwrap().contains(".bashrc"));
}

#[tokio::test]
async fn short_replies_give_the_right_bytes() {
    for most in [1, 1000, 40_000] {
        let script = Script {
            content: content(100_003),
            reads: Reads::Short(most),
            ..Script::default()
        };
        let script = if most == 1 {
            Script {
                content: content(503),
                ..script
            }
        } else {
            script
        };
        let expected = script.content.clone();
        let server = ScriptedSftp::start(script);
        let opened = store::open(
            &named(scripted(&server)),
            password("correct horse"),
            TIMEOUT,
        )
        .await;
        let opened = opened.unwrap().open("a.zip").await.unwrap();
        assert!(whole(opened).await.unwrap() == expected, "{most} at once");
    }
}

#[tokio::test]
async fn replies_that_break_the_rules_are_errors_and_never_other_bytes() {
    let table = [
        (
            Reads::Long,
            None,
            "the server sent 101 bytes where 100 were asked for",
        ),
        (Reads::Empty, None, "the file ended after 0 of 100 bytes"),
        (Reads::Failure, None, "Failure: no\\u{1b}[2J"),
        (
            Reads::Right,
            Some(200),
            "the file ended after 100 of 200 bytes",
        ),
    ];
    for (reads, stated_bytes, expected) in table {
        let server = ScriptedSftp::start(Script {
            content: content(100),
            reads,
            stated_bytes,
            ..Script::default()
        });
        let opened = store::open(
            &named(scripted(&server)),
            password("correct horse"),
            TIMEOUT,
        )
        .await;
        let opened = opened.unwrap().open("a.zip").await.unwrap();
        let error = whole(opened).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn remote_names_that_are_paths_are_passed_over_and_shown_escaped() {
    let names_there = [
        "..",
        ".",
        "",
        "../../etc/passwd",
        "/etc/shadow",
        "a\0b",
        "\u{1b}]0;x\u{7}/y",
        "good.zip",
    ];
    let entries = names_there
        .map(|name| (name.to_owned(), 0o100_644))
        .to_vec();
    let server = ScriptedSftp::start(Script {
        entries,
        ..Script::default()
    });
    let opened = store::open(
        &named(scripted(&server)),
        password("correct horse"),
        TIMEOUT,
    )
    .await;
    let listing = opened.unwrap().list().await.unwrap();
    assert_eq!(names(&listing), ["good.zip"]);
    let passed: Vec<&str> = listing
        .passed_over
        .iter()
        .map(|p| p.name_shown.as_str())
        .collect();
    assert_eq!(
        passed,
        [
            "",
            "../../etc/passwd",
            "/etc/shadow",
            "a\\0b",
            "\\u{1b}]0;x\\u{7}/y"
        ]
    );
}
