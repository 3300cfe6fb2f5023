//! Back to the previous database, and forth again.

mod command;
mod unclear;

use backupctl::database::swap::{UndoPlan, plan_undo, undo};
use backupctl::verdict::{Outcome, Verdict};

use crate::swap::{Pair, terminate};

async fn plan(pair: &Pair) -> Outcome<UndoPlan> {
    plan_undo(&pair.session().await, &pair.live, &pair.run.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_brings_the_previous_database_back_and_a_second_one_the_newer() {
    // given
    let mut pair = Pair::new();
    pair.admin(&format!(
        "comment on database \"{live}\" is 'the shop'; alter database \"{live}\" set work_mem = '3MB'",
        live = pair.live
    ));
    let old = pair.oid(&pair.live);
    let previous = pair.swap().await.expect("swapped").previous;
    let open = pair.server.session(&pair.live, "select 1");

    // when
    pair.next_run();
    let planned = plan(&pair).await.expect("a plan");
    let undone = undo(&pair.login, &planned, terminate(), &pair.run)
        .await
        .expect("undone");

    // then
    assert_eq!(planned.previous.name, previous);
    assert_eq!(planned.sessions.len(), 1);
    assert!(planned.live_bytes > Some(0) && planned.previous_bytes > Some(0));
    assert_eq!(undone.restored, previous);
    assert_eq!(undone.ended_sessions, 1);
    assert_eq!(undone.differences, Vec::<String>::new());
    assert_eq!(pair.oid(&pair.live), old);
    assert_eq!(pair.row(&pair.live), "old");
    assert_eq!(pair.row(&undone.set_aside), "new");
    assert_eq!(comment(&pair), "the shop");
    assert_eq!(pair.server.value(&pair.live, "show work_mem"), "3MB");
    drop(open);

    // when
    pair.next_run();
    let planned = plan(&pair).await.expect("a plan");
    let redone = undo(&pair.login, &planned, terminate(), &pair.run)
        .await
        .expect("redone");

    // then
    assert_eq!(redone.restored, undone.set_aside);
    assert_eq!(pair.row(&pair.live), "new");
    assert_eq!(comment(&pair), "the shop");
}

fn comment(pair: &Pair) -> String {
    let sql = format!(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = '{}'",
        pair.live
    );
    pair.server.value("postgres", &sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_an_undo_changes_nothing() {
    let pair = Pair::new();
    pair.swap().await.expect("swapped");
    let ours = format!("{}%", pair.live);
    let before = (pair.server.databases_like(&ours), comment(&pair));

    plan(&pair).await.expect("a plan");

    let after = (pair.server.databases_like(&ours), comment(&pair));
    assert_eq!(after, before);
    assert_eq!(before.0.len(), 2);
    assert_eq!(pair.row(&pair.live), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_without_a_previous_database_says_so() {
    let pair = Pair::new();
    let lookalike = format!("{}_before_20200101_000000_abcd", pair.live);
    pair.admin(&format!("create database \"{lookalike}\""));

    let failed = plan(&pair).await.expect_err("nothing to go back to");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("no previous database"),
        "{}",
        failed.message()
    );
    assert_eq!(pair.row(&pair.live), "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_after_the_previous_database_was_dropped_leaves_the_live_one_alone() {
    let pair = Pair::new();
    let previous = pair.swap().await.expect("swapped").previous;
    let planned = plan(&pair).await.expect("a plan");
    pair.admin(&format!("drop database \"{previous}\""));

    let failed = undo(&pair.login, &planned, terminate(), &pair.run)
        .await
        .expect_err("gone");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("no longer exists"),
        "{}",
        failed.message()
    );
    assert_eq!(pair.row(&pair.live), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_without_a_live_database_tells_the_one_statement_that_helps() {
    let pair = Pair::new();
    let previous = pair.swap().await.expect("swapped").previous;
    pair.admin(&format!("drop database \"{}\"", pair.live));

    let failed = plan(&pair).await.expect_err("nothing to replace");

    let hint = failed.hint.expect("a hint");
    assert!(
        hint.contains(&format!(
            "ALTER DATABASE \"{previous}\" RENAME TO \"{}\"",
            pair.live
        )),
        "{hint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remains_of_an_interrupted_drop_are_never_brought_back() {
    let pair = Pair::new();
    let previous = pair.swap().await.expect("swapped").previous;
    pair.admin(&format!(
        "update pg_database set datconnlimit = -2 where datname = '{previous}'"
    ));

    let failed = plan(&pair).await.expect_err("not whole");

    assert!(
        failed
            .hint
            .is_some_and(|hint| hint.contains("interrupted DROP"))
    );
}
