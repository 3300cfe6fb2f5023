//! From a file to the dump in it: the gate, the choice, and what the chosen entry must be.

use std::io::{Read, Seek, SeekFrom};

use super::choose::{self, Recognise, Sought};
use super::directory::{self, Entry};
use super::local_header::{self, Descriptor};
use super::packing::Packing;
use super::problem::Problem;
use super::unpack::{Inside, What};
use super::window::Window;
use super::{Limits, Member, Wanted, end_record, gate, head};
use crate::secret::Secret;

/// Reads end record and directory, applies the gate, chooses the dump: the entry that `wanted` matches, else the only file, else
/// the only file whose first bytes `recognise` knows. A file that is no ZIP at all is taken if it is a dump itself, or one in gzip
/// or Zstandard. A dump that is packed with one of these once more is unpacked from that as well.
pub fn inspect<R: Read + Seek>(
    reader: R,
    bytes: u64,
    wanted: &Wanted,
    limits: &Limits,
    recognise: &dyn Fn(&[u8]) -> bool,
) -> Result<Inside<R>, Problem> {
    let mut window = Window::open(reader, bytes)?;
    let end = match end_record::find(&window) {
        Ok(end) => end,
        Err(Problem::NoEndRecord(message)) => {
            return without_zip(window, *limits, recognise, message);
        }
        Err(other) => return Err(other),
    };
    let mut directory = directory::read(&mut window, &end)?;
    gate::check(&mut directory.entries, &end)?;
    let sought = Sought {
        dump: wanted.dump.as_deref(),
        password: wanted.password.as_ref(),
        recognise,
    };
    let chosen = choose::dump(&mut window, &directory, &sought)?;
    let entry = &directory.entries[chosen];
    let (mut member, descriptor) = admit(&mut window, entry, (*limits, sought.password))?;
    let packing = choose::head(&mut window, &directory, entry, &sought)?.packing;
    if packing != Packing::Plain {
        member.bytes = None;
    }
    let what = What::Zip {
        directory: directory.into(),
        chosen,
        descriptor,
        parts: [].into(),
    };
    Ok(Inside {
        window,
        limits: *limits,
        what,
        packing,
        member,
        password: wanted.password.clone(),
    })
}

/// What the gate asks of the one entry that will be unpacked.
pub(super) fn admit<R: Read + Seek>(
    window: &mut Window<R>,
    entry: &Entry,
    (limits, password): (Limits, Option<&Secret>),
) -> Result<(Member, Option<Descriptor>), Problem> {
    gate::check_readable(entry, password)?;
    gate::check_sizes(entry, limits)?;
    let descriptor = local_header::check(window, entry)?;
    Ok((entry.member(), descriptor))
}

fn without_zip<R: Read + Seek>(
    mut window: Window<R>,
    limits: Limits,
    recognise: Recognise<'_>,
    message: String,
) -> Result<Inside<R>, Problem> {
    let packed = window.archive_bytes();
    window
        .seek(SeekFrom::Start(0))
        .map_err(Problem::from_reading)?;
    let (head, read) = head::look(&mut window, recognise);
    read?;
    if !head.is_dump {
        return Err(Problem::NoEndRecord(message));
    }
    if packed > limits.max_unpacked {
        return Err(gate::too_large("the dump", packed, limits));
    }
    let member = Member {
        name: String::new(),
        bytes: (head.packing == Packing::Plain).then_some(packed),
        packed,
    };
    Ok(Inside {
        window,
        limits,
        what: What::Whole,
        packing: head.packing,
        member,
        password: None,
    })
}
