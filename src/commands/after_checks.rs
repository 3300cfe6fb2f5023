//! `after_checks`: what must hold once the new database is live, and the way back where it does not.
//!
//! They stop at the first that fails, since every second more is one with bad data live. Like the swap they can't be
//! interrupted: each is bounded by `hook_timeout`, and what is live must not be left unjudged.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::restore::login;
use super::swap::{Swapped, ended_sessions};
use super::{Job, hooks, open_duties, previous, restore};
use crate::config::{AfterCheck, Check, Hook, Sessions};
use crate::database::checks;
use crate::database::connection::Session;
use crate::database::swap::{self, Patience, UndoPlan};
use crate::escape::shown;
use crate::report::{CheckResult, Report, Step};
use crate::run::{Run, RunId};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// Runs them in their order; once all hold, older previous databases go.
///
/// # Errors
/// What the first one says that doesn't hold; `attention`: all hold, and a duty is left.
pub async fn hold(names: &hooks::Names, job: &Job<'_>) -> Outcome<()> {
    for check in &job.restore.after_checks {
        let checked = match check {
            AfterCheck::Command(command) => run(command, names, job).await,
            AfterCheck::Sql(check) => ask(check, &names.database, job).await,
        };
        checked.context("after_checks")?;
    }
    let count = job.restore.after_checks.len();
    job.run.notes.message(format!(
        "{count} of {count} hold with the new database live"
    ));
    open_duties(&previous::drop_old(job).await)
}

async fn run(command: &Hook, names: &hooks::Names, job: &Job<'_>) -> Outcome<()> {
    let ran = hooks::run_one(command, names, job).await;
    let found = match &ran {
        Ok(()) => "exit code 0".to_owned(),
        Err(failed) => failed.message(),
    };
    job.run.notes.check(CheckResult {
        sql: command.join(" "),
        expected: "exit code 0".to_owned(),
        found,
        ok: ran.is_ok(),
    });
    ran.context(format!("{command:?}"))
}

async fn ask(check: &Check, live: &str, job: &Job<'_>) -> Outcome<()> {
    let one = std::slice::from_ref(check);
    let deadline = job.restore.hook_timeout;
    let asked = checks::check(&login(job), live, one, deadline, &job.run).await;
    // Its own hint says that nothing was changed.
    asked.map_err(|failed| Failed {
        hint: None,
        ..failed
    })
}

/// Goes back to what was live before, and says what is live now.
pub async fn undo(failed: Failed, swapped: Swapped, job: &Job<'_>, report: &mut Report) -> Failed {
    let live = swapped.new.name.clone();
    // Whoever sent a signal wants an end, and not bad data live.
    let unstoppable = Job {
        run: Run {
            stop: CancellationToken::new(),
            ..job.run.clone()
        },
        secrets: job.secrets.clone(),
        ..*job
    };
    let going_back = async { open_duties(&go_back(swapped, &unstoppable, job).await?) };
    match report.undivided_step(Step::Undo, going_back).await {
        Err(undoing) if undoing.verdict != Verdict::Attention => {
            let message = format!(
                "{}, and the undo by itself failed as well: {}",
                failed.message(),
                undoing.message()
            );
            Failed::new(Verdict::Unclear, message).hint(format!(
                "`{}` is the new database as far as is known, and has failed its check: look at it now, then `backupctl undo {}`",
                shown(&live),
                job.restore.name
            ))
        }
        undone => {
            if let Err(duty) = undone {
                job.run.notes.warn(duty.message());
            }
            let failed = Failed {
                verdict: Verdict::Failed,
                ..failed
            };
            let forward = match job.restore.keep_previous {
                0 => String::new(),
                _ => format!(
                    "; `backupctl undo {}` would bring the new database back",
                    job.restore.name
                ),
            };
            failed.context("undone by itself").hint(format!(
                "the old database is live again; look into what the check found. The archive is not taken again by itself{forward}"
            ))
        }
    }
}

/// The first restore of a database that was not there: what a check speaks against is live, and nothing was before it.
pub fn nothing_to_go_back_to(failed: Failed) -> Failed {
    Failed {
        verdict: Verdict::Unclear,
        hint: None,
        ..failed
    }
    .hint("the new database is live: before it there was none that could be again; mend it, or drop it, then run again")
}

/// Returns what is left to the operator. Nobody else may restore into the database before what is superseded is gone; dropping
/// that takes time, for which a signal need not wait: `stoppable` is the job with it.
async fn go_back(swapped: Swapped, job: &Job<'_>, stoppable: &Job<'_>) -> Outcome<Vec<String>> {
    // A check may have restarted the server; then the hold is taken anew.
    let held = restore::still_held(swapped.held, job).await?;
    let plan = back_to(&held.session, (&swapped.new, &swapped.old)).await?;
    let names = hooks::Names {
        database: plan.live.name.clone(),
        scratch: plan.previous.name.clone(),
    };
    // Whoever is connected works on data that was found bad, and would only be kept waiting on it.
    let patience = Patience {
        sessions: Sessions::Terminate,
        timeout: job.restore.sessions_timeout,
    };
    let login = login(job);
    let swapping = swap::undo(&login, &plan, patience, &job.run);
    let (undone, after) = hooks::around(&names, job, swapping).await?;
    job.run.notes.previous(&undone.set_aside);
    job.run.notes.message(format!(
        "{} is live again; {}",
        shown(&undone.restored),
        ended_sessions(undone.ended_sessions)
    ));
    let stuck = previous::prune(stoppable).await;
    held.session.close().await;
    Ok([undone.differences, after, stuck].concat())
}

/// The name of what is set aside carries an id of its own, since the swap of this run has given away the run's; its stamp
/// names this run.
async fn back_to(session: &Session, (new, old): (&swap::Named, &swap::Named)) -> Outcome<UndoPlan> {
    let id = RunId::new(Timestamp::now());
    let mut plan = swap::plan_undo(session, &new.name, &id).await?;
    if plan.previous.oid != old.oid {
        // The newest is so by the server's clock, which somebody may have put back.
        let all = swap::previous_databases(session, &new.name).await?;
        let ours = all.into_iter().find(|one| one.oid == old.oid && one.whole);
        plan.previous = ours.unwrap_or(plan.previous);
    }
    if plan.live.oid == new.oid && plan.previous.oid == old.oid {
        return Ok(plan);
    }
    Err(Failed::new(
        Verdict::Failed,
        format!(
            "`{}` is not what this run has made live, or `{}` not what it has set aside",
            shown(&plan.live.name),
            shown(&plan.previous.name)
        ),
    ))
}
