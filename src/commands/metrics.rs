//! `[metrics] textfile`: what the last run of every job was like, for Prometheus.
//!
//! Made anew from the reports of all jobs each time, so that no run loses another's figures and a job that is no more vanishes.

use std::time::Duration;

use jiff::Timestamp;

use super::notify::kept;
use super::status::drill::{Drill, Drills};
use super::{App, status};
use crate::config::Restore;
use crate::lock;
use crate::metrics::{self, Family};
use crate::report::{self, Record, Report};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Others hold the lock for as long as it takes to read the last reports.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the file, with `report` as it stands, on disk or not. A file that can't be written is a duty. Whether it is up to date.
pub fn refresh(app: &App, report: &mut Report) -> bool {
    match written(app, &report.record) {
        Ok(()) => true,
        Err(failed) => {
            report.attention(
                &failed.message(),
                failed.hint.as_deref().unwrap_or_default(),
            );
            false
        }
    }
}

fn written(app: &App, present: &Record) -> Outcome<()> {
    let Some(file) = &app.config.metrics.textfile else {
        return Ok(());
    };
    let directory = file.parent().unwrap_or(file);
    let what = || format!("write the metrics {}", file.display());
    let hint = || {
        format!(
            "let the user who runs backupctl write in {} (it must exist), or correct `metrics.textfile`; \
             until then the monitor has old figures",
            directory.display()
        )
    };
    let turn = lock::wait(directory, PATIENCE).judge(Verdict::Attention, what());
    let _turn = turn.map_err(|failed| failed.hint(hint()))?;
    let mut families = Families::new();
    for restore in &app.config.restores {
        families.add(app, restore, present)?;
    }
    let written = metrics::write(file, &families.into_list());
    let written = written.judge(Verdict::Attention, what());
    written.map_err(|failed| failed.hint(hint()))
}

struct Families {
    last_run: Family,
    last_success: Family,
    data: Family,
    /// The last one, and the last good one.
    drills: [Family; 2],
    duration: Family,
    step: Family,
    /// Of archive, dump and database.
    sizes: [Family; 3],
    exit_code: Family,
    info: Family,
    warnings: Family,
    undelivered: Family,
}

impl Families {
    fn new() -> Self {
        let gauge = Family::gauge;
        Self {
            last_run: gauge(
                "backupctl_last_run_timestamp_seconds",
                "When the job's last run ended; 0 where there was none.",
            ),
            last_success: gauge(
                "backupctl_last_success_timestamp_seconds",
                "When the run ended that made live what is live; 0 where there was none.",
            ),
            data: gauge(
                "backupctl_live_data_timestamp_seconds",
                "When the archive was made whose data is live, by the store or by its name.",
            ),
            drills: drills(),
            duration: gauge(
                "backupctl_last_run_duration_seconds",
                "How long the job's last run took.",
            ),
            step: gauge(
                "backupctl_last_run_step_duration_seconds",
                "How long each step of the job's last run took.",
            ),
            sizes: sizes(),
            exit_code: gauge(
                "backupctl_last_run_exit_code",
                "The exit code of the job's last run: 0 is done, 12 is attention.",
            ),
            info: gauge(
                "backupctl_last_run_info",
                "The verdict and the command of the job's last run; always 1.",
            ),
            warnings: gauge(
                "backupctl_last_run_warnings",
                "How many warnings the last run's report has.",
            ),
            undelivered: gauge(
                "backupctl_undelivered_reports",
                "How many reports of the last 7 days somebody is still without.",
            ),
        }
    }

    fn add(&mut self, app: &App, restore: &Restore, present: &Record) -> Outcome<()> {
        let state_dir = &app.config.state_dir;
        let job = restore.name.as_str();
        let listed = || {
            let what = || format!("list the reports in {}", state_dir.display());
            let listed = report::newest_first(state_dir, job);
            let listed = listed.judge(Verdict::Attention, what())?;
            let others = listed.filter(|record| record.run != present.run);
            let here = (present.job == job).then(|| present.clone());
            // A run that is at work, or died, has no figures.
            let all = here.into_iter().chain(others);
            Ok::<_, Failed>(all.filter(|record| record.verdict.is_some()))
        };
        let (last, success) = status::last_and_success(listed()?);
        let now = Timestamp::now();
        let undelivered = listed()?
            .take_while(|record| kept::is_recent(record, now))
            .filter(kept::is_undelivered);
        self.undelivered
            .add(&[("job", job)], count(undelivered.count()));
        self.times(job, last.as_ref(), success.as_ref());
        let every = app.config.drill.every;
        self.drills(job, &Drills::among(listed()?, every, now), every.is_some());
        if let Some(last) = last {
            self.last(job, &last);
        }
        Ok(())
    }

    fn times(&mut self, job: &str, last: Option<&Record>, success: Option<&Record>) {
        let ended = |record: Option<&Record>| {
            record.map_or(0.0, |record| unix(record.ended.unwrap_or(record.started)))
        };
        self.last_run.add(&[("job", job)], ended(last));
        self.last_success.add(&[("job", job)], ended(success));
        let archive = success.and_then(|record| record.archive.as_ref());
        if let Some(made) = archive.and_then(|archive| archive.dated.or(archive.modified)) {
            self.data.add(&[("job", job)], unix(made));
        }
    }

    /// Nothing where there is none and nobody asked for any: an alert on its age would never end.
    fn drills(&mut self, job: &str, drills: &Drills, are_wanted: bool) {
        if drills.last_drill.is_none() && !are_wanted {
            return;
        }
        let ended = |drill: Option<&Drill>| drill.map_or(0.0, |drill| unix(drill.ended));
        let labels = [("job", job)];
        let [last, last_good] = &mut self.drills;
        last.add(&labels, ended(drills.last_drill.as_ref()));
        last_good.add(&labels, ended(drills.last_good_drill.as_ref()));
    }

    fn last(&mut self, job: &str, last: &Record) {
        let verdict = last.verdict.unwrap_or(Verdict::Bug);
        let labels = [("job", job)];
        self.duration.add(&labels, last.seconds);
        let code = last.exit_code.unwrap_or_else(|| verdict.exit_code());
        self.exit_code.add(&labels, code.into());
        self.warnings.add(&labels, count(last.warnings.len()));
        let command = last.command.as_str();
        let info = [
            ("job", job),
            ("command", command),
            ("verdict", verdict.word()),
        ];
        self.info.add(&info, 1.0);
        for (step, seconds) in seconds_by_step(last) {
            self.step.add(&[("job", job), ("step", &step)], seconds);
        }
        let bytes = [
            last.archive.as_ref().map(|archive| archive.bytes),
            last.dump.as_ref().map(|dump| dump.bytes),
            last.database.as_ref().and_then(|database| database.bytes),
        ];
        for (family, bytes) in self.sizes.iter_mut().zip(bytes) {
            if let Some(bytes) = bytes {
                family.add(&labels, whole(bytes));
            }
        }
    }

    fn into_list(self) -> Vec<Family> {
        let times = [self.last_run, self.last_success, self.data];
        let of_last = [self.duration, self.step, self.exit_code, self.info];
        let others = [self.warnings, self.undelivered];
        let all = times.into_iter().chain(of_last).chain(self.sizes);
        all.chain(self.drills).chain(others).collect()
    }
}

fn drills() -> [Family; 2] {
    [
        Family::gauge(
            "backupctl_last_drill_timestamp_seconds",
            "When the job's last drill ended; 0 where there was none.",
        ),
        Family::gauge(
            "backupctl_last_good_drill_timestamp_seconds",
            "When the last drill ended that proved that an archive restores; 0 where there was none.",
        ),
    ]
}

fn sizes() -> [Family; 3] {
    [
        Family::gauge(
            "backupctl_last_run_archive_bytes",
            "The size of the last run's archive.",
        ),
        Family::gauge(
            "backupctl_last_run_dump_bytes",
            "The size of the last run's dump, unpacked.",
        ),
        Family::gauge(
            "backupctl_last_run_database_bytes",
            "What the last run's new database took on the server.",
        ),
    ]
}

/// A step may come twice, such as check: before the swap and after it.
fn seconds_by_step(record: &Record) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    for step in &record.steps {
        let name = step.step.to_string();
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, seconds)) => *seconds += step.seconds,
            None => found.push((name, step.seconds)),
        }
    }
    found
}

/// To the millisecond, as the report has its seconds.
fn unix(time: Timestamp) -> f64 {
    (time.as_duration().as_secs_f64() * 1000.0).round() / 1000.0
}

fn count(number: usize) -> f64 {
    whole(number as u64)
}

/// Exact up to 8 PiB, as all of Prometheus is.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
)]
fn whole(number: u64) -> f64 {
    number as f64
}
