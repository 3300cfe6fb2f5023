//! Everything that would make a restore fail on this server, found before the load and named all at once, each with its remedy.
//!
//! Not answered here, because SQL can't: how much space the server's disks have left.

use std::collections::BTreeSet;

use super::connection::{Session, column, quote_identifier, quote_literal};
use super::rights;
use super::scratch::{previous_name, scratch_name};
pub use super::target::{Live, Server, Target, look};
use crate::escape::shown;
use crate::run::RunId;
use crate::verdict::{Failed, Outcome, Verdict};

/// PostgreSQL's NAMEDATALEN less one: a longer name is cut with a mere notice.
const LONGEST_NAME_BYTES: usize = 63;
/// Sessions beside pg_restore's: the lock, the watch over the load, the checks.
const OWN_SESSIONS: i64 = 3;

/// What the dump asks of the server, read from its table of contents and its statements.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Every role that is mentioned: owners, grantees, policies.
    pub roles: BTreeSet<String>,
    /// Those of them that objects will belong to.
    pub owners: BTreeSet<String>,
    pub extensions: BTreeSet<String>,
    pub languages: BTreeSet<String>,
    pub tablespaces: BTreeSet<String>,
    /// The dump's encoding: `UTF8`.
    pub encoding: Option<String>,
    /// Entries that only a superuser can create: `EVENT TRIGGER audit`.
    pub superuser_only: BTreeSet<String>,
    /// pg_restore's parallel connections.
    pub jobs: u32,
}

/// Sessions of others in the live database, which the swap would end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    pub user: String,
    pub application: String,
    pub count: i64,
}

/// What stands in the way, and what to do about it.
pub(super) struct Problem {
    what: String,
    remedy: String,
}

/// Judges whether the restore and the swap can go well.
///
/// Returns warnings: what is odd or will be skipped, but lets the run go on.
///
/// # Errors
/// `config`: all that stands in the way, the remedies as the hint.
pub async fn suits(
    session: &Session,
    target: &Target,
    needs: &Needs,
    run: &RunId,
) -> Outcome<Vec<String>> {
    let mut problems = Vec::new();
    roles(session, target, needs, &mut problems).await?;
    extensions(session, target, needs, &mut problems).await?;
    tablespaces(session, target, needs, &mut problems).await?;
    rights::membership(session, target, needs, &mut problems).await?;
    if !target.live.is_missing() {
        rights::settings(session, target, &mut problems).await?;
        replication(session, target, &mut problems).await?;
        encoding(target, needs, &mut problems);
    }
    names(target, run, &mut problems);
    connections(target, needs, &mut problems);
    if problems.is_empty() {
        warnings(session, target).await
    } else {
        Err(all_of(&problems))
    }
}

/// Who is in the live database now, the most sessions first.
///
/// # Errors
/// As the session.
pub async fn sessions(session: &Session, live: &str) -> Outcome<Vec<Sessions>> {
    let sql = "SELECT coalesce(usename::text, ''), coalesce(application_name, ''), count(*) FROM pg_stat_activity
               WHERE datname = $1::text AND pid <> pg_backend_pid() GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2";
    let rows = session.query(sql, &[&live]).await?;
    rows.iter()
        .map(|row| {
            Ok(Sessions {
                user: column(row, 0)?,
                application: column(row, 1)?,
                count: column(row, 2)?,
            })
        })
        .collect()
}

fn all_of(problems: &[Problem]) -> Failed {
    let what: Vec<&str> = problems.iter().map(|p| p.what.as_str()).collect();
    let mut remedies: Vec<&str> = Vec::new();
    for problem in problems {
        if !remedies.contains(&problem.remedy.as_str()) {
            remedies.push(&problem.remedy);
        }
    }
    Failed::new(Verdict::Config, what.join("; ")).hint(remedies.join("\n"))
}

pub(super) fn problem(problems: &mut Vec<Problem>, what: String, remedy: impl Into<String>) {
    problems.push(Problem {
        what,
        remedy: remedy.into(),
    });
}

/// The names of `wanted` that the query doesn't give.
pub(super) async fn missing(
    session: &Session,
    wanted: &BTreeSet<String>,
    sql: &str,
) -> Outcome<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query(sql, &[]).await?;
    let mut there = BTreeSet::new();
    for row in &rows {
        there.insert(column::<String>(row, 0)?);
    }
    Ok(wanted.difference(&there).cloned().collect())
}

async fn roles(
    session: &Session,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let wanted = needs.roles.union(&needs.owners).cloned().collect();
    for role in missing(session, &wanted, "SELECT rolname::text FROM pg_roles").await? {
        let remedy = if role.starts_with("pg_") {
            format!(
                "`{}` comes with a newer PostgreSQL than {}",
                shown(&role),
                target.server.version
            )
        } else {
            format!("CREATE ROLE {} NOLOGIN;", quote_identifier(&role))
        };
        problem(
            problems,
            format!("role `{}` is missing", shown(&role)),
            remedy,
        );
    }
    Ok(())
}

async fn extensions(
    session: &Session,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let available = "SELECT name::text FROM pg_available_extensions";
    for name in missing(session, &needs.extensions, available).await? {
        problem(
            problems,
            format!(
                "extension `{}` is not installed on the server",
                shown(&name)
            ),
            format!(
                "install the package with the extension `{}` for PostgreSQL {} on the server",
                shown(&name),
                target.server.version_num / 10_000
            ),
        );
    }
    let present = "SELECT lanname::text FROM pg_language UNION SELECT name::text FROM pg_available_extensions";
    for name in missing(session, &needs.languages, present).await? {
        problem(
            problems,
            format!("language `{}` is not installed on the server", shown(&name)),
            format!(
                "install the procedural language `{}` on the server",
                shown(&name)
            ),
        );
    }
    if target.server.superuser {
        return Ok(());
    }
    let untrusted = session
        .query(
            "SELECT DISTINCT a.name::text FROM pg_available_extension_versions v
             JOIN pg_available_extensions a ON a.name = v.name AND a.default_version = v.version
             WHERE v.superuser AND NOT v.trusted AND a.name <> 'plpgsql'",
            &[],
        )
        .await?;
    for row in &untrusted {
        let name: String = column(row, 0)?;
        if needs.extensions.contains(&name) {
            rights::superuser_needed(target, &format!("extension `{}`", shown(&name)), problems);
        }
    }
    for what in &needs.superuser_only {
        rights::superuser_needed(target, &format!("`{}`", shown(what)), problems);
    }
    Ok(())
}

async fn tablespaces(
    session: &Session,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let there = "SELECT spcname::text FROM pg_tablespace";
    for name in missing(session, &needs.tablespaces, there).await? {
        problem(
            problems,
            format!("tablespace `{}` is missing", shown(&name)),
            format!(
                "CREATE TABLESPACE {} LOCATION '/…';  or `tablespaces = \"default\"` in the job",
                quote_identifier(&name)
            ),
        );
    }
    let mut used = needs.tablespaces.clone();
    used.insert(target.live.tablespace.clone());
    used.remove("pg_default");
    let usable =
        "SELECT spcname::text FROM pg_tablespace WHERE has_tablespace_privilege(oid, 'CREATE')";
    for name in missing(session, &used, usable).await? {
        if needs.tablespaces.contains(&name) || name == target.live.tablespace {
            let (space, user) = (
                quote_identifier(&name),
                quote_identifier(&target.server.user),
            );
            problem(
                problems,
                format!("nothing may be created in tablespace `{}`", shown(&name)),
                format!("GRANT CREATE ON TABLESPACE {space} TO {user};"),
            );
        }
    }
    Ok(())
}

/// Logical slots and subscriptions belong to the old database and would go away with it, or keep it from being dropped.
async fn replication(
    session: &Session,
    target: &Target,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let slots = "SELECT slot_name::text FROM pg_replication_slots WHERE database = $1::text AND NOT temporary ORDER BY 1";
    for row in session.query(slots, &[&target.live.name]).await? {
        let slot: String = column(&row, 0)?;
        problem(
            problems,
            format!(
                "logical replication slot `{}` reads from the live database",
                shown(&slot)
            ),
            format!(
                "end its consumer, then: SELECT pg_drop_replication_slot({});",
                quote_literal(&slot)
            ),
        );
    }
    let subscriptions = "SELECT subname::text FROM pg_subscription WHERE subdbid = $1 ORDER BY 1";
    for row in session.query(subscriptions, &[&target.live.oid]).await? {
        let subscription: String = column(&row, 0)?;
        problem(
            problems,
            format!(
                "subscription `{}` writes into the live database",
                shown(&subscription)
            ),
            format!(
                "in the live database: DROP SUBSCRIPTION {};",
                quote_identifier(&subscription)
            ),
        );
    }
    Ok(())
}

fn encoding(target: &Target, needs: &Needs, problems: &mut Vec<Problem>) {
    let live = &target.live.encoding;
    if let Some(dump) = needs
        .encoding
        .as_ref()
        .filter(|dump| !dump.eq_ignore_ascii_case(live))
    {
        problem(
            problems,
            format!(
                "the dump's encoding is {}, the live database's {live}",
                shown(dump)
            ),
            format!(
                "dump with `pg_dump --encoding={live}`, or make the live database anew with the dump's encoding"
            ),
        );
    }
}

fn names(target: &Target, run: &RunId, problems: &mut Vec<Problem>) {
    let name = &target.live.name;
    let longest = scratch_name(name, run)
        .len()
        .max(previous_name(name, run).len());
    if longest > LONGEST_NAME_BYTES {
        let over = longest - LONGEST_NAME_BYTES;
        problem(
            problems,
            format!(
                "the name `{}` is {over} bytes too long for the previous database's name, which would have {longest} of {LONGEST_NAME_BYTES}",
                shown(name)
            ),
            format!(
                "rename the live database to one of at most {} bytes",
                name.len().saturating_sub(over)
            ),
        );
    }
}

fn connections(target: &Target, needs: &Needs, problems: &mut Vec<Problem>) {
    let wanted = i64::from(needs.jobs.max(1)) + 1 + OWN_SESSIONS;
    let free = target.server.free_connections;
    if free < wanted {
        problem(
            problems,
            format!("the server has {free} free connections, and the restore wants {wanted}"),
            format!(
                "lower `jobs`, raise max_connections, or: ALTER ROLE {} CONNECTION LIMIT -1;",
                quote_identifier(&target.server.user)
            ),
        );
    }
}

async fn warnings(session: &Session, target: &Target) -> Outcome<Vec<String>> {
    let mut warnings = Vec::new();
    let prepared = session
        .query(
            "SELECT gid FROM pg_prepared_xacts WHERE database = $1::text ORDER BY 1",
            &[&target.live.name],
        )
        .await?;
    for row in &prepared {
        let gid: String = column(row, 0)?;
        warnings.push(format!(
            "prepared transaction {} holds the live database: unless it is ended, the swap fails (COMMIT PREPARED or ROLLBACK PREPARED)",
            quote_literal(&shown(&gid)).trim()
        ));
    }
    if !target.server.superuser {
        let row = session
            .query_one("SELECT pg_has_role('pg_signal_backend', 'USAGE')", &[])
            .await?;
        if !column::<bool>(&row, 0)? {
            let user = quote_identifier(&target.server.user);
            warnings.push(format!(
                "role {user} can't end other roles' sessions at the swap: GRANT pg_signal_backend TO {user};"
            ));
        }
    }
    Ok(warnings)
}
