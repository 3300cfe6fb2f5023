//! The operator's checks: one value each, read-only, all reported.

use std::time::Duration;

use backupctl::config::{Check, Expectation};
use backupctl::database::checks::check;
use backupctl::report::CheckResult;
use backupctl::verdict::{Outcome, Verdict};

use super::run;
use crate::support::postgres::Postgres;

async fn checked(
    database: &str,
    checks: &[(&str, Expectation)],
) -> (Outcome<()>, Vec<CheckResult>) {
    let pg = Postgres::shared();
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let run = run(dir.path());
    let checks: Vec<Check> = checks
        .iter()
        .map(|(sql, expect)| Check {
            sql: (*sql).to_owned(),
            expect: expect.clone(),
        })
        .collect();
    let login = pg.login(database, &run.id);
    let outcome = check(&login, database, &checks, Duration::from_secs(2), &run).await;
    let results = run.notes.lock().checks.clone();
    (outcome, results)
}

fn equals(text: &str) -> Expectation {
    Expectation::Equals(text.into())
}

const TWO_DAYS: Expectation = Expectation::NewerThan(Duration::from_hours(48));

#[tokio::test]
async fn checks_that_hold_are_noted_with_their_values() {
    let pg = Postgres::shared();
    let db = pg.database("checks");
    pg.sql(&db, "create table users(id int, at date default current_date); insert into users values (1), (2)");
    let (outcome, results) = checked(
        &db,
        &[
            ("select count(*) from users", Expectation::AtLeast(1.0)),
            ("select count(*) from users;", Expectation::AtMost(2.0)),
            ("select 1.00", equals("1")),
            ("select 'x'", equals("x")),
            ("select now()", TWO_DAYS),
            ("select now()::timestamp", TWO_DAYS),
            ("select max(at) from users", TWO_DAYS),
        ],
    )
    .await;
    outcome.expect("the test's preparation works");
    assert_eq!(results.len(), 7);
    assert!(results.iter().all(|result| result.ok), "{results:?}");
    assert_eq!(
        (results[0].expected.as_str(), results[0].found.as_str()),
        ("at least 1", "2")
    );
    assert!(results[4].found.contains("0s old"), "{}", results[4].found);
}

/// Checks that can't hold, and a part of what is found.
fn broken() -> Vec<(&'static str, Expectation, &'static str)> {
    vec![
        ("select 0", Expectation::AtLeast(1.0), "0"),
        ("select 3", Expectation::AtMost(2.0), "3"),
        ("select 'y'", equals("x"), "y"),
        ("select null", Expectation::AtLeast(1.0), "null"),
        ("select 1 where false", Expectation::AtLeast(1.0), "no row"),
        (
            "select generate_series(1, 3)",
            Expectation::AtLeast(1.0),
            "3 rows",
        ),
        ("select 1, 2", Expectation::AtLeast(1.0), "2 columns"),
        ("select 'many'", Expectation::AtLeast(1.0), "no number"),
        (
            "select 'NaN'::float8",
            Expectation::AtLeast(1.0),
            "no number",
        ),
        ("select now() - interval '3 days'", TWO_DAYS, "3d old"),
        ("select 'soon'", TWO_DAYS, "no point in time"),
        (
            "select '-infinity'::timestamptz",
            TWO_DAYS,
            "no point in time",
        ),
        (
            "select x from nothing",
            Expectation::AtLeast(1.0),
            "nothing",
        ),
        (
            "select 1; select 2",
            Expectation::AtLeast(1.0),
            "multiple commands",
        ),
        ("select pg_sleep(60)", equals(""), "cancelled after 2s"),
    ]
}

#[tokio::test]
async fn each_check_that_does_not_hold_says_what_it_found() {
    let pg = Postgres::shared();
    let db = pg.database("checks");
    let cases = broken();
    let checks: Vec<_> = cases
        .iter()
        .map(|(sql, expect, _)| (*sql, expect.clone()))
        .collect();

    let (outcome, results) = checked(&db, &checks).await;

    let failed = outcome.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("15 of 15 checks"),
        "{}",
        failed.message()
    );
    for (result, (sql, _, found)) in results.iter().zip(&cases) {
        assert!(
            !result.ok && result.found.contains(found),
            "{sql}: {}",
            result.found
        );
    }
}

#[tokio::test]
async fn a_check_cannot_write() {
    let pg = Postgres::shared();
    let db = pg.database("checks");
    pg.sql(&db, "create table t(x int)");
    let (outcome, results) = checked(
        &db,
        &[
            ("insert into t values (1) returning x", equals("1")),
            ("select 1; commit; insert into t values (1)", equals("1")),
        ],
    )
    .await;
    assert!(outcome.is_err());
    assert!(
        results[0].found.contains("read-only"),
        "{}",
        results[0].found
    );
    assert_eq!(pg.value(&db, "select count(*) from t"), "0");
}

#[tokio::test]
async fn a_check_sees_the_search_path_that_the_application_has() {
    let pg = Postgres::shared();
    let db = pg.database("checks");
    pg.sql(&db, "create schema app; create table app.users(id int)");
    pg.sql(
        "postgres",
        &format!("alter database {db} set search_path = app, public"),
    );
    let (outcome, _) = checked(&db, &[("select count(*) from users", equals("0"))]).await;
    outcome.expect("the test's preparation works");
}

#[tokio::test]
async fn a_lost_connection_is_no_verdict_on_the_data() {
    let pg = Postgres::shared();
    let db = pg.database("checks");
    let (outcome, _) = checked(
        &db,
        &[("select pg_terminate_backend(pg_backend_pid())", equals("t"))],
    )
    .await;
    let failed = outcome.unwrap_err();
    assert!(
        !failed.message().contains("do not hold"),
        "{}",
        failed.message()
    );
}
