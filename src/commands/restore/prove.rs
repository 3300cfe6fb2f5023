//! What is done with a loaded database before it may go live: the operator's own SQL, the comparison with live, the checks.

use super::{Restored, login, lost_on_the_way};
use crate::commands::Job;
use crate::config::LostObjects;
use crate::database::connection::Login;
use crate::database::lost::{self, Wanted};
use crate::database::target::Target;
use crate::database::{after_load, checks, counts};
use crate::report::Lost;
use crate::verdict::{Failed, Outcome, Verdict};

/// Names of each kind that a message shows; the report has more of them.
const NAMED: usize = 5;
/// Kinds that a message shows.
const KINDS: usize = 12;

/// Whether the files of `after_load` can be run as far as reading them tells: asked first of all, before hours of work.
pub fn scripts(job: &Job<'_>) -> Outcome<()> {
    for file in &job.restore.after_load {
        after_load::read(file)?;
    }
    Ok(())
}

/// Runs the files of `after_load` in the scratch database; in words what came of it, for the report.
pub async fn after_load(login: &Login, scratch: &str, job: &Job<'_>) -> Outcome<Option<String>> {
    let files = &job.restore.after_load;
    if files.is_empty() {
        return Ok(None);
    }
    let (mut statements, mut notices) = (0, 0);
    for file in files {
        let script = after_load::read(file)?;
        let name = script.name().to_owned();
        job.run.progress.note(&format!("running {name}"));
        let ran = after_load::run(login, scratch, &script, job.restore.stall).await?;
        for warning in &ran.warnings {
            job.run.notes.warn(format!("`{name}`: {warning}"));
        }
        statements += ran.statements;
        notices += ran.notices;
    }
    Ok(Some(format!(
        "after_load: {}, {}, {}",
        many(files.len(), "file"),
        many(statements, "statement"),
        many(notices, "notice")
    )))
}

fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Compares the scratch database with live and runs the configured checks in it. All of it is done, so that the report shows
/// everything; the first that fails ends the run.
pub async fn check(restored: &Restored, job: &Job<'_>) -> Outcome<()> {
    let (login, scratch) = (login(job), &restored.scratch.name);
    let is_first = restored.held.target.live.is_missing();
    let kept = if is_first {
        Ok(())
    } else {
        count(&login, scratch, job).await;
        losses(&login, restored, job).await
    };
    let mut checks = job.restore.checks.clone();
    if checks.is_empty() {
        job.run.notes.message("none configured");
    }
    // The preflight has said so.
    checks.retain(|check| !(is_first && check.needs_live()));
    let held = checks::check(&login, scratch, &checks, job.restore.stall, &job.run).await;
    kept.and(held).map_err(lost_on_the_way)
}

/// The rows of the tables are only shown: not to know them is no reason to keep good data from going live.
pub async fn count(login: &Login, scratch: &str, job: &Job<'_>) {
    job.run.progress.note("counting rows by the statistics");
    match counts::compare(login, scratch).await {
        Ok(counts) => job.run.notes.tables(counts.tables, counts.totals),
        Err(failed) => job.run.notes.warn(format!(
            "the rows of the tables are not compared with live: {}",
            failed.message()
        )),
    }
}

/// What live has and the new one would not have, as a warning or as the end.
async fn losses(login: &Login, restored: &Restored, job: &Job<'_>) -> Outcome<()> {
    job.run.progress.note("comparing with the live database");
    let refuses = job.restore.lost_objects == LostObjects::Refuse;
    let wanted = wanted(&restored.held.target, job);
    let lost = match lost::compare(login, &restored.scratch.name, &wanted).await {
        Ok(lost) => lost,
        Err(failed) if refuses => return Err(failed.context("compare with the live database")),
        Err(failed) => {
            job.run.notes.warn(format!(
                "what the swap would lose is not known: {}",
                failed.message()
            ));
            return Ok(());
        }
    };
    if lost.is_empty() {
        return Ok(());
    }
    let text = in_words(&lost);
    job.run.notes.lost(lost);
    if !refuses {
        job.run.notes.warn(text);
        return Ok(());
    }
    Err(Failed::new(Verdict::Failed, text).hint(
        "let the dump or a file of `after_load` have them; or, where they may go, set `lost_objects = \"warn\"` for this job",
    ))
}

/// What configuration leaves out is no loss.
fn wanted(target: &Target, job: &Job<'_>) -> Wanted {
    let contents = &job.restore.contents;
    Wanted {
        owner: contents.owner.of_all(&target.live.owner),
        no_grants: !contents.keeps_privileges,
        skipped: contents.skip.clone(),
    }
}

/// A line for each kind, the first few names of each.
fn in_words(lost: &[Lost]) -> String {
    let all: usize = lost.iter().map(|lost| lost.count).sum();
    let mut lines = vec![format!(
        "the live database has what the new one lacks ({all} in all):"
    )];
    lines.extend(lost.iter().take(KINDS).map(|lost| {
        let names = lost.names[..lost.names.len().min(NAMED)].join("; ");
        let more = match lost.count.saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!("{}: {names}{more}", lost::counted(lost))
    }));
    if let more @ 1.. = lost.len().saturating_sub(KINDS) {
        lines.push(format!("and {more} more kinds; the report has all of them"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, role: Option<&str>, count: usize) -> Lost {
        Lost {
            kind: kind.into(),
            role: role.map(str::to_owned),
            count,
            names: (1..=count.min(50))
                .map(|n| format!("public.x{n}"))
                .collect(),
        }
    }

    #[test]
    fn losses_are_grouped_counted_and_capped() {
        let lost = [
            of("view", None, 2),
            of("grant", Some("reader"), 10_000),
            of("object owned", Some("app"), 1),
        ];
        assert_eq!(
            in_words(&lost),
            "the live database has what the new one lacks (10003 in all):\n\
             2 views: public.x1; public.x2\n\
             10000 grants to reader: public.x1; public.x2; public.x3; public.x4; public.x5; and 9995 more\n\
             1 object owned by app: public.x1"
        );
        let many: Vec<Lost> = (0..50)
            .map(|n| of("grant", Some(&format!("r{n}")), 1))
            .collect();
        let text = in_words(&many);
        assert_eq!(text.lines().count(), 14);
        assert!(
            text.ends_with("\nand 38 more kinds; the report has all of them"),
            "{text}"
        );
    }
}
