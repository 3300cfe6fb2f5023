//! The first bytes of a file, by which a dump is known, through gzip and Zstandard as well.

use std::io::{self, Cursor, Read};

use super::choose::Recognise;
use super::packing::{Packing, WindowTooLarge};
use super::problem::Problem;

/// A tar archive has its magic at 257; in gzip that may take a few times as many bytes.
const BYTES: u64 = 4096;

/// Zstandard unpacks nothing before a whole block is there, which may be 128 KiB, and frames to skip may come first.
const PACKED_BYTES: u64 = 512 * 1024;

/// What the first bytes tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) packing: Packing,
    pub(super) is_dump: bool,
}

/// Looks at the first bytes of `source`. Where reading them fails, also at those that came before.
pub(super) fn look(mut source: impl Read, recognise: Recognise<'_>) -> (Head, Result<(), Problem>) {
    let mut head = Vec::new();
    let read = (&mut source).take(BYTES).read_to_end(&mut head);
    let packing = Packing::of(&head);
    let mut is_dump = recognise(&head);
    let mut result = read.map(drop).map_err(Problem::from_reading);
    if !is_dump && packing != Packing::Plain && result.is_ok() {
        let packed: Box<dyn Read> = match packing {
            Packing::Zstd => Box::new(Cursor::new(head).chain(source.take(PACKED_BYTES))),
            _ => Box::new(Cursor::new(head)),
        };
        match unpacked(packing, packed) {
            Ok(plain) => is_dump = recognise(&plain),
            Err(problem) => result = Err(problem),
        }
    }
    (Head { packing, is_dump }, result)
}

/// What `packed` unpacks to, as far as it goes: what is left out of it ends it with an error, behind the bytes that are wanted.
fn unpacked(packing: Packing, packed: Box<dyn Read + '_>) -> Result<Vec<u8>, Problem> {
    let mut plain = Vec::new();
    let read = packing
        .unpacked(packed)?
        .take(BYTES)
        .read_to_end(&mut plain);
    match read {
        Err(error) if is_telling(&error) => Err(Problem::from_reading(error)),
        _ => Ok(plain),
    }
}

fn is_telling(error: &io::Error) -> bool {
    let cause = error.get_ref();
    cause.is_some_and(|cause| cause.is::<WindowTooLarge>() || Problem::is_of_reader(cause))
}
