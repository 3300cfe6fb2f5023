//! What would make a restore fail, found before anything is downloaded or loaded; and what a dry run says of the database side.

use std::collections::BTreeMap;

use super::{Held, contents};
use crate::commands::space::{Coming, There};
use crate::commands::{Job, hooks, previous};
use crate::config::{Check, GoLive, Method, format_bytes};
use crate::database::connection::Session;
use crate::database::dump::{PgVersion, Selection, Toc};
use crate::database::preflight::{self, Live, Needs, Target};
use crate::database::scratch;
use crate::database::swap::{self, Seen};
use crate::database::target;
use crate::database::tools::{self, Tool};
use crate::database::unmade;
use crate::escape::{quoted, shown};
use crate::verdict::{Failed, Outcome, Verdict};

/// How a dump will be restored.
#[derive(Debug)]
pub struct Suited {
    pub tool: Tool,
    pub selection: Selection,
    pub needs: Needs,
    /// On the server.
    pub room: There,
}

/// Everything that would make the restore fail, found before anything is downloaded or loaded.
pub async fn suits(held: &Held, toc: &Toc, coming: Coming, job: &Job<'_>) -> Outcome<Suited> {
    let selection = selection(toc, &held.target, job)?;
    let asked = needs(toc, &selection, job);
    let suited = loadable(held, toc, (selection, asked, coming), job).await?;
    if held.target.live.is_missing() {
        unmade(held, toc, job).await?;
    }
    hooks::judge(job)?;
    Ok(suited)
}

/// As [`suits`], for what will not take the live database's place.
pub async fn loadable(
    held: &Held,
    toc: &Toc,
    (selection, asked, coming): (Selection, Needs, Coming),
    job: &Job<'_>,
) -> Outcome<Suited> {
    let Held { session, target } = held;
    let found = tools::find(job.database.bin_dir.as_deref()).await?;
    let tool = tool(&found, target, toc, job)?;
    let warnings = preflight::suits(session, target, &asked, &job.run.id).await?;
    preflight::takes_settings(&super::login(job)).await?;
    for warning in warnings.into_iter().chain(selection.left_out().warnings()) {
        job.run.notes.warn(warning);
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
    let mut room = There::look(held, coming, job).await?;
    if asked.beside {
        room = room.beside_live();
    }
    room.judge()?;
    Ok(Suited {
        tool,
        selection,
        needs: asked,
        room,
    })
}

/// The `pg_restore` for this dump and this server.
pub fn tool(found: &[Tool], target: &Target, toc: &Toc, job: &Job<'_>) -> Outcome<Tool> {
    let server = PgVersion::from_number(i32::try_from(target.server.version_num).unwrap_or(0));
    let needs = tools::Needs {
        pg_dump: toc.header.pg_dump(),
        archive_version: toc.header.archive_version,
        server,
    };
    let tool = tools::choose(found, needs)?.clone();
    for warning in outdated(&tool, server) {
        job.run.notes.warn(warning);
    }
    Ok(tool)
}

/// A live database that is still to be made: by a scratch database that gets its name.
pub async fn unmade(held: &Held, toc: &Toc, job: &Job<'_>) -> Outcome<()> {
    let Held { session, target } = held;
    if job.restore.method == Method::InPlace {
        return Err(Failed::new(
            Verdict::Config,
            format!("there is no database `{}` to restore over", shown(&target.live.name)),
        )
        .hint("`create = true` needs `method = \"swap\"`: what is not there yet must not become half a database"));
    }
    if job.restore.go_live == GoLive::Hold {
        return Err(Failed::new(
            Verdict::Config,
            format!(
                "there is no database `{}` that could stay live meanwhile",
                shown(&target.live.name)
            ),
        )
        .hint("the first restore goes live at once: set `swap = \"now\"` for it"));
    }
    if !job.restore.after_checks.is_empty() {
        job.run.notes.warn(
            "there is no database yet that could be live again where one of `after_checks` fails",
        );
    }
    if job.restore.checks.iter().any(Check::needs_live) {
        job.run.notes.warn(
            "checks with at_least_of_live are left out: there is no live database yet to compare with",
        );
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

/// What of the dump goes in, and to whom it will belong.
pub fn selection(toc: &Toc, target: &Target, job: &Job<'_>) -> Outcome<Selection> {
    let contents = &job.restore.contents;
    Selection::new(toc, contents, contents.owner.of_all(&target.live.owner))
}

pub fn needs(toc: &Toc, selection: &Selection, job: &Job<'_>) -> Needs {
    Needs {
        creates_roles: job.restore.contents.creates_roles,
        jobs: job.restore.jobs,
        ..Needs::of(toc, selection)
    }
}

/// What a dry run says about the database side.
pub async fn plan(toc: &Toc, coming: Coming, held: &Held, job: &Job<'_>) -> Outcome<()> {
    let Held { session, target } = held;
    let live = &target.live;
    let room = There::look(held, coming, job).await?;
    let database = std::iter::once(database_in_words(target, job));
    job.run
        .notes
        .plan(database.chain(room.in_words()).collect());
    // Before anything is judged: what is missing is to be seen among all the rest.
    let selection = selection(toc, target, job)?;
    let asked = needs(toc, &selection, job);
    let listed = contents::listed(held, toc, &asked, &selection, &job.restore.contents);
    job.run.notes.plan(listed.await?);
    let tool = suits(held, toc, coming, job).await?.tool;
    room.warn(job);
    let mut lines = vec![format!(
        "tool      {} {}",
        tool.path.display(),
        tool.version
    )];
    match job.restore.method {
        Method::Swap => {
            lines.extend(previous::room_in_words(session, live, job).await?);
            lines.push(format!(
                "scratch   {}",
                scratch::scratch_name(&live.name, &job.run.id)
            ));
            lines.push(ending_in_words(session, live, job).await?);
        }
        Method::InPlace => lines.push(
            "method    in one transaction over the live database; there is no undo".to_owned(),
        ),
    }
    lines.push(sessions_in_words(
        &swap::sessions(session, &[live.oid]).await?,
    ));
    job.run.notes.plan(lines);
    Ok(())
}

fn database_in_words(target: &Target, job: &Job<'_>) -> String {
    let (live, version) = (&target.live, &target.server.version);
    let size = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let state = match size {
        _ if live.is_missing() => "would be made".to_owned(),
        Some(bytes) => format_bytes(bytes),
        None => "size unknown".to_owned(),
    };
    format!(
        "database  `{}` ({state}) on {}, PostgreSQL {}",
        live.name,
        job.database.host,
        version.split(' ').next().unwrap_or(version)
    )
}

/// What becomes of what is live now.
async fn ending_in_words(session: &Session, live: &Live, job: &Job<'_>) -> Outcome<String> {
    Ok(match job.restore.go_live {
        GoLive::Now if live.is_missing() => none_in_words(session, job).await?,
        GoLive::Now => format!(
            "previous  {} would be kept for undo",
            swap::previous_name(&live.name, &job.run.id)
        ),
        GoLive::Hold => format!(
            "hold      it would wait there for `backupctl swap {}`",
            job.restore.name
        ),
    })
}

/// Where nothing is live nothing is set aside, but there may be what an earlier swap has.
pub async fn none_in_words(session: &Session, job: &Job<'_>) -> Outcome<String> {
    Ok(match previous::older(session, job).await? {
        Some(older) => format!("previous  none of its own: `undo` would go back to {older}"),
        None => "previous  none: there would be nothing to undo to".to_owned(),
    })
}

/// Who would have to leave at the swap.
pub fn sessions_in_words(sessions: &[Seen]) -> String {
    if sessions.is_empty() {
        return "sessions  none in the live database now".to_owned();
    }
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for seen in sessions {
        *counts.entry((&seen.user, &seen.application)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let who = counts.iter().take(5);
    let who = who.map(|((user, application), count)| {
        format!("{count} of {} ({})", shown(user), shown(application))
    });
    format!(
        "sessions  {} in the live database now: {}",
        sessions.len(),
        who.collect::<Vec<_>>().join(", ")
    )
}
