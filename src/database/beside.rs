//! Databases that were loaded beside the live one, to be looked at: `restore --as NAME`.
//!
//! Ours is what carries the stamp under the name that the stamp gives. The name comes last, in one transaction with the stamp,
//! so that there is never a half-loaded database of that name, nor one that nobody knows to be ours.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::connection::{Login, Session, column, quote_identifier, quote_literal};
use super::scratch::Scratch;
use super::swap::{self, Named, PreparedStamp, Stamp};
use crate::config::nearest;
use crate::escape::{in_shell, shown};
use crate::report::{ArchiveFacts, DumpFacts};
use crate::run::RunId;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const SENTENCE: &str = "Loaded by backupctl beside the live database, to be looked at: `backupctl restore --drop` drops it. ";
/// For the name, and for the end of others' sessions.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// Somebody is connected.
const IN_USE: &str = "(SQLSTATE 55006)";

/// What the stamp says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BesideStamp {
    pub format: u32,
    /// The live database beside which it was loaded.
    pub live: String,
    /// The name it was given; a database with another name was renamed by somebody, and is theirs.
    pub name: String,
    pub run: String,
    pub job: String,
    /// By the server's clock, both.
    pub since: Timestamp,
    pub expires: Timestamp,
    pub archive: Option<ArchiveFacts>,
    pub dump: Option<DumpFacts>,
    /// Empty: all of the dump.
    pub tables: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    backupctl_beside: BesideStamp,
}

impl BesideStamp {
    fn to_comment(&self) -> serde_json::Result<String> {
        let wrapped = Wrapped {
            backupctl_beside: self.clone(),
        };
        Ok(format!("{SENTENCE}{}", serde_json::to_string(&wrapped)?))
    }

    /// The stamp in a comment; None where it is not wholly one: then the database is not ours.
    #[must_use]
    pub fn parse(comment: &str) -> Option<Self> {
        let json = comment.strip_prefix(SENTENCE)?;
        let Wrapped {
            backupctl_beside: stamp,
        } = serde_json::from_str(json).ok()?;
        (stamp.format == 1 && RunId::parse(&stamp.run).is_some()).then_some(stamp)
    }
}

/// A database that was loaded to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub database: Named,
    pub stamp: BesideStamp,
}

/// A database as the server lists it.
struct Listed {
    database: Named,
    comment: Option<String>,
    is_template: bool,
    whole: bool,
}

async fn listed(session: &Session) -> Outcome<Vec<Listed>> {
    let sql = "SELECT datname::text, oid, shobj_description(oid, 'pg_database'), datistemplate, datconnlimit <> -2
               FROM pg_database ORDER BY 1";
    let rows = session.query(sql, &[]).await?;
    let listed = rows.iter().map(|row| {
        Ok(Listed {
            database: Named {
                name: column(row, 0)?,
                oid: column(row, 1)?,
            },
            comment: column(row, 2)?,
            is_template: column(row, 3)?,
            whole: column(row, 4)?,
        })
    });
    listed.collect()
}

fn stamp_of(listed: &Listed) -> Option<BesideStamp> {
    let stamp = BesideStamp::parse(listed.comment.as_deref()?)?;
    (stamp.name == listed.database.name).then_some(stamp)
}

/// All beside `live`, by name.
///
/// # Errors
/// As the session.
pub async fn all_beside(session: &Session, live: &str) -> Outcome<Vec<BesideStamp>> {
    let all = listed(session).await?;
    let stamps = all.iter().filter_map(stamp_of);
    Ok(stamps.filter(|stamp| stamp.live == live).collect())
}

/// Those beside `live` that have outlived their day, oldest first.
///
/// # Errors
/// As the session.
pub async fn expired(session: &Session, live: &str) -> Outcome<Vec<BesideStamp>> {
    let now = now(session).await?;
    let mut found = all_beside(session, live).await?;
    found.retain(|stamp| stamp.expires <= now);
    found.sort_by(|a, b| (a.expires, &a.name).cmp(&(b.expires, &b.name)));
    Ok(found)
}

/// Whether `name` is one that was loaded to be looked at, beside whichever live database.
///
/// # Errors
/// As the session.
pub async fn is_stamped(session: &Session, name: &str) -> Outcome<bool> {
    let all = listed(session).await?;
    Ok(all
        .iter()
        .filter_map(stamp_of)
        .any(|stamp| stamp.name == name))
}

async fn now(session: &Session) -> Outcome<Timestamp> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    let now = column(&session.query_one(sql, &[]).await?, 0)?;
    Timestamp::from_millisecond(now).judge(Verdict::Failed, "read the server's clock")
}

/// Whether `name` is free for a new database.
///
/// # Errors
/// `config`: it is not; where what is there is ours, the hint has the command that drops it.
pub async fn vacant(session: &Session, name: &str) -> Outcome<()> {
    let all = listed(session).await?;
    let Some(there) = all.iter().find(|one| one.database.name == name) else {
        return Ok(());
    };
    let problem = format!("there is a database `{}` already", shown(name));
    let failed = Failed::new(Verdict::Config, problem);
    Err(match stamp_of(there) {
        Some(stamp) => failed.hint(format!(
            "it was loaded on {} to be looked at; {}",
            day_and_time(stamp.since),
            drop_command(name, &stamp.job)
        )),
        None => {
            failed.hint("it carries no stamp of `restore --as`, so it stays: choose another name")
        }
    })
}

/// Gives a loaded scratch database its name and its stamp, both or neither; the stamp as it was written.
///
/// # Errors
/// `failed`: somebody has made a database of that name meanwhile, or is connected to this one.
pub async fn name(
    login: &Login,
    scratch: &Scratch,
    stamp: BesideStamp,
    keep: Duration,
) -> Outcome<BesideStamp> {
    let what = format!("name the loaded database `{}`", shown(&stamp.name));
    let session = login.maintenance().await?.with_deadline(PATIENCE);
    let since = now(&session).await?;
    let expires = since.checked_add(keep);
    let stamp = BesideStamp {
        since,
        expires: expires.judge(Verdict::Usage, "reckon when `--expires` is over")?,
        ..stamp
    };
    let comment = stamp.to_comment().judge(Verdict::Bug, "write the stamp")?;
    let (from, to) = (
        quote_identifier(&scratch.name),
        quote_identifier(&stamp.name),
    );
    let sql = format!(
        "BEGIN; COMMENT ON DATABASE {from} IS {}; ALTER DATABASE {from} RENAME TO {to}; COMMIT",
        quote_literal(&comment)
    );
    let named = patiently(&session, &sql).await;
    session.close().await;
    match named {
        Ok(()) => Ok(stamp),
        // Whatever the connection said, the catalog knows.
        Err(failed) => match is_named(login, scratch.oid, &stamp).await {
            Ok(true) => Ok(stamp),
            _ => Err(failed.context(what)),
        },
    }
}

/// Again for a while, where somebody is connected.
async fn patiently(session: &Session, transaction: &str) -> Outcome<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let failed = match session.batch(transaction).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        if session.is_closed() {
            return Err(failed);
        }
        session.batch("ROLLBACK").await?;
        if !failed.message().contains(IN_USE) || Instant::now() > until {
            return Err(failed);
        }
        sleep(PAUSE).await;
    }
}

async fn is_named(login: &Login, oid: u32, stamp: &BesideStamp) -> Outcome<bool> {
    let session = login.maintenance().await?;
    let all = listed(&session).await?;
    session.close().await;
    let found = all.iter().find(|one| one.database.oid == oid);
    Ok(found.and_then(stamp_of).as_ref() == Some(stamp))
}

/// The database that `--drop NAME` may drop: by its stamp, and by nothing else.
///
/// # Errors
/// `config`: there is none of that name, or it is not one that was loaded to be looked at beside `live`.
pub async fn droppable(session: &Session, name: &str, live: &str) -> Outcome<Beside> {
    let all = listed(session).await?;
    let Some(there) = all.iter().find(|one| one.database.name == name) else {
        return Err(no_such(name, live, &all));
    };
    let name_shown = shown(name);
    let refused = |why: String, hint: &str| {
        let what = format!("drop `{name_shown}`: {why}");
        Err(Failed::new(Verdict::Config, what).hint(hint))
    };
    let Some(stamp) = stamp_of(there) else {
        return refused(
            whose(there),
            "what carries no stamp of `restore --as` under its name is never dropped by it",
        );
    };
    if stamp.live != live {
        let why = format!(
            "it was loaded beside `{}`, not beside `{}`",
            shown(&stamp.live),
            shown(live)
        );
        return refused(why, &drop_command(name, &stamp.job));
    }
    if there.is_template {
        let why = "somebody has made it a template".to_owned();
        let sql = format!(
            "ALTER DATABASE {} IS_TEMPLATE false;",
            quote_identifier(name)
        );
        return refused(why, &format!("where nobody needs it any more: {sql}"));
    }
    if !there.whole {
        let why = "an interrupted DROP has left it".to_owned();
        return refused(
            why,
            &format!("end that: DROP DATABASE {};", quote_identifier(name)),
        );
    }
    Ok(Beside {
        database: there.database.clone(),
        stamp,
    })
}

fn whose(there: &Listed) -> String {
    let comment = there.comment.as_deref().unwrap_or_default();
    if let Some(stamp) = BesideStamp::parse(comment) {
        return format!(
            "it was renamed since, and is somebody's: its stamp says `{}`",
            shown(&stamp.name)
        );
    }
    if Stamp::parse(comment).is_some() {
        return "it is a previous database, which `backupctl undo` may need".to_owned();
    }
    if PreparedStamp::parse(comment).is_some() {
        return "it waits for `backupctl swap`".to_owned();
    }
    "it was not loaded by `restore --as`".to_owned()
}

fn no_such(name: &str, live: &str, all: &[Listed]) -> Failed {
    let ours = all.iter().filter_map(stamp_of);
    let ours: Vec<String> = ours
        .filter(|it| it.live == live)
        .map(|it| it.name)
        .collect();
    let failed = Failed::new(
        Verdict::Config,
        format!("there is no database `{}` on the server", shown(name)),
    );
    match nearest(name, ours.iter().map(String::as_str)).or(ours.first().map(String::as_str)) {
        Some(near) => failed.hint(format!("is it `{}`?", shown(near))),
        None => failed.hint(format!("nothing is loaded beside `{}`", shown(live))),
    }
}

/// Takes a database away from everybody: under the name of a scratch database of this run, to be dropped as one. That it is
/// the one that was looked at is proven with its lock held, since a name that people choose may come to mean another database.
///
/// # Errors
/// `failed`: sessions that may not be ended, or that always come back; it is another database by now.
pub async fn take_aside(session: &Session, beside: &Beside, aside: &str) -> Outcome<()> {
    nobody_stays(session, &beside.database).await?;
    session.batch("BEGIN").await?;
    let closed = close(session, beside).await;
    session
        .batch(if closed.is_ok() { "COMMIT" } else { "ROLLBACK" })
        .await?;
    closed?;
    let renamed = rename(session, &beside.database, aside).await;
    if renamed.is_err() {
        let name = quote_identifier(&beside.database.name);
        // It is still there, and whoever has not left may want to look at it; the failure is what is told.
        let _ = session
            .batch(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
            .await;
    }
    renamed
}

/// Ends the sessions until the rename goes through; nobody new comes in.
async fn rename(session: &Session, database: &Named, aside: &str) -> Outcome<()> {
    let (from, to) = (quote_identifier(&database.name), quote_identifier(aside));
    let sql = format!("ALTER DATABASE {from} RENAME TO {to}");
    let ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = $1";
    let until = Instant::now() + PATIENCE;
    loop {
        if let Err(failed) = session.query(ending, &[&database.oid]).await {
            tracing::debug!("end sessions: {}", failed.message());
        }
        match session.batch(&sql).await {
            Err(failed) if failed.message().contains(IN_USE) && Instant::now() < until => {}
            ended => return ended,
        }
        sleep(PAUSE).await;
    }
}

/// Who can't be made to leave is named before anything is done.
async fn nobody_stays(session: &Session, database: &Named) -> Outcome<()> {
    let what = format!("drop `{}`", shown(&database.name));
    let seen = swap::sessions(session, &[database.oid]).await?;
    if let Some(stays) = seen.iter().find(|seen| !seen.can_be_ended) {
        let why = format!("{what}: {stays} may not be ended by this role");
        return Err(Failed::new(Verdict::Failed, why).hint("close that session, then try again"));
    }
    let sql = "SELECT gid FROM pg_prepared_xacts WHERE database = $1::text ORDER BY 1 LIMIT 1";
    let Some(row) = session.query_opt(sql, &[&database.name]).await? else {
        return Ok(());
    };
    let gid = quote_literal(&shown(&column::<String>(&row, 0)?));
    let why = format!("{what}: prepared transaction {gid} holds it");
    let hint = format!("end it in that database: ROLLBACK PREPARED {gid};");
    Err(Failed::new(Verdict::Failed, why).hint(hint))
}

/// Nobody connects to it any more, once this is committed.
async fn close(session: &Session, beside: &Beside) -> Outcome<()> {
    let Named { name, oid } = &beside.database;
    let quoted = quote_identifier(name);
    session
        .batch(&format!("ALTER DATABASE {quoted} ALLOW_CONNECTIONS false"))
        .await?;
    let all = listed(session).await?;
    let there = all.iter().find(|one| one.database.oid == *oid);
    if there.and_then(stamp_of).as_ref() == Some(&beside.stamp) {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Failed,
        format!("`{}` is another database by now", shown(name)),
    ))
}

/// A stamp's job is what somebody has written there: nothing in it may become a command of its own.
#[must_use]
pub fn drop_command(name: &str, job: &str) -> String {
    format!(
        "`backupctl restore {} --drop {}` drops it",
        in_shell(job),
        in_shell(name)
    )
}

/// `2026-11-28 02:00 UTC`.
#[must_use]
pub fn day_and_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> BesideStamp {
        BesideStamp {
            format: 1,
            live: "erp".into(),
            name: "erp look".into(),
            run: "20261120-020000-7f3a".into(),
            job: "erp".into(),
            since: "2026-11-20T02:10:00Z".parse().expect("a timestamp"),
            expires: "2026-11-27T02:10:00Z".parse().expect("a timestamp"),
            archive: None,
            dump: None,
            tables: vec!["public.\"x".into()],
        }
    }

    #[test]
    fn a_stamp_reads_back_and_nothing_else_is_one() {
        let whole = stamp().to_comment().expect("a comment");
        assert_eq!(BesideStamp::parse(&whole), Some(stamp()));
        for text in [
            "",
            SENTENCE,
            &whole[..whole.len() - 1],
            &format!("{whole} do not drop"),
            &whole.replace("20261120-020000-7f3a", "yesterday"),
            &whole.replace("\"format\":1", "\"format\":2"),
        ] {
            assert_eq!(BesideStamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_other_stamp_is_taken_for_it() {
        let whole = stamp().to_comment().expect("a comment");
        assert!(Stamp::parse(&whole).is_none() && PreparedStamp::parse(&whole).is_none());
    }
}
