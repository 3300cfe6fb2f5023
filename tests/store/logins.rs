//! Logging in, with what is configured and what the server offers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use backupctl::secret::Secret;
use backupctl::store::{self, Credentials, Kind};
use backupctl::verdict::{Failed, Verdict};
use russh::MethodKind;

use super::{TIMEOUT, error_of, named, names, open_sftp, password, refusal, scripted, settings};
use crate::support::scripted_sftp::{Script, ScriptedSftp, old_algorithms};
use crate::support::sshd::{Options, Sshd};

#[tokio::test]
async fn keys_of_every_type_log_in_with_and_without_a_passphrase() {
    for (kind, passphrase) in [("ed25519", "open sesame"), ("rsa", ""), ("ecdsa", "")] {
        let sshd = Sshd::with(&Options {
            user_key: (kind, passphrase),
            ..Options::default()
        });
        let secret = (!passphrase.is_empty()).then(|| Secret::new(passphrase.to_owned()));
        let credentials = Credentials {
            password: None,
            passphrase: secret,
        };
        let opened = store::open(&named(settings(&sshd)), credentials, TIMEOUT).await;
        assert!(opened.is_ok(), "{kind}: {:?}", opened.err());
    }
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_config_before_any_connection() {
    let sshd = Sshd::with(&Options {
        user_key: ("ed25519", "open sesame"),
        ..Options::default()
    });
    sshd.kill();
    let sftp = settings(&sshd);
    let with = |passphrase: &str| Credentials {
        password: None,
        passphrase: Some(Secret::new(passphrase.to_owned())),
    };
    let store = named(sftp.clone());

    let error = refusal(&sftp).await;
    assert_eq!(
        (error.kind, error.hint.as_deref()),
        (Kind::Config, Some("set `stores.office.sftp.passphrase`"))
    );
    let error = error_of(store::open(&store, with("wrong"), TIMEOUT).await);
    assert_eq!(
        (error.kind, error.hint.as_deref()),
        (Kind::Config, Some("check `stores.office.sftp.passphrase`"))
    );

    fs::set_permissions(&sshd.private_key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = error_of(store::open(&store, with("open sesame"), TIMEOUT).await);
    let chmod = format!("chmod 600 {}", sshd.private_key.display());
    assert_eq!(
        (error.kind, error.hint.as_deref()),
        (Kind::Config, Some(chmod.as_str()))
    );
    assert!(error.to_string().contains("0640"), "{error}");

    let mut sftp = sftp;
    sftp.private_key = Some("/nonexistent".into());
    assert_eq!(refusal(&sftp).await.kind, Kind::Config);
    sftp.private_key = None;
    let error = refusal(&sftp).await;
    assert_eq!(error.kind, Kind::Config);
    assert!(
        error.to_string().contains("nothing to log in with"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unauthorised_key_is_refused_with_what_was_tried_and_what_is_offered() {
    let sshd = Sshd::start();
    fs::write(sshd.home.join("authorized_keys"), "").unwrap();
    let error = refusal(&settings(&sshd)).await;
    assert_eq!(error.kind, Kind::Refused);
    let text = error.to_string();
    let expected = format!(
        "refused the login of `{}` at `127.0.0.1`: tried private key; the server offers publickey",
        sshd.user
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn a_key_from_the_agent_logs_in() {
    let sshd = Sshd::start();
    let socket = sshd.home.join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while !socket.exists() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let added = Command::new("ssh-add")
        .arg(&sshd.private_key)
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    let mut sftp = settings(&sshd);
    sftp.private_key = None;
    sftp.agent_socket = Some(socket);

    let opened = open_sftp(&sftp).await;
    agent.kill().unwrap();
    agent.wait().unwrap();

    assert!(added.status.success(), "{added:?}");
    assert!(opened.is_ok(), "{:?}", opened.err());
    let error = refusal(&sftp).await;
    assert_eq!(error.kind, Kind::Config, "an agent that is gone: {error}");
}

#[tokio::test]
async fn a_password_logs_in_by_whichever_method_the_server_has() {
    for methods in [
        vec![MethodKind::Password],
        vec![MethodKind::KeyboardInteractive],
        vec![MethodKind::KeyboardInteractive, MethodKind::Password],
    ] {
        let server = ScriptedSftp::start(Script {
            methods: methods.clone(),
            ..Script::default()
        });
        let opened = store::open(
            &named(scripted(&server)),
            password("correct horse"),
            TIMEOUT,
        )
        .await;
        let mut store = opened.unwrap_or_else(|error| panic!("{methods:?}: {error}"));
        assert_eq!(names(&store.list().await.unwrap()), ["a.zip"]);
        assert_eq!(server.attempts.load(Ordering::Relaxed), 1, "{methods:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_after_one_attempt_per_method_and_never_shown() {
    let methods = vec![MethodKind::Password, MethodKind::KeyboardInteractive];
    let server = ScriptedSftp::start(Script {
        methods,
        ..Script::default()
    });
    let error =
        error_of(store::open(&named(scripted(&server)), password("canary-7f3a"), TIMEOUT).await);
    assert_eq!(error.kind, Kind::Refused, "{error}");
    assert!(
        error
            .to_string()
            .contains("tried password, keyboard-interactive"),
        "{error}"
    );
    assert_eq!(server.attempts.load(Ordering::Relaxed), 2);
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn a_question_that_only_a_person_can_answer_is_refused_and_shown() {
    let rounds = vec![
        vec![("Password: ", false)],
        vec![("Code \u{1b}[31m: ", false)],
    ];
    let server = ScriptedSftp::start(Script {
        methods: vec![MethodKind::KeyboardInteractive],
        rounds,
        ..Script::default()
    });
    let error = error_of(
        store::open(
            &named(scripted(&server)),
            password("correct horse"),
            TIMEOUT,
        )
        .await,
    );
    assert_eq!(error.kind, Kind::Refused);
    assert!(
        error.to_string().contains("it asked `Code \\u{1b}[31m:`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_login_that_is_not_offered_is_refused_without_an_attempt() {
    let server = ScriptedSftp::start(Script {
        methods: vec![MethodKind::PublicKey],
        ..Script::default()
    });
    let error = error_of(
        store::open(
            &named(scripted(&server)),
            password("correct horse"),
            TIMEOUT,
        )
        .await,
    );
    assert_eq!(error.kind, Kind::Refused);
    assert!(
        error
            .to_string()
            .contains("configured but not offered: password"),
        "{error}"
    );
    assert_eq!(server.attempts.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_connection_lost_while_logging_in_is_the_networks_fault() {
    let server = ScriptedSftp::start(Script {
        hangs_up: true,
        ..Script::default()
    });
    let error = error_of(
        store::open(
            &named(scripted(&server)),
            password("correct horse"),
            TIMEOUT,
        )
        .await,
    );
    assert!(error.kind.may_pass(), "{error}");
    assert_eq!(Failed::from(error).verdict, Verdict::Network);
}

#[tokio::test]
async fn old_algorithms_are_refused_with_both_offers_until_they_are_asked_for() {
    let server = ScriptedSftp::with_key(
        "rsa",
        Script {
            preferred: old_algorithms(),
            ..Script::default()
        },
    );
    let mut sftp = scripted(&server);
    let error =
        error_of(store::open(&named(sftp.clone()), password("correct horse"), TIMEOUT).await);
    assert_eq!(error.kind, Kind::Refused, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("diffie-hellman-group14-sha1") && text.contains("curve25519-sha256"),
        "{text}"
    );
    assert!(error.hint.unwrap().contains("legacy_algorithms = true"));

    sftp.legacy_algorithms = true;
    store::open(&named(sftp), password("correct horse"), TIMEOUT)
        .await
        .unwrap();
}
