//! What would make a restore fail, found before anything is downloaded or loaded; and what a dry run says of the database side.

use super::{Held, contents};
use crate::commands::{Job, hooks};
use crate::config::{Method, Owner, format_bytes};
use crate::database::dump::{PgVersion, Selection, Toc};
use crate::database::preflight::{self, Needs, Target};
use crate::database::scratch;
use crate::database::swap::{self, Named};
use crate::database::tools::{self, Tool};
use crate::escape::{quoted, shown};
use crate::verdict::Outcome;

/// How a dump will be restored.
#[derive(Debug)]
pub struct Suited {
    pub tool: Tool,
    pub selection: Selection,
    pub needs: Needs,
}

/// Everything that would make the restore fail, found before anything is downloaded or loaded.
pub async fn suits(held: &Held, toc: &Toc, job: &Job<'_>) -> Outcome<Suited> {
    let Held { session, target } = held;
    let selection = selection(toc, target, job)?;
    let asked = needs(toc, &selection, job);
    let found = tools::find(job.database.bin_dir.as_deref()).await?;
    let server = PgVersion::from_number(i32::try_from(target.server.version_num).unwrap_or(0));
    let version_needs = tools::Needs {
        pg_dump: toc.header.pg_dump(),
        archive_version: toc.header.archive_version,
        server,
    };
    let tool = tools::choose(&found, version_needs)?.clone();
    for warning in outdated(&tool, server) {
        job.run.notes.warn(warning);
    }
    let warnings = preflight::suits(session, target, &asked, &job.run.id).await?;
    preflight::takes_settings(&super::login(job)).await?;
    for warning in warnings.into_iter().chain(selection.left_out().warnings()) {
        job.run.notes.warn(warning);
    }
    if job.restore.method == Method::Swap {
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
    Ok(Suited {
        tool,
        selection,
        needs: asked,
    })
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

/// What of the dump goes in, and to whom it will belong.
fn selection(toc: &Toc, target: &Target, job: &Job<'_>) -> Outcome<Selection> {
    let owner = match &job.restore.contents.owner {
        Owner::Keep => None,
        Owner::Target => Some(target.live.owner.clone()),
        Owner::Role(name) => Some(name.clone()),
    };
    Selection::new(toc, &job.restore.contents, owner)
}

fn needs(toc: &Toc, selection: &Selection, job: &Job<'_>) -> Needs {
    Needs {
        creates_roles: job.restore.contents.creates_roles,
        jobs: job.restore.jobs,
        ..Needs::of(toc, selection)
    }
}

/// What a dry run says about the database side.
pub async fn plan(toc: &Toc, held: &Held, job: &Job<'_>) -> Outcome<()> {
    let Held { session, target } = held;
    let live = &target.live;
    let size = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let size = size.map_or_else(|| "size unknown".to_owned(), format_bytes);
    let version = &target.server.version;
    job.run.notes.plan(vec![
        format!(
            "database  `{}` ({size}) on {}, PostgreSQL {}",
            live.name,
            job.database.host,
            version.split(' ').next().unwrap_or(version)
        ),
        "          free space on the server: unknown, SQL can't see its disks".to_owned(),
    ]);
    // Before anything is judged: what is missing is to be seen among all the rest.
    let selection = selection(toc, target, job)?;
    let asked = needs(toc, &selection, job);
    let listed = contents::listed(held, toc, &asked, &selection, &job.restore.contents);
    job.run.notes.plan(listed.await?);
    let tool = suits(held, toc, job).await?.tool;
    let mut lines = vec![format!(
        "tool      {} {}",
        tool.path.display(),
        tool.version
    )];
    match job.restore.method {
        Method::Swap => {
            lines.push(format!(
                "scratch   {}",
                scratch::scratch_name(&live.name, &job.run.id)
            ));
            lines.push(format!(
                "previous  {} would be kept for undo",
                scratch::previous_name(&live.name, &job.run.id)
            ));
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
