//! Dumps made byte by byte, of versions that no installed pg_dump writes.

use proptest::prelude::*;

use super::*;
use crate::config::{Contents, Owner};
use crate::database::dump::Selection;
use crate::database::preflight::Needs;

/// A dump under construction.
struct Synthetic {
    version: (u8, u8),
    bytes: Vec<u8>,
}

impl Synthetic {
    fn new(minor: u8, format: u8, entries: i32) -> Self {
        let mut dump = Self {
            version: (1, minor),
            bytes: b"PGDMP".to_vec(),
        };
        dump.bytes.extend([1, minor, 0, 4, 8, format]);
        if minor >= 15 {
            dump.bytes.push(3);
        } else {
            dump.int(-1);
        }
        for part in [0, 0, 2, 20, 10, 126, 0] {
            dump.int(part);
        }
        dump.text("shop")
            .text("14.2")
            .text("17.4 (Debian)")
            .int(entries);
        dump
    }

    fn int(&mut self, value: i32) -> &mut Self {
        self.bytes.push(u8::from(value < 0));
        self.bytes.extend(value.unsigned_abs().to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.int(i32::try_from(text.len()).expect("a short text"));
        self.bytes.extend(text.as_bytes());
        self
    }

    fn none(&mut self) -> &mut Self {
        self.int(-1)
    }

    fn entry(&mut self, kind: &str, tag: &str, sql: &str, owner: &str) -> &mut Self {
        let version = self.version;
        self.int(7).int(0).text("1259").text("16384");
        self.text(tag)
            .text(kind)
            .int(2)
            .text(sql)
            .text("DROP x")
            .none();
        self.text("public").text("fast");
        if version >= (1, 14) {
            self.text("columnar");
        }
        if version >= (1, 16) {
            self.int(114);
        }
        self.text(owner).text("false").text("3").text("4").none();
        self.bytes.extend([2, 1, 0, 0, 0, 0, 0, 0, 0]);
        self
    }
}

fn shop(minor: u8) -> Vec<u8> {
    let mut dump = Synthetic::new(minor, 1, 6);
    dump.entry(
        "ENCODING",
        "ENCODING",
        "SET client_encoding = 'LATIN1';\n",
        "",
    );
    dump.entry("SCHEMA", "public", "CREATE SCHEMA public;\n", "boss");
    dump.entry("TABLE", "users", "CREATE TABLE public.users ();", "app");
    dump.entry(
        "ACL",
        "TABLE users",
        "GRANT SELECT ON TABLE public.users TO reader;",
        "app",
    );
    dump.entry(
        "ACL",
        "DATABASE shop",
        "GRANT CONNECT ON DATABASE shop TO nobody_here;",
        "dba",
    );
    dump.entry(
        "BLOB",
        "4711",
        "SELECT pg_catalog.lo_create('4711');",
        "app",
    );
    dump.bytes.clone()
}

#[test]
fn every_known_version_of_the_archive_format_is_read() {
    for minor in 12..=16 {
        let toc = Toc::read(&*shop(minor)).unwrap_or_else(|e| panic!("1.{minor}: {}", e.message()));

        assert_eq!(toc.header.archive_version, (1, minor));
        assert_eq!(
            toc.header.compression,
            if minor >= 15 { "zstd" } else { "gzip" }
        );
        assert_eq!(toc.header.database_name, "shop");
        assert_eq!(toc.header.server_version, "14.2");
        assert_eq!(toc.header.pg_dump().map(|v| v.major), Some(17));
        assert_eq!(toc.encoding.as_deref(), Some("LATIN1"));
        assert_eq!((toc.count, toc.entries.len(), toc.large_objects), (6, 5, 1));
        assert_eq!(&*toc.entries[2].tag, "users");
        assert_eq!(toc.access_methods.len(), usize::from(minor >= 14));
        assert!(toc.creates_public_schema);
    }
}

#[test]
fn only_the_roles_that_a_restore_would_name_are_needed() {
    let toc = Toc::read(&*shop(14)).expect("a dump");
    let needs = Needs::of(&toc, &Selection::everything());
    let roles: Vec<&str> = needs.roles.iter().map(String::as_str).collect();
    assert_eq!(roles, ["app", "boss", "reader"]);
}

#[test]
fn a_dump_cut_anywhere_is_damaged() {
    let whole = shop(16);
    for length in 0..whole.len() {
        let failed = Toc::read(&whole[..length]).expect_err("a cut dump");
        assert_eq!(
            failed.verdict,
            Verdict::Damaged,
            "at {length}: {}",
            failed.message()
        );
    }
}

#[test]
fn a_newer_archive_format_asks_for_an_update() {
    let failed = Toc::read(&*shop(17)).expect_err("a newer format");
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(failed.message().contains("1.17"), "{}", failed.message());
}

#[test]
fn a_length_that_the_file_does_not_hold_is_not_believed() {
    let mut dump = Synthetic::new(14, 1, i32::MAX);
    dump.int(1).int(0).int(i32::MAX);
    let failed = Toc::read(&*dump.bytes).expect_err("a length of two gigabytes");
    assert_eq!(failed.verdict, Verdict::Damaged);
}

fn without_servers() -> Contents {
    Contents {
        owner: Owner::Keep,
        keeps_privileges: true,
        keeps_tablespaces: true,
        creates_roles: false,
        skip: vec!["SERVER".to_owned()],
    }
}

/// A backup's contents decide in which order they come: a pass for each entry would be an hour for these.
#[test]
fn a_long_chain_of_dependencies_in_the_wrong_order_is_followed_at_once() {
    let mut toc = Toc::read(&shop(14)[..]).expect("a dump");
    let template = toc.entries[0].clone();
    let entry = |id: i64| Entry {
        id,
        kind: if id == 0 { "SERVER" } else { "VIEW" }.into(),
        depends_on: [id - 1].into(),
        ..template.clone()
    };
    toc.entries = (0..200_000).rev().map(entry).collect();
    let selection = Selection::new(&toc, &without_servers(), None).map_err(|f| f.message());
    let selection = selection.expect("no rows are lost");
    assert!(toc.entries.iter().all(|entry| !selection.takes(entry)));
    assert_eq!(selection.left_out().consequences.len(), 199_999);
}

#[test]
fn what_a_hostile_dump_calls_its_objects_is_told_escaped() {
    let mut toc = Toc::read(&shop(14)[..]).expect("a dump");
    (toc.entries[0].id, toc.entries[0].kind) = (3, "SERVER".into());
    (toc.entries[1].id, toc.entries[1].kind) = (8, "a\0\u{1b}[2J".into());
    toc.entries.truncate(2);
    let contents = without_servers();
    let selection = Selection::new(&toc, &contents, None).map_err(|failed| failed.message());
    let told = selection.expect("no rows are lost").left_out().warnings();
    assert!(told[0].contains("a\\0\\u{1b}[2j"), "{told:?}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut dump = b"PGDMP\x01\x0e\x00".to_vec();
        dump.extend(&bytes);
        // Whether these bytes happen to be a dump is not the question.
        let _ = Toc::read(&*dump);
        let _ = Toc::read(&*bytes);
    }

    #[test]
    fn flipped_bytes_never_panic(minor in 12_u8..17, at in 0_usize..2000, flip in 1_u8..) {
        let mut dump = shop(minor);
        let at = at % dump.len();
        dump[at] ^= flip;
        // A flipped letter of a name can't be seen here.
        let _ = Toc::read(&*dump);
    }
}
