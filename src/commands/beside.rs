//! `restore --as NAME`: to look at a dump without touching what is live; and `restore --drop NAME`.
//!
//! The job's lock is held all the same: by it the next run knows that what a journal lists is nobody's. Nothing holds the live
//! database, since nothing is done to it; what is held is NAME.

pub mod drop;

use std::path::Path;
use std::time::Duration;

use super::restore::{self, Held, lost_on_the_way};
use super::space::Coming;
use super::unzip::{self, Unpacked};
use super::{App, Job, Order, perform};
use crate::cli::Beside;
use crate::config::{Check, Config, Restore, format_duration};
use crate::database::beside::{self, BesideStamp, day_and_time};
use crate::database::checks;
use crate::database::connection::Session;
use crate::database::dump::{Selection, TableName, Toc};
use crate::database::preflight::{self, Needs};
use crate::database::scratch::{self, Scratch};
use crate::database::swap::NAME_BYTES;
use crate::escape::{quoted, shown};
use crate::journal::Created;
use crate::report::{Record, Report, Step};
use crate::run::RunId;
use crate::verdict::{Failed, Outcome, Verdict};

/// How long a database is there to be looked at, before runs begin to offer to drop it.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// What is to be loaded, and as what.
pub struct Wish<'a> {
    name: &'a str,
    file: Option<&'a Path>,
    /// Empty: all of the dump.
    tables: Vec<TableName>,
    keep: Duration,
}

impl<'a> Wish<'a> {
    /// # Errors
    /// `usage`: what can be no table.
    pub fn of(name: &'a str, asked: &Beside, file: Option<&'a Path>) -> Outcome<Self> {
        let tables = asked.tables.iter().map(|table| TableName::parse(table));
        Ok(Self {
            name,
            file,
            tables: tables.collect::<Outcome<_>>()?,
            keep: asked.expires.unwrap_or(KEEP),
        })
    }
}

/// `backupctl restore [JOB] --as NAME`.
///
/// # Errors
/// `usage`: a name that no such database can have.
pub async fn load(app: &App, restore: &Restore, wish: Wish<'_>, notify: bool) -> Outcome<Record> {
    fits(wish.name, &app.config)?;
    let work = async |job: &Job<'_>, report: &mut Report| {
        if wish.tables.is_empty() {
            restore::scripts(job)?;
        }
        let reached = async {
            super::reach::database(job).await?;
            hold(wish.name, job).await
        };
        let held = report.step(Step::Network, reached).await?;
        if app.options.dry_run {
            return report.step(Step::Restore, plan(&held, &wish, job)).await;
        }
        let unpacked = match wish.file {
            Some(file) => {
                let unpacking = unzip::named_dump(job, file);
                report.step(Step::Unzip, unpacking).await?
            }
            None => unzip::newest_kept(job)?,
        };
        look_at(held, &unpacked, &wish, (job, report)).await
    };
    Ok(perform(app, restore, order(notify), work).await)
}

fn order(notify: bool) -> Order {
    Order {
        command: "restore",
        store: false,
        archives: true,
        database: true,
        mail: notify,
    }
}

/// Loads, names, checks. From the name on the database stays, whatever its checks say: it is there to be looked at.
async fn look_at(
    held: Held,
    unpacked: &Unpacked,
    wish: &Wish<'_>,
    (job, report): (&Job<'_>, &mut Report),
) -> Outcome<()> {
    let loading = into_scratch(held, unpacked, wish, job);
    let (held, scratch, tables) = report.step(Step::Restore, loading).await?;
    let naming = give_name(&scratch, &held, (wish, tables), job);
    let stamp = report.undivided_step(Step::Hold, naming).await?;
    if wish.tables.is_empty() {
        let checked = report.step(Step::Check, check(&held, wish, job)).await;
        checked.map_err(|failed| stays(failed, wish.name, job))?;
    }
    held.session.close().await;
    report.record.message = Some(format!(
        "`{}` is loaded beside `{}`, which is untouched. From {} on every run says that it can go; {}.",
        shown(wish.name),
        shown(&stamp.live),
        day_and_time(stamp.expires),
        drop_command(wish.name, &job.restore.name)
    ));
    Ok(())
}

/// It is not live, so that a check that fails is no reason to take it away.
fn stays(failed: Failed, name: &str, job: &Job<'_>) -> Failed {
    let first = failed.hint.clone().unwrap_or_default();
    let kept = format!(
        "`{}` stays all the same, to be looked at; {}",
        shown(name),
        drop_command(name, &job.restore.name)
    );
    Failed {
        hint: Some(format!("{first}\n{kept}").trim_start().to_owned()),
        ..failed
    }
}

fn drop_command(name: &str, job: &str) -> String {
    format!(
        "`backupctl restore {} --drop {}` drops it",
        shown(job),
        in_shell(name)
    )
}

/// A name as it can be typed.
fn in_shell(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.chars().all(plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    shown(&format!("'{}'", name.replace('\'', r"'\''")))
}

/// What can be no name for it, known without asking the server.
fn fits(name: &str, config: &Config) -> Outcome<()> {
    let is_live = |database: &&crate::config::Postgres| database.name == name;
    let databases = || config.databases.values();
    let is_maintenance = databases().any(|database| database.maintenance_database == name);
    let why = if name.trim().is_empty() {
        "it is empty".to_owned()
    } else if name.len() > NAME_BYTES {
        format!(
            "it has {} bytes, and the server takes {NAME_BYTES}",
            name.len()
        )
    } else if name.chars().any(char::is_control) {
        "it holds control characters".to_owned()
    } else if let Some(live) = databases().find(is_live) {
        format!("it is the live database of [databases.{}]", live.key)
    } else if is_maintenance || ["postgres", "template0", "template1"].contains(&name) {
        "it is the server's own".to_owned()
    } else if looks_like_ours(name) {
        "it looks like a scratch or a previous database".to_owned()
    } else {
        return Ok(());
    };
    let problem = format!(
        "{} can't be the name of a database to look at: {why}",
        quoted(name)
    );
    Err(Failed::new(Verdict::Usage, problem).hint("choose another one, such as `erp_look`"))
}

/// `…_new_<run id>`, `…_before_<run id>`: of those something else is expected.
fn looks_like_ours(name: &str) -> bool {
    let ends_in_id = |middle: &str| {
        let id = name.rsplit_once(middle).map(|(_, id)| id.replace('_', "-"));
        id.is_some_and(|id| RunId::parse(&id).is_some())
    };
    ends_in_id("_new_") || ends_in_id("_before_")
}

/// The server, with the name held against everybody else who would load into a database of that name.
async fn hold(name: &str, job: &Job<'_>) -> Outcome<Held> {
    let (session, target) = restore::look(job).await?;
    job.run.notes.beside(name, &target.live.name);
    scratch::hold_database(&session, name).await?;
    beside::vacant(&session, name).await?;
    mention(&session, job).await?;
    Ok(Held { session, target })
}

/// What has been loaded beside the live database and has outlived its day: offered, never dropped by itself.
pub async fn mention(session: &Session, job: &Job<'_>) -> Outcome<()> {
    for stamp in beside::expired(session, &job.database.name).await? {
        job.run.notes.warn(format!(
            "`{}` was loaded on {} to be looked at, until {}: {}",
            shown(&stamp.name),
            day_and_time(stamp.since),
            day_and_time(stamp.expires),
            drop_command(&stamp.name, &stamp.job)
        ));
    }
    Ok(())
}

/// Which part of the dump, and what it needs.
fn selected(toc: &Toc, held: &Held, wish: &Wish<'_>, job: &Job<'_>) -> Outcome<(Selection, Needs)> {
    let mut selection = restore::selection(toc, &held.target, job)?;
    if !wish.tables.is_empty() {
        selection = selection.only(toc, &wish.tables)?;
    }
    let asked = Needs {
        beside: true,
        ..restore::needs(toc, &selection, job)
    };
    Ok((selection, asked))
}

async fn suits(
    held: &Held,
    (toc, coming): (&Toc, Coming),
    wish: &Wish<'_>,
    job: &Job<'_>,
) -> Outcome<restore::Suited> {
    let (selection, asked) = selected(toc, held, wish, job)?;
    let told = selection.part().map(|part| part.warnings(toc));
    // Of some tables nobody knows how much of the dump they are.
    let coming = if told.is_some() {
        Coming::default()
    } else {
        coming
    };
    let suited = restore::loadable(held, toc, (selection, asked, coming), job).await?;
    suited.room.warn(job);
    for warning in told.into_iter().flatten() {
        job.run.notes.warn(warning);
    }
    Ok(suited)
}

async fn into_scratch(
    held: Held,
    unpacked: &Unpacked,
    wish: &Wish<'_>,
    job: &Job<'_>,
) -> Outcome<(Held, Scratch, Vec<String>)> {
    let held = still_held(held, wish.name, job).await?;
    let suited = suits(&held, (&unpacked.toc, unpacked.coming()), wish, job).await?;
    restore::make_roles(&held, &suited, job).await?;
    let login = restore::login(job);
    let loaded = restore::into_scratch(&login, &held.target, &suited, unpacked, job).await;
    let scratch = loaded.map_err(lost_on_the_way)?;
    unpacked.on_disk.wait().await?;
    let part = suited.selection.part();
    let tables = part.map(|part| part.tables.clone()).unwrap_or_default();
    Ok((held, scratch, tables))
}

/// Unpacking may have taken long. Whoever has taken the name meanwhile makes this run a failed one: it has done its work.
async fn still_held(held: Held, name: &str, job: &Job<'_>) -> Outcome<Held> {
    let Held { session, .. } = held;
    match preflight::look(&session, &restore::login(job)).await {
        Ok(target) => Ok(Held { session, target }),
        Err(failed) if session.is_closed() || failed.verdict == Verdict::Network => {
            session.close().await;
            hold(name, job)
                .await
                .map_err(|failed| match failed.verdict {
                    Verdict::Locked => Failed {
                        verdict: Verdict::Failed,
                        ..failed
                    },
                    _ => failed,
                })
        }
        Err(failed) => Err(failed),
    }
}

/// The scratch database becomes the one that was asked for; from then on it is no leftover.
async fn give_name(
    scratch: &Scratch,
    held: &Held,
    (wish, tables): (&Wish<'_>, Vec<String>),
    job: &Job<'_>,
) -> Outcome<BesideStamp> {
    let stamp = {
        let noted = job.run.notes.lock();
        let unknown = jiff::Timestamp::now();
        BesideStamp {
            format: 1,
            live: held.target.live.name.clone(),
            name: wish.name.to_owned(),
            run: job.run.id.to_string(),
            job: job.restore.name.clone(),
            since: unknown,
            expires: unknown,
            archive: noted.archive.clone(),
            dump: noted.dump.clone(),
            tables,
        }
    };
    let named = beside::name(&restore::login(job), scratch, stamp, wish.keep).await;
    let stamp = named.map_err(lost_on_the_way)?;
    job.run.notes.expires(stamp.expires);
    let until = day_and_time(stamp.expires);
    job.run.notes.message(format!(
        "named `{}`, to be looked at until {until}",
        shown(wish.name)
    ));
    let created = Created::Scratch {
        database: job.database.key.clone(),
        name: scratch.name.clone(),
    };
    if let Err(error) = job.run.journal.forget(&created) {
        let told = format!("the journal can't be written: {error}");
        job.run.notes.warn(told);
    }
    Ok(stamp)
}

/// As before a swap, except for what a swap would lose: nothing is lost here.
async fn check(held: &Held, wish: &Wish<'_>, job: &Job<'_>) -> Outcome<()> {
    let login = restore::login(job);
    let is_first = held.target.live.is_missing();
    if !is_first {
        restore::count(&login, wish.name, job).await;
    }
    let mut checks = job.restore.checks.clone();
    if checks.is_empty() {
        job.run.notes.message("none configured");
    }
    checks.retain(|check: &Check| !(is_first && check.needs_live()));
    let checked = checks::check(&login, wish.name, &checks, job.restore.stall, &job.run).await;
    checked.map_err(lost_on_the_way)
}

/// What a dry run says.
async fn plan(held: &Held, wish: &Wish<'_>, job: &Job<'_>) -> Outcome<()> {
    scratch::let_go(&held.session, wish.name).await?;
    let (toc, coming) = if let Some(file) = wish.file {
        unzip::toc_of(job, file).await?
    } else {
        let kept = unzip::newest_kept(job)?;
        let coming = kept.coming();
        (kept.toc, coming)
    };
    let (selection, asked) = selected(&toc, held, wish, job)?;
    let live = &held.target.live;
    let mut lines = vec![
        format!(
            "beside    `{}` on {}, which stays as it is",
            shown(&live.name),
            job.database.host
        ),
        format!(
            "as        `{}`, offered to be dropped after {}",
            shown(wish.name),
            format_duration(wish.keep)
        ),
    ];
    if let Some(part) = selection.part() {
        let tables = part.tables.iter();
        lines.extend(tables.map(|table| format!("table     `{}`", shown(table))));
    }
    job.run.notes.plan(lines);
    let contents = &job.restore.contents;
    let listed = restore::listed(held, &toc, &asked, &selection, contents).await?;
    job.run.notes.plan(listed);
    let suited = suits(held, (&toc, coming), wish, job).await?;
    job.run.notes.plan(suited.room.in_words());
    let tool = suited.tool;
    let lines = vec![
        format!("tool      {} {}", tool.path.display(), tool.version),
        format!(
            "scratch   {}",
            scratch::scratch_name(&live.name, &job.run.id)
        ),
    ];
    job.run.notes.plan(lines);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scratch_and_previous_databases_are_recognised_whatever_is_live() {
        for name in ["x_new_20261120_020000_7f3a", "_before_20261120_020000_7f3a"] {
            assert!(looks_like_ours(name), "{name}");
        }
        for name in ["erp_new", "erp_before_2026", "new_20261120_020000_7f3a"] {
            assert!(!looks_like_ours(name), "{name}");
        }
    }

    #[test]
    fn a_name_in_a_command_can_be_typed() {
        assert_eq!(in_shell("erp_look.2"), "erp_look.2");
        assert_eq!(in_shell("it's"), r"'it'\''s'");
        assert_eq!(in_shell("-x"), "'-x'");
    }
}
