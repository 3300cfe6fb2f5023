//! Archives as other programs write them: every one is taken, with the bytes that went in.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use backupctl::archive::{Inside, Problem, inspect};
use tempfile::TempDir;

use super::{LIMITS, is_dump, unpack, wanted_by};
use crate::support::archives::{DUMP_MAGIC, dump};

const DUMP_BYTES: usize = 300_000;

/// A directory with `erp.dump` and a README in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("erp.dump"), dump(DUMP_BYTES)).expect("a dump");
    fs::write(folder.path().join("README"), "see the manual").expect("a README");
    folder
}

/// Runs `program` in `folder`, its output into `to` where it writes the archive there.
fn run(folder: &Path, program: &[&str], to: Option<&str>) {
    let output = match to {
        Some(name) => File::create(folder.join(name))
            .expect("an output file")
            .into(),
        None => Stdio::null(),
    };
    let input = File::open(folder.join("erp.dump")).expect("the dump");
    let status = Command::new(program[0])
        .args(&program[1..])
        .current_dir(folder)
        .stdin(input)
        .stdout(output)
        .status()
        .unwrap_or_else(|error| panic!("start {program:?}: {error}"));
    assert!(status.success(), "{program:?}: {status}");
}

fn inside(folder: &Path) -> Result<Inside<File>, Problem> {
    let file = File::open(folder.join("a.zip")).expect("an archive");
    let bytes = file.metadata().expect("its size").len();
    inspect(file, bytes, &wanted_by(None, None), &LIMITS, &is_dump)
}

#[track_caller]
fn assert_taken(program: &[&str], to: Option<&str>) {
    let folder = folder();
    run(folder.path(), program, to);

    let bytes = inside(folder.path()).and_then(unpack);

    let bytes = bytes.unwrap_or_else(|problem| panic!("{program:?}: {problem}"));
    assert!(bytes == dump(DUMP_BYTES), "{program:?}: other bytes");
}

#[test]
fn info_zip_with_every_option_that_changes_the_format() {
    for options in ["-q", "-q0", "-q9", "-qfd", "-q0fd", "-qfz", "-qX", "-q0fz"] {
        assert_taken(&["zip", options, "a.zip", "README", "erp.dump"], None);
    }
    assert_taken(&["zip", "-qr", "a.zip", "."], None);
}

#[test]
fn info_zip_from_standard_input_and_to_standard_output() {
    assert_taken(&["zip", "-q", "a.zip", "-"], None);
    assert_taken(&["zip", "-q", "-", "README", "erp.dump"], Some("a.zip"));
    assert_taken(&["zip", "-q0", "-", "README", "erp.dump"], Some("a.zip"));
    assert_taken(&["sh", "-c", "zip -q - - | cat"], Some("a.zip"));
    assert_taken(
        &["sh", "-c", "cat erp.dump | zip -q - - | cat"],
        Some("a.zip"),
    );
    assert_taken(
        &["sh", "-c", "zip -q - README erp.dump | cat"],
        Some("a.zip"),
    );
}

#[test]
fn info_zip_after_changes_in_place() {
    let steps = "zip -q a.zip erp.dump && zip -q a.zip README && echo 'a comment' | zip -qz a.zip && zip -qd a.zip README";
    assert_taken(&["sh", "-c", steps], None);
    assert_taken(
        &[
            "sh",
            "-c",
            "mkdir ä && mv erp.dump ä/ü.dump && zip -qr a.zip ä && cp ä/ü.dump erp.dump",
        ],
        None,
    );
}

#[test]
fn seven_zip() {
    assert_taken(&["7z", "a", "-tzip", "a.zip", "README", "erp.dump"], None);
    assert_taken(&["7z", "a", "-tzip", "-mx=0", "a.zip", "erp.dump"], None);
    assert_taken(&["7z", "a", "-tzip", "-sierp.dump", "a.zip"], None);
    assert_taken(&["7z", "a", "-tzip", "-mcu=on", "a.zip", "."], None);
}

#[test]
fn seven_zip_with_a_password_or_another_method_is_named() {
    let written_with = |option: &str| {
        let folder = folder();
        run(
            folder.path(),
            &["7z", "a", "-tzip", option, "-psecret", "a.zip", "erp.dump"],
            None,
        );
        inside(folder.path()).map(|_| ()).expect_err("not readable")
    };
    for option in ["-mem=ZipCrypto", "-mem=AES256"] {
        assert!(
            matches!(written_with(option), Problem::Config { .. }),
            "{option}"
        );
    }

    let folder = folder();
    // 7-Zip stores what doesn't pack.
    let text = [DUMP_MAGIC, &[b'x'; 10_000]].concat();
    fs::write(folder.path().join("erp.dump"), text).expect("a dump that packs");
    run(
        folder.path(),
        &["7z", "a", "-tzip", "-mm=BZip2", "a.zip", "erp.dump"],
        None,
    );
    let problem = inside(folder.path()).map(|_| ()).expect_err("not readable");
    assert!(
        problem.to_string().contains("method 12 (bzip2)"),
        "{problem}"
    );
}

#[test]
fn python_seekable_streaming_and_with_zip64_forced() {
    let script = |open: &str, write: &str| {
        format!(
            "import sys, zipfile as z\n\
             out = {open}\n\
             with z.ZipFile(out, 'w', z.ZIP_DEFLATED) as a:\n\
             \x20 a.writestr('README', 'x')\n\
             \x20 {write}\n\
             \x20 a.comment = b'by cron'\n"
        )
    };
    let file = "'a.zip'";
    // Standard output through a pipe can't be rewound, so sizes come in data descriptors.
    let pipe = "sys.stdout.buffer";
    let plain = "a.write('erp.dump')";
    let stored = "a.write('erp.dump', compress_type=z.ZIP_STORED)";
    let forced = "a.open('erp.dump', 'w', force_zip64=True).write(open('erp.dump', 'rb').read())";
    for write in [plain, stored, forced] {
        assert_taken(&["/usr/bin/python3", "-c", &script(file, write)], None);
        let script = script(pipe, write);
        assert_taken(
            &[
                "sh",
                "-c",
                "/usr/bin/python3 -c \"$1\" | cat",
                "sh",
                &script,
            ],
            Some("a.zip"),
        );
    }
}

#[test]
fn perl_streaming_with_and_without_zip64() {
    for options in [
        "Stream => 1",
        "Zip64 => 1",
        "Stream => 1, Zip64 => 1",
        "Stream => 1, Method => 0",
    ] {
        let script = format!(
            "use IO::Compress::Zip qw(zip); zip 'erp.dump' => 'a.zip', Name => 'erp.dump', {options} or die"
        );
        assert_taken(&["perl", "-e", &script], None);
    }
}

/// Written once, by the programs beside them.
#[test]
fn go_and_java() {
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/foreign");
    let mut names: Vec<_> = fs::read_dir(&foreign)
        .expect("the archives")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|is| is == "zip"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 7, "{names:?}");
    for name in names {
        let folder = tempfile::tempdir().expect("a temporary directory");
        fs::copy(&name, folder.path().join("a.zip")).expect("an archive");

        let bytes = inside(folder.path()).and_then(unpack);

        let bytes = bytes.unwrap_or_else(|problem| panic!("{}: {problem}", name.display()));
        assert!(bytes == dump(2000), "{}: other bytes", name.display());
    }
}
