//! Whether a dump in a tar file that passes by, and is never a file here, is all there: see [`super::tar`].

use super::kind::{is_tar, tar_name};
use super::reader::broken;
use super::tar::size;
use crate::escape::shown;
use crate::verdict::Outcome;

const BLOCK: usize = 512;

/// Goes along with the bytes, from header to header.
#[derive(Debug, Default)]
pub struct Walk {
    /// What came of a header that is not complete yet.
    header: Vec<u8>,
    /// The member that is passing by.
    name: String,
    bytes: u64,
    left: u64,
    padding: u64,
    at: u64,
    ended: bool,
    problem: Option<String>,
}

impl Walk {
    /// The next bytes, however many.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.ended && self.problem.is_none() {
            let in_member = self.left + self.padding;
            let wanted = match usize::try_from(in_member) {
                Ok(0) => BLOCK - self.header.len(),
                Ok(wanted) => wanted,
                Err(_) => usize::MAX,
            };
            let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            self.at += now.len() as u64;
            if in_member > 0 {
                let data = self.left.min(now.len() as u64);
                self.left -= data;
                self.padding -= now.len() as u64 - data;
            } else {
                self.header.extend_from_slice(now);
                if self.header.len() == BLOCK {
                    self.begin_member();
                }
            }
        }
    }

    fn begin_member(&mut self) {
        let header = std::mem::take(&mut self.header);
        let at = self.at - BLOCK as u64;
        if header.iter().all(|byte| *byte == 0) {
            self.ended = true;
        } else if !is_tar(&header) {
            self.problem = Some(format!("no tar header at byte {at}"));
        } else if let Some(bytes) = size(&header) {
            self.name = shown(&String::from_utf8_lossy(tar_name(&header)));
            self.bytes = bytes;
            self.left = bytes;
            self.padding = bytes.wrapping_neg() % BLOCK as u64;
        } else {
            self.problem = Some("a member's size is no number".to_owned());
        }
    }

    /// That was all.
    ///
    /// # Errors
    /// `damaged`: it ends in the middle of a member, or had something else where a member's header should be.
    pub fn is_whole(&self) -> Outcome<()> {
        if let Some(problem) = &self.problem {
            return Err(broken(problem));
        }
        if self.left > 0 {
            return Err(broken(format!(
                "it ends in the middle of `{}`, which has {} bytes",
                self.name, self.bytes
            )));
        }
        if !self.header.is_empty() {
            return Err(broken("it ends in the middle of a tar header"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member's header with its checksum, its data and the padding.
    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header.extend_from_slice(data);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    }

    fn judge(bytes: &[u8], at_once: usize) -> Result<(), String> {
        let mut walk = Walk::default();
        bytes.chunks(at_once).for_each(|chunk| walk.pass(chunk));
        walk.is_whole().map_err(|failed| failed.message())
    }

    #[test]
    fn every_member_must_pass_by_to_its_last_byte() {
        let members = [
            member("toc.dat", &[7; 512]),
            member("empty", b""),
            member("7.dat", &[9; 700]),
        ];
        let whole = members.concat();
        let ended = [&whole[..], &[0; 1024][..]].concat();
        for at_once in [1, 7, 512, 1000, 100_000] {
            assert_eq!(judge(&ended, at_once), Ok(()), "{at_once}");
            assert_eq!(judge(&whole, at_once), Ok(()), "pg_restore needs no end");
            let unpadded = &whole[..whole.len() - (1024 - 700)];
            assert_eq!(judge(unpadded, at_once), Ok(()), "{at_once}");
            for (cut, why) in [
                (
                    unpadded.len() - 1,
                    "in the middle of `7.dat`, which has 700 bytes",
                ),
                (unpadded.len() - 800, "in the middle of a tar header"),
                (600, "in the middle of `toc.dat`"),
            ] {
                let said = judge(&whole[..cut], at_once).expect_err(why);
                assert!(said.contains(why), "{said}");
            }
            let strange = [&members[0][..], &[3; 512][..]].concat();
            let said = judge(&strange, at_once).expect_err("no header");
            assert!(said.contains("no tar header at byte 1024"), "{said}");
        }
    }
}
