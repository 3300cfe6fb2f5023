//! ZIP: the gate and the unpacking. The crate `zip` parses, and reads what is not simply deflated; what may be unpacked at all is
//! decided here, before.
//!
//! Nothing is repaired or sanitised: an archive is in order or it is damaged. There is no cap on the ratio, since a dump full of
//! zeros rightly packs 1000:1: a bomb is bounded by `max_unpacked`, by the size that the directory declares (one byte more is
//! damage), and by the caller's look at the free disk.

mod choose;
mod directory;
mod encryption;
mod end_record;
mod extra;
mod found;
mod gate;
mod head;
mod inflate;
mod inspect;
mod local_header;
mod packing;
mod parts;
mod problem;
mod record;
mod unpack;
mod window;

pub use found::Found;
pub use inspect::inspect;
pub use problem::Problem;
pub use unpack::Inside;

use crate::secret::Secret;

/// What the configuration says of the dump in an archive.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A pattern on its name, where several files could be it.
    pub dump: Option<String>,
    /// For encrypted entries; not needed for others.
    pub password: Option<Secret>,
}

/// What the configuration allows an archive to be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// More than this is not unpacked, in bytes.
    pub max_unpacked: u64,
}

/// What holds the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Zip,
    /// A gzip stream instead of a ZIP. Its length is known only by unpacking it.
    Gzip,
    /// The same in Zstandard.
    Zstd,
    /// The dump itself, without anything around it and so without a checksum.
    Bare,
}

/// A regular file inside the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As the archive spells it: escape it where it is shown, never make a path of it.
    pub name: String,
    /// Unpacked; None where it is packed with gzip or Zstandard, which need not say.
    pub bytes: Option<u64>,
    /// As it lies in the archive.
    pub packed: u64,
}

/// Entries that a directory may have: a dump in directory format has one per table, so this is no small number.
pub const MAX_ENTRIES: u64 = 65_536;

/// Bytes that a directory may have. It is held in memory, and parsed it takes about four times this.
pub const MAX_DIRECTORY_BYTES: u64 = 8 * 1024 * 1024;

/// Entries whose first bytes are looked at to find the dump among them; each may be a round trip to the store.
pub const MAX_PEEKS: usize = 64;
