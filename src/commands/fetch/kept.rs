//! The fetched archives in the state directory: which there are, which one is next, and which are kept.

use std::path::{Path, PathBuf};

use super::Fetched;
use crate::commands::Job;
use crate::durable;
use crate::report::ArchiveFacts;
use crate::state_dir;
use crate::store::Listed;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// What is known of an archive lies beside it.
pub(super) fn facts_path(archive: &Path) -> PathBuf {
    archive.with_extension("json")
}

/// The newest archive that was fetched before, with the facts noted beside it.
pub fn newest_kept(job: &Job<'_>) -> Outcome<Fetched> {
    let directory = state_dir::archives(job.state_dir(), &job.restore.name);
    let newest = kept(&directory)?.into_iter().next_back();
    let path = newest.ok_or_else(|| {
        Failed::new(
            Verdict::Stale,
            format!(
                "find a fetched archive in {}: there is none",
                directory.display()
            ),
        )
        .hint(format!(
            "`backupctl fetch {}` brings one, or name a file with `--file`",
            job.restore.name
        ))
    })?;
    let facts = std::fs::read(facts_path(&path)).judge(
        Verdict::Local,
        format!("read {}", facts_path(&path).display()),
    )?;
    let facts: ArchiveFacts = serde_json::from_slice(&facts).judge(
        Verdict::Local,
        format!("read {}", facts_path(&path).display()),
    )?;
    job.run.notes.archive(facts.clone());
    Ok(Fetched { path, facts })
}

/// The archive where an earlier run has kept it, if it is the same file as far as its name, length and time tell, and its
/// SHA-256 is still what it was.
pub async fn kept_already(archive: &Listed, job: &Job<'_>) -> Outcome<Option<Fetched>> {
    let directory = state_dir::archives(job.state_dir(), &job.restore.name);
    let all = kept(&directory)?.into_iter().rev();
    let same = all.filter_map(|path| {
        let facts = std::fs::read(facts_path(&path)).ok()?;
        let facts: ArchiveFacts = serde_json::from_slice(&facts).ok()?;
        let is_same = facts.name == archive.name
            && facts.bytes == archive.bytes
            && facts.modified == Some(archive.modified);
        is_same.then_some(Fetched { path, facts })
    });
    for fetched in same {
        let path = fetched.path.clone();
        let hashed = tokio::task::spawn_blocking(move || super::sha256_of(&path));
        let hashed = hashed.await.judge(Verdict::Bug, "hash the kept archive")?;
        let sha256 = hashed.ok();
        if sha256.is_some() && sha256 == fetched.facts.sha256 {
            job.run.notes.archive(fetched.facts.clone());
            return Ok(Some(fetched));
        }
        job.run.notes.warn(format!(
            "{} is not what was fetched any more: look at the disk under `state_dir`",
            fetched.path.display()
        ));
    }
    Ok(None)
}

/// The fetched archives in a directory of ours, oldest first: their names begin with their time.
fn kept(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.judge(Verdict::Local, format!("list {}", directory.display()))?,
    };
    let mut found: Vec<PathBuf> = listing
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "zip")
                && facts_path(path).is_file()
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Keeps the newest so many fetched archives, and in any case the one at hand, where there is one. What can't be removed stands in nobody's way.
pub fn prune(job: &Job<'_>, keep: usize, at_hand: Option<&Path>) {
    super::forget_part(job);
    if let Err(failed) = remove_old(job, keep, at_hand) {
        let told = format!("remove old archives: {}", failed.message());
        job.run.notes.warn(told);
    }
}

fn remove_old(job: &Job<'_>, keep: usize, at_hand: Option<&Path>) -> Outcome<()> {
    let directory = state_dir::archives(job.state_dir(), &job.restore.name);
    let all = kept(&directory)?;
    let superfluous = all.len().saturating_sub(keep);
    for path in all
        .iter()
        .take(superfluous)
        .filter(|path| at_hand != Some(path.as_path()))
    {
        durable::remove(path)
            .and_then(|()| durable::remove(&facts_path(path)))
            .judge(Verdict::Local, format!("remove {}", path.display()))?;
        tracing::info!("removed {}", path.display());
    }
    widows(&directory).judge(Verdict::Local, format!("clean up {}", directory.display()))
}

/// Facts whose archive never came, because its run was killed between the two, are nobody's.
fn widows(directory: &Path) -> std::io::Result<()> {
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for file in listing {
        let path = file?.path();
        let is_facts = path
            .extension()
            .is_some_and(|extension| extension == "json");
        if is_facts && !path.with_extension("zip").exists() {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a fetched archive that turned out to be damaged: it must not push good ones out, and is still in its store.
pub fn discard(fetched: &Fetched) -> Outcome<()> {
    let path = &fetched.path;
    durable::remove(path)
        .and_then(|()| durable::remove(&facts_path(path)))
        .judge(Verdict::Local, format!("remove {}", path.display()))
}
