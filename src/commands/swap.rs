//! `swap`: what `swap = "hold"` has prepared goes live when it suits; and the way to live that a run takes too.

mod plan;
mod step;

use self::plan::Plan;
pub use self::step::{Swapped, ended_sessions, step};
use super::restore::{self, Held, Restored};
use super::{App, Job, Order, after_checks, hooks, perform};
use crate::config::Restore;
use crate::database::connection::Session;
use crate::database::preflight::Target;
use crate::database::scratch::{self, Scratch};
use crate::report::{Record, Report, Step};
use crate::verdict::{Outcome, Verdict};

/// `backupctl swap [JOB]`.
///
/// # Errors
/// `usage`: not confirmed, and nobody to ask.
pub async fn command(app: &App, restore: &Restore, yes: bool, notify: bool) -> Outcome<Record> {
    let yes = yes || app.options.dry_run;
    app.output.can_confirm(yes)?;
    let order = Order {
        command: "swap",
        store: false,
        archives: false,
        database: true,
        mail: notify,
    };
    let work = async |job: &Job<'_>, report: &mut Report| {
        let (session, target, plan) = report.step(Step::Network, planned(job)).await?;
        if app.options.dry_run {
            job.run
                .notes
                .plan(plan.in_words(&session, &target, job).await?);
            return Ok(());
        }
        if !yes {
            let words = plan.in_words(&session, &target, job).await?;
            let question = format!("{}\nGo live?", words.join("\n"));
            app.output
                .confirm(&question, yes, &app.signals.stop)
                .await?;
        }
        let checking = async {
            scratch::hold_database(&session, &target.live.name).await?;
            let restored = plan.restored(Held { session, target });
            // It has waited, and whoever may connect to it may have changed it.
            restore::check(&restored, job).await?;
            Ok(restored)
        };
        let restored = report.step(Step::Check, checking).await?;
        go_live(restored, job, report).await
    };
    Ok(perform(app, restore, order, work).await)
}

async fn planned(job: &Job<'_>) -> Outcome<(Session, Target, Plan)> {
    hooks::judge(job)?;
    super::reach::database(job).await?;
    let (session, target) = restore::look(job).await?;
    let plan = plan::plan(&session, &target, job).await?;
    Ok((session, target, plan))
}

impl Plan {
    fn restored(&self, held: Held) -> Restored {
        let scratch = Scratch {
            name: self.prepared.database.name.clone(),
            oid: self.prepared.database.oid,
        };
        Restored { scratch, held }
    }
}

/// The swap, and the checks of what is live then; where one of them does not hold, back again.
pub async fn go_live(restored: Restored, job: &Job<'_>, report: &mut Report) -> Outcome<()> {
    let mut swapped = None;
    let outcome = report
        .undivided_step(Step::Swap, step(restored, job, &mut swapped))
        .await;
    let Some(swapped) = swapped else {
        return outcome;
    };
    if job.restore.after_checks.is_empty() {
        swapped.held.session.close().await;
        return outcome;
    }
    let checking = after_checks::hold(&swapped.names, job);
    let checked = report.undivided_step(Step::Check, checking).await;
    match checked {
        Err(failed) if failed.verdict != Verdict::Attention => {
            if let Err(duty) = &outcome {
                job.run.notes.warn(duty.message());
            }
            if swapped.old.oid == 0 {
                swapped.held.session.close().await;
                return Err(after_checks::nothing_to_go_back_to(failed));
            }
            Err(after_checks::undo(failed, swapped, job, report).await)
        }
        checked => {
            swapped.held.session.close().await;
            if let (Err(_), Err(second)) = (&outcome, &checked) {
                job.run.notes.warn(second.message());
            }
            outcome.and(checked)
        }
    }
}
