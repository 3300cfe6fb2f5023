//! Others in the live database: ended, waited for, or a reason not to swap.

use std::time::{Duration, Instant};

use backupctl::config::Sessions;
use backupctl::database::swap::{Named, SwapOrder, is_in_the_way, obstacles, previous_name, swap};
use backupctl::verdict::Verdict;

use super::{Pair, patience};

fn with(pair: &Pair, sessions: Sessions, seconds: u64) -> SwapOrder {
    SwapOrder {
        patience: patience(sessions, seconds),
        ..pair.order()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_ended_where_that_is_configured() {
    let pair = Pair::new();
    let _idle = pair.server.session(&pair.live, "select 1");
    let _working = pair
        .server
        .session(&pair.live, "begin; insert into t values ('more')");
    let _curious = pair.server.session(&pair.scratch, "select 1");

    let swapped = pair.swap().await.expect("swapped");

    assert_eq!(swapped.ended_sessions, 3);
    assert_eq!(pair.row(&pair.live), "new");
    assert_eq!(pair.row(&swapped.previous), "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stops_the_swap_at_once_where_that_is_configured() {
    let pair = Pair::new();
    let order = with(&pair, Sessions::Fail, 60);
    let open = pair
        .server
        .session(&pair.live, "set application_name = 'ledger'");
    let clock = Instant::now();

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("somebody is there");

    assert_eq!(failed.verdict, Verdict::Failed);
    for word in [
        "pid ",
        "user `postgres`",
        "application `ledger`",
        "idle since",
    ] {
        assert!(failed.message().contains(word), "{}", failed.message());
    }
    assert!(clock.elapsed() < Duration::from_secs(20));
    pair.live_is_unchanged(&order);
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_waited_for_and_never_ended_where_that_is_configured() {
    let pair = Pair::new();
    let order = with(&pair, Sessions::Wait, 2);
    let open = pair
        .server
        .session(&pair.live, "set application_name = 'ledger'");

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("still there");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("`ledger`"),
        "{}",
        failed.message()
    );
    assert!(
        failed.message().contains("sessions_timeout"),
        "{}",
        failed.message()
    );
    pair.live_is_unchanged(&order);
    let still = format!(
        "select count(*) from pg_stat_activity where datname = '{}'",
        pair.live
    );
    assert_eq!(pair.server.value("postgres", &still), "1");
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_swap_goes_on_as_soon_as_a_session_has_left() {
    let pair = Pair::new();
    let order = with(&pair, Sessions::Wait, 60);
    let open = pair.server.session(&pair.live, "select 1");
    let waiting = swap(&pair.login, &order, &pair.run);
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(open);
    };

    let (swapped, ()) = tokio::join!(waiting, leaving);

    assert_eq!(swapped.expect("swapped").ended_sessions, 0);
    assert_eq!(pair.row(&pair.live), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_the_run_itself_are_in_nobodys_way() {
    let pair = Pair::new();
    let own = backupctl::database::connection::connect(&pair.login, &pair.live)
        .await
        .expect("a session");

    let order = with(&pair, Sessions::Fail, 10);
    swap(&pair.login, &order, &pair.run).await.expect("swapped");

    assert_eq!(pair.row(&pair.live), "new");
    drop(own);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_transactions_are_named_and_stop_the_swap() {
    let pair = Pair::new();
    let order = pair.order();
    let gid = format!("gid of {}", pair.live);
    pair.server.sql(
        &pair.live,
        &format!("begin; insert into t values ('half'); prepare transaction '{gid}'"),
    );

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("prepared");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(failed.message().contains(&gid), "{}", failed.message());
    assert!(
        failed
            .hint
            .is_some_and(|hint| hint.contains("ROLLBACK PREPARED"))
    );
    pair.server
        .sql(&pair.live, &format!("rollback prepared '{gid}'"));
    pair.live_is_unchanged(&order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logical_slot_or_a_subscription_stops_the_swap_with_its_name() {
    let pair = Pair::new();
    let order = pair.order();
    let session = pair.session().await;
    let slot = format!("slot_{}", order.live.oid);
    pair.server.sql(
        &pair.live,
        &format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
    );

    let slotted = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("a slot");
    pair.admin(&format!("select pg_drop_replication_slot('{slot}')"));
    pair.server.sql(
        &pair.live,
        "create subscription mirror connection 'dbname=x' publication p with (connect = false)",
    );
    let subscribed = obstacles(&session, &order.live)
        .await
        .expect_err("a subscription");
    pair.server.sql(
        &pair.live,
        "alter subscription mirror set (slot_name = none); drop subscription mirror",
    );

    assert_eq!(slotted.verdict, Verdict::Config);
    assert!(slotted.message().contains(&slot), "{}", slotted.message());
    assert_eq!(subscribed.verdict, Verdict::Config);
    assert!(
        subscribed.message().contains("mirror"),
        "{}",
        subscribed.message()
    );
    pair.live_is_unchanged(&order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_does_not_give_back_ends_the_swap_in_time() {
    // given: a transaction of somebody in another database that holds the live database's lock
    let pair = Pair::new();
    let order = with(&pair, Sessions::Terminate, 1);
    let holder = pair.server.session(
        "postgres",
        &format!("begin; comment on database {} is 'busy'", pair.live),
    );

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("locked");

    assert_eq!(failed.verdict, Verdict::Failed);
    drop(holder);
    pair.live_is_unchanged(&order);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_what_gets_its_first_name_are_ended_or_named_as_well() {
    // given: nothing is live
    let pair = Pair::new();
    pair.admin(&format!("drop database \"{}\"", pair.live));
    let order = |pair: &Pair, sessions, seconds| SwapOrder {
        live: Named {
            name: pair.live.clone(),
            oid: 0,
        },
        incoming: pair.named_database(&pair.scratch),
        previous: previous_name(&pair.live, &pair.run.id),
        patience: patience(sessions, seconds),
    };
    let _curious = pair.server.session(&pair.scratch, "select 1");

    // when
    let waited = order(&pair, Sessions::Wait, 1);
    let failed = swap(&pair.login, &waited, &pair.run)
        .await
        .expect_err("somebody is there");
    let swapped = swap(
        &pair.login,
        &order(&pair, Sessions::Terminate, 30),
        &pair.run,
    )
    .await
    .expect("named");

    // then
    assert!(is_in_the_way(&failed), "{}", failed.message());
    assert_eq!(swapped.ended_sessions, 1);
    assert_eq!(pair.row(&pair.live), "new");
}
