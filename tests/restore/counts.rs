//! The rows of the tables in both databases, by their statistics.

use backupctl::database::counts::{Counts, compare};
use backupctl::database::rows::count;
use backupctl::report::Presence;

use super::run;
use crate::support::postgres::Postgres;

async fn counted(live: &str, scratch: &str) -> Counts {
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let login = Postgres::shared().login(live, &run(dir.path()).id);
    compare(&login, scratch).await.expect("both can be asked")
}

fn database(sql: &str) -> String {
    let pg = Postgres::shared();
    let name = pg.database("counts");
    pg.sql(&name, sql);
    name
}

fn table<'a>(counts: &'a Counts, name: &str) -> &'a backupctl::report::TableRows {
    let found = counts.tables.iter().find(|table| table.name == name);
    found.unwrap_or_else(|| panic!("{name} in {counts:#?}"))
}

#[tokio::test]
async fn partitions_count_once_as_their_table_and_extensions_and_views_not_at_all() {
    let same = "create extension citext; create view v as select 1;
        create table days (n int) partition by range (n);
        create table days_1 partition of days for values from (0) to (100);
        create table days_2 partition of days for values from (100) to (200) partition by range (n);
        create table days_2a partition of days_2 for values from (100) to (150);
        create table none (n int) partition by range (n);
        create table plain (n int); create table empty (n int);
        create materialized view m as select generate_series(1, 7);";
    let live = database(&format!(
        "{same} insert into days select generate_series(0, 149); insert into plain values (1), (2); analyze"
    ));
    let scratch = database(&format!(
        "{same} insert into days select generate_series(0, 119); insert into plain values (1); analyze"
    ));

    let counts = counted(&live, &scratch).await;

    let mut names: Vec<&str> = counts
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["days", "empty", "m", "none", "plain"]);
    let days = table(&counts, "days");
    assert_eq!((days.rows, days.live_rows), (Some(120), Some(150)));
    let empty = table(&counts, "empty");
    assert_eq!((empty.rows, empty.live_rows), (Some(0), Some(0)));
    assert_eq!(table(&counts, "none").rows, Some(0));
    assert_eq!(counts.tables[0].name, "plain", "it shrank most");
    assert_eq!((counts.totals.rows, counts.totals.live_rows), (128, 159));
    assert_eq!((counts.totals.tables, counts.totals.live_unknown), (5, 0));
}

#[tokio::test]
async fn what_live_has_never_counted_is_unknown_and_what_only_one_has_is_told() {
    let live = database(
        "create table never (n int); create table gone (n int); create table never_empty (n int)",
    );
    let pg = Postgres::shared();
    pg.sql(
        &live,
        "insert into never select generate_series(1, 10); insert into gone values (1)",
    );
    // As after a crash of the server.
    pg.sql(&live, "analyze gone; select pg_stat_reset()");
    let scratch = database(
        "create table never (n int); create table never_empty (n int); create table fresh (n int); insert into fresh values (1); analyze",
    );

    let counts = counted(&live, &scratch).await;

    let never = table(&counts, "never");
    assert_eq!(
        (never.rows, never.live_rows, never.presence),
        (Some(0), None, Presence::Both)
    );
    let gone = table(&counts, "gone");
    assert_eq!(
        (gone.rows, gone.live_rows, gone.presence),
        (None, Some(1), Presence::Live)
    );
    let fresh = table(&counts, "fresh");
    assert_eq!(
        (fresh.rows, fresh.live_rows, fresh.presence),
        (Some(1), None, Presence::New)
    );
    assert_eq!(table(&counts, "never_empty").live_rows, Some(0));
    assert_eq!(counts.totals.live_unknown, 1);
}

#[tokio::test]
async fn a_table_that_was_never_analysed_is_counted_by_what_was_put_into_it() {
    let live = database("create table t (n int); insert into t select generate_series(1, 10)");
    let pg = Postgres::shared();
    let flushed = "select n_live_tup = 10 from pg_stat_user_tables";
    crate::run::until("the counters are written", || {
        pg.value(&live, flushed) == "t"
    });
    let scratch = database("create table t (n int); analyze");

    let counts = counted(&live, &scratch).await;

    assert_eq!(table(&counts, "t").live_rows, Some(10));
}

#[tokio::test]
async fn what_is_counted_is_every_row_that_is_here_or_unknown() {
    // given: a part on a server that is away, and rows that a policy hides from whoever counts
    let db = database(
        "create extension postgres_fdw;
         create server away foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1');
         create user mapping for public server away;
         create table days (n int) partition by range (n);
         create table days_1 partition of days for values from (0) to (100);
         create foreign table days_2 partition of days for values from (100) to (200) server away;
         insert into days select generate_series(0, 49);
         create table none (n int) partition by range (n);
         create table parent (n int); create table child () inherits (parent); insert into child values (1);
         create table hidden (n int); insert into hidden select generate_series(1, 9);
         create policy few on hidden using (n < 4); alter table hidden enable row level security;
         grant select on all tables in schema public to public",
    );
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let pg = Postgres::shared();
    let mut login = pg.login(&db, &run(dir.path()).id);
    let (whole, unknown) = (Some(9), None);
    for hidden in [whole, unknown] {
        // when
        let tables = count(&login, &db, 3)
            .await
            .expect("what is here is counted");

        // then
        let mut found: Vec<_> = tables.iter().map(|t| (t.name.as_str(), t.rows)).collect();
        found.sort_unstable();
        let (child, parent) = (("child", Some(1)), ("parent", Some(0)));
        let (days, none) = (("days", Some(50)), ("none", Some(0)));
        assert_eq!(found, [child, days, ("hidden", hidden), none, parent]);

        // and by somebody whom the policy is for
        let options = format!("login password '{}'", pg.password);
        login.settings.user = pg.role("counter", &options);
    }
}
