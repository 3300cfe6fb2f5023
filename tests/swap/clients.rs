//! Clients that go on working while their database is swapped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backupctl::database::connection::{Login, connect};
use tokio::task::JoinHandle;

use super::Pair;

/// What one client saw: each answer with its time.
struct Watcher {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<(Instant, String)>>,
}

impl Watcher {
    fn start(login: Login, database: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(watch(login, database, Arc::clone(&stop)));
        Self { stop, task }
    }

    async fn seen(self) -> Vec<(Instant, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the client ended")
    }
}

/// Asks again and again; connects anew whenever it was cut off.
async fn watch(login: Login, database: String, stop: Arc<AtomicBool>) -> Vec<(Instant, String)> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(session) = connect(&login, &database).await else {
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let Ok(rows) = session.first_text_rows("select v from public.t", 2).await else {
                break;
            };
            let value = rows.first().and_then(|row| row[0].clone());
            seen.push((Instant::now(), value.unwrap_or_default()));
        }
    }
    seen
}

/// Old answers, then new ones, and how long there was none.
fn old_then_new(seen: &[(Instant, String)]) -> Duration {
    let turn = seen
        .iter()
        .position(|(_, value)| value == "new")
        .expect("the new rows");
    assert!(turn > 0, "the old rows were seen first");
    assert!(seen[..turn].iter().all(|(_, value)| value == "old"));
    assert!(seen[turn..].iter().all(|(_, value)| value == "new"));
    seen[turn].0 - seen[turn - 1].0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_reconnect_at_once_see_the_old_rows_and_then_the_new_ones() {
    for clients in [1, 6] {
        // given
        let pair = Pair::new();
        let mut login = pair.login.clone();
        login.application_name = "client".into();
        let watchers: Vec<Watcher> = (0..clients)
            .map(|_| Watcher::start(login.clone(), pair.live.clone()))
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;

        // when
        let swapped = pair.swap().await.expect("swapped");
        tokio::time::sleep(Duration::from_millis(500)).await;

        // then
        assert!(swapped.ended_sessions >= clients, "{swapped:?}");
        for watcher in watchers {
            let gap = old_then_new(&watcher.seen().await);
            assert!(gap < Duration::from_secs(2), "{clients} clients: {gap:?}");
        }
    }
}
