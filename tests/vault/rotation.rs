//! `vault rotate`, ended at each thing that it does.

use std::fs;
use std::process::{Command, Stdio};

use super::kept::{add, password_of};
use super::mode;
use crate::support::program::{Setup, binary};

const DATABASE: &str = "[stores.office.local]\npath = \"/\"\n\n[network]\nattempts = 1\n\n[databases.erp.postgres]\nhost = \"127.0.0.1\"\nport = 1\nuser = \"u\"\nname = \"erp\"\npassword = \"env:DB_PASSWORD\"\n";

fn installation() -> Setup {
    let setup = Setup::new()
        .part(DATABASE)
        .restore("")
        .secret("DB_PASSWORD", "of the env file")
        .write();
    add(&setup, "erp", "of the vault", &["--user", "u"]).expect(0);
    add(&setup, "crm", "another", &[]).expect(0);
    setup
}

fn all_opens(setup: &Setup, when: &str) {
    assert_eq!(password_of(setup, "erp"), "of the vault", "{when}");
    assert_eq!(password_of(setup, "crm"), "another", "{when}");
    // The env file's token opens: what comes next is a port that answers nobody.
    let judged = setup.run(&["undo", "--dry-run"]);
    assert_eq!(judged.code, Some(5), "{when}: {judged}");
    for name in ["secret.key", ".env", "vault.fernet"] {
        assert_eq!(mode(&setup.path(name)), 0o600, "{when}: {name}");
    }
}

fn keys(setup: &Setup) -> Vec<String> {
    let text = fs::read_to_string(setup.path("secret.key")).expect("the key file");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn everything_is_encrypted_anew_and_all_else_in_the_env_file_stays_as_it_was() {
    let setup = installation();
    let token = fs::read_to_string(setup.path(".env")).expect(".env");
    let token = token.trim_end().split_once('=').expect("a token").1;
    let foreign = fernet::Fernet::new(&fernet::Fernet::generate_key())
        .expect("a key")
        .encrypt(b"theirs");
    let env = |a: &str| {
        format!(
            "# a comment \t\r\nexport DB_PASSWORD = '{a}' # {a}\r\n\nPLAIN=gAAAA\nFOREIGN={foreign}\nno line end"
        )
    };
    fs::write(setup.path(".env"), env(token)).expect(".env");
    let old = keys(&setup);

    let dry = setup.run(&["vault", "rotate", "-n"]).expect(0);
    assert_eq!(
        (
            keys(&setup),
            fs::read_to_string(setup.path(".env")).expect(".env")
        ),
        (old.clone(), env(token)),
        "{dry}"
    );
    let ran = setup.run(&["vault", "rotate"]).expect(0);

    let new = keys(&setup);
    assert!(new.len() == 1 && new != old, "{ran}");
    assert!(
        ran.stdout.contains("2 secrets")
            && ran.stdout.contains("2 tokens")
            && ran
                .stdout
                .contains("1 tokens of the env file are opened by no key"),
        "{ran}"
    );
    let fresh = fs::read_to_string(setup.path(".env")).expect(".env");
    let tokens: Vec<&str> = fresh
        .split(['\'', '\r', ' '])
        .filter(|word| word.starts_with("gAAAA") && word.len() > 50)
        .collect();
    let anew = fresh.replace(tokens[0], "A").replace(tokens[1], "A");
    assert_eq!(anew, env("A"));
    all_opens(&setup, "rotated");
    assert!(!ran.to_string().contains(&new[0]), "{ran}");
}

/// With `strace` it is ended as by `kill -9` before the `number`-th call of `syscall`; whether it was.
fn killed(setup: &Setup, syscall: &str, number: usize) -> bool {
    let inject = format!("inject={syscall}:signal=KILL:when={number}");
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={syscall}"),
            "-e",
            &inject,
        ])
        .arg(binary())
        .args(["-c", "config.toml", "vault", "rotate"])
        .current_dir(setup.path("."))
        .env_remove("SECRET_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace");
    !status.success()
}

#[test]
fn killed_at_any_step_every_secret_still_opens_and_the_next_rotation_completes_it() {
    let mut kills = Vec::new();
    for syscall in ["rename", "fsync", "write", "openat", "close"] {
        // Each call alone, in an installation of its own, until it is made no more.
        let mut number = 1;
        loop {
            let setup = installation();
            let old = keys(&setup);
            if !killed(&setup, syscall, number) {
                assert!(keys(&setup).len() == 1 && keys(&setup) != old);
                break;
            }
            let when = format!("killed before {syscall} {number}");
            all_opens(&setup, &when);
            setup.run(&["vault", "rotate"]).expect(0);
            assert!(keys(&setup).len() == 1 && keys(&setup) != old, "{when}");
            all_opens(&setup, &format!("{when}, and rotated again"));
            number += 1;
        }
        kills.push((syscall, number - 1));
    }
    let of = |syscall: &str| {
        kills
            .iter()
            .find(|(name, _)| *name == syscall)
            .map_or(0, |(_, n)| *n)
    };
    // Key file, vault, env file, key file.
    assert_eq!(of("rename"), 4, "{kills:?}");
    assert_eq!(of("fsync"), 8, "{kills:?}");
}

#[test]
fn a_token_that_could_not_be_replaced_ends_it_before_anything_is_written() {
    let setup = installation();
    let token = fs::read_to_string(setup.path(".env")).expect(".env");
    let token = token.trim_end().split_once('=').expect("a token").1;
    let pieces = format!("A={}\nDB_PASSWORD=${{A}}{}\n", &token[..40], &token[40..]);
    fs::write(setup.path(".env"), &pieces).expect(".env");
    let (old, vault) = (
        keys(&setup),
        fs::read(setup.path("vault.fernet")).expect("the vault"),
    );

    let ran = setup.run(&["vault", "rotate"]).expect(3);

    assert!(
        ran.stderr.contains("DB_PASSWORD") && ran.stderr.contains("one token on one line"),
        "{ran}"
    );
    assert_eq!(
        (
            keys(&setup),
            fs::read(setup.path("vault.fernet")).expect("the vault")
        ),
        (old, vault)
    );
}

#[test]
fn without_a_key_file_there_is_nowhere_to_put_the_new_key() {
    let setup = Setup::new().write();
    let text = fs::read_to_string(setup.path("config.toml")).expect("config.toml");
    fs::write(
        setup.path("config.toml"),
        text.replace("key_file = \"secret.key\"\n", ""),
    )
    .expect("config.toml");
    let ran = setup.run(&["vault", "rotate"]).expect(3);
    assert!(ran.stderr.contains("key_file"), "{ran}");
}
