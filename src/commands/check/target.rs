//! The links from here into the server, and what a restore of the newest dump would find there.

use std::time::Duration;

use super::chain::Chain;
use super::here::Opened;
use super::source::Newest;
use super::{answers, noted};
use crate::commands::restore::{self, Held};
use crate::commands::space::There;
use crate::commands::{App, Job, reach};
use crate::config::{Postgres, format_bytes, format_duration};
use crate::database::connection::{Login, Session};
use crate::database::dump::{Selection, Toc};
use crate::database::preflight::{self, Needs, Target};
use crate::database::target;
use crate::database::tools::Tool;
use crate::run::RunId;
use crate::verdict::Outcome;

/// Clocks that differ by more are told, in seconds.
const MOST_SKEW: f64 = 60.0;

/// Links that need the live database.
const BEHIND: [&str; 5] = ["clock", "contents", "rights", "server", "server space"];

/// From the name of the server's host to the live database.
pub async fn enter(
    app: &App,
    chain: &mut Chain,
    database: &Postgres,
    (opened, id): (&Opened, &RunId),
) -> Option<Held> {
    let patience = app.config.network.timeout;
    let target = reach::of_database(database);
    let links = ["database dns", "database tcp"];
    if !answers(chain, &target, links, patience).await {
        chain.skip(&["database login", "live database"], "database tcp");
        return None;
    }
    if !opened.has(&database.password) {
        chain.skip(&["database login"], "secret");
        chain.skip(&["live database"], "database login");
        return None;
    }
    let login = Login {
        settings: database.clone(),
        password: opened.get(database.password.as_ref()),
        application_name: id.application_name(),
        timeout: patience,
    };
    let session = login.maintenance().await;
    let session = chain.take("database login", session, |session| {
        let version = session.version_num();
        let major = version / 10_000;
        let server = format!("{}:{}", database.host, database.port);
        format!("{} at {server}, PostgreSQL {major}", database.user)
    });
    let Some(session) = session else {
        chain.skip(&["live database"], "database login");
        return None;
    };
    let seen = preflight::look(&session, &login).await;
    let target = chain.take("live database", seen, described)?;
    Some(Held { session, target })
}

fn described(target: &Target) -> String {
    let live = &target.live;
    let size = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let state = match size {
        _ if live.is_missing() => "the first restore makes it".to_owned(),
        Some(bytes) => format_bytes(bytes),
        None => "size unknown".to_owned(),
    };
    format!("`{}` ({state}), owner {}", live.name, live.owner)
}

/// What can be judged of a database alone.
pub async fn alone(chain: &mut Chain, held: Option<&Held>, id: &RunId) {
    let Some(held) = held else {
        chain.skip(&["clock", "rights", "server"], "live database");
        return;
    };
    clock(chain, &held.session).await;
    let found = judged(held, &without_dump(1), id).await;
    rights_and_server(chain, found, &held.target);
}

/// What a restore of the newest dump would find; without one, what can be said without it.
pub async fn fit(
    chain: &mut Chain,
    job: &Job<'_>,
    (held, tools): (Option<Held>, Option<Vec<Tool>>),
    newest: Option<&Newest>,
) {
    let contents = newest.and_then(|newest| newest.contents.as_ref());
    let toc = contents.map(|contents| &contents.toc);
    versions(chain, job, (held.as_ref(), tools), toc);
    let Some(held) = held else {
        chain.skip(&BEHIND, "live database");
        return;
    };
    clock(chain, &held.session).await;
    let chosen = chosen(chain, job, &held, toc);
    let needs = chosen.as_ref().map(|(_, needs)| needs.clone());
    let needs = needs.unwrap_or_else(|| without_dump(job.restore.jobs));
    let mut found = judged(&held, &needs, &job.run.id).await;
    if let (Some(toc), Some((selection, _))) = (toc, chosen) {
        let fits = match found.as_mut() {
            Ok(found) => std::mem::replace(&mut found.contents, Ok(())),
            Err(_) => Ok(()),
        };
        let fits = match fits {
            Ok(()) if held.target.live.is_missing() => restore::unmade(&held, toc, job).await,
            other => other,
        };
        chain.take("contents", fits, |()| listed(&needs));
        let left_out = selection.left_out().warnings();
        chain.warn(&left_out.into_iter().chain(noted(job)).collect::<Vec<_>>());
    }
    rights_and_server(chain, found, &held.target);
    settings(chain, job).await;
    server_space(chain, job, &held, newest).await;
}

fn without_dump(jobs: u32) -> Needs {
    Needs {
        jobs,
        ..Needs::default()
    }
}

async fn judged(held: &Held, needs: &Needs, id: &RunId) -> Outcome<preflight::Judged> {
    preflight::judged_apart(&held.session, &held.target, needs, id).await
}

/// What of the dump goes in, and what that needs; the link where that can't be said.
fn chosen(
    chain: &mut Chain,
    job: &Job<'_>,
    held: &Held,
    toc: Option<&Toc>,
) -> Option<(Selection, Needs)> {
    let Some(toc) = toc else {
        chain.skip(&["contents"], "dump");
        return None;
    };
    match restore::selection(toc, &held.target, job) {
        Ok(selection) => {
            let needs = restore::needs(toc, &selection, job);
            Some((selection, needs))
        }
        Err(failed) => {
            chain.failed("contents", &failed);
            None
        }
    }
}

/// `2 roles, 1 extension, 0 tablespaces of the dump are there`.
fn listed(needs: &Needs) -> String {
    format!(
        "what the dump names is there (roles: {}, extensions: {}, tablespaces: {})",
        needs.roles.len(),
        needs.extensions.len(),
        needs.tablespaces.len()
    )
}

fn rights_and_server(chain: &mut Chain, found: Outcome<preflight::Judged>, target: &Target) {
    let found = match found {
        Ok(found) => found,
        Err(failed) => {
            chain.failed("rights", &failed);
            chain.skip(&["server"], "rights");
            return;
        }
    };
    let user = &target.server.user;
    chain.take("rights", found.rights, |()| {
        if target.server.superuser {
            format!("{user} is a superuser")
        } else {
            format!("{user} may create databases and stands for the owners")
        }
    });
    let version = target.server.version.split(' ').next().unwrap_or_default();
    let free = target.server.free_connections;
    let server = chain.take("server", found.server, |_| {
        format!("PostgreSQL {version}, {free} connections free")
    });
    chain.warn(&server.unwrap_or_default());
}

/// The tool for this dump and this server.
fn versions(
    chain: &mut Chain,
    job: &Job<'_>,
    (held, tools): (Option<&Held>, Option<Vec<Tool>>),
    toc: Option<&Toc>,
) {
    let needs = match (&tools, toc, held) {
        (None, _, _) => "tools",
        (_, None, _) => "dump",
        (_, _, None) => "live database",
        (Some(tools), Some(toc), Some(held)) => {
            let tool = restore::tool(tools, &held.target, toc, job);
            chain.take("pg_restore", tool, |tool| {
                format!("{} {}", tool.path.display(), tool.version)
            });
            return chain.warn(&noted(job));
        }
    };
    chain.skip(&["pg_restore"], needs);
}

async fn clock(chain: &mut Chain, session: &Session) {
    let ahead = target::clock_ahead(session).await;
    if let Some(ahead) = chain.take("clock", ahead, |ahead| in_words(*ahead)) {
        chain.warn(&skewed(ahead));
    }
}

fn in_words(ahead: f64) -> String {
    let by = Duration::try_from_secs_f64(ahead.abs()).unwrap_or_default();
    let way = if ahead < 0.0 { "behind" } else { "ahead of" };
    format!("the server's is {} {way} ours", format_duration(by))
}

/// Ages, `newer_than` and certificates go by clocks.
fn skewed(ahead: f64) -> Vec<String> {
    let told = format!("{}: let both run NTP", in_words(ahead));
    (ahead.abs() > MOST_SKEW)
        .then_some(told)
        .into_iter()
        .collect()
}

/// Whether the server takes those of `postgres.session`; nothing where there are none.
async fn settings(chain: &mut Chain, job: &Job<'_>) {
    let settings = &job.database.session;
    if settings.is_empty() {
        return;
    }
    let taken = preflight::takes_settings(&restore::login(job)).await;
    chain.take("session", taken, |()| {
        let names: Vec<&str> = settings.iter().map(|(name, _)| name.as_str()).collect();
        format!("the server takes {}", names.join(", "))
    });
}

async fn server_space(chain: &mut Chain, job: &Job<'_>, held: &Held, newest: Option<&Newest>) {
    let Some(coming) = newest.and_then(Newest::coming) else {
        return chain.skip(&["server space"], "dump");
    };
    let room = There::look(held, coming, job).await;
    let judged = room.and_then(|room| room.judge().map(|()| room));
    if let Some(room) = chain.take("server space", judged, There::at_the_peak) {
        room.warn(job);
        chain.warn(&noted(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_a_minute_are_told() {
        assert_eq!(skewed(59.0), Vec::<String>::new());
        assert_eq!(
            skewed(90.0),
            ["the server's is 1 min 30 s ahead of ours: let both run NTP"]
        );
        assert_eq!(
            skewed(-3600.0),
            ["the server's is 1 h behind ours: let both run NTP"]
        );
    }
}
