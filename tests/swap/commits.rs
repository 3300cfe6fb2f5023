//! The answer to COMMIT gets lost: the catalog is asked, and where it can't be, that is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backupctl::config::SslMode;
use backupctl::database::swap::swap;
use backupctl::verdict::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Pair;
use crate::support::postgres::Postgres;

/// What becomes of the connection that carries COMMIT.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// The server never sees the COMMIT.
    Before,
    /// The server commits, its answer is lost.
    After,
    /// The same, and then nobody gets through any more.
    ForGood,
}

/// A link to the server that breaks at COMMIT; gives its port.
async fn fragile_link(server: u16, cut: Cut) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let broken = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if broken.load(Ordering::SeqCst) && cut == Cut::ForGood {
                continue;
            }
            let upstream = TcpStream::connect(("127.0.0.1", server)).await;
            let upstream = upstream.expect("the server answers");
            tokio::spawn(carry(client, upstream, cut, Arc::clone(&broken)));
        }
    });
    port
}

async fn carry(client: TcpStream, server: TcpStream, cut: Cut, broken: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move {
        // Either side may be gone already: that is what this link is for.
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = [0; 16384];
    while let Ok(length) = from_client.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        let commit = buffer[..length]
            .windows(7)
            .any(|bytes| bytes == b"COMMIT\0");
        if commit {
            answers.abort();
            broken.store(true, Ordering::SeqCst);
        }
        if commit && cut == Cut::Before {
            return;
        }
        if to_server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        if commit {
            // Time for the server to commit before it sees the connection end.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return;
        }
    }
}

async fn through(pair: &mut Pair, cut: Cut) {
    pair.login.settings.port = fragile_link(pair.server.port, cut).await;
    pair.login.settings.sslmode = SslMode::Disable;
    pair.login.timeout = Duration::from_secs(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_whose_confirmation_got_lost_is_told_as_done() {
    let mut pair = Pair::new();
    let order = pair.order();
    through(&mut pair, Cut::After).await;

    let swapped = swap(&pair.login, &order, &pair.run)
        .await
        .expect("it happened");

    assert_eq!(swapped.differences, Vec::<String>::new());
    assert_eq!(pair.row(&pair.live), "new");
    assert_eq!(pair.oid(&swapped.previous), order.live.oid);
    let warnings = pair.run.notes.lock().warnings.join(" ");
    assert!(warnings.contains("the catalog proves"), "{warnings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_told_as_failed() {
    let mut pair = Pair::new();
    let order = pair.order();
    through(&mut pair, Cut::Before).await;

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("it did not happen");

    assert_eq!(failed.verdict, Verdict::Failed);
    pair.live_is_unchanged(&order);
    assert_eq!(pair.run.journal.created(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_nobody_can_be_asked_about_is_unclear_and_stays_in_the_journal() {
    let mut pair = Pair::new();
    let order = pair.order();
    through(&mut pair, Cut::ForGood).await;

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("nobody answers");

    assert_eq!(failed.verdict, Verdict::Unclear);
    let hint = failed.hint.expect("a hint");
    for part in [order.live.oid.to_string(), order.incoming.oid.to_string()] {
        assert!(hint.contains(&part), "{hint}");
    }
    assert_eq!(pair.run.journal.created().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_hangs_is_not_taken_for_one_that_did_not_happen() {
    // given: a commit that waits for a standby which never comes; the server's default for it is off
    let server: &'static Postgres = Box::leak(Box::new(Postgres::start("")));
    let pair = Pair::on(server);
    let order = pair.order();
    pair.admin("alter system set synchronous_standby_names = 'nobody'");
    pair.admin("select pg_reload_conf()");
    let standby = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";

    // when: its backend is ended while it waits
    let swapping = swap(&pair.login, &order, &pair.run);
    let ending = async {
        while server.value("postgres", standby) == "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pair.admin(
            "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'",
        );
    };
    let (swapped, ()) = tokio::join!(swapping, ending);

    // then
    assert_eq!(swapped.expect("it happened").previous, order.previous);
    assert_eq!(pair.row(&pair.live), "new");
}
