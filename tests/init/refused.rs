//! What `init` refuses, and that nothing is left then.

use std::fs;

use super::{Newcomer, flags, with};
use crate::run::says;
use crate::support::program::Ran;

fn is_untouched(new: &Newcomer, ran: &Ran) {
    assert_eq!(new.files(), ["db", "smtp"], "{ran}");
}

#[test]
fn what_is_there_is_named_and_not_overwritten() {
    let new = Newcomer::new();
    let flags = flags(&new);
    for (there, others) in [
        ("config.toml", ".env"),
        (".env", "secret.key"),
        ("secret.key", ".env"),
    ] {
        let path = new.setup.path(there);
        fs::write(&path, "mine").expect("a file");
        let ran = new.setup.run(&with(&flags, &[])).expect(3);
        says(&ran.stderr, &[&format!("{there} is there already")]);
        assert!(!new.setup.path(others).exists(), "{ran}");
        assert_eq!(new.text(there), "mine");
        fs::remove_file(&path).expect("the file");
    }
    // A link that leads nowhere yet would be written through.
    std::os::unix::fs::symlink("/nowhere", new.setup.path(".env")).expect("a link");
    let ran = new.setup.run(&with(&flags, &[])).expect(3);
    says(&ran.stderr, &[".env is there already"]);
    fs::remove_file(new.setup.path(".env")).expect("the link");
    is_untouched(&new, &ran);
}

#[test]
fn without_a_terminal_nothing_is_asked_and_what_is_missing_is_named_at_once() {
    let new = Newcomer::new();
    let ran = new.setup.run(&["init"]).expect(2);
    says(&ran.stderr, &["--store, --database", "on a terminal"]);
    let flags = flags(&new);
    let unconfirmed: Vec<String> = { flags.iter() }
        .filter(|word| *word != "--host-key" && **word != new.sshd.fingerprint)
        .cloned()
        .collect();
    let ran = new.setup.run(&with(&unconfirmed, &[])).expect(2);
    says(&ran.stderr, &["confirmation", "--yes"]);
    is_untouched(&new, &ran);
}

#[test]
fn another_host_key_than_the_expected_one_is_refused() {
    let new = Newcomer::new();
    let mut flags = flags(&new);
    let at = flags.iter().position(|word| *word == new.sshd.fingerprint);
    flags[at.expect("the key")] = "SHA256:somebody-elses".to_owned();
    let ran = new.setup.run(&with(&flags, &[])).expect(6);
    says(
        &ran.stderr,
        &[&new.sshd.fingerprint, "SHA256:somebody-elses"],
    );
    is_untouched(&new, &ran);
}

#[test]
fn a_mail_user_without_a_password_is_refused() {
    let new = Newcomer::new();
    let mut flags = flags(&new);
    let at = flags.iter().position(|word| word == "--mail-password-file");
    flags.drain(at.map(|at| at..at + 2).expect("the flag"));
    let ran = new.setup.run(&with(&flags, &[])).expect(2);
    says(&ran.stderr, &["the mail user has no password"]);
    is_untouched(&new, &ran);
}

#[test]
fn a_dry_init_shows_the_file_and_writes_nothing() {
    let new = Newcomer::new();
    let flags = flags(&new);
    let ran = new.setup.run(&with(&flags, &["-n"])).expect(0);
    says(
        &ran.stdout,
        &[
            "# would be written: ",
            "[restores.erp]\n",
            "password = \"env:DB_PASSWORD\"\n",
        ],
    );
    assert!(!ran.stdout.contains(&new.server.password), "{ran}");
    is_untouched(&new, &ran);
}

#[test]
fn a_server_that_is_down_leaves_a_configuration_to_go_on_with() {
    let new = Newcomer::new();
    let flags = flags(&new);
    new.sshd.kill();
    let ran = new.setup.run(&with(&flags, &[])).expect(5);
    says(
        &ran.stderr,
        &[
            "config.toml trust office",
            "the files stay",
            "config.toml check",
        ],
    );
    says(
        &ran.stdout,
        &["failed   store tcp", "ok       database login"],
    );
    assert!(!new.setup.path("known_hosts").exists());
    new.sshd.restart();
    new.setup.run(&["trust", "office", "--yes"]).expect(0);
    new.setup.run(&["check"]).expect(0);
}

#[test]
fn answers_that_make_no_configuration_leave_nothing() {
    let new = Newcomer::new();
    let flags = flags(&new);
    for (flag, value, why) in [
        ("--job", "a b", "no usable name"),
        ("--mail-to", "nobody", "no mail address"),
        ("--store", "ftp://nas/x", "begins with sftp://"),
        ("--store", "sftp://u:canary@nas/x", "no password belongs"),
        ("--store", "sftp://nas/x", "needs a user"),
        ("--database", "postgresql://u@nas", "needs a name"),
        (
            "--database-password-file",
            "/nowhere/password",
            "does not exist",
        ),
    ] {
        let mut flags = flags.clone();
        let at = flags.iter().position(|word| word == flag).expect(flag);
        flags[at + 1] = value.to_owned();
        let ran = new.setup.run(&with(&flags, &[]));
        assert!(matches!(ran.code, Some(2 | 3)), "{ran}");
        says(&ran.stderr, &[why]);
        assert!(!ran.stderr.contains("canary"), "{ran}");
        is_untouched(&new, &ran);
    }
}

#[test]
fn a_directory_that_others_can_write_gets_no_key() {
    use std::os::unix::fs::PermissionsExt;
    let new = Newcomer::new();
    let flags = flags(&new);
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(new.setup.path(""), open).expect("an open directory");
    let ran = new.setup.run(&with(&flags, &[])).expect(3);
    says(&ran.stderr, &["others can write", "chmod go-w"]);
    is_untouched(&new, &ran);
}

#[test]
fn hostile_passwords_and_names_arrive_as_they_are() {
    let new = Newcomer::new();
    let user = new.server.role("init", "superuser login");
    let password = "it's \"50%\" $HOME `id` \\ ü #=";
    let quoted = password.replace('\'', "''");
    new.server.sql(
        "postgres",
        &format!("alter role \"{user}\" password '{quoted}'"),
    );
    let name = format!("{} it's \"100%\"", new.live);
    let in_sql = name.replace('"', "\"\"");
    new.server
        .sql("postgres", &format!("create database \"{in_sql}\""));
    let mut flags = flags(&new);
    let at = flags
        .iter()
        .position(|word| word == "--database")
        .expect("it");
    let encoded = name.replace('%', "%25");
    flags[at + 1] = format!(
        "postgresql://{user}@127.0.0.1:{}/{encoded}",
        new.server.port
    );
    new.password_file("db", password);

    let ran = new.setup.run(&with(&flags, &[]));

    says(&ran.stdout, &["ok       database login"]);
    says(&new.text("config.toml"), &["it's \\\"100%\\\"\""]);
    new.setup.run(&["check"]).expect(0);
    new.server
        .sql("postgres", &format!("drop database \"{in_sql}\""));
}

#[test]
fn what_follows_can_be_typed_whatever_the_path() {
    let new = Newcomer::new();
    let flags = flags(&new);
    let config = new.setup.path("a b/it's.toml").display().to_string();
    let words: Vec<&str> = [&["-c", &config][..], &with(&flags, &[])].concat();
    let ran = new.setup.program.run(&words).expect(0);
    let typed = config.replace('\'', r"'\''");
    says(
        &ran.stderr,
        &[&format!("backupctl -c '{typed}' run --dry-run")],
    );
}

/// Waits until it handles SIGTERM.
fn listens(child: &std::process::Child) {
    let status = format!("/proc/{}/status", child.id());
    crate::run::until("it listens", || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"));
        caught
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .unwrap_or(0)
            & (1 << 14)
            != 0
    });
}

#[test]
fn a_secret_that_is_awaited_on_stdin_can_be_interrupted() {
    let new = Newcomer::new();
    let (store, database) = (new.store(), new.database());
    let arguments = [
        "init",
        "--yes",
        "--store",
        &store,
        "--database",
        &database,
        "--store-password-file",
        "-",
    ];
    // A pipe in which nobody writes and which nobody closes.
    let pipe = new.setup.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a pipe");
    let held = fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .expect("the pipe");
    let mut child = std::process::Command::new(crate::support::program::binary())
        .arg("-c")
        .arg(new.setup.path("config.toml"))
        .args(arguments)
        .stdin(fs::File::open(&pipe).expect("the pipe"))
        .spawn()
        .expect("the program");
    listens(&child);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
    let mut ended = None;
    crate::run::until("it has ended", || {
        ended = child.try_wait().expect("its status");
        ended.is_some()
    });
    drop(held);
    assert!(
        matches!(ended.and_then(|ended| ended.code()), Some(130 | 143)),
        "{ended:?}"
    );
    assert_eq!(new.files(), ["pipe"]);
}
