//! What known_hosts may say, line by line.

use proptest::prelude::*;

use super::*;

fn key(algorithm: &str, fill: u8) -> Key {
    let mut blob = u32::try_from(algorithm.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    blob.extend(algorithm.as_bytes());
    blob.extend([fill; 32]);
    Key {
        algorithm: algorithm.to_owned(),
        blob,
    }
}

fn ed25519(fill: u8) -> Key {
    key("ssh-ed25519", fill)
}

fn text(key: &Key) -> String {
    format!("{} {}", key.algorithm, BASE64.encode(&key.blob))
}

fn ask(hosts: &str, host: &str, port: u16) -> Answer {
    KnownHosts::parse(&format!("{hosts} {}", text(&ed25519(1)))).ask(host, port, &ed25519(1))
}

fn is_same(hosts: &str, host: &str, port: u16) -> bool {
    ask(hosts, host, port) == Answer::Same
}

#[test]
fn names_lists_wildcards_ports_and_negation_match_as_ssh_matches_them() {
    assert!(is_same("nas", "nas", 22));
    assert!(is_same("NAS", "nas", 22));
    assert!(is_same("nas", "Nas", 22));
    assert!(is_same("a,nas,b", "nas", 22));
    assert!(is_same("*.example.org", "sftp.example.org", 22));
    assert!(is_same("n?s", "nas", 22));
    assert!(is_same("*", "nas", 22));
    assert!(is_same("[nas]:2222", "nas", 2222));
    assert!(is_same("[*]:2222", "nas", 2222));
    assert!(is_same("::1", "::1", 22));
    assert!(is_same("*,!other", "nas", 22));

    assert!(!is_same("nas", "nas2", 22));
    assert!(!is_same("*.example.org", "example.org", 22));
    assert!(!is_same("n?s", "ns", 22));
    assert!(!is_same("[nas]:2222", "nas", 22));
    assert!(!is_same("[nas]:2222", "nas", 2223));
    assert!(!is_same("*,!nas", "nas", 22));
    assert!(!is_same("!nas", "nas", 22));
    assert!(!is_same("!nas", "other", 22));
}

#[test]
fn on_another_port_the_key_of_the_plain_name_is_accepted_but_never_called_changed() {
    assert!(is_same("nas", "nas", 2222));
    let hosts = KnownHosts::parse(&format!("nas {}", text(&ed25519(1))));
    let answer = hosts.ask("nas", 2222, &ed25519(2));
    assert!(matches!(answer, Answer::Unknown { .. }), "{answer:?}");
}

#[test]
fn a_hashed_name_matches_what_ssh_keygen_hashed() {
    // Made by `ssh-keygen -H` from `nas` and `[nas]:2222`.
    let plain = "|1|/4oOTVirVV+ggRV7rzHf+5WeP0M=|+DaG1bbXWU6yP+h02SjGvFegybE=";
    let port = "|1|txX0Rx7XvRt4qqfBq7trsdMrQPo=|J5vNol14tfBKCWqP/RlyfRAWrtw=";
    assert!(is_same(plain, "nas", 22));
    assert!(!is_same(plain, "nas2", 22));
    assert!(is_same(port, "nas", 2222));
    assert!(!is_same(port, "nas", 22));
    assert!(!is_same("|1|!|!", "nas", 22));
    assert!(!is_same("|2|AAAA|AAAA", "nas", 22));
}

#[test]
fn a_changed_key_names_the_known_one_and_its_line() {
    let hosts = KnownHosts::parse(&format!(
        "# a comment\n\nnas\t{} and a comment\r\n",
        text(&ed25519(1))
    ));
    let expected = Answer::Changed {
        fingerprint: ed25519(1).fingerprint(),
        line: 3,
    };
    assert_eq!(hosts.ask("nas", 22, &ed25519(2)), expected);
    assert_eq!(hosts.ask("nas", 22, &ed25519(1)), Answer::Same);
}

#[test]
fn any_of_several_keys_is_right_whatever_stands_first() {
    let rsa = key("ssh-rsa", 9);
    let lines = [ed25519(1), rsa.clone(), ed25519(2)].map(|k| format!("nas {}", text(&k)));
    let hosts = KnownHosts::parse(&lines.join("\n"));
    assert_eq!(hosts.ask("nas", 22, &ed25519(2)), Answer::Same);
    assert_eq!(hosts.ask("nas", 22, &rsa), Answer::Same);
    assert_eq!(
        hosts.algorithms("nas", 22),
        ["ssh-ed25519", "ssh-rsa", "ssh-ed25519"]
    );
}

#[test]
fn a_key_of_another_type_is_unknown_and_the_known_types_are_named() {
    let hosts = KnownHosts::parse(&format!("nas {}", text(&ed25519(1))));
    let others = vec![("ssh-ed25519".to_owned(), 1)];
    let expected = Answer::Unknown {
        others,
        authority: None,
    };
    assert_eq!(hosts.ask("nas", 22, &key("ssh-rsa", 1)), expected);
}

#[test]
fn a_revoked_key_stops_even_where_it_is_also_trusted() {
    let trusted = format!("nas {}", text(&ed25519(1)));
    for hosts in ["*", "nas", "|1|broken"] {
        let both = format!("{trusted}\n@revoked {hosts} {}", text(&ed25519(1)));
        let answer = KnownHosts::parse(&both).ask("nas", 22, &ed25519(1));
        assert_eq!(answer, Answer::Revoked { line: 2 }, "{hosts}");
    }
    let other = format!("{trusted}\n@revoked * {}", text(&ed25519(2)));
    assert_eq!(
        KnownHosts::parse(&other).ask("nas", 22, &ed25519(1)),
        Answer::Same
    );
}

#[test]
fn a_revocation_that_cannot_be_read_stops_the_host_it_may_mean() {
    for broken in [
        "@revoked",
        "@revoked *",
        "@revoked * ssh-ed25519 AAA!",
        "@revoked nas ssh-rsa AAAA",
    ] {
        let text = format!("nas {}\n{broken}", text(&ed25519(1)));
        let answer = KnownHosts::parse(&text).ask("nas", 22, &ed25519(1));
        assert_eq!(answer, Answer::BrokenRevocation { line: 2 }, "{broken}");
    }
}

#[test]
fn an_authority_trusts_nobody_and_is_named() {
    let hosts = KnownHosts::parse(&format!("@cert-authority * {}", text(&ed25519(1))));
    let expected = Answer::Unknown {
        others: vec![],
        authority: Some(1),
    };
    assert_eq!(hosts.ask("nas", 22, &ed25519(1)), expected);
}

#[test]
fn a_line_that_cannot_be_read_trusts_nobody() {
    let right = text(&ed25519(1));
    let base64 = right.split(' ').nth(1).expect("base64");
    let lines = [
        "nas".to_owned(),
        "nas ssh-ed25519".to_owned(),
        format!("nas ssh-rsa {base64}"),
        format!("nas ssh-ed25519 {}", &base64[..base64.len() - 4]),
        format!("@unknown nas {right}"),
        format!("#nas {right}"),
    ];
    for line in lines {
        let answer = KnownHosts::parse(&line).ask("nas", 22, &ed25519(1));
        assert_ne!(answer, Answer::Same, "{line}");
    }
}

#[test]
fn an_appended_line_touches_no_other_and_keeps_the_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("known_hosts");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;

    append(&path, "first").expect("a new file");
    assert_eq!(mode(&path), 0o600);
    fs::write(&path, "# kept\nfirst").expect("a file without a last newline");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    append(&path, "second").expect("another line");

    assert_eq!(
        fs::read_to_string(&path).expect("the file"),
        "# kept\nfirst\nsecond\n"
    );
    assert_eq!(mode(&path), 0o644);
}

#[test]
fn the_line_that_is_added_is_understood_again() {
    for (host, port) in [("nas", 22), ("nas", 2222), ("::1", 2222)] {
        let hosts = KnownHosts::parse(&line(host, port, &ed25519(1)));
        assert_eq!(hosts.ask(host, port, &ed25519(1)), Answer::Same);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_trust(text in "[@|*?!,a-z0-9=/+ \\t\\[\\]:#\n]{0,200}", host in "[a-z*?|]{0,8}") {
        let answer = KnownHosts::parse(&text).ask(&host, 22, &ed25519(1));
        prop_assert_ne!(answer, Answer::Same);
    }
}
