//! What a run has created, written down before it is created: the only list by which anything of ours is ever removed.
//!
//! One JSON file per live run, `state_dir/journal/<run id>.json`. A run that ends in order removes its own;
//! one that is still there under the job's lock belongs to a run that died.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::run::RunId;

/// One thing a run has made or was about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Created {
    /// A temporary or unpacked file below state_dir, or the directory of a dump of many files.
    File(PathBuf),
    /// A download. It stays for the next run where a note beside it says what of it is proven.
    Part(PathBuf),
    /// The directory of a private cluster, and whatever works in it.
    Cluster(PathBuf),
    /// A scratch database: its exact name, with this run's id in it; `database` is the key in the configuration.
    Scratch { database: String, name: String },
    /// A swap that was begun: by the OIDs anybody can find out later whether it happened.
    Swap {
        database: String,
        live_oid: u32,
        scratch_oid: u32,
        previous: String,
    },
    /// A restore over the live database that was begun; only its own transaction knows whether it was committed.
    InPlace { database: String, name: String },
    /// `before_swap` was begun and `after_swap` has not ended: what the one stopped the other must start again.
    Hooks { live: String, scratch: String },
}

impl Created {
    /// Whether the live database may be another one because of this.
    #[must_use]
    pub fn touches_live(&self) -> bool {
        matches!(self, Self::Swap { .. } | Self::InPlace { .. })
    }

    /// The key of the database in the configuration; None for what is not on a server.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        match self {
            Self::File(_) | Self::Part(_) | Self::Cluster(_) | Self::Hooks { .. } => None,
            Self::Scratch { database, .. }
            | Self::Swap { database, .. }
            | Self::InPlace { database, .. } => Some(database),
        }
    }
}

/// The content of a journal file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    pub run: String,
    pub job: String,
    pub command: String,
    pub created: Vec<Created>,
}

/// A run's open journal; clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    /// None: what is created goes with what it is created in.
    path: Option<PathBuf>,
    entries: Arc<Mutex<Entries>>,
}

impl Journal {
    /// A journal that exists in memory until something is created.
    #[must_use]
    pub fn new(state_dir: &Path, run: &RunId, job: &str, command: &str) -> Self {
        let entries = Entries {
            run: run.to_string(),
            job: job.to_owned(),
            command: command.to_owned(),
            created: Vec::new(),
        };
        Self {
            path: Some(directory(state_dir).join(format!("{run}.json"))),
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    /// The same run's, for what is made in something that the journal itself lists: kept in memory only.
    #[must_use]
    pub fn within(&self) -> Self {
        let mut entries = self
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        entries.created.clear();
        Self {
            path: None,
            entries: Arc::new(Mutex::new(entries)),
        }
    }

    /// Says on disk what will be created next. Call it before, never after.
    ///
    /// # Errors
    /// The journal can't be written: then nothing may be created.
    pub fn will_create(&self, created: Created) -> io::Result<()> {
        self.change(|entries| {
            if !entries.created.contains(&created) {
                entries.created.push(created);
            }
        })
    }

    /// Forgets what has been removed or has become the operator's (a kept archive, a swapped-in database).
    ///
    /// # Errors
    /// The journal can't be written.
    pub fn forget(&self, created: &Created) -> io::Result<()> {
        self.change(|entries| entries.created.retain(|other| other != created))
    }

    /// What is listed now.
    #[must_use]
    pub fn created(&self) -> Vec<Created> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .created
            .clone()
    }

    /// The run ended in order and everything listed was dealt with.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn close(&self) -> io::Result<()> {
        self.path.as_deref().map_or(Ok(()), durable::remove)
    }

    fn change(&self, edit: impl FnOnce(&mut Entries)) -> io::Result<()> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut entries);
        let Some(path) = &self.path else {
            return Ok(());
        };
        if let Some(directory) = path.parent() {
            durable::create_private_dir(directory)?;
        }
        let temp = path.with_file_name(format!("{}.tmp", entries.job));
        durable::write(&temp, path, &serde_json::to_vec_pretty(&*entries)?)
    }
}

/// The journals that dead runs of `job` have left. Only meaningful while the job's lock is held.
/// A file that can't be read is returned as its path and left alone.
///
/// # Errors
/// The journal directory can't be listed.
pub fn left_behind(state_dir: &Path, job: &str) -> io::Result<(Vec<Entries>, Vec<PathBuf>)> {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let listing = match fs::read_dir(directory(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((found, unreadable)),
        other => other?,
    };
    for file in listing {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice::<Entries>(&text).ok())
        {
            Some(entries) if entries.job == job => found.push(entries),
            Some(_) => {}
            None => unreadable.push(path),
        }
    }
    found.sort_by(|a, b| a.run.cmp(&b.run));
    Ok((found, unreadable))
}

/// Removes a dead run's journal, once everything in it was dealt with.
///
/// # Errors
/// The file can't be removed.
pub fn settle(state_dir: &Path, entries: &Entries) -> io::Result<()> {
    durable::remove(&file(state_dir, entries))
}

/// Where a dead run's journal lies.
#[must_use]
pub fn file(state_dir: &Path, entries: &Entries) -> PathBuf {
    directory(state_dir).join(format!("{}.json", entries.run))
}

/// Where a run's journal lies while the run has something to clean up.
#[must_use]
pub fn file_of(state_dir: &Path, run: &RunId) -> PathBuf {
    directory(state_dir).join(format!("{run}.json"))
}

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_runs_journal_is_found_by_its_job_only() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let id = RunId::parse("20261120-020000-7f3a").expect("an id");
        let journal = Journal::new(dir.path(), &id, "erp", "run");
        let scratch = Created::Scratch {
            database: "erp".into(),
            name: "erp_new_20261120_020000_7f3a".into(),
        };
        journal.will_create(scratch.clone()).expect("written");

        let (found, unreadable) = left_behind(dir.path(), "erp").expect("listed");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].created, [scratch]);
        assert!(unreadable.is_empty());
        assert!(left_behind(dir.path(), "crm").expect("listed").0.is_empty());

        journal.close().expect("closed");
        assert!(left_behind(dir.path(), "erp").expect("listed").0.is_empty());
    }
}
