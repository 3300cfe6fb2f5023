#![no_main]
//! The ZIP gate and the unpacking: whatever the bytes are, what comes out has the directory's length and CRC, lies within the
//! limit, and comes out the same where only the dump's own bytes are at hand.

use std::io::Cursor;

use backupctl::archive::{Found, Inside, Limits, Problem, inspect};
use backupctl::database::dump::looks_like_dump;
use backupctl::verdict::Verdict;
use backupctl_fuzz::is_told;
use libfuzzer_sys::fuzz_target;

const MOST: u64 = 1 << 20;

fn told(problem: Problem) {
    is_told(&problem.judged(Verdict::Damaged, Verdict::Network));
}

fn unpacked(inside: &mut Inside<Cursor<Vec<u8>>>) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match inside.unpack(&mut plain, |_| (), || false) {
        Ok(bytes) => {
            assert_eq!(bytes, plain.len() as u64);
            Some(plain)
        }
        Err(problem) => {
            told(problem);
            None
        }
    }
}

/// Everything outside of the span that unpacking may read is something else.
fn with_strangers_around(data: &[u8], found: &Found) -> Vec<u8> {
    let span = found.span();
    assert!(span.start <= span.end && span.end <= data.len() as u64);
    let strange = |(at, byte): (usize, &u8)| {
        if span.contains(&(at as u64)) {
            *byte
        } else {
            !*byte
        }
    };
    data.iter().enumerate().map(strange).collect()
}

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_unpacked: MOST };
    let reader = Cursor::new(data.to_vec());
    let mut inside = match inspect(reader, data.len() as u64, None, &limits, &looks_like_dump) {
        Ok(inside) => inside,
        Err(problem) => return told(problem),
    };
    let declared = inside.member().bytes;
    assert!(declared.is_none_or(|bytes| bytes <= MOST));
    let beside = inside.beside();
    let plain = unpacked(&mut inside);
    if let Some(plain) = &plain {
        assert!(plain.len() as u64 <= MOST);
        assert!(declared.is_none_or(|bytes| bytes == plain.len() as u64));
    }
    for member in beside.iter().take(4) {
        if let Err(problem) = inside.turn_to(&member.name) {
            told(problem);
        }
    }
    let again = inspect(
        Cursor::new(data.to_vec()),
        data.len() as u64,
        None,
        &limits,
        &looks_like_dump,
    );
    let Ok(again) = again else {
        panic!("the second look found something else")
    };
    let found = again.into_found();
    let around = Cursor::new(with_strangers_around(data, &found));
    let along = match found.over(around) {
        Ok(mut inside) => unpacked(&mut inside),
        Err(problem) => {
            told(problem);
            None
        }
    };
    assert_eq!(along, plain, "unpacked along the download and afterwards");
});
