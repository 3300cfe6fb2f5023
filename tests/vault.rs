//! Keys and tokens as an operator makes them, and the files they are kept in.

mod command;
mod credentials;
mod kept;
mod rotation;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use backupctl::commands::vault;
use backupctl::config::{SecretFiles, SecretRef, SecretSource};
use backupctl::secret::{Secret, Secrets};
use backupctl::verdict::Verdict;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file").permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
}

fn files(dir: &Path) -> SecretFiles {
    SecretFiles {
        env_file: Some(dir.join(".env")),
        key_file: Some(dir.join("secret.key")),
        ..SecretFiles::default()
    }
}

fn opened(files: &SecretFiles, reference: &SecretRef) -> Secrets {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let opened = runtime.block_on(Secrets::open(files, &[reference]));
    opened.expect("the secret is opened")
}

#[test]
fn a_token_made_with_a_new_key_is_opened_from_the_env_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = files(dir.path());
    let password = SecretRef {
        setting: "stores.office.sftp.password".to_owned(),
        sources: vec![SecretSource::Env("SFTP_PASSWORD".to_owned())],
    };

    vault::new_key(&dir.path().join("secret.key")).expect("a new key");
    let token = vault::encrypt(&files, Secret::new("hörse battery".to_owned())).expect("a token");
    fs::write(dir.path().join(".env"), format!("SFTP_PASSWORD={token}\n")).expect("the env file");
    chmod(&dir.path().join(".env"), 0o600);

    let secrets = opened(&files, &password);
    assert_eq!(secrets.get(&password).expose(), "hörse battery");
    assert_eq!(secrets.warnings(), [""; 0]);
}

#[test]
fn a_new_key_file_is_private_and_one_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("secret.key");

    vault::new_key(&path).expect("a new key");

    let content = fs::read_to_string(&path).expect("the key");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(content.len(), 45);
    assert!(content.ends_with("=\n") && fernet::Fernet::new(content.trim()).is_some());
}

#[test]
fn an_existing_key_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, link) = (dir.path().join("secret.key"), dir.path().join("link"));
    fs::write(&path, "precious").expect("a file");
    symlink("nowhere", &link).expect("a dangling symlink");

    for path in [&path, &link] {
        let failed = vault::new_key(path).expect_err("it exists");
        assert_eq!(failed.verdict, Verdict::Config);
        assert!(failed.message().contains("exists already"), "{failed:?}");
        assert!(failed.hint.is_some());
    }

    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_new_key_needs_a_directory_of_its_own() {
    let dir = tempfile::tempdir().expect("a temporary directory");

    let missing = vault::new_key(&dir.path().join("missing/secret.key")).expect_err("no directory");
    chmod(dir.path(), 0o777);
    let shared = vault::new_key(&dir.path().join("secret.key")).expect_err("others can write");

    assert_eq!(missing.verdict, Verdict::Config);
    assert!(
        missing.message().contains("its directory does not exist"),
        "{missing:?}"
    );
    assert_eq!(shared.verdict, Verdict::Config);
    assert_eq!(
        shared.hint,
        Some(format!("chmod go-w {}", dir.path().display()))
    );
    assert!(!dir.path().join("secret.key").exists());
}

#[test]
fn a_key_that_others_can_read_makes_no_token() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("secret.key");
    vault::new_key(&path).expect("a new key");
    chmod(&path, 0o640);

    let failed = vault::encrypt(&files(dir.path()), Secret::new("canary".to_owned()))
        .expect_err("the key is open to others");

    assert_eq!(failed.verdict, Verdict::Config);
    assert_eq!(failed.hint, Some(format!("chmod 600 {}", path.display())));
    assert!(!format!("{failed:?}").contains("canary"));
}

#[test]
fn nothing_is_not_encrypted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let failed = vault::encrypt(&files(dir.path()), Secret::new(String::new()));
    assert_eq!(failed.expect_err("an empty value").verdict, Verdict::Usage);
}
