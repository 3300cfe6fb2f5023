//! How a remote file is read: what is asked for at once, what is learnt about the server, and always the same bytes.

use std::fs;
use std::io::SeekFrom;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use backupctl::store::{self, Kind, Opened};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{TIMEOUT, content, named, open_sftp, password, scripted, settings, whole};
use crate::support::scripted_sftp::{Reads, Script, ScriptedSftp};
use crate::support::sshd::{Options, Sshd};

const KIB: u64 = 1024;

async fn opened(server: &ScriptedSftp) -> Opened {
    let store = named(scripted(server));
    let store = store::open(&store, password("correct horse"), TIMEOUT).await;
    let opened = store.expect("a login").open("a.zip").await;
    opened.expect("an open archive")
}

#[tokio::test]
async fn the_servers_own_limit_is_kept_however_small() {
    for longest_read in [1, 10_000, u64::MAX] {
        let bytes = if longest_read == 1 { 503 } else { 1_000_003 };
        let script = Script {
            content: content(bytes),
            longest_read: Some(longest_read),
            ..Script::default()
        };
        let server = ScriptedSftp::start(script);
        let mut opened = opened(&server).await;
        opened.file.straight_to(opened.bytes);
        assert!(
            whole(opened).await.unwrap() == content(bytes),
            "{longest_read} at once"
        );
    }
}

#[tokio::test]
async fn a_server_that_cuts_every_reply_is_asked_for_as_much_as_it_gives() {
    let bytes = 4_000_003;
    for most in [32 * 1024, 4096] {
        let script = Script {
            content: content(bytes),
            longest_read: Some(255 * KIB),
            reads: Reads::Short(most),
            ..Script::default()
        };
        let asked = Arc::clone(&script.asked);
        let server = ScriptedSftp::start(script);
        let mut opened = opened(&server).await;
        opened.file.straight_to(opened.bytes);
        assert!(whole(opened).await.unwrap() == content(bytes));
        // What was under way when it was learnt, and every byte once more; asked for piece by piece it is many times as much.
        let asked = asked.load(Ordering::Relaxed);
        assert!(
            asked < 3 * bytes as u64,
            "{asked} bytes asked for, {most} at once"
        );
    }
}

#[tokio::test]
async fn a_look_asks_for_little_and_a_promise_for_nothing_beyond_it() {
    let bytes = 8_000_000;
    let script = Script {
        content: content(bytes),
        longest_read: Some(255 * KIB),
        ..Script::default()
    };
    let asked = Arc::clone(&script.asked);
    let server = ScriptedSftp::start(script);
    let mut opened = opened(&server).await;
    let mut found = vec![0; 50_000];

    opened.file.seek(SeekFrom::End(-60_000)).await.unwrap();
    opened.file.read_exact(&mut found).await.unwrap();
    assert!(found == content(bytes)[bytes - 60_000..bytes - 10_000]);
    opened.file.seek(SeekFrom::Start(1000)).await.unwrap();
    opened.file.read_exact(&mut found).await.unwrap();
    assert!(found == content(bytes)[1000..51_000]);
    assert!(asked.load(Ordering::Relaxed) <= 60_000 + 255 * KIB);

    let before = asked.load(Ordering::Relaxed);
    let mut found = vec![0; 3_000_000];
    opened.file.seek(SeekFrom::Start(2_000_000)).await.unwrap();
    opened.file.straight_to(5_000_000);
    opened.file.read_exact(&mut found).await.unwrap();
    assert!(found == content(bytes)[2_000_000..5_000_000]);
    assert_eq!(asked.load(Ordering::Relaxed) - before, 3_000_000);

    // Who reads on all the same, gets it.
    let mut rest = Vec::new();
    opened.file.read_to_end(&mut rest).await.unwrap();
    assert!(rest == content(bytes)[5_000_000..]);
}

#[tokio::test]
async fn new_keys_in_the_middle_of_a_download_change_nothing() {
    let bytes = 12_000_000;
    let sshd = Sshd::with(&Options {
        lines: "RekeyLimit 1M\n".to_owned(),
        ..Options::default()
    });
    sshd.put("a.zip", &content(bytes));
    let mut store = open_sftp(&settings(&sshd)).await.unwrap();
    let mut opened = store.open("a.zip").await.unwrap();
    opened.file.straight_to(opened.bytes);
    assert!(whole(opened).await.unwrap() == content(bytes));
}

#[tokio::test]
async fn what_is_no_regular_file_any_more_is_not_left_open_on_the_server() {
    let script = Script {
        became: Some(0o120_777),
        ..Script::default()
    };
    let open_files = Arc::clone(&script.open_files);
    let server = ScriptedSftp::start(script);
    let store = named(scripted(&server));
    let store = store::open(&store, password("correct horse"), TIMEOUT).await;
    let mut store = store.expect("a login");
    store.list().await.unwrap();
    let error = store.open("a.zip").await.err().unwrap();
    assert!(error.to_string().contains("a symbolic link"), "{error}");
    let begin = Instant::now();
    // Closing comes by itself, behind whatever is asked.
    loop {
        store.list().await.unwrap();
        if open_files.load(Ordering::Relaxed) == 0 {
            break;
        }
        assert!(begin.elapsed() < TIMEOUT, "still open");
    }
}

#[tokio::test]
async fn what_the_listing_called_a_regular_file_is_looked_at_again() {
    let sshd = Sshd::start();
    for name in ["link.zip", "fifo.zip", "gone.zip"] {
        sshd.put(name, b"content");
    }
    let mut store = open_sftp(&settings(&sshd)).await.unwrap();
    store.list().await.unwrap();
    for name in ["link.zip", "fifo.zip", "gone.zip"] {
        fs::remove_file(sshd.dir.join(name)).unwrap();
    }
    symlink("/etc/passwd", sshd.dir.join("link.zip")).unwrap();
    let made = Command::new("mkfifo")
        .arg(sshd.dir.join("fifo.zip"))
        .status();
    assert!(made.unwrap().success());

    let begin = Instant::now();
    for (name, why) in [
        ("gone.zip", "No such file"),
        ("link.zip", "a symbolic link"),
        ("fifo.zip", "no regular file"),
    ] {
        let error = store.open(name).await.err().unwrap();
        assert_eq!(error.kind, Kind::NotFound, "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    // The FIFO, in which the server now waits for a writer, is told at once all the same.
    assert!(begin.elapsed() < TIMEOUT, "{:?}", begin.elapsed());
}
