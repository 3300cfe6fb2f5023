//! What a restore stands on: sessions, the preflight, the scratch database, the catalog and the checks, on a real server.

mod analyze;
mod catalog;
mod checks;
mod connection;
mod preflight;
mod scratch;
mod tls;

use std::path::Path;

use backupctl::journal::Journal;
use backupctl::output::Progress;
use backupctl::run::{Notes, Run, RunId};
use tokio_util::sync::CancellationToken;

/// A run that keeps its journal in `state_dir`.
fn run(state_dir: &Path) -> Run {
    let id = RunId::new(jiff::Timestamp::now());
    Run {
        journal: Journal::new(state_dir, &id, "erp", "run"),
        id,
        notes: Notes::default(),
        progress: Progress::default(),
        stop: CancellationToken::new(),
    }
}
