//! `init`: from nothing to the first green check, on a terminal and without one, and nothing where it ends early.

mod refused;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::run::{archive, says};
use crate::support::postgres::Postgres;
use crate::support::program::{Setup, names_in};
use crate::support::smtp::{self, Smtp};
use crate::support::sshd::Sshd;
use crate::support::terminal::converse;

/// An empty directory, and the servers that a first configuration is about.
struct Newcomer {
    /// Nothing of it is written: only its directory and program are used.
    setup: Setup,
    sshd: Sshd,
    smtp: Smtp,
    server: &'static Postgres,
    live: String,
}

impl Newcomer {
    fn new() -> Self {
        let setup = Setup::new();
        fs::remove_file(setup.path("secret.key")).expect("the key that init makes");
        let sshd = Sshd::start();
        sshd.put("erp_1.zip", &archive());
        let server = Postgres::shared();
        Self {
            setup,
            sshd,
            smtp: Smtp::start(smtp::Options::default()),
            server,
            live: server.database("init"),
        }
    }

    fn store(&self) -> String {
        let Sshd {
            user, port, dir, ..
        } = &self.sshd;
        format!("sftp://{user}@127.0.0.1:{port}{}", dir.display())
    }

    fn database(&self) -> String {
        let (port, live) = (self.server.port, &self.live);
        format!("postgresql://postgres@127.0.0.1:{port}/{live}")
    }

    fn mail(&self) -> String {
        format!("smtp://{}@127.0.0.1:{}", smtp::USER, self.smtp.port)
    }

    fn password_file(&self, name: &str, password: &str) -> PathBuf {
        let path = self.setup.path(name);
        fs::write(&path, format!("{password}\n")).expect("a password file");
        path
    }

    /// What is in the directory.
    fn files(&self) -> Vec<String> {
        names_in(&self.setup.path(""))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.setup.path(name)).expect(name)
    }
}

/// What is asked, and what is typed then.
type Dialog<'a> = &'a [(&'a str, &'a str)];

/// All that it says by flags.
fn flags(new: &Newcomer) -> Vec<String> {
    let path = |path: PathBuf| path.display().to_string();
    let words = [
        ("--store", new.store()),
        ("--private-key", path(new.sshd.private_key.clone())),
        ("--host-key", new.sshd.fingerprint.clone()),
        ("--pattern", "erp_*.zip".to_owned()),
        ("--database", new.database()),
        (
            "--database-password-file",
            path(new.password_file("db", &new.server.password)),
        ),
        ("--job", "erp".to_owned()),
        ("--check", "select 1".to_owned()),
        ("--mail", new.mail()),
        (
            "--mail-password-file",
            path(new.password_file("smtp", smtp::PASSWORD)),
        ),
        ("--mail-to", "ops@example.org".to_owned()),
        ("--mail-ca-file", path(new.smtp.ca_file.clone())),
        ("--state-dir", path(new.setup.path("state"))),
    ];
    let words = words.into_iter();
    words
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
}

fn with<'a>(flags: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let flags = flags.iter().map(String::as_str);
    ["init"]
        .into_iter()
        .chain(flags)
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn by_flags_alone_it_ends_with_a_check_that_holds_and_a_run_that_is_live() {
    // given
    let new = Newcomer::new();
    let flags = flags(&new);

    // when
    let ran = new.setup.run(&with(&flags, &[])).expect(0);

    // then
    says(
        &ran.stdout,
        &["erp: ok\n", "ok       store login", "ok       mail login"],
    );
    says(
        &ran.stderr,
        &[
            "written: ",
            "secret.key",
            ".env",
            "config.toml",
            "run --dry-run",
        ],
    );
    assert_eq!(
        new.files(),
        [
            ".env",
            "config.toml",
            "db",
            "known_hosts",
            "secret.key",
            "smtp"
        ]
    );
    for name in [".env", "config.toml", "known_hosts", "secret.key"] {
        let mode = fs::metadata(new.setup.path(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    for name in [".env", "config.toml"] {
        let text = new.text(name);
        assert!(
            !text.contains(&new.server.password) && !text.contains(smtp::PASSWORD),
            "{text}"
        );
    }
    new.setup.run(&["run"]).expect(0);
    assert_eq!(new.smtp.wait_for(1).len(), 1);
}

#[test]
fn the_file_is_what_the_manual_shows_in_about_25_lines() {
    let new = Newcomer::new();
    let flags = flags(&new);
    new.setup.run(&with(&flags, &[])).expect(0);

    let text = new.text("config.toml");
    let settings = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert!((20..=35).contains(&settings.count()), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 110),
        "{text}"
    );
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let tables = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with('['));
        lines
            .map(|line| {
                line.split(" #")
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
            .collect()
    };
    let shown = readme.split("```toml\n").nth(1).expect("the smallest file");
    let shown = shown.split("```").next().expect("its end");
    assert_eq!(tables(&text), tables(shown));
}

#[test]
fn on_a_terminal_it_asks_and_shows_neither_passwords_nor_more_than_was_asked() {
    // given
    let new = Newcomer::new();
    let key = new.sshd.private_key.display().to_string();
    let state = new.setup.path("state").display().to_string();
    let ca = new.smtp.ca_file.display().to_string();
    let flags = [
        "init",
        "--state-dir",
        &state,
        "--mail-ca-file",
        &ca,
        "--mail",
        &new.mail(),
    ];
    let line = |text: &str| format!("{text}\n");

    // when: a store without its path, a key that is not there
    let screen = converse(
        &new.setup,
        &flags,
        &[
            ("Where are the archives?", "nas.example.org\n"),
            ("begins with sftp://", ""),
            ("Where are the archives?", &line(&new.store())),
            ("empty: a private key): ", "\n"),
            ("Private key file", "~/nowhere\n"),
            ("no such file", ""),
            ("Private key file", &line(&key)),
            ("empty: none): ", "\n"),
            ("by their names [*.zip]: ", "erp_*.zip\n"),
            ("Which database is replaced?", &line(&new.database())),
            ("empty: none): ", &line(&new.server.password)),
            (&format!("Name of the job (empty: {}): ", new.live), "erp\n"),
            ("SQL that must give", "select 1\n"),
            ("Password there (not shown): ", &line(smtp::PASSWORD)),
            ("comes from [backupctl <backup@example.org>]: ", "\n"),
            ("And goes to", "ops@example.org\n"),
            ("[y/N] ", "y\n"),
        ],
    )
    .expect(0);

    // then
    assert!(screen.has_echo(), "{}", screen.shown);
    says(
        &screen.shown,
        &[&new.sshd.fingerprint, "erp: ok", "ok       mail login"],
    );
    for password in [new.server.password.as_str(), smtp::PASSWORD] {
        assert!(!screen.shown.contains(password), "{}", screen.shown);
    }
    assert_eq!(
        new.files(),
        [".env", "config.toml", "known_hosts", "secret.key"]
    );
}

#[test]
fn control_c_at_any_question_leaves_nothing_and_the_terminal_as_it_was() {
    let new = Newcomer::new();
    let (store, database) = (format!("{}\n", new.store()), new.database());
    let key = new.sshd.private_key.display().to_string();
    let all = ["init", "--store", store.trim(), "--private-key", &key];
    let mut rest = all.to_vec();
    rest.extend([
        "--database",
        &database,
        "--job",
        "erp",
        "--pattern",
        "*",
        "--check",
        "select 1",
    ]);
    let cases: [(&[&str], Dialog); 4] = [
        (&["init"], &[("archives?", "\u{3}")]),
        (
            &["init"],
            &[("archives?", &store), ("a private key): ", "\u{3}")],
        ),
        (
            &all,
            &[
                ("empty: none): ", "\n"),
                ("names", "\n"),
                ("replaced?", "\u{3}"),
            ],
        ),
        (
            &rest,
            &[
                ("empty: none): ", "\n"),
                ("empty: none): ", "\n"),
                ("smtps://", "\n"),
                ("[y/N] ", "\u{3}"),
            ],
        ),
    ];
    for (arguments, dialog) in cases {
        let screen = converse(&new.setup, arguments, dialog).expect(130);
        assert!(screen.has_echo(), "{}", screen.shown);
        assert_eq!(new.files(), Vec::<String>::new(), "{}", screen.shown);
    }
}

#[test]
fn an_ended_input_and_a_no_leave_nothing() {
    let new = Newcomer::new();
    let (store, database) = (new.store(), new.database());
    let key = new.sshd.private_key.display().to_string();
    let all = [
        "init",
        "--store",
        &store,
        "--private-key",
        &key,
        "--database",
        &database,
        "--job",
        "erp",
        "--pattern",
        "*",
        "--check",
        "select 1",
    ];
    let dialog = [
        ("none): ", "\n"),
        ("none): ", "\n"),
        ("smtps://", "\n"),
        ("[y/N] ", "n\n"),
    ];
    converse(&new.setup, &all, &dialog).expect(2);
    converse(&new.setup, &["init"], &[("archives?", "\u{4}")]).expect(2);
    assert_eq!(new.files(), Vec::<String>::new());
}

#[test]
fn a_secret_from_a_terminal_by_a_dash_is_not_shown_either() {
    let new = Newcomer::new();
    let (store, database) = (new.store(), new.database());
    let flags = [
        "init",
        "-n",
        "--store",
        &store,
        "--store-password-file",
        "-",
        "--database",
        &database,
        "--pattern",
        "*",
        "--job",
        "erp",
        "--check",
        "select 1",
    ];
    let typed = [
        ("a private key): ", "canary-17\n"),
        ("empty: none): ", "\n"),
        ("smtps://", "\n"),
    ];
    let screen = converse(&new.setup, &flags, &typed).expect(0);
    assert!(
        screen.has_echo() && !screen.shown.contains("canary-17"),
        "{}",
        screen.shown
    );
    says(&screen.shown, &["env:SFTP_PASSWORD"]);
    let screen = converse(&new.setup, &flags, &[("a private key): ", "\u{3}")]).expect(130);
    assert!(screen.has_echo(), "{}", screen.shown);
}

#[test]
fn an_answer_that_the_configuration_would_refuse_is_asked_for_again() {
    let new = Newcomer::new();
    let (store, database) = (new.store(), new.database());
    let key = new.sshd.private_key.display().to_string();
    let flags = [
        "init",
        "-n",
        "--store",
        &store,
        "--private-key",
        &key,
        "--database",
        &database,
        "--job",
        "erp",
        "--mail",
        "smtp://localhost",
    ];
    let screen = converse(
        &new.setup,
        &flags,
        &[
            ("empty: none): ", "\n"),
            ("by their names [*.zip]: ", "erp_[\n"),
            ("is no glob", ""),
            ("by their names [*.zip]: ", "erp_\u{1b}[D\n"),
            ("control characters", ""),
            ("by their names [*.zip]: ", "erp_*\n"),
            ("empty: none): ", "\n"),
            ("SQL that must give", "\n"),
            ("comes from [backupctl@", "nobody\n"),
            ("no mail address", ""),
            ("comes from [backupctl@", "me@example.org\n"),
            ("And goes to", "a@example.org, b@example.org\n"),
            ("no mail address", ""),
            ("And goes to", "a@example.org\n"),
        ],
    )
    .expect(0);
    says(
        &screen.shown,
        &["from = \"me@example.org\"", "to = [\"a@example.org\"]"],
    );
}
