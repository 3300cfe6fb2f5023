//! `backupctl trust`: the only command that ever learns a host key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::archives;
use crate::support::program::{Ran, Setup};
use crate::support::sshd::{Options, Sshd};

/// An installation whose known_hosts is its own, and missing.
fn stranger(sshd: &Sshd) -> Setup {
    let own = "known_hosts = \"known_hosts\"";
    let table = sshd.toml("office", &sshd.dir);
    let table = table.replace(
        &format!("known_hosts = \"{}\"", sshd.known_hosts.display()),
        own,
    );
    assert!(table.contains(own));
    Setup::new()
        .part(&table)
        .part("[stores.disk.local]\npath = \"/\"\n")
        .part("[databases.erp.postgres]\nhost = \"127.0.0.1\"\nuser = \"nobody\"\nname = \"erp\"\n")
        .restore("")
        .write()
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("known_hosts");
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_unknown_server_is_trusted_only_with_yes_and_then_fetched_from() {
    // given
    let sshd = Sshd::start();
    sshd.put(
        "a.zip",
        &archives::zip()
            .entry("a.dump", archives::dump(2000))
            .build(),
    );
    let setup = stranger(&sshd);
    let known_hosts = setup.path("known_hosts");

    // when: nobody confirms
    let refused = setup.run(&["list"]).expect(6);
    let asked = setup.run(&["trust", "office"]).expect(2);

    // then
    assert!(refused.stderr.contains(&sshd.fingerprint), "{refused}");
    assert!(
        refused.stderr.contains("backupctl trust office"),
        "{refused}"
    );
    assert!(asked.stderr.contains(&sshd.fingerprint), "{asked}");
    assert!(asked.stderr.contains("--yes"), "{asked}");
    assert!(!known_hosts.exists());

    // when
    let trusted = setup.run(&["trust", "office", "--yes"]).expect(0);

    // then
    assert!(trusted.stderr.contains(&sshd.fingerprint), "{trusted}");
    assert_eq!(lines(&known_hosts), [trusted.stdout.trim_end()]);
    assert!(
        trusted
            .stdout
            .starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", sshd.port)),
        "{trusted}"
    );
    let mode = fs::metadata(&known_hosts)
        .expect("known_hosts")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    setup.run(&["list"]).expect(0);
}

#[test]
fn a_key_that_is_known_already_is_not_added_again() {
    let sshd = Sshd::start();
    let setup = stranger(&sshd);
    setup.run(&["trust", "office", "--yes"]).expect(0);
    let before = lines(&setup.path("known_hosts"));

    let ran = setup.run(&["trust", "office"]).expect(0);

    assert!(ran.stderr.contains("already"), "{ran}");
    assert_eq!(lines(&setup.path("known_hosts")), before);
}

#[test]
fn a_line_is_added_behind_what_is_there() {
    let sshd = Sshd::start();
    let setup = stranger(&sshd);
    let known_hosts = setup.path("known_hosts");
    let other = "other.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfPHr6NHKdJGGgVoLmAeqSDtb8c4Yg6OeBjs04zyoLE";
    fs::write(&known_hosts, other).expect("a file without a last newline");

    setup.run(&["trust", "office", "--yes"]).expect(0);

    let lines = lines(&known_hosts);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], other);
}

#[test]
fn a_changed_key_is_refused_whatever_is_said() {
    // given
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let setup = stranger(&sshd);
    let line = fs::read_to_string(&other.known_hosts).expect("the other's key");
    let line = line.replace(&other.port.to_string(), &sshd.port.to_string());
    fs::write(setup.path("known_hosts"), &line).expect("known_hosts");

    // when
    let ran = setup.run(&["trust", "office", "--yes"]).expect(6);

    // then
    for fingerprint in [&sshd.fingerprint, &other.fingerprint] {
        assert!(ran.stderr.contains(fingerprint.as_str()), "{ran}");
    }
    assert!(ran.stderr.contains("line 1"), "{ran}");
    assert_eq!(
        fs::read_to_string(setup.path("known_hosts")).expect("known_hosts"),
        line
    );
}

#[test]
fn a_dry_trust_shows_the_line_and_writes_nothing() {
    let sshd = Sshd::start();
    let setup = stranger(&sshd);

    let ran = setup.run(&["trust", "office", "-n"]).expect(0);

    assert!(ran.stdout.contains("ssh-ed25519 "), "{ran}");
    assert!(!setup.path("known_hosts").exists());
}

#[test]
fn with_json_the_key_is_one_document() {
    let sshd = Sshd::start();
    let setup = stranger(&sshd);

    let document = setup
        .run(&["trust", "office", "--yes", "--json"])
        .expect(0)
        .json();

    assert_eq!(document["store"], "office");
    assert_eq!(document["fingerprint"], sshd.fingerprint.as_str());
    assert_eq!(
        document["line"],
        lines(&setup.path("known_hosts"))[0].as_str()
    );
    assert_eq!(document["verdict"], "done");
    let refused = setup.run(&["trust", "nowhere", "--json"]).expect(2).json();
    assert_eq!(refused["verdict"], "usage");
}

#[test]
fn what_has_no_host_key_is_a_usage_error() {
    let sshd = Sshd::start();
    let setup = stranger(&sshd);
    let said = |ran: Ran, word: &str| assert!(ran.stderr.contains(word), "{ran}");

    said(
        setup.run(&["trust", "nowhere", "--yes"]).expect(2),
        "office",
    );
    said(
        setup.run(&["trust", "disk", "--yes"]).expect(2),
        "local directory",
    );
    sshd.kill();
    said(
        setup.run(&["trust", "office", "--yes"]).expect(5),
        &sshd.port.to_string(),
    );
    assert!(!setup.path("known_hosts").exists());
}

#[test]
fn each_type_of_host_key_is_learnt_as_it_is_presented() {
    for host_key in ["ecdsa", "rsa"] {
        let sshd = Sshd::with(&Options {
            host_keys: vec![host_key],
            ..Options::default()
        });
        let setup = stranger(&sshd);

        setup.run(&["trust", "office", "--yes"]).expect(0);

        setup.run(&["list"]).expect(0);
    }
}
