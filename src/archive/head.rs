//! The first bytes of a file, by which a dump is known, through gzip as well.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::choose::Recognise;

/// A tar archive has its magic at 257; in gzip that may take a few times as many bytes.
pub(super) const BYTES: u64 = 4096;

const GZIP_MAGIC: &[u8] = b"\x1f\x8b\x08";

pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(GZIP_MAGIC)
}

pub(super) fn is_dump(head: &[u8], recognise: Recognise<'_>) -> bool {
    recognise(head) || (is_gzip(head) && recognise(&unzipped(head)))
}

/// What `head` unpacks to, as far as it goes.
fn unzipped(head: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // The head ends within the stream, so this ends with an error, after the bytes that are wanted.
    let _ = MultiGzDecoder::new(head)
        .take(BYTES)
        .read_to_end(&mut plain);
    plain
}
