//! What would make a restore fail, found before anything is downloaded or loaded; and what a dry run says of the database side.

use std::collections::BTreeSet;

use super::Held;
use crate::commands::{Job, hooks};
use crate::config::{Method, format_bytes};
use crate::database::dump::{PgVersion, Toc};
use crate::database::preflight::{self, Needs};
use crate::database::scratch;
use crate::database::swap::{self, Named};
use crate::database::target;
use crate::database::tools::{self, Tool};
use crate::database::unmade;
use crate::escape::{quoted, shown};
use crate::verdict::{Failed, Outcome, Verdict};

/// Everything that would make the restore fail, found before anything is downloaded or loaded.
pub async fn suits(held: &Held, toc: &Toc, job: &Job<'_>) -> Outcome<Tool> {
    let Held { session, target } = held;
    let found = tools::find(job.database.bin_dir.as_deref()).await?;
    let server = PgVersion::from_number(i32::try_from(target.server.version_num).unwrap_or(0));
    let needs = tools::Needs {
        pg_dump: toc.header.pg_dump(),
        archive_version: toc.header.archive_version,
        server,
    };
    let tool = tools::choose(&found, needs)?.clone();
    for warning in outdated(&tool, server) {
        job.run.notes.warn(warning);
    }
    let warnings = preflight::suits(session, target, &self::needs(toc, job), &job.run.id).await?;
    for warning in warnings {
        job.run.notes.warn(warning);
    }
    if target.live.is_missing() {
        unmade(held, toc, job).await?;
    } else if job.restore.method == Method::Swap {
        let live = Named {
            name: target.live.name.clone(),
            oid: target.live.oid,
        };
        swap::obstacles(session, &live).await?;
    }
    if toc.has_subscriptions() {
        let names: Vec<_> = toc
            .of_kind("SUBSCRIPTION")
            .map(|entry| quoted(&entry.tag))
            .collect();
        job.run.notes.warn(format!(
            "subscriptions are left out of the restore: {}",
            names.join(", ")
        ));
    }
    if toc.has_no_rows() {
        let told =
            "the dump has tables but no rows of any: was it made with `pg_dump --schema-only`?";
        job.run.notes.warn(told);
    }
    hooks::judge(job)?;
    Ok(tool)
}

/// A live database that is still to be made: by a scratch database that gets its name.
async fn unmade(held: &Held, toc: &Toc, job: &Job<'_>) -> Outcome<()> {
    let Held { session, target } = held;
    if job.restore.method == Method::InPlace {
        return Err(Failed::new(
            Verdict::Config,
            format!("there is no database `{}` to restore over", shown(&target.live.name)),
        )
        .hint("`create = true` needs `method = \"swap\"`: what is not there yet must not become half a database"));
    }
    let live = unmade::shaped(target, toc).live;
    job.run.notes.warn(unmade::in_words(&live, toc));
    let alike = target::alike(session, &live.name).await;
    if !alike.is_empty() {
        job.run.notes.warn(format!(
            "there is {} on the server: is `name` of this database mistyped?",
            alike[..alike.len().min(3)].join(", ")
        ));
    }
    Ok(())
}

/// One warning where both are the same release, as they are with a distribution's packages.
fn outdated(tool: &Tool, server: PgVersion) -> Vec<String> {
    if tool.version == server {
        return tools::outdated("pg_restore and server", server)
            .into_iter()
            .collect();
    }
    let both = [
        tools::outdated("pg_restore", tool.version),
        tools::outdated("server", server),
    ];
    both.into_iter().flatten().collect()
}

fn needs(toc: &Toc, job: &Job<'_>) -> Needs {
    Needs {
        roles: toc.roles.clone(),
        owners: toc.owners.clone(),
        extensions: toc.extensions.clone(),
        languages: toc.languages.clone(),
        tablespaces: toc.tablespaces.clone(),
        encoding: toc.encoding.clone(),
        superuser_only: superuser_only(toc),
        jobs: job.restore.jobs,
    }
}

/// Entries that only a superuser may create.
fn superuser_only(toc: &Toc) -> BTreeSet<String> {
    let kinds = ["EVENT TRIGGER", "FOREIGN DATA WRAPPER"];
    let entries = toc
        .entries
        .iter()
        .filter(|entry| kinds.contains(&&*entry.kind));
    entries
        .map(|entry| format!("{} {}", entry.kind, entry.tag))
        .collect()
}

/// What a dry run says about the database side.
pub async fn plan(toc: &Toc, held: &Held, job: &Job<'_>) -> Outcome<()> {
    let tool = suits(held, toc, job).await?;
    let Held { session, target } = held;
    let live = &target.live;
    let size = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let size = size.map_or_else(|| "size unknown".to_owned(), format_bytes);
    let version = &target.server.version;
    let state = if live.is_missing() {
        "would be made".to_owned()
    } else {
        size
    };
    let mut lines = vec![
        format!(
            "database  `{}` ({state}) on {}, PostgreSQL {}",
            live.name,
            job.database.host,
            version.split(' ').next().unwrap_or(version)
        ),
        "          free space on the server: unknown, SQL can't see its disks".to_owned(),
        format!("tool      {} {}", tool.path.display(), tool.version),
        format!("roles     {}", all_there(&toc.roles)),
        format!("needs     extensions: {}", all_there(&toc.extensions)),
    ];
    match job.restore.method {
        Method::Swap => {
            lines.push(format!(
                "scratch   {}",
                scratch::scratch_name(&live.name, &job.run.id)
            ));
            let previous = scratch::previous_name(&live.name, &job.run.id);
            lines.push(if live.is_missing() {
                "previous  none: there would be nothing to undo to".to_owned()
            } else {
                format!("previous  {previous} would be kept for undo")
            });
        }
        Method::InPlace => lines.push(
            "method    in one transaction over the live database; there is no undo".to_owned(),
        ),
    }
    lines.push(sessions_in_words(
        &preflight::sessions(session, &live.name).await?,
    ));
    job.run.notes.plan(lines);
    Ok(())
}

/// Missing ones have ended the plan before.
fn all_there(names: &BTreeSet<String>) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "none needed".to_owned();
    }
    let listed: Vec<String> = names.iter().take(SHOWN).map(|name| shown(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}: all there", listed.join(", "))
}

/// Who would have to leave at the swap.
pub fn sessions_in_words(sessions: &[preflight::Sessions]) -> String {
    if sessions.is_empty() {
        return "sessions  none in the live database now".to_owned();
    }
    let all: i64 = sessions.iter().map(|s| s.count).sum();
    let who: Vec<String> = sessions
        .iter()
        .take(5)
        .map(|s| {
            format!(
                "{} of {} ({})",
                s.count,
                shown(&s.user),
                shown(&s.application)
            )
        })
        .collect();
    format!(
        "sessions  {all} in the live database now: {}",
        who.join(", ")
    )
}
