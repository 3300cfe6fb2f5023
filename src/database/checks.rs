//! The operator's own checks of the restored data: each a statement that gives one value, read-only, with a deadline.
//!
//! All are run, so that the report shows every value; any that does not hold fails the restore.

use std::time::Duration;

use super::connection::{Login, Session, column, connect};
use crate::config::{Check, Expectation};
use crate::escape::said;
use crate::report::CheckResult;
use crate::run::Run;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// Runs all checks in the scratch database, and notes each result in the report.
///
/// `login.settings.name` is the live database, whose `search_path` the checks see; `deadline` is for each check.
///
/// # Errors
/// `failed`: which checks don't hold, with their values; `network` and the like where they could not be asked.
pub async fn check(
    login: &Login,
    scratch: &str,
    checks: &[Check],
    deadline: Duration,
    run: &Run,
) -> Outcome<()> {
    if checks.is_empty() {
        return Ok(());
    }
    let session = connect(login, scratch).await?.with_deadline(deadline);
    as_the_application_sees_it(&session, &login.settings.name).await?;
    let mut broken = Vec::new();
    for check in checks {
        run.progress.note(&format!("check `{}`", said(&check.sql)));
        let result = one(&session, check).await?;
        if !result.ok {
            broken.push(format!(
                "`{}` is {}, expected {}",
                said(&result.sql),
                result.found,
                result.expected
            ));
        }
        run.notes.check(result);
    }
    session.close().await;
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Failed,
        format!("{} of {} checks do not hold: {}", broken.len(), checks.len(), broken.join("; ")),
    )
    .hint("the live database was left as it was; look at what the archive's maker dumped, or correct the check"))
}

/// The scratch database has none of live's settings yet; a check wants its search path and the server's time zone.
async fn as_the_application_sees_it(session: &Session, live: &str) -> Outcome<()> {
    session
        .batch("RESET search_path; RESET TimeZone; SET default_transaction_read_only = on")
        .await?;
    let rows = session
        .query(
            "SELECT entry FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase,
                    unnest(s.setconfig) entry
             WHERE d.datname = $1::text AND entry LIKE 'search\\_path=%'
               AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
             ORDER BY s.setrole",
            &[&live],
        )
        .await?;
    for row in &rows {
        let entry: String = column(row, 0)?;
        let path = entry
            .split_once('=')
            .map_or("", |(_, path)| path)
            .to_owned();
        session
            .execute("SELECT set_config('search_path', $1, false)", &[&path])
            .await?;
    }
    Ok(())
}

async fn one(session: &Session, check: &Check) -> Outcome<CheckResult> {
    let outcome = value(session, &check.sql).await;
    if session.is_closed() {
        return Err(outcome
            .err()
            .unwrap_or_else(|| Failed::new(Verdict::Network, "the connection was closed")))
        .context(format!("check `{}`", said(&check.sql)));
    }
    let (found, ok) = match outcome {
        Ok(Value::Text(text)) => judge(session, &text, &check.expect).await?,
        Ok(Value::Other(what)) => (what, false),
        // One that could not be run because nobody answered is no verdict on the data.
        Err(failed) if failed.verdict == Verdict::Network => return Err(failed),
        Err(failed) => (format!("an error: {}", failed.message()), false),
    };
    Ok(CheckResult {
        sql: check.sql.clone(),
        expected: expected(&check.expect),
        found,
        ok,
    })
}

/// What a statement gave.
enum Value {
    Text(String),
    /// Not one value, in words: `no row`.
    Other(String),
}

async fn value(session: &Session, sql: &str) -> Outcome<Value> {
    session.batch("BEGIN READ ONLY").await?;
    let outcome = value_within(session, sql).await;
    // After a lost connection there is nothing to roll back, and the first error says it.
    let ended = session.batch("ROLLBACK").await;
    let value = outcome?;
    ended?;
    Ok(value)
}

async fn value_within(session: &Session, sql: &str) -> Outcome<Value> {
    // Asked first, because it refuses several statements in one, which could end the read-only transaction.
    let columns = session.columns_of(sql).await?;
    if columns != 1 {
        return Ok(Value::Other(format!("{columns} columns instead of one")));
    }
    let rows = session.text_rows(sql).await?;
    Ok(match rows.as_slice() {
        [] => Value::Other("no row".into()),
        [row] => match row.first() {
            Some(Some(text)) => Value::Text(text.clone()),
            _ => Value::Other("null".into()),
        },
        rows => Value::Other(format!("{} rows instead of one", rows.len())),
    })
}

/// The value in words, and whether it is as expected.
async fn judge(session: &Session, text: &str, expect: &Expectation) -> Outcome<(String, bool)> {
    let number = text.trim().parse::<f64>().ok().filter(|n| !n.is_nan());
    let compared = |holds: fn(f64, f64) -> bool, limit: f64| match number {
        Some(number) => (said(text), holds(number, limit)),
        None => (format!("`{}`, which is no number", said(text)), false),
    };
    Ok(match expect {
        Expectation::AtLeast(limit) => compared(|number, limit| number >= limit, *limit),
        Expectation::AtMost(limit) => compared(|number, limit| number <= limit, *limit),
        Expectation::Equals(wanted) => (said(text), equal(text, wanted)),
        Expectation::NewerThan(age) => newer(session, text, *age).await?,
    })
}

/// Equal as text, or as numbers: `1` and `1.00`, but not two long integers that only a float can't tell apart.
fn equal(found: &str, wanted: &str) -> bool {
    if found == wanted {
        return true;
    }
    let integers = (found.trim().parse::<i128>(), wanted.trim().parse::<i128>());
    if let (Ok(found), Ok(wanted)) = integers {
        return found == wanted;
    }
    match (found.trim().parse::<f64>(), wanted.trim().parse::<f64>()) {
        // Both were written in decimal, by the server and by the operator, so equality is what is meant.
        (Ok(found), Ok(wanted)) => found.total_cmp(&wanted).is_eq(),
        _ => false,
    }
}

/// By the server's clock; a time without a zone is in the server's own.
async fn newer(session: &Session, text: &str, limit: Duration) -> Outcome<(String, bool)> {
    let sql = "SELECT extract(epoch FROM clock_timestamp() - $1::text::timestamptz)::float8";
    match session.query_one(sql, &[&text]).await {
        Ok(row) => {
            let seconds: f64 = column(&row, 0)?;
            Ok((
                format!("{}, {}", said(text), age(seconds)),
                seconds <= limit.as_secs_f64(),
            ))
        }
        Err(failed) if failed.verdict == Verdict::Network => Err(failed),
        Err(_) => Ok((
            format!("`{}`, which is no point in time", said(text)),
            false,
        )),
    }
}

fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.abs().floor()).unwrap_or_default();
    let rounded = match whole.as_secs() {
        seconds @ 172_800.. => Duration::from_secs(seconds / 3600 * 3600),
        seconds @ 7200.. => Duration::from_secs(seconds / 60 * 60),
        seconds => Duration::from_secs(seconds),
    };
    let direction = if seconds < 0.0 { "ahead" } else { "old" };
    format!("{} {direction}", words(rounded))
}

fn expected(expect: &Expectation) -> String {
    match expect {
        Expectation::AtLeast(limit) => format!("at least {limit}"),
        Expectation::AtMost(limit) => format!("at most {limit}"),
        Expectation::Equals(wanted) => format!("equals {}", said(wanted)),
        Expectation::NewerThan(age) => format!("newer than {}", words(*age)),
    }
}

/// `2d`, `36h`, `1h 30m`: as a configuration would say it.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return "0s".into();
    }
    // A day and a half is what operators call 36 hours.
    let days = if seconds.is_multiple_of(86_400) || seconds > 3 * 86_400 {
        seconds / 86_400
    } else {
        0
    };
    let rest = seconds - days * 86_400;
    let parts = [
        (days, 'd'),
        (rest / 3600, 'h'),
        (rest / 60 % 60, 'm'),
        (rest % 60, 's'),
    ];
    let shown = parts.iter().filter(|(count, _)| *count > 0);
    let shown: Vec<String> = shown
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_said_in_words() {
        assert_eq!(expected(&Expectation::AtLeast(1.0)), "at least 1");
        assert_eq!(expected(&Expectation::AtMost(0.5)), "at most 0.5");
        assert_eq!(expected(&Expectation::Equals("x".into())), "equals x");
        for (seconds, text) in [
            (172_800, "newer than 2d"),
            (129_600, "newer than 36h"),
            (5400, "newer than 1h 30m"),
            (0, "newer than 0s"),
        ] {
            let expect = Expectation::NewerThan(Duration::from_secs(seconds));
            assert_eq!(expected(&expect), text);
        }
    }

    #[test]
    fn numbers_are_equal_as_numbers_and_long_integers_exactly() {
        assert!(equal("1.00", "1"));
        assert!(equal("t", "t"));
        assert!(!equal("9007199254740993", "9007199254740992"));
        assert!(!equal("one", "1"));
        assert!(!equal("NaN", "1"));
    }
}
