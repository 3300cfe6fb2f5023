//! The planner's statistics after a restore: the same as one plain ANALYZE gives, or a named reason why not.

use std::time::Duration;

use backupctl::database::analyze::analyze;
use backupctl::run::RunId;
use backupctl::verdict::Verdict;

use crate::support::postgres::Postgres;

/// Everything that ANALYZE treats in its own way.
const KINDS: &str = "
create schema \"Odd schema\";
create table \"Odd schema\".\"a, b\" as select i, i % 7 as k, i % 7 as l from generate_series(1, 500) i;
create statistics \"Odd schema\".s on k, l from \"Odd schema\".\"a, b\";
create table big as select i, md5(i::text) as text from generate_series(1, 60000) i;
create index on big (lower(text));
create table parent (i int, at date);
create table child () inherits (parent);
insert into parent select i, '2026-01-01' from generate_series(1, 50) i;
insert into child select i, '2026-02-01' from generate_series(51, 200) i;
create table parts (i int, k text) partition by range (i);
create table parts_1 partition of parts for values from (0) to (1000);
create table parts_2 partition of parts for values from (1000) to (9000) partition by range (i);
create table parts_2a partition of parts_2 for values from (1000) to (3000);
insert into parts select i, i % 5 from generate_series(1, 2999) i;
create materialized view seen as select i from parent;
create materialized view unseen as select i from parent with no data;
create table empty (i int);
create view v as select 1 as one;
create foreign data wrapper nothing;
create server nowhere foreign data wrapper nothing;
create foreign table far (i int) server nowhere;
";

/// What ANALYZE writes, of every schema, without what differs from one run to the next.
const WRITTEN: &str = "
select c.oid::regclass, relkind, reltuples, relpages from pg_class c where c.oid >= 16384 and relkind <> 'i' order by 1;
select starelid::regclass, staattnum, stainherit, stawidth, stanullfrac, stadistinct from pg_statistic
where starelid >= 16384 order by 1, 2, 3;
select stxoid, stxdinherit, stxdndistinct, stxddependencies from pg_statistic_ext_data order by 1, 2;
select starelid::regclass, count(*) from pg_statistic
where starelid < 16384 and starelid <> 'pg_statistic_ext_data'::regclass group by 1 order by 1";

#[tokio::test]
async fn several_sessions_write_the_same_statistics_as_one_plain_analyze() {
    // given the same database three times
    let pg = Postgres::shared();
    let first = pg.database("kinds");
    pg.sql(&first, KINDS);
    let copies = [1, 3].map(|jobs| {
        let copy = format!("{first}_{jobs}");
        pg.sql(
            "postgres",
            &format!("create database {copy} template {first}"),
        );
        (copy, jobs)
    });
    pg.sql(&first, "analyze");
    let expected = pg.value(&first, WRITTEN);
    assert!(expected.contains("parts_2a|r|2000|"), "{expected}");

    for (copy, jobs) in copies {
        // when
        let login = pg.login(&copy, &RunId::new(jiff::Timestamp::now()));
        analyze(&login, &copy, jobs, Duration::from_secs(30))
            .await
            .expect("the tables are analyzed");
        // then
        let written = pg.value(&copy, WRITTEN);
        let differ = expected.lines().zip(written.lines()).find(|(a, b)| a != b);
        assert_eq!(differ, None, "{jobs} sessions");
        assert_eq!(written.lines().count(), expected.lines().count());
    }
}

#[tokio::test]
async fn a_server_that_holds_a_part_of_a_table_is_not_asked() {
    let pg = Postgres::shared();
    let db = pg.database("apart");
    pg.sql(
        &db,
        "create extension postgres_fdw;
         create server away foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1');
         create user mapping for public server away;
         create table events (i int) partition by range (i);
         create table here partition of events for values from (0) to (10) partition by range (i);
         create table here_1 partition of here for values from (0) to (10);
         create foreign table there partition of events for values from (10) to (20) server away;
         insert into events values (1), (2)",
    );
    let login = pg.login(&db, &RunId::new(jiff::Timestamp::now()));
    for jobs in [1, 2] {
        let left_out = analyze(&login, &db, jobs, Duration::from_secs(30));
        let left_out = left_out.await.expect("what is here is analyzed");
        assert_eq!(left_out, ["public.events"]);
    }
    let rows = "select reltuples from pg_class where relname in ('here', 'here_1') order by 1";
    assert_eq!(pg.value(&db, rows), "2\n2");
}

#[tokio::test]
async fn an_analyze_that_stands_still_is_ended_and_the_blocker_named() {
    let pg = Postgres::shared();
    let db = pg.database("blocked");
    pg.sql(&db, "create table taken as select 1 as one");
    let _blocker = pg.session(&db, "begin; lock table taken in access exclusive mode");
    let login = pg.login(&db, &RunId::new(jiff::Timestamp::now()));
    for jobs in [1, 2] {
        let failed = analyze(&login, &db, jobs, Duration::from_secs(1))
            .await
            .expect_err("it can't");
        assert_eq!(failed.verdict, Verdict::Failed);
        let told = failed.message();
        assert!(
            told.contains("waits for process") && told.contains("whose last statement is"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_one_session_fails_at_is_told_and_the_configured_settings_hold_in_it() {
    let pg = Postgres::shared();
    let db = pg.database("failing");
    pg.sql(
        &db,
        "create table t (i int); create function f(i int) returns int immutable language sql as 'select i';
         create index on t (f(i)); insert into t select generate_series(1, 100);
         create or replace function f(i int) returns int immutable language sql as
         $$ select concat('holds ', current_setting('some.thing'))::int $$",
    );
    let mut login = pg.login(&db, &RunId::new(jiff::Timestamp::now()));
    login.settings.session = vec![("some.thing".into(), r"a \b".into())];
    let failed = analyze(&login, &db, 2, Duration::from_secs(30))
        .await
        .expect_err("it can't");
    let told = failed.message();
    assert!(told.contains(r"holds a \b") && told.contains(&db), "{told}");
}
