//! The operator's own checks of the restored data: each a statement that gives one value, read-only, with a deadline.
//!
//! All are run, so that the report shows every value; any that does not hold fails the restore.

mod judge;

use std::time::Duration;

use self::judge::{Judged, against_live, expected, judge};
use super::connection::{Login, Session, column, connect};
use crate::config::{Check, Expectation};
use crate::escape::said;
use crate::report::CheckResult;
use crate::run::Run;
use crate::verdict::{Failed, Outcome, Verdict};

/// Runs all checks in the scratch database, and notes each result in the report.
///
/// `login.settings.name` is the live database, whose `search_path` the checks see, and which is asked as well where a check
/// compares with it; `deadline` is for each statement.
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
    let mut incoming = Place::new(login, scratch, deadline);
    let mut live = Place::new(login, &login.settings.name, deadline);
    let mut broken = Vec::new();
    for check in checks {
        run.progress.note(&format!("check `{}`", said(&check.sql)));
        let result = one(&mut incoming, &mut live, check).await?;
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
    incoming.close().await;
    live.close().await;
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Failed,
        format!("{} of {} checks do not hold: {}", broken.len(), checks.len(), broken.join("; ")),
    )
    .hint("the live database was left as it was; look at what the archive's maker dumped, or correct the check"))
}

/// A database that statements of checks are asked in, by a session that is opened when it is needed.
struct Place<'a> {
    login: &'a Login,
    database: &'a str,
    deadline: Duration,
    session: Option<Session>,
}

/// What a statement gave.
enum Value {
    Text(String),
    /// Not one value, in words: `no row`.
    Other(String),
}

impl<'a> Place<'a> {
    fn new(login: &'a Login, database: &'a str, deadline: Duration) -> Self {
        Self {
            login,
            database,
            deadline,
            session: None,
        }
    }

    async fn session(&mut self) -> Outcome<&Session> {
        let session = if let Some(session) = self.session.take() {
            session
        } else {
            self.open().await?
        };
        Ok(self.session.insert(session))
    }

    async fn open(&self) -> Outcome<Session> {
        let session = connect(self.login, self.database).await?;
        let session = session.with_deadline(self.deadline);
        as_the_application_sees_it(&session, &self.login.settings.name).await?;
        session
            .batch("SET default_transaction_read_only = on")
            .await?;
        Ok(session)
    }

    /// An error that is no answer, because nobody was there to give one, is a `network` one.
    async fn value(&mut self, sql: &str) -> Outcome<Value> {
        let session = self.session().await?;
        session.batch("BEGIN READ ONLY").await?;
        let value = match value_within(session, sql).await {
            Ok(Some(value)) => value,
            Ok(None) => {
                // Its cancellation may still be on the way, and would hit the next statement.
                self.close().await;
                return Ok(Value::Other("more than one row".into()));
            }
            Err(failed) if session.is_closed() => {
                return Err(Failed {
                    verdict: Verdict::Network,
                    ..failed
                });
            }
            Err(failed) => {
                session.batch("ROLLBACK").await?;
                return Err(failed);
            }
        };
        session.batch("ROLLBACK").await?;
        Ok(value)
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

/// None: more than one row.
async fn value_within(session: &Session, sql: &str) -> Outcome<Option<Value>> {
    // Asked first, because it refuses several statements in one, which could end the read-only transaction.
    let columns = session.columns_of(sql).await?;
    if columns != 1 {
        let what = format!("{columns} columns instead of one");
        return Ok(Some(Value::Other(what)));
    }
    let rows = session.first_text_rows(sql, 2).await?;
    Ok(match rows.as_slice() {
        [] => Some(Value::Other("no row".into())),
        [row] => Some(match row.first() {
            Some(Some(text)) => Value::Text(text.clone()),
            _ => Value::Other("null".into()),
        }),
        _ => None,
    })
}

/// The scratch database has none of live's settings yet; what is the operator's wants its search path and the server's time zone.
pub(super) async fn as_the_application_sees_it(session: &Session, live: &str) -> Outcome<()> {
    session.batch("RESET search_path; RESET TimeZone").await?;
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

async fn one(
    incoming: &mut Place<'_>,
    live: &mut Place<'_>,
    check: &Check,
) -> Outcome<CheckResult> {
    let asked = match incoming.value(&check.sql).await {
        Ok(value) => answered(incoming, live, check, value).await,
        Err(failed) => Err(failed),
    };
    let judged = match asked {
        Ok(judged) => judged,
        // One that could not be run because nobody answered is no verdict on the data.
        Err(failed) if failed.verdict == Verdict::Network => {
            return Err(failed.context(format!("check `{}`", said(&check.sql))));
        }
        Err(failed) => Judged::broken(
            expected(&check.expect),
            format!("an error: {}", failed.message()),
        ),
    };
    Ok(CheckResult {
        sql: check.sql.clone(),
        expected: judged.expected,
        found: judged.found,
        ok: judged.ok,
    })
}

async fn answered(
    incoming: &mut Place<'_>,
    live: &mut Place<'_>,
    check: &Check,
    value: Value,
) -> Outcome<Judged> {
    match (value, &check.expect) {
        (Value::Other(what), expect) => Ok(Judged::broken(expected(expect), what)),
        (Value::Text(text), Expectation::AtLeastOfLive(percent)) => {
            let now = in_live(live, &check.sql).await?;
            against_live(incoming.session().await?, &text, &now, *percent).await
        }
        (Value::Text(text), expect) => judge(incoming.session().await?, &text, expect).await,
    }
}

/// Live's own value, or in words why there is none to compare with.
async fn in_live(live: &mut Place<'_>, sql: &str) -> Outcome<Result<String, String>> {
    match live.value(sql).await {
        Ok(Value::Text(text)) => Ok(Ok(text)),
        Ok(Value::Other(what)) => Ok(Err(format!("live gives {what}"))),
        Err(failed) if failed.verdict == Verdict::Network => Err(failed),
        Err(failed) => Ok(Err(format!("live gives an error: {}", failed.message()))),
    }
}
