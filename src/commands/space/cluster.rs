//! The room that a drill's private cluster takes on this machine, beside what the archive and its dump do.

use super::estimate::{Coming, Measured, estimate};
use crate::commands::Job;
use crate::config::format_bytes;
use crate::durable;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// What `initdb` makes, with the log of changes that a load writes.
const CLUSTER: u64 = 1100 << 20;
/// What an empty database takes.
const EMPTY: u64 = 8 << 20;

/// In lines, for a plan; a warning where it may not fit.
///
/// # Errors
/// `local`: not even a quarter of a measured need would fit, or not even the cluster itself.
pub fn of_cluster(coming: Coming, job: &Job<'_>) -> Outcome<Vec<String>> {
    let directory = job.state_dir();
    let what = || format!("ask how much is free in {}", directory.display());
    let free = durable::file_system(directory).judge(Verdict::Local, what())?;
    let free = free.free_bytes;
    let database = estimate(coming, None, EMPTY, Measured::last(job));
    let files = [coming.archive, coming.dump].into_iter().flatten();
    let files = files.fold(0, u64::saturating_add);
    let needed = files.saturating_add(CLUSTER).saturating_add(database.bytes);
    let lines = vec![
        format!(
            "the cluster about {}, {} at the peak with archive and dump",
            format_bytes(CLUSTER.saturating_add(database.bytes)),
            format_bytes(needed)
        ),
        format!("{} free in {}", format_bytes(free), directory.display()),
        database.basis.in_words(),
    ];
    let told = lines.join("; ");
    let is_hopeless = database.basis.is_measured() && needed / 4 > free;
    if is_hopeless || files.saturating_add(CLUSTER / 8) > free {
        return Err(Failed::new(Verdict::Local, format!("find room: {told}")).hint(
            "free space there, move `state_dir` to a larger disk, or set `where = \"server\"` in [drill]",
        ));
    }
    if needed > free {
        job.run.notes.warn(format!("room may be short: {told}"));
    }
    Ok(lines)
}
