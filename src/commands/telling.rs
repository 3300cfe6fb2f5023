//! What follows a command for a job: its report is put on record, its figures are written, and everybody is told, in this order.

use super::ping::Pulse;
use super::{App, Order, is_overdue, metrics, notify};
use crate::config::{Config, HttpUrl, Restore, SecretRef, Webhook};
use crate::report::Report;
use crate::verdict::Verdict;

/// The secrets of every channel that a job has.
pub fn secrets<'a>(
    config: &'a Config,
    restore: &'a Restore,
) -> impl Iterator<Item = &'a SecretRef> {
    let notify = &config.notify;
    let of_mail = notify
        .email
        .iter()
        .filter_map(|email| email.password.as_ref());
    let of_webhook = notify.webhook.iter().flat_map(Webhook::references);
    let of_ping = notify.ping_of(restore).and_then(HttpUrl::reference);
    of_mail.chain(of_webhook).chain(of_ping)
}

/// Tells of a run that could not have its lock: not of one that only comes too early, nor of a state_dir that is somebody else's.
pub async fn of_none(app: &App, restore: &Restore, order: Order, report: &mut Report) {
    let verdict = report.record.verdict.unwrap_or(Verdict::Bug);
    if app.options.dry_run || (verdict == Verdict::Locked && !is_overdue(app, restore)) {
        return;
    }
    if !matches!(verdict, Verdict::Locked | Verdict::Config) {
        metrics::refresh(app, report);
    }
    if order.mail {
        Box::pin(notify::tell(app, report)).await;
        if let Some(pulse) = Box::pin(Pulse::of(app, restore, order)).await {
            Box::pin(pulse.end(app, report)).await;
        }
    }
}

/// Tells of a run that has been judged.
pub async fn of_end(app: &App, (order, pulse): (Order, Option<Pulse>), report: &mut Report) {
    // Before people are told, so that they are told this too.
    let is_on_record = on_record(app, report);
    let is_measured = metrics::refresh(app, report);
    if order.mail {
        Box::pin(notify::tell(app, report)).await;
    }
    if let Some(pulse) = pulse {
        Box::pin(pulse.end(app, report)).await;
    }
    if is_on_record && (order.mail || !is_measured) {
        on_record(app, report);
    }
    // Again, with what became of the telling; once it is on record, so that another job's run finds it there.
    if is_measured && order.mail && !metrics::refresh(app, report) && is_on_record {
        on_record(app, report);
    }
}

/// Writes the report; where that can't be done, a finished run leaves a duty behind.
fn on_record(app: &App, report: &mut Report) -> bool {
    let saved = report.save();
    if let Err(failed) = &saved {
        app.output.error(failed);
        let hint = failed.hint.as_deref().unwrap_or_default();
        report.attention(&failed.message(), hint);
    }
    saved.is_ok()
}
