//! Every way to change a history shows, and no way that a run may be killed does.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A state directory whose runs were chained as they ended.
struct History {
    dir: TempDir,
}

impl History {
    fn new(runs: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let history = Self { dir };
        for run in runs {
            history.ends(run, "erp");
        }
        history
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, run: &str) -> PathBuf {
        history::file(self.path(), &id(run))
    }

    /// As the command does it: the dead are caught up with, then the run's own report is final.
    fn ends(&self, run: &str, job: &str) {
        let own = RunId::parse(&id(run)).expect("an id");
        let head = catch_up(self.path(), job, &own).expect("a chain");
        let record = record(run, job, head.as_deref());
        history::write(&self.file(run), &record).expect("a report");
        ended(self.path(), &record).expect("a line");
    }

    /// Killed before it got its line.
    fn dies(&self, run: &str, job: &str) {
        history::write(&self.file(run), &record(run, job, None)).expect("a report");
    }

    fn audit(&self) -> Audit {
        audit(self.path(), None).expect("readable").1
    }

    fn problems(&self) -> Vec<String> {
        let problems = self.audit().problems;
        problems.iter().map(ToString::to_string).collect()
    }

    fn chain(&self) -> Vec<String> {
        let text = fs::read_to_string(path_of(self.path())).expect("the chain");
        text.lines().map(ToOwned::to_owned).collect()
    }

    fn put_chain(&self, lines: &[String]) {
        fs::write(path_of(self.path()), lines.join("\n") + "\n").expect("the chain");
    }

    fn edit(&self, run: &str) {
        let text = fs::read_to_string(self.file(run)).expect("a report");
        let edited = text.replace("\"done\"", "\"failed\"");
        assert_ne!(edited, text);
        fs::write(self.file(run), edited).expect("an edited report");
    }
}

/// `1` to `9`: the night.
fn id(run: &str) -> String {
    format!("2020012{run}-020000-000{run}")
}

fn record(run: &str, job: &str, chain: Option<&str>) -> Record {
    let record = json!({
        "format": 1, "run": id(run), "command": "run", "job": job, "host": "here", "version": "0",
        "started": format!("2020-01-2{run}T02:00:00Z"), "seconds": 0.0, "verdict": "done",
        "steps": [], "checks": [], "notified": [], "warnings": [], "chain": chain,
    });
    serde_json::from_value(record).expect("a record")
}

#[test]
fn a_history_that_nobody_touched_is_intact_and_private() {
    let history = History::new(&["1", "2", "3"]);
    let audit = history.audit();
    assert!(audit.is_intact);
    assert_eq!((audit.lines, audit.reports), (3, 3));
    assert!(audit.unchained.is_empty() && audit.late.is_empty());
    let meta = fs::metadata(path_of(history.path())).expect("the chain");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    // A line can be proven with `sha256sum`.
    let lines = history.chain();
    assert!(lines[2].contains(&hex_of(lines[1].as_bytes())));
    assert_eq!(audit.head, Some(hex_of(lines[2].as_bytes())));
}

#[test]
fn an_edited_and_a_missing_report_are_named() {
    let history = History::new(&["1", "2", "3"]);
    history.edit("2");
    fs::remove_file(history.file("3")).expect("removed");
    assert_eq!(
        history.problems(),
        [
            "the report of run 20200122-020000-0002 (erp) was edited after the run",
            "the report of run 20200123-020000-0003 (erp) is missing",
        ]
    );
}

#[test]
fn a_line_that_was_removed_edited_or_added_breaks_the_chain() {
    let whole = History::new(&["1", "2", "3"]).chain();
    let cases: [(&str, Vec<String>, usize); 4] = [
        ("first removed", whole[1..].to_vec(), 1),
        ("one removed", vec![whole[0].clone(), whole[2].clone()], 2),
        (
            "destroyed",
            vec![whole[0].clone(), "{".to_owned(), whole[2].clone()],
            3,
        ),
        (
            "twice",
            vec![whole[0].clone(), whole[0].clone(), whole[1].clone()],
            2,
        ),
    ];
    for (what, lines, number) in cases {
        let history = History::new(&["1", "2", "3"]);
        history.put_chain(&lines);
        let broken = format!("line {number} of the chain does not follow");
        let problems = history.problems().join("\n");
        assert!(problems.contains(&broken), "{what}: {problems}");
    }
}

#[test]
fn a_chain_that_was_written_anew_lacks_the_heads_in_the_reports() {
    let history = History::new(&["1", "2", "3"]);
    history.edit("1");
    // Whoever edits a report builds all lines anew behind it.
    fs::remove_file(path_of(history.path())).expect("removed");
    for run in ["1", "2", "3"] {
        ended(history.path(), &record(run, "erp", None)).expect("a line");
    }
    assert_eq!(
        history.problems(),
        ["the chain was written anew: run 20200122-020000-0002 (erp) has a head that is not in it"]
    );
}

#[test]
fn a_head_that_was_mailed_tells_a_chain_that_was_cut() {
    let history = History::new(&["1", "2"]);
    let mailed = history.audit().head.expect("a head");
    let asked = |head: &str| audit(history.path(), Some(head)).expect("readable").1;
    assert!(asked(&mailed.to_uppercase()).is_intact);
    history.put_chain(&history.chain()[..1]);
    fs::remove_file(history.file("2")).expect("removed");
    assert!(history.audit().is_intact, "nothing here can tell");
    let told = asked(&mailed).problems;
    assert_eq!(told, [Problem::Unknown { head: mailed }]);
}

#[test]
fn a_chain_that_is_gone_is_missed_until_a_new_one_begins() {
    let history = History::new(&["1", "2"]);
    fs::remove_file(path_of(history.path())).expect("removed");
    assert_eq!(history.audit().problems, [Problem::Gone]);

    history.ends("3", "erp");

    let audit = history.audit();
    assert!(audit.is_intact, "{:?}", audit.problems);
    assert_eq!((audit.lines, audit.reports), (3, 3));
}

#[test]
fn reports_from_before_the_chain_are_in_it_once_their_job_has_run() {
    let history = History::new(&[]);
    for (run, job) in [("1", "erp"), ("2", "crm"), ("3", "erp")] {
        history.dies(run, job);
    }
    assert!(history.audit().is_intact);

    history.ends("4", "erp");

    let audit = history.audit();
    assert!(audit.is_intact);
    assert_eq!(audit.unchained, [id("2")]);
    assert_eq!(audit.reports, 3);
    assert!(audit.late.is_empty());
}

#[test]
fn a_run_that_was_killed_gets_its_line_from_the_next_one() {
    let history = History::new(&[]);
    history.ends("9", "erp");
    let run = "99991231-020000-0001";
    let mut record = record("1", "erp", None);
    record.run = run.to_owned();
    history::write(&history::file(history.path(), run), &record).expect("a report");
    assert!(history.audit().is_intact);
    assert_eq!(history.audit().unchained, [run]);

    history.ends("8", "erp");

    let audit = history.audit();
    assert!(audit.is_intact && audit.unchained.is_empty());
    assert_eq!(audit.late, [run]);
}

#[test]
fn a_line_that_was_cut_off_while_it_was_written_hides_and_breaks_nothing() {
    let history = History::new(&["1", "2"]);
    let mut file = OpenOptions::new()
        .append(true)
        .open(path_of(history.path()))
        .expect("the chain");
    file.write_all(b"{\"at\":\"2026-11").expect("half a line");
    assert!(history.audit().is_intact);

    history.ends("3", "erp");

    let audit = history.audit();
    assert!(audit.is_intact, "{:?}", audit.problems);
    assert_eq!(audit.reports, 3);
}

#[test]
fn a_report_that_we_write_anew_is_not_edited_whenever_we_are_killed() {
    let history = History::new(&["1", "2"]);
    let before = fs::read(history.file("1")).expect("a report");
    let mut record = record("1", "erp", None);
    record.warnings.push("delivered later".to_owned());

    rewrite(history.path(), &record).expect("written");

    assert!(history.audit().is_intact);
    let after = fs::read(history.file("1")).expect("a report");
    assert_ne!(after, before);
    // Killed between the line and the report.
    fs::write(history.file("1"), before).expect("as it was");
    assert!(history.audit().is_intact);
    history.edit("1");
    assert_eq!(history.problems().len(), 1);
    // One that has no line yet.
    history.dies("3", "erp");
    rewrite(history.path(), &self::record("3", "erp", None)).expect("written");
    assert_eq!(history.audit().reports, 3);
}

#[test]
fn a_report_that_could_not_be_written_anew_twice_in_a_row_is_not_edited() {
    // given: each time the line is there, and then the disk was full
    let history = History::new(&["1", "2"]);
    let before = fs::read(history.file("1")).expect("a report");
    let mut record = record("1", "erp", None);
    for words in ["one", "two", "three"] {
        record.warnings = vec![words.to_owned()];
        rewrite(history.path(), &record).expect("written");
        fs::write(history.file("1"), &before).expect("as it was");
        assert_eq!(history.problems(), [""; 0], "{words}");
    }

    // when
    rewrite(history.path(), &record).expect("written");

    // then
    assert!(history.audit().is_intact);
    fs::write(history.file("1"), &before).expect("an earlier one");
    history.ends("3", "erp");
    assert!(history.audit().is_intact, "killed in the last one");
}

#[test]
fn an_edit_stays_an_edit_though_we_write_the_report_anew() {
    let history = History::new(&["1", "2"]);
    history.edit("1");
    let text = fs::read(history.file("1")).expect("a report");
    let mut edited: Record = serde_json::from_slice(&text).expect("a record");
    edited.warnings.push("delivered later".to_owned());

    rewrite(history.path(), &edited).expect("written");

    let told = "the report of run 20200121-020000-0001 (erp) was edited after the run";
    assert_eq!(history.problems(), [told]);
    rewrite(history.path(), &edited).expect("written");
    assert_eq!(history.problems(), [told]);
}

#[test]
fn a_report_that_is_gone_does_not_come_back() {
    let history = History::new(&["1", "2"]);
    fs::remove_file(history.file("1")).expect("removed");

    assert!(rewrite(history.path(), &record("1", "erp", None)).is_err());

    assert!(!history.file("1").exists());
    assert_eq!(history.problems().len(), 1);
}

#[test]
fn who_writes_anew_is_in_no_runs_way() {
    // given: a run of the same job is writing its report
    let history = History::new(&["1"]);
    let temp = history.file("1").with_file_name("erp.tmp");
    fs::write(&temp, "half of it").expect("the run's temp file");

    rewrite(history.path(), &record("1", "erp", None)).expect("written");

    assert_eq!(fs::read(&temp).expect("still there"), b"half of it");
}

#[test]
fn what_our_retention_removes_is_not_missing_whenever_we_are_killed() {
    let history = History::new(&["1", "2"]);
    let before = fs::read(history.file("1")).expect("a report");

    prune(history.path(), &[&record("1", "erp", None)]).expect("removed");

    let audit = history.audit();
    assert!(audit.is_intact, "{:?}", audit.problems);
    assert_eq!((audit.reports, audit.pruned), (1, 1));
    // Killed before the report was removed: the next run does it.
    fs::write(history.file("1"), before).expect("as it was");
    assert!(history.audit().is_intact);
    prune(history.path(), &[&record("1", "erp", None)]).expect("removed");
    assert!(!history.file("1").exists());
    assert_eq!(history.chain().len(), 3, "one line for it");
}

#[test]
fn a_report_that_is_none_or_anothers_is_told() {
    let history = History::new(&["1", "2"]);
    fs::write(history.file("1"), "{").expect("no report");
    fs::copy(history.file("2"), history.file("3")).expect("a copy");
    let problems = history.problems().join("\n");
    assert!(
        problems.contains("20200121-020000-0001 can't be read"),
        "{problems}"
    );
    assert!(
        problems.contains("20200123-020000-0003 can't be read: it is that of run 20200122"),
        "{problems}"
    );
    assert!(!problems.contains("missing"), "{problems}");
}

#[test]
fn two_jobs_that_end_at_once_make_one_chain() {
    let history = History::new(&[]);
    std::thread::scope(|scope| {
        for (job, runs) in [("erp", ["1", "2", "3", "4"]), ("crm", ["5", "6", "7", "8"])] {
            let history = &history;
            scope.spawn(move || runs.iter().for_each(|run| history.ends(run, job)));
        }
    });
    let audit = history.audit();
    assert!(audit.is_intact, "{:?}", audit.problems);
    assert_eq!((audit.lines, audit.reports), (8, 8));
}
