//! Scratch databases that wait to go live: loaded, checked, and stamped in their comment, by which alone they are known as ours.
//!
//! The stamp says what the restore saw, so that `swap` can tell whether the live database is still the one it was made to replace.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::database::connection::{Login, Session, column};
use crate::database::scratch::scratch_name;
use crate::report::{ArchiveFacts, DumpFacts};
use crate::run::RunId;
use crate::verdict::{Judge, Outcome, Verdict};

use super::carry::comment_on;
use super::previous::{DATABASES, DROP_DEADLINE, Pruned, drop_database};
use super::{Named, stamp};

const SENTENCE: &str =
    "Prepared by backupctl: a restored and checked database that waits for `backupctl swap`. ";

/// What the stamp says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedStamp {
    pub format: u32,
    /// The database that it is to replace, by name and by OID.
    pub live: String,
    pub live_oid: u32,
    /// The name it was given; a database with another name was renamed by somebody, and is theirs.
    pub name: String,
    pub run: String,
    pub job: String,
    /// By the server's clock, once it is on the server.
    pub since: Timestamp,
    pub archive: Option<ArchiveFacts>,
    pub dump: Option<DumpFacts>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    backupctl_prepared: PreparedStamp,
}

impl PreparedStamp {
    /// The whole comment.
    ///
    /// # Errors
    /// Never in practice: text, numbers and timestamps can always be written as JSON.
    pub fn to_comment(&self) -> serde_json::Result<String> {
        let wrapped = Wrapped {
            backupctl_prepared: self.clone(),
        };
        Ok(format!("{SENTENCE}{}", serde_json::to_string(&wrapped)?))
    }

    /// The stamp in a comment; None where it is not wholly one: then the database is not ours.
    #[must_use]
    pub fn parse(comment: &str) -> Option<Self> {
        let json = comment.strip_prefix(SENTENCE)?;
        let Wrapped {
            backupctl_prepared: stamp,
        } = serde_json::from_str(json).ok()?;
        (stamp.format == 1 && RunId::parse(&stamp.run).is_some()).then_some(stamp)
    }
}

/// A scratch database that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub database: Named,
    pub stamp: PreparedStamp,
    /// False: an interrupted DROP has left it.
    pub whole: bool,
}

/// Stamps a scratch database: from this statement on it is kept, whatever becomes of the run.
///
/// # Errors
/// As the session.
pub async fn prepare(session: &Session, stamp: &PreparedStamp) -> Outcome<()> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    let now = column(&session.query_one(sql, &[]).await?, 0)?;
    let since =
        Timestamp::from_millisecond(now).judge(Verdict::Failed, "read the server's clock")?;
    let stamp = PreparedStamp {
        since,
        ..stamp.clone()
    };
    let comment = stamp.to_comment().judge(Verdict::Bug, "write the stamp")?;
    session
        .batch(&comment_on(&stamp.name, Some(&comment)))
        .await
}

/// Everything that waits to replace `live`, newest first.
///
/// # Errors
/// As the session.
pub async fn prepared_databases(session: &Session, live: &str) -> Outcome<Vec<Prepared>> {
    let mut found = Vec::new();
    for row in session.query(DATABASES, &[]).await? {
        let (name, comment): (String, Option<String>) = (column(&row, 0)?, column(&row, 2)?);
        let stamp = comment.as_deref().and_then(PreparedStamp::parse);
        if let Some(stamp) = stamp.filter(|stamp| stamp.live == live && stamp.name == name) {
            let oid = column(&row, 1)?;
            found.push(Prepared {
                database: Named { name, oid },
                stamp,
                whole: column(&row, 3)?,
            });
        }
    }
    found.sort_by(|a, b| (b.stamp.since, &b.stamp.name).cmp(&(a.stamp.since, &a.stamp.name)));
    Ok(found)
}

/// Databases with a scratch database's name for `live` and no stamp that speaks of it, with the run that the name speaks of: the
/// caller knows whether a journal lists them. Nothing else may be dropped.
///
/// # Errors
/// As the session.
pub async fn unstamped_scratch(session: &Session, live: &str) -> Outcome<Vec<(String, RunId)>> {
    let mut found = Vec::new();
    for row in session.query(DATABASES, &[]).await? {
        let (name, comment): (String, Option<String>) = (column(&row, 0)?, column(&row, 2)?);
        let stamp = comment.as_deref().and_then(PreparedStamp::parse);
        let is_known = stamp.is_some_and(|stamp| stamp.name == name);
        let id = name
            .strip_prefix(live)
            .and_then(|rest| rest.strip_prefix("_new_"));
        let run = id.and_then(|id| RunId::parse(&id.replace('_', "-")));
        if let Some(run) = run.filter(|run| !is_known && scratch_name(live, run) == name) {
            found.push((name, run));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a scratch database carries its stamp, so that nobody may drop it as a leftover.
///
/// # Errors
/// As the session.
pub async fn is_prepared(session: &Session, name: &str) -> Outcome<bool> {
    let sql =
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname::text = $1";
    let Some(row) = session.query_opt(sql, &[&name]).await? else {
        return Ok(false);
    };
    let comment: Option<String> = column(&row, 0)?;
    let stamp = comment.as_deref().and_then(PreparedStamp::parse);
    Ok(stamp.is_some_and(|stamp| stamp.name == name))
}

/// Drops what `job` has prepared for `live`, but for `kept`.
///
/// # Errors
/// The list can't be read. A drop that fails is in the answer instead.
pub async fn drop_prepared(
    login: &Login,
    live: &str,
    job: &str,
    kept: Option<&str>,
) -> Outcome<Pruned> {
    let session = login.maintenance().await?.with_deadline(DROP_DEADLINE);
    let mut pruned = Pruned::default();
    for old in prepared_databases(&session, live).await? {
        if old.stamp.job != job || kept == Some(old.stamp.name.as_str()) {
            continue;
        }
        match drop_database(&session, &old.database, old.whole).await {
            Ok(()) => pruned.dropped.push(old.stamp.name),
            Err(failed) => pruned.failed.push((old.stamp.name, failed.message())),
        }
    }
    session.close().await;
    Ok(pruned)
}

/// Who has replaced the database that a restore was prepared against; None where nothing tells.
///
/// # Errors
/// As the session.
pub async fn replaced_by(session: &Session, live_oid: u32) -> Outcome<Option<stamp::Stamp>> {
    let sql = "SELECT shobj_description($1::oid, 'pg_database')";
    let comment: Option<String> = column(&session.query_one(sql, &[&live_oid]).await?, 0)?;
    Ok(comment.as_deref().and_then(stamp::Stamp::parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> PreparedStamp {
        PreparedStamp {
            format: 1,
            live: "erp".into(),
            live_oid: 16_384,
            name: "erp_new_20261120_020000_7f3a".into(),
            run: "20261120-020000-7f3a".into(),
            job: "erp".into(),
            since: "2026-11-20T02:10:00Z".parse().expect("a timestamp"),
            archive: Some(ArchiveFacts {
                name: "erp \"2026\".zip".into(),
                bytes: 7,
                modified: None,
                dated: None,
                sha256: None,
            }),
            dump: None,
        }
    }

    #[test]
    fn a_stamp_reads_back_and_nothing_else_is_one() {
        let whole = stamp().to_comment().expect("a comment");
        assert_eq!(PreparedStamp::parse(&whole), Some(stamp()));
        for text in [
            "",
            SENTENCE,
            &whole[..whole.len() - 1],
            &format!("{whole} do not drop"),
            &whole.replace("20261120-020000-7f3a", "yesterday"),
            &whole.replace("\"format\":1", "\"format\":2"),
            "scratch database of backupctl, run 20261120-020000-7f3a",
        ] {
            assert_eq!(PreparedStamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_stamp_is_no_comment_of_the_databases_own() {
        let whole = stamp().to_comment().expect("a comment");
        assert_eq!(stamp::original(Some(&whole)), None);
    }
}
