//! The reports on disk: writing one, finding those of earlier runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Record, Step};
use crate::durable;
use crate::run::RunId;
use crate::verdict::{Judge, Outcome, Verdict};

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("runs")
}

/// Writes one report, whole or not at all.
pub(super) fn write(file: &Path, record: &Record) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        durable::create_private_dir(directory)?;
    }
    let temp = file.with_file_name(format!("{}.tmp", record.job));
    durable::write(&temp, file, &serde_json::to_vec_pretty(record)?)
}

/// Where the report of a run lies.
#[must_use]
pub fn file(state_dir: &Path, run: &str) -> PathBuf {
    directory(state_dir).join(format!("{run}.json"))
}

/// Writes the report of an earlier run anew.
///
/// # Errors
/// `local`: it can't be written.
pub fn rewrite(state_dir: &Path, record: &Record) -> Outcome<()> {
    let file = file(state_dir, &record.run);
    write(&file, record).judge(
        Verdict::Local,
        format!("write the report {}", file.display()),
    )
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
    let listing = match fs::read_dir(directory(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        other => Some(other?),
    };
    let listing = listing.into_iter().flatten();
    let mut ids: Vec<RunId> = listing
        .filter_map(|file| RunId::parse(file.ok()?.file_name().to_str()?.strip_suffix(".json")?))
        .collect();
    ids.sort();
    Ok(NewestFirst {
        state_dir: state_dir.to_owned(),
        job: job.to_owned(),
        ids,
        same_second: Vec::new(),
    })
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
