//! What a look into an archive has found, kept apart from what was read: the same archive is then unpacked from bytes that come
//! later and only once, from first to last.
//!
//! Nothing that the look has read is unpacked: the local header is held against the directory again, in the bytes that come.

use std::io::{Read, Seek};
use std::ops::Range;

use super::packing::Packing;
use super::problem::Problem;
use super::unpack::{Inside, What};
use super::window::Window;
use super::{Limits, Member, local_header};
use crate::secret::Secret;

/// An archive that passed the gate, without its bytes.
#[derive(Debug, Clone)]
pub struct Found {
    pub(super) bytes: u64,
    pub(super) limits: Limits,
    pub(super) what: What,
    pub(super) packing: Packing,
    pub(super) member: Member,
    pub(super) password: Option<Secret>,
}

impl<R: Read + Seek> Inside<R> {
    /// What was found, without the reader.
    #[must_use]
    pub fn into_found(self) -> Found {
        self.into_parts().0
    }

    /// What was found, and the reader, wherever in the archive it is.
    #[must_use]
    pub fn into_parts(self) -> (Found, R) {
        let found = Found {
            bytes: self.window.archive_bytes(),
            limits: self.limits,
            what: self.what,
            packing: self.packing,
            member: self.member,
            password: self.password,
        };
        (found, self.window.into_inner())
    }
}

impl Found {
    /// The archive's bytes that unpacking reads: those of the dump's entries with their headers, or all.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        match &self.what {
            What::Zip {
                directory,
                chosen,
                parts,
                ..
            } => {
                let [first, last] = [parts.first(), parts.last()]
                    .map(|part| &directory.entries[*part.unwrap_or(chosen)]);
                first.header_at..last.next_at
            }
            What::Whole => 0..self.bytes,
        }
    }

    /// Turns to `reader`, which needs to know the archive's bytes of [`Found::span`] only, and to go back only to the local
    /// header that it has passed last, one of [`Found::starts`]: at most [`Found::LOOKED_AT`] bytes.
    ///
    /// # Errors
    /// The local header there is another one than the directory says.
    pub fn over<R: Read + Seek>(&self, reader: R) -> Result<Inside<R>, Problem> {
        let mut window = Window::over(reader, self.bytes);
        let mut what = self.what.clone();
        if let What::Zip {
            directory,
            chosen,
            descriptor,
            ..
        } = &mut what
        {
            *descriptor = local_header::check(&mut window, &directory.entries[*chosen])?;
        }
        Ok(Inside {
            window,
            limits: self.limits,
            what,
            packing: self.packing,
            member: self.member.clone(),
            password: self.password.clone(),
        })
    }

    /// What behind a start may be read twice: a local header with the longest name and extra field, and a block behind it.
    pub const LOOKED_AT: usize = 512 * 1024;

    /// Whether both looks have seen the same directory and end record, byte for byte, and chose the same dump in it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = match (&self.what, &other.what) {
            (
                What::Zip {
                    directory, chosen, ..
                },
                What::Zip {
                    directory: others,
                    chosen: theirs,
                    ..
                },
            ) => directory.seal == others.seal && chosen == theirs,
            (What::Whole, What::Whole) => true,
            _ => false,
        };
        same && self.bytes == other.bytes && self.packing == other.packing
    }
}
