//! What the database's password is, as it goes through `vault encrypt`, the env file and a real login.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::chmod;
use crate::support::postgres::Postgres;
use crate::support::program::{Program, Ran, Setup, binary};

fn installation() -> Setup {
    Setup::new()
            .part("[network]\nattempts = 1\n")
            .part("[stores.office.local]\npath = \"/\"\n")
            .part("[databases.erp.postgres]\nhost = \"127.0.0.1\"\nport = 1\nuser = \"nobody\"\nname = \"erp\"\npassword = \"env:DB_PASSWORD\"\n")
            .restore("")
            .write()
}

fn encrypt(setup: &Setup, value: &str) -> Ran {
    let arguments = ["-c", "config.toml", "vault", "encrypt"];
    setup.program.run_with_stdin(&arguments, value)
}

fn keep(setup: &Setup, line: &str) {
    let file = OpenOptions::new().append(true).open(setup.path(".env"));
    writeln!(file.expect(".env"), "{line}").expect("a line of .env");
}

/// What `restore --dry-run` makes of the secrets: nothing to restore is there, but they are judged first.
fn judged(setup: &Setup) -> Ran {
    setup.run(&["undo", "--dry-run"])
}

#[test]
fn a_new_key_is_private_named_on_stdout_and_never_overwritten() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = Program::new(directory.path());
    let key = directory.path().join("new.key");

    let made = program.run(&["vault", "new-key", "new.key"]).expect(0);
    let content = fs::read_to_string(&key).expect("the key");
    let again = program.run(&["vault", "new-key", "new.key"]).expect(3);

    assert_eq!(made.stdout, "new.key\n");
    assert!(
        !made.to_string().contains(content.trim()),
        "the key is in its file only"
    );
    let mode = fs::metadata(&key).expect("the key").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(again.stderr.contains("exists already"), "{again}");
    assert_eq!(fs::read_to_string(&key).expect("the key"), content);
}

#[test]
fn a_dry_new_key_says_what_the_real_one_would() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = Program::new(directory.path());

    program
        .run(&["vault", "new-key", "new.key", "-n"])
        .expect(0);
    assert!(!directory.path().join("new.key").exists());
    program.run(&["vault", "new-key", "new.key"]).expect(0);
    program
        .run(&["vault", "new-key", "new.key", "-n"])
        .expect(3);
    program
        .run(&["vault", "new-key", "missing/new.key", "-n"])
        .expect(3);
}

#[test]
fn whatever_a_password_holds_logs_in_after_encryption() {
    // given: the harshest password, and one that ends with a newline
    let server = Postgres::shared();
    for password in [
        "a b'c\"d$HOME\\n`id`#=%ü日 ",
        "ends with a newline\n",
        "{\"json\": [1]}",
    ] {
        let quoted = format!("login password '{}'", password.replace('\'', "''"));
        let role = server.role("vault", &quoted);
        let live = server.database("vault");
        let table = server
            .toml("erp", &live)
            .replace("\"postgres\"\npassword", &format!("\"{role}\"\npassword"));
        let setup = Setup::new()
            .local("/".as_ref())
            .part(&table)
            .restore("")
            .write();

        // when
        let token = encrypt(&setup, &format!("{password}\n")).expect(0).stdout;
        keep(&setup, &format!("DB_PASSWORD={}", token.trim_end()));

        // then: in, but nothing to go back to, or without the rights for it
        let ran = judged(&setup);
        assert!([Some(3), Some(10)].contains(&ran.code), "{ran}");
        assert!(
            ran.stderr.contains("right") || ran.stderr.contains("no previous database"),
            "{ran}"
        );
        assert_eq!(token.lines().count(), 1);
    }
}

#[test]
fn nothing_on_stdin_is_a_usage_error() {
    let setup = installation();
    for nothing in ["", "\n"] {
        let ran = encrypt(&setup, nothing).expect(2);
        assert!(
            ran.stderr.contains("empty") && ran.stdout.is_empty(),
            "{ran}"
        );
    }
}

#[test]
fn without_a_key_the_hint_is_the_command_that_makes_one() {
    let setup = installation();
    fs::remove_file(setup.path("secret.key")).expect("no key");

    let ran = encrypt(&setup, "value").expect(3);

    let hint = format!(
        "backupctl vault new-key {}",
        setup.path("secret.key").display()
    );
    assert!(ran.stderr.contains(&hint), "{ran}");
}

#[test]
fn the_first_token_needs_no_configuration_where_the_key_is_in_the_environment() {
    let home = tempfile::tempdir().expect("a directory");
    super::vault::new_key(&home.path().join("k")).expect("a key");
    let key = fs::read_to_string(home.path().join("k")).expect("its text");
    let program = Program::new(home.path()).env("SECRET_KEY", key.trim());

    let ran = program
        .run_with_stdin(&["vault", "encrypt"], "canary")
        .expect(0);

    let opened = fernet::Fernet::new(key.trim())
        .expect("a key")
        .decrypt(ran.stdout.trim())
        .expect("its token");
    assert_eq!(opened, b"canary");
}

#[test]
fn without_any_key_configured_the_environment_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(
        directory.path().join("config.toml"),
        "state_dir = \"state\"\n",
    )
    .expect("config.toml");
    let program = Program::new(directory.path());

    let ran = program
        .run_with_stdin(&["-c", "config.toml", "vault", "encrypt"], "value")
        .expect(3);

    assert!(
        ran.stderr.contains("SECRET_KEY") && ran.stderr.contains("key_file"),
        "{ran}"
    );
}

#[test]
fn on_a_terminal_the_value_is_asked_for_and_not_shown() {
    let setup = installation();

    let (code, shown) = on_terminal(
        &setup,
        &["vault", "encrypt"],
        ("Secret: ", "terminal-canary\n"),
    );

    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(
        shown.lines().any(|line| line.starts_with("gAAAA")),
        "{shown}"
    );
}

#[test]
fn control_c_at_a_prompt_ends_it_at_once_and_the_terminal_shows_again_what_is_typed() {
    let setup = installation();

    let (code, shown) = on_terminal(&setup, &["vault", "encrypt"], ("Secret: ", "\u{3}"));

    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.ends_with("echo is on\n"), "{shown}");
}

/// Runs it on a terminal of its own, types once it has asked, and says how it ended and what was on the screen.
fn on_terminal(
    setup: &Setup,
    arguments: &[&str],
    (asked, typed): (&str, &str),
) -> (Option<i32>, String) {
    let script = "
import os, pty, select, sys, termios
asked, typed = sys.argv[1].encode(), sys.argv[2].encode()
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[3], sys.argv[3:])
seen = b''
while asked not in seen:
    seen += os.read(terminal, 1)
os.write(terminal, typed)
pid, status = os.waitpid(pid, 0)
try:
    while select.select([terminal], [], [], 0)[0]:
        seen += os.read(terminal, 1024)
except OSError:
    pass
print(seen.decode())
print('echo is', 'on' if termios.tcgetattr(terminal)[3] & termios.ECHO else 'off')
sys.exit(os.waitstatus_to_exitcode(status))";
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script, asked, typed])
        .arg(binary())
        .arg("-c")
        .arg(setup.path("config.toml"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("python3");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn a_key_or_env_file_open_to_others_is_refused_with_the_command_that_mends_it() {
    for (name, mode) in [
        ("secret.key", 0o640),
        ("secret.key", 0o604),
        (".env", 0o660),
    ] {
        let setup = installation();
        let token = encrypt(&setup, "value").expect(0).stdout;
        keep(&setup, &format!("DB_PASSWORD={token}"));
        chmod(&setup.path(name), mode);

        let ran = judged(&setup).expect(3);

        let hint = format!("chmod 600 {}", setup.path(name).display());
        assert!(ran.stderr.contains(&hint), "{ran}");
    }
}

#[test]
fn the_newest_of_several_keys_encrypts_and_each_of_them_opens() {
    // given
    let setup = installation();
    let old = encrypt(&setup, "old value").expect(0).stdout;
    let program = &setup.program;
    program.run(&["vault", "new-key", "new.key"]).expect(0);
    let read = |name: &str| fs::read_to_string(setup.path(name)).expect("a key");
    fs::write(
        setup.path("secret.key"),
        read("new.key") + &read("secret.key"),
    )
    .expect("two keys");

    // when
    let new = encrypt(&setup, "new value").expect(0).stdout;

    // then: port 1 answers nobody, so what comes next is the network
    for token in [&old, &new] {
        fs::write(setup.path(".env"), format!("DB_PASSWORD={token}")).expect(".env");
        judged(&setup).expect(5);
    }
    fs::rename(setup.path("new.key"), setup.path("secret.key")).expect("only the new key");
    judged(&setup).expect(5);
    fs::write(setup.path(".env"), format!("DB_PASSWORD={old}")).expect(".env");
    let ran = judged(&setup).expect(3);
    assert!(ran.stderr.contains("DB_PASSWORD"), "{ran}");
}

#[test]
fn a_tampered_token_names_its_variable_and_nothing_of_its_content() {
    let setup = installation();
    let token = encrypt(&setup, "value").expect(0).stdout;
    let tampered = token.trim_end().replace(&token[20..24], "AAAA");
    fs::write(setup.path(".env"), format!("DB_PASSWORD={tampered}\n")).expect(".env");

    let ran = judged(&setup).expect(3);

    assert!(ran.stderr.contains("DB_PASSWORD"), "{ran}");
    assert!(!ran.to_string().contains(&tampered), "{ran}");
}

#[test]
fn every_missing_and_empty_variable_is_listed_at_once_and_only_where_it_is_needed() {
    // given
    let setup = installation();
    let path = setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    let mail = "[notify.email]\nserver = \"127.0.0.1\"\nport = 1\nuser = \"u\"\npassword = \"env:SMTP_PASSWORD\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n";
    fs::write(&path, config + mail).expect("config.toml");
    keep(&setup, "SMTP_PASSWORD=\nOTHER=this is nobody's business");

    // when, then
    let both = setup.run(&["run", "-n"]).expect(3);
    for name in ["DB_PASSWORD", "SMTP_PASSWORD"] {
        assert!(both.stderr.contains(name), "{both}");
    }
    assert!(!both.to_string().contains("OTHER"), "{both}");
    let one = judged(&setup).expect(3);
    assert!(one.stderr.contains("DB_PASSWORD"), "{one}");
    assert!(!one.stderr.contains("SMTP_PASSWORD"), "{one}");
    setup.run(&["list"]).expect(0);
}
