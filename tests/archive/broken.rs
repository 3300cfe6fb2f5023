//! Archives that are cut, flipped, lying or hostile: each is damaged, and never gives other bytes.

use backupctl::archive::{MAX_DIRECTORY_BYTES, MAX_ENTRIES, Problem};

use super::{assert_damaged, one_dump, unpacked};
use crate::support::archives::{self, DUMP_MAGIC, Descriptor, Zip, dump};

#[test]
fn an_archive_cut_anywhere_is_never_taken_for_a_whole_one() {
    for archive in [
        one_dump().comment("a comment").build(),
        one_dump().zip64().data_descriptor().build(),
    ] {
        let percents = (0..100).map(|percent| archive.len() * percent / 100);
        let last_bytes = archive.len() - 64..archive.len();
        for length in percents.chain(last_bytes) {
            let result = unpacked(&archive[..length]);
            assert!(
                matches!(result, Err(Problem::NoEndRecord(_))),
                "cut at {length}: {result:?}"
            );
        }
    }
}

#[test]
fn no_flipped_byte_gives_other_bytes() {
    let archives = [
        archives::zip()
            .entry("a.txt", "hello")
            .entry("erp.dump", dump(150))
            .comment("c")
            .build(),
        archives::zip()
            .entry("erp.dump", dump(150))
            .stored()
            .zip64()
            .data_descriptor()
            .build(),
        archives::zip()
            .entry("erp.dump", [DUMP_MAGIC, &[b'a'; 600]].concat())
            .descriptor(Descriptor::Bare)
            .build(),
    ];
    for archive in archives {
        let whole = unpacked(&archive).expect("an archive in order");
        for (at, flip) in (0..archive.len()).flat_map(|at| (0..=8).map(move |bit| (at, bit))) {
            let mut broken = archive.clone();
            broken[at] ^= if flip == 8 { 0xff } else { 1 << flip };
            match unpacked(&broken) {
                Ok(bytes) => assert!(bytes == whole, "byte {at}, flip {flip}: other bytes"),
                Err(Problem::Damaged { .. } | Problem::NoEndRecord(_) | Problem::Config { .. }) => {
                }
                Err(other) => panic!("byte {at}, flip {flip}: {other:?}"),
            }
        }
    }
}

#[test]
fn no_lost_and_no_doubled_byte_goes_unnoticed() {
    let archive = archives::zip()
        .entry("a.txt", "hello")
        .entry("erp.dump", dump(150))
        .data_descriptor()
        .build();
    for at in 0..archive.len() {
        let (before, after) = archive.split_at(at);
        let lost = unpacked(&[before, &after[1..]].concat());
        let doubled = unpacked(&[before, &after[..1], after].concat());
        assert!(lost.is_err(), "without byte {at}");
        assert!(doubled.is_err(), "with byte {at} twice");
    }
}

#[test]
fn a_wrong_crc_or_size_is_damage() {
    assert_damaged(&one_dump().says_crc(1).build(), "checksum");
    assert_damaged(&one_dump().stored().says_crc(1).build(), "checksum");
    assert_damaged(&one_dump().says_bytes(1999).build(), "larger");
    assert_damaged(&one_dump().says_bytes(2001).build(), "2000 bytes");
    assert_damaged(&one_dump().stored().says_bytes(2001).build(), "can't have");
    assert_damaged(&one_dump().says_packed(10).build(), "no data descriptor");
    assert_damaged(&one_dump().says_packed(5000).build(), "overlaps");
    assert_damaged(
        &one_dump().zip64().says_packed(u64::MAX).build(),
        "overlaps",
    );
    assert_damaged(
        &one_dump().zip64().says_bytes(u64::MAX).build(),
        "can't have",
    );
    assert_damaged(
        &one_dump().descriptor(Descriptor::Lying).build(),
        "data descriptor",
    );
}

#[test]
fn a_local_header_unlike_the_directory_is_damage() {
    assert_damaged(&one_dump().local_name("crm.dump").build(), "another name");
    assert_damaged(&one_dump().local_name("erp.dump2").build(), "another name");
    assert_damaged(&one_dump().local_method(0).build(), "another method");
    assert_damaged(&one_dump().local_flags(1).build(), "other flags");
    assert_damaged(&one_dump().local_flags(8).build(), "other flags");
    assert_damaged(&one_dump().local_crc(1).build(), "another CRC");
    assert_damaged(&one_dump().local_bytes(1).build(), "another size");
    assert_damaged(
        &one_dump().data_descriptor().local_bytes(1).build(),
        "another size",
    );
}

#[test]
fn overlaps_hidden_bytes_and_duplicates_are_damage() {
    let two = || {
        archives::zip()
            .entry("a.txt", "a")
            .entry("erp.dump", dump(2000))
    };
    assert_damaged(&two().says_header_at(0).build(), "overlap");
    assert_damaged(&two().says_header_at(10).build(), "overlap");
    assert_damaged(&two().says_header_at(1 << 31).build(), "belong to no entry");
    assert_damaged(&two().hidden_behind([0; 100]).build(), "no data descriptor");
    assert_damaged(
        &one_dump()
            .hidden_behind(vec![0; 70_000])
            .entry("b", "b")
            .build(),
        "belong to no entry",
    );
    assert_damaged(
        &one_dump().entry("erp.dump", dump(3)).build(),
        "two entries",
    );
    assert_damaged(&one_dump().folder("erp.dump/").build(), "two entries");
}

#[test]
fn junk_before_or_behind_and_a_second_end_record_are_damage() {
    let archive = one_dump().build();

    assert_damaged(
        &one_dump().junk_before("#!/bin/sh\n").build(),
        "10 bytes lie before",
    );
    assert_damaged(
        &[b"#!/bin/sh\n", &archive[..]].concat(),
        "10 bytes too many",
    );
    assert_damaged(
        &one_dump().zip64().junk_before("junk").build(),
        "4 bytes lie before",
    );
    assert_damaged(
        &[b"junk", &one_dump().zip64().build()[..]].concat(),
        "not where its locator says",
    );
    assert_damaged(&one_dump().junk_behind("junk").build(), "4 bytes follow");
    assert_damaged(&[archive.clone(), archive.clone()].concat(), "too many");
    let inner = archives::zip().entry("other.dump", dump(5)).build();
    assert_damaged(&one_dump().comment(&inner).build(), "two end records");
    assert_damaged(
        &one_dump().comment(&inner[inner.len() - 22..]).build(),
        "two end records",
    );
}

#[test]
fn an_archive_within_an_archive_is_no_second_end_record_and_stays_packed() {
    let inner = one_dump().build();
    let archive = archives::zip().entry("inner.zip", &inner).stored().build();

    assert_eq!(unpacked(&archive).expect("the inner archive"), inner);
    let cut = unpacked(&archive[..archive.len() - 30]);
    assert!(matches!(cut, Err(Problem::NoEndRecord(_))), "{cut:?}");
}

#[test]
fn a_directory_that_disagrees_with_its_end_record_is_damage() {
    assert_damaged(&one_dump().says_entries(2).build(), "entry 2 of 2");
    assert_damaged(
        &one_dump().entry("b", "b").says_entries(1).build(),
        "number of entries",
    );
    assert_damaged(&one_dump().says_entries(0).build(), "number of entries");
}

#[test]
fn end_records_that_contradict_themselves_are_damage() {
    let edited = |archive: Zip, from_end: usize, byte: u8| {
        let mut bytes = archive.build();
        let at = bytes.len() - from_end;
        bytes[at] = byte;
        bytes
    };
    let second_disk = 22 - 4;
    let entries = 22 - 10;
    let locators_disks = 22 + 20 - 16;
    let record64_length = 22 + 20 + 56 - 4;

    assert_damaged(&edited(one_dump(), second_disk, 1), "one part of several");
    assert_damaged(&edited(one_dump(), entries, 2), "one part of several");
    assert_damaged(
        &edited(one_dump().zip64(), locators_disks, 2),
        "one part of several",
    );
    assert_damaged(&edited(one_dump().zip64(), entries, 2), "disagree");
    assert_damaged(
        &edited(one_dump().zip64(), record64_length, 45),
        "zip64 end record is broken",
    );
}

#[test]
fn absurd_numbers_are_damage_before_anything_is_read_or_reserved() {
    let many = one_dump().zip64().says_entries(MAX_ENTRIES + 1).build();
    let absurd = one_dump().zip64().says_entries(u64::MAX).build();
    let name = vec![b'n'; 60_000];
    let large = (0..=MAX_DIRECTORY_BYTES / 60_000).fold(archives::zip(), |zip, number| {
        zip.entry([number.to_string().as_bytes(), &name].concat(), "")
    });

    assert_damaged(&many, "65537 entries");
    assert_damaged(&absurd, "entries");
    assert_damaged(&large.build(), "directory has");
}

#[test]
fn unsafe_names_are_damage_even_of_entries_that_are_not_needed() {
    let names = [
        "/etc/passwd",
        "../evil",
        "a/../../evil",
        "..",
        "C:evil",
        "c:/evil",
        "a\\..\\evil",
        "\\\\host\\evil",
        "",
        "a\0b",
    ];
    for name in names {
        let archive = one_dump().entry(name, "evil").build();
        assert_damaged(&archive, "unsafe archive: the entry name");
    }
}

#[test]
fn symlinks_devices_and_set_id_entries_are_damage() {
    let modes = [
        (0o120_777, "symbolic link"),
        (0o020_644, "device"),
        (0o060_644, "device"),
        (0o140_644, "device"),
        (0o104_755, "set-user-ID"),
        (0o102_755, "set-user-ID"),
        (0o040_755, "directory"),
    ];
    for (mode, says) in modes {
        assert_damaged(
            &one_dump().entry("evil", "/etc/passwd").mode(mode).build(),
            says,
        );
    }
}

#[test]
fn a_folder_shared_by_a_group_is_no_reason_to_refuse() {
    let archive = one_dump().folder("shared/").mode(0o042_775).build();

    assert_eq!(unpacked(&archive).expect("an archive in order"), dump(2000));
}
