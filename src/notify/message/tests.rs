//! The whole text for every kind of ending, as its reader gets it.

mod drill;
mod records;

use super::*;
use crate::report::{Notified, Step};
use crate::verdict::Signal;
use records::{at, ended_in, good, record, step};

const ARCHIVE: &str = "
Archive
  name      erp_20261120.zip
  size      80.2 MiB (84123456 bytes)
  modified  2026-11-20 02:00:13 UTC, 6 h old
  SHA-256   9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
";
const DUMP: &str = "
Dump
  name      erp.dump
  size      295.6 MiB, custom format
  made by   pg_dump 16.4 from server 16.4
";
const DATABASE: &str = "
Database
  name      erp
  host      db.example.org
  server    PostgreSQL 16.6
";
const PREVIOUS: &str = "  previous  erp_before_20261120_080000_7f3a
  go back   backupctl undo erp
";
const LOADED: &str = "
Steps
  network   done                0.2 s
  fetch     done           1 min 12 s     80.2 MiB
  unzip     done                3.1 s    295.6 MiB
  restore   done           10 min 5 s    295.6 MiB
";
const SWAPPED: &str = "  check     done                0.4 s
  swap      done                0.4 s
            3 sessions ended
";
const CHECKS: &str = "
Checks
  ok        select count(*) from users
            expected at least 1, found 48213
";
const RUN: &str = "
Run
  id        20261120-080000-7f3a
  command   run erp
  time      2026-11-20 08:00:00 UTC to 2026-11-20 08:11:21 UTC (11 min 21 s)
  host      backup1, backupctl 0.1.0
  report    /var/lib/backupctl/runs/20261120-080000-7f3a.json
";

#[track_caller]
fn reads(record: &Record, parts: &[&str]) {
    let file = Path::new("/var/lib/backupctl/runs/20261120-080000-7f3a.json");
    let text = text(record, Some(file));
    assert_eq!(text, parts.concat());
    assert!(
        text.lines().all(|line| columns(line) <= 78),
        "for 80 columns"
    );
}

#[test]
fn done() {
    assert_eq!(subject(&record()), "[backupctl] erp: done");
    let opening = "erp on db.example.org is now the backup of 2026-11-20 02:00 UTC (6 h old).\n";
    reads(
        &record(),
        &[
            opening, ARCHIVE, DUMP, DATABASE, PREVIOUS, LOADED, SWAPPED, CHECKS, RUN,
        ],
    );
}

#[test]
fn done_with_warnings_and_told() {
    let told = |to: &str, ok, message: &str| Notified {
        to: to.into(),
        ok,
        message: message.into(),
    };
    let record = Record {
        warnings: vec![
            "the role `postgres` is a superuser, and a dump is code that runs with its rights: use a role with CREATEDB".into(),
            "the server's clock is 3 min ahead".into(),
        ],
        notified: vec![
            told("ops@example.org", true, "smtp.example.org:587: 250 2.0.0 queued as 4711"),
            told("dba@example.org", false, "smtp.example.org:587: the recipient was refused: 550 5.1.1 no mailbox of that name here"),
        ],
        ..record()
    };
    let opening = "erp on db.example.org is now the backup of 2026-11-20 02:00 UTC (6 h old).
There are 2 warnings, see below.\n";
    let rest = "
Warnings
  - the role `postgres` is a superuser, and a dump is code that runs with
    its rights: use a role with CREATEDB
  - the server's clock is 3 min ahead

Mail
  ok        ops@example.org
            smtp.example.org:587: 250 2.0.0 queued as 4711
  FAILED    dba@example.org
            smtp.example.org:587: the recipient was refused: 550 5.1.1 no
            mailbox of that name here
";
    reads(
        &record,
        &[
            opening, ARCHIVE, DUMP, DATABASE, PREVIOUS, LOADED, SWAPPED, CHECKS, rest, RUN,
        ],
    );
}

#[test]
fn stale() {
    let record = ended_in(
        Step::Fetch,
        Verdict::Stale,
        "the newest archive `erp_20261118.zip` is 2 d 6 h old, and the limit is 36 h",
        "look why nothing newer was sent; to restore it all the same: `backupctl run erp --accept stale`",
    );
    let record = Record {
        archive: None,
        ..record
    };
    assert_eq!(subject(&record), "[backupctl] erp: stale");
    let text = "There is no fresh backup; the live database of job erp is unchanged.

What happened: fetch: the newest archive `erp_20261118.zip` is 2 d 6 h old,
               and the limit is 36 h

What to do: look why nothing newer was sent; to restore it all the same:
            `backupctl run erp --accept stale`

Steps
  network   done                0.2 s
  fetch     stale               1.5 s
";
    reads(&record, &[text, RUN]);
}

#[test]
fn damaged() {
    let record = ended_in(
        Step::Unzip,
        Verdict::Damaged,
        "`erp.dump`: the CRC is wrong",
        "ask the sender for a new one",
    );
    let record = Record {
        dump: None,
        ..record
    };
    let opening = "The backup is damaged, or not what it should be; the live database of job
erp is unchanged.

What happened: unzip: `erp.dump`: the CRC is wrong

What to do: ask the sender for a new one
";
    let steps = "
Steps
  network   done                0.2 s
  fetch     done           1 min 12 s     80.2 MiB
  unzip     damaged             1.5 s
";
    reads(&record, &[opening, ARCHIVE, steps, RUN]);
}

#[test]
fn a_failed_check() {
    let mut record = ended_in(
        Step::Check,
        Verdict::Failed,
        "1 of 1 checks did not hold",
        "look at the data of the sender",
    );
    record.checks = vec![CheckResult {
        ok: false,
        found: "0".into(),
        ..records::record().checks[0].clone()
    }];
    let opening = "A check of the new data did not hold; erp on db.example.org is proven
unchanged.

What happened: check: 1 of 1 checks did not hold

What to do: look at the data of the sender
";
    let rest = "  check     failed              1.5 s

Checks
  FAILED    select count(*) from users
            expected at least 1, found 0
";
    reads(
        &record,
        &[opening, ARCHIVE, DUMP, DATABASE, LOADED, rest, RUN],
    );
}

#[test]
fn unclear() {
    let record = ended_in(
        Step::Swap,
        Verdict::Unclear,
        "the connection was lost before COMMIT was answered",
        "look which of the two names exist: `psql -l`",
    );
    let opening = "Look now: erp on db.example.org may have changed, or could not be asked.

What happened: swap: the connection was lost before COMMIT was answered

What to do: look which of the two names exist: `psql -l`
";
    let steps = "  check     done                0.4 s
  swap      unclear             1.5 s
";
    reads(
        &record,
        &[opening, ARCHIVE, DUMP, DATABASE, LOADED, steps, RUN],
    );
}

#[test]
fn attention() {
    let mut record = Record {
        verdict: Some(Verdict::Attention),
        message: Some("the report was not delivered to dba@example.org".into()),
        hint: Some("it goes out with the next run, or by `backupctl notify erp`".into()),
        ..record()
    };
    record
        .steps
        .push(step(Step::Notify, Some(Verdict::Attention), 30.0, None));
    let opening = "erp on db.example.org is now the backup of 2026-11-20 02:00 UTC (6 h old),
but a duty is left to you.

What happened: the report was not delivered to dba@example.org

What to do: it goes out with the next run, or by `backupctl notify erp`
";
    let notify = "  notify    attention            30 s\n";
    reads(
        &record,
        &[
            opening, ARCHIVE, DUMP, DATABASE, PREVIOUS, LOADED, SWAPPED, notify, CHECKS, RUN,
        ],
    );
}

#[test]
fn interrupted() {
    let mut record = ended_in(
        Step::Unzip,
        Verdict::Interrupted(Signal::Terminate),
        "ended by a signal",
        "",
    );
    record.hint = None;
    record.dump = None;
    let opening = "The run was ended by SIGTERM; the live database of job erp is unchanged.

What happened: unzip: ended by a signal
";
    let steps = "
Steps
  network   done                0.2 s
  fetch     done           1 min 12 s     80.2 MiB
  unzip     interrupted         1.5 s
";
    reads(&record, &[opening, ARCHIVE, steps, RUN]);
}

#[test]
fn config_with_a_line_for_each_problem() {
    let problems =
        "2 problems:\n- the role `reporting` is missing\n- the extension `postgis` is missing";
    let record = ended_in(
        Step::Network,
        Verdict::Config,
        problems,
        "create role reporting; create extension postgis",
    );
    let text = "Something is missing or wrongly set up; the live database of job erp is
unchanged.

What happened: network: 2 problems:
               - the role `reporting` is missing
               - the extension `postgis` is missing

What to do: create role reporting; create extension postgis

Steps
  network   config              1.5 s
";
    reads(&record, &[text, RUN]);
}

/// The first line of the text.
fn first_line(record: &Record) -> String {
    text(record, None)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_failure_after_the_swap_never_reads_as_unchanged() {
    let record = Record {
        verdict: Some(Verdict::Bug),
        message: Some("notify: index out of bounds".into()),
        ..record()
    };
    assert!(text(&record, None).starts_with(
        "backupctl itself failed; erp on db.example.org is now the backup of\n2026-11-20 02:00 UTC (6 h old).\n"
    ));
}

#[test]
fn a_swap_that_was_undone_again_reads_so() {
    let mut record = record();
    record.steps.push(good(Step::Undo, 0.3, None));
    assert_eq!(
        first_line(&record),
        "erp on db.example.org is again what it was before `erp_20261120.zip`."
    );
    assert!(
        !text(&record, None).contains("go back"),
        "there is nothing to go back from"
    );
}

#[test]
fn a_run_that_died_in_the_swap_says_look_now() {
    let mut record = ended_in(Step::Swap, Verdict::Bug, "", "");
    record.verdict = None;
    record.steps[5].verdict = None;
    assert_eq!(
        first_line(&record),
        "The run has not ended, or died, in step swap; look now: erp on"
    );
}

#[test]
fn what_is_unknown_is_left_out() {
    let mut record = ended_in(
        Step::Network,
        Verdict::Network,
        "db.example.org:5432: connection refused",
        "",
    );
    record.hint = None;
    record.ended = None;
    let expected = "A server could not be reached, or the connection was lost; the live database
of job erp is unchanged.

What happened: network: db.example.org:5432: connection refused

Steps
  network   network             1.5 s

Run
  id        20261120-080000-7f3a
  command   run erp
  time      2026-11-20 08:00:00 UTC, not ended
  host      backup1, backupctl 0.1.0
";
    assert_eq!(text(&record, None), expected);
}

#[test]
fn names_from_outside_move_no_cursor_and_make_no_lines() {
    let hostile = "x\u{1b}[2J\r\nArchive\u{202e}";
    let mut record = record();
    for place in [
        &mut record.job,
        &mut record.host,
        &mut record.command,
        &mut record.run,
        &mut record.version,
    ] {
        hostile.clone_into(place);
    }
    let archive = record.archive.as_mut().expect("an archive");
    hostile.clone_into(&mut archive.name);
    let dump = record.dump.as_mut().expect("a dump");
    hostile.clone_into(&mut dump.pg_dump_version);
    let database = record.database.as_mut().expect("a database");
    hostile.clone_into(&mut database.name);
    record.steps[0].message = Some(hostile.into());
    record.checks[0].found = hostile.into();
    record.warnings = vec![hostile.into()];

    let shown = text(&record, Some(Path::new(hostile))) + &subject(&record);
    assert!(
        !shown
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
        "{shown}"
    );
    assert_eq!(
        shown
            .lines()
            .filter(|line| line.starts_with("Archive"))
            .count(),
        1,
        "{shown}"
    );
}

#[test]
fn a_test_message_says_that_it_is_one() {
    assert_eq!(test_subject("backup1"), "[backupctl] test from backup1");
    let expected = "backupctl on backup1 can send you mail: this is a test, sent 2026-11-20
08:00:00 UTC.

Reports of its runs will look like it and come from the same sender, with a
subject such as `[backupctl] erp: done`. Nothing was restored or changed.
";
    assert_eq!(test_text("backup1", at("2026-11-20T08:00:00Z")), expected);
}
