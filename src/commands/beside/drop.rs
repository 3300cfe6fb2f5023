//! `restore --drop NAME`: what was loaded to be looked at goes, and nothing else ever.

use super::{fits, order};
use crate::commands::{App, Job, perform, reach, restore};
use crate::config::{Restore, format_bytes};
use crate::database::beside::{self as database, day_and_time};
use crate::database::connection::Session;
use crate::database::{scratch, swap, target};
use crate::escape::shown;
use crate::journal::Created;
use crate::report::{Record, Report, Step};
use crate::verdict::{Judge, Outcome, Verdict};

/// `backupctl restore [JOB] --drop NAME`.
///
/// # Errors
/// `usage`: not confirmed, and nobody to ask; a name that none of these databases has.
pub async fn command(
    app: &App,
    settings: &Restore,
    (name, yes): (&str, bool),
    notify: bool,
) -> Outcome<Record> {
    fits(name, &app.config)?;
    let yes = yes || app.options.dry_run;
    app.output.can_confirm(yes)?;
    let work = async |job: &Job<'_>, report: &mut Report| {
        let asked = async {
            reach::database(job).await?;
            let (session, target) = restore::look(job).await?;
            job.run.notes.beside(name, &target.live.name);
            scratch::hold_database(&session, name).await?;
            let found = database::droppable(&session, name, &target.live.name).await?;
            let words = in_words(&session, &found).await?;
            Ok((session, found, words))
        };
        let (session, found, words) = report.step(Step::Network, asked).await?;
        if app.options.dry_run {
            job.run.notes.plan(words);
            return Ok(());
        }
        if !yes {
            let question = format!("{}\nDrop it?", words.join("\n"));
            let stop = &app.signals.stop;
            app.output.confirm(&question, yes, stop).await?;
        }
        let dropping = drop_it(&session, &found, job);
        report.undivided_step(Step::Drop, dropping).await?;
        session.close().await;
        let live = shown(&found.stamp.live);
        report.record.message = Some(format!(
            "`{}` is dropped; `{live}` is untouched.",
            shown(name)
        ));
        Ok(())
    };
    Ok(perform(app, settings, order(false, notify), work).await)
}

async fn in_words(session: &Session, found: &database::Beside) -> Outcome<Vec<String>> {
    let (database, stamp) = (&found.database, &found.stamp);
    let size = target::size_bytes(session, database.oid).await?;
    let from = stamp.archive.as_ref().map(|archive| &archive.name);
    let from = from.or(stamp.dump.as_ref().map(|dump| &dump.name));
    let from = from.map_or_else(String::new, |name| format!(" from `{}`", shown(name)));
    let connected = swap::sessions(session, &[database.oid]).await?.len();
    Ok(vec![
        format!(
            "drop      `{}` ({}), loaded on {}{from}",
            shown(&database.name),
            size.map_or_else(|| "size unknown".to_owned(), format_bytes),
            day_and_time(stamp.since)
        ),
        format!("sessions  {connected} in it now, which would be ended"),
    ])
}

/// Under the name of a scratch database it is a leftover of this run, should the drop itself be cut short.
async fn drop_it(session: &Session, found: &database::Beside, job: &Job<'_>) -> Outcome<()> {
    let aside = scratch::scratch_name(&found.stamp.live, &job.run.id);
    let created = Created::Scratch {
        database: job.database.key.clone(),
        name: aside.clone(),
    };
    let journal = &job.run.journal;
    journal
        .will_create(created)
        .judge(Verdict::Local, "write the journal")?;
    database::take_aside(session, found, &aside).await?;
    scratch::drop_scratch(&restore::login(job), &aside, &job.run).await
}
