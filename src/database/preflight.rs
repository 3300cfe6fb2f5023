//! Everything that would make a restore fail on this server, found before the load and named all at once, each with its remedy.
//!
//! Not answered here, because SQL can't: how much space the server's disks have left.

mod contents;
mod inventory;
mod needs;

use std::collections::BTreeSet;

pub use self::inventory::{Inventory, Offered};
pub use self::needs::{Needs, Thing};
use super::connection::{Login, Session, column, connect_with, quote_identifier, quote_literal};
use super::rights;
use super::scratch::scratch_name;
use super::swap::{Named, attached};
pub use super::target::{Live, Server, Target, look};
use crate::escape::shown;
use crate::run::RunId;
use crate::verdict::{Failed, Outcome, Verdict};

/// PostgreSQL's NAMEDATALEN less one: a longer name is cut with a mere notice.
const LONGEST_NAME_BYTES: usize = 63;
/// Sessions beside pg_restore's: the lock, the watch over the load, the checks.
const OWN_SESSIONS: i64 = 3;

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
    let apart = Apart::look(session, target, needs, run).await?;
    let Apart {
        mut contents,
        rights,
        server,
    } = apart;
    contents.extend(rights);
    contents.extend(server);
    none_of(&contents)?;
    if needs.beside {
        return Ok(Vec::new());
    }
    warnings(session, target).await
}

/// What stands in the way, by whose it is.
struct Apart {
    /// Roles, extensions, tablespaces that the dump names.
    contents: Vec<Problem>,
    /// Of the role that restores.
    rights: Vec<Problem>,
    /// The server and its live database.
    server: Vec<Problem>,
}

/// What [`suits`] judges, told apart. Warnings come with the last.
#[derive(Debug)]
pub struct Judged {
    /// Roles, extensions and tablespaces that the dump names.
    pub contents: Outcome<()>,
    pub rights: Outcome<()>,
    pub server: Outcome<Vec<String>>,
}

/// As [`suits`], each kind of problem by itself.
///
/// # Errors
/// As the session.
pub async fn judged_apart(
    session: &Session,
    target: &Target,
    needs: &Needs,
    run: &RunId,
) -> Outcome<Judged> {
    let apart = Apart::look(session, target, needs, run).await?;
    let server = match none_of(&apart.server) {
        Ok(()) => warnings(session, target).await,
        Err(failed) => Err(failed),
    };
    Ok(Judged {
        contents: none_of(&apart.contents),
        rights: none_of(&apart.rights),
        server,
    })
}

impl Apart {
    async fn look(session: &Session, target: &Target, needs: &Needs, run: &RunId) -> Outcome<Self> {
        let (mut contents, mut rights, mut server) = (Vec::new(), Vec::new(), Vec::new());
        let found = Inventory::of(session, target, needs).await?;
        contents::roles(&found, target, needs, &mut contents);
        contents::extensions(session, &found, target, needs, &mut contents).await?;
        contents::tablespaces(session, &found, target, needs, &mut contents).await?;
        rights::membership(session, &found, target, needs, &mut rights).await?;
        if !target.live.is_missing() {
            if !needs.beside {
                rights::settings(session, target, &mut rights).await?;
                replication(session, target, &mut server).await?;
            }
            encoding(target, needs, &mut server);
        }
        names(target, run, &mut server);
        connections(target, needs, &mut server);
        Ok(Self {
            contents,
            rights,
            server,
        })
    }
}

fn none_of(problems: &[Problem]) -> Outcome<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(all_of(problems))
}

/// Whether the server takes the settings that the configuration has for the sessions that load and analyze.
///
/// # Errors
/// `config`: it does not, in its own words; else as connecting.
pub async fn takes_settings(login: &Login) -> Outcome<()> {
    if login.settings.session.is_empty() {
        return Ok(());
    }
    let database = &login.settings.maintenance_database;
    match connect_with(login, database, &login.options(false)).await {
        Ok(session) => {
            session.close().await;
            Ok(())
        }
        Err(failed) if failed.verdict == Verdict::Network => Err(failed),
        Err(failed) => {
            let setting = format!("databases.{}.postgres.session", login.settings.key);
            let refused = Failed {
                verdict: Verdict::Config,
                hint: None,
                ..failed
            };
            Err(refused
                .hint(format!(
                    "correct `{setting}`, or ask the server's administrator for the right to set it"
                ))
                .context(format!("begin a session with the settings of `{setting}`")))
        }
    }
}

/// Remedies in the order of the problems, each once; the second lines of some, which begin with "or", come last.
fn all_of(problems: &[Problem]) -> Failed {
    let what: Vec<&str> = problems.iter().map(|p| p.what.as_str()).collect();
    let (mut remedies, mut alternatives): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in problems.iter().flat_map(|problem| problem.remedy.lines()) {
        let lines = if line.starts_with("or ") {
            &mut alternatives
        } else {
            &mut remedies
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    remedies.extend(alternatives);
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

/// Logical slots and subscriptions belong to the old database and would go away with it, or keep it from being dropped.
async fn replication(
    session: &Session,
    target: &Target,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let live = Named {
        name: target.live.name.clone(),
        oid: target.live.oid,
    };
    let attached = attached(session, &live).await?;
    for slot in &attached.slots {
        problem(
            problems,
            format!(
                "logical replication slot `{}` reads from the live database",
                shown(slot)
            ),
            format!(
                "end its consumer, then: SELECT pg_drop_replication_slot({});",
                quote_literal(slot)
            ),
        );
    }
    for subscription in &attached.subscriptions {
        problem(
            problems,
            format!(
                "subscription `{}` writes into the live database",
                shown(subscription)
            ),
            format!(
                "in the live database: DROP SUBSCRIPTION {};",
                quote_identifier(subscription)
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
    // The previous database's name is cut where it has no room; the scratch database's is looked for whole.
    let longest = scratch_name(name, run).len();
    if longest > LONGEST_NAME_BYTES {
        let over = longest - LONGEST_NAME_BYTES;
        problem(
            problems,
            format!(
                "the name `{}` is {over} bytes too long for the scratch database's name, which would have {longest} of {LONGEST_NAME_BYTES}",
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
