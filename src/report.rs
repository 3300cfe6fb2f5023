//! What happened in a run: the JSON in `state_dir/runs/`, from which the mail and the text on stdout are made.
//!
//! Written anew at every step, so that a killed run leaves a true record; only the last step sets `done`. Field names are a contract.

mod chain;
mod compared;
mod drill;
mod history;
mod step;

use std::borrow::Cow;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::chain::{Audit, OnDisk, Problem, audit, catch_up, prune, rewrite};
pub use self::compared::{Compared, Lost, Presence, TableRows, TableTotals};
pub use self::drill::{CountedTable, DrillFacts, Origin, Place};
pub use self::history::{
    NewestFirst, current_step, file, history, is_any_before, newest_first, remove_logs_before,
};
pub use self::step::Step;
use crate::durable;
use crate::run::{Noted, Run};
use crate::secret::Scrubber;
use crate::verdict::{Failed, Outcome, Verdict};

/// The archive as the store named it and as it was proven.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveFacts {
    pub name: String,
    pub bytes: u64,
    /// The store's modification time.
    pub modified: Option<Timestamp>,
    /// The time in its name; only where the job goes by names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Timestamp>,
    /// Lower-case hex; null until the whole file was read.
    pub sha256: Option<String>,
}

/// The dump as its own header describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpFacts {
    pub name: String,
    pub bytes: u64,
    /// `custom`, `tar` or `directory`.
    pub format: String,
    pub pg_dump_version: String,
    /// The server that was dumped.
    pub server_version: String,
}

/// The live database; of `restore --as`, the one beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    pub host: String,
    pub name: String,
    pub server_version: String,
    /// What was live before the swap, kept for `undo`.
    pub previous: Option<String>,
    /// What is loaded and checked, and waits for `swap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
    /// What the new database took on the server once it was loaded and analyzed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The live database that this one is beside, and which is untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// From when on it is offered to be dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    pub step: Step,
    /// Null while the step runs: a run that was killed died in it.
    pub verdict: Option<Verdict>,
    pub seconds: f64,
    pub bytes: Option<u64>,
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    pub sql: String,
    /// In words: `at least 1`.
    pub expected: String,
    pub found: String,
    pub ok: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    pub to: String,
    pub ok: bool,
    pub message: String,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    pub run: String,
    pub command: String,
    pub job: String,
    pub host: String,
    pub version: String,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub seconds: f64,
    /// `unfinished` until the run has ended.
    #[serde(with = "unfinished")]
    pub verdict: Option<Verdict>,
    pub exit_code: Option<u8>,
    pub message: Option<String>,
    pub hint: Option<String>,
    pub archive: Option<ArchiveFacts>,
    pub dump: Option<DumpFacts>,
    pub database: Option<DatabaseFacts>,
    pub steps: Vec<StepRecord>,
    pub checks: Vec<CheckResult>,
    /// `lost`, `tables` and `table_totals`.
    #[serde(flatten)]
    pub compared: Compared,
    /// Only in a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillFacts>,
    pub notified: Vec<Notified>,
    pub warnings: Vec<String>,
    /// What a dry run found that the real one would do; only in a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// The file that `fetch` or `unzip` has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The run of an earlier `undo` that this `undo` takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The head of the chain over the reports when the run ended: the SHA-256 of its last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
}

impl Record {
    /// Whether it was about a database beside the live one, so that it says nothing about what is live.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        let database = self.database.as_ref();
        database.is_some_and(|database| database.beside.is_some())
    }
}

mod unfinished {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::verdict::Verdict;

    const WORD: &str = "unfinished";

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde calls"
    )]
    pub fn serialize<S: Serializer>(
        verdict: &Option<Verdict>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        verdict.map_or(WORD, Verdict::word).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Verdict>, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == WORD {
            return Ok(None);
        }
        Verdict::deserialize(serde::de::value::StringDeserializer::new(word)).map(Some)
    }
}

/// A run's report while it is being made.
#[derive(Debug)]
pub struct Report {
    pub record: Record,
    pub run: Run,
    /// None: kept in memory only (dry runs).
    file: Option<PathBuf>,
    clock: Instant,
    /// What others wrote is in here as well: servers, children, libraries.
    scrubber: Scrubber,
}

impl Report {
    /// A report of a run that starts now, unfinished. `state_dir` None keeps it off the disk.
    #[must_use]
    pub fn start(run: Run, command: &str, job: &str, state_dir: Option<&Path>) -> Self {
        let record = Record {
            format: 1,
            run: run.id.to_string(),
            command: command.to_owned(),
            job: job.to_owned(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Timestamp::now(),
            ended: None,
            seconds: 0.0,
            verdict: None,
            exit_code: None,
            message: None,
            hint: None,
            archive: None,
            dump: None,
            database: None,
            steps: Vec::new(),
            checks: Vec::new(),
            compared: Compared::default(),
            drill: None,
            notified: Vec::new(),
            warnings: Vec::new(),
            plan: Vec::new(),
            path: None,
            undoes: None,
            chain: None,
        };
        let file = state_dir.map(|dir| file(dir, run.id.as_str()));
        Self {
            record,
            run,
            file,
            clock: Instant::now(),
            scrubber: Scrubber::default(),
        }
    }

    /// From now on what this one has learnt is taken out of every text in the report.
    pub fn scrub_with(&mut self, scrubber: &Scrubber) {
        self.scrubber = scrubber.clone();
    }

    /// Only texts that somebody else may have had a word in: the fields of the contract stay what they are.
    fn scrub(&mut self) {
        let Record {
            message,
            hint,
            steps,
            checks,
            notified,
            warnings,
            ..
        } = &mut self.record;
        let steps = steps.iter_mut().filter_map(|step| step.message.as_mut());
        let checks = checks.iter_mut().map(|check| &mut check.found);
        let notified = notified.iter_mut().map(|told| &mut told.message);
        let texts = message.iter_mut().chain(hint).chain(warnings);
        for text in texts.chain(steps).chain(checks).chain(notified) {
            if let Cow::Owned(clean) = self.scrubber.scrub(text) {
                *text = clean;
            }
        }
    }

    /// From now on the report is also on disk; not before the job's lock is held.
    pub fn keep_in(&mut self, state_dir: &Path) {
        self.file = Some(file(state_dir, self.run.id.as_str()));
    }

    /// Takes the report off the disk again, with the run's log: of a run that found the database locked.
    pub fn forget(&mut self) {
        for file in self
            .file
            .take()
            .iter()
            .flat_map(|file| [file.clone(), file.with_extension("log")])
        {
            if let Err(error) = durable::remove(&file) {
                tracing::warn!("remove {}: {error}", file.display());
            }
        }
    }

    /// Runs one step: the only place where a step is timed, logged, recorded and judged.
    ///
    /// # Errors
    /// The step's own error with the step's name before it, or `interrupted`.
    pub async fn step<T>(
        &mut self,
        step: Step,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        let index = self.begin(step);
        let clock = Instant::now();
        let stop = self.run.stop.clone();
        let recorded_work = async {
            self.recorded(step)?;
            work.await
        };
        let outcome = tokio::select! {
            biased;
            outcome = recorded_work => outcome,
            () = stop.cancelled() => Err(Failed::interrupted()),
        };
        self.end(index, clock, outcome)
    }

    /// Like [`Report::step`], but a signal waits until the step is over: for the swap, which must not be left half known,
    /// and for telling people, which happens whatever came before.
    ///
    /// # Errors
    /// The step's own error with the step's name before it.
    pub async fn undivided_step<T>(
        &mut self,
        step: Step,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        let index = self.begin(step);
        let clock = Instant::now();
        let outcome = match self.recorded(step) {
            Ok(()) => work.await,
            Err(failed) => Err(failed),
        };
        self.end(index, clock, outcome)
    }

    /// Nothing is begun that could not be put on record; but people are told all the same.
    fn recorded(&mut self, step: Step) -> Outcome<()> {
        match self.save() {
            Err(failed) if step == Step::Notify => {
                self.run.notes.warn(failed.message());
                Ok(())
            }
            other => other,
        }
    }

    fn begin(&mut self, step: Step) -> usize {
        tracing::info!(run = %self.run.id, "{step}: started");
        self.run.progress.begin(&step.to_string());
        self.record.steps.push(StepRecord {
            step,
            verdict: None,
            seconds: 0.0,
            bytes: None,
            message: None,
        });
        self.record.steps.len() - 1
    }

    fn end<T>(&mut self, index: usize, clock: Instant, outcome: Outcome<T>) -> Outcome<T> {
        self.run.progress.end();
        let verdict = outcome
            .as_ref()
            .map_or_else(|failed| failed.verdict, |_| Verdict::Done);
        let (bytes, message) = {
            let mut noted = self.run.notes.lock();
            (noted.bytes.take(), noted.message.take())
        };
        let record = &mut self.record.steps[index];
        record.verdict = Some(verdict);
        record.seconds = rounded(clock);
        record.bytes = bytes;
        // What was noted on the way must not stand where the failure belongs.
        record.message = outcome.as_ref().err().map(Failed::message).or(message);
        let (step, seconds) = (record.step, record.seconds);
        tracing::info!(run = %self.run.id, seconds, bytes, %verdict, "{step}: ended");
        if let Err(failed) = self.save() {
            // What was done is done, above all a swap: it does not fail because it can't be written down.
            self.run.notes.warn(failed.message());
        }
        outcome.map_err(|failed| failed.context(step))
    }

    /// Writes what is known so far.
    ///
    /// # Errors
    /// `local`: the state directory can't be written; a run without a record must not go on.
    pub fn save(&mut self) -> Outcome<()> {
        self.take_notes();
        self.record.seconds = rounded(self.clock);
        let Some(file) = &self.file else {
            return Ok(());
        };
        history::write(file, &self.record).map_err(|error| {
            Failed::new(
                Verdict::Local,
                format!("write the report {}: {error}", file.display()),
            )
            .hint("free space on that file system, or mend the permissions of `state_dir`")
        })
    }

    /// Sets the run's verdict from how it went; called again it may only get worse.
    pub fn judge(&mut self, outcome: &Outcome<()>) {
        match outcome {
            Ok(()) => self.record.verdict = Some(self.record.verdict.unwrap_or(Verdict::Done)),
            Err(failed) => self.fail(failed),
        }
        self.record.exit_code = self.record.verdict.map(Verdict::exit_code);
        self.record.ended = Some(Timestamp::now());
        self.take_notes();
        self.record.seconds = rounded(self.clock);
    }

    /// Turns `done` into `attention`: the data is good, but `duty` is open.
    pub fn attention(&mut self, duty: &str, hint: &str) {
        if self
            .record
            .verdict
            .is_none_or(|verdict| verdict == Verdict::Done)
        {
            self.record.verdict = Some(Verdict::Attention);
            self.record.exit_code = Some(Verdict::Attention.exit_code());
            self.record.message = Some(duty.to_owned());
            self.record.hint = Some(hint.to_owned());
        } else {
            self.run.notes.warn(duty);
        }
    }

    fn fail(&mut self, failed: &Failed) {
        let known = self.record.verdict.unwrap_or(Verdict::Done);
        if known == known.worst(failed.verdict) && known != failed.verdict {
            return;
        }
        self.record.verdict = Some(failed.verdict);
        self.record.message = Some(failed.message());
        self.record.hint.clone_from(&failed.hint);
    }

    fn take_notes(&mut self) {
        let mut noted = self.run.notes.lock();
        let Noted {
            warnings,
            archive,
            dump,
            database,
            checks,
            compared,
            drill,
            plan,
            ..
        } = &mut *noted;
        self.record.compared.clone_from(compared);
        self.record.drill.clone_from(drill);
        self.record.plan.clone_from(plan);
        self.record.warnings.clone_from(warnings);
        self.record.archive.clone_from(archive);
        self.record.dump.clone_from(dump);
        self.record.database.clone_from(database);
        self.record.checks.clone_from(checks);
        drop(noted);
        self.scrub();
    }
}

fn rounded(clock: Instant) -> f64 {
    (clock.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
