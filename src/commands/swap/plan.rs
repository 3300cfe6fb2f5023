//! Which prepared database goes live, and why another one can't.

use crate::commands::Job;
use crate::commands::restore::{none_in_words, sessions_in_words};
use crate::config::{Method, format_bytes};
use crate::database::connection::Session;
use crate::database::preflight::Target;
use crate::database::swap::{self, Named, Prepared};
use crate::escape::{in_shell, shown};
use crate::report::{Record, Step, StepRecord};
use crate::verdict::{Failed, Outcome, Verdict};

/// What a swap would do.
pub struct Plan {
    pub prepared: Prepared,
}

/// The newest of this job, where nothing speaks against it. Its archive and dump are those of this run's report.
///
/// # Errors
/// `stale`: nothing is prepared, or the live database is another one by now; `config` and `failed`: something is in the way.
pub async fn plan(session: &Session, target: &Target, job: &Job<'_>) -> Outcome<Plan> {
    let prepared = newest(session, job).await?;
    let live = &target.live;
    if prepared.stamp.live_oid != live.oid {
        return Err(outdated(session, &prepared, job).await?);
    }
    if let Some(over) = restored_over(&prepared, job) {
        return Err(older_than(&prepared, &over, job));
    }
    let stamp = &prepared.stamp;
    if let Some(archive) = &stamp.archive {
        job.run.notes.archive(archive.clone());
    }
    if let Some(dump) = &stamp.dump {
        job.run.notes.dump(dump.clone());
    }
    if live.is_missing() {
        // It gets a name that nobody has: nothing is in the way, and nothing to be carried over.
        return Ok(Plan { prepared });
    }
    let live = Named {
        name: live.name.clone(),
        oid: live.oid,
    };
    swap::obstacles(session, &live).await?;
    let now = swap::properties(session, live.oid).await?;
    let missing = swap::missing_rights(session, &now).await?;
    if missing.is_empty() {
        return Ok(Plan { prepared });
    }
    Err(
        Failed::new(Verdict::Config, "the swap needs rights that are missing")
            .hint(missing.join("\n")),
    )
}

async fn newest(session: &Session, job: &Job<'_>) -> Outcome<Prepared> {
    let (live, name) = (&job.database.name, &job.restore.name);
    let all = swap::prepared_databases(session, live).await?;
    let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.stamp.job == *name);
    if let Some(newest) = own.into_iter().find(|one| one.whole) {
        return Ok(newest);
    }
    let failed = Failed::new(
        Verdict::Stale,
        format!(
            "nothing is prepared that could go live as `{}`",
            shown(live)
        ),
    );
    Err(match others.first() {
        Some(other) => failed.hint(format!(
            "`{}` was prepared by job `{}`: `backupctl swap {}`",
            shown(&other.stamp.name),
            shown(&other.stamp.job),
            in_shell(&other.stamp.job)
        )),
        None => failed.hint(format!(
            "`backupctl run {name}` prepares it, with `swap = \"hold\"`; its last report says why there is none"
        )),
    })
}

/// Who has changed the live database since; what was prepared is older than that.
async fn outdated(session: &Session, prepared: &Prepared, job: &Job<'_>) -> Outcome<Failed> {
    let stamp = &prepared.stamp;
    let by = match swap::replaced_by(session, stamp.live_oid).await? {
        Some(by) => {
            let history = job.history();
            let record = history.iter().find(|record| record.run == by.run);
            let what = record.map_or("run", |record| record.command.as_str());
            format!(
                "`{}` of {} ({})",
                shown(what),
                by.swapped_at.strftime("%Y-%m-%d %H:%M UTC"),
                by.run
            )
        }
        None => {
            "somebody who left no stamp: by hand, or its previous database was dropped".to_owned()
        }
    };
    Ok(Failed::new(
        Verdict::Stale,
        format!(
            "`{}` was prepared before `{}` was replaced by {by}",
            shown(&stamp.name),
            shown(&stamp.live)
        ),
    )
    .hint(format!(
        "`backupctl run {}` prepares a new one and drops this one",
        job.restore.name
    )))
}

/// The restore over the live database (`method = "in-place"`) that this job has made since: the OID tells nothing then.
fn restored_over(prepared: &Prepared, job: &Job<'_>) -> Option<Record> {
    let mut newer = job
        .newest_first()
        .take_while(|record| record.run != prepared.stamp.run);
    let in_place = job.restore.method == Method::InPlace;
    newer.find(|record| went_over_live(record, in_place))
}

/// A report names no method. But only in place a restore is all that there is to a good end, and has an unclear one without a
/// swap; one that died may have been of either kind, and is taken for what the job does now.
fn went_over_live(record: &Record, in_place: bool) -> bool {
    let step = |wanted: Step| record.steps.iter().find(|step| step.step == wanted);
    let may_have = |step: &StepRecord| {
        let verdict = step.verdict;
        verdict.is_none_or(|verdict| verdict.is_good() || verdict == Verdict::Unclear)
    };
    matches!(record.command.as_str(), "run" | "restore")
        && !record.is_apart()
        && step(Step::Restore).is_some_and(may_have)
        && step(Step::Swap).or(step(Step::Hold)).is_none()
        && match record.verdict {
            Some(verdict) => verdict.is_good() || verdict == Verdict::Unclear,
            None => in_place,
        }
}

fn older_than(prepared: &Prepared, over: &Record, job: &Job<'_>) -> Failed {
    Failed::new(
        Verdict::Stale,
        format!(
            "`{}` was prepared before run {} restored over `{}`",
            shown(&prepared.stamp.name),
            over.run,
            shown(&prepared.stamp.live)
        ),
    )
    .hint(format!(
        "what is live is newer; `backupctl run {}` drops what was prepared",
        job.restore.name
    ))
}

impl Plan {
    /// For a dry run and the question.
    pub async fn in_words(
        &self,
        session: &Session,
        target: &Target,
        job: &Job<'_>,
    ) -> Outcome<Vec<String>> {
        let Prepared {
            database, stamp, ..
        } = &self.prepared;
        let archive = stamp
            .archive
            .as_ref()
            .map(|archive| format!(", from `{}`", shown(&archive.name)));
        let live = &target.live;
        let size = live.size_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let aside = if live.is_missing() {
            none_in_words(session, job).await?
        } else {
            format!(
                "aside     `{}` ({}) would become {}",
                shown(&live.name),
                size.map_or_else(|| "size unknown".to_owned(), format_bytes),
                shown(&swap::previous_name(&live.name, &job.run.id))
            )
        };
        Ok(vec![
            format!(
                "prepared  `{}`{}, since {}",
                shown(&stamp.name),
                archive.unwrap_or_default(),
                stamp.since.strftime("%Y-%m-%d %H:%M UTC")
            ),
            aside,
            sessions_in_words(&swap::sessions(session, &[live.oid, database.oid]).await?),
        ])
    }
}
