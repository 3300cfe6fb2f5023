//! Dumps that are packed on their own, with gzip or Zstandard, in a ZIP or in its place.

use std::io::{Cursor, Write};

use backupctl::archive::{Container, Limits, Problem, Wanted, inspect};

use super::{assert_damaged, is_dump, look, unpack, unpacked};
use crate::support::archives::{self, DUMP_MAGIC, dump};
use crate::support::packers::zstd;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("gzip");
    gzip.finish().expect("gzip")
}

#[test]
fn a_bare_dump_and_one_in_gzip_are_known_by_their_first_bytes() {
    let packed = gzip(&dump(9000));

    for (file, container) in [
        (dump(9000), Container::Bare),
        (packed.clone(), Container::Gzip),
    ] {
        let inside = look(&file).expect("a dump without an archive");
        assert_eq!(inside.container(), container);
        assert_eq!(unpack(inside).expect("a whole dump"), dump(9000));
    }

    assert_damaged(&packed[..packed.len() - 3], "");
    assert_damaged(&[&packed[..], b"junk"].concat(), "");
    let text = look(&gzip(b"select 1;")).map(|_| ());
    assert!(matches!(text, Err(Problem::NoEndRecord(_))), "{text:?}");
}

#[test]
fn a_dump_that_is_packed_with_gzip_inside_the_archive_is_unpacked_whole() {
    let beside_others = archives::zip()
        .entry("README.gz", gzip(b"how to restore"))
        .entry("erp.dump.gz", gzip(&dump(9000)));
    let alone = archives::zip().entry("erp.sql.gz", gzip(b"select 1;"));

    let inside = look(&beside_others.build()).map(|inside| inside.member().clone());
    let inside = inside.expect("one dump");
    assert_eq!((&inside.name[..], inside.bytes), ("erp.dump.gz", None));
    assert_eq!(
        unpacked(&beside_others.build()).expect("a whole dump"),
        dump(9000)
    );
    assert_eq!(unpacked(&alone.build()).expect("the text"), b"select 1;");
    assert_damaged(&beside_others.says_crc(1).build(), "checksum");
}

#[test]
fn what_does_not_say_its_length_is_bounded_by_max_unpacked() {
    let bomb = gzip(&[DUMP_MAGIC, &vec![0; 1_000_000]].concat());
    let limits = Limits {
        max_unpacked: 100_000,
    };
    let zstd_bomb = zstd(&[], &[DUMP_MAGIC, &vec![0; 1_000_000]].concat());
    let in_zip = |bomb: &[u8]| archives::zip().entry("erp.dump", bomb).build();
    for file in [in_zip(&bomb), bomb, in_zip(&zstd_bomb), zstd_bomb] {
        let bytes = file.len() as u64;
        let mut inside = inspect(
            Cursor::new(&file),
            bytes,
            &Wanted::default(),
            &limits,
            &is_dump,
        )
        .expect("a dump");
        let mut out = Vec::new();

        let result = inside.unpack(&mut out, |_| {}, || false);

        let problem = result.expect_err("too large");
        assert!(problem.to_string().contains("max_unpacked"), "{problem}");
        assert!(out.len() <= 100_000);
    }
}

/// A frame that is to be skipped.
fn skippable(content: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(content.len()).expect("a small frame");
    [b"\x5a\x2a\x4d\x18", &bytes.to_le_bytes()[..], content].concat()
}

/// A dump that packs well, behind much that does not.
fn long_dump() -> Vec<u8> {
    [dump(3_000_000), vec![b'x'; 3_000_000]].concat()
}

#[test]
fn a_dump_in_zstandard_is_known_by_its_first_bytes_bare_and_in_an_archive() {
    let plain = long_dump();
    for options in [
        &["-1"][..],
        &["-19"],
        &["-3", "--no-check"],
        &["--fast=5"],
        &["-3", "--long=23"],
    ] {
        let packed = zstd(options, &plain);

        let inside = look(&packed).expect("a dump without an archive");
        assert_eq!(
            (inside.container(), inside.member().bytes),
            (Container::Zstd, None)
        );
        assert!(
            unpack(inside).expect("a whole dump") == plain,
            "{options:?}"
        );

        let archive = archives::zip()
            .entry("README.zst", zstd(&[], b"how to restore"))
            .entry("erp.dump.zst", &packed)
            .build();
        assert!(
            unpacked(&archive).expect("a whole dump") == plain,
            "{options:?}"
        );
    }
}

#[test]
fn frames_behind_each_other_and_frames_to_skip_are_legal() {
    let plain = long_dump();
    let (first, second) = plain.split_at(1_234_567);
    let whole = [
        skippable(b"made by a program that writes an index"),
        zstd(&[], first),
        skippable(&vec![7; 200_000]),
        zstd(&["-9"], second),
        skippable(b""),
    ]
    .concat();

    assert!(unpacked(&whole).expect("both frames") == plain);
    let archive = archives::zip().entry("erp.dump", &whole).stored().build();
    assert!(unpacked(&archive).expect("both frames") == plain);
}

#[test]
fn a_frame_that_is_cut_broken_or_followed_by_something_is_damaged() {
    let packed = zstd(&[], &long_dump());
    for length in [
        200_000,
        packed.len() / 2,
        packed.len() - 100,
        packed.len() - 1,
    ] {
        assert_damaged(&packed[..length], "");
    }
    assert_damaged(&[&packed[..], b"junk"].concat(), "");
    assert_damaged(&[&packed[..], &skippable(b"whole")[..10]].concat(), "");
    // Less than a first block is nothing that could be known for a dump.
    let small = zstd(&["-19"], &[DUMP_MAGIC, &[b'a'; 600]].concat());
    for head in [&small[..20], &zstd(&[], b"select 1;")] {
        let text = look(head).map(|_| ());
        assert!(matches!(text, Err(Problem::NoEndRecord(_))), "{text:?}");
    }
}

#[test]
fn no_flipped_byte_of_a_frame_with_a_checksum_gives_other_bytes() {
    let plain = [DUMP_MAGIC, &[b'a'; 600], &dump(150)].concat();
    let packed = zstd(&[], &plain);
    assert!(unpacked(&packed).expect("a whole dump") == plain);
    for (at, bit) in (0..packed.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut broken = packed.clone();
        broken[at] ^= 1 << bit;
        match unpacked(&broken) {
            Ok(bytes) => assert!(bytes == plain, "byte {at}, bit {bit}: other bytes"),
            Err(Problem::Damaged { .. } | Problem::NoEndRecord(_)) => {}
            Err(other) => panic!("byte {at}, bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn a_window_beyond_what_memory_is_given_is_refused_with_what_to_do() {
    let plain = [dump(100), vec![0; 30_000_000]].concat();
    let packed = zstd(&["-1", "--long=24"], &plain);
    let says = "level 19 at most, without `--ultra` and `--long`";
    assert_damaged(&packed, says);
    assert_damaged(&archives::zip().entry("erp.dump", &packed).build(), says);
    assert!(unpacked(&zstd(&["-1", "--long=23"], &plain)).expect("within it") == plain);
}
