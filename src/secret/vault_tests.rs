use std::sync::mpsc;
use std::thread;

use super::*;
use crate::secret::{new_key, open_vault};

fn holding(password: &str) -> Vault {
    let entry = Entry {
        user: None,
        password: Secret::new(password.to_owned()),
        description: None,
        created: Timestamp::UNIX_EPOCH,
        changed: Timestamp::UNIX_EPOCH,
    };
    Vault {
        secrets: BTreeMap::from([("id".to_owned(), entry)]),
    }
}

#[test]
fn who_reads_waits_until_key_and_vault_belong_together_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = SecretFiles {
        env_file: None,
        key_file: Some(dir.path().join("secret.key")),
        vault_file: Some(dir.path().join("vault.fernet")),
    };
    let (old, new) = (new_key(), new_key());
    let keys = |key: &Secret| Keys::from_file(key.expose().as_bytes()).expect("a key");
    let write =
        |name: &str, content: &[u8]| replace(&dir.path().join(name), content).expect("a file");
    write(
        "vault.fernet",
        &holding("x").sealed(&keys(&old)).expect("a vault"),
    );
    let held = lock::to_change(&dir.path().join("vault.fernet")).expect("the lock");
    write("secret.key", new.expose().as_bytes());

    let (begun, begins) = mpsc::channel();
    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            begun.send(()).expect("somebody waits");
            open_vault(&files)
        });
        begins.recv().expect("it begins");
        write(
            "vault.fernet",
            &holding("x").sealed(&keys(&new)).expect("a vault"),
        );
        drop(held);
        reader.join().expect("no panic")
    });

    assert_eq!(read.expect("opened"), holding("x"));
}

#[test]
fn a_vault_that_could_not_be_read_again_is_not_written() {
    let keys = Keys::from_file(new_key().expose().as_bytes()).expect("a key");
    let failed = holding(&"x".repeat(1024 * 1024))
        .sealed(&keys)
        .expect_err("too large");
    assert_eq!(failed.verdict, Verdict::Config);
}
