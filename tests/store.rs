//! Stores: one suite of promises over every kind here, and what only SFTP can suffer in the files below.

mod faults;
mod host_keys;
mod kinds;
mod logins;
mod reading;

use std::fs;
use std::future::poll_fn;
use std::io::{SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use backupctl::config::{Sftp, Store as Configured, StoreKind};
use backupctl::secret::Secret;
use backupctl::store::{self, Credentials, Kind, Listing, Opened, Store, StoreError};
use backupctl::verdict::{Failed, Verdict};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::support::scripted_sftp::ScriptedSftp;
use crate::support::sshd::{Options, Sshd};
use kinds::{every_kind, sftp};

/// Long enough for a busy machine; tests of a silence use less.
const TIMEOUT: Duration = Duration::from_secs(10);

fn settings(sshd: &Sshd) -> Sftp {
    Sftp {
        host: "127.0.0.1".to_owned(),
        port: sshd.port,
        user: sshd.user.clone(),
        password: None,
        private_key: Some(sshd.private_key.clone()),
        passphrase: None,
        agent_socket: None,
        path: sshd.dir.display().to_string(),
        known_hosts: sshd.known_hosts.clone(),
        host_key: None,
        legacy_algorithms: false,
    }
}

fn scripted(server: &ScriptedSftp) -> Sftp {
    Sftp {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        user: "backup".to_owned(),
        password: None,
        private_key: None,
        passphrase: None,
        agent_socket: None,
        path: "/backups".to_owned(),
        known_hosts: server.known_hosts.clone(),
        host_key: None,
        legacy_algorithms: false,
    }
}

fn named(sftp: Sftp) -> Configured {
    Configured {
        name: "office".to_owned(),
        kind: StoreKind::Sftp(Box::new(sftp)),
    }
}

fn password(text: &str) -> Credentials {
    Credentials {
        password: Some(Secret::new(text.to_owned())),
        passphrase: None,
    }
}

async fn open(store: &Configured) -> Result<Box<dyn Store>, StoreError> {
    store::open(store, Credentials::default(), TIMEOUT).await
}

async fn open_sftp(sftp: &Sftp) -> Result<Box<dyn Store>, StoreError> {
    open(&named(sftp.clone())).await
}

async fn refusal(sftp: &Sftp) -> StoreError {
    error_of(open_sftp(sftp).await)
}

fn error_of(opened: Result<Box<dyn Store>, StoreError>) -> StoreError {
    opened.err().expect("the store must not open")
}

async fn whole(mut opened: Opened) -> Result<Vec<u8>, StoreError> {
    let mut content = Vec::new();
    opened
        .file
        .read_to_end(&mut content)
        .await
        .map_err(StoreError::of_read)?;
    Ok(content)
}

/// Bytes that differ everywhere, so that a wrong offset shows.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64)
        .flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .take(bytes)
        .collect()
}

fn names(listing: &Listing) -> Vec<&str> {
    let mut names: Vec<&str> = listing.archives.iter().map(|a| a.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_store_lists_regular_files_with_size_and_time_and_names_what_it_passes_over() {
    for setup in every_kind() {
        let why = setup.kind;
        fs::write(setup.dir.join("erp_1.zip"), b"one").unwrap();
        fs::write(setup.dir.join("-rf \u{1b}[2J\n.zip"), b"").unwrap();
        fs::create_dir(setup.dir.join("folder.zip")).unwrap();
        symlink("erp_1.zip", setup.dir.join("link.zip")).unwrap();
        fifo(&setup.dir.join("fifo.zip"));
        latin_1(&setup.dir);

        let mut store = setup.open().await.unwrap();
        let listing = store.list().await.unwrap();

        assert_eq!(
            names(&listing),
            ["-rf \u{1b}[2J\n.zip", "erp_1.zip"],
            "{why}"
        );
        let found = listing
            .archives
            .iter()
            .find(|a| a.name == "erp_1.zip")
            .unwrap();
        let written = fs::metadata(setup.dir.join("erp_1.zip"))
            .unwrap()
            .modified()
            .unwrap();
        let written = jiff::Timestamp::try_from(written).unwrap().as_second();
        assert_eq!(
            (found.bytes, found.modified.as_second()),
            (3, written),
            "{why}"
        );
        let mut passed: Vec<(String, &str)> = listing
            .passed_over
            .iter()
            .map(|p| (p.name_shown.clone(), p.why))
            .collect();
        passed.sort();
        let expected = [
            ("\\u{fffd}rger.zip", "its name is not UTF-8"),
            ("fifo.zip", "no regular file"),
            ("folder.zip", "a directory"),
            ("link.zip", "a symbolic link"),
        ];
        assert_eq!(
            passed,
            expected.map(|(name, why)| (name.to_owned(), why)),
            "{why}"
        );
        assert_eq!(listing.passed_over_count, 4, "{why}");
        store.close().await;
    }
}

fn fifo(path: &Path) {
    assert!(
        Command::new("mkfifo")
            .arg(path)
            .status()
            .expect("mkfifo")
            .success()
    );
    assert!(
        fs::symlink_metadata(path)
            .expect("a FIFO")
            .file_type()
            .is_fifo()
    );
}

/// `ärger.zip` as an old system writes it.
fn latin_1(dir: &Path) {
    use std::os::unix::ffi::OsStrExt;
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xe4rger.zip")), b"").expect("a file");
}

#[tokio::test]
async fn an_empty_directory_is_no_error() {
    for setup in every_kind() {
        let listing = setup.open().await.unwrap().list().await.unwrap();
        assert_eq!(listing, Listing::default(), "{}", setup.kind);
    }
}

#[tokio::test]
async fn a_file_is_read_whole_and_from_any_offset() {
    for setup in every_kind() {
        let why = setup.kind;
        let written = content(3_000_001);
        fs::write(setup.dir.join("a.zip"), &written).unwrap();
        let mut store = setup.open().await.unwrap();

        let opened = store.open("a.zip").await.unwrap();
        assert_eq!(opened.bytes, 3_000_001, "{why}");
        assert!(
            whole(opened).await.unwrap() == written,
            "{why}: other bytes"
        );

        let mut file = store.open("a.zip").await.unwrap().file;
        for (to, expected) in [
            (SeekFrom::End(-5), 2_999_996),
            (SeekFrom::Start(1_234_567), 1_234_567),
            (SeekFrom::Current(700_000), 1_934_572),
        ] {
            let mut part = [0; 5];
            assert_eq!(file.seek(to).await.unwrap(), expected, "{why}");
            file.read_exact(&mut part).await.unwrap();
            let at = usize::try_from(expected).unwrap();
            assert_eq!(part, written[at..at + 5], "{why} {to:?}");
        }
    }
}

#[tokio::test]
async fn a_file_outlives_its_store_and_an_empty_one_is_read() {
    for setup in every_kind() {
        fs::write(setup.dir.join("a.zip"), content(600_000)).unwrap();
        fs::write(setup.dir.join("empty.zip"), b"").unwrap();
        let mut store = setup.open().await.unwrap();
        let (kept, empty) = (
            store.open("a.zip").await.unwrap(),
            store.open("empty.zip").await.unwrap(),
        );
        drop(store);
        assert_eq!(whole(empty).await.unwrap(), b"", "{}", setup.kind);
        assert!(
            whole(kept).await.unwrap() == content(600_000),
            "{}",
            setup.kind
        );
    }
}

#[tokio::test]
async fn what_is_added_while_reading_is_not_read_and_what_is_cut_off_is_an_error() {
    for setup in every_kind() {
        let path = setup.dir.join("a.zip");
        fs::write(&path, content(1000)).unwrap();
        let mut store = setup.open().await.unwrap();

        let opened = store.open("a.zip").await.unwrap();
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"more")
            .unwrap();
        assert_eq!(
            whole(opened).await.unwrap(),
            content(1000),
            "{}",
            setup.kind
        );

        let opened = store.open("a.zip").await.unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(10)
            .unwrap();
        let error = whole(opened).await.unwrap_err();
        assert_eq!(error.kind, Kind::Interrupted, "{}: {error}", setup.kind);
        assert_eq!(
            error.to_string(),
            "the file ended after 10 of 1004 bytes",
            "{}",
            setup.kind
        );
    }
}

#[tokio::test]
async fn only_a_regular_file_of_the_directory_can_be_opened() {
    for setup in every_kind() {
        fs::write(setup.dir.join("a.zip"), b"one").unwrap();
        symlink("a.zip", setup.dir.join("link.zip")).unwrap();
        fs::create_dir(setup.dir.join("folder")).unwrap();
        fs::write(setup.dir.join("folder/b.zip"), b"two").unwrap();
        fifo(&setup.dir.join("fifo"));
        let mut store = setup.open().await.unwrap();
        for name in [
            "missing.zip",
            "link.zip",
            "folder",
            "fifo",
            "folder/b.zip",
            "../served/a.zip",
            "..",
            ".",
            "",
            "a\0.zip",
            "\u{1b}[2J",
        ] {
            let error = store.open(name).await.err().expect(name);
            assert_eq!(
                error.kind,
                Kind::NotFound,
                "{} {name:?}: {error}",
                setup.kind
            );
            assert!(!error.to_string().contains(char::is_control), "{error}");
            let error = store.stated(name).await.expect_err(name);
            assert_eq!(error.kind, Kind::NotFound, "{name:?}: {error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
}

#[tokio::test]
async fn what_a_name_stands_for_is_told_as_it_is_now() {
    for setup in every_kind() {
        let path = setup.dir.join("a.zip");
        fs::write(&path, b"one").unwrap();
        let mut store = setup.open().await.unwrap();
        let opened = store.open("a.zip").await.unwrap();
        assert_eq!(store.stated("a.zip").await.unwrap(), opened.stated());

        fs::write(setup.dir.join("b.zip"), b"three").unwrap();
        fs::rename(setup.dir.join("b.zip"), &path).unwrap();

        let now = store.stated("a.zip").await.unwrap();
        assert_eq!((opened.bytes, now.bytes), (3, 5), "{}", setup.kind);
    }
}

#[tokio::test]
async fn a_file_is_read_whole_in_blocks_of_any_length() {
    for setup in every_kind() {
        let written = content(3_000_001);
        fs::write(setup.dir.join("a.zip"), &written).unwrap();
        let mut store = setup.open().await.unwrap();
        for most in [1000, 300_000, usize::MAX] {
            let mut file = store.open("a.zip").await.unwrap().file;
            // What comes behind a read that took a part of what is at hand.
            let mut read = vec![0; 777];
            file.read_exact(&mut read).await.unwrap();
            file.straight_to(2_900_000);
            while read.len() < 2_900_000 {
                let most = most.min(2_900_000 - read.len());
                let mut block = vec![7; 5];
                let got = poll_fn(|cx| file.poll_block(cx, &mut block, most)).await;
                let got = got.unwrap();
                assert!(got > 0 && got <= most, "{got} of {most}");
                read.extend_from_slice(&block[..got]);
            }
            assert!(read == written[..2_900_000], "{} {most}", setup.kind);
        }
    }
}

#[tokio::test]
async fn many_files_can_be_opened_one_after_the_other() {
    for setup in every_kind() {
        fs::write(setup.dir.join("a.zip"), content(100_000)).unwrap();
        let mut store = setup.open().await.unwrap();
        for _ in 0..300 {
            let mut opened = store.open("a.zip").await.unwrap();
            let mut part = [0; 10];
            opened.file.read_exact(&mut part).await.unwrap();
            assert_eq!(part, content(10)[..], "{}", setup.kind);
        }
    }
}

#[tokio::test]
async fn a_missing_directory_is_named_with_a_hint_and_not_tried_again() {
    for mut setup in every_kind() {
        let path = setup.dir.join("nowhere");
        match &mut setup.store.kind {
            StoreKind::Local(local) => local.path = path,
            StoreKind::Sftp(sftp) => sftp.path = path.display().to_string(),
        }
        let error = match setup.open().await {
            Ok(mut store) => store.list().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(!error.kind.may_pass(), "{}: {error}", setup.kind);
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert!(error.hint.unwrap().contains("path"), "{}", setup.kind);
    }
}

#[tokio::test]
async fn a_hundred_thousand_entries_are_listed() {
    let setup = sftp("sftp", "internal-sftp");
    for n in 0..100_000 {
        fs::File::create(setup.dir.join(format!("{n:06}.zip"))).unwrap();
    }
    let listing = setup.open().await.unwrap().list().await.unwrap();
    assert_eq!(listing.archives.len(), 100_000);
    assert_eq!(names(&listing)[99_999], "099999.zip");
}

#[tokio::test]
async fn a_forbidden_directory_is_named_with_what_the_server_calls_it() {
    let sshd = Sshd::with(&Options {
        sftp: Some("internal-sftp -P opendir".to_owned()),
        ..Options::default()
    });
    symlink(&sshd.dir, sshd.home.join("alias")).unwrap();
    let mut sftp = settings(&sshd);
    sftp.path = sshd.home.join("alias").display().to_string();

    let error = open_sftp(&sftp).await.unwrap().list().await.unwrap_err();

    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("there: `{}`", sshd.dir.display())),
        "{error}"
    );
    assert_eq!(Failed::from(error).verdict, Verdict::Config);
}

#[tokio::test]
async fn the_location_and_the_host_key_are_told() {
    let sshd = Sshd::start();
    let store = open_sftp(&settings(&sshd)).await.unwrap();
    let expected = format!(
        "sftp://{}@127.0.0.1:{}{}",
        sshd.user,
        sshd.port,
        sshd.dir.display()
    );
    assert_eq!(store.location(), expected);
    assert_eq!(
        store.host_key(),
        Some(format!("ssh-ed25519 {}", sshd.fingerprint))
    );
}

#[test]
fn the_table_that_other_tests_configure_names_this_server() {
    let sshd = Sshd::start();
    let table: toml::Table = sshd.toml("office", &sshd.dir).parse().unwrap();
    let office = &table["stores"]["office"]["sftp"];
    assert_eq!(office["port"].as_integer(), Some(sshd.port.into()));
    assert_eq!(
        office["path"].as_str().map(Path::new),
        Some(sshd.dir.as_path())
    );
}
