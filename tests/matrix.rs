//! The table of faults: hundreds of single faults of each kind, and the oracle in `field` after every one of them.
//!
//! `make faults` runs all of it and writes docs/faults.md; the suite runs a sample. `FAULTS="--only kills --seed 7"` chooses.

mod archives;
mod database;
mod disk;
mod field;
mod judge;
mod kills;
mod link;
mod mail;
mod options;
mod page;
mod proven;
mod rows;
mod secrets;
mod sweep;
mod syscalls;

use std::path::Path;
use std::time::Instant;

use options::Options;
use sweep::{Sweep, say, sweep_all};

/// In this order, so many at the same time; the longest come first among those that matter as much.
pub const SWEEPS: &[Sweep] = &[
    kills::AT_RANDOM,
    archives::FLIPS,
    syscalls::KILLED,
    secrets::TOKENS,
    link::CUTS,
    archives::CUTS,
    link::FLIPS,
    mail::CUTS,
    secrets::KEYS,
    secrets::KNOWN_HOSTS,
    link::STALLS,
    database::CUTS,
    kills::SIGNALS,
    disk::FILLED,
    disk::LIMITED,
    database::BACKENDS,
    archives::WHOLE_RUNS,
    database::PG_RESTORE,
    syscalls::NO_SPACE,
    syscalls::BROKEN_DISK,
];

#[test]
#[ignore = "an hour at most: `make faults`"]
fn every_fault_leaves_live_whole_and_the_report_true() {
    let options = Options::of_the_environment();
    let clock = Instant::now();
    let results = sweep_all(SWEEPS, &options);
    let path = options.page();
    let old = path.as_ref().map(std::fs::read_to_string);
    let old = old.and_then(Result::ok).unwrap_or_default();
    let text = page::text(&results, &options, clock.elapsed(), &old);
    let broken: usize = results.iter().map(|result| result.broken.len()).sum();
    if let Some(path) = path {
        std::fs::write(&path, &text).expect("the page is written");
        say(&format!("written: {}", path.display()));
    } else {
        say(&text);
    }
    assert_eq!(broken, 0, "broken invariants, listed above and on the page");
}

#[test]
fn a_sample_of_the_faults_breaks_nothing() {
    let options = Options::sample(SWEEPS);
    let results = sweep_all(SWEEPS, &options);
    let broken: Vec<_> = results.iter().flat_map(|result| &result.broken).collect();
    assert!(broken.is_empty(), "seed {}: {broken:#?}", options.seed);
    assert!(!results.is_empty(), "{options:?}");
    for result in &results {
        assert!(
            result.injected > 0 || result.skipped.is_some(),
            "{}",
            result.name
        );
    }
}

#[test]
fn every_row_of_the_table_names_tests_and_sweeps_that_exist() {
    let unknown = proven::unknown(&rows::all());
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn the_page_in_the_tree_is_the_one_of_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let written = std::fs::read_to_string(path).expect("docs/faults.md");
    let missing: Vec<String> = page::lines_of_the_rows()
        .into_iter()
        .filter(|line| !written.contains(line))
        .collect();
    assert!(
        missing.is_empty(),
        "`make faults` writes it anew: {missing:#?}"
    );
}
