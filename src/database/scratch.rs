//! The scratch database: made like the live one, seen by nobody, and gone without a trace when it is not wanted.
//!
//! A CREATE DATABASE outlives the client that asked for it. So before one is dropped, whoever may still be making it is ended.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::connection::{Login, Session, column, connect, quote_identifier, quote_literal};
use super::target::{Live, Target};
use crate::escape::shown;
use crate::journal::Created;
use crate::run::{Run, RunId};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// For CREATE DATABASE, which waits for a checkpoint before PostgreSQL 15.
const CREATE_DEADLINE: Duration = Duration::from_mins(10);
/// For DROP DATABASE, with all its attempts.
const DROP_DEADLINE: Duration = Duration::from_mins(2);
/// For a backend that was told to end.
const END_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A database that holds the restored data and is not live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch {
    pub name: String,
    pub oid: u32,
}

/// Where the schema `public` of the scratch database comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicSchema {
    /// From template0, as with every new database.
    Template,
    /// The dump creates it itself, or had none: the empty one is dropped first.
    Dump,
}

/// `erp_new_20261120_020000_7f3a`.
#[must_use]
pub fn scratch_name(live: &str, run: &RunId) -> String {
    format!("{live}_new_{}", run.in_database_name())
}

/// Makes the scratch database, with live's owner, encoding, locale and tablespace, and connects to it once.
///
/// It is in the run's journal before it exists. On an error the caller drops it, as it does after any later one.
///
/// # Errors
/// `refused`: pg_hba.conf doesn't know its name; `local`: the journal; else as the server says.
pub async fn create(
    login: &Login,
    target: &Target,
    run: &Run,
    public: PublicSchema,
) -> Outcome<Scratch> {
    let name = scratch_name(&target.live.name, &run.id);
    let entry = journalled(login, &name);
    run.journal
        .will_create(entry)
        .judge(Verdict::Local, "write the journal")
        .hint("free space in `state_dir`, or mend its permissions")?;
    let what = format!("create the scratch database `{}`", shown(&name));
    build(login, target, &name, run).await.context(&what)?;
    let session = connect(login, &name).await.context(&what)?;
    if public == PublicSchema::Dump {
        session
            .batch("DROP SCHEMA IF EXISTS public RESTRICT")
            .await
            .context(&what)?;
    }
    let row = session
        .query_one(
            "SELECT oid FROM pg_database WHERE datname = current_database()",
            &[],
        )
        .await?;
    let oid = column(&row, 0)?;
    session.close().await;
    Ok(Scratch { name, oid })
}

async fn build(login: &Login, target: &Target, name: &str, run: &Run) -> Outcome<()> {
    let session = login.maintenance().await?.with_deadline(CREATE_DEADLINE);
    session
        .batch(&create_statement(
            name,
            &target.live,
            target.server.version_num,
        ))
        .await?;
    let quoted = quote_identifier(name);
    // Until the swap gives it live's privileges, nobody reads unchecked data.
    session
        .batch(&format!("REVOKE ALL ON DATABASE {quoted} FROM PUBLIC"))
        .await?;
    let stamp = quote_literal(&format!("scratch database of backupctl, run {}", run.id));
    session
        .batch(&format!("COMMENT ON DATABASE {quoted} IS {stamp}"))
        .await?;
    session.close().await;
    Ok(())
}

fn create_statement(name: &str, live: &Live, version_num: u32) -> String {
    let mut sql = format!(
        "CREATE DATABASE {} WITH TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quote_identifier(name),
        quote_identifier(&live.owner),
        quote_literal(&live.encoding),
        quote_literal(&live.collate),
        quote_literal(&live.ctype),
    );
    if version_num >= 150_000 {
        sql.push_str(&locale_clause(live));
    }
    // Naming the default one would ask for a right that nobody has on it.
    if live.tablespace != "pg_default" {
        sql.push_str(" TABLESPACE ");
        sql.push_str(&quote_identifier(&live.tablespace));
    }
    sql
}

fn locale_clause(live: &Live) -> String {
    let locale = live.locale.as_deref().map(quote_literal);
    let rules = live.icu_rules.as_deref().map(quote_literal);
    match (live.locale_provider, locale) {
        ('i', Some(locale)) => {
            let rules = rules.map_or_else(String::new, |rules| format!(" ICU_RULES {rules}"));
            format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}{rules}")
        }
        ('b', Some(locale)) => format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"),
        _ => " LOCALE_PROVIDER libc".to_owned(),
    }
}

fn journalled(login: &Login, name: &str) -> Created {
    Created::Scratch {
        database: login.settings.key.clone(),
        name: name.to_owned(),
    }
}

/// Drops this run's own scratch database and takes it out of the journal.
///
/// # Errors
/// It is still there: `failed`, or as the server or the way to it says. Then it stays in the journal.
pub async fn drop_scratch(login: &Login, name: &str, run: &Run) -> Outcome<()> {
    let session = login.maintenance().await?.with_deadline(DROP_DEADLINE);
    end_those_at(&session, &run.id, Some(name)).await?;
    drop_database(&session, name, &run.id).await?;
    session.close().await;
    run.journal
        .forget(&journalled(login, name))
        .judge(Verdict::Local, "write the journal")
}

/// Drops the scratch database that the dead run `dead` has left; its backends were ended first ([`end_backends`]).
///
/// # Errors
/// As [`drop_scratch`].
pub async fn drop_left_behind(login: &Login, name: &str, dead: &RunId) -> Outcome<()> {
    let session = login.maintenance().await?.with_deadline(DROP_DEADLINE);
    end_backends(&session, dead).await?;
    drop_database(&session, name, dead).await?;
    session.close().await;
    Ok(())
}

async fn drop_database(session: &Session, name: &str, run: &RunId) -> Outcome<()> {
    let what = format!("drop the scratch database `{}`", shown(name));
    if !name.ends_with(&format!("_new_{}", run.in_database_name())) {
        return Err(Failed::new(
            Verdict::Bug,
            format!("the name is none that run {run} gives"),
        )
        .context(what));
    }
    let until = Instant::now() + DROP_DEADLINE;
    let sql = format!(
        "DROP DATABASE IF EXISTS {} WITH (FORCE)",
        quote_identifier(name)
    );
    loop {
        match session.batch(&sql).await {
            Ok(()) => return Ok(()),
            Err(failed) if session.is_closed() || Instant::now() > until || !is_in_use(&failed) => {
                return Err(failed.context(what));
            }
            Err(failed) => tracing::debug!("{what}: {}", failed.message()),
        }
        sleep(POLL * 5).await;
    }
}

/// Somebody came between the end of the sessions and the drop.
fn is_in_use(failed: &Failed) -> bool {
    failed.message().contains("(SQLSTATE 55006)")
}

/// Ends all backends of a run that is dead, wherever they are connected, and waits until they are gone.
///
/// Not for the own run: its own session, and its lock, would be among them.
///
/// # Errors
/// `failed`: one is still there at the deadline; it is named.
pub async fn end_backends(session: &Session, dead: &RunId) -> Outcome<u64> {
    end_those_at(session, dead, None).await
}

/// Ends the backends of a run that is alive, as far as they are connected to `database`: not the one that holds its lock.
///
/// # Errors
/// As [`end_backends`].
pub async fn end_backends_in(session: &Session, run: &RunId, database: &str) -> Outcome<u64> {
    end_those_at(session, run, Some(database)).await
}

/// Those of `run` that are connected to the database `only` or are at work on it; without `only`, all of `run`.
async fn end_those_at(session: &Session, run: &RunId, only: Option<&str>) -> Outcome<u64> {
    let sql = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = $1 AND pid <> pg_backend_pid()
                 AND ($2::text IS NULL OR datname = $2 OR (state = 'active' AND position($2 in query) > 0))";
    let application = run.application_name();
    let until = Instant::now() + END_DEADLINE;
    let mut most = 0;
    loop {
        let rows = session.query(sql, &[&application, &only]).await?;
        let Some(row) = rows.first() else {
            return Ok(most);
        };
        most = most.max(rows.len() as u64);
        if Instant::now() > until {
            let pid: i32 = column(row, 0)?;
            return Err(Failed::new(
                Verdict::Failed,
                format!("backend {pid} of run {run} does not end"),
            )
            .hint(format!(
                "look at it on the server: select * from pg_stat_activity where pid = {pid};"
            )));
        }
        sleep(POLL).await;
    }
}

/// Makes this session the only one of any machine that restores into `live`, for as long as it lives.
///
/// The lock is in the maintenance database, so everybody must use the same one.
///
/// # Errors
/// `locked`: somebody else holds it, and is named.
pub async fn hold_database(session: &Session, live: &str) -> Outcome<()> {
    let key = lock_key(live);
    let row = session
        .query_one("SELECT pg_try_advisory_lock($1)", &[&key])
        .await?;
    if column::<bool>(&row, 0)? {
        return Ok(());
    }
    let holder = session
        .query_opt(
            "SELECT l.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'its own machine')
             FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.classid::int8 = ($1::int8 >> 32) & 4294967295 AND l.objid::int8 = $1 & 4294967295
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            &[&key],
        )
        .await?;
    let by = match holder {
        Some(row) => format!(
            ": backend {} of `{}`, from {}",
            column::<i32>(&row, 0)?,
            shown(&column::<String>(&row, 1)?),
            column::<String>(&row, 2)?
        ),
        None => String::new(),
    };
    Err(Failed::new(
        Verdict::Locked,
        format!("another restore into `{}` is active{by}", shown(live)),
    )
    .hint("wait until it has ended"))
}

/// Gives back what [`hold_database`] took, for who only wanted to know whether it is free.
///
/// # Errors
/// As the session.
pub async fn let_go(session: &Session, live: &str) -> Outcome<()> {
    let sql = "SELECT pg_advisory_unlock($1)";
    session.query_one(sql, &[&lock_key(live)]).await?;
    Ok(())
}

/// The same for everybody who restores into a database of this name.
fn lock_key(live: &str) -> i64 {
    let hash = Sha256::digest(format!("backupctl restores into {live}"));
    let mut key = [0; 8];
    key.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live {
            oid: 1,
            name: "erp".into(),
            owner: "own\"er".into(),
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            locale_provider: 'c',
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".into(),
            acl: None,
            size_bytes: None,
            connection_limit: -1,
            is_template: false,
            allows_connections: true,
        }
    }

    #[test]
    fn the_statement_suits_the_servers_version() {
        let plain = "CREATE DATABASE \"s\" WITH TEMPLATE template0 OWNER \"own\"\"er\" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'";
        assert_eq!(create_statement("s", &live(), 140_000), plain);
        assert_eq!(
            create_statement("s", &live(), 150_000),
            format!("{plain} LOCALE_PROVIDER libc")
        );
        let icu = Live {
            locale_provider: 'i',
            locale: Some("de".into()),
            icu_rules: Some("&a < b".into()),
            tablespace: "fast".into(),
            ..live()
        };
        assert_eq!(
            create_statement("s", &icu, 160_000),
            format!(
                "{plain} LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < b' TABLESPACE \"fast\""
            )
        );
        let builtin = Live {
            locale_provider: 'b',
            locale: Some("C.UTF-8".into()),
            ..live()
        };
        assert_eq!(
            create_statement("s", &builtin, 170_000),
            format!("{plain} LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")
        );
    }

    #[test]
    fn names_carry_the_runs_id() {
        let run = RunId::parse("20261120-020000-7f3a").expect("an id");
        assert_eq!(scratch_name("erp", &run), "erp_new_20261120_020000_7f3a");
    }
}
