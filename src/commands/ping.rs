//! The dead man's switch: told that a `run` begins and how it ended, and nothing else, since whatever it hears it takes for a sign of life.
//!
//! Not of single steps by hand, nor of a dry run or a `locked` one: they say nothing about the nightly refresh.

use super::notify::channels::{in_time, way, words};
use super::{App, Order};
use crate::config::Restore;
use crate::notify::http::{self, Message, Way};
use crate::notify::ping::{self, Signal};
use crate::report::{Notified, Record, Report};
use crate::run::Run;
use crate::verdict::{Failed, Outcome};

/// Behind the origin of a ping where one is told of beside the channels.
pub const MARK: &str = " (ping)";

/// The switch of one run, and the id that its begin and its end have in common.
#[derive(Debug)]
pub struct Pulse {
    id: String,
    /// What is wrong with it ends the run where its secrets are opened.
    way: Outcome<Way>,
}

impl Pulse {
    /// None where nobody listens to this command.
    pub async fn of(app: &App, restore: &Restore, order: Order) -> Option<Self> {
        let url = app.config.notify.ping_of(restore)?;
        if order.command != "run" || app.options.dry_run {
            return None;
        }
        Some(Self {
            id: ping::new_id(),
            way: in_time(app, "ping's secret", way(app, url, &restore.name)).await,
        })
    }

    /// A switch that can't be reached keeps no data from being refreshed.
    pub async fn begin(&self, app: &App, record: &Record, run: &Run) {
        let Ok(way) = &self.way else {
            return;
        };
        let text = format!("run {} of job {} has begun\n", record.run, record.job);
        let sending = self.send(way, Signal::Start, ping::plain(&text));
        let told = tokio::select! {
            told = sending => told,
            () = run.stop.cancelled() => return,
        };
        if let Err(failed) = told {
            let told = format!(
                "the begin was not told to {}: {}; the run goes on",
                way.endpoint.origin(),
                failed.message()
            );
            run.notes.warn(app.output.scrubber.scrub(&told));
        }
    }

    /// How it ended, once everybody else is told: whether that failed belongs to it.
    pub async fn end(&self, app: &App, report: &mut Report) {
        let signal = Signal::of(report.record.verdict);
        let told = match &self.way {
            Ok(way) => {
                let message = scrubbed(app, ping::message(&report.record));
                in_time(app, "ping's server", self.send(way, signal, message)).await
            }
            Err(failed) => Err(Failed::new(failed.verdict, failed.message())),
        };
        let Err(failed) = told else {
            return;
        };
        let whom = match &self.way {
            Ok(way) => way.endpoint.origin(),
            Err(_) => "the ping".to_owned(),
        };
        let duty = format!("the end was not told to {whom}: {}", failed.message());
        let hint = failed.hint.unwrap_or_default();
        let hint = format!("mend `ping` and try it with `backupctl notify --test`; {hint}");
        let hint = hint.trim_end_matches("; ");
        report.attention(&app.output.scrubber.scrub(&duty), hint);
    }

    async fn send(&self, there: &Way, signal: Signal, message: Message) -> Outcome<()> {
        let answer =
            http::post(&ping::way(there, signal, &self.id), &message, http::BOUNDS).await?;
        tracing::info!(
            "ping: {signal:?} told to {}: {answer}",
            there.endpoint.origin()
        );
        Ok(())
    }
}

fn scrubbed(app: &App, message: Message) -> Message {
    let body = app.output.scrubber.scrub(&message.body).into_owned();
    Message { body, ..message }
}

/// The switches of these jobs, each once.
///
/// # Errors
/// `config`: a secret is missing or no URL.
pub async fn all(app: &App, jobs: &[&Restore]) -> Outcome<Vec<Way>> {
    let mut found: Vec<Way> = Vec::new();
    for restore in jobs {
        let Some(url) = app.config.notify.ping_of(restore) else {
            continue;
        };
        let there = way(app, url, &restore.name).await?;
        if found.iter().all(|known| known.endpoint != there.endpoint) {
            found.push(there);
        }
    }
    Ok(found)
}

/// An entry in their logs: a success would be a lie, and a failure an alarm.
pub async fn test(app: &App, switches: &[Way]) -> Vec<Notified> {
    let id = ping::new_id();
    let mut told = Vec::new();
    for there in switches {
        let message = ping::plain("a test by `backupctl notify --test`\n");
        let sent = http::post(&ping::way(there, Signal::Log, &id), &message, http::BOUNDS).await;
        let (ok, message) = match sent {
            Ok(answer) => (true, format!("{answer}, as an entry in its log")),
            Err(failed) => (false, words(&failed)),
        };
        told.push(Notified {
            to: named(there),
            ok,
            message: app.output.scrubber.scrub(&message).into_owned(),
        });
    }
    told
}

pub fn would_be_told(there: &Way) -> Notified {
    Notified {
        to: named(there),
        ok: true,
        message: "would get an entry in its log".to_owned(),
    }
}

fn named(there: &Way) -> String {
    format!("{}{MARK}", there.endpoint.origin())
}
