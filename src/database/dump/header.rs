//! The header of a dump: its format, the program that wrote it, and the server it was made from.

use std::fmt;
use std::io::Read;

use super::reader::{Reader, broken};
use crate::report::DumpFacts;
use crate::verdict::{Failed, Outcome, Verdict};

/// How the dump lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `pg_dump -Fc`: one file.
    Custom,
    /// `pg_dump -Ft`: one tar file.
    Tar,
    /// `pg_dump -Fd`: a directory with `toc.dat`.
    Directory,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom => "custom",
            Self::Tar => "tar",
            Self::Directory => "directory",
        })
    }
}

/// The version of a PostgreSQL program or server: `15.19`, or `9.6` without its patch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PgVersion {
    pub major: u32,
    /// The patch number since 10; the second part of the major version before.
    pub minor: u32,
}

impl PgVersion {
    /// The version at the start of `text`: `15.6 (Debian 15.6-1)`, `17beta1`, `9.6.24`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.splitn(3, '.');
        let major = leading_number(numbers.next()?)?;
        let minor = numbers.next().and_then(leading_number).unwrap_or(0);
        Some(Self { major, minor })
    }

    /// From `server_version_num`: 150006, 90624.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        let number = number.unsigned_abs();
        let minor = if number >= 100_000 {
            number % 10_000
        } else {
            number / 100 % 100
        };
        Self {
            major: number / 10_000,
            minor,
        }
    }

    /// What releases with new features differ in: (17, 0), (9, 6).
    #[must_use]
    pub fn series(self) -> (u32, u32) {
        (self.major, if self.major < 10 { self.minor } else { 0 })
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// What stands before the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Of the archive format: (1, 12) since PostgreSQL 9.0 to (1, 16) since 17.
    pub archive_version: (u8, u8),
    pub format: Format,
    /// `none`, `gzip`, `lz4` or `zstd`.
    pub compression: &'static str,
    /// The name of the database that was dumped.
    pub database_name: String,
    /// The server that was dumped, in its own words: `15.19 (Debian 15.19-1.pgdg120+1)`.
    pub server_version: String,
    pub pg_dump_version: String,
}

const OLDEST: (u8, u8) = (1, 12);
const NEWEST: (u8, u8) = (1, 16);
/// What the header calls the formats; a directory's contents call themselves tar.
const CUSTOM: u8 = 1;
const TAR: u8 = 3;

impl Header {
    /// Reads a header whose file is a custom dump, or the `toc.dat` of another `format`.
    pub(super) fn read<R: Read>(reader: &mut Reader<R>, format: Format) -> Outcome<Self> {
        if reader.exactly::<5>()? != *b"PGDMP" {
            return Err(broken("it does not start with PGDMP"));
        }
        let [major, minor, _revision] = reader.exactly()?;
        let archive_version = (major, minor);
        supported(archive_version)?;
        let [int_bytes, offset_bytes, found] = reader.exactly()?;
        if !(1..=8).contains(&int_bytes) || !(1..=16).contains(&offset_bytes) {
            return Err(broken("its header states absurd sizes"));
        }
        reader.int_bytes = int_bytes;
        reader.offset_bytes = offset_bytes;
        let expected = if format == Format::Custom {
            CUSTOM
        } else {
            TAR
        };
        if found != expected {
            return Err(broken(format!(
                "format {found} where {expected} is expected"
            )));
        }
        let compression = compression(reader, archive_version)?;
        for _ in 0..7 {
            reader.int()?; // the creation date, in a time zone that nobody knows
        }
        Ok(Self {
            archive_version,
            format,
            compression,
            database_name: reader.name()?.unwrap_or_default(),
            server_version: reader.name()?.unwrap_or_default(),
            pg_dump_version: reader.name()?.unwrap_or_default(),
        })
    }

    /// The version of the pg_dump that wrote it.
    #[must_use]
    pub fn pg_dump(&self) -> Option<PgVersion> {
        PgVersion::parse(&self.pg_dump_version)
    }

    /// For the report: `name` and `bytes` are the dump's as it was unpacked.
    #[must_use]
    pub fn facts(&self, name: &str, bytes: u64) -> DumpFacts {
        DumpFacts {
            name: name.to_owned(),
            bytes,
            format: self.format.to_string(),
            pg_dump_version: self.pg_dump_version.clone(),
            server_version: self.server_version.clone(),
        }
    }
}

fn supported(version: (u8, u8)) -> Outcome<()> {
    let (major, minor) = version;
    if version > NEWEST && major <= 9 {
        let problem = format!(
            "the dump has archive version {major}.{minor}, newer than {}.{}, the newest that is understood here",
            NEWEST.0, NEWEST.1
        );
        return Err(Failed::new(Verdict::Config, problem)
            .hint("update backupctl, or make the dump with pg_dump 18 or older"));
    }
    if version < OLDEST && major == 1 {
        let problem =
            format!("the dump has archive version {major}.{minor}, from before PostgreSQL 9.0");
        return Err(Failed::new(Verdict::Config, problem)
            .hint("make the dump with a pg_dump of PostgreSQL 9.0 or newer"));
    }
    if (OLDEST..=NEWEST).contains(&version) {
        return Ok(());
    }
    Err(broken(format!("archive version {major}.{minor}")))
}

fn compression<R: Read>(reader: &mut Reader<R>, version: (u8, u8)) -> Outcome<&'static str> {
    if version >= (1, 15) {
        return match reader.byte()? {
            0 => Ok("none"),
            1 => Ok("gzip"),
            2 => Ok("lz4"),
            3 => Ok("zstd"),
            other => Err(broken(format!("compression method {other}"))),
        };
    }
    Ok(if reader.int()? == 0 { "none" } else { "gzip" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_and_programs_write_them() {
        let cases = [
            ("15.19 (Debian 15.19-0+deb12u1)", (15, 19), (15, 0)),
            ("17beta1", (17, 0), (17, 0)),
            ("18.6", (18, 6), (18, 0)),
            ("9.6.24", (9, 6), (9, 6)),
        ];
        for (text, (major, minor), series) in cases {
            let version = PgVersion::parse(text).expect("a version");
            assert_eq!(version, PgVersion { major, minor }, "{text}");
            assert_eq!(version.series(), series, "{text}");
        }
        assert_eq!(PgVersion::parse(""), None);
        assert_eq!(PgVersion::parse("unknown"), None);
    }

    #[test]
    fn version_numbers_are_read_as_servers_state_them() {
        assert_eq!(PgVersion::from_number(150_006).to_string(), "15.6");
        assert_eq!(PgVersion::from_number(90_624).to_string(), "9.6");
    }
}
