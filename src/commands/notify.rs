//! `notify`, and the telling at the end of every run: who gets which mail, and what is said when one can't be delivered.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::{App, open_duties};
use crate::config::{Email, Restore};
use crate::notify::compose::Mail;
use crate::notify::email;
use crate::notify::{self, message};
use crate::report::{self, Notified, Record, Report, Step};
use crate::run::RunId;
use crate::secret::{Secret, Secrets};
use crate::state_dir;
use crate::verdict::{Failed, Outcome, Verdict};

/// For all recipients of one mail together; a slow mail server must not keep the job's lock for long.
const DEADLINE: Duration = Duration::from_mins(2);
/// After a signal: whoever sent it is waiting for the end.
const HURRY: Duration = Duration::from_secs(5);

/// An undelivered report older than this is history, and no news any more.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many undelivered reports are sent later, the newest ones.
const KEPT: usize = 10;

/// Sends the report of a run that has just been judged, if the configuration wants it, and those of earlier runs that could
/// not be delivered.
pub async fn tell(app: &App, report: &mut Report) {
    let Some(email) = &app.config.notify.email else {
        return;
    };
    let verdict = report.record.verdict.unwrap_or(Verdict::Bug);
    let last = last_verdict(app, &report.record);
    let is_wanted = notify::wanted(app.config.notify.on, verdict, last);
    let kept = kept(app, &report.record);
    if !is_wanted && kept.is_empty() {
        return;
    }
    let record = report.record.clone();
    let notes = report.run.notes.clone();
    let mut notified = Vec::new();
    let clock = Instant::now();
    let work = async {
        if is_wanted {
            let sent = in_time(app, send(app, email, &record)).await;
            notified = sent.unwrap_or_else(|failed| nobody(email, &failed));
            notes.message(delivered(&notified));
        }
        // Together with those before: every mail of a run within one deadline.
        let left = DEADLINE.saturating_sub(clock.elapsed());
        let sending = send_kept(app, email, kept, &notified);
        let sent = in_time(app, async { Ok(timeout(left, sending).await) }).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!(
                "there was no time for all earlier reports; the next run sends the rest"
            );
        }
        open_duties(&undelivered(&notified))
    };
    // What became of the mail is in `notified` and in the step; a failure here is `attention`, never more.
    let is_told = report.undivided_step(Step::Notify, work).await.is_ok();
    report.record.notified = notified;
    if !is_told {
        let failed = undelivered(&report.record.notified).join("; ");
        let hint = hint(&report.record.job);
        report.attention(&format!("the report was not delivered to {failed}"), &hint);
    }
}

fn nobody(email: &Email, failed: &Failed) -> Vec<Notified> {
    let told = |to: &String| Notified {
        to: to.clone(),
        ok: false,
        message: failed.message(),
    };
    email.to.iter().map(told).collect()
}

fn delivered(notified: &[Notified]) -> String {
    let count = notified.iter().filter(|notified| notified.ok).count();
    format!("delivered to {count} of {}", notified.len())
}

/// To whom it did not go, and why.
fn undelivered(notified: &[Notified]) -> Vec<String> {
    let failed = notified.iter().filter(|notified| !notified.ok);
    failed.map(|n| format!("{}: {}", n.to, n.message)).collect()
}

/// The earlier reports of this job that somebody is still without, oldest first.
fn kept(app: &App, present: &Record) -> Vec<Record> {
    let is_kept = |record: &Record| {
        record.run != present.run
            && record.verdict.is_some()
            && record.notified.iter().any(|notified| !notified.ok)
    };
    let is_recent = |record: &Record| present.started.duration_since(record.started) < KEPT_FOR;
    let mut kept: Vec<Record> = history(app, &present.job)
        .take_while(is_recent)
        .filter(is_kept)
        .take(KEPT)
        .collect();
    kept.reverse();
    kept
}

/// Who can't be reached with today's mail, can't be reached with yesterday's either; a failure ends the attempt.
async fn send_kept(app: &App, email: &Email, kept: Vec<Record>, today: &[Notified]) {
    for mut record in kept {
        let is_reached = |to: &str| today.is_empty() || today.iter().any(|n| n.ok && n.to == to);
        let is_without = |to: &str| record.notified.iter().any(|n| !n.ok && n.to == to);
        let mut email = email.clone();
        email.to.retain(|to| is_reached(to) && is_without(to));
        if email.to.is_empty() {
            continue;
        }
        let sent = send(app, &email, &record).await;
        let sent = sent.unwrap_or_else(|failed| nobody(&email, &failed));
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

/// Writes down who has a report by now, so that nobody is sent it again by itself.
fn remember(app: &App, record: &mut Record, sent: &[Notified]) {
    for now in sent.iter().filter(|now| now.ok) {
        for before in record
            .notified
            .iter_mut()
            .filter(|n| !n.ok && n.to == now.to)
        {
            *before = now.clone();
        }
    }
    if let Err(failed) = report::rewrite(&app.config.state_dir, record) {
        tracing::warn!("{}", failed.message());
    }
}

/// After a signal there is only a short while left, after a second one none.
async fn in_time<T>(app: &App, sending: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::select! {
        sent = sending => sent,
        why = app.signals.patience_after_stop(HURRY) => Err(Failed::new(
            Verdict::Network,
            format!("the mail server was not waited for any longer: {why}"),
        )),
    }
}

fn hint(job: &str) -> String {
    format!(
        "mend `notify.email` and try it with `backupctl notify --test`; the report goes out with the next run, or now with `backupctl notify {job}`"
    )
}

async fn send(app: &App, email: &Email, record: &Record) -> Outcome<Vec<Notified>> {
    let password = password(app, email).await?;
    let log = email.attach_log.then(|| run_log(app, record)).flatten();
    let mail = Mail::about(record, text(app, record), log);
    Ok(email::send(email, password.as_ref(), &mail, DEADLINE).await)
}

/// What a report says to people, in the mail and on stdout alike.
pub fn text(app: &App, record: &Record) -> String {
    message::text(
        record,
        Some(&report::file(&app.config.state_dir, &record.run)),
    )
}

async fn password(app: &App, email: &Email) -> Outcome<Option<Secret>> {
    let needed: Vec<_> = email.password.iter().collect();
    let secrets = Secrets::open(&app.config.secrets, &needed).await?;
    secrets.teach(&app.output.scrubber);
    Ok(email
        .password
        .as_ref()
        .map(|reference| secrets.get(reference).clone()))
}

fn run_log(app: &App, record: &Record) -> Option<String> {
    let log = std::fs::read(state_dir::run_log(&app.config.state_dir, &record.run)).ok()?;
    Some(String::from_utf8_lossy(&log).into_owned())
}

/// Earlier reports of a job, newest first, each read when its turn comes; none where they can't be listed.
fn history(app: &App, job: &str) -> impl Iterator<Item = Record> {
    let listed = report::newest_first(&app.config.state_dir, job);
    listed.into_iter().flatten()
}

/// How the last finished run of the same command ended, for `on = "change"`.
fn last_verdict(app: &App, record: &Record) -> Option<Verdict> {
    history(app, &record.job)
        .filter(|other| other.run != record.run && other.command == record.command)
        .filter(|other| other.is_beside() == record.is_beside())
        .find_map(|other| other.verdict)
}

/// `backupctl notify [JOB]`: the last run's report again, or a test message.
pub async fn command(app: &App, job: Option<&str>, test: bool) -> Outcome<Verdict> {
    let email = app.config.notify.email.as_ref().ok_or_else(|| {
        Failed::new(Verdict::Config, "tell anybody: there is no [notify.email]")
            .hint("config.example.toml shows its settings")
    })?;
    let mut last = None;
    if !test {
        last = Some(last_run(app, super::job(&app.config, job)?)?);
    }
    let notified = if app.options.dry_run {
        password(app, email).await?;
        would_be_told(email)
    } else if let Some(record) = &mut last {
        let sent = unless_stopped(app, send(app, email, record)).await?;
        remember(app, record, &sent);
        sent
    } else {
        unless_stopped(app, send_test(app, email)).await?
    };
    let missed: Vec<&str> = notified
        .iter()
        .filter(|notified| !notified.ok)
        .map(|notified| notified.to.as_str())
        .collect();
    let failed = (!missed.is_empty()).then(|| {
        let what = format!("the mail was not delivered to {}", missed.join(", "));
        Failed::new(Verdict::Attention, what).hint("mend `notify.email` and try again")
    });
    Ok(app.output.notified(&notified, failed.as_ref()))
}

/// Sending is all that `notify` does: a signal ends it at once.
async fn unless_stopped<T>(app: &App, sending: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::select! {
        sent = sending => sent,
        () = app.signals.stop.cancelled() => Err(Failed::interrupted()),
    }
}

fn would_be_told(email: &Email) -> Vec<Notified> {
    let would = |to: &String| Notified {
        to: to.clone(),
        ok: true,
        message: format!("would be told by {}:{}", email.server, email.port),
    };
    email.to.iter().map(would).collect()
}

async fn send_test(app: &App, email: &Email) -> Outcome<Vec<Notified>> {
    let password = password(app, email).await?;
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let now = Timestamp::now();
    let mail = Mail::test(RunId::new(now).as_str(), &host, now);
    Ok(email::send(email, password.as_ref(), &mail, DEADLINE).await)
}

fn last_run(app: &App, restore: &Restore) -> Outcome<Record> {
    let told = ["run", "restore", "swap", "undo", "drill"];
    history(app, &restore.name)
        .find(|record| told.contains(&record.command.as_str()))
        .ok_or_else(|| {
            Failed::new(
                Verdict::Stale,
                format!("find a report of job `{}`: there is none", restore.name),
            )
            .hint("`backupctl notify --test` sends a test message")
        })
}
