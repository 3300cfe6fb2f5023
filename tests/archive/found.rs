//! What a look has found, and the bytes that come later.

use std::io::Cursor;

use backupctl::archive::Found;

use super::{look, unpack};
use crate::support::archives::{self, dump};

fn found_in(archive: &[u8]) -> Found {
    look(archive).expect("an archive in order").into_found()
}

#[test]
fn what_a_look_has_found_unpacks_bytes_that_come_later() {
    let archive = archives::zip()
        .entry("README", "see the manual")
        .entry("erp.dump", dump(300_000))
        .data_descriptor()
        .entry("behind", "something")
        .build();
    let found = found_in(&archive);
    let span = found.span();
    // Everything else is never asked for.
    let mut only = vec![0; archive.len()];
    let [from, to] = [span.start, span.end].map(|at| usize::try_from(at).expect("small"));
    only[from..to].copy_from_slice(&archive[from..to]);

    let bytes = found.over(Cursor::new(only)).and_then(unpack);

    assert!(bytes.expect("the dump") == dump(300_000));
    assert!(from > 40 && to < archive.len() - 100, "{span:?}");
}

#[test]
fn a_local_header_that_came_as_another_one_is_damaged() {
    let made = |name: &str| archives::zip().entry(name, dump(3000)).build();
    let found = found_in(&made("erp.dump"));
    let problem = found.over(Cursor::new(made("erq.dump"))).and_then(unpack);
    let problem = problem.expect_err("another name");
    assert!(problem.to_string().contains("another name"), "{problem}");
}

#[test]
fn two_looks_are_the_same_only_where_directory_and_end_record_are() {
    let made = |comment: &str| {
        archives::zip()
            .entry("erp.dump", dump(3000))
            .comment(comment)
            .build()
    };
    let found = found_in(&made("one"));
    assert!(found.is_same(&found_in(&made("one"))));
    assert!(!found.is_same(&found_in(&made("two"))));
    assert!(!found.is_same(&found_in(&dump(3000))));
}
