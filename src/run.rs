//! One execution of a command on a job: its id, what it noticed on the way, how far it is, and the word to stop.
//!
//! Every mechanism is handed a `&Run`. The command `run` is in `commands/run.rs`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::output::Progress;
use crate::report::{
    ArchiveFacts, CheckResult, Compared, DatabaseFacts, DrillFacts, DumpFacts, Lost, TableRows,
    TableTotals,
};

/// `20261120-020000-7f3a`: UTC and four random hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// An id for a run that starts now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let random: u16 = rand::random();
        Self(format!("{}-{random:04x}", now.strftime("%Y%m%d-%H%M%S")))
    }

    /// The id in a file name or a stamp; None where the text has not the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let shape: String = text
            .chars()
            .map(|c| if c.is_ascii_hexdigit() { '0' } else { c })
            .collect();
        (shape == "00000000-000000-0000").then(|| Self(text.to_owned()))
    }

    /// As part of a database name: `20261120_020000_7f3a`.
    #[must_use]
    pub fn in_database_name(&self) -> String {
        self.0.replace('-', "_")
    }

    /// The tag on every database connection of this run, by which a later run finds what it left: `backupctl/<id>`.
    #[must_use]
    pub fn application_name(&self) -> String {
        format!("backupctl/{}", self.0)
    }

    /// The second in which the run began, in a form that sorts by time: `20261120-020000`.
    #[must_use]
    pub fn second(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(second, _)| second)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every step of a run is handed beside its subject.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: RunId,
    pub notes: Notes,
    pub progress: Progress,
    /// Cancelled by SIGINT and SIGTERM. Async steps are simply dropped; a blocking loop must look at it.
    pub stop: CancellationToken,
    pub journal: Journal,
}

/// What steps notice and the report tells: shared, so that a step that fails has still told what it knew.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

/// The content of [`Notes`], taken over by the report whenever it is written.
#[derive(Debug, Default)]
pub struct Noted {
    pub warnings: Vec<String>,
    pub archive: Option<ArchiveFacts>,
    pub dump: Option<DumpFacts>,
    pub database: Option<DatabaseFacts>,
    pub checks: Vec<CheckResult>,
    pub compared: Compared,
    /// Only in a drill.
    pub drill: Option<DrillFacts>,
    /// Lines of a dry run's plan.
    pub plan: Vec<String>,
    /// Bytes that the current step moved.
    pub bytes: Option<u64>,
    /// What the current step has to say for itself in one line.
    pub message: Option<String>,
}

impl Notes {
    /// Something the operator must see although the run goes on. Logged and put into the report.
    pub fn warn(&self, text: impl fmt::Display) {
        let text = text.to_string();
        let mut noted = self.lock();
        if !noted.warnings.contains(&text) {
            tracing::warn!("{text}");
            noted.warnings.push(text);
        }
    }

    pub fn archive(&self, facts: ArchiveFacts) {
        self.lock().archive = Some(facts);
    }

    /// One that lies in a store by itself has the archive's name, which is noted before it.
    pub fn dump(&self, mut facts: DumpFacts) {
        let mut noted = self.lock();
        if let (true, Some(archive)) = (facts.name.is_empty(), &noted.archive) {
            facts.name.clone_from(&archive.name);
        }
        noted.dump = Some(facts);
    }

    pub fn database(&self, facts: DatabaseFacts) {
        self.lock().database = Some(facts);
    }

    /// The name of the database that the swap has set aside.
    pub fn previous(&self, name: &str) {
        self.lock().database.get_or_insert_default().previous = Some(name.to_owned());
    }

    /// The name of the scratch database that waits for `swap`.
    pub fn waiting(&self, name: &str) {
        self.lock().database.get_or_insert_default().scratch = Some(name.to_owned());
    }

    /// What the new database takes on the server.
    pub fn size(&self, bytes: u64) {
        self.lock().database.get_or_insert_default().bytes = Some(bytes);
    }

    /// The database that this run is about is `name`, beside the live one.
    pub fn beside(&self, name: &str, live: &str) {
        let mut noted = self.lock();
        let facts = noted.database.get_or_insert_default();
        name.clone_into(&mut facts.name);
        facts.beside = Some(live.to_owned());
    }

    /// It is there, and is offered to be dropped from then on.
    pub fn expires(&self, at: Timestamp) {
        self.lock().database.get_or_insert_default().expires = Some(at);
    }

    /// None was kept.
    pub fn no_previous(&self) {
        self.lock().database.get_or_insert_default().previous = None;
    }

    pub fn check(&self, result: CheckResult) {
        self.lock().checks.push(result);
    }

    pub fn lost(&self, lost: Vec<Lost>) {
        self.lock().compared.lost = lost;
    }

    /// Rows by the statistics, in the order in which they are shown.
    pub fn tables(&self, tables: Vec<TableRows>, totals: TableTotals) {
        let mut noted = self.lock();
        noted.compared.tables = tables;
        noted.compared.table_totals = Some(totals);
    }

    /// From now on the run is a drill, and what it shows is kept.
    pub fn begin_drill(&self, facts: DrillFacts) {
        self.lock().drill = Some(facts);
    }

    /// Something more that a drill shows; nothing in other runs.
    pub fn drill(&self, show: impl FnOnce(&mut DrillFacts)) {
        if let Some(facts) = &mut self.lock().drill {
            show(facts);
        }
    }

    pub fn bytes(&self, bytes: u64) {
        self.lock().bytes = Some(bytes);
    }

    /// The next lines of what a dry run found that the real one would do.
    pub fn plan(&self, lines: Vec<String>) {
        self.lock().plan.extend(lines);
    }

    pub fn message(&self, text: impl fmt::Display) {
        self.lock().message = Some(text.to_string());
    }

    /// The noted facts, to read or to take from. Never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_utc_and_four_hex_digits() {
        let at = "2026-11-20T02:00:00Z".parse().expect("a valid timestamp");
        let id = RunId::new(at);
        assert!(id.as_str().starts_with("20261120-020000-"), "{id}");
        assert_eq!(RunId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn text_that_is_no_run_id_is_not_taken_for_one() {
        for text in [
            "",
            "20261120-020000",
            "20261120-020000-7f3a.json",
            "../../etc/passwd-00",
            "20261120_020000_7f3a",
        ] {
            assert_eq!(RunId::parse(text), None, "{text}");
        }
    }
}
