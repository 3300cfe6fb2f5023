//! Archives with a password, in every command that reads them: with `zip_password`, without it and with a wrong one.

use std::fs;
use std::path::PathBuf;

use super::{NEW, Scene, archive, dump_of, files, judged, noise, says, text};
use crate::archive::encrypted::passing;
use crate::support::packers::{seven_zip, zstd};
use crate::support::program::Setup;
use crate::support::sshd::Sshd;

const PASSWORD: &str = "a lion & co";
const SETTING: &str = "zip_password = \"env:ZIP_PASSWORD\"";

/// Over SFTP, with the password; `lines` of `[restores.erp]`.
fn over(sshd: &Sshd, scene: &Scene, lines: &str, password: &str) -> Setup {
    Setup::new()
        .sftp(sshd)
        .database(scene.server, &scene.live)
        .secret("ZIP_PASSWORD", password)
        .restore(lines)
        .write()
}

/// Stored by 7-Zip, since nothing in it packs.
fn long() -> Vec<u8> {
    [dump_of(NEW, &["-Fc"]), noise(1_000_000)].concat()
}

/// Deflated by 7-Zip.
fn packable() -> Vec<u8> {
    dump_of(NEW, &["-Fc", "-Z0"])
}

#[test]
fn an_encrypted_archive_is_restored_kept_not_kept_and_streamed() {
    let sshd = Sshd::start();
    for (encryption, dump, mode) in [
        ("AES256", packable(), "keep_archives = 1"),
        ("AES128", long(), "keep_archives = 0"),
        ("AES256", packable(), "stream = true"),
        ("ZipCrypto", long(), "keep_archives = 1"),
        ("ZipCrypto", packable(), "keep_archives = 0"),
        ("ZipCrypto", packable(), "stream = true"),
        (
            "AES256",
            zstd(&[], &dump_of(NEW, &["-Ft"])),
            "stream = true",
        ),
    ] {
        let scene = Scene::new();
        sshd.put("erp.zip", &seven_zip(encryption, PASSWORD, &dump));
        let setup = over(&sshd, &scene, &format!("{SETTING}\n{mode}"), PASSWORD);

        let looked = setup.run(&["run", "--dry-run"]).expect(0);
        says(&looked.stdout, &["erp.dump", "pg_dump"]);
        scene.is_untouched();
        judged(&setup, &setup.run(&["run", "--json"]), "done");

        scene.is_new();
        assert_eq!(files(&setup, "state/dumps"), Vec::<PathBuf>::new());
    }
}

#[test]
fn an_encrypted_archive_is_fetched_unzipped_and_restored_by_hand() {
    let (sshd, scene) = (Sshd::start(), Scene::new());
    let plain = packable();
    sshd.put("erp.zip", &seven_zip("AES256", PASSWORD, &plain));
    let setup = over(&sshd, &scene, SETTING, PASSWORD);

    let fetched = setup.run(&["fetch"]).expect(0).stdout;
    let unzipped = setup.run(&["unzip"]).expect(0).stdout;
    assert!(fs::read(unzipped.trim_end()).expect("the dump") == plain);
    let file = ["unzip", "--file", fetched.trim_end()];
    setup.run(&[&file[..], &["--dry-run"]].concat()).expect(0);
    let named = setup.run(&file).expect(0).stdout;
    assert!(fs::read(named.trim_end()).expect("the dump") == plain);
    scene.is_untouched();

    let file = ["restore", "--json", "--file", fetched.trim_end()];
    judged(&setup, &setup.run(&file), "done");
    scene.is_new();
}

#[test]
fn without_the_password_or_with_a_wrong_one_nothing_is_downloaded() {
    let (sshd, scene) = (Sshd::start(), Scene::new());
    for (encryption, name) in [("AES256", "AES-256"), ("ZipCrypto", "ZipCrypto")] {
        sshd.put("erp.zip", &seven_zip(encryption, PASSWORD, &long()));
        for mode in ["", "keep_archives = 0", "stream = true"] {
            let without = over(&sshd, &scene, mode, PASSWORD);
            let wrong = over(&sshd, &scene, &format!("{SETTING}\n{mode}"), "a tiger & co");
            for (setup, words) in [
                (without, ["`erp.dump` is encrypted", "`zip_password`"]),
                (wrong, ["`zip_password` names is wrong", "`erp.dump`"]),
            ] {
                let looked = setup.run(&["run", "--dry-run"]).expect(3);
                says(&looked.stderr, &words);
                let report = judged(&setup, &setup.run(&["run", "--json"]), "config");
                says(text(&report["message"]), &[words[0], words[1], name]);
                assert_eq!(files(&setup, "state/archives"), Vec::<PathBuf>::new());
                assert_eq!(files(&setup, "state/dumps"), Vec::<PathBuf>::new());
            }
        }
    }
    scene.is_untouched();
}

#[test]
fn a_password_that_is_set_is_needed_only_where_archives_are_read() {
    let scene = Scene::with_archive();
    let setup = scene.setup().restore(SETTING).write();
    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");
    says(
        text(&report["message"]),
        &["restores.erp.zip_password", "ZIP_PASSWORD"],
    );
    setup.run(&["list"]).expect(0);
    scene.is_untouched();

    let setup = scene.setup().secret("ZIP_PASSWORD", PASSWORD);
    let setup = setup.restore(SETTING).write();
    scene.put("erp.zip", &archive());
    judged(&setup, &setup.run(&["run", "--json"]), "done");
    scene.is_new();
}

#[test]
fn a_byte_that_was_flipped_behind_the_head_is_damage_and_goes_live_nowhere() {
    let sshd = Sshd::start();
    for (encryption, says_why) in [
        ("AES256", "authentication code"),
        ("ZipCrypto", "is broken"),
    ] {
        for mode in ["keep_archives = 1", "keep_archives = 0", "stream = true"] {
            let scene = Scene::new();
            let mut broken = seven_zip(encryption, PASSWORD, &long());
            let middle = broken.len() - 100_000;
            broken[middle] ^= 1;
            sshd.put("erp.zip", &broken);
            let setup = over(&sshd, &scene, &format!("{SETTING}\n{mode}"), PASSWORD);

            let report = judged(&setup, &setup.run(&["run", "--json"]), "damaged");

            says(
                text(&report["message"]),
                &["`erp.dump` is broken", says_why],
            );
            scene.is_untouched();
        }
    }
}

#[test]
fn a_wrong_password_that_passes_is_told_as_one_of_two_causes() {
    // given: one that ZipCrypto's check byte takes for right, for an archive in which nothing is packed
    let scene = Scene::new();
    let archive = seven_zip("ZipCrypto", PASSWORD, &long());
    scene.put("erp.zip", &archive);
    let setup = scene.setup().secret("ZIP_PASSWORD", &passing(&archive));
    let setup = setup.restore(SETTING).write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    let both = "`zip_password` names is wrong, or the archive is damaged";
    says(text(&report["message"]), &["`erp.dump`", both]);
    says(text(&report["hint"]), &["one wrong password of 256"]);
    scene.is_untouched();
}

#[test]
fn what_is_no_dump_is_told_as_that_where_the_password_is_right() {
    let scene = Scene::new();
    let sql = b"--\n-- PostgreSQL database dump\n--\nselect 1;\n";
    scene.put("erp.zip", &seven_zip("AES256", PASSWORD, sql));
    let setup = scene.setup().secret("ZIP_PASSWORD", PASSWORD);
    let setup = setup.restore(SETTING).write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "damaged");

    says(text(&report["message"]), &["plain SQL"]);
    scene.is_untouched();
}

#[test]
fn a_dump_that_is_unzipped_already_needs_no_password() {
    let (sshd, scene) = (Sshd::start(), Scene::new());
    sshd.put("erp.zip", &seven_zip("AES256", PASSWORD, &packable()));
    let setup = over(&sshd, &scene, SETTING, PASSWORD);
    setup.run(&["fetch"]).expect(0);
    setup.run(&["unzip"]).expect(0);
    let path = setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    let gone = config.replace("env:ZIP_PASSWORD", "file:/nonexistent/password");
    assert_ne!(gone, config);
    fs::write(&path, gone).expect("config.toml");

    setup.run(&["restore", "--dry-run"]).expect(0);
    let look = ["restore", "--as", &format!("{}_look", scene.live)];
    setup.run(&look).expect(0);
    let drop = ["restore", "--yes", "--drop", look[2]];
    setup.run(&drop).expect(0);
    scene.is_untouched();
    setup.run(&["restore"]).expect(0);

    scene.is_new();
    setup.run(&["unzip"]).expect(3);
}
