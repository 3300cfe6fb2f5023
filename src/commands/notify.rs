//! `notify`, and the telling at the end of every run: who gets which report, and what is said when one can't be delivered.

pub mod channels;
pub mod kept;

use std::time::Instant;

use tokio::time::timeout;

use self::channels::{Channels, DEADLINE, What, in_time, is_webhook};
use super::{App, open_duties, ping};
use crate::config::Restore;
use crate::notify::{self, message};
use crate::report::{self, Notified, Record, Report, Step};
use crate::verdict::{Failed, Outcome, Verdict};

/// Sends the report of a run that has just been judged, if the configuration wants it, and those of earlier runs that could
/// not be delivered.
pub async fn tell(app: &App, report: &mut Report) {
    let Some(channels) = Channels::of(&app.config) else {
        return;
    };
    let verdict = report.record.verdict.unwrap_or(Verdict::Bug);
    let last = last_verdict(app, &report.record);
    let is_wanted = notify::wanted(app.config.notify.on, verdict, last);
    let kept = kept::kept(app, &report.record);
    if !is_wanted && kept.is_empty() {
        return;
    }
    let record = report.record.clone();
    let notes = report.run.notes.clone();
    let mut notified = Vec::new();
    let clock = Instant::now();
    let work = async {
        if is_wanted {
            notified = channels.send(app, What::Report(&record)).await;
            notes.message(delivered(&notified));
        }
        // Together with those before: every mail of a run within one deadline.
        let left = DEADLINE.saturating_sub(clock.elapsed());
        let sending = kept::send_kept(app, &channels, kept, &notified);
        let sent = in_time(app, "server", async { Ok(timeout(left, sending).await) }).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!(
                "there was no time for all earlier reports; the next run sends the rest"
            );
        }
        open_duties(&undelivered(&notified))
    };
    // What became of it is in `notified` and in the step; a failure here is `attention`, never more.
    let is_told = report.undivided_step(Step::Notify, work).await.is_ok();
    report.record.notified = notified;
    if !is_told {
        let failed = undelivered(&report.record.notified).join("; ");
        let hint = hint(&report.record);
        report.attention(&format!("the report was not delivered to {failed}"), &hint);
    }
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

/// The tables of the channels that failed.
fn tables(notified: &[Notified]) -> String {
    let failed = || notified.iter().filter(|notified| !notified.ok);
    let mail = failed().any(|n| !is_webhook(&n.to));
    let webhook = failed().any(|n| is_webhook(&n.to));
    match (mail, webhook) {
        (true, true) => "`notify.email` and `notify.webhook`",
        (false, true) => "`notify.webhook`",
        _ => "`notify.email`",
    }
    .to_owned()
}

fn hint(record: &Record) -> String {
    format!(
        "mend {} and try it with `backupctl notify --test`; the report goes out with the next run, or now with `backupctl notify {}`",
        tables(&record.notified),
        record.job
    )
}

/// What a report says to people, in the mail and on stdout alike.
pub fn text(app: &App, record: &Record) -> String {
    message::text(
        record,
        Some(&report::file(&app.config.state_dir, &record.run)),
    )
}

/// Earlier reports of a job, newest first, each read when its turn comes; none where they can't be listed.
fn history(app: &App, job: &str) -> impl Iterator<Item = Record> + use<> {
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

/// `backupctl notify [JOB]`: the last run's report again by every channel, or a test message by every channel and ping.
pub async fn command(app: &App, job: Option<&str>, test: bool) -> Outcome<Verdict> {
    let channels = Channels::of(&app.config);
    let notified = if test {
        tested(app, channels.as_ref(), job).await?
    } else {
        again(app, channels.as_ref(), job).await?
    };
    let missed: Vec<&str> = notified
        .iter()
        .filter(|notified| !notified.ok)
        .map(|notified| notified.to.as_str())
        .collect();
    let failed = (!missed.is_empty()).then(|| {
        let what = format!("the message was not delivered to {}", missed.join(", "));
        let hint = if missed.iter().any(|to| to.ends_with(ping::MARK)) {
            "mend `[notify]` and try again".to_owned()
        } else {
            format!("mend {} and try again", tables(&notified))
        };
        Failed::new(Verdict::Attention, what).hint(hint)
    });
    Ok(app.output.notified(&notified, failed.as_ref()))
}

fn nobody() -> Failed {
    Failed::new(
        Verdict::Config,
        "tell anybody: there is no [notify.email] and no [notify.webhook]",
    )
    .hint("config.example.toml shows their settings")
}

async fn again(
    app: &App,
    channels: Option<&Channels>,
    job: Option<&str>,
) -> Outcome<Vec<Notified>> {
    let channels = channels.ok_or_else(nobody)?;
    let mut record = last_run(app, super::job(&app.config, job)?)?;
    if app.options.dry_run {
        return channels.would_be_told(app).await;
    }
    unless_stopped(app, channels.judge(app)).await?;
    let sending = async { Ok(channels.send(app, What::Report(&record)).await) };
    let sent = unless_stopped(app, sending).await?;
    kept::remember(app, &mut record, &sent);
    Ok(sent)
}

async fn tested(
    app: &App,
    channels: Option<&Channels>,
    job: Option<&str>,
) -> Outcome<Vec<Notified>> {
    let jobs = match job {
        Some(_) => vec![super::job(&app.config, job)?],
        None => app.config.restores.iter().collect(),
    };
    let pings = unless_stopped(app, ping::all(app, &jobs)).await?;
    if channels.is_none() && pings.is_empty() {
        return Err(nobody());
    }
    let mut notified = Vec::new();
    if let Some(channels) = channels {
        notified = if app.options.dry_run {
            channels.would_be_told(app).await?
        } else {
            unless_stopped(app, channels.judge(app)).await?;
            unless_stopped(app, async { Ok(channels.send(app, What::Test).await) }).await?
        };
    }
    if app.options.dry_run {
        notified.extend(pings.iter().map(ping::would_be_told));
    } else {
        let tested = async { Ok(ping::test(app, &pings).await) };
        notified.extend(unless_stopped(app, tested).await?);
    }
    Ok(notified)
}

/// Sending is all that `notify` does: a signal ends it at once.
async fn unless_stopped<T>(app: &App, sending: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::select! {
        sent = sending => sent,
        () = app.signals.stop.cancelled() => Err(Failed::interrupted()),
    }
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
