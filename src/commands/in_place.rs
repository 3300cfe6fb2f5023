//! `method = "in-place"`: one transaction over the live database, for where there is no room for two copies.
//!
//! Explicitly chosen and second best: objects that the dump doesn't have stay, checks come too late, and there is no undo.

use super::hooks;
use super::restore::{Held, Suited, login, lost_on_the_way, make_roles, still_held, suits};
use super::unzip::Unpacked;
use super::{Job, open_duties};
use crate::database::connection::{self, Login};
use crate::database::in_place::{self, Mark};
use crate::database::load::{self, Input, Load, Loaded, Select};
use crate::database::{checks, scratch};
use crate::journal::Created;
use crate::report::{Report, Step};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Loads over the live database, then runs the checks on it.
pub async fn restore(
    held: Held,
    unpacked: &Unpacked,
    job: &Job<'_>,
    report: &mut Report,
) -> Outcome<()> {
    let mut after = report
        .undivided_step(Step::Restore, load(held, unpacked, job))
        .await?;
    // The live database keeps its OID, by which `swap` would take what was prepared for it before as current.
    after.extend(super::prepared::drop_superseded(job, None).await);
    let checked = report.step(Step::Check, check(job)).await;
    if checked.is_err() {
        for duty in &after {
            job.run.notes.warn(duty);
        }
    }
    checked.map_err(too_late)?;
    open_duties(&after)
}

async fn load(held: Held, unpacked: &Unpacked, job: &Job<'_>) -> Outcome<Vec<String>> {
    unpacked.on_disk.wait().await?;
    let held = still_held(held, job).await?;
    let name = held.target.live.name.clone();
    let suited = suits(&held, &unpacked.toc, unpacked.coming(), job).await?;
    suited.room.warn(job);
    make_roles(&held, &suited, job).await?;
    let names = hooks::Names {
        database: name.clone(),
        scratch: String::new(),
    };
    let loaded = hooks::around(&names, job, over_live(&suited, &name, unpacked, job)).await;
    held.session.close().await;
    loaded.map(|(_, after)| after)
}

/// The load itself; after a failure the live database is asked whether anything was committed.
async fn over_live(
    suited: &Suited,
    name: &str,
    unpacked: &Unpacked,
    job: &Job<'_>,
) -> Outcome<Loaded> {
    let login = login(job);
    let session = connection::connect(&login, name).await?;
    let before = in_place::mark(&session).await?;
    session.close().await;
    let begun = Created::InPlace {
        database: job.database.key.clone(),
        name: name.to_owned(),
    };
    let journal = &job.run.journal;
    journal
        .will_create(begun.clone())
        .judge(Verdict::Local, "write the journal")?;
    let loaded = match one_transaction(suited, &login, name, unpacked, job).await {
        Ok(loaded) => Ok(loaded),
        Err(failed) => {
            let unchanged = unchanged(&login, name, &before, job).await;
            Err(judged(failed, unchanged, name))
        }
    };
    if !matches!(&loaded, Err(failed) if failed.verdict == Verdict::Unclear)
        && let Err(error) = journal.forget(&begun)
    {
        let told = format!("the journal can't be written: {error}");
        job.run.notes.warn(told);
    }
    loaded
}

async fn one_transaction(
    suited: &Suited,
    login: &Login,
    name: &str,
    unpacked: &Unpacked,
    job: &Job<'_>,
) -> Outcome<Loaded> {
    let plan = Load {
        tool: &suited.tool,
        login,
        target: name,
        input: Input::File(&unpacked.path),
        format: unpacked.toc.header.format,
        jobs: 1,
        in_place: true,
        select: Some(Select {
            toc: &unpacked.toc,
            selection: &suited.selection,
        }),
        stall: job.restore.stall,
        most_bytes: suited.room.most_bytes(),
    };
    let loading = load::load(plan, &job.run);
    tokio::select! {
        biased;
        loaded = loading => loaded.map_err(lost_on_the_way),
        () = job.run.stop.cancelled() => Err(Failed::interrupted()),
    }
}

/// Whether what the live database consists of is what it was, once nothing of ours is at work there any more.
async fn unchanged(login: &Login, name: &str, before: &Mark, job: &Job<'_>) -> Outcome<bool> {
    let session = connection::connect(login, name).await?;
    scratch::end_backends_in(&session, &job.run.id, name).await?;
    let now = in_place::mark(&session).await?;
    session.close().await;
    Ok(now == *before)
}

fn judged(failed: Failed, unchanged: Outcome<bool>, name: &str) -> Failed {
    let why = match unchanged {
        Ok(true) => return failed,
        Ok(false) => {
            "its tables are not those from before; pg_restore may have committed".to_owned()
        }
        Err(error) => format!("it could not be asked ({})", error.message()),
    };
    let unclear = Failed {
        verdict: Verdict::Unclear,
        hint: None,
        ..failed
    };
    unclear.hint(format!("look at `{name}` now: {why}"))
}

/// The data is live already: what a check finds now can only be told.
async fn check(job: &Job<'_>) -> Outcome<()> {
    let (login, name) = (login(job), &job.database.name);
    checks::check(
        &login,
        name,
        &job.restore.checks,
        job.restore.stall,
        &job.run,
    )
    .await
}

/// After the load there is no way back: what the checks themselves advise would be wrong here.
fn too_late(failed: Failed) -> Failed {
    Failed {
        verdict: Verdict::Unclear,
        // Theirs says that nothing was changed.
        hint: None,
        ..failed
    }
    .hint("the restored data is live already (method = \"in-place\") and there is no undo")
}
