//! The chain over the reports: `state_dir/runs/chain`, a JSON line for each report that became final, was rewritten or went by our own
//! retention. Each line has the SHA-256 of the one before, so that what somebody else has edited or removed shows.
//!
//! It proves nothing against whoever writes all of it anew; that is what its head in every report, and so in every mail, is for.

mod audit;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::audit::{Audit, OnDisk, Problem, audit};
use super::{Record, Report, history};
use crate::durable;
use crate::lock;
use crate::run::RunId;
use crate::verdict::{Judge, Outcome, Verdict};

/// Of a report that is written anew, before it is whole; no job is named like this.
const REWRITTEN: &str = ".rewritten.tmp";

/// Why a line was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The run has ended: its report is final.
    Ended,
    /// A later run of the job found a report without a line: of a run that died, or that is older than the chain. Or it is not what
    /// its last line says: who was to write it anew was killed, or somebody else has edited it; the audit tells which.
    Found,
    /// Its report is about to be written anew: who has been told by now.
    Rewritten,
    /// Its report is about to be removed by our own retention.
    Pruned,
}

/// A line as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    pub what: What,
    pub run: String,
    pub job: String,
    /// Of the report's file.
    pub sha256: String,
    /// Of the line before this one, without its line break; null in the first.
    pub previous: Option<String>,
}

/// A line with what proves it.
#[derive(Debug, Clone)]
struct Link {
    line: Line,
    /// Where it stands in the file; the first is 1.
    number: usize,
    sha256: String,
}

/// The chain while its lock is held; dropped, it is free.
#[derive(Debug)]
pub struct Chain {
    file: File,
    links: Vec<Link>,
    /// Whether the file ends within a line: its writer was killed.
    is_cut: bool,
}

/// What one line will say; `at` and `previous` are the chain's to know.
type News<'a> = (What, &'a str, &'a str, String);

impl Chain {
    /// To be added to; created where there is none yet.
    fn to_change(state_dir: &Path) -> Outcome<Self> {
        let path = path_of(state_dir);
        let what = || format!("open {}", path.display());
        let file = durable::open_to_append(&path).judge(Verdict::Local, what())?;
        lock::wait_for(&file, lock::Kind::Exclusive, &path)?;
        Self::read(file).judge(Verdict::Local, what())
    }

    /// To be read; None where there is none.
    fn to_read(state_dir: &Path) -> Outcome<Option<Self>> {
        let path = path_of(state_dir);
        let what = || format!("open {}", path.display());
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.judge(Verdict::Local, what())?,
        };
        lock::wait_for(&file, lock::Kind::Shared, &path)?;
        Self::read(file).map(Some).judge(Verdict::Local, what())
    }

    /// A line that can't be read was cut off while it was written, or destroyed; then the next one doesn't follow the one before.
    fn read(mut file: File) -> io::Result<Self> {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let read = |(index, line): (usize, &[u8])| {
            Some(Link {
                line: serde_json::from_slice(line).ok()?,
                number: index + 1,
                sha256: hex_of(line),
            })
        };
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        Ok(Self {
            links: lines.filter_map(read).collect(),
            is_cut: text.last().is_some_and(|last| *last != b'\n'),
            file,
        })
    }

    /// The SHA-256 of the last line.
    fn head(&self) -> Option<&str> {
        self.links.last().map(|link| link.sha256.as_str())
    }

    /// The last line of each run.
    fn last_of_runs(&self) -> HashMap<&str, &Line> {
        let lines = self.links.iter().map(|link| &link.line);
        lines.map(|line| (line.run.as_str(), line)).collect()
    }

    /// Adds lines, all of them durably or, after a kill, the first ones.
    fn add(&mut self, news: Vec<News<'_>>) -> io::Result<()> {
        if news.is_empty() {
            return Ok(());
        }
        let mut text = if self.is_cut { vec![b'\n'] } else { Vec::new() };
        for (what, run, job, sha256) in news {
            let line = Line {
                at: Timestamp::now(),
                what,
                run: run.to_owned(),
                job: job.to_owned(),
                sha256,
                previous: self.head().map(ToOwned::to_owned),
            };
            let bytes = serde_json::to_vec(&line)?;
            let (number, sha256) = (0, hex_of(&bytes));
            self.links.push(Link {
                line,
                number,
                sha256,
            });
            text.extend(bytes);
            text.push(b'\n');
        }
        self.file.write_all(&text)?;
        self.file.sync_all()
    }
}

fn path_of(state_dir: &Path) -> PathBuf {
    history::directory(state_dir).join("chain")
}

fn hex_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn file_hash(state_dir: &Path, run: &str) -> io::Result<String> {
    Ok(hex_of(&fs::read(history::file(state_dir, run))?))
}

/// Adds the reports of `job` that have no line yet, but `own`, and says what the chain's head is then. Under the job's lock, so
/// that none of them is at work.
///
/// # Errors
/// `local`: the chain can't be read or written.
pub fn catch_up(state_dir: &Path, job: &str, own: &RunId) -> Outcome<Option<String>> {
    let mut chain = Chain::to_change(state_dir)?;
    let ids = history::ids(state_dir).judge(Verdict::Local, "list the reports")?;
    let known = chain.last_of_runs();
    let unknown = ids
        .iter()
        .filter(|id| *id != own && !known.contains_key(id.as_str()));
    let news: Vec<News<'_>> = unknown
        .filter_map(|id| {
            let text = fs::read(history::file(state_dir, id.as_str())).ok()?;
            let record: Record = serde_json::from_slice(&text).ok()?;
            (record.job == job).then(|| (What::Found, id.as_str(), job, hex_of(&text)))
        })
        .collect();
    chain.add(news).judge(Verdict::Local, "write the chain")?;
    Ok(chain.head().map(ToOwned::to_owned))
}

/// Adds the report of a run that has ended; of one that has left none, nothing.
///
/// # Errors
/// `local`: the chain can't be read or written.
fn ended(state_dir: &Path, record: &Record) -> Outcome<()> {
    if !history::file(state_dir, &record.run).exists() {
        return Ok(());
    }
    let mut chain = Chain::to_change(state_dir)?;
    // Under the lock: who writes reports anew holds it too.
    let sha256 = file_hash(state_dir, &record.run).judge(Verdict::Local, "read the report")?;
    let news = vec![(
        What::Ended,
        record.run.as_str(),
        record.job.as_str(),
        sha256,
    )];
    chain.add(news).judge(Verdict::Local, "write the chain")
}

/// Writes the report of an earlier run anew. The line comes first: who is killed in between has left what the line before says.
///
/// # Errors
/// `local`: it can't be written, or is gone.
pub fn rewrite(state_dir: &Path, record: &Record) -> Outcome<()> {
    let (run, job) = (record.run.as_str(), record.job.as_str());
    let what = format!("write the report of run {run}");
    let mut chain = Chain::to_change(state_dir)?;
    let mut written = || -> io::Result<()> {
        let mut news = Vec::new();
        let present = file_hash(state_dir, run)?;
        let known = chain.last_of_runs();
        if known.get(run).is_none_or(|line| line.sha256 != present) {
            news.push((What::Found, run, job, present));
        }
        let text = history::text_of(record)?;
        news.push((What::Rewritten, run, job, hex_of(&text)));
        chain.add(news)?;
        // A run of the job may be writing its own report meanwhile: this name belongs to whoever holds the chain.
        let temp = history::directory(state_dir).join(REWRITTEN);
        durable::write(&temp, &history::file(state_dir, run), &text)
    };
    written().judge(Verdict::Local, what)
}

/// Removes reports by our own retention. The lines come first: who is killed in between has left files that the next run removes.
///
/// # Errors
/// `local`: the chain can't be written, or a report not be removed.
pub fn prune(state_dir: &Path, records: &[&Record]) -> Outcome<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut chain = Chain::to_change(state_dir)?;
    let mut pruned = || {
        let known = chain.last_of_runs();
        let is_known = |record: &Record| {
            known
                .get(record.run.as_str())
                .is_some_and(|line| line.what == What::Pruned)
        };
        let mut news = Vec::new();
        for record in records.iter().filter(|record| !is_known(record)) {
            let sha256 = file_hash(state_dir, &record.run)?;
            news.push((
                What::Pruned,
                record.run.as_str(),
                record.job.as_str(),
                sha256,
            ));
        }
        chain.add(news)?;
        records
            .iter()
            .try_for_each(|record| history::remove(state_dir, &record.run))
    };
    pruned().judge(Verdict::Local, "remove old reports")
}

impl Report {
    /// Before people are told: those of runs that died get their lines, and this one the chain's head, which goes out with the mail.
    pub fn catch_up(&mut self, state_dir: &Path) {
        match catch_up(state_dir, &self.record.job, &self.run.id) {
            Ok(head) => self.record.chain = head,
            Err(failed) => self.run.notes.warn(failed.message()),
        }
    }

    /// It is final. What can't be added now the next run adds; until then it is one without a line.
    pub fn ended(&self, state_dir: &Path) {
        if let Err(failed) = ended(state_dir, &self.record) {
            tracing::warn!("{}", failed.message());
        }
    }
}

#[cfg(test)]
mod tests;
