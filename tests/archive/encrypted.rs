//! Archives with a password, written by other programs: read with it, refused without, and never other bytes.

use std::cell::Cell;
use std::io::Cursor;

use backupctl::archive::{Problem, inspect};

use super::{
    LIMITS, Link, assert_config, assert_damaged, is_dump, look, one_dump, unpack, wanted_by,
};
use crate::support::archives::{self, DUMP_MAGIC, dump};
use crate::support::packers::{made_by, seven_zip};

const PASSWORD: &str = "a lion & co";

/// One that packs to a third, so that every program deflates it.
fn packable() -> Vec<u8> {
    let noise = dump(40_000);
    let twice: Vec<u8> = noise.iter().flat_map(|byte| [*byte, b'.', b'.']).collect();
    [DUMP_MAGIC, &twice].concat()
}

fn by_seven_zip(method: &str, dump: &[u8]) -> Vec<u8> {
    seven_zip(method, PASSWORD, dump)
}

fn opened(archive: &[u8], password: &str) -> Result<Vec<u8>, Problem> {
    let wanted = wanted_by(None, Some(password));
    let bytes = archive.len() as u64;
    inspect(Cursor::new(archive), bytes, &wanted, &LIMITS, &is_dump).and_then(unpack)
}

/// With `PW` for the password.
const WRITERS: [&str; 13] = [
    "7z a -tzip -mem=ZipCrypto -pPW a.zip README erp.dump",
    "7z a -tzip -mem=ZipCrypto -mx=0 -pPW a.zip erp.dump",
    "7z a -tzip -mem=ZipCrypto -pPW -sierp.dump a.zip",
    "7z a -tzip -mem=AES128 -pPW a.zip README erp.dump",
    "7z a -tzip -mem=AES192 -pPW a.zip README erp.dump",
    "7z a -tzip -mem=AES256 -pPW a.zip README erp.dump",
    "7z a -tzip -mem=AES256 -mx=0 -pPW a.zip erp.dump",
    "7z a -tzip -mem=AES256 -pPW -sierp.dump a.zip",
    "zip -qP PW a.zip README erp.dump",
    "zip -q0P PW a.zip README erp.dump",
    "zip -qfdP PW a.zip README erp.dump",
    "zip -qfzP PW a.zip README erp.dump",
    "zip -qP PW a.zip -",
];

#[test]
fn what_7_zip_and_info_zip_encrypt_is_read() {
    for writer in WRITERS {
        let words = writer.split(' ').map(|word| word.replace("PW", PASSWORD));
        let words: Vec<String> = words.collect();
        let program: Vec<&str> = words.iter().map(String::as_str).collect();
        for plain in [packable(), dump(300_000)] {
            let bytes = opened(&made_by(&program, &plain), PASSWORD);
            let bytes = bytes.unwrap_or_else(|problem| panic!("{writer}: {problem}"));
            assert!(bytes == plain, "{writer}: other bytes");
        }
    }
}

#[test]
fn a_password_is_taken_as_utf_8() {
    let password = "Löwe 7 €";
    let archive = made_by(&["zip", "-qP", password, "a.zip", "erp.dump"], &packable());
    assert!(opened(&archive, password).expect("the dump") == packable());
}

#[test]
fn without_a_password_the_setting_and_the_encryption_are_named() {
    for (method, name) in [("ZipCrypto", "(ZipCrypto)"), ("AES192", "(AES-192)")] {
        let archive = by_seven_zip(method, &packable());
        let without = look(&archive).and_then(unpack);
        assert_config(without, &["`erp.dump`", name, "zip_password = \"env:"]);
    }
    let among_others = one_dump().encrypted().entry("README", "x").build();
    assert_config(look(&among_others).and_then(unpack), &["zip_password"]);
}

#[test]
fn a_wrong_password_is_said_to_be_wrong() {
    for (method, name) in [("ZipCrypto", "(ZipCrypto)"), ("AES256", "(AES-256)")] {
        for plain in [packable(), dump(300_000)] {
            let archive = by_seven_zip(method, &plain);
            // Its check byte lets one of 256 pass: of these two hundred none may be taken for anything but wrong.
            let told = (0..200).map(|n| opened(&archive, &format!("wrong {n}")));
            let told: Vec<_> = told
                .take(if name == "(ZipCrypto)" { 200 } else { 3 })
                .collect();
            let plainly = told.iter().filter(|result| {
                let text = format!("{:?}", result.as_ref().map(drop));
                text.contains("is wrong for the entry `erp.dump`") && text.contains(name)
            });
            assert!(plainly.count() * 10 > told.len() * 9, "{method}");
            assert!(told.iter().all(Result::is_err), "{method}");
        }
    }
}

/// A wrong password that passes the one byte that ZipCrypto has to check it.
pub fn passing(archive: &[u8]) -> String {
    let wanted = |n: u32| wanted_by(None, Some(&format!("wrong {n}")));
    let bytes = archive.len() as u64;
    let passes = |n: &u32| {
        let look = inspect(Cursor::new(archive), bytes, &wanted(*n), &LIMITS, &is_dump);
        !matches!(look, Err(problem) if problem.to_string().contains("is wrong for the entry"))
    };
    let found = (0..10_000).find(passes).expect("one of 256");
    format!("wrong {found}")
}

#[test]
fn a_wrong_password_that_passes_is_one_of_two_causes() {
    let deflated = by_seven_zip("ZipCrypto", &packable());
    let both = [
        "`zip_password` names is wrong, or the archive is damaged",
        "one wrong password of 256",
    ];
    assert_config(opened(&deflated, &passing(&deflated)), &both);

    // What is stored decrypts to noise; whoever reads the dump finds that out, and has the same words for it.
    let stored = by_seven_zip("ZipCrypto", &dump(30_000));
    let wanted = wanted_by(None, Some(&passing(&stored)));
    let bytes = stored.len() as u64;
    let look = || inspect(Cursor::new(&stored[..]), bytes, &wanted, &LIMITS, &is_dump);
    let inside = look().expect("nothing speaks against it yet");
    let doubt = inside.doubt().expect("it is encrypted");
    assert_config(Err(doubt), &both);
    let problem = look().and_then(unpack).expect_err("another CRC");
    assert!(problem.to_string().contains("checksum"), "{problem}");

    // Among others it is looked at for being a dump, and none is.
    let command = ["zip", "-q0P", PASSWORD, "a.zip", "README", "erp.dump"];
    let several = made_by(&command, &dump(3000));
    assert_config(opened(&several, "wrong"), &["zip_password", "wrong"]);
}

/// A 7-Zip archive turned into what WinZip writes for larger files: AE-1, which has the CRC besides.
fn ae_1(archive: &[u8], crc: u32) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let fields: Vec<usize> = archive
        .windows(8)
        .enumerate()
        .filter(|(_, bytes)| *bytes == b"\x01\x99\x07\0\x02\0AE")
        .map(|(at, _)| at)
        .collect();
    assert_eq!(fields.len(), 2, "one in the header, one in the directory");
    for at in fields {
        archive[at + 4] = 1;
    }
    let headers = [(&b"PK\x03\x04"[..], 14), (b"PK\x01\x02", 16)];
    for (signature, offset) in headers {
        let at = archive.windows(4).position(|bytes| bytes == signature);
        let at = at.expect("a header") + offset;
        assert_eq!(archive[at..at + 4], [0; 4], "AE-2 has no CRC");
        archive[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
    archive
}

#[test]
fn ae_2_has_no_crc_and_that_of_ae_1_is_compared() {
    for plain in [packable(), dump(3000)] {
        let ae_2 = by_seven_zip("AES256", &plain);
        let mut crc = flate2::Crc::new();
        crc.update(&plain);

        assert!(opened(&ae_2, PASSWORD).expect("AE-2") == plain);
        assert!(opened(&ae_1(&ae_2, crc.sum()), PASSWORD).expect("AE-1") == plain);
        let lying = opened(&ae_1(&ae_2, !crc.sum()), PASSWORD).expect_err("another CRC");
        assert!(lying.to_string().contains("checksum"), "{lying}");
    }
}

#[test]
fn no_flipped_byte_of_an_encrypted_archive_gives_other_bytes() {
    let text = [DUMP_MAGIC, &[b'a'; 600]].concat();
    for (method, plain) in [
        ("AES256", dump(150)),
        ("AES128", text.clone()),
        ("ZipCrypto", dump(150)),
        ("ZipCrypto", text),
    ] {
        let archive = by_seven_zip(method, &plain);
        assert!(opened(&archive, PASSWORD).expect("in order") == plain);
        for (at, flip) in (0..archive.len()).map(|at| (at, 1 << (at % 8))) {
            let mut broken = archive.clone();
            broken[at] ^= flip;
            match opened(&broken, PASSWORD) {
                Ok(bytes) => assert!(bytes == plain, "{method}, byte {at}: other bytes"),
                Err(Problem::Damaged { .. } | Problem::NoEndRecord(_) | Problem::Config { .. }) => {
                }
                Err(other) => panic!("{method}, byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_byte_of_the_content_or_of_the_code_that_proves_it_is_damage() {
    for plain in [packable(), dump(3000)] {
        let archive = by_seven_zip("AES256", &plain);
        let directory = archive.windows(4).position(|bytes| bytes == b"PK\x01\x02");
        let end = directory.expect("a directory");
        // Behind the first bytes, which have shown that the password is right, up to the code's last one.
        for at in [end - 1, end - 10, end - 11, end - 400] {
            let mut broken = archive.clone();
            broken[at] ^= 1;
            let problem = opened(&broken, PASSWORD).expect_err("a flipped byte");
            assert!(
                matches!(problem, Problem::Damaged { .. }),
                "{at}: {problem:?}"
            );
        }
        let mut broken = archive.clone();
        broken[end - 1] ^= 1;
        let problem = opened(&broken, PASSWORD).expect_err("another code");
        let text = problem.to_string();
        assert!(text.contains("authentication code"), "{text}");
        assert!(!text.contains("password"), "{text}");
    }
}

#[test]
fn headers_that_disagree_about_the_encryption_are_damage() {
    let archive = by_seven_zip("AES256", &dump(3000));
    let fields = archive.windows(6).enumerate();
    let fields = fields.filter(|(_, bytes)| *bytes == b"\x01\x99\x07\0\x02\0");
    let places: Vec<usize> = fields.map(|(at, _)| at).collect();
    let changed = |at: usize, to: u8| {
        let mut changed = archive.clone();
        changed[at] = to;
        opened(&changed, PASSWORD)
            .expect_err("a contradiction")
            .to_string()
    };
    for (at, to) in [(places[0] + 8, 1), (places[0] + 4, 1), (places[0], 2)] {
        let text = changed(at, to);
        assert!(text.contains("another encryption"), "{text}");
    }
    let text = changed(places[1], 2);
    assert!(
        text.contains("contradicts itself") || text.contains("AES"),
        "{text}"
    );
    assert_damaged(&one_dump().method(99).build(), "");
    assert_damaged(&one_dump().encrypted().method(99).build(), "");
    let short = archives::zip().entry("erp.dump", "x").stored().encrypted();
    let short = opened(&short.build(), PASSWORD).expect_err("no room for its header");
    assert!(short.to_string().contains("can't have"), "{short}");
}

#[test]
fn the_one_encryption_that_is_not_read_is_named() {
    for flags in [1 | 1 << 6, 1 << 6, 1 | 1 << 13] {
        assert_damaged(
            &one_dump().flags(flags).build(),
            "PKWARE's strong encryption",
        );
    }
    let mut directory = one_dump().zip64().build();
    let end = directory
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x06\x06");
    // Version 6.2 is the first that can encrypt it.
    directory[end.expect("a zip64 end record") + 14] = 62;
    assert_damaged(&directory, "PKWARE's strong encryption");
}

#[test]
fn a_password_that_is_not_needed_does_no_harm() {
    let archive = one_dump().entry("README", "x").build();
    assert_eq!(opened(&archive, PASSWORD).expect("a dump"), dump(2000));
}

#[test]
fn files_with_another_password_than_the_dumps_are_left_alone() {
    let script = format!("zip -qP other a.zip README && zip -qP '{PASSWORD}' a.zip erp.dump");
    let archive = made_by(&["sh", "-c", &script], &packable());
    assert!(opened(&archive, PASSWORD).expect("the dump") == packable());
}

#[test]
fn a_link_that_breaks_is_not_taken_for_a_wrong_password_or_damage() {
    for method in ["ZipCrypto", "AES256"] {
        let archive = by_seven_zip(method, &dump(900_000));
        let reads = Cell::new(0);
        let attempt = |cut_at| {
            reads.set(0);
            let bytes = archive.len() as u64;
            let archive = Cursor::new(archive.clone());
            let link = Link {
                archive,
                reads: &reads,
                cut_at,
            };
            let wanted = wanted_by(None, Some(PASSWORD));
            inspect(link, bytes, &wanted, &LIMITS, &is_dump).and_then(unpack)
        };
        attempt(usize::MAX).expect("a whole dump");
        let needed = reads.get();
        assert!(needed > 3);
        for cut_at in 0..needed {
            let problem = attempt(cut_at).expect_err("a cut link");
            assert!(
                matches!(problem, Problem::Io(_)),
                "{method}, {cut_at}: {problem:?}"
            );
        }
    }
}
