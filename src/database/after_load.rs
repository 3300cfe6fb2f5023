//! The operator's own SQL files, run in the scratch database after the load: each in one transaction, never by psql.
//!
//! Read and judged once at the start, so that a missing file is found before hours of work, and again when it is run.

mod statements;
mod watch;

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use self::statements::Statement;
use super::checks::as_the_application_sees_it;
use super::connection::{Login, Session, column, connect};
use crate::escape::shown;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// A larger file is no list of grants and views.
const LARGEST_BYTES: u64 = 16 << 20;
/// No statement takes longer; the stall ends it long before, unless it goes on.
const STATEMENT_DEADLINE: Duration = Duration::from_hours(24);

/// A file that can be run, as far as reading it can tell.
#[derive(Debug)]
pub struct Script {
    name: String,
    text: String,
    statements: Vec<Statement>,
}

/// What running a file has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    pub statements: usize,
    /// What the server remarked, below a warning.
    pub notices: usize,
    /// The server's warnings, the first few.
    pub warnings: Vec<String>,
}

impl Script {
    /// The file's path, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Reads and judges a file.
///
/// # Errors
/// `config`: it is missing, unreadable, writable by everybody, or has what can't be run in one transaction.
pub fn read(path: &Path) -> Outcome<Script> {
    let name = shown(&path.display().to_string());
    let text = contents(path)
        .context(format!("read `{name}`"))
        .hint("`after_load` of this job names the file; relative paths start at the configuration's directory")?;
    // Editors on Windows put it there, and the server would not know it.
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    let statements = statements::statements(&text).map_err(|problem| {
        let (line, what) = (problem.line, problem.what);
        Failed::new(Verdict::Config, format!("`{name}`, line {line}: {what}")).hint(format!(
            "mend the file: each file of `after_load` is SQL alone, and runs in one transaction{}",
            ", in the scratch database"
        ))
    })?;
    Ok(Script {
        name,
        text,
        statements,
    })
}

fn contents(path: &Path) -> Outcome<String> {
    let found = fs::metadata(path).judge(Verdict::Config, "look at it")?;
    let refuse = |what: &str| Err(Failed::new(Verdict::Config, what));
    if !found.is_file() {
        return refuse("it is no regular file");
    }
    if found.mode() & 0o002 != 0 {
        let failed = Failed::new(Verdict::Config, "everybody may write into it");
        let name = path.display();
        return Err(failed.hint(format!(
            "it runs with the rights of the restore: `chmod o-w {}`",
            shown(&name.to_string())
        )));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST_BYTES + 1).read_to_end(&mut bytes))
        .judge(Verdict::Config, "open it")?;
    if bytes.len() as u64 > LARGEST_BYTES {
        return refuse("it has more than 16 MiB");
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => refuse("it is no text in UTF-8"),
    }
}

/// Runs a file in `database`, in a session of its own; `login.settings.name` is the live database, whose `search_path` it sees.
///
/// # Errors
/// `failed`: a statement failed, with file and line, or made no progress for `stall`; else as the session.
pub async fn run(login: &Login, database: &str, script: &Script, stall: Duration) -> Outcome<Ran> {
    let worker = connect(login, database)
        .await?
        .with_deadline(STATEMENT_DEADLINE);
    as_the_application_sees_it(&worker, &login.settings.name).await?;
    let watch = connect(login, database).await?;
    let ran = tokio::select! {
        ran = all(&worker, script) => ran,
        stalled = watch::stalled(&watch, worker.pid(), stall) => Err(stalled),
    };
    watch.close().await;
    let ran = ran
        .context(format!("run `{}`", script.name))
        .hint("mend the file, or take it out of `after_load` of this job; the live database was left as it was")?;
    worker.close().await;
    Ok(ran)
}

async fn all(session: &Session, script: &Script) -> Outcome<Ran> {
    session.batch("BEGIN").await?;
    let begun = transaction(session).await?;
    for statement in &script.statements {
        one(session, script, statement).await?;
    }
    // What was overlooked when the file was judged may have ended it.
    if transaction(session).await? != begun {
        return Err(Failed::new(
            Verdict::Failed,
            "a statement in it has ended the transaction in which the whole file is run",
        ));
    }
    // Constraints that were deferred fail here.
    session.batch("COMMIT").await?;
    let remarks = session.remarks();
    Ok(Ran {
        statements: script.statements.len(),
        notices: remarks.notices,
        warnings: remarks.warnings,
    })
}

async fn transaction(session: &Session) -> Outcome<i64> {
    let row = session
        .query_one("SELECT pg_catalog.txid_current()", &[])
        .await?;
    column(&row, 0)
}

async fn one(session: &Session, script: &Script, statement: &Statement) -> Outcome<()> {
    let sql = &script.text[statement.range.clone()];
    session.statement(sql).await.map_err(|(place, failed)| {
        let before = place.unwrap_or(1).saturating_sub(1);
        let line = statement.line + sql.chars().take(before).filter(|c| *c == '\n').count();
        Failed {
            verdict: judged(failed.verdict),
            ..failed
        }
        .context(format!("line {line}"))
    })
}

/// Whatever the server doesn't like about a statement, such as a missing right, is a failed restore by now.
fn judged(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Network => Verdict::Network,
        _ => Verdict::Failed,
    }
}
