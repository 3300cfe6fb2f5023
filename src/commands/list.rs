//! `list`: the archives in a job's store, newest first, and why one would not be taken.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{App, Order, fetch, look};
use crate::config::{Restore, format_bytes, format_duration};
use crate::escape::shown;
use crate::report::{Record, Step};
use crate::store::choose::{self, Judged};

/// No line is longer, but for one whose name is.
const COLUMNS: usize = 80;
const INDENT: &str = "    ";

/// One archive as `--json` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// Escaped where it is not UTF-8: such an archive can't be asked for.
    pub name: String,
    /// Null, as the times are, where the name is unusable.
    pub bytes: Option<u64>,
    /// The store's modification time.
    pub modified: Option<Timestamp>,
    /// The time in its name; only where the job goes by names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dated: Option<Timestamp>,
    /// By the time that counts for the job.
    pub age_seconds: Option<u64>,
    /// Why it would not be taken; null where nothing speaks against it.
    pub objection: Option<String>,
}

/// `backupctl list [JOB]`.
pub async fn command(app: &App, restore: &Restore) -> (Record, Vec<Row>) {
    let order = Order {
        command: "list",
        store: true,
        archives: false,
        database: false,
        mail: false,
    };
    let mut rows = Vec::new();
    let record = look(app, restore, order, async |job, report| {
        let work = async {
            let (_, listing) = fetch::patiently(job, async || fetch::listed(job).await).await?;
            let now = Timestamp::now();
            let earlier = job.earlier();
            let judged = choose::judged(&listing, job.restore, &earlier, now)?;
            rows = judged.into_iter().map(|judged| row(judged, now)).collect();
            Ok(())
        };
        report.step(Step::Fetch, work).await
    })
    .await;
    (record, rows)
}

fn row(judged: Judged, now: Timestamp) -> Row {
    let objection = judged.objection;
    match judged.archive {
        Ok(archive) => {
            let age = now.duration_since(archive.time()).as_secs();
            Row {
                bytes: Some(archive.bytes),
                modified: Some(archive.modified),
                dated: archive.dated,
                age_seconds: Some(age.try_into().unwrap_or(0)),
                name: archive.name,
                objection,
            }
        }
        Err(name) => Row {
            name,
            objection,
            ..Row::default()
        },
    }
}

/// The list for people.
pub fn text(rows: &[Row], restore: &Restore) -> String {
    if rows.is_empty() {
        return format!("nothing matches `{}`", restore.pattern);
    }
    let cells: Vec<[String; 3]> = rows.iter().map(cells).collect();
    let [names, sizes, ages] = [0, 1, 2].map(|column| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let lines = rows.iter().zip(&cells).map(|(row, [name, size, age])| {
        let facts = format!("{name:<names$}  {size:>sizes$}  {age:>ages$}");
        match &row.objection {
            Some(why) => with_objection(&facts, why),
            None => facts,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Name, size and age.
fn cells(row: &Row) -> [String; 3] {
    let old = |seconds| format!("{} old", format_duration(Duration::from_secs(seconds)));
    [
        shown(&row.name),
        row.bytes.map_or("-".to_owned(), format_bytes),
        row.age_seconds.map_or("-".to_owned(), old),
    ]
}

/// Beside the facts where there is room, else below them.
fn with_objection(facts: &str, why: &str) -> String {
    let columns = |text: &str| text.chars().count();
    if columns(facts) + 2 + columns(why) <= COLUMNS {
        return format!("{facts}  {why}");
    }
    let mut lines = vec![facts.to_owned()];
    let mut line = INDENT.to_owned();
    for word in why.split(' ') {
        if columns(&line) + columns(word) > COLUMNS {
            lines.push(std::mem::replace(&mut line, INDENT.to_owned()));
        }
        line += word;
        line.push(' ');
    }
    lines.push(line);
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join("\n")
}
