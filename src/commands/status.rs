//! `status`: what the reports of a job say of it now. It connects to nothing, takes no lock and leaves no trace, so that a monitor
//! may ask every minute.

pub mod drill;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use self::drill::Drills;
use super::App;
use super::schedule::found::{self, Next};
use crate::config::{Restore, format_duration};
use crate::escape::said;
use crate::lock;
use crate::report::{self, Record, Step, StepRecord};
use crate::state_dir;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// What is known of a job.
#[derive(Debug, Serialize)]
pub struct State {
    format: u32,
    command: &'static str,
    version: &'static str,
    job: String,
    verdict: Verdict,
    exit_code: u8,
    message: Option<String>,
    hint: Option<String>,
    last_run: Option<Last>,
    last_success: Option<Success>,
    #[serde(flatten)]
    drills: Drills,
    running: Option<Running>,
    /// Null where nothing of ours starts the job by itself.
    next_run: Option<Next>,
    targets: Targets,
    /// Each reason why the verdict is not `done`.
    problems: Vec<String>,
}

/// A run that has ended, well or not, or that died.
#[derive(Debug, Serialize)]
struct Last {
    run: String,
    command: String,
    started: Timestamp,
    /// Null where it died.
    ended: Option<Timestamp>,
    seconds: f64,
    /// `unfinished` where it died.
    verdict: &'static str,
    message: Option<String>,
}

/// The last run whose data is live, or that found it live already, and that no `undo` took back.
#[derive(Debug, Serialize)]
struct Success {
    run: String,
    ended: Timestamp,
    age_seconds: f64,
    seconds: f64,
    archive: Option<String>,
    /// The archive's time: how old the live data is.
    data_from: Option<Timestamp>,
    data_age_seconds: Option<f64>,
}

/// Whoever holds the job's lock.
#[derive(Debug, Serialize)]
struct Running {
    pid: u32,
    run: String,
    command: String,
    started: Timestamp,
    step: Option<Step>,
}

/// In seconds; null where the configuration, or the command line, sets none.
#[derive(Debug, Serialize)]
struct Targets {
    #[serde(rename = "max_age_seconds")]
    max_age: Option<f64>,
    #[serde(rename = "rpo_seconds")]
    rpo: Option<f64>,
    #[serde(rename = "rto_seconds")]
    rto: Option<f64>,
    #[serde(rename = "drill_every_seconds")]
    drill_every: Option<f64>,
}

/// `backupctl status [JOB]`, for one job.
///
/// # Errors
/// `config` or `local`: the state directory belongs to somebody else, or can't be read.
pub async fn command(app: &App, restore: &Restore, max_age: Option<Duration>) -> Outcome<State> {
    state_dir::usable(&app.config.state_dir)?;
    let next_run = found::next(&app.config.file, &restore.name).await;
    let now = Timestamp::now();
    let running = running(app, restore);
    let of_running = running.as_ref().map(|running| running.run.clone());
    let records = report::newest_first(&app.config.state_dir, &restore.name)
        .judge(
            Verdict::Local,
            format!("list the reports in {}", app.config.state_dir.display()),
        )?
        .filter(|record| changes_live(record) && of_running.as_ref() != Some(&record.run));
    let (last, success) = last_and_success(records);
    let drills = Drills::of((&app.config, &restore.name), of_running.as_deref(), now)?;
    let every = app.config.drill.every;
    let overdue = drills.overdue(every);
    let mut state = State {
        format: 1,
        command: "status",
        version: env!("CARGO_PKG_VERSION"),
        job: restore.name.clone(),
        verdict: Verdict::Done,
        exit_code: 0,
        message: None,
        hint: None,
        last_run: last.as_ref().map(ended),
        last_success: success.as_ref().map(|record| succeeded(record, now)),
        drills,
        running,
        next_run,
        targets: Targets {
            max_age: max_age.map(|limit| limit.as_secs_f64()),
            rpo: restore.targets.rpo.map(|limit| limit.as_secs_f64()),
            rto: restore.targets.rto.map(|limit| limit.as_secs_f64()),
            drill_every: every.map(|limit| limit.as_secs_f64()),
        },
        problems: Vec::new(),
    };
    judge(&mut state, last.as_ref(), overdue);
    Ok(state)
}

/// The last run, and the last success, of what may have made something live; from the newest report to the oldest.
pub fn last_and_success(
    newest_first: impl Iterator<Item = Record>,
) -> (Option<Record>, Option<Record>) {
    of_those(newest_first.filter(changes_live))
}

/// Commands that may have made something live; the others, and what was loaded beside it, say nothing of its age.
fn changes_live(record: &Record) -> bool {
    !record.is_beside() && matches!(record.command.as_str(), "run" | "restore" | "swap" | "undo")
}

/// Whether it found nothing to do: its archive was live already, or was prepared and waits.
fn is_idle(record: &Record) -> bool {
    let loads = |step: &StepRecord| matches!(step.step, Step::Restore | Step::Swap);
    record.command == "run" && !record.steps.is_empty() && !record.steps.iter().any(loads)
}

fn is_same_archive(a: &Record, b: &Record) -> bool {
    let file = |record: &Record| {
        let archive = record.archive.as_ref()?;
        Some((archive.name.clone(), archive.bytes, archive.modified))
    };
    file(a).is_some() && file(a) == file(b)
}

/// The last one, and the last success.
fn of_those(mut newest_first: impl Iterator<Item = Record>) -> (Option<Record>, Option<Record>) {
    let last = newest_first.next();
    let mut undone = Undone::default();
    let all = last.clone().into_iter().chain(newest_first);
    let mut idle = None;
    let success = { all }.find(|record| {
        if !is_idle(record) {
            return undone.is_still_live(record);
        }
        // What an undo has taken back since was found live by it, and is no more.
        if undone.taken_back == 0 && record.verdict.is_some_and(Verdict::is_good) {
            idle.get_or_insert_with(|| record.clone());
        }
        false
    });
    let found_live = idle.filter(|idle| {
        let success = success.as_ref();
        success.is_some_and(|success| is_same_archive(idle, success))
    });
    (last, found_live.or(success))
}

/// Which successes an `undo` took back, learnt while going from the newest report to the oldest.
#[derive(Default)]
struct Undone {
    /// Undos that a later undo has taken back.
    void: HashSet<String>,
    /// Successes still to be met that were taken back.
    taken_back: usize,
}

impl Undone {
    fn is_still_live(&mut self, record: &Record) -> bool {
        if !record.verdict.is_some_and(Verdict::is_good) {
            return false;
        }
        if record.command == "undo" {
            if let Some(undo) = &record.undoes {
                self.void.insert(undo.clone());
            } else if !self.void.contains(&record.run) {
                self.taken_back += 1;
            }
            return false;
        }
        // What was only prepared is not live; the `swap` that takes it is the record.
        if record
            .database
            .as_ref()
            .is_some_and(|database| database.scratch.is_some())
        {
            return false;
        }
        if self.taken_back > 0 {
            self.taken_back -= 1;
            return false;
        }
        true
    }
}

fn ended(record: &Record) -> Last {
    Last {
        run: record.run.clone(),
        command: record.command.clone(),
        started: record.started,
        ended: record.ended,
        seconds: record.seconds,
        verdict: record.verdict.map_or("unfinished", Verdict::word),
        message: record.message.clone(),
    }
}

fn succeeded(record: &Record, now: Timestamp) -> Success {
    let age = |since| age(since, now);
    let archive = record.archive.as_ref();
    let data_from = archive.and_then(|archive| archive.dated.or(archive.modified));
    let ended = record.ended.unwrap_or(record.started);
    Success {
        run: record.run.clone(),
        ended,
        age_seconds: age(ended),
        seconds: record.seconds,
        archive: archive.map(|archive| archive.name.clone()),
        data_from,
        data_age_seconds: data_from.map(age),
    }
}

/// In seconds; never less than nothing, whatever the clocks say.
fn age(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

fn running(app: &App, restore: &Restore) -> Option<Running> {
    let holder = lock::held(&app.config.state_dir, &restore.name)??;
    Some(Running {
        pid: holder.pid,
        step: report::current_step(&app.config.state_dir, &holder.run),
        run: holder.run,
        command: holder.command,
        started: holder.started,
    })
}

/// Age is what decides. Where nobody has said how old is too old, the last run's verdict does.
fn judge(state: &mut State, last: Option<&Record>, overdue: Option<String>) {
    let targets = &state.targets;
    let is_dated = targets.max_age.or(targets.rpo).is_some();
    let mut found = match &state.last_success {
        Some(success) => missed(success, targets),
        None => vec![(
            Verdict::Stale,
            "no run has made anything live yet".to_owned(),
        )],
    };
    found.extend(last.and_then(|record| of_last_run(record.verdict, is_dated)));
    let only_drill = found.is_empty();
    found.extend(overdue.map(|text| (Verdict::Attention, text)));
    let verdicts = found.iter().map(|(verdict, _)| *verdict);
    state.verdict = verdicts.fold(Verdict::Done, Verdict::worst);
    state.exit_code = state.verdict.exit_code();
    state.problems = found.into_iter().map(|(_, text)| text).collect();
    if state.verdict != Verdict::Done {
        let job = &state.job;
        state.message = Some(format!("{job}: {}", state.problems.join("; ")));
        state.hint = Some(if only_drill {
            format!("`backupctl drill {job}` makes one")
        } else {
            format!("`backupctl run {job} --dry-run` says whether a run would work now")
        });
    }
}

/// Every target that the last success does not meet.
fn missed(success: &Success, targets: &Targets) -> Vec<(Verdict, String)> {
    let over = |value: Option<f64>, limit: Option<f64>| {
        let (value, limit) = value.zip(limit).filter(|(value, limit)| value > limit)?;
        Some((time(value), time(limit)))
    };
    let age = over(Some(success.age_seconds), targets.max_age);
    let data = over(success.data_age_seconds, targets.rpo);
    let took = over(Some(success.seconds), targets.rto);
    let told = [
        age.map(|(age, limit)| {
            let text = format!("the last success is {age} old, the limit is {limit}");
            (Verdict::Stale, text)
        }),
        data.map(|(age, limit)| {
            let text = format!("the live data is {age} old, `rpo` is {limit}");
            (Verdict::Stale, text)
        }),
        took.map(|(took, limit)| {
            let text = format!("the last success took {took}, `rto` is {limit}");
            (Verdict::Attention, text)
        }),
    ];
    told.into_iter().flatten().collect()
}

/// Nobody may overlook a live database that is in doubt, however fresh it is.
fn of_last_run(verdict: Option<Verdict>, is_dated: bool) -> Option<(Verdict, String)> {
    match verdict {
        None => (!is_dated).then(|| (Verdict::Failed, "the last run died".to_owned())),
        Some(Verdict::Unclear) => Some((
            Verdict::Unclear,
            "the last run left it unclear what is live".to_owned(),
        )),
        Some(verdict) if verdict.is_good() || is_dated => None,
        Some(verdict) => Some((
            verdict,
            format!("the last run ended as `{}`", verdict.word()),
        )),
    }
}

/// The state for people, within 80 columns where the names allow it.
pub fn text(state: &State) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    match &state.last_success {
        Some(success) => rows.extend(success.rows()),
        None => rows.push(("last success", "none".to_owned())),
    }
    match &state.last_run {
        Some(last) => rows.extend(last.rows()),
        None => rows.push(("last run", "none".to_owned())),
    }
    rows.extend(state.drills.rows());
    rows.extend(state.running.as_ref().map(Running::row));
    rows.extend(state.next_run.as_ref().map(next_row));
    rows.extend(state.problems.iter().map(|text| ("problem", text.clone())));
    let lines = rows
        .iter()
        .map(|(name, text)| format!("  {name:<13} {text}"));
    let head = format!("{}: {}", state.job, state.word());
    std::iter::once(head)
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Success {
    fn rows(&self) -> [(&'static str, String); 2] {
        let by_hand = || "a dump that was given by hand".to_owned();
        let data = self.archive.as_deref().map_or_else(by_hand, said);
        let age = self
            .data_age_seconds
            .map(|age| format!(", {} old", time(age)));
        let (ended, ago, took) = (self.ended, time(self.age_seconds), time(self.seconds));
        [
            ("live data", data + &age.unwrap_or_default()),
            (
                "last success",
                format!("{ended:.0}, {ago} ago, took {took}"),
            ),
        ]
    }
}

impl Last {
    /// Why, only where it did not go well.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let (started, verdict, command) = (self.started, self.verdict, &self.command);
        let mut rows = vec![("last run", format!("{started:.0}, {verdict} `{command}`"))];
        let message = self.message.as_deref().filter(|_| verdict != "done");
        rows.extend(message.map(|message| ("", said(message))));
        rows
    }
}

impl Running {
    fn row(&self) -> (&'static str, String) {
        let step = self
            .step
            .map(|step| format!(", in step {step}"))
            .unwrap_or_default();
        let since = time(age(self.started, Timestamp::now()));
        let (command, pid) = (&self.command, self.pid);
        (
            "running",
            format!("`{command}` (pid {pid}){step}, for {since}"),
        )
    }
}

fn next_row(next: &Next) -> (&'static str, String) {
    let words = found::words(next);
    let none = if next.at.is_none() { "none: " } else { "" };
    ("next run", format!("{none}{words}"))
}

/// For people.
fn time(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

impl State {
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// `ok`, or what is wrong.
    pub(super) fn word(&self) -> &'static str {
        if self.problems.is_empty() {
            "ok"
        } else {
            self.verdict.word()
        }
    }

    /// The same in a line: what is wrong first, else how old what is live is.
    pub(super) fn brief(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let problems = self.problems.iter();
        let mut parts: Vec<_> = problems.map(|text| ("problem", said(text))).collect();
        if let Some(success) = &self.last_success {
            let rpo = self
                .targets
                .rpo
                .map(|limit| format!(", rpo {}", time(limit)));
            let age = success.data_age_seconds.map(time);
            let age = age.map(|age| format!("{age} old{}", rpo.unwrap_or_default()));
            parts.extend(age.map(|age| ("live data", age)));
            parts.push(("last success", format!("{} ago", time(success.age_seconds))));
        }
        if let Some(last) = &self.last_run {
            let ago = time(age(last.started, now));
            parts.push(("last run", format!("{}, {ago} ago", last.verdict)));
        }
        parts.extend(self.running.as_ref().map(Running::row));
        parts
    }

    /// Where it is red: what an error says.
    pub fn failure(&self) -> Option<Failed> {
        let failed = Failed::new(self.verdict, self.message.clone()?);
        Some(failed.hint(self.hint.clone().unwrap_or_default()))
    }
}
