//! Which reports and logs of earlier runs go: `state_dir/runs` must not grow for ever, and nothing that a later run asks for may go.

use jiff::{SignedDuration, Timestamp};

use super::App;
use crate::config::Restore;
use crate::report;
use crate::store::choose::superfluous;
use crate::verdict::{Judge, Outcome, Verdict};

/// Long enough for "the same night a year ago", and for whoever audits a year.
const REPORTS_KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// They are larger than reports, and are read while something is being looked into.
const LOGS_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Reports of a job that stay however old they are.
const NEWEST_KEPT: usize = 50;

/// Under the job's lock, at the end of a run. What can't be removed stands in nobody's way.
pub fn prune(app: &App, restore: &Restore) {
    if let Err(failed) = remove_old(app, restore, Timestamp::now()) {
        tracing::warn!(
            "remove the reports and logs of old runs: {}",
            failed.message()
        );
    }
}

fn remove_old(app: &App, restore: &Restore, now: Timestamp) -> Outcome<()> {
    let state_dir = &app.config.state_dir;
    let before = |kept: SignedDuration| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
    report::remove_logs_before(state_dir, before(LOGS_KEPT)).judge(Verdict::Local, "the logs")?;
    // A year of reports is read only where there is something to remove.
    if !report::is_any_before(state_dir, before(REPORTS_KEPT)) {
        return Ok(());
    }
    let history = report::history(state_dir, &restore.name).judge(Verdict::Local, "list them")?;
    let old = superfluous(&history, before(REPORTS_KEPT), NEWEST_KEPT);
    for record in &old {
        tracing::debug!("removes the report of run {}", record.run);
    }
    report::prune(state_dir, &old)
}
