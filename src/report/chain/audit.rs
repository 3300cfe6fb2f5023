//! Whether the reports on disk are those of the chain.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{Chain, Line, Link, What, hex_of};
use crate::escape::said;
use crate::report::{Record, history};
use crate::run::RunId;
use crate::verdict::{Judge, Outcome, Verdict};

/// A report as it lies there.
#[derive(Debug)]
pub struct OnDisk {
    pub run: String,
    pub sha256: String,
    pub record: Record,
    /// The whole document, with what only other versions know.
    pub value: Value,
}

/// What speaks against the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    Missing {
        run: String,
        job: String,
    },
    Edited {
        run: String,
        job: String,
    },
    Unreadable {
        run: String,
        why: String,
    },
    /// A line doesn't follow the one before it.
    Broken {
        line: usize,
    },
    /// The chain of today is not the one whose head the report has.
    Rebuilt {
        run: String,
        job: String,
    },
    /// Reports have its head, and there is no chain.
    Gone,
    /// The chain never had, or has no more, the line that the operator knows.
    Unknown {
        head: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { run, job } => {
                write!(
                    f,
                    "the report of run {} ({}) is missing",
                    said(run),
                    said(job)
                )
            }
            Self::Edited { run, job } => write!(
                f,
                "the report of run {} ({}) was edited after the run",
                said(run),
                said(job)
            ),
            Self::Unreadable { run, why } => {
                write!(f, "the report of run {run} can't be read: {}", said(why))
            }
            Self::Broken { line } => write!(
                f,
                "line {line} of the chain does not follow the one before: lines were removed, added or edited"
            ),
            Self::Rebuilt { run, job } => write!(
                f,
                "the chain was written anew: run {} ({}) has a head that is not in it",
                said(run),
                said(job)
            ),
            Self::Gone => {
                f.write_str("the chain is missing, and there are reports that were in it")
            }
            Self::Unknown { head } => write!(f, "the head {} is not in the chain", said(head)),
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Audit {
    pub is_intact: bool,
    pub problems: Vec<Problem>,
    /// When the first line was written; null where there is no chain yet.
    pub begun: Option<Timestamp>,
    pub lines: usize,
    /// The SHA-256 of the last line.
    pub head: Option<String>,
    /// Reports on disk that have a line.
    pub reports: usize,
    /// Reports without a line yet: of runs at work, that died, or older than the chain. The next run of their job adds them.
    pub unchained: Vec<String>,
    /// Reports that got their line from a later run, once there was a chain.
    pub late: Vec<String>,
    pub pruned: usize,
}

/// Reads every report, and compares it with the chain, which nobody changes meanwhile. `known` is a head that must be in it.
///
/// # Errors
/// `local`: reports or chain can't be read.
pub fn audit(state_dir: &Path, known: Option<&str>) -> Outcome<(Vec<OnDisk>, Audit)> {
    let chain = Chain::to_read(state_dir)?;
    let audited = with_chain(state_dir, known, chain.as_ref())?;
    if chain.is_none()
        && let Some(begun) = Chain::to_read(state_dir)?
    {
        // A run began it while the reports were read.
        return with_chain(state_dir, known, Some(&begun));
    }
    Ok(audited)
}

fn with_chain(
    state_dir: &Path,
    known: Option<&str>,
    chain: Option<&Chain>,
) -> Outcome<(Vec<OnDisk>, Audit)> {
    let ids = history::ids(state_dir).judge(Verdict::Local, "list the reports")?;
    let (mut reports, mut problems) = (Vec::new(), Vec::new());
    for id in ids {
        match on_disk(state_dir, &id) {
            Ok(report) => reports.push(report),
            Err(why) => problems.push(Problem::Unreadable {
                run: id.to_string(),
                why,
            }),
        }
    }
    let links = chain.map_or(&[][..], |chain| &chain.links);
    let mut audit = compared(&reports, links, problems);
    if let Some(head) = known {
        let head = head.to_ascii_lowercase();
        if !links.iter().any(|link| link.sha256 == head) {
            audit.problems.push(Problem::Unknown { head });
        }
    }
    audit.is_intact = audit.problems.is_empty();
    Ok((reports, audit))
}

fn on_disk(state_dir: &Path, id: &RunId) -> Result<OnDisk, String> {
    let text = fs::read(history::file(state_dir, id.as_str())).map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let record = Record::deserialize(&value).map_err(|e| e.to_string())?;
    if record.run != id.as_str() {
        return Err(format!("it is that of run {}", record.run));
    }
    Ok(OnDisk {
        run: record.run.clone(),
        sha256: hex_of(&text),
        record,
        value,
    })
}

fn compared(reports: &[OnDisk], links: &[Link], unreadable: Vec<Problem>) -> Audit {
    let mut of_runs: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for link in links {
        of_runs.entry(&link.line.run).or_default().push(&link.line);
    }
    let begun = links.first().map(|link| link.line.at);
    let mut problems = unreadable;
    problems.extend(broken(links));
    if links.is_empty() && reports.iter().any(|report| report.record.chain.is_some()) {
        problems.push(Problem::Gone);
    }
    let (mut chained, mut unchained) = (0, Vec::new());
    for report in reports {
        match of_runs.get(report.run.as_str()) {
            Some(lines) => {
                chained += 1;
                problems.extend(is_edited(report, lines));
            }
            None => unchained.push(report.run.clone()),
        }
    }
    problems.extend(missing(reports, &of_runs, &problems));
    problems.extend(rebuilt(reports, links));
    let is_late = |line: &&Line| {
        let since = begun.map(|begun| begun.strftime("%Y%m%d-%H%M%S").to_string());
        line.what == What::Found && since.is_some_and(|since| line.run > since)
    };
    Audit {
        is_intact: false,
        problems,
        begun,
        lines: links.len(),
        head: links.last().map(|link| link.sha256.clone()),
        reports: chained,
        unchained,
        late: { links.iter().map(|link| &link.line) }
            .filter(is_late)
            .map(|line| line.run.clone())
            .collect(),
        pruned: of_runs.values().filter(|lines| is_pruned(lines)).count(),
    }
}

fn is_pruned(lines: &[&Line]) -> bool {
    lines.last().is_some_and(|line| line.what == What::Pruned)
}

/// Lines that don't have the hash of the one before. The first has none.
fn broken(links: &[Link]) -> Vec<Problem> {
    let before = std::iter::once(None).chain(links.iter().map(|link| Some(&link.sha256)));
    let pairs = links.iter().zip(before);
    let wrong = pairs.filter(|(link, before)| link.line.previous.as_ref() != *before);
    wrong
        .map(|(link, _)| Problem::Broken { line: link.number })
        .collect()
}

/// It is what its last line says; where that was to be written anew and the writer was killed, still what the line before says. What was
/// found there before it was written anew must be one of both as well, or the edit would be hidden by our own writing.
fn is_edited(report: &OnDisk, lines: &[&Line]) -> Option<Problem> {
    let mut may_be: Vec<&str> = Vec::new();
    let mut is_as_written = true;
    for line in lines {
        let sha256 = line.sha256.as_str();
        match line.what {
            What::Rewritten => {
                may_be.drain(..may_be.len().saturating_sub(1));
            }
            What::Found => {
                is_as_written &= may_be.is_empty() || may_be.contains(&sha256);
                may_be.clear();
            }
            What::Ended | What::Pruned => may_be.clear(),
        }
        may_be.push(sha256);
    }
    is_as_written &= may_be.contains(&report.sha256.as_str());
    (!is_as_written).then(|| Problem::Edited {
        run: report.run.clone(),
        job: report.record.job.clone(),
    })
}

fn missing(
    reports: &[OnDisk],
    of_runs: &BTreeMap<&str, Vec<&Line>>,
    unreadable: &[Problem],
) -> Vec<Problem> {
    let there: HashSet<&str> = reports.iter().map(|report| report.run.as_str()).collect();
    let is_there = |wanted: &str| {
        let is_unreadable =
            |problem: &Problem| matches!(problem, Problem::Unreadable { run, .. } if run == wanted);
        there.contains(wanted) || unreadable.iter().any(is_unreadable)
    };
    let gone = of_runs
        .iter()
        .filter(|(run, lines)| !is_there(run) && !is_pruned(lines));
    gone.filter_map(|(run, lines)| {
        Some(Problem::Missing {
            run: (*run).to_owned(),
            job: lines.last()?.job.clone(),
        })
    })
    .collect()
}

/// A report that was final has the head of the chain that it was added to; one that was found may be older than this chain.
fn rebuilt(reports: &[OnDisk], links: &[Link]) -> Option<Problem> {
    let hashes: HashSet<&str> = links.iter().map(|link| link.sha256.as_str()).collect();
    let is_found = |run: &str| {
        let found = |link: &Link| link.line.run == run && link.line.what == What::Found;
        links.iter().any(found)
    };
    let is_elsewhere = |report: &&OnDisk| {
        let head = report.record.chain.as_deref();
        head.is_some_and(|head| !hashes.contains(head))
    };
    let chained: HashSet<&str> = links.iter().map(|link| link.line.run.as_str()).collect();
    let report = reports
        .iter()
        .filter(is_elsewhere)
        .find(|report| chained.contains(report.run.as_str()) && !is_found(&report.run))?;
    Some(Problem::Rebuilt {
        run: report.run.clone(),
        job: report.record.job.clone(),
    })
}
