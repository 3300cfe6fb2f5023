//! `undo`: back to the previous database, by the same swap; a second undo comes forward again.
//!
//! The archive that is taken back counts as rejected from then on: no later run takes it by itself, until it comes forward again.

use super::hooks;
use super::restore::{look, sessions_in_words};
use super::swap::ended_sessions;
use super::{App, Job, Order, perform, prepared};
use crate::config::{Restore, format_bytes};
use crate::database::connection::Session;
use crate::database::scratch;
use crate::database::swap::{self, Patience, Seen, UndoPlan};
use crate::escape::shown;
use crate::report::{Record, Report, Step, StepRecord};
use crate::run::RunId;
use crate::verdict::{Failed, Outcome, Verdict};

/// `backupctl undo [JOB]`.
///
/// # Errors
/// `usage`: not confirmed, and nobody to ask.
pub async fn command(app: &App, restore: &Restore, yes: bool, notify: bool) -> Outcome<Record> {
    let yes = yes || app.options.dry_run;
    app.output.can_confirm(yes)?;
    let order = Order {
        command: "undo",
        store: false,
        archives: false,
        database: true,
        mail: notify,
    };
    let work = async |job: &Job<'_>, report: &mut Report| {
        let (session, plan) = report.step(Step::Network, plan(job)).await?;
        mark(&plan, job, report);
        if app.options.dry_run {
            let fate = fate(report);
            job.run.notes.plan(in_words(&plan, fate));
            return Ok(());
        }
        if !yes {
            let words = in_words(&plan, fate(report));
            let question = format!("{}\nGo back?", words.join("\n"));
            app.output
                .confirm(&question, yes, &app.signals.stop)
                .await?;
        }
        report
            .undivided_step(Step::Undo, go_back(&plan, session, job))
            .await
    };
    Ok(perform(app, restore, order, work).await)
}

async fn plan(job: &Job<'_>) -> Outcome<(Session, UndoPlan)> {
    hooks::judge_undo(job)?;
    super::reach::database(job).await?;
    let (session, target) = look(job).await?;
    prepared::mention(&session, target.live.oid, job).await?;
    let plan = swap::plan_undo(&session, &target.live.name, &job.run.id).await?;
    if plan.missing_rights.is_empty() {
        return Ok((session, plan));
    }
    Err(
        Failed::new(Verdict::Config, "the undo needs rights that are missing")
            .hint(plan.missing_rights.join("\n")),
    )
}

/// Which archive is taken back, found by the run that made the now live database. Where that was an undo that had taken one
/// back, it is that undo that is undone, and the archive comes back.
///
/// Who has set the previous database aside has made the live one, unless that was dropped and made again since.
fn mark(plan: &UndoPlan, job: &Job<'_>, report: &mut Report) {
    let history = job.history();
    let last = history.iter().find(|record| has_gone_live(record));
    let made_again = last.filter(|last| has_no_previous(last) && is_newer(last, plan, &history));
    let Some(made_by) = made_again.or_else(|| {
        history
            .iter()
            .find(|record| record.run == plan.previous.run)
    }) else {
        job.run.notes.warn(format!(
            "there is no report of run {} here, so it is not known which archive is live now; the next run may take it again",
            plan.previous.run
        ));
        return;
    };
    if made_by.undoes.is_none() && was_taken_back(plan, made_by) {
        report.record.undoes = Some(made_by.run.clone());
    }
    if let Some(archive) = &made_by.archive {
        job.run.notes.archive(archive.clone());
    }
}

fn has_gone_live(record: &Record) -> bool {
    let good = |step: &StepRecord| {
        matches!(step.step, Step::Swap | Step::Undo) && step.verdict.is_some_and(Verdict::is_good)
    };
    record.steps.iter().any(good)
}

fn has_no_previous(record: &Record) -> bool {
    let database = record.database.as_ref();
    database.is_none_or(|database| database.previous.is_none())
}

/// Newer than the run that has set the previous database aside. `history` has the newest first.
fn is_newer(record: &Record, plan: &UndoPlan, history: &[Record]) -> bool {
    let mut so_far = history
        .iter()
        .take_while(|one| one.run != plan.previous.run);
    so_far.any(|one| one.run == record.run)
}

/// Whether an `undo`, or a run that went back by itself, has set the previous database aside. The latter's reports alone don't
/// tell: a run that died or failed on its way back has set aside the old one only, under the name that its swap gives.
fn was_taken_back(plan: &UndoPlan, made_by: &Record) -> bool {
    let by_its_swap =
        RunId::parse(&made_by.run).map(|run| swap::previous_name(&plan.live.name, &run));
    made_by.command == "undo" || by_its_swap.is_none_or(|name| name != plan.previous.name)
}

/// What becomes of the archive, for the plan of a dry run and the question.
fn fate(report: &Report) -> Option<String> {
    let noted = report.run.notes.lock();
    let name = shown(&noted.archive.as_ref()?.name);
    Some(match &report.record.undoes {
        Some(_) => format!("archive   `{name}` would be live again"),
        None => format!("archive   `{name}` would be rejected: no run takes it by itself any more"),
    })
}

fn in_words(plan: &UndoPlan, fate: Option<String>) -> Vec<String> {
    let size = |bytes: Option<i64>| {
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        bytes.map_or_else(|| "size unknown".to_owned(), format_bytes)
    };
    let since = plan.previous.swapped_at.strftime("%Y-%m-%d %H:%M UTC");
    let in_live = |seen: &&Seen| seen.database == plan.live.name;
    let sessions: Vec<Seen> = plan.sessions.iter().filter(in_live).cloned().collect();
    let mut words = vec![
        format!(
            "back      `{}` ({}), live until {since}",
            shown(&plan.previous.name),
            size(plan.previous_bytes)
        ),
        format!(
            "aside     `{}` ({}) would become {}",
            shown(&plan.live.name),
            size(plan.live_bytes),
            shown(&plan.set_aside)
        ),
        sessions_in_words(&sessions),
    ];
    words.extend(fate);
    words
}

async fn go_back(plan: &UndoPlan, session: Session, job: &Job<'_>) -> Outcome<()> {
    scratch::hold_database(&session, &plan.live.name).await?;
    let names = hooks::Names {
        database: plan.live.name.clone(),
        scratch: plan.previous.name.clone(),
    };
    let patience = Patience {
        sessions: job.restore.sessions,
        timeout: job.restore.sessions_timeout,
    };
    let login = super::restore::login(job);
    let swapping = swap::undo(&login, plan, patience, &job.run);
    let undone = hooks::around(&names, job, swapping).await;
    session.close().await;
    let (undone, after) = undone?;
    job.run.notes.previous(&undone.set_aside);
    job.run.notes.message(format!(
        "{} is live again; {}",
        shown(&undone.restored),
        ended_sessions(undone.ended_sessions)
    ));
    let mut duties = undone.differences;
    duties.extend(after);
    super::open_duties(&duties)
}
