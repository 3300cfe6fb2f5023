//! `undo`: back to the previous database, by the same swap; a second undo comes forward again.
//!
//! The archive that is taken back counts as rejected from then on: no later run takes it by itself, until it comes forward again.

use super::hooks;
use super::restore::{look, sessions_in_words};
use super::swap::ended_sessions;
use super::{App, Job, Order, perform};
use crate::config::{Restore, format_bytes};
use crate::database::connection::Session;
use crate::database::preflight;
use crate::database::scratch;
use crate::database::swap::{self, Patience, UndoPlan};
use crate::escape::shown;
use crate::report::{Record, Report, Step};
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
        database: true,
        mail: notify,
    };
    let work = async |job: &Job<'_>, report: &mut Report| {
        let (session, plan) = report.step(Step::Network, plan(job)).await?;
        mark(&plan, job, report);
        if app.options.dry_run {
            let fate = fate(report);
            job.run.notes.plan(in_words(&plan, &session, fate).await?);
            return Ok(());
        }
        if !yes {
            let words = in_words(&plan, &session, fate(report)).await?;
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
    super::reach::database(job).await?;
    let (session, target) = look(job).await?;
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
fn mark(plan: &UndoPlan, job: &Job<'_>, report: &mut Report) {
    let history = job.history();
    let Some(made_by) = history
        .iter()
        .find(|record| record.run == plan.previous.run)
    else {
        job.run.notes.warn(format!(
            "there is no report of run {} here, so it is not known which archive is live now; the next run may take it again",
            plan.previous.run
        ));
        return;
    };
    if made_by.command == "undo" && made_by.undoes.is_none() {
        report.record.undoes = Some(made_by.run.clone());
    }
    if let Some(archive) = &made_by.archive {
        job.run.notes.archive(archive.clone());
    }
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

async fn in_words(
    plan: &UndoPlan,
    session: &Session,
    fate: Option<String>,
) -> Outcome<Vec<String>> {
    let size = |bytes: Option<i64>| {
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        bytes.map_or_else(|| "size unknown".to_owned(), format_bytes)
    };
    let since = plan.previous.swapped_at.strftime("%Y-%m-%d %H:%M UTC");
    let mut words = vec![
        format!(
            "back      `{}` ({}), live until {since}",
            plan.previous.name,
            size(plan.previous_bytes)
        ),
        format!(
            "aside     `{}` ({}) would become {}",
            plan.live.name,
            size(plan.live_bytes),
            plan.set_aside
        ),
        sessions_in_words(&preflight::sessions(session, &plan.live.name).await?),
    ];
    words.extend(fate);
    Ok(words)
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
        undone.restored,
        ended_sessions(undone.ended_sessions)
    ));
    let mut duties = undone.differences;
    duties.extend(after);
    super::open_duties(&duties)
}
