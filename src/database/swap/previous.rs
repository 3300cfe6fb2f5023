//! The databases that swaps have set aside: which they are, what they are called, and the end of the oldest.
//!
//! Ours is what carries the stamp under the name that the stamp gives. A name that merely looks like it proves nothing.

use std::time::Duration;

use jiff::Timestamp;

use crate::database::connection::{Login, Session, column, quote_identifier};
use crate::escape::shown;
use crate::run::{Run, RunId};
use crate::verdict::Outcome;

use super::stamp::Stamp;
use super::{NAME_BYTES, Named};

/// A DROP unlinks every file, and waits for a checkpoint.
pub(super) const DROP_DEADLINE: Duration = Duration::from_mins(10);
const MIDDLE: &str = "_before_";

/// A database that a swap has set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    pub name: String,
    pub oid: u32,
    /// The run that set it aside.
    pub run: String,
    pub swapped_at: Timestamp,
    /// The comment it had when it was live.
    pub original_comment: Option<String>,
    /// False: an interrupted DROP has left it; it can't be brought back.
    pub whole: bool,
}

/// What became of previous databases that nobody needs any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub dropped: Vec<String>,
    /// Name and why: a reason for `attention`.
    pub failed: Vec<(String, String)>,
    /// Looks like a previous database but is not provably ours: never dropped, to be mentioned.
    pub left_alone: Vec<String>,
}

/// `erp_before_20261120_020000_7f3a`; a long name is cut, so that the server does not cut the run's id.
#[must_use]
pub fn previous_name(live: &str, run: &RunId) -> String {
    let ending = format!("{MIDDLE}{}", run.in_database_name());
    let room = NAME_BYTES - ending.len();
    format!("{}{ending}", &live[..live.floor_char_boundary(room)])
}

/// Whether a name has the form that [`previous_name`] gives for this live database.
fn looks_like_ours(name: &str, live: &str) -> bool {
    name.rsplit_once(MIDDLE)
        .and_then(|(_, id)| RunId::parse(&id.replace('_', "-")))
        .is_some_and(|run| previous_name(live, &run) == name)
}

pub(super) const DATABASES: &str = "
SELECT datname::text, oid, shobj_description(oid, 'pg_database'), datconnlimit <> -2 FROM pg_database";

/// The previous databases of `live`, newest first.
///
/// # Errors
/// As the session.
pub async fn previous_databases(session: &Session, live: &str) -> Outcome<Vec<Previous>> {
    Ok(sorted_out(session, live).await?.0)
}

/// A previous database that no longer has the name of its stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    pub name: String,
    /// As the swap had named it.
    pub was: String,
}

/// What was a previous database of `live` until somebody renamed it.
///
/// # Errors
/// As the session.
pub async fn renamed(session: &Session, live: &str) -> Outcome<Vec<Renamed>> {
    let mut found = Vec::new();
    for row in session.query(DATABASES, &[]).await? {
        let (name, comment): (String, Option<String>) = (column(&row, 0)?, column(&row, 2)?);
        let stamp = comment.as_deref().and_then(Stamp::parse);
        if let Some(stamp) = stamp.filter(|stamp| stamp.live == live)
            && name != live
            && name != stamp.name
        {
            found.push(Renamed {
                name,
                was: stamp.name,
            });
        }
    }
    Ok(found)
}

/// Ours, newest first; and the names of those that merely look like it.
async fn sorted_out(session: &Session, live: &str) -> Outcome<(Vec<Previous>, Vec<String>)> {
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for row in session.query(DATABASES, &[]).await? {
        let (name, oid): (String, u32) = (column(&row, 0)?, column(&row, 1)?);
        let comment: Option<String> = column(&row, 2)?;
        let whole = column(&row, 3)?;
        match comment.as_deref().and_then(Stamp::parse) {
            // Brought back by hand, or of another live database whose long name is cut to the same beginning.
            Some(stamp) if name == live || stamp.live != live => {}
            Some(stamp) if stamp.name == name => ours.push(Previous {
                name,
                oid,
                run: stamp.run,
                swapped_at: stamp.swapped_at,
                original_comment: stamp.comment,
                whole,
            }),
            Some(_) => others.push(name),
            None if looks_like_ours(&name, live) => others.push(name),
            None => {}
        }
    }
    ours.sort_by(|a, b| (b.swapped_at, &b.name).cmp(&(a.swapped_at, &a.name)));
    Ok((ours, others))
}

/// Drops the previous databases of `live` beyond the newest `keep`, and what interrupted drops have left.
///
/// # Errors
/// The list can't be read. A drop that fails is in the answer instead.
pub async fn drop_old_previous(
    login: &Login,
    live: &str,
    keep: usize,
    run: &Run,
) -> Outcome<Pruned> {
    let session = login.maintenance().await?.with_deadline(DROP_DEADLINE);
    let (ours, left_alone) = sorted_out(&session, live).await?;
    for name in &left_alone {
        run.notes.warn(format!(
            "database `{}` looks like a previous database of `{}`, but carries no stamp of its own: left alone",
            shown(name),
            shown(live)
        ));
    }
    let mut pruned = Pruned {
        left_alone,
        ..Pruned::default()
    };
    for old in beyond(ours, keep) {
        let database = Named {
            name: old.name.clone(),
            oid: old.oid,
        };
        match drop_database(&session, &database, old.whole).await {
            Ok(()) => pruned.dropped.push(old.name),
            Err(failed) => pruned.failed.push((old.name, failed.message())),
        }
    }
    session.close().await;
    Ok(pruned)
}

/// Those of `ours`, newest first, that are not kept: all beyond the newest `keep`, and remains, which nobody can go back to.
#[must_use]
pub fn beyond(ours: Vec<Previous>, keep: usize) -> Vec<Previous> {
    let (whole, remains): (Vec<_>, Vec<_>) = ours.into_iter().partition(|previous| previous.whole);
    remains
        .into_iter()
        .chain(whole.into_iter().skip(keep))
        .collect()
}

/// By name, which holds the run's id and so never comes to mean another database.
pub(super) async fn drop_database(session: &Session, old: &Named, whole: bool) -> Outcome<()> {
    let name = quote_identifier(&old.name);
    if whole {
        // A template can't be dropped; the live database may have been one.
        let row = session
            .query_opt(
                "SELECT datistemplate FROM pg_database WHERE oid = $1",
                &[&old.oid],
            )
            .await?;
        if row.is_some_and(|row| column(&row, 0).unwrap_or(false)) {
            session
                .batch(&format!("ALTER DATABASE {name} WITH IS_TEMPLATE false"))
                .await?;
        }
    }
    let force = if session.version_num() >= 130_000 {
        " WITH (FORCE)"
    } else {
        ""
    };
    session
        .batch(&format!("DROP DATABASE IF EXISTS {name}{force}"))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::parse("20261120-020000-7f3a").expect("an id")
    }

    #[test]
    fn a_previous_name_keeps_the_runs_id_however_long_the_live_name_is() {
        assert_eq!(
            previous_name("erp", &run()),
            "erp_before_20261120_020000_7f3a"
        );
        let long = previous_name(&"ä".repeat(31), &run());
        assert!(long.len() <= NAME_BYTES && long.ends_with("_before_20261120_020000_7f3a"));
    }

    #[test]
    fn only_a_whole_name_looks_like_a_previous_database() {
        assert!(looks_like_ours("erp_before_20261120_020000_7f3a", "erp"));
        for name in [
            "erp",
            "erp_before_",
            "erp_before_the_flood",
            "erp_before_20261120_020000_7f3a_",
            "crm_before_20261120_020000_7f3a",
        ] {
            assert!(!looks_like_ours(name, "erp"), "{name}");
        }
    }
}
