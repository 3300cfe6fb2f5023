//! Who may be on the other side, against real servers.

use std::fs;
use std::process::Command;

use backupctl::store::sftp::{Known, presented_host_key};
use backupctl::store::{Kind, known_hosts};

use super::{TIMEOUT, open_sftp, refusal, settings};
use crate::support::sshd::{Options, Sshd, key_pair};

#[tokio::test]
async fn an_unknown_host_key_is_refused_with_its_fingerprint_and_the_remedy() {
    let sshd = Sshd::start();
    for text in ["", "# nobody\n"] {
        fs::write(&sshd.known_hosts, text).unwrap();
        let error = refusal(&settings(&sshd)).await;
        assert_eq!(error.kind, Kind::Refused, "{error}");
        assert!(error.to_string().contains(&sshd.fingerprint), "{error}");
        assert!(error.hint.unwrap().contains("backupctl trust office"));
    }
    fs::remove_file(&sshd.known_hosts).unwrap();
    assert_eq!(refusal(&settings(&sshd)).await.kind, Kind::Refused);
    assert!(!sshd.known_hosts.exists(), "nothing is learnt");
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints_and_the_line() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let line = fs::read_to_string(&other.known_hosts).unwrap();
    let line = line.replace(&other.port.to_string(), &sshd.port.to_string());
    fs::write(&sshd.known_hosts, format!("# old\n{line}")).unwrap();

    let error = refusal(&settings(&sshd)).await;

    assert_eq!(error.kind, Kind::Refused);
    let text = error.to_string();
    assert!(
        text.contains(&sshd.fingerprint) && text.contains(&other.fingerprint),
        "{text}"
    );
    assert!(
        text.contains(&format!("{}:2 ", sshd.known_hosts.display())),
        "{text}"
    );
}

#[tokio::test]
async fn a_revoked_host_key_is_refused() {
    let sshd = Sshd::start();
    let line = fs::read_to_string(&sshd.known_hosts).unwrap();
    fs::write(
        &sshd.known_hosts,
        format!("{line}@revoked * {}", line.split_once(' ').unwrap().1),
    )
    .unwrap();
    let error = refusal(&settings(&sshd)).await;
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[tokio::test]
async fn a_known_hosts_that_cannot_be_read_is_refused_and_named() {
    let sshd = Sshd::start();
    let mut sftp = settings(&sshd);
    sftp.known_hosts.clone_from(&sshd.home);
    let error = refusal(&sftp).await;
    assert_eq!(error.kind, Kind::Refused);
    let text = error.to_string();
    assert!(
        text.contains("can't be read") && text.contains(&sshd.fingerprint),
        "{text}"
    );
}

#[tokio::test]
async fn a_key_that_ssh_keygen_hashed_is_known() {
    let sshd = Sshd::start();
    let hashed = Command::new("ssh-keygen")
        .arg("-H")
        .arg("-f")
        .arg(&sshd.known_hosts)
        .output()
        .unwrap();
    assert!(hashed.status.success());
    assert!(
        fs::read_to_string(&sshd.known_hosts)
            .unwrap()
            .starts_with("|1|")
    );
    open_sftp(&settings(&sshd)).await.unwrap();
}

#[tokio::test]
async fn the_key_type_that_is_known_is_asked_for_whatever_else_the_server_has() {
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let mut host_keys = vec!["ed25519", "rsa", "ecdsa"];
        host_keys.retain(|other| *other != kind);
        host_keys.insert(0, kind);
        let sshd = Sshd::with(&Options {
            host_keys,
            ..Options::default()
        });
        let store = open_sftp(&settings(&sshd)).await.unwrap();
        assert!(
            store.host_key().unwrap().contains(&sshd.fingerprint),
            "{kind}"
        );

        let mut pinned = settings(&sshd);
        pinned.known_hosts = "/nonexistent".into();
        pinned.host_key = Some(sshd.fingerprint.clone());
        let store = open_sftp(&pinned).await.unwrap();
        assert!(
            store.host_key().unwrap().contains(&sshd.fingerprint),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_known_key_of_a_type_the_server_has_no_more_is_named() {
    let sshd = Sshd::with(&Options {
        host_keys: vec!["rsa"],
        ..Options::default()
    });
    key_pair(&sshd.home.join("other"), "ed25519", "");
    let public = fs::read_to_string(sshd.home.join("other.pub")).unwrap();
    fs::write(
        &sshd.known_hosts,
        format!("[127.0.0.1]:{} {public}", sshd.port),
    )
    .unwrap();
    let error = refusal(&settings(&sshd)).await;
    assert_eq!(error.kind, Kind::Refused);
    assert!(
        error.to_string().contains("ssh-ed25519 in line 1"),
        "{error}"
    );
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_with_both_fingerprints() {
    let sshd = Sshd::with(&Options {
        host_keys: vec!["ed25519", "ecdsa"],
        ..Options::default()
    });
    let mut sftp = settings(&sshd);
    sftp.host_key = Some("SHA256:AAAA".to_owned());
    let error = refusal(&sftp).await;
    assert_eq!(error.kind, Kind::Refused);
    let text = error.to_string();
    assert!(
        text.contains("SHA256:AAAA") && text.matches("SHA256:").count() == 2,
        "{text}"
    );
}

#[tokio::test]
async fn trust_shows_the_key_and_its_line_makes_the_host_known() {
    let sshd = Sshd::start();
    let sftp = settings(&sshd);
    assert_eq!(
        presented_host_key(&sftp, TIMEOUT).await.unwrap().already,
        Known::Same
    );
    fs::remove_file(&sshd.known_hosts).unwrap();

    let presented = presented_host_key(&sftp, TIMEOUT).await.unwrap();
    assert_eq!(
        (presented.already, &presented.fingerprint),
        (Known::No, &sshd.fingerprint)
    );
    assert_eq!(presented.algorithm, "ssh-ed25519");
    known_hosts::append(&sshd.known_hosts, &presented.line).unwrap();

    open_sftp(&sftp).await.unwrap();
    assert!(!sshd.log().contains("Failed"), "trust doesn't log in");
}
