//! One file per command: its flags and its flow, readable top to bottom.
//!
//! What every job's command has around it stands here: lock, secrets, report, leftovers, verdict, mail.

pub mod after_checks;
pub mod beside;
pub mod check;
pub mod drill;
pub mod fetch;
pub mod hooks;
pub mod in_place;
pub mod init;
mod jobs;
pub mod leftovers;
pub mod list;
pub mod metrics;
pub mod notify;
pub mod old_runs;
pub mod ping;
pub mod prepared;
pub mod previous;
pub mod reach;
pub mod report;
pub mod restore;
pub mod run;
pub mod schedule;
pub mod space;
pub mod status;
pub mod stream;
pub mod swap;
pub mod telling;
pub mod trust;
pub mod undo;
pub mod unzip;
pub mod vault;

pub use self::jobs::{job, jobs};
use self::ping::Pulse;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::config::{Config, Postgres, Restore, SecretRef, Store, StoreKind, Unchanged};
use crate::escape::said;
use crate::journal::{Created, Journal};
use crate::lock::{self, Holder, Lock, Refused};
use crate::log::RunLog;
use crate::output::Output;
use crate::report::{self as reports, Record, Report};
use crate::run::{Notes, Run, RunId};
use crate::secret::{Secret, Secrets};
use crate::state_dir;
use crate::store::choose::Earlier;
use crate::verdict::{Failed, Judge, Outcome, Signal, Verdict};

/// So long a run that was ended by a signal may take to remove what it has made.
const CLEANING_AFTER_STOP: Duration = Duration::from_secs(5);

/// What lives as long as the process.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub options: Global,
    pub output: Output,
    pub run_log: RunLog,
    pub signals: Signals,
}

/// SIGINT and SIGTERM: the first one asks the run to end in order, the second one to end it without the rest of the order.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    pub stop: CancellationToken,
    pub at_once: CancellationToken,
    pub which: Arc<OnceLock<Signal>>,
}

impl Signals {
    /// Over once a signal came and `longest` has passed since, or a second signal; says which.
    pub async fn patience_after_stop(&self, longest: Duration) -> String {
        self.stop.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(longest) => format!("a signal has ended the run, and {longest:?} passed after it"),
            () = self.at_once.cancelled() => "a second signal has ended the run at once".to_owned(),
        }
    }

    /// Which signal it was is known here alone.
    #[must_use]
    pub fn named(&self, mut failed: Failed) -> Failed {
        if let (Verdict::Interrupted(_), Some(signal)) = (failed.verdict, self.which.get()) {
            failed.verdict = Verdict::Interrupted(*signal);
        }
        failed
    }
}

/// One restore job with everything its steps need.
#[derive(Debug)]
pub struct Job<'a> {
    pub config: &'a Config,
    pub restore: &'a Restore,
    pub store: &'a Store,
    pub database: &'a Postgres,
    pub secrets: Secrets,
    pub run: Run,
}

impl Job<'_> {
    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    /// A secret that this command asked for when it was set up.
    pub fn secret(&self, reference: Option<&SecretRef>) -> Option<Secret> {
        reference.map(|reference| self.secrets.get(reference).clone())
    }

    /// Earlier runs of this job, newest first; unreadable history is told and taken as none.
    pub fn history(&self) -> Vec<Record> {
        self.newest_first().collect()
    }

    /// Like [`Self::history`], each report read when its turn comes.
    pub fn newest_first(&self) -> impl Iterator<Item = Record> {
        self.reports_of(self.restore)
    }

    /// What earlier runs did with archives; other jobs may have changed the same database since.
    pub fn earlier(&self) -> Earlier {
        let earlier = Earlier::from_history(&self.history());
        if self.restore.unchanged == Unchanged::Restore {
            return earlier;
        }
        let jobs = self.config.restores.iter();
        let beside =
            jobs.filter(|job| job.name != self.restore.name && job.into == self.restore.into);
        earlier.beside(beside.flat_map(|job| self.reports_of(job)))
    }

    fn reports_of(&self, restore: &Restore) -> impl Iterator<Item = Record> + use<> {
        let listed = reports::newest_first(self.state_dir(), &restore.name);
        let listed = listed.inspect_err(|error| {
            self.run.notes.warn(format!(
                "read the earlier reports in {}: {error}",
                self.state_dir().display()
            ));
        });
        listed.into_iter().flatten()
    }
}

/// What a command needs around it.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub command: &'static str,
    pub store: bool,
    /// Whether it reads what is in archives.
    pub archives: bool,
    pub database: bool,
    /// Whether people are told when it has ended.
    pub mail: bool,
}

/// Does one command for one job: sets it up, runs `work`, cleans up, judges, records and tells.
/// Returns the report as it stands at the end, whatever happened.
pub async fn perform(
    app: &App,
    restore: &Restore,
    order: Order,
    work: impl AsyncFnOnce(&Job<'_>, &mut Report) -> Outcome<()>,
) -> Record {
    let mut report = begin(app, restore, order);
    let run = report.run.clone();
    let lock = match locked(app, restore, order, &run) {
        Ok(lock) => lock,
        Err(failed) => {
            report.judge(&Err(failed));
            telling::of_none(app, restore, order, &mut report).await;
            return report.record;
        }
    };
    if !app.options.dry_run {
        keep_record(app, &mut report, &run);
    }
    // Boxed, as what follows: the type of everything that a run awaits is deeper than the compiler follows, and a debug build's stack.
    let pulse = Box::pin(Pulse::of(app, restore, order)).await;
    if let Some(pulse) = &pulse {
        Box::pin(pulse.begin(app, &report.record, &run)).await;
    }
    let outcome = Box::pin(guarded(app, restore, order, &mut report, work)).await;
    finish(app, (order, pulse), &mut report, outcome).await;
    if lock.is_some() {
        old_runs::prune(app, restore);
    }
    drop(lock);
    report.record
}

/// Does a command that only looks: it takes no lock, so that it can be used while a run is at work, and leaves no trace.
pub async fn look(
    app: &App,
    restore: &Restore,
    order: Order,
    work: impl AsyncFnOnce(&Job<'_>, &mut Report) -> Outcome<()>,
) -> Record {
    let mut report = begin(app, restore, order);
    let outcome = match state_dir::usable(&app.config.state_dir) {
        Ok(()) => attempt(app, restore, order, &mut report, work).await,
        Err(failed) => Err(failed),
    };
    report.judge(&outcome.map_err(|failed| app.signals.named(failed)));
    report.record
}

/// A report that is in memory only.
fn begin(app: &App, restore: &Restore, order: Order) -> Report {
    let id = RunId::new(Timestamp::now());
    let run = Run {
        journal: Journal::new(&app.config.state_dir, &id, &restore.name, order.command),
        id,
        notes: Notes::default(),
        progress: app.output.progress.clone(),
        stop: app.signals.stop.clone(),
    };
    let mut report = Report::start(run, order.command, &restore.name, None);
    report.scrub_with(&app.output.scrubber);
    report
}

/// The lock of the job; a dry run takes none, but tells whether the real run would get it.
fn locked(app: &App, restore: &Restore, order: Order, run: &Run) -> Outcome<Option<Lock>> {
    let directory = &app.config.state_dir;
    if app.options.dry_run {
        state_dir::usable(directory)?;
        return match lock::held(directory, &restore.name) {
            Some(holder) => Err(active(app, restore, holder)),
            None => Ok(None),
        };
    }
    state_dir::ready(directory)?;
    let command = order.command.to_owned();
    let us = Holder {
        pid: process::id(),
        run: run.id.to_string(),
        command,
        started: Timestamp::now(),
    };
    match lock::hold(directory, &restore.name, &us) {
        Ok(lock) => Ok(Some(lock)),
        Err(Refused::Held(holder)) => Err(active(app, restore, holder)),
        Err(Refused::Failed(failed)) => Err(failed),
    }
}

fn active(app: &App, restore: &Restore, holder: Option<Holder>) -> Failed {
    let Some(holder) = holder else {
        return Failed::new(
            Verdict::Locked,
            format!("another run of job `{}` has just started", restore.name),
        );
    };
    let step = reports::current_step(&app.config.state_dir, &holder.run);
    let step = step.map_or_else(String::new, |step| format!(", in step {step}"));
    let Holder {
        pid,
        command,
        started,
        ..
    } = holder;
    Failed::new(
        Verdict::Locked,
        format!(
            "job `{}` is locked by `backupctl {command}` (pid {pid}), started {started:.0}{step}",
            restore.name
        ),
    )
    .hint(format!("wait for it, or end it in order with `kill {pid}`"))
}

/// A run that holds its lock for six times the longest pause it may make, beside its wait for an archive, is worth a mail.
fn is_overdue(app: &App, restore: &Restore) -> bool {
    let holder = lock::held(&app.config.state_dir, &restore.name).flatten();
    holder.is_some_and(|holder| {
        let age = Timestamp::now()
            .duration_since(holder.started)
            .unsigned_abs();
        age > restore.wait_for.saturating_add(restore.stall * 6)
    })
}

fn keep_record(app: &App, report: &mut Report, run: &Run) {
    report.keep_in(&app.config.state_dir);
    let begun = report.save().and_then(|()| {
        app.run_log
            .begin(&state_dir::run_log(&app.config.state_dir, run.id.as_str()))
            .judge(Verdict::Local, "create the run's log")
    });
    if let Err(failed) = begun {
        run.notes.warn(failed.message());
    }
}

/// The work between cleaning up after runs that died and after this one.
async fn guarded(
    app: &App,
    restore: &Restore,
    order: Order,
    report: &mut Report,
    work: impl AsyncFnOnce(&Job<'_>, &mut Report) -> Outcome<()>,
) -> Outcome<()> {
    let changes = !app.options.dry_run;
    let run = report.run.clone();
    let outcome = attempt(app, restore, order, report, async |job, report| {
        if changes {
            leftovers::clean(job, order).await;
        }
        work(job, report).await
    })
    .await
    .map_err(|failed| undecided(failed, &run));
    if changes {
        clean_up(app, restore, order, &run).await;
    }
    outcome
}

/// After a signal only for a while: what is not removed is in the journal, and the next run's.
async fn clean_up(app: &App, restore: &Restore, order: Order, run: &Run) {
    tokio::select! {
        () = leftovers::clean_up(app, restore, order, run) => {}
        why = app.signals.patience_after_stop(CLEANING_AFTER_STOP) => run.notes.warn(format!(
            "not everything was cleaned up: {why}; the next run of this job does it",
        )),
    }
}

/// Secrets and the work itself; a panic in any of it is a `bug` like every other verdict.
async fn attempt(
    app: &App,
    restore: &Restore,
    order: Order,
    report: &mut Report,
    work: impl AsyncFnOnce(&Job<'_>, &mut Report) -> Outcome<()>,
) -> Outcome<()> {
    let run = report.run.clone();
    let attempt = async {
        let job = set_up(app, restore, order, &run).await?;
        work(&job, report).await
    };
    AssertUnwindSafe(attempt)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(bug(&*panic)))
}

/// A panic as the verdict that it is.
pub fn bug(panic: &(dyn std::any::Any + Send)) -> Failed {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Failed::new(Verdict::Bug, format!("backupctl panicked: {}", said(&text)))
        .hint("please report this with the run's log")
}

/// A panic after the live database began to be changed leaves open which one is live.
fn undecided(failed: Failed, run: &Run) -> Failed {
    if failed.verdict != Verdict::Bug || !run.journal.created().iter().any(Created::touches_live) {
        return failed;
    }
    Failed {
        verdict: Verdict::Unclear,
        hint: None,
        ..failed
    }
    .hint("look at the live database now: it may be the old or the new one; the next run finds out and says so")
}

/// The job with every secret that the command needs, before any socket is opened.
///
/// A signal ends the wait for a command that prints one.
async fn set_up<'a>(
    app: &'a App,
    restore: &'a Restore,
    order: Order,
    run: &Run,
) -> Outcome<Job<'a>> {
    let config = &app.config;
    let (Some(store), Some(database)) = (
        config.stores.get(&restore.from),
        config.databases.get(&restore.into),
    ) else {
        return Err(Failed::new(
            Verdict::Bug,
            format!(
                "job `{}` names a store or database that is not there",
                restore.name
            ),
        ));
    };
    let mut needed: Vec<&SecretRef> = Vec::new();
    if let (true, StoreKind::Sftp(sftp)) = (order.store, &store.kind) {
        needed.extend(sftp.password.iter().chain(&sftp.passphrase));
    }
    if order.archives {
        needed.extend(&restore.zip_password);
    }
    if order.database {
        needed.extend(&database.password);
    }
    if order.mail {
        needed.extend(telling::secrets(config, restore));
    }
    let secrets = tokio::select! {
        secrets = Secrets::open(&config.secrets, &needed) => secrets?,
        () = run.stop.cancelled() => return Err(Failed::interrupted()),
    };
    secrets.teach(&app.output.scrubber);
    for warning in secrets.warnings() {
        run.notes.warn(warning);
    }
    if order.mail {
        notify::channels::judge_urls(app, restore, &secrets)?;
    }
    Ok(Job {
        config,
        restore,
        store,
        database,
        secrets,
        run: run.clone(),
    })
}

async fn finish(
    app: &App,
    (order, pulse): (Order, Option<Pulse>),
    report: &mut Report,
    outcome: Outcome<()>,
) {
    let outcome = outcome.map_err(|failed| app.signals.named(failed));
    if app.options.dry_run && outcome.is_ok() {
        let conclusion = "result    nothing was changed; the real one would start".to_owned();
        report.run.notes.plan(vec![conclusion]);
    }
    report.judge(&outcome);
    if app.options.dry_run {
        return;
    }
    if report.record.verdict == Some(Verdict::Locked) {
        // The live database is held by a run of another machine: nothing happened here that `status` or a mail should tell. A switch
        // that was told of the begin would raise the alarm without a reason.
        if let Some(pulse) = pulse {
            Box::pin(pulse.end(app, report)).await;
        }
        app.run_log.end();
        return report.forget();
    }
    report.catch_up(&app.config.state_dir);
    telling::of_end(app, (order, pulse), report).await;
    report.ended(&app.config.state_dir);
    tracing::info!(run = %report.run.id, "ended: {}", report.record.verdict.unwrap_or(Verdict::Bug));
    app.run_log.end();
}

/// The data is good; what is left to do for the operator makes it `attention`.
///
/// # Errors
/// `attention`, with every duty.
pub fn open_duties(duties: &[String]) -> Outcome<()> {
    if duties.is_empty() {
        return Ok(());
    }
    Err(Failed::new(Verdict::Attention, duties.join("; "))
        .hint("the data is live and good; look into this when you are awake"))
}
