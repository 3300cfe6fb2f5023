//! What a dry run of `drill` says.

use super::{chosen, enter, ground};
use crate::cli::Which;
use crate::commands::fetch::{self, Found};
use crate::commands::restore::{self, Held};
use crate::commands::{Job, space, stream};
use crate::config::Check;
use crate::database::preflight::Needs;
use crate::database::scratch;
use crate::escape::shown;
use crate::report::{Report, Step};
use crate::verdict::Outcome;

/// Looks at both ends and at what would come; nothing is made or downloaded.
pub async fn plan(job: &Job<'_>, which: &Which, report: &mut Report) -> Outcome<()> {
    let held = report.step(Step::Network, enter(job)).await?;
    report.step(Step::Fetch, look(job, which, held)).await
}

async fn look(job: &Job<'_>, which: &Which, held: Option<Held>) -> Outcome<()> {
    let chosen = chosen(job, which).await?;
    let (archive, dump) = (chosen.archive.bytes, chosen.contents.bytes);
    let (coming, toc) = (chosen.coming(), chosen.contents.toc.clone());
    let listed = chosen.archive.clone();
    job.run.notes.plan(Found::Chosen(chosen).describe());
    let way = if job.restore.stream {
        stream::suits(toc.header.format)?;
        "way       streamed from the store into pg_restore; no file is written here"
    } else if fetch::kept_already(&listed, job).await?.is_some() {
        "way       an earlier run has fetched it; nothing is downloaded"
    } else {
        "way       fetched, hashed, and unpacked while it comes"
    };
    job.run.notes.plan(vec![way.to_owned()]);
    let room = space::of_run(archive, dump, job)?;
    job.run.notes.plan(room.in_words());
    room.judge()?;
    match held {
        Some(held) => on_server(&held, (&toc, coming), job).await?,
        None => here(&toc, coming, job).await?,
    }
    let checks = &job.restore.checks;
    let with_live = checks.iter().filter(|check| Check::needs_live(check));
    job.run.notes.plan(vec![
        format!(
            "checks    {} ({} of them compare with live)",
            checks.len(),
            with_live.count()
        ),
        "then      every table's rows are counted, and all of it is dropped".to_owned(),
    ]);
    Ok(())
}

async fn on_server(
    held: &Held,
    (toc, coming): (&crate::database::dump::Toc, space::Coming),
    job: &Job<'_>,
) -> Outcome<()> {
    let live = &held.target.live;
    let state = if live.is_missing() {
        "is not there, and not needed"
    } else {
        "stays as it is"
    };
    job.run.notes.plan(vec![
        format!("where     on {}, the job's server", job.database.host),
        format!("live      `{}` {state}", shown(&live.name)),
    ]);
    let selection = restore::selection(toc, &held.target, job)?;
    let asked = Needs {
        beside: true,
        ..restore::needs(toc, &selection, job)
    };
    let listed = restore::listed(held, toc, &asked, &selection, &job.restore.contents).await?;
    job.run.notes.plan(listed);
    let suited = ground::suits(held, toc, coming, job).await?;
    job.run.notes.plan(suited.room.in_words());
    let tool = suited.tool;
    job.run.notes.plan(vec![
        format!("tool      {} {}", tool.path.display(), tool.version),
        format!(
            "scratch   {}",
            scratch::scratch_name(&live.name, &job.run.id)
        ),
    ]);
    Ok(())
}

async fn here(
    toc: &crate::database::dump::Toc,
    coming: space::Coming,
    job: &Job<'_>,
) -> Outcome<()> {
    let tool = ground::suits_here(toc, job).await?;
    let database = ground::settings_here(&tool, job)?;
    job.run.notes.plan(vec![
        format!(
            "where     a private PostgreSQL {} on this machine",
            tool.version
        ),
        format!("          made in {}", database.host),
        format!(
            "          by {}",
            tool.path.with_file_name("initdb").display()
        ),
    ]);
    let room = space::of_cluster(coming, job)?.into_iter().enumerate();
    let label = |n: usize| if n == 0 { "room      " } else { "          " };
    job.run.notes.plan(
        room.map(|(n, line)| format!("{}{line}", label(n)))
            .collect(),
    );
    Ok(())
}
