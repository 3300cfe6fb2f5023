//! The text of a drill.

use super::super::*;
use super::records::{good, record};
use crate::report::{CountedTable, DrillFacts, Step};

/// A drill of the same archive.
fn drill() -> Record {
    let whole = record();
    let mut steps = whole.steps.clone();
    steps[5] = good(Step::Drop, 0.4, None);
    Record {
        command: "drill".into(),
        steps,
        drill: Some(DrillFacts {
            rows: Some(1_048_213),
            tables: (1..=12)
                .map(|n| CountedTable {
                    schema: "public".into(),
                    name: format!("t{n}"),
                    rows: (n > 1).then_some(n),
                })
                .collect(),
            time_to_restore_seconds: Some(680.4),
            dropped: true,
            ..DrillFacts::default()
        }),
        ..whole
    }
}

#[test]
fn a_drill_says_first_that_it_was_one_and_never_that_something_is_live() {
    let first = |record: &Record| {
        let text = text(record, None);
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        assert!(!text.contains("go back"), "{text}");
        text.split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " ")
    };
    let proven = "Drill: the backup of 2026-11-20 02:00 UTC (6 h old) restores: 1048213 rows in 12 tables, in 11 min 20 s. \
                  It was checked, counted and dropped again; the live database was not touched";
    assert_eq!(first(&drill()), format!("{proven}."));
    let with = |verdict| Record {
        verdict: Some(verdict),
        message: Some("why".into()),
        ..drill()
    };
    assert_eq!(
        first(&with(Verdict::Attention)),
        format!("{proven}, but a duty is left to you.")
    );
    for verdict in [
        Verdict::Stale,
        Verdict::Unclear,
        Verdict::Failed,
        Verdict::Bug,
    ] {
        let said = first(&with(verdict));
        let is_told =
            said.starts_with("Drill: ") && said.ends_with("; the live database was not touched.");
        assert!(is_told, "{said}");
    }
    let died = Record {
        verdict: None,
        ..drill()
    };
    assert!(first(&died).starts_with("Drill: it has not ended, or died, in step drop;"));
    let text = text(&drill(), None);
    assert!(
        text.contains("\n                        12  public.t12\n")
            || text.contains("unknown  public.t1\n"),
        "{text}"
    );
    assert!(
        text.contains("and 2 tables more; the report has all of them"),
        "{text}"
    );
    assert_eq!(subject(&drill()), "[backupctl] erp: done");
}
