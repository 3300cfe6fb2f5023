//! Archives and dumps that are broken, or something else: the live database is never reached.

use serde_json::Value;

use super::{Scene, archive, dump, dump_of, judged, packed, says, text};
use crate::support::archives::zip;
use crate::support::program::Setup;

fn is_judged(word: &str, content: &[u8]) -> (Setup, Value) {
    let scene = Scene::new();
    scene.put("erp.zip", content);
    let setup = scene.with("pattern = \"*\"");
    let report = judged(&setup, &setup.run(&["run", "--json"]), word);
    scene.is_untouched();
    (setup, report)
}

#[test]
fn a_flipped_byte_anywhere_in_the_packed_dump_is_damaged() {
    let whole = archive();
    for at in [whole.len() / 3, whole.len() / 2, whole.len() - 200] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let (_, report) = is_judged("damaged", &flipped);
        says(text(&report["message"]), &["erp.zip"]);
    }
}

#[test]
fn a_flipped_byte_in_a_stored_dump_is_damaged_by_its_crc_alone() {
    let dump = dump_of(super::NEW, &["-Fc", "-Z0"]);
    let mut bytes = zip().entry("erp.dump", &dump).stored().build();
    let at = bytes
        .windows(6)
        .rposition(|text| text == b"user 5")
        .expect("a row");
    bytes[at + 5] = b'6';

    let (_, report) = is_judged("damaged", &bytes);

    says(text(&report["message"]), &["erp.dump"]);
}

#[test]
fn a_dump_that_was_cut_off_before_it_was_packed_is_damaged() {
    // In the table of contents, and behind it, where only the end of the data is missing.
    for left in [300, dump().len() - 20] {
        is_judged("damaged", &zip().entry("erp.dump", &dump()[..left]).build());
    }
}

#[test]
fn plain_sql_and_dumps_of_others_are_damaged_and_named_with_what_reads_them() {
    let plain = dump_of("create table t (v text)", &["-Fp"]);
    let mysql = b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost\nCREATE TABLE `t` (`v` text);\n".to_vec();
    let mariadb = b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n".to_vec();
    for (bytes, words) in [
        (&plain, ["plain SQL", "pg_dump -Fc"]),
        (&mysql, ["MySQL", "mysql"]),
        (&mariadb, ["MariaDB", "mysql"]),
    ] {
        let (_, report) = is_judged("damaged", &zip().entry("erp.sql", bytes).build());
        let told = format!("{} {}", text(&report["message"]), text(&report["hint"]));
        says(&told, &words);
        // without a ZIP around it as well
        let (_, report) = is_judged("damaged", bytes);
        let told = format!("{} {}", text(&report["message"]), text(&report["hint"]));
        says(&told, &words);
    }
}

#[test]
fn a_path_out_of_the_archive_and_other_tricks_are_damaged() {
    for broken in [
        packed().entry("../../evil", "x"),
        packed().says_bytes(10),
        packed().says_crc(1),
        packed().junk_behind("PK\x05\x06 once more and long enough to be one"),
    ] {
        is_judged("damaged", &broken.build());
    }
}

#[test]
fn a_bomb_is_damaged_by_the_limit_before_it_is_unpacked() {
    let scene = Scene::with_archive();
    let setup = scene.with("max_unpacked = \"1 KiB\"");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "damaged");

    says(text(&report["message"]), &["erp.dump"]);
    says(text(&report["hint"]), &["max_unpacked"]);
    scene.is_untouched();
}

#[test]
fn an_encrypted_archive_and_an_unknown_method_are_named() {
    let (_, report) = is_judged("config", &packed().encrypted().build());
    says(text(&report["message"]), &["encrypted"]);
    let (_, report) = is_judged("damaged", &packed().method(97).build());
    says(text(&report["message"]), &["method"]);
}

#[test]
fn a_statement_that_fails_in_the_middle_is_failed_and_shown() {
    let scene = Scene::new();
    let mut dump = dump_of(super::NEW, &["-Fc", "-Z0"]);
    let at = dump
        .windows(7)
        .rposition(|bytes| bytes == b"\tuser 4")
        .expect("a row");
    dump[at] = b' ';
    scene.put("erp.zip", &zip().entry("erp.dump", &dump).build());

    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(text(&report["message"]), &["users"]);
    scene.is_untouched();
}
