//! References resolved against real files and a made-up environment.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::config::SecretSource;
use crate::verdict::{Failed, Verdict};

// Fernet(base64.urlsafe_b64encode(bytes(range(32)))).encrypt_at_time("pässword".encode(), 1700000000), and
// likewise (b"from the future", 4102444800) and (b"", 1700000000), by Python's cryptography 48.0.0.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const TOKEN: &str = "gAAAAABlU_EA36ttlkfOtCJWVD3aE4dKEaA827fwqtdat2jpIAr5IHITsCzq07KZgDssp-U8w2I9baPv3OzsXar9Nf1diIQrVg==";
const FUTURE: &str = "gAAAAAD0hlcAtMTqE-s-zEljhbb7i6ylvnxRZF8GSCK09kKeL89j0bqaBfrEwedzLU_tpsONrGMvDk-GD9gJ5N0zx4EAl7hPGw==";
const EMPTY: &str = "gAAAAABlU_EALhl_sTHSD8HTcz8QbNJhKDc76VMTwRlOyppPHlRvLXyFD5vylQ2WJLxiCBz1hVDn5RBUACTeO_H8PnYC4JS9AQ==";
const NOW: u64 = 1_800_000_000;

/// A directory with files, and the environment that the references see.
struct Place {
    dir: TempDir,
    files: SecretFiles,
    environment: Vec<(&'static str, OsString)>,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            files: SecretFiles::default(),
            environment: Vec::new(),
        }
    }

    /// With this env file, and a key file that fits.
    fn with(env_file: &str) -> Self {
        let mut place = Self::new();
        place.files.env_file = Some(place.file(".env", env_file.as_bytes()));
        place.files.key_file = Some(place.file("secret.key", KEY.as_bytes()));
        place
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        use std::io::Write;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))
            .expect("a private file");
        file.write_all(content).expect("its content");
        self.path(name)
    }

    fn open(&self, needed: &[&SecretRef]) -> Outcome<Secrets> {
        let environment = |name: &str| {
            let mut known = self.environment.iter();
            known.find(|(n, _)| *n == name).map(|(_, v)| v.clone())
        };
        let opened = Secrets::open_at(&self.files, needed, environment, NOW);
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(opened)
    }

    fn value(&self, reference: &SecretRef) -> String {
        let secrets = self.open(&[reference]).expect("the secret is opened");
        secrets.get(reference).expose().to_owned()
    }

    /// The one problem with `env:KEY`, which never shows a value.
    fn problem(&self) -> Failed {
        let failed = self.open(&[&env("KEY")]).expect_err("a problem");
        assert_eq!(failed.verdict, Verdict::Config);
        for value in [KEY, TOKEN, EMPTY, "canary"] {
            assert!(!format!("{failed:?}").contains(value), "{failed:?}");
        }
        failed
    }
}

fn reference(setting: &str, sources: Vec<SecretSource>) -> SecretRef {
    SecretRef {
        setting: setting.to_owned(),
        sources,
    }
}

fn env(name: &str) -> SecretRef {
    reference(
        "databases.erp.postgres.password",
        vec![SecretSource::Env(name.to_owned())],
    )
}

fn from_commands(scripts: &[&str]) -> SecretRef {
    let words = |script: &&str| ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let sources = scripts.iter().map(words).map(SecretSource::Command);
    reference("databases.erp.postgres.password", sources.collect())
}

fn from_file(path: PathBuf) -> SecretRef {
    reference("notify.email.password", vec![SecretSource::File(path)])
}

#[test]
fn a_token_in_the_env_file_is_opened_with_the_key_file() {
    let place = Place::with(&format!(
        "OTHER=anything\nexport KEY='{TOKEN}' # of the server\n"
    ));
    assert_eq!(place.value(&env("KEY")), "pässword");
}

#[test]
fn without_a_key_file_the_key_comes_from_the_environment() {
    let mut place = Place::with(&format!("KEY={TOKEN}\n"));
    place.files.key_file = None;
    assert!(place.problem().message().contains("there is no key"));
    let place = place.variable("SECRET_KEY", &format!("{OTHER_KEY},{KEY}"));
    assert_eq!(place.value(&env("KEY")), "pässword");
}

#[test]
fn a_bad_key_in_the_environment_is_named() {
    let mut place = Place::with(&format!("KEY={TOKEN}\n")).variable("SECRET_KEY", "canary");
    place.files.key_file = None;
    assert!(
        place
            .problem()
            .message()
            .starts_with("$SECRET_KEY holds no Fernet key")
    );
}

#[test]
fn a_plain_value_in_the_environment_needs_neither_file_nor_key() {
    let place = Place::new()
        .variable("KEY", " plain = value ")
        .variable("SECRET_KEY", "of another program");
    assert_eq!(place.value(&env("KEY")), " plain = value ");
}

#[test]
fn a_token_in_the_environment_is_opened() {
    let place = Place::new()
        .variable("KEY", TOKEN)
        .variable("SECRET_KEY", KEY);
    assert_eq!(place.value(&env("KEY")), "pässword");
}

#[test]
fn the_env_file_goes_before_the_environment() {
    let place = Place::with(&format!("KEY={TOKEN}\n")).variable("KEY", "canary");
    assert_eq!(place.value(&env("KEY")), "pässword");
    let place = Place::with("KEY\n").variable("KEY", "plain");
    assert_eq!(place.value(&env("KEY")), "plain");
}

#[test]
fn the_files_are_left_alone_where_no_reference_is_env() {
    let mut place = Place::new();
    place.files.env_file = Some(place.path("missing"));
    place.files.key_file = Some(place.path("missing"));
    let path = place.file("password", b"plain\n");
    assert_eq!(place.value(&from_file(path)), "plain");
}

#[test]
fn one_trailing_newline_of_a_file_is_not_the_password() {
    let place = Place::new();
    for (content, value) in [
        ("a b", "a b"),
        ("a\n", "a"),
        ("a\n\n", "a\n"),
        ("a\r\n", "a"),
        (" a \n", " a "),
    ] {
        let path = place.file("password", content.as_bytes());
        assert_eq!(place.value(&from_file(path)), value);
    }
}

#[test]
fn a_file_of_a_container_may_be_readable_by_all() {
    let place = Place::new();
    let path = place.file("password", b"plain");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("the mode is set");
    assert_eq!(place.value(&from_file(path)), "plain");
}

#[test]
fn a_bad_password_file_is_named() {
    let place = Place::new();
    for (content, text) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "is not UTF-8"),
        (b"\xef\xbb\xbfa", "byte order mark"),
    ] {
        let path = place.file("password", content);
        let failed = place.open(&[&from_file(path)]).expect_err("a bad file");
        let message = failed.message();
        assert!(
            message.starts_with("notify.email.password: `/"),
            "{message}"
        );
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn the_first_source_that_exists_wins() {
    let place = Place::new().variable("KEY", "from the environment");
    let missing = SecretSource::File(place.path("missing"));
    let file = SecretSource::File(place.file("password", b"from the file"));
    let variable = SecretSource::Env("KEY".to_owned());
    let value = |sources: &[&SecretSource]| {
        place.value(&reference(
            "a.password",
            sources.iter().map(|s| (*s).clone()).collect(),
        ))
    };
    assert_eq!(value(&[&missing, &variable, &file]), "from the environment");
    assert_eq!(value(&[&file, &variable]), "from the file");
    let failed = place.open(&[&reference(
        "a.password",
        vec![missing, SecretSource::Env("NONE".to_owned())],
    )]);
    let message = failed.expect_err("no source exists").message();
    assert!(
        message.contains("missing` does not exist; env:NONE is not in the environment"),
        "{message}"
    );
}

#[test]
fn a_source_that_exists_but_is_bad_is_not_passed_over() {
    let place = Place::new().variable("KEY", "plain");
    let sources = vec![
        SecretSource::File(place.file("password", b"")),
        SecretSource::Env("KEY".to_owned()),
    ];
    assert!(place.open(&[&reference("a.password", sources)]).is_err());
}

#[test]
fn all_problems_are_told_at_once() {
    let place = Place::with(&format!(
        "TWICE={TOKEN}\nTWICE={TOKEN}\nPLAIN=canary\nEMPTY=\nGOOD={TOKEN}\n"
    ));
    let needed = ["TWICE", "PLAIN", "EMPTY", "MISSING", "GOOD"].map(env);
    let needed: Vec<&SecretRef> = needed.iter().collect();
    let failed = place.open(&needed).expect_err("four problems");
    let message = failed.message();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[0], "4 problems:");
    let shown = place.path(".env").display().to_string();
    for (line, text) in lines[1..].iter().zip([
        "env:TWICE in `FILE` is set more than once, on lines 1 and 2",
        "env:PLAIN on line 3 of `FILE` is no Fernet token",
        "env:EMPTY on line 4 of `FILE` is empty",
        "env:MISSING is neither in `FILE` nor in the environment",
    ]) {
        let expected = format!(
            "databases.erp.postgres.password: {}",
            text.replace("FILE", &shown)
        );
        assert_eq!(*line, expected);
    }
    assert_eq!(lines.len(), 5);
    assert_eq!(
        failed.hint.as_deref(),
        Some("`backupctl vault encrypt` makes the token that belongs there")
    );
}

#[test]
fn both_files_are_judged_at_once_and_each_once() {
    let place = Place::with(&format!("KEY={TOKEN}\n"));
    for name in [".env", "secret.key"] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o644))
            .expect("the mode is set");
    }
    let failed = place
        .open(&[&env("KEY"), &env("OTHER")])
        .expect_err("two problems");
    let (message, dir) = (failed.message(), place.dir.path().display());
    assert!(message.contains("\nsecrets.env_file: `"), "{message}");
    assert!(message.contains("\nsecrets.key_file: `"), "{message}");
    assert_eq!(message.lines().count(), 3, "{message}");
    assert_eq!(
        failed.hint,
        Some(format!("chmod 600 {dir}/.env\nchmod 600 {dir}/secret.key"))
    );
}

#[test]
fn a_missing_env_or_key_file_is_named() {
    let place = Place::with(&format!("KEY={TOKEN}\n"));
    fs::remove_file(place.path(".env")).expect("it is removed");
    fs::remove_file(place.path("secret.key")).expect("it is removed");
    let message = place.problem().message();
    assert!(message.contains(".env` does not exist\n"), "{message}");
    assert!(message.ends_with("secret.key` does not exist"), "{message}");
}

#[test]
fn a_bad_key_file_is_named() {
    let place = Place::with(&format!("KEY={TOKEN}\n"));
    place.file("secret.key", format!("{KEY}\r\n").as_bytes());
    let message = place.problem().message();
    assert!(
        message.ends_with("secret.key` has Windows line ends (CRLF)"),
        "{message}"
    );
}

#[test]
fn a_token_that_no_key_opens_hints_at_key_and_token() {
    let place = Place::with(&format!("KEY={TOKEN}\n"));
    place.file("secret.key", OTHER_KEY.as_bytes());
    let failed = place.problem();
    assert!(failed.message().contains("env:KEY on line 1"), "{failed:?}");
    assert!(
        failed
            .hint
            .is_some_and(|hint| hint.contains("secret.key") && hint.contains("vault encrypt"))
    );
}

#[test]
fn a_truncated_token_is_no_plain_password() {
    let place = Place::with(&format!("KEY={}\n", &TOKEN[..60]));
    assert!(place.problem().message().contains("cut off or changed"));
}

#[test]
fn a_token_of_nothing_is_a_problem() {
    let place = Place::with(&format!("KEY={EMPTY}\n"));
    assert!(place.problem().message().contains("empty value"));
}

#[test]
fn a_token_from_the_future_is_accepted_with_a_warning() {
    let place = Place::with(&format!("KEY={FUTURE}\n"));
    let secrets = place.open(&[&env("KEY")]).expect("it is opened");
    assert_eq!(secrets.get(&env("KEY")).expose(), "from the future");
    assert!(
        secrets.warnings()[0].contains("env:KEY on line 1"),
        "{:?}",
        secrets.warnings()
    );
    assert_eq!(secrets.warnings().len(), 1);
}

#[test]
fn opened_secrets_are_taught_and_never_shown() {
    let place = Place::new().variable("KEY", "canary");
    let secrets = place.open(&[&env("KEY")]).expect("it is opened");
    let scrubber = Scrubber::default();
    secrets.teach(&scrubber);
    assert_eq!(scrubber.scrub("a canary"), "a <secret>");
    assert!(!format!("{secrets:?}").contains("canary"));
}

#[test]
fn names_with_control_characters_are_escaped() {
    let failed = Place::new()
        .open(&[&env("A\u{1b}[2J")])
        .expect_err("not there");
    assert!(!failed.message().contains('\u{1b}'), "{failed:?}");
}

#[test]
fn a_commands_output_is_the_secret_without_its_last_newline() {
    let place = Place::new();
    let reference = from_commands(&["printf 'a \\047quoted\\047 $one\\n'"]);
    assert_eq!(place.value(&reference), "a 'quoted' $one");
}

#[test]
fn a_command_that_fails_hands_over_to_the_next_reference_and_is_told() {
    let place = Place::new();
    let reference = from_commands(&["echo locked >&2; exit 2", "echo second"]);
    let secrets = place.open(&[&reference]).expect("the second one");
    assert_eq!(secrets.get(&reference).expose(), "second");
    assert_eq!(
        secrets.warnings(),
        ["databases.erp.postgres.password: `command:/bin/sh` gave no secret: exit code 2: locked"]
    );
}

#[test]
fn where_no_reference_has_the_secret_each_is_named_with_its_reason() {
    let mut reference = from_commands(&["echo canary; exit 2"]);
    reference.sources.push(SecretSource::Env("KEY".to_owned()));
    let failed = Place::new().open(&[&reference]).expect_err("no secret");
    assert_eq!(
        failed.message(),
        "databases.erp.postgres.password: `command:/bin/sh` gave no secret: exit code 2; \
         env:KEY is not in the environment, and no `secrets.env_file` is configured"
    );
}

#[test]
fn a_command_that_prints_nothing_is_a_problem_of_its_own() {
    let reference = from_commands(&["true", "echo second"]);
    let failed = Place::new().open(&[&reference]).expect_err("a problem");
    assert_eq!(
        failed.message(),
        "databases.erp.postgres.password: the output of `command:/bin/sh` is empty"
    );
}
