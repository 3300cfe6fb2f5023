//! The reports on disk: writing one, finding those of earlier runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Record, Step};
use crate::durable;
use crate::run::RunId;

pub(super) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("runs")
}

/// Writes one report, whole or not at all.
pub(super) fn write(file: &Path, record: &Record) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        durable::create_private_dir(directory)?;
    }
    let temp = file.with_file_name(format!("{}.tmp", record.job));
    durable::write(&temp, file, &text_of(record)?)
}

/// What the file of a report has in it.
pub(super) fn text_of(record: &Record) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(record)?)
}

/// Where the report of a run lies.
#[must_use]
pub fn file(state_dir: &Path, run: &str) -> PathBuf {
    directory(state_dir).join(format!("{run}.json"))
}

/// The reports of earlier runs of `job`, newest first. Files that are no report are passed over.
///
/// # Errors
/// The directory can't be listed.
pub fn history(state_dir: &Path, job: &str) -> io::Result<Vec<Record>> {
    Ok(newest_first(state_dir, job)?.collect())
}

/// Like [`history`], but each report is read only when its turn comes: of a year of them the last few are mostly enough.
///
/// # Errors
/// The directory can't be listed.
pub fn newest_first(state_dir: &Path, job: &str) -> io::Result<NewestFirst> {
    Ok(NewestFirst {
        state_dir: state_dir.to_owned(),
        job: job.to_owned(),
        ids: ids(state_dir)?,
        same_second: Vec::new(),
    })
}

/// The runs, of every job, that have a report; the newest is the last.
///
/// # Errors
/// The directory can't be listed.
pub fn ids(state_dir: &Path) -> io::Result<Vec<RunId>> {
    let listing = match fs::read_dir(directory(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other?),
    };
    let listing = listing.into_iter().flatten();
    let mut ids: Vec<RunId> = listing
        .filter_map(|file| RunId::parse(file.ok()?.file_name().to_str()?.strip_suffix(".json")?))
        .collect();
    ids.sort();
    Ok(ids)
}

/// See [`newest_first`].
pub struct NewestFirst {
    state_dir: PathBuf,
    job: String,
    /// Not read yet; the newest is the last.
    ids: Vec<RunId>,
    /// Runs that began in the same second have no order by their ids: they are read together.
    same_second: Vec<Record>,
}

impl Iterator for NewestFirst {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.same_second.is_empty() {
            let second = self.ids.last()?.second().to_owned();
            while let Some(id) = self.ids.pop_if(|id| id.second() == second) {
                let record = read(&self.state_dir, &id).filter(|record| record.job == self.job);
                self.same_second.extend(record);
            }
            self.same_second.sort_by_key(|record| record.started);
        }
        self.same_second.pop()
    }
}

fn read(state_dir: &Path, id: &RunId) -> Option<Record> {
    let text = fs::read(directory(state_dir).join(format!("{id}.json"))).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Whether there is a report, of whichever job, of a run that began before `before`.
#[must_use]
pub fn is_any_before(state_dir: &Path, before: Timestamp) -> bool {
    of_runs_before(state_dir, before, "json").is_ok_and(|found| !found.is_empty())
}

/// Removes the logs of runs that began before `before`, of every job, and of those that are at work now none: they began later.
///
/// # Errors
/// One can't be removed.
pub fn remove_logs_before(state_dir: &Path, before: Timestamp) -> io::Result<()> {
    let old = of_runs_before(state_dir, before, "log")?;
    old.iter().try_for_each(|path| durable::remove(path))
}

pub(super) fn remove(state_dir: &Path, run: &str) -> io::Result<()> {
    match RunId::parse(run) {
        Some(id) => durable::remove(&file(state_dir, id.as_str())),
        None => Ok(()),
    }
}

/// By the time in their names.
fn of_runs_before(state_dir: &Path, before: Timestamp, kind: &str) -> io::Result<Vec<PathBuf>> {
    let before = before.strftime("%Y%m%d-%H%M%S").to_string();
    let listing = match fs::read_dir(directory(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let paths = listing.filter_map(|file| Some(file.ok()?.path()));
    let is_old = |path: &PathBuf| {
        let id = path
            .file_stem()
            .and_then(|stem| RunId::parse(stem.to_str()?));
        path.extension().is_some_and(|extension| extension == kind)
            && id.is_some_and(|id| id.second() < before.as_str())
    };
    Ok(paths.filter(is_old).collect())
}

/// The step that a run is in, or died in; None before its first and after its last.
#[must_use]
pub fn current_step(state_dir: &Path, run: &str) -> Option<Step> {
    let record = read(state_dir, &RunId::parse(run)?)?;
    record
        .steps
        .iter()
        .find(|step| step.verdict.is_none())
        .map(|step| step.step)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(state_dir: &Path, run: &str, job: &str, started: &str) {
        let record = json!({
            "format": 1, "run": run, "command": "run", "job": job, "host": "here", "version": "0",
            "started": started, "seconds": 0.0, "verdict": "done",
            "steps": [], "checks": [], "notified": [], "warnings": [],
        });
        fs::create_dir_all(directory(state_dir)).expect("the directory");
        fs::write(file(state_dir, run), record.to_string()).expect("a report");
    }

    fn runs(records: impl IntoIterator<Item = Record>) -> Vec<String> {
        records.into_iter().map(|record| record.run).collect()
    }

    #[test]
    fn the_newest_comes_first_also_within_a_second() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let there = [
            ("20261120-020000-0001", "erp", "2026-11-20T02:00:00.1Z"),
            ("20261121-020000-ffff", "erp", "2026-11-21T02:00:00.1Z"),
            ("20261121-020000-0000", "erp", "2026-11-21T02:00:00.2Z"),
            ("20261121-020000-8888", "crm", "2026-11-21T02:00:00.3Z"),
        ];
        for (run, job, started) in there {
            put(dir.path(), run, job, started);
        }
        fs::write(directory(dir.path()).join("notes.json"), "{").expect("no report");
        let found = history(dir.path(), "erp").expect("a listing");
        assert_eq!(
            runs(found),
            [
                "20261121-020000-0000",
                "20261121-020000-ffff",
                "20261120-020000-0001"
            ]
        );
    }

    #[test]
    fn a_report_is_read_only_when_its_turn_comes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        put(
            dir.path(),
            "20261120-020000-0001",
            "erp",
            "2026-11-20T02:00:00Z",
        );
        put(
            dir.path(),
            "20261121-020000-0001",
            "erp",
            "2026-11-21T02:00:00Z",
        );
        let mut found = newest_first(dir.path(), "erp").expect("a listing");
        assert_eq!(runs(found.next()), ["20261121-020000-0001"]);
        fs::remove_file(file(dir.path(), "20261120-020000-0001")).expect("the older one");
        assert!(found.next().is_none());
    }
}
