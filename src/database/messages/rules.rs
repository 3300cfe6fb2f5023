//! What pg_restore's texts mean, as tables. The first rule that matches counts; a text without a rule is fatal.

mod own;
mod server;

use self::own::{DAMAGED, OWN};
use self::server::{SERVER, SERVER_DATA};
use crate::verdict::Verdict;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Counted.
    Harmless,
    /// Told in the report.
    Degraded,
    /// The restore has failed.
    Fatal,
}

/// What a message means.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    pub level: Level,
    pub verdict: Verdict,
    /// What to do; empty where the message says it all.
    pub remedy: &'static str,
    /// Follows from another failure, which explains more.
    pub consequence: bool,
}

/// All of these, in lower case, must be in the text.
type Marks = &'static [&'static str];
/// What it means, and what to do.
type Rule = (Marks, Verdict, &'static str);

/// How pg_restore's own harmless texts start; nothing is missing or different afterwards.
const HARMLESS: [&str; 6] = [
    // Old pg_dumps wrote a few entries out of order; they are restored in the order of the list.
    "archive items not in correct section order",
    // Only a comment is made of it.
    "invalid creation date in header",
    // Another part of the dump comes first.
    "skipping tar member",
    // The position is found anew.
    "ftell mismatch with expected position",
    "implied data-only restore",
    "connecting to database for restore",
];

/// Starts of pg_restore's own remarks on its progress, printed where it is verbose.
pub const REMARKS: [&str; 14] = [
    "creating ",
    "dropping ",
    "processing ",
    "executing ",
    "launching item ",
    "finished item ",
    "skipping item ",
    "entering main parallel loop",
    "finished main parallel loop",
    "disabling triggers for ",
    "enabling triggers for ",
    "setting owner and privileges for ",
    "restored ",
    "restoring large object with oid ",
];

/// How those of pg_restore's own texts start after which something differs from the source, and what to make of it.
const DEGRADED: [(&str, &str); 4] = [
    (
        "restoring tables with oids is not supported anymore",
        "the tables are there without their hidden column `oid`; an application that reads it must be changed",
    ),
    (
        "archive was made on a machine with larger integers",
        "the dump comes from another kind of machine; compare large objects and sequences with the source",
    ),
    (
        "warning from original dump file",
        "pg_dump said this when it made the dump: look at it at the source",
    ),
    (
        "don't know how to set owner for object type",
        "the object belongs to the role that restores; set its owner with `after_load`",
    ),
];

/// What the server warns of although it means that rows or promises are lost.
const WARNED_BUT_FATAL: [(&str, &str); 5] = [
    (
        "terminating connection",
        "look at the server's log: it crashed, or somebody ended the session",
    ),
    ("page verification failed", DISK),
    ("invalid page in block", DISK),
    ("there is no transaction in progress", OWN_COMMIT),
    ("there is already a transaction in progress", OWN_COMMIT),
];

const DISK: &str =
    "the database server's disk or memory is failing: look at its log before anything else";
const OWN_COMMIT: &str = "the dump's SQL begins or ends a transaction by itself, which no pg_dump writes: find out who has altered it";

/// What to make of the warnings that a server has for a restore; others are told as they are.
const WARNINGS: [(&str, &str); 4] = [
    (
        "wal_level is insufficient",
        "set wal_level to `logical` where the publication is to be used",
    ),
    (
        "collation version mismatch",
        "the operating system sorts in another way than when the database was made: `ALTER DATABASE … REFRESH COLLATION VERSION` once its indexes are rebuilt",
    ),
    (
        "privileges were granted",
        "grant the restore's role these rights WITH GRANT OPTION, or restore as their owner",
    ),
    (
        "privileges could be revoked",
        "grant the restore's role these rights WITH GRANT OPTION, or restore as their owner",
    ),
];

const CONSEQUENCES: [&str; 6] = [
    "a worker process died unexpectedly",
    "worker process failed",
    "canceling statement due to user request",
    "current transaction is aborted",
    "terminated by user",
    "errors ignored on restore",
];

/// How a line of the server starts that is no error, in lower case.
const SERVER_WARNING: &str = "warning:  ";
const SERVER_REMARKS: [&str; 4] = ["notice:  ", "info:  ", "log:  ", "debug:  "];

/// What `text` means. `severe` is whether pg_restore or the server calls it an error.
pub fn meaning(text: &str, severe: bool) -> Meaning {
    let text = text.to_lowercase();
    let of = |level, verdict, remedy, consequence| Meaning {
        level,
        verdict,
        remedy,
        consequence,
    };
    if CONSEQUENCES.iter().any(|mark| text.contains(mark)) {
        return of(Level::Fatal, Verdict::Failed, "", true);
    }
    let (verdict, remedy) = if severe {
        fatal(&text)
    } else {
        match mild(&text) {
            Ok((level, remedy)) => return of(level, Verdict::Done, remedy, false),
            Err(known) => known,
        }
    };
    of(Level::Fatal, verdict, remedy, false)
}

/// What nobody called an error. By how it starts: what follows may be anybody's words, such as a table's name.
fn mild(text: &str) -> Result<(Level, &'static str), (Verdict, &'static str)> {
    let starts = |start: &&str| text.starts_with(*start);
    if HARMLESS.iter().any(starts) || SERVER_REMARKS.iter().any(starts) {
        return Ok((Level::Harmless, ""));
    }
    let Some(warned) = text.strip_prefix(SERVER_WARNING) else {
        let known = DEGRADED.iter().find(|(start, _)| text.starts_with(start));
        let known = known.map(|(_, advice)| (Level::Degraded, *advice));
        return known.ok_or_else(|| fatal(text));
    };
    let known = |rules: &[(&str, &'static str)]| {
        let rule = rules.iter().find(|(mark, _)| warned.contains(mark));
        rule.map(|(_, remedy)| *remedy)
    };
    // Otherwise the server has done what it warns of.
    match known(&WARNED_BUT_FATAL) {
        Some(remedy) => Err((Verdict::Failed, remedy)),
        None => Ok((Level::Degraded, known(&WARNINGS).unwrap_or_default())),
    }
}

fn fatal(text: &str) -> (Verdict, &'static str) {
    let has = |marks: &Marks| marks.iter().all(|mark| text.contains(mark));
    // With two spaces: libpq's own `SSL error: …` has one.
    let by_server = ["error:  ", "fatal:  ", "panic:  "]
        .iter()
        .any(|severity| text.contains(severity));
    let rules: &[Rule] = if by_server { SERVER } else { OWN };
    if !by_server && let Some((_, remedy)) = DAMAGED.iter().find(|(marks, _)| has(marks)) {
        return (Verdict::Damaged, remedy);
    }
    if let Some((_, verdict, remedy)) = rules.iter().find(|(marks, _, _)| has(marks)) {
        return (*verdict, remedy);
    }
    let data = SERVER_DATA
        .iter()
        .find(|(marks, _)| by_server && has(marks));
    (Verdict::Failed, data.map_or("", |(_, remedy)| remedy))
}
