//! `list`: the archives in a job's store, newest first, and why one would not be taken.

use jiff::Timestamp;
use serde::Serialize;

use super::{App, Order, fetch, look};
use crate::config::{Restore, format_bytes, format_duration};
use crate::escape::shown;
use crate::report::{Record, Step};
use crate::store::Listed;
use crate::store::choose::{self, Earlier};

/// One archive as `--json` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: String,
    pub bytes: u64,
    pub modified: Timestamp,
    pub age_seconds: u64,
    /// Why it would not be taken; null where nothing speaks against it.
    pub objection: Option<String>,
}

/// `backupctl list [JOB]`.
pub async fn command(app: &App, restore: &Restore) -> (Record, Vec<Row>) {
    let order = Order {
        command: "list",
        store: true,
        database: false,
        mail: false,
    };
    let mut rows = Vec::new();
    let record = look(app, restore, order, async |job, report| {
        let work = async {
            let (_, listing) = fetch::patiently(job, async || fetch::listed(job).await).await?;
            let now = Timestamp::now();
            let earlier = Earlier::from_history(&job.history());
            let judged = choose::judged(&listing, job.restore, &earlier, now)?;
            rows = judged
                .into_iter()
                .map(|(archive, objection)| row(archive, objection, now))
                .collect();
            Ok(())
        };
        report.step(Step::Fetch, work).await
    })
    .await;
    (record, rows)
}

fn row(archive: Listed, objection: Option<String>, now: Timestamp) -> Row {
    let age_seconds = now
        .duration_since(archive.modified)
        .as_secs()
        .try_into()
        .unwrap_or(0);
    Row {
        name: archive.name,
        bytes: archive.bytes,
        modified: archive.modified,
        age_seconds,
        objection,
    }
}

/// The list for people.
pub fn text(rows: &[Row], restore: &Restore) -> String {
    if rows.is_empty() {
        return format!("nothing matches `{}`", restore.pattern);
    }
    let names: Vec<String> = rows.iter().map(|row| shown(&row.name)).collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let lines = rows.iter().zip(&names).map(|(row, name)| {
        let age = format_duration(std::time::Duration::from_secs(row.age_seconds));
        let objection = row
            .objection
            .as_ref()
            .map_or_else(String::new, |why| format!("  {why}"));
        let line = format!(
            "{name:<width$}  {:>9}  {:>11} old{objection}",
            format_bytes(row.bytes),
            age
        );
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
