//! Previous databases: the newest are kept, the rest goes, and nothing that is not provably ours.

use backupctl::database::swap::{drop_old_previous, previous_databases};

use super::Pair;

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_are_kept_and_the_rest_is_dropped() {
    let mut pair = Pair::new();
    let mut names = Vec::new();
    for row in ["second", "third", "fourth"] {
        names.push(pair.swap().await.expect("swapped").previous);
        pair.load(row);
    }
    names.reverse();
    let session = pair.session().await;
    let kept = previous_databases(&session, &pair.live)
        .await
        .expect("a list");
    let kept: Vec<String> = kept.into_iter().map(|previous| previous.name).collect();
    assert_eq!(kept, names);

    let one = drop_old_previous(&pair.login, &pair.live, 1, &pair.run)
        .await
        .expect("pruned");
    let none = drop_old_previous(&pair.login, &pair.live, 0, &pair.run)
        .await
        .expect("pruned");

    assert_eq!(one.dropped, names[1..]);
    assert_eq!(none.dropped, names[..1]);
    assert!(one.failed.is_empty() && one.left_alone.is_empty());
    let left = previous_databases(&session, &pair.live)
        .await
        .expect("a list");
    assert_eq!(left, []);
    assert_eq!(pair.row(&pair.live), "third");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_stamp_of_its_own_is_never_dropped() {
    // given: one that only looks like it, one that an operator renamed, one that another database's swap left
    let pair = Pair::new();
    let previous = pair.swap().await.expect("swapped").previous;
    let lookalike = format!("{}_before_20200101_000000_abcd", pair.live);
    let kept = format!("{}_kept", pair.live);
    pair.admin(&format!(
        "create database \"{lookalike}\"; alter database \"{previous}\" rename to \"{kept}\""
    ));
    let other = Pair::new();
    let others = other.swap().await.expect("swapped").previous;

    let pruned = drop_old_previous(&pair.login, &pair.live, 0, &pair.run)
        .await
        .expect("pruned");

    assert!(pruned.dropped.is_empty(), "{pruned:?}");
    let mut left = pruned.left_alone;
    left.sort();
    assert_eq!(left, [lookalike.clone(), kept.clone()]);
    assert_eq!(pair.run.notes.lock().warnings.len(), 2);
    for name in [&lookalike, &kept, &others] {
        pair.oid(name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_database_that_an_operator_brought_back_by_hand_is_never_taken_for_a_previous_one() {
    let mut pair = Pair::new();
    pair.admin(&format!(
        "comment on database \"{}\" is 'the shop'",
        pair.live
    ));
    let previous = pair.swap().await.expect("swapped").previous;
    pair.admin(&format!(
        "drop database \"{live}\"; alter database \"{previous}\" rename to \"{live}\"",
        live = pair.live
    ));

    let pruned = drop_old_previous(&pair.login, &pair.live, 0, &pair.run)
        .await
        .expect("pruned");
    assert!(pruned.dropped.is_empty());
    assert_eq!(pair.row(&pair.live), "old");
    pair.load("new");
    pair.swap().await.expect("swapped");

    let session = pair.session().await;
    let kept = previous_databases(&session, &pair.live)
        .await
        .expect("a list");
    assert_eq!(kept[0].original_comment.as_deref(), Some("the shop"));
    let comment = format!(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = '{}'",
        pair.live
    );
    assert_eq!(pair.server.value("postgres", &comment), "the shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_fails_is_told_and_the_others_go_on() {
    let mut pair = Pair::new();
    let stuck = pair.swap().await.expect("swapped").previous;
    pair.load("newer");
    let free = pair.swap().await.expect("swapped").previous;
    let gid = format!("in {stuck}");
    pair.server.sql(
        &stuck,
        &format!("begin; insert into t values ('x'); prepare transaction '{gid}'"),
    );

    let pruned = drop_old_previous(&pair.login, &pair.live, 0, &pair.run)
        .await
        .expect("pruned");
    pair.server
        .sql(&stuck, &format!("rollback prepared '{gid}'"));

    assert_eq!(pruned.dropped, [free]);
    assert_eq!(pruned.failed.len(), 1);
    assert_eq!(pruned.failed[0].0, stuck);
    assert!(
        pruned.failed[0].1.contains("prepared"),
        "{:?}",
        pruned.failed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_drop_has_left_is_dropped_and_counts_for_nothing() {
    let mut pair = Pair::new();
    let remains = pair.swap().await.expect("swapped").previous;
    pair.load("newer");
    let whole = pair.swap().await.expect("swapped").previous;
    pair.admin(&format!(
        "update pg_database set datconnlimit = -2 where datname = '{remains}'"
    ));

    let pruned = drop_old_previous(&pair.login, &pair.live, 1, &pair.run)
        .await
        .expect("pruned");

    assert_eq!(pruned.dropped, [remains]);
    pair.oid(&whole);
}
