//! What counts as progress of a load: each source by itself, while the session only waits and nothing else changes.

use std::time::Duration;

use backupctl::database::load::load;
use backupctl::verdict::Verdict;

use super::fixture::Fixture;
use crate::support::postgres::Postgres;

/// Loads a dump with what `sql` makes, beside a function `slow` that waits for `milliseconds`; the stall is a second.
async fn loads(sql: &str, milliseconds: u32) -> Result<(), (Verdict, String)> {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let body = |pause: &str| {
        format!(
            "create or replace function slow(i int) returns bool immutable language plpgsql as 'begin {pause} return true; end'"
        )
    };
    pg.sql(&fixture.source, &body(""));
    pg.sql(&fixture.source, sql);
    let pause = format!("perform pg_catalog.pg_sleep({milliseconds} / 1000.0);");
    pg.sql(&fixture.source, &body(&pause));
    let path = pg.dump_to(&fixture.source, &["-Fc"], fixture.directory.path());
    let target = pg.database("progress");
    let mut plan = fixture.plan(&target, &path);
    plan.stall = Duration::from_secs(1);
    let loaded = load(plan, &fixture.run).await;
    loaded
        .map(drop)
        .map_err(|failed| (failed.verdict, failed.message()))
}

#[tokio::test]
async fn rows_that_come_one_by_one_are_progress() {
    // Three seconds in which the database grows by nothing: only pg_stat_progress_copy sees a row come.
    let sql =
        "create table drip (i int check (slow(i))); insert into drip select generate_series(1, 60)";
    assert_eq!(loads(sql, 50).await, Ok(()));
}

#[tokio::test]
async fn an_index_that_grows_block_by_block_is_progress() {
    // A row fills a block, so that pg_stat_progress_create_index sees each.
    let sql = "create table blocks (i int, filler text); alter table blocks alter filler set storage plain;
        insert into blocks select i, repeat('x', 7000) from generate_series(1, 60) i; create index on blocks (slow(i))";
    assert_eq!(loads(sql, 50).await, Ok(()));
}

#[tokio::test]
async fn one_row_that_never_comes_is_none() {
    for sql in [
        "create table stuck (i int check (slow(i))); insert into stuck values (1)",
        "create table stuck (i int); insert into stuck values (1); create index on stuck (slow(i))",
    ] {
        let (verdict, message) = loads(sql, 600_000).await.expect_err("it hangs");
        assert_eq!(verdict, Verdict::Failed);
        assert!(message.contains("made no progress for"), "{message}");
    }
}
