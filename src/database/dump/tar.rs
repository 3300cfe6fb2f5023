//! Whether a dump in a tar file is all there: pg_restore takes a member that the file's end cuts off for a whole one, and exits 0.
//!
//! That members are missing altogether it notices itself.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::kind::{is_tar, octal, tar_name};
use super::reader::{broken, judged};
use crate::escape::shown;
use crate::verdict::{Judge, Outcome, Verdict};

const BLOCK: u64 = 512;

/// Goes from header to header to the file's end.
///
/// # Errors
/// `damaged`: it ends in the middle of a member, or has something else where a member's header should be; `local`: unreadable.
pub fn is_whole(path: &Path) -> Outcome<()> {
    let file = File::open(path).judge(Verdict::Local, "open the dump")?;
    let bytes = file
        .metadata()
        .judge(Verdict::Local, "read the dump")?
        .len();
    let mut at = 0;
    while at < bytes {
        let header = block(&file, at).map_err(|error| judged(&error))?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        if !is_tar(&header) {
            return Err(broken(format!("no tar header at byte {at}")));
        }
        let size = size(&header).ok_or_else(|| broken("a member's size is no number"))?;
        let end = (at + BLOCK).checked_add(size).filter(|end| *end <= bytes);
        let Some(end) = end else {
            let name = String::from_utf8_lossy(tar_name(&header));
            return Err(broken(format!(
                "it ends in the middle of `{}`, which has {size} bytes",
                shown(&name)
            )));
        };
        at = end.next_multiple_of(BLOCK);
    }
    Ok(())
}

/// The last block may be a part of one.
fn block(file: &File, at: u64) -> io::Result<[u8; BLOCK as usize]> {
    let mut block = [0; BLOCK as usize];
    match file.read_exact_at(&mut block, at) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(io::Error::new(
            ErrorKind::InvalidData,
            "it ends in the middle of a tar header",
        )),
        read => read.map(|()| block),
    }
}

/// Octal digits, or for 8 GiB and more the number itself, most significant byte first.
fn size(header: &[u8]) -> Option<u64> {
    let field = &header[124..136];
    match field {
        [0x80, 0, 0, 0, number @ ..] => Some(u64::from_be_bytes(number.try_into().ok()?)),
        _ => octal(field),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A member's header with its checksum; the rest of it is not looked at.
    fn header(name: &str, size: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..124 + size.len()].copy_from_slice(size);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    fn judge(parts: &[&[u8]]) -> Result<(), String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&parts.concat()).expect("its content");
        is_whole(file.path()).map_err(|failed| failed.message())
    }

    #[test]
    fn every_member_must_be_there_to_its_last_byte() {
        let (first, second) = (
            header("toc.dat", b"00000001000\0"),
            header("7.dat", b"00000000003\0"),
        );
        let (first_data, padded, end) = ([7; 512], [7; 512], [0; 1024]);
        let whole: [&[u8]; 5] = [&first, &first_data, &second, &padded, &end];
        assert_eq!(judge(&whole), Ok(()));
        assert_eq!(judge(&whole[..4]), Ok(()), "pg_restore needs no end");
        assert_eq!(judge(&[&first, &first_data, &second, b"abc"]), Ok(()));
        for (cut, why) in [
            (
                &[&first[..], &first_data[..], &second[..], b"ab"][..],
                "in the middle of `7.dat`",
            ),
            (
                &[&first[..], &first_data[..], &second[..100]],
                "in the middle of a tar header",
            ),
            (
                &[&first[..], &first_data[..], &padded[..]],
                "no tar header at byte 1024",
            ),
        ] {
            let said = judge(cut).expect_err(why);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_member_of_ten_gigabytes_has_its_size_in_binary() {
        let mut field = vec![0x80, 0, 0, 0];
        field.extend(10_000_000_000_u64.to_be_bytes());
        let said = judge(&[&header("9.dat", &field), b"a"]).expect_err("it is short");
        assert!(said.contains("has 10000000000 bytes"), "{said}");
        field[0] = 0xff;
        assert!(judge(&[&header("9.dat", &field), b"a"]).is_err());
    }
}
