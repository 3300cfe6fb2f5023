//! Whether a check's value is what was expected, and both in words.

use std::time::Duration;

use crate::config::Expectation;
use crate::database::connection::{Session, column};
use crate::escape::said;
use crate::verdict::{Outcome, Verdict};

/// What was wanted and what was found, in words, and whether they agree.
pub(super) struct Judged {
    pub expected: String,
    pub found: String,
    pub ok: bool,
}

impl Judged {
    pub fn broken(expected: String, found: String) -> Self {
        Self {
            expected,
            found,
            ok: false,
        }
    }
}

/// Judges a value by itself.
pub(super) async fn judge(session: &Session, text: &str, expect: &Expectation) -> Outcome<Judged> {
    let number = text.trim().parse::<f64>().ok().filter(|n| !n.is_nan());
    let compared = |holds: fn(f64, f64) -> bool, limit: f64| match number {
        Some(number) => (said(text), holds(number, limit)),
        None => (format!("`{}`, which is no number", said(text)), false),
    };
    let (found, ok) = match expect {
        Expectation::AtLeast(limit) => compared(|number, limit| number >= limit, *limit),
        Expectation::AtMost(limit) => compared(|number, limit| number <= limit, *limit),
        Expectation::Equals(wanted) => (said(text), equal(text, wanted)),
        Expectation::NewerThan(age) => newer(session, text, *age).await?,
        Expectation::AtLeastOfLive(_) => (format!("{}, without live's", said(text)), false),
    };
    Ok(Judged {
        expected: expected(expect),
        found,
        ok,
    })
}

/// Judges a value by that of the live database: exactly, by the server's own arithmetic.
///
/// `live` is the value there, or why there is none.
pub(super) async fn against_live(
    session: &Session,
    text: &str,
    live: &Result<String, String>,
    percent: f64,
) -> Outcome<Judged> {
    let wanted = expected(&Expectation::AtLeastOfLive(percent));
    let broken = |why: &str| {
        let found = format!("{}, but {why}", said(text));
        Ok(Judged::broken(wanted.clone(), found))
    };
    let live = match live {
        Ok(live) => live.trim(),
        Err(why) => return broken(&format!("{why}, nothing to compare with")),
    };
    if !is_number(text) {
        let found = format!("`{}`, which is no number", said(text));
        return Ok(Judged::broken(wanted, found));
    }
    if !is_number(live) {
        return broken(&format!("live gives `{}`, which is no number", said(live)));
    }
    if live.starts_with('-') {
        return broken(&format!("live gives {}, less than nothing", said(live)));
    }
    let sql = "SELECT found >= least, least::text FROM (SELECT $1::text::numeric AS found, \
               $2::text::numeric * $3::text::numeric * 0.01 AS least) both_of_them";
    let row = session
        .query_one(sql, &[&text.trim(), &live, &percent.to_string()])
        .await?;
    let least: String = column(&row, 1)?;
    Ok(Judged {
        expected: format!(
            "at least {percent}% of live's {}, that is {}",
            said(live),
            without_zeros(&least)
        ),
        found: said(text),
        ok: column(&row, 0)?,
    })
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(f64::is_finite)
}

/// `80.00` as `80`.
fn without_zeros(decimal: &str) -> &str {
    if decimal.contains('.') {
        decimal.trim_end_matches('0').trim_end_matches('.')
    } else {
        decimal
    }
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

/// What is wanted, in words.
pub(super) fn expected(expect: &Expectation) -> String {
    match expect {
        Expectation::AtLeast(limit) => format!("at least {limit}"),
        Expectation::AtMost(limit) => format!("at most {limit}"),
        Expectation::Equals(wanted) => format!("equals {}", said(wanted)),
        Expectation::NewerThan(age) => format!("newer than {}", words(*age)),
        Expectation::AtLeastOfLive(percent) => format!("at least {percent}% of live"),
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

    #[test]
    fn a_share_of_live_is_said_without_needless_zeros() {
        assert_eq!(
            expected(&Expectation::AtLeastOfLive(99.5)),
            "at least 99.5% of live"
        );
        assert_eq!(without_zeros("80.00"), "80");
        assert_eq!(without_zeros("0.80"), "0.8");
        assert_eq!(without_zeros("100"), "100");
    }
}
