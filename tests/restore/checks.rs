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
    beside(database, database, checks).await
}

/// In `database`, where `live` is the live one.
async fn beside(
    live: &str,
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
    let login = pg.login(live, &run.id);
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
            "more than one row",
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

#[tokio::test]
async fn a_check_with_a_million_wide_rows_costs_neither_memory_nor_time_and_spoils_no_other() {
    let pg = Postgres::shared();
    let db = pg.database("checks");
    let wide = "select repeat(n::text, 100) from (select generate_series(1, 50000000) n) s";
    let (outcome, results) = checked(
        &db,
        &[
            (wide, equals("1")),
            ("select 1", equals("1")),
            (wide, equals("1")),
            ("select 2", equals("2")),
        ],
    )
    .await;
    let found: Vec<&str> = results.iter().map(|result| result.found.as_str()).collect();
    assert_eq!(found, ["more than one row", "1", "more than one row", "2"]);
    assert!(outcome.unwrap_err().message().contains("2 of 4 checks"));
    // A process that had read them all would have needed gigabytes.
    assert!(peak_megabytes() < 2000, "{} MB", peak_megabytes());
}

/// The most memory that this process has ever used.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.expect("a size").parse::<u64>().expect("a number") / 1000
}

/// Two databases with a table `n` each, and whether so much of live's is enough.
struct Pair {
    live: String,
    scratch: String,
}

impl Pair {
    fn with(live: &str, scratch: &str) -> Self {
        let pg = Postgres::shared();
        let database = |value: &str| {
            let name = pg.database("pair");
            pg.sql(&name, &format!("create table n as select {value} as v"));
            name
        };
        Self {
            live: database(live),
            scratch: database(scratch),
        }
    }

    async fn compared(&self, percent: f64) -> CheckResult {
        let check = ("select v from n", Expectation::AtLeastOfLive(percent));
        let (outcome, results) = beside(&self.live, &self.scratch, &[check]).await;
        assert_eq!(outcome.is_ok(), results[0].ok);
        results[0].clone()
    }
}

#[tokio::test]
async fn a_share_of_live_is_compared_exactly_and_both_numbers_are_told() {
    let enough = Pair::with("100", "80").compared(80.0).await;
    assert!(enough.ok, "{enough:?}");
    assert_eq!(enough.expected, "at least 80% of live's 100, that is 80");
    assert_eq!(enough.found, "80");

    let less = Pair::with("100", "79").compared(80.0).await;
    assert!(!less.ok && less.found == "79", "{less:?}");

    // Two numbers that a float can't tell apart, and a share that it can't hold.
    let long = Pair::with("9007199254740993::int8", "9007199254740992::int8");
    assert!(!long.compared(100.0).await.ok);
    let tenth = Pair::with("3", "2.4");
    let found = tenth.compared(80.0).await;
    assert!(found.ok, "{found:?}");
    assert_eq!(found.expected, "at least 80% of live's 3, that is 2.4");

    let empty = Pair::with("0", "0").compared(99.5).await;
    assert!(empty.ok, "{empty:?}");
    assert_eq!(empty.expected, "at least 99.5% of live's 0, that is 0");
}

#[tokio::test]
async fn where_live_has_nothing_to_compare_with_the_check_says_so_and_fails() {
    for (live, scratch, words) in [
        (
            "null::int",
            "5",
            "5, but live gives null, nothing to compare with",
        ),
        (
            "'many'::text",
            "5",
            "5, but live gives `many`, which is no number",
        ),
        (
            "'NaN'::float8",
            "5",
            "5, but live gives `NaN`, which is no number",
        ),
        ("-3", "5", "5, but live gives -3, less than nothing"),
        ("3", "'few'::text", "`few`, which is no number"),
        ("3", "null::int", "null"),
        (
            "generate_series(1, 3)",
            "5",
            "5, but live gives more than one row, nothing to compare with",
        ),
        (
            "generate_series(1, 0)",
            "5",
            "5, but live gives no row, nothing to compare with",
        ),
    ] {
        let result = Pair::with(live, scratch).compared(80.0).await;
        assert!(!result.ok, "{result:?}");
        assert_eq!(result.found, words);
        assert_eq!(result.expected, "at least 80% of live");
    }
    let pair = Pair::with("1", "5");
    Postgres::shared().sql(&pair.live, "drop table n");
    let result = pair.compared(80.0).await;
    assert!(
        !result.ok && result.found.starts_with("5, but live gives an error: "),
        "{result:?}"
    );
    assert!(
        result.found.contains("relation \"n\" does not exist"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_check_cannot_write_into_the_live_database_either() {
    let pair = Pair::with("1", "1");
    let pg = Postgres::shared();
    pg.sql(
        &pair.scratch,
        "create function f() returns int language sql as 'select 1'",
    );
    pg.sql(
        &pair.live,
        "create function f() returns int language sql as 'delete from public.n returning 1'",
    );
    let check = ("select f()", Expectation::AtLeastOfLive(80.0));
    let (outcome, results) = beside(&pair.live, &pair.scratch, &[check]).await;
    assert!(outcome.is_err());
    assert!(results[0].found.contains("read-only"), "{results:?}");
    assert_eq!(pg.value(&pair.live, "select count(*) from n"), "1");
}
