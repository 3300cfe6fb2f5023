//! Reports of earlier runs that somebody is still without: they go out with the next one.

use jiff::{SignedDuration, Timestamp};

use super::channels::{Channels, What, is_webhook};
use super::history;
use crate::commands::App;
use crate::report::{self, Notified, Record};

/// An undelivered report older than this is history, and no news any more.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many undelivered reports are sent later, the newest ones.
const KEPT: usize = 10;

/// Whether somebody is without this report.
pub fn is_undelivered(record: &Record) -> bool {
    record.verdict.is_some() && record.notified.iter().any(|notified| !notified.ok)
}

/// Whether it is still to be sent by itself.
pub fn is_recent(record: &Record, now: Timestamp) -> bool {
    now.duration_since(record.started) < KEPT_FOR
}

/// The earlier reports of this job that somebody is still without, oldest first.
pub fn kept(app: &App, present: &Record) -> Vec<Record> {
    let mut kept: Vec<Record> = history(app, &present.job)
        .take_while(|record| is_recent(record, present.started))
        .filter(|record| record.run != present.run && is_undelivered(record))
        .take(KEPT)
        .collect();
    kept.reverse();
    kept
}

/// Who can't be reached with today's report, can't be reached with yesterday's either; a failure ends the attempt.
pub async fn send_kept(app: &App, channels: &Channels, kept: Vec<Record>, today: &[Notified]) {
    for mut record in kept {
        let is_due = |is_them: &dyn Fn(&str) -> bool| {
            let is_reached = today.is_empty() || today.iter().any(|n| n.ok && is_them(&n.to));
            is_reached && record.notified.iter().any(|n| !n.ok && is_them(&n.to))
        };
        let due = channels.only(
            |person| is_due(&|to: &str| to == person),
            is_due(&is_webhook),
        );
        let Some(due) = due else {
            continue;
        };
        let sent = due.send(app, What::Report(&record)).await;
        let is_delivered = sent.iter().all(|notified| notified.ok);
        remember(app, &mut record, &sent);
        if !is_delivered {
            let run = &record.run;
            tracing::warn!(
                "the report of run {run} is still undelivered; the next run tries again"
            );
            return;
        }
    }
}

/// Writes down who has a report by now, so that nobody is sent it again by itself. A report that says so already stays as it is, and so
/// does that of a run at work, which writes it by itself.
pub fn remember(app: &App, record: &mut Record, sent: &[Notified]) {
    if !is_undelivered(record) {
        return;
    }
    let known = record.notified.clone();
    for now in sent.iter().filter(|now| now.ok) {
        let is_them = |to: &str| to == now.to || (is_webhook(to) && is_webhook(&now.to));
        let before = record.notified.iter_mut();
        for missed in before.filter(|n| !n.ok && is_them(&n.to)) {
            *missed = now.clone();
        }
    }
    if record.notified == known {
        return;
    }
    if let Err(failed) = report::rewrite(&app.config.state_dir, record) {
        tracing::warn!("{}", failed.message());
    }
}
