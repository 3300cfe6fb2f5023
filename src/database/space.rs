//! How much room the databases of a job take on the server, and how much is free there.
//!
//! SQL can't see a server's disks. Where the server is this machine, which its own process proves, the file system is asked.

use std::fs;
use std::path::{Path, PathBuf};

use super::beside::all_beside;
use super::connection::{Session, column};
use super::swap::{prepared_databases, previous_databases};
use super::target::Target;
use crate::config::format_bytes;
use crate::durable;
use crate::verdict::{Failed, Outcome, Verdict};

/// What a new database takes where nobody may ask what template0 does.
const EMPTY_BYTES: u64 = 8 << 20;

/// Why a database is there beside the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Previous,
    /// It waits for `swap`, for this job.
    Waiting(String),
    /// This job has loaded it to be looked at.
    Look(String),
}

impl Kind {
    #[must_use]
    pub fn in_words(&self) -> &'static str {
        match self {
            Self::Previous => "previous",
            Self::Waiting(_) => "waiting for swap",
            Self::Look(_) => "to be looked at",
        }
    }
}

/// A database that belongs to the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub name: String,
    pub kind: Kind,
    /// None: the role may not ask.
    pub bytes: Option<u64>,
}

/// What is free on the server, for the file system that the scratch database will lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Free {
    Bytes(u64),
    /// Why nobody can say.
    Unknown(&'static str),
}

/// What there is before a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// 0 where it is still to be made; None: the role may not ask.
    pub live: Option<u64>,
    /// Of a database with nothing in it.
    pub empty: u64,
    /// Previous databases, newest first, then what waits for `swap`, then what is there to be looked at.
    pub beside: Vec<Beside>,
    pub free: Free,
}

/// Looks at the sizes of the live database and of all that are its own, and for free space.
///
/// # Errors
/// As the session.
pub async fn occupied(session: &Session, target: &Target) -> Outcome<Occupied> {
    let live = &target.live;
    let mut found = Vec::new();
    for previous in previous_databases(session, &live.name).await? {
        found.push((previous.name, Kind::Previous));
    }
    for waiting in prepared_databases(session, &live.name).await? {
        found.push((waiting.database.name, Kind::Waiting(waiting.stamp.job)));
    }
    for stamp in all_beside(session, &live.name).await? {
        found.push((stamp.name, Kind::Look(stamp.job)));
    }
    let mut beside = Vec::new();
    for (name, kind) in found {
        let bytes = size(session, &name).await?;
        beside.push(Beside { name, kind, bytes });
    }
    let own = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let empty = size(session, "template0").await?;
    Ok(Occupied {
        live: if live.is_missing() { Some(0) } else { own },
        empty: empty.unwrap_or(EMPTY_BYTES),
        beside,
        free: free(session, target).await,
    })
}

/// None where the role may not ask, or the database is gone.
async fn size(session: &Session, name: &str) -> Outcome<Option<u64>> {
    let sql = "SELECT CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                      THEN pg_database_size(oid) END
               FROM pg_database WHERE datname::text = $1";
    let Some(row) = session.query_opt(sql, &[&name]).await? else {
        return Ok(None);
    };
    let bytes: Option<i64> = column(&row, 0)?;
    Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
}

/// The size of the database that the session is connected to.
///
/// # Errors
/// As the session.
pub async fn own_size(session: &Session) -> Outcome<u64> {
    let sql = "SELECT pg_database_size(current_database())";
    let bytes: i64 = column(&session.query_one(sql, &[]).await?, 0)?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// The end of a load that has outgrown the budget.
///
/// # Errors
/// `failed`: more than `most`.
pub fn within(bytes: u64, most: Option<u64>) -> Outcome<()> {
    let Some(most) = most.filter(|most| bytes > *most) else {
        return Ok(());
    };
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "the loaded database takes {}, and `max_server_bytes` leaves it {}",
            format_bytes(bytes),
            format_bytes(most)
        ),
    )
    .hint("raise `max_server_bytes` of this database, or have less of it taken: `drop_previous = \"before-load\"`, a lower `keep_previous`, `restore --drop` of what is only looked at"))
}

async fn free(session: &Session, target: &Target) -> Free {
    if !is_here(session, target).await {
        return Free::Unknown("the server is not this machine, or does not show itself");
    }
    let Some(path) = place(session, target).await else {
        return Free::Unknown("where the data lies is for a member of pg_read_all_settings to see");
    };
    match durable::file_system(&path) {
        Ok(disk) if path.exists() => Free::Bytes(disk.free_bytes),
        _ => Free::Unknown("its directory can't be seen from here"),
    }
}

/// Whether the process that serves this session is one of this machine's. An address proves nothing: tunnels and containers
/// have those of this machine as well.
async fn is_here(session: &Session, target: &Target) -> bool {
    let sql = "SELECT coalesce(inet_client_port()::text, 'local'), current_database()::text";
    let Ok(row) = session.query_one(sql, &[]).await else {
        return false;
    };
    let (Ok(port), Ok(database)) = (row.try_get(0), row.try_get(1)) else {
        return false;
    };
    let (port, database): (String, String) = (port, database);
    let title = fs::read(format!("/proc/{}/cmdline", session.pid())).unwrap_or_default();
    is_title_of(
        &String::from_utf8_lossy(&title),
        (&target.server.user, &database),
        &port,
    )
}

/// `postgres: 15/main: backup postgres 127.0.0.1(40312) SELECT`, or `[local]` for a socket.
fn is_title_of(title: &str, (user, database): (&str, &str), port: &str) -> bool {
    let who = format!(" {user} {database} ");
    let Some((_, client)) = title
        .strip_prefix("postgres:")
        .and_then(|rest| rest.split_once(&who))
    else {
        return false;
    };
    let client = client.split(' ').next().unwrap_or_default();
    client == format!("[{port}]") || client.ends_with(&format!("({port})"))
}

/// Where the scratch database will lie: in live's tablespace.
async fn place(session: &Session, target: &Target) -> Option<PathBuf> {
    let sql = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname::text = $1";
    let row = session.query_one(sql, &[&target.live.tablespace]).await;
    let own: String = row.ok()?.try_get(0).ok()?;
    if !own.is_empty() {
        return Some(PathBuf::from(own));
    }
    let row = session.query_one("SHOW data_directory", &[]).await.ok()?;
    let directory: String = row.try_get(0).ok()?;
    Some(Path::new(&directory).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_its_title_and_nothing_else_is() {
        let who = ("backup", "postgres");
        for (title, port) in [
            ("postgres: backup postgres 127.0.0.1(40312) SELECT", "40312"),
            (
                "postgres: 15/main: backup postgres ::1(40312) idle\0",
                "40312",
            ),
            ("postgres: backup postgres [local] SELECT", "local"),
        ] {
            assert!(is_title_of(title, who, port), "{title}");
        }
        for (title, port) in [
            ("", "40312"),
            ("postgres: backup postgres 127.0.0.1(40313) SELECT", "40312"),
            (
                "postgres: backup postgres 127.0.0.1(140312) SELECT",
                "40312",
            ),
            ("postgres: backup other 127.0.0.1(40312) SELECT", "40312"),
            ("vi postgres: backup postgres 127.0.0.1(40312)", "40312"),
        ] {
            assert!(!is_title_of(title, who, port), "{title}");
        }
    }

    #[test]
    fn what_outgrows_its_share_has_failed() {
        assert!(within(10, None).is_ok() && within(10, Some(10)).is_ok());
        let failed = within(11, Some(10)).expect_err("too much");
        assert_eq!(failed.verdict, Verdict::Failed);
    }
}
