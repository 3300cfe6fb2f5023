//! `report`: the history of runs, as text, JSON or one page, and whether it is still the history that was written. It connects to
//! nothing, takes no job's lock and leaves no trace but the page.

mod page;
mod place;
mod text;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{App, status};
use crate::cli;
use crate::config::Restore;
use crate::lock;
use crate::report::{self, Audit, OnDisk, Record};
use crate::state_dir;
use crate::verdict::{Failed, Outcome, Verdict};

/// Problems that an error names.
const NAMED: usize = 5;

/// What is told of all jobs together.
struct Asked {
    now: Timestamp,
    since: Timestamp,
    audit: Audit,
}

/// The runs of one job.
struct History<'a> {
    restore: &'a Restore,
    state: status::State,
    /// Newest first.
    runs: Vec<Entry<'a>>,
}

/// One run.
#[derive(Clone, Copy)]
struct Entry<'a> {
    record: &'a Record,
    /// The whole report, with what only other versions know.
    value: &'a Value,
    is_running: bool,
}

/// How a verdict looks: never by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tone {
    Good,
    Open,
    Duty,
    Bad,
}

impl Tone {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done => Self::Good,
            Verdict::Attention | Verdict::Interrupted(_) | Verdict::Locked => Self::Duty,
            _ => Self::Bad,
        }
    }
}

impl Entry<'_> {
    /// `unfinished` is a run that died.
    fn word(&self) -> &'static str {
        match self.record.verdict {
            Some(verdict) => verdict.word(),
            None if self.is_running => "running",
            None => "unfinished",
        }
    }

    fn tone(&self) -> Tone {
        match self.record.verdict {
            Some(verdict) => Tone::of(verdict),
            None if self.is_running => Tone::Open,
            None => Tone::Bad,
        }
    }
}

/// `backupctl report [JOB…]`.
///
/// # Errors
/// `usage`: an unknown job; `local`: the reports can't be read, or the page not be written; `config`: somebody else's directory.
pub async fn command(app: &App, named: &[String], wish: &cli::History) -> Outcome<Verdict> {
    let jobs = super::jobs(&app.config, named)?;
    state_dir::usable(&app.config.state_dir)?;
    let now = Timestamp::now();
    let back = SignedDuration::try_from(wish.since).unwrap_or(SignedDuration::MAX);
    let (reports, audit) = report::audit(&app.config.state_dir, wish.head.as_deref())?;
    let asked = Asked {
        now,
        since: now.checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH),
        audit,
    };
    let mut histories = Vec::new();
    for job in jobs {
        histories.push(history(app, job, &reports, &asked).await?);
    }
    if let Some(file) = &wish.html {
        let page = page::page(&asked, &histories);
        place::write(file, &page, app.options.dry_run)?;
    }
    Ok(tell(app, wish, &asked, &histories))
}

async fn history<'a>(
    app: &App,
    restore: &'a Restore,
    reports: &'a [OnDisk],
    asked: &Asked,
) -> Outcome<History<'a>> {
    let holder = lock::held(&app.config.state_dir, &restore.name).flatten();
    let at_work = holder.map(|holder| holder.run);
    let of_job = reports
        .iter()
        .filter(|report| report.record.job == restore.name && report.record.started >= asked.since);
    let mut runs: Vec<Entry> = of_job
        .map(|report| Entry {
            record: &report.record,
            value: &report.value,
            is_running: at_work.as_ref() == Some(&report.run),
        })
        .collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.record.started));
    Ok(History {
        restore,
        state: status::command(app, restore, None).await?,
        runs,
    })
}

/// What of one job's history `--json` shows.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    command: &'static str,
    version: &'static str,
    job: &'a str,
    verdict: &'static str,
    exit_code: u8,
    message: Option<String>,
    hint: Option<String>,
    since: Timestamp,
    /// The reports, newest first.
    runs: Vec<&'a Value>,
    /// Of all jobs together.
    chain: &'a Audit,
    /// The page.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

fn tell(app: &App, wish: &cli::History, asked: &Asked, histories: &[History]) -> Verdict {
    let failed = broken(&asked.audit);
    let verdict = failed.as_ref().map_or(Verdict::Done, |f| f.verdict);
    let path = wish.html.as_ref().map(|file| file.display().to_string());
    if app.output.json {
        for history in histories {
            let document = Document {
                format: 1,
                command: "report",
                version: env!("CARGO_PKG_VERSION"),
                job: &history.restore.name,
                verdict: verdict.word(),
                exit_code: verdict.exit_code(),
                message: failed.as_ref().map(Failed::message),
                hint: failed.as_ref().and_then(|failed| failed.hint.clone()),
                since: asked.since,
                runs: history.runs.iter().map(|run| run.value).collect(),
                chain: &asked.audit,
                path: path.clone(),
            };
            app.output.state(&document, String::new, None);
        }
    } else if let Some(path) = &path {
        app.output.facts(path, &[]);
    } else {
        app.output.result(&text::text(asked, histories));
    }
    if let Some(failed) = &failed {
        app.output.error(failed);
    }
    verdict
}

/// A history that is not the one that was written is a check that failed.
fn broken(audit: &Audit) -> Option<Failed> {
    let mut named: Vec<String> = { audit.problems.iter().take(NAMED) }
        .map(ToString::to_string)
        .collect();
    if audit.problems.len() > NAMED {
        named.push(format!("and {} more", audit.problems.len() - NAMED));
    }
    (!named.is_empty()).then(|| {
        let what = format!("the history is not as it was written: {}", named.join("; "));
        Failed::new(Verdict::Failed, what).hint(
            "compare with the mails of these runs, which have the head of the chain; `runs/chain` moved away, the next run of each job begins a new one with what is there",
        )
    })
}
