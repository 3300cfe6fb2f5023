//! What belongs to the database by its OID is the same after a swap.

use std::time::Duration;

use backupctl::database::connection::quote_identifier;
use backupctl::database::swap::{Properties, properties, swap};
use backupctl::verdict::Verdict;

use super::Pair;

/// Everything by role and value, with names and OIDs of the databases left out.
async fn comparable(pair: &Pair, oid: u32) -> Properties {
    let session = pair.session().await;
    let mut found = properties(&session, oid).await.expect("properties");
    found.acl.sort();
    Properties {
        name: String::new(),
        oid: 0,
        read_at: jiff::Timestamp::UNIX_EPOCH,
        ..found
    }
}

fn roles(pair: &Pair) -> [String; 4] {
    ["Owner", "the \"boss\"", "clerk's", "größe"]
        .map(|name| quote_identifier(&pair.server.role(name, "")))
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_privileges_settings_limit_and_comment_go_to_the_new_live_database() {
    // given
    let pair = Pair::new();
    let live = quote_identifier(&pair.live);
    let [owner, boss, clerk, temp] = roles(&pair);
    pair.admin(&format!(
        "alter database {live} owner to {owner};
         revoke all on database {live} from public;
         grant connect on database {live} to {boss} with grant option;
         set role {boss}; grant connect on database {live} to {clerk}; reset role;
         grant temporary, create on database {live} to {temp};
         alter database {live} connection limit 42;
         alter database {live} set search_path = \"$user\", public, 'a \"b\", c';
         alter database {live} set work_mem = '64MB';
         alter database {live} set datestyle = 'ISO, DMY';
         alter database {live} set app.motto = 'it''s = \"so\" \\ $1';
         alter database {live} set temp_tablespaces = '';
         alter role {clerk} in database {live} set search_path = '';
         alter role {clerk} in database {live} set statement_timeout = '7s';
         comment on database {live} is 'the \"shop\"; it''s\n$1 \\ {{\"backupctl\":'"
    ));
    let order = pair.order();
    let before = comparable(&pair, order.live.oid).await;

    // when
    let swapped = swap(&pair.login, &order, &pair.run).await.expect("swapped");

    // then
    let after = comparable(&pair, order.incoming.oid).await;
    assert_eq!(after, before);
    assert_eq!(swapped.differences, Vec::<String>::new());
    assert_eq!(
        before
            .acl
            .iter()
            .filter(|grant| grant.grantor.starts_with("the"))
            .count(),
        1
    );
    let path = pair.server.value(&pair.live, "show search_path");
    assert_eq!(path, "\"$user\", public, \"a \"\"b\"\", c\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_locked_up_wholly_stays_so() {
    let pair = Pair::new();
    let live = quote_identifier(&pair.live);
    pair.admin(&format!(
        "revoke all on database {live} from public, postgres;
         alter database {live} is_template true connection limit 0 allow_connections false"
    ));
    let order = pair.order();
    let before = comparable(&pair, order.live.oid).await;

    swap(&pair.login, &order, &pair.run).await.expect("swapped");

    assert_eq!(comparable(&pair, order.incoming.oid).await, before);
    assert!(before.acl.is_empty() && !before.allows_connections && before.is_template);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_scratch_database_has_beyond_it_is_taken_away() {
    let pair = Pair::new();
    let scratch = quote_identifier(&pair.scratch);
    let [owner, boss, clerk, _] = roles(&pair);
    pair.admin(&format!(
        "alter database {scratch} owner to {owner};
         grant create on database {scratch} to {boss} with grant option;
         set role {boss}; grant create on database {scratch} to {clerk}; reset role;
         alter database {scratch} connection limit 3;
         alter database {scratch} set work_mem = '1MB';
         alter role {clerk} in database {scratch} set work_mem = '2MB';
         comment on database {scratch} is 'a copy'"
    ));
    let order = pair.order();
    let before = comparable(&pair, order.live.oid).await;

    let swapped = swap(&pair.login, &order, &pair.run).await.expect("swapped");

    let after = comparable(&pair, order.incoming.oid).await;
    // An explicit list that says the same as the default one.
    assert_eq!(
        Properties {
            default_acl: true,
            ..after
        },
        before
    );
    assert_eq!(swapped.differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_the_server_no_longer_takes_rolls_the_whole_swap_back() {
    // given: a security label whose provider is not loaded
    let pair = Pair::new();
    let order = pair.order();
    pair.admin(&format!(
        "set allow_system_table_mods = on;
         insert into pg_shseclabel values ({}, 'pg_database'::regclass, 'guard', 'secret')",
        order.live.oid
    ));
    let open = pair.server.session(&pair.live, "select 1");

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("no provider");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(failed.message().contains("guard"), "{}", failed.message());
    pair.live_is_unchanged(&order);
    let still = format!(
        "select count(*) from pg_stat_activity where datname = '{}'",
        pair.live
    );
    let kept = pair.server.value("postgres", &still);
    assert_eq!(
        kept, "1",
        "nobody was disconnected for a swap that could not succeed"
    );
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_changes_while_the_swap_waits_for_its_lock_is_carried_too() {
    // given: somebody's open transaction that will change the comment
    let pair = Pair::new();
    let order = pair.order();
    let other = pair.session_of_another().await;
    let change = format!("begin; comment on database \"{}\" is 'changed'", pair.live);
    other.batch(&change).await.expect("begun");
    let waits = format!(
        "select count(*) from pg_stat_activity where application_name = '{}' and wait_event_type = 'Lock'",
        pair.login.application_name
    );

    // when
    let swapping = swap(&pair.login, &order, &pair.run);
    let committing = async {
        while pair.server.value("postgres", &waits) == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.batch("commit").await.expect("committed");
    };
    let (swapped, ()) = tokio::join!(swapping, committing);

    // then
    assert_eq!(swapped.expect("swapped").differences, Vec::<String>::new());
    let new = comparable(&pair, order.incoming.oid).await;
    assert_eq!(new.comment.as_deref(), Some("changed"));
}
