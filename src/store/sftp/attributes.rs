//! What a server says of a file: whether it is one, how large, and from when.

use jiff::Timestamp;
use russh_sftp::protocol::{File as Entry, FileAttributes, FileMode};

use crate::store::{Kind, Listed, Listing, Stated, StoreError, unusable_name};

/// Takes an entry of a listing for an archive, or passes it over and says why.
pub fn note(listing: &mut Listing, entry: Entry) {
    let name = entry.filename;
    if name == "." || name == ".." {
        return;
    }
    let why = unusable_name(&name).or_else(|| not_regular(&entry.attrs, &entry.longname));
    let why = match why {
        Some(why) => why,
        None => match (entry.attrs.size, modified(&entry.attrs)) {
            (Some(bytes), Some(modified)) => {
                listing.archives.push(Listed {
                    name,
                    bytes,
                    modified,
                    dated: None,
                });
                return;
            }
            (None, _) => "its size is not stated",
            (_, None) => "its time is not stated",
        },
    };
    listing.pass_over(&name, why);
}

/// Size and time of what is a regular file.
pub fn regular(attributes: &FileAttributes) -> Result<Stated, StoreError> {
    if let Some(why) = not_regular(attributes, "-") {
        return Err(StoreError::new(Kind::NotFound, format!("it is {why}")));
    }
    let stated = attributes.size.zip(modified(attributes));
    let (bytes, modified) = stated.ok_or_else(|| {
        StoreError::new(
            Kind::Protocol,
            "the server states no size or no time for it",
        )
    })?;
    Ok(Stated { bytes, modified })
}

/// The first letter of `ls -l`'s line decides where a server states no mode.
fn not_regular(attributes: &FileAttributes, longname: &str) -> Option<&'static str> {
    const KIND_OF_FILE: u32 = 0o170_000;
    let kind = match attributes.permissions.map(|mode| mode & KIND_OF_FILE) {
        None | Some(0) => longname.chars().next()?,
        Some(mode) if mode == FileMode::REG.bits() => '-',
        Some(mode) if mode == FileMode::DIR.bits() => 'd',
        Some(mode) if mode == FileMode::LNK.bits() => 'l',
        Some(_) => '?',
    };
    match kind {
        '-' => None,
        'd' => Some("a directory"),
        'l' => Some("a symbolic link"),
        _ => Some("no regular file"),
    }
}

fn modified(attributes: &FileAttributes) -> Option<Timestamp> {
    Timestamp::from_second(i64::from(attributes.mtime?)).ok()
}

/// What `tests/fuzz` lists without a server.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzed {
    use super::{Entry, FileAttributes, Listing, note};

    /// What a server may say of a directory's entry.
    pub struct Stated {
        pub name: String,
        pub longname: String,
        pub mode: Option<u32>,
        pub bytes: Option<u64>,
        pub modified: Option<u32>,
    }

    pub fn listing(entries: impl Iterator<Item = Stated>) -> Listing {
        let mut listing = Listing::default();
        for entry in entries {
            let attrs = FileAttributes {
                size: entry.bytes,
                permissions: entry.mode,
                mtime: entry.modified,
                ..FileAttributes::empty()
            };
            note(
                &mut listing,
                Entry {
                    filename: entry.name,
                    longname: entry.longname,
                    attrs,
                },
            );
        }
        listing
    }
}
