//! The dump out of its archive: looked at, then streamed, counted and proven.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use super::directory::{Directory, Entry};
use super::inflate::{self, Inflated};
use super::inspect::admit;
use super::local_header::{self, Descriptor};
use super::packing::Packing;
use super::problem::Problem;
use super::window::Window;
use super::{Container, Limits, Member, choose, encryption, gate};
use crate::escape::quoted;
use crate::secret::Secret;

const BLOCK_BYTES: usize = 256 * 1024;

/// An archive that passed the gate, and the one file in it that is the dump.
pub struct Inside<R> {
    pub(super) window: Window<R>,
    pub(super) limits: Limits,
    pub(super) what: What,
    /// What the file is packed with on its own, inside the ZIP or in its place.
    pub(super) packing: Packing,
    pub(super) member: Member,
    pub(super) password: Option<Secret>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Zip {
        directory: Arc<Directory>,
        chosen: usize,
        descriptor: Option<Descriptor>,
        /// All entries of a dump of many files, in the archive's order; empty for a dump in one file.
        parts: Arc<[usize]>,
    },
    /// No ZIP: the file itself.
    Whole,
}

impl<R: Read + Seek> Inside<R> {
    /// The dump. For a bare one, gzip and Zstandard the name is empty: it is the archive's own.
    pub fn member(&self) -> &Member {
        &self.member
    }

    pub fn container(&self) -> Container {
        match self.what {
            What::Zip { .. } => Container::Zip,
            What::Whole => match self.packing {
                Packing::Plain => Container::Bare,
                Packing::Gzip => Container::Gzip,
                Packing::Zstd => Container::Zstd,
            },
        }
    }

    /// What is to be said of an encrypted dump that does not read like one: its password may be wrong although it passed.
    pub fn doubt(&self) -> Option<Problem> {
        match &self.what {
            What::Zip {
                directory, chosen, ..
            } => Some(&directory.entries[*chosen])
                .filter(|entry| entry.is_encrypted())
                .map(encryption::doubtful),
            What::Whole => None,
        }
    }

    /// The other files in the dump's folder: a dump in directory format is all of them.
    pub fn beside(&self) -> Vec<Member> {
        let What::Zip { directory, .. } = &self.what else {
            return Vec::new();
        };
        let folder = choose::folder(&self.member.name);
        directory
            .entries
            .iter()
            .filter(|entry| !entry.is_directory() && choose::folder(&entry.name) == folder)
            .filter(|entry| entry.name != self.member.name)
            .map(Entry::member)
            .collect()
    }

    /// Makes another file of the archive the one that `open` and `unpack` read, after the same look at it. As it is: a part of
    /// a dump that is packed with gzip or Zstandard stays so.
    pub fn turn_to(&mut self, name: &str) -> Result<(), Problem> {
        let found = match &self.what {
            What::Zip { directory, .. } => {
                directory.entries.iter().find(|entry| entry.name == name)
            }
            What::Whole => None,
        };
        let found = found.map(|entry| entry.index);
        let index = found
            .ok_or_else(|| Problem::damaged(format!("{} is not in the archive", quoted(name))))?;
        self.turn_to_entry(index)
    }

    pub(super) fn turn_to_entry(&mut self, index: usize) -> Result<(), Problem> {
        if let What::Zip {
            directory,
            chosen,
            descriptor,
            ..
        } = &mut self.what
        {
            let entry = &directory.entries[index];
            let asked = (self.limits, self.password.as_ref());
            (self.member, *descriptor) = admit(&mut self.window, entry, asked)?;
            *chosen = index;
            self.packing = Packing::Plain;
        }
        Ok(())
    }

    /// The plain bytes from the start, to look at without unpacking the rest; an error in them goes through
    /// [`Problem::from_reading`]. Only a read to the end has compared length and CRC.
    pub fn open(&mut self) -> Result<Box<dyn Read + '_>, Problem> {
        let packed: Box<dyn Read + '_> = match &self.what {
            What::Zip {
                directory, chosen, ..
            } => {
                let entry = &directory.entries[*chosen];
                if inflate::is_for(entry) {
                    Box::new(Inflated::open(&mut self.window, entry)?)
                } else {
                    Box::new(choose::plain(
                        &mut self.window,
                        directory,
                        *chosen,
                        self.password.as_ref(),
                    )?)
                }
            }
            What::Whole => {
                let start = self.window.seek(SeekFrom::Start(0));
                start.map_err(Problem::from_reading)?;
                Box::new(&mut self.window)
            }
        };
        self.packing.unpacked(packed)
    }

    /// Streams the dump to `out` and returns its length, which is then proven with its CRC (not for a bare dump, which has none).
    ///
    /// After an error `out` holds bytes that nothing vouches for: the caller's temporary file is to be removed. `on_bytes` is told
    /// the length of each block written; `stopped` is asked before each.
    pub fn unpack(
        &mut self,
        out: &mut impl Write,
        on_bytes: impl FnMut(u64),
        stopped: impl Fn() -> bool,
    ) -> Result<u64, Problem> {
        let name = self.member.name.clone();
        let (declared, limits) = (self.member.bytes, self.limits);
        let budget = declared.unwrap_or(limits.max_unpacked);
        let copied = copy(&mut *self.open()?, budget, out, on_bytes, stopped);
        let written = match copied.map_err(|problem| problem.in_entry(&name))? {
            Copied::All(written) => written,
            Copied::MoreThanBudget if declared.is_none() => {
                return Err(gate::too_large("the dump", budget, limits));
            }
            Copied::MoreThanBudget => return Err(longer(&name, budget)),
        };
        if declared.is_some_and(|declared| declared != written) {
            return Err(Problem::damaged(format!(
                "the entry {} has {written} bytes, and {budget} by the directory",
                quoted(&name)
            )));
        }
        self.check_descriptor()?;
        Ok(written)
    }

    fn check_descriptor(&mut self) -> Result<(), Problem> {
        match &self.what {
            What::Zip {
                directory,
                chosen,
                descriptor: Some(descriptor),
                ..
            } => local_header::check_descriptor(
                &mut self.window,
                &directory.entries[*chosen],
                *descriptor,
            ),
            _ => Ok(()),
        }
    }
}

fn longer(name: &str, bytes: u64) -> Problem {
    Problem::damaged(format!(
        "the entry {} has more than the {bytes} bytes of the directory",
        quoted(name)
    ))
}

enum Copied {
    All(u64),
    MoreThanBudget,
}

fn copy(
    plain: &mut dyn Read,
    budget: u64,
    out: &mut impl Write,
    mut on_bytes: impl FnMut(u64),
    stopped: impl Fn() -> bool,
) -> Result<Copied, Problem> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut written = 0;
    loop {
        if stopped() {
            return Err(Problem::Stopped);
        }
        let read = plain.read(&mut block).map_err(Problem::from_reading)?;
        if read == 0 {
            return Ok(Copied::All(written));
        }
        written += read as u64;
        if written > budget {
            return Ok(Copied::MoreThanBudget);
        }
        out.write_all(&block[..read])
            .map_err(Problem::WriteFailed)?;
        on_bytes(read as u64);
    }
}
