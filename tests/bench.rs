//! The page of `make bench`: what is measured is replaced, what somebody wrote is kept.

#[path = "bench/page.rs"]
mod page;

use std::fs;
use std::path::Path;

fn part(text: &str, goal: &str) -> String {
    format!(
        "{text}\n\n{}| {goal} | 1.00 | met |\n\nbehind the table",
        page::GOALS_HEAD
    )
}

#[test]
fn a_part_replaces_only_itself_and_what_somebody_wrote_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("page.md");
    page::update(
        &path,
        &[
            ("fetch", part("old fetch", "fast")),
            ("unzip", part("unzip", "small")),
        ],
    )
    .expect("a new page");
    let written = fs::read_to_string(&path).expect("the page");
    let by_hand = written.replace("Not written yet", "In the cipher");
    assert_ne!(by_hand, written);
    fs::write(&path, by_hand + "more by hand\n").expect("the page");

    page::update(&path, &[("fetch", part("new fetch", "faster"))]).expect("the page is updated");

    let now = fs::read_to_string(&path).expect("the page");
    for kept in ["In the cipher", "more by hand\n", "\nunzip\n", "new fetch"] {
        assert!(now.contains(kept), "{kept}\n{now}");
    }
    assert!(!now.contains("old fetch"), "{now}");
    // The goals of both parts, in the overview and in their own place, and nothing of the replaced one.
    assert_eq!(now.matches("| small | 1.00 | met |").count(), 2, "{now}");
    assert_eq!(now.matches("| faster | 1.00 | met |").count(), 2, "{now}");
    assert!(!now.contains("| fast |"), "{now}");
    assert_eq!(now.matches("behind the table").count(), 2, "{now}");
}

#[test]
fn a_page_without_a_place_for_a_part_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("page.md");
    fs::write(&path, "somebody's own page\n").expect("the page");

    let refused = page::update(&path, &[("fetch", String::new())]);

    let message = refused.expect_err("there is no place").to_string();
    assert!(message.contains("<!-- measured: fetch -->"), "{message}");
    assert_eq!(
        fs::read_to_string(&path).expect("the page"),
        "somebody's own page\n"
    );
}

#[test]
fn the_page_of_this_tree_has_a_place_for_every_part() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("page.md");
    fs::copy(page, &copy).expect("docs/benchmarks.md");
    let parts = page::PARTS.map(|name| (name, "new".to_owned()));

    page::update(&copy, &parts).expect("all of them are replaced");
}
