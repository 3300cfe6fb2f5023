//! The last drill of a job, and whether there should have been another one since.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::format_duration;
use crate::report::{self, Record};
use crate::verdict::{Judge, Outcome, Verdict};

/// Reports that are looked through for a drill where they are older than `every`: a job may run every minute.
const REPORTS: usize = 1000;

/// The last drill, and the last one that was good.
#[derive(Debug, Default, Serialize)]
pub struct Drills {
    pub last_drill: Option<Drill>,
    pub last_good_drill: Option<Drill>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Drill {
    pub run: String,
    /// Its start, where it died.
    pub ended: Timestamp,
    pub age_seconds: f64,
    /// `unfinished` where it died.
    pub verdict: &'static str,
    pub archive: Option<String>,
    /// Null where it got not as far.
    pub time_to_restore_seconds: Option<f64>,
    pub message: Option<String>,
}

impl Drill {
    fn of(record: &Record, now: Timestamp) -> Self {
        let ended = record.ended.unwrap_or(record.started);
        let facts = record.drill.as_ref();
        Self {
            run: record.run.clone(),
            ended,
            age_seconds: now.duration_since(ended).as_secs_f64().max(0.0),
            verdict: record.verdict.map_or("unfinished", Verdict::word),
            archive: record.archive.as_ref().map(|archive| archive.name.clone()),
            time_to_restore_seconds: facts.and_then(|facts| facts.time_to_restore_seconds),
            message: record.message.clone(),
        }
    }
}

impl Drills {
    /// Those of the job, but for one that is at work as the run `running`.
    ///
    /// # Errors
    /// `local`: the reports can't be listed.
    pub fn of(
        (config, job): (&crate::config::Config, &str),
        running: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Self> {
        let records = report::newest_first(&config.state_dir, job).judge(
            Verdict::Local,
            format!("list the reports in {}", config.state_dir.display()),
        )?;
        let records = records.filter(|record| running != Some(record.run.as_str()));
        Ok(Self::among(records, config.drill.every, now))
    }

    /// Those among the reports of a job, from the newest to the oldest.
    pub fn among(
        records: impl Iterator<Item = Record>,
        every: Option<Duration>,
        now: Timestamp,
    ) -> Self {
        let every = every.unwrap_or_default();
        let is_within =
            |record: &Record| now.duration_since(record.started).unsigned_abs() <= every;
        let near =
            { records.enumerate() }.take_while(|(n, record)| *n < REPORTS || is_within(record));
        let mut found = Self::default();
        for (_, record) in near {
            if !record.is_drill() {
                continue;
            }
            let drill = Drill::of(&record, now);
            found.last_drill.get_or_insert_with(|| drill.clone());
            if record.verdict.is_some_and(Verdict::is_good) {
                found.last_good_drill = Some(drill);
                break;
            }
        }
        found
    }

    /// Why there should have been another one by now; None where nobody asked for any, or there was.
    pub fn overdue(&self, every: Option<Duration>) -> Option<String> {
        let every = every?;
        let limit = format_duration(every);
        let Some(good) = &self.last_good_drill else {
            return Some(format!(
                "no drill has proven yet that a backup restores; `every` of [drill] is {limit}"
            ));
        };
        (good.age_seconds > every.as_secs_f64()).then(|| {
            format!(
                "the last good drill is {} old, `every` of [drill] is {limit}",
                time(good.age_seconds)
            )
        })
    }

    /// For people; nothing where there never was one.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let good = self.last_good_drill.as_ref();
        let mut rows: Vec<_> = good
            .map(|good| ("good drill", good.in_words()))
            .into_iter()
            .collect();
        let last = self.last_drill.as_ref();
        let last = last.filter(|last| good.is_none_or(|good| good.run != last.run));
        rows.extend(last.map(|last| ("last drill", last.in_words())));
        rows
    }
}

impl Drill {
    /// `2026-11-20T02:00:00Z, 6 h ago, restored in 4 min`.
    pub fn in_words(&self) -> String {
        let took = match self.time_to_restore_seconds {
            Some(seconds) => format!("restored in {}", time(seconds)),
            None => self.verdict.to_owned(),
        };
        let how = match self.verdict {
            "done" | "attention" => String::new(),
            verdict if self.time_to_restore_seconds.is_some() => format!(", {verdict}"),
            _ => String::new(),
        };
        format!(
            "{:.0}, {} ago, {took}{how}",
            self.ended,
            time(self.age_seconds)
        )
    }
}

fn time(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
