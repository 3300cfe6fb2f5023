#![no_main]
//! The dump's header and table of contents, what is left out of it, and the walk along a tar file.

use backupctl::config::{Contents, Owner};
use backupctl::database::dump::{HEAD_BYTES, Kind, Selection, Toc, Walk, what_is_it};
use backupctl_fuzz::{is_clean_line, is_told};
use libfuzzer_sys::fuzz_target;

fn contents() -> Contents {
    let skip = ["EVENT TRIGGER", "COMMENT EXTENSION", "SERVER", "BLOB"];
    Contents {
        owner: Owner::Keep,
        keeps_privileges: false,
        keeps_tablespaces: true,
        creates_roles: false,
        skip: skip.map(str::to_owned).into(),
    }
}

fn is_sound(toc: &Toc) {
    let large: u64 = toc
        .runs
        .iter()
        .map(|run| run.ids.end().abs_diff(*run.ids.start()) + 1)
        .sum();
    assert!(
        toc.entries.len() as u64 + large <= toc.count,
        "entries are listed once"
    );
    assert!(toc.runs.iter().all(|run| run.before <= toc.entries.len()));
    match Selection::new(toc, &contents(), None) {
        Ok(selection) => {
            let list = selection.list(toc).unwrap_or_default();
            let list = String::from_utf8(list).expect("ASCII");
            assert!(list.lines().count() as u64 <= toc.count);
            assert!(list.lines().all(|line| {
                line.bytes()
                    .all(|b| b.is_ascii_digit() || b == b'-' || b == b';')
            }));
            selection
                .left_out()
                .warnings()
                .iter()
                .for_each(|w| is_clean_line(w));
        }
        Err(failed) => is_told(&failed),
    }
}

/// However the bytes are cut, the walk says the same.
fn walks(data: &[u8]) {
    let judged = |at_once: usize| {
        let mut walk = Walk::default();
        data.chunks(at_once).for_each(|chunk| walk.pass(chunk));
        walk.is_whole().map_err(|failed| {
            is_told(&failed);
            failed.message()
        })
    };
    let whole = judged(data.len().max(1));
    assert_eq!(whole, judged(7));
    assert_eq!(whole, judged(512));
}

fuzz_target!(|data: &[u8]| {
    let kind = what_is_it(&data[..data.len().min(HEAD_BYTES)]);
    is_told(&kind.refuse("the dump"));
    if kind == Kind::Tar {
        walks(data);
    }
    match Toc::read(data) {
        Ok(toc) => is_sound(&toc),
        Err(failed) => is_told(&failed),
    }
});
