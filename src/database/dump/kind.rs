//! What a file is, by its first bytes: a dump that we take, or something else that deserves its right name.

use std::fmt;

use crate::escape::escaped;
use crate::verdict::{Failed, Verdict};

/// The start of a file, recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `pg_dump -Fc`.
    Custom,
    /// `pg_dump -Ft`, or a directory dump's members in a tar file.
    Tar,
    /// `toc.dat` of `pg_dump -Fd`; its other files lie beside it.
    Contents,
    Empty,
    /// Plain SQL of pg_dump, or text that reads like it.
    PlainSql,
    /// Plain SQL of pg_dumpall.
    PlainCluster,
    MySql,
    /// Text in UTF-16, as PowerShell's `>` makes of any program's output.
    Utf16,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Lz4,
    SevenZip,
    Zip,
    OtherTar,
    Sqlite,
    Html,
    Unknown,
}

/// Whether these first bytes are those of a dump that pg_restore reads: of the one file, or of a directory's table of contents.
#[must_use]
pub fn looks_like_dump(head: &[u8]) -> bool {
    matches!(what_is_it(head), Kind::Custom | Kind::Tar | Kind::Contents)
}

/// Magic bytes at the start, and what they mean.
const MAGIC: [(&[u8], Kind); 11] = [
    (b"PGDMP", Kind::Custom),
    (b"\x1f\x8b", Kind::Gzip),
    (b"\x28\xb5\x2f\xfd", Kind::Zstd),
    (b"\xfd7zXZ\0", Kind::Xz),
    (b"BZh", Kind::Bzip2),
    (b"\x04\x22\x4d\x18", Kind::Lz4),
    (b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (b"PK", Kind::Zip),
    (b"SQLite format 3\0", Kind::Sqlite),
    (b"\xff\xfe", Kind::Utf16),
    (b"\xfe\xff", Kind::Utf16),
];

/// Where a header says which format it is, and what a directory's says: it calls itself tar.
const FORMAT_AT: usize = 10;
const CONTENTS: u8 = 3;

/// Names a file by its first bytes; [`super::HEAD_BYTES`] of them are enough.
#[must_use]
pub fn what_is_it(head: &[u8]) -> Kind {
    if head.is_empty() {
        return Kind::Empty;
    }
    if head.starts_with(b"PGDMP") && head.get(FORMAT_AT) == Some(&CONTENTS) {
        return Kind::Contents;
    }
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return *kind;
    }
    if is_tar(head) {
        return if tar_name(head) == b"toc.dat" {
            Kind::Tar
        } else {
            Kind::OtherTar
        };
    }
    text_kind(head)
}

fn text_kind(head: &[u8]) -> Kind {
    let text = String::from_utf8_lossy(head).to_lowercase();
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    if has(&[
        "mysql dump",
        "mariadb dump",
        "/*!40",
        "/*m!",
        "engine=innodb",
    ]) {
        Kind::MySql
    } else if has(&["postgresql database cluster dump"]) {
        Kind::PlainCluster
    } else if has(&[
        "postgresql database dump",
        "\\restrict ",
        "set statement_timeout",
    ]) {
        Kind::PlainSql
    } else if has(&["<!doctype html", "<html"]) {
        Kind::Html
    } else if has(&[
        "create table",
        "insert into",
        "create database",
        "create schema",
    ]) {
        Kind::PlainSql
    } else {
        Kind::Unknown
    }
}

/// The name in a tar header, without its padding.
pub(super) fn tar_name(header: &[u8]) -> &[u8] {
    let name = header.get(..100).unwrap_or_default();
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    let name = &name[..end];
    name.strip_prefix(b"./").unwrap_or(name)
}

/// Whether these bytes start with a tar header: its checksum is the sum of its bytes with the checksum as spaces.
pub(super) fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else {
        return false;
    };
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(i, byte)| u64::from(if (148..156).contains(&i) { b' ' } else { *byte }))
        .sum();
    octal(&header[148..156]) == Some(sum)
}

/// A number as tar writes it: octal digits between spaces and zeros.
pub(super) fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom => "a dump in PostgreSQL's custom format",
            Self::Tar => "a dump in PostgreSQL's tar format",
            Self::Contents => {
                "only the table of contents of a dump in PostgreSQL's directory format"
            }
            Self::Empty => "an empty file",
            Self::PlainSql => "plain SQL, as pg_dump writes without -Fc",
            Self::PlainCluster => "plain SQL of a whole cluster, as pg_dumpall writes",
            Self::MySql => "a dump of MySQL or MariaDB",
            Self::Utf16 => "UTF-16 text, as PowerShell makes of a program's output",
            Self::Gzip => "a gzip file",
            Self::Zstd => "a zstd file",
            Self::Xz => "an xz file",
            Self::Bzip2 => "a bzip2 file",
            Self::Lz4 => "an lz4 file",
            Self::SevenZip => "a 7-Zip archive",
            Self::Zip => "a ZIP archive",
            Self::OtherTar => "a tar archive that is no dump",
            Self::Sqlite => "an SQLite database",
            Self::Html => "a web page",
            Self::Unknown => "no dump of PostgreSQL",
        })
    }
}

impl Kind {
    /// `damaged`: `name` is this instead of a dump; says what would read it, or how to get a dump.
    #[must_use]
    pub fn refuse(self, name: &str) -> Failed {
        let problem = format!("{} is {self}", escaped(name));
        Failed::new(Verdict::Damaged, problem).hint(self.remedy())
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::PlainSql => {
                "psql would read it, but plain SQL can run commands on this machine and can't be judged before it ran, \
                 so it is refused on purpose: make the dump with `pg_dump -Fc`"
            }
            Self::PlainCluster => {
                "psql would read it, but plain SQL is refused on purpose: dump each database with `pg_dump -Fc`, \
                 and roles apart with `pg_dumpall --globals-only`"
            }
            Self::MySql => "`mysql` or `mariadb` would read it: has the wrong file been uploaded?",
            Self::Utf16 => "let pg_dump write the file itself: `pg_dump -Fc -f FILE`, without `>`",
            Self::Empty => "pg_dump or the upload has failed at the source: look at its log",
            Self::Gzip | Self::Zstd | Self::Xz | Self::Bzip2 | Self::Lz4 | Self::SevenZip => {
                "put the dump itself into the ZIP: `pg_dump -Fc` compresses already"
            }
            Self::Zip => "a ZIP inside the ZIP is not opened: put the dump itself into it",
            Self::OtherTar => "put the dump itself into the ZIP, made with `pg_dump -Fc`",
            Self::Contents => {
                "its other files are needed too: name the directory, or put all of it into the ZIP, under its own names"
            }
            Self::Custom | Self::Tar | Self::Sqlite | Self::Html | Self::Unknown => {
                "look at what was uploaded; a dump is made with `pg_dump -Fc`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_dump_gets_its_right_name() {
        let cases: [(&[u8], Kind); 16] = [
            (b"", Kind::Empty),
            (b"PGDMP\x01\x0e", Kind::Custom),
            (b"PGDMP\x01\x0e\x00\x04\x08\x01", Kind::Custom),
            (b"PGDMP\x01\x0e\x00\x04\x08\x03", Kind::Contents),
            (
                b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x",
                Kind::PlainSql,
            ),
            (
                b"--\n-- PostgreSQL database cluster dump\n--\n",
                Kind::PlainCluster,
            ),
            (b"CREATE TABLE t (i int);", Kind::PlainSql),
            (b"-- MySQL dump 10.13  Distrib 8.0\n", Kind::MySql),
            (
                b"/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19",
                Kind::MySql,
            ),
            (b"\xff\xfe-\0-\0", Kind::Utf16),
            (b"\x1f\x8b\x08", Kind::Gzip),
            (b"\x28\xb5\x2f\xfd", Kind::Zstd),
            (b"PK\x03\x04", Kind::Zip),
            (b"SQLite format 3\0", Kind::Sqlite),
            (b"<!DOCTYPE html><title>Login", Kind::Html),
            (b"\0\0\0\0", Kind::Unknown),
        ];
        for (head, kind) in cases {
            assert_eq!(what_is_it(head), kind, "{}", head.escape_ascii());
            let is_dump = matches!(kind, Kind::Custom | Kind::Contents);
            assert_eq!(looks_like_dump(head), is_dump);
        }
    }

    #[test]
    fn plain_sql_is_refused_with_the_command_that_makes_a_dump() {
        let failed = Kind::PlainSql.refuse("shop\u{1b}.sql");
        assert_eq!(failed.verdict, Verdict::Damaged);
        assert!(!failed.message().contains('\u{1b}'));
        assert!(failed.hint.is_some_and(|hint| hint.contains("pg_dump -Fc")));
    }
}
