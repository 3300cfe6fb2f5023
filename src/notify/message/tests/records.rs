//! Records of runs to tell about.

use jiff::Timestamp;

use crate::report::{
    ArchiveFacts, CheckResult, Compared, DatabaseFacts, DumpFacts, Record, Step, StepRecord,
};
use crate::verdict::Verdict;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

pub(super) fn step(
    step: Step,
    verdict: Option<Verdict>,
    seconds: f64,
    bytes: Option<u64>,
) -> StepRecord {
    StepRecord {
        step,
        verdict,
        seconds,
        bytes,
        message: None,
    }
}

pub(super) fn good(name: Step, seconds: f64, bytes: Option<u64>) -> StepRecord {
    step(name, Some(Verdict::Done), seconds, bytes)
}

pub(super) fn archive_facts() -> ArchiveFacts {
    ArchiveFacts {
        name: "erp_20261120.zip".into(),
        bytes: 84_123_456,
        modified: Some(at("2026-11-20T02:00:13Z")),
        dated: None,
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
    }
}

pub(super) fn dump_facts() -> DumpFacts {
    DumpFacts {
        name: "erp.dump".into(),
        bytes: 310_000_000,
        format: "custom".into(),
        pg_dump_version: "16.4".into(),
        server_version: "16.4".into(),
    }
}

pub(super) fn database_facts() -> DatabaseFacts {
    DatabaseFacts {
        host: "db.example.org".into(),
        name: "erp".into(),
        server_version: "16.6".into(),
        scratch: None,
        bytes: None,
        beside: None,
        expires: None,
        previous: Some("erp_before_20261120_080000_7f3a".into()),
    }
}

/// A run that went well, and knows everything.
pub(super) fn record() -> Record {
    let mut steps = vec![
        good(Step::Network, 0.204, None),
        good(Step::Fetch, 72.4, Some(84_123_456)),
        good(Step::Unzip, 3.1, Some(310_000_000)),
        good(Step::Restore, 605.0, Some(310_000_000)),
        good(Step::Check, 0.4, None),
        good(Step::Swap, 0.38, None),
    ];
    steps[5].message = Some("3 sessions ended".into());
    Record {
        plan: Vec::new(),
        path: None,
        undoes: None,
        chain: None,
        format: 1,
        run: "20261120-080000-7f3a".into(),
        command: "run".into(),
        job: "erp".into(),
        host: "backup1".into(),
        version: "0.1.0".into(),
        started: at("2026-11-20T08:00:00Z"),
        ended: Some(at("2026-11-20T08:11:21Z")),
        seconds: 681.484,
        verdict: Some(Verdict::Done),
        exit_code: Some(0),
        message: None,
        hint: None,
        archive: Some(archive_facts()),
        dump: Some(dump_facts()),
        database: Some(database_facts()),
        steps,
        checks: vec![CheckResult {
            sql: "select count(*)\n  from users".into(),
            expected: "at least 1".into(),
            found: "48213".into(),
            ok: true,
        }],
        compared: Compared::default(),
        drill: None,
        notified: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A run that a step ended: nothing is known of what would have come later.
pub(super) fn ended_in(last: Step, verdict: Verdict, message: &str, hint: &str) -> Record {
    let whole = record();
    let until = whole
        .steps
        .iter()
        .position(|step| step.step == last)
        .expect("a step of a run");
    let mut steps = whole.steps[..=until].to_vec();
    steps[until] = step(last, Some(verdict), 1.5, None);
    steps[until].message = Some(message.into());
    Record {
        verdict: Some(verdict),
        exit_code: Some(verdict.exit_code()),
        message: Some(format!("{last}: {message}")),
        hint: Some(hint.into()),
        archive: whole.archive.clone().filter(|_| until > 0),
        dump: whole.dump.clone().filter(|_| until > 1),
        database: whole
            .database
            .clone()
            .filter(|_| until > 2)
            .map(|facts| DatabaseFacts {
                previous: None,
                ..facts
            }),
        checks: Vec::new(),
        steps,
        ..whole
    }
}
