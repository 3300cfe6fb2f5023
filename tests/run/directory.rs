//! Dumps in directory format, `pg_dump -Fd`: inside a ZIP, and as a directory that somebody names.

mod along;
mod named;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use super::{NEW, Scene, dump, files, filled, judged, noise, says, steps, text, until, warnings};
use crate::support::archives::{Descriptor, Zip, zip};
use crate::support::postgres::Postgres;
use crate::support::program::Setup;
use crate::support::sshd::Sshd;

/// Rows that don't pack well, tables of few rows and of none, and large objects.
const MORE: &str = "
    create table big as select n, md5(n::text) v from generate_series(1, 60000) n;
    create table nothing (n int);
    create table \"odd name\" (v text); insert into \"odd name\" values (E'a\\\\.\\nb');
    create index odd on \"odd name\" (v);
    select lo_from_bytea(4711, 'hello'), lo_from_bytea(4712, repeat('x', 300000)::bytea), lo_from_bytea(4713, '')";

fn source() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let tables: Vec<String> = (0..20)
            .map(|n| format!("create table small_{n} as select {n} n;"))
            .collect();
        filled(
            Postgres::shared(),
            &format!("{NEW};{}{MORE}", tables.concat()),
        )
    })
}

/// What pg_dump makes of it, in a directory `erp` of its own.
fn dumped(options: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let mut pg_dump = Postgres::shared().tool("pg_dump", source());
    pg_dump.arg("-Fd").args(options);
    let done = pg_dump.arg("-f").arg(folder.path().join("erp")).output();
    let done = done.expect("pg_dump runs");
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "pg_dump: {complaint}");
    folder
}

/// One for all tests that don't change it: with `-Z0`, so that its files can be long.
fn plain() -> &'static Path {
    static DUMP: OnceLock<TempDir> = OnceLock::new();
    DUMP.get_or_init(|| dumped(&["-Z0"])).path()
}

/// Names and contents, in the order of the names.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let listing = fs::read_dir(directory).expect("a directory");
    let mut found: Vec<_> = listing
        .map(|file| {
            let file = file.expect("a file");
            let bytes = fs::read(file.path()).expect("its content");
            (file.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    found.sort();
    found
}

fn total(directory: &Path) -> usize {
    contents(directory)
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum()
}

/// Puts a dump into an archive, below `folder`.
fn packed(zip: Zip, folder: &str, dump: &Path) -> Zip {
    contents(dump).into_iter().fold(zip, |zip, (name, bytes)| {
        zip.entry(format!("{folder}{name}"), bytes).stored()
    })
}

fn archive() -> Vec<u8> {
    packed(zip(), "erp/", &plain().join("erp")).build()
}

/// The name of the file with the most bytes.
fn largest(directory: &Path) -> String {
    let all = contents(directory).into_iter();
    let largest = all.max_by_key(|(_, bytes)| bytes.len());
    largest.expect("a file").0
}

fn is_all_new(scene: &Scene) {
    static HASH: OnceLock<String> = OnceLock::new();
    scene.is_new();
    let expected = HASH.get_or_init(|| scene.server.content_hash(source()));
    assert_eq!(scene.server.content_hash(&scene.live), *expected);
}

fn nothing_is_left(setup: &Setup) {
    for directory in ["state/dumps/erp", "state/journal"] {
        let left = fs::read_dir(setup.path(directory)).into_iter().flatten();
        assert_eq!(left.count(), 0, "{directory}");
    }
}

/// A run of the only archive in a local store.
fn run(scene: &Scene, archive: &[u8], lines: &str, word: &str) -> Value {
    scene.put("erp.zip", archive);
    let setup = scene.with(lines);
    let report = judged(&setup, &setup.run(&["run", "--json"]), word);
    nothing_is_left(&setup);
    if word != "done" {
        scene.is_untouched();
        assert!(!steps(&report).contains(&"restore"), "{report:#}");
    }
    report
}

/// `command` is run where `erp` is; it writes `a.zip`, or the archive to its standard output.
fn by_info_zip(folder: &Path, command: &str) -> Vec<u8> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder);
    let done = shell.stderr(Stdio::inherit()).output().expect("zip runs");
    assert!(done.status.success(), "{command}");
    fs::read(folder.join("a.zip")).unwrap_or(done.stdout)
}

#[test]
fn a_directory_in_an_archive_goes_live_whoever_dumped_and_packed_it() {
    for (options, command, name, lines) in [
        (&["-j2"][..], "zip -qr a.zip erp", "erp", ""),
        (&["-Z0"], "zip -qr0 - erp | cat", "erp", "keep_archives = 0"),
        (
            &["-Z9"],
            "cd erp && zip -qr - . | cat",
            "toc.dat",
            "keep_archives = 0",
        ),
        (
            &[],
            "mkdir -p nightly/x && mv erp nightly/x/ && zip -qr a.zip nightly",
            "nightly/x/erp",
            "keep_archives = 1",
        ),
    ] {
        // given
        let folder = dumped(options);
        let expected = total(&folder.path().join("erp"));
        let scene = Scene::new();
        let sshd = Sshd::start();
        sshd.put("erp.zip", &by_info_zip(folder.path(), command));
        let setup = Setup::new().sftp(&sshd).database(scene.server, &scene.live);
        let setup = setup.restore(lines).write();

        // when
        let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

        // then
        is_all_new(&scene);
        assert_eq!(warnings(&report), Vec::<&str>::new(), "{command}");
        assert_eq!(report["dump"]["format"], "directory");
        assert_eq!(report["dump"]["name"], name);
        assert_eq!(report["dump"]["bytes"], expected);
        nothing_is_left(&setup);
    }
}

#[test]
fn a_directory_in_an_archive_with_a_password_goes_live_with_it_and_is_config_without() {
    let seven_zip = "7z a -tzip -mem=AES256 -psecret a.zip erp > 7z.log";
    for (command, lines) in [
        ("zip -qrP secret a.zip erp", "keep_archives = 0"),
        (seven_zip, "keep_archives = 0"),
        (seven_zip, "keep_archives = 1"),
    ] {
        // given
        let folder = dumped(&["-Z0"]);
        let archive = by_info_zip(folder.path(), command);
        let (scene, sshd) = (Scene::new(), Sshd::start());
        sshd.put("erp.zip", &archive);
        let with = |lines: &str| {
            let setup = Setup::new().sftp(&sshd).database(scene.server, &scene.live);
            setup
                .secret("ZIP_PASSWORD", "secret")
                .restore(lines)
                .write()
        };

        // when, then: without
        let without = with(lines);
        judged(&without, &without.run(&["run", "--json"]), "config");
        scene.is_untouched();

        // when, then: with
        let setup = with(&format!("zip_password = \"env:ZIP_PASSWORD\"\n{lines}"));
        judged(&setup, &setup.run(&["run", "--json"]), "done");
        is_all_new(&scene);
        nothing_is_left(&setup);

        // when, then: by hand
        let path = setup.path("erp.zip");
        fs::write(&path, &archive).expect("an archive");
        let file = ["unzip", "--file", &path.to_string_lossy()];
        let unzipped = setup.run(&file).expect(0).stdout;
        let erp = folder.path().join("erp");
        assert!(contents(Path::new(unzipped.trim_end())) == contents(&erp));
    }
}

#[test]
fn every_order_and_kind_of_entries_is_unpacked_while_it_comes() {
    let mut reversed = contents(&plain().join("erp"));
    reversed.reverse();
    let shuffled = reversed
        .iter()
        .enumerate()
        .fold(zip(), |zip, (n, (name, bytes))| {
            let zip = zip.entry(format!("x/y/{name}"), bytes);
            let zip = if n % 3 == 0 { zip.stored() } else { zip };
            let zip = if n % 2 == 0 {
                zip.descriptor(Descriptor::Signed)
            } else {
                zip
            };
            // Something that is not asked for, between the files that are.
            zip.entry(format!("logs/{n}"), noise(9000 * (n % 7) + 100))
        });
    for keep in ["keep_archives = 0", "keep_archives = 1"] {
        let scene = Scene::new();
        let report = run(&scene, &shuffled.build(), keep, "done");
        is_all_new(&scene);
        assert_eq!(report["dump"]["bytes"], total(&plain().join("erp")));
    }
}

#[test]
fn a_dry_run_reads_the_table_of_contents_and_names_format_and_size() {
    let scene = Scene::new();
    scene.put("erp.zip", &archive());
    let setup = scene.with("");

    let ran = setup.run(&["run", "--dry-run"]).expect(0);

    says(
        &ran.stdout,
        &["erp (", "directory format", "nothing was changed"],
    );
    scene.is_untouched();
    assert!(!setup.path("state/dumps").exists());
}

#[test]
fn what_the_table_of_contents_promises_and_is_not_there_is_named_before_anything_is_fetched() {
    let scene = Scene::new();
    let dump = plain().join("erp");
    for gone in [
        largest(&dump),
        "blob_4712.dat".to_owned(),
        "blobs.toc".to_owned(),
    ] {
        let whole = contents(&dump)
            .into_iter()
            .filter(|(name, _)| *name != gone);
        let archive = whole.fold(zip(), |zip, (name, bytes)| zip.entry(name, bytes));

        let report = run(&scene, &archive.build(), "", "damaged");

        says(
            text(&report["message"]),
            &["fetch", "erp.zip", "not whole", &gone],
        );
        says(text(&report["hint"]), &["whole directory"]);
    }
}

#[test]
fn what_lies_beside_the_dump_is_left_out_and_told() {
    let more = packed(zip(), "erp/", &plain().join("erp"))
        .entry("erp/9999.dat", "not in the table of contents")
        .entry("erp/README", "see the manual")
        .entry("erp/old/1.dat", "in another folder");
    let scene = Scene::new();

    let report = run(&scene, &more.build(), "", "done");

    is_all_new(&scene);
    let warnings = warnings(&report);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    says(warnings[0], &["2 files are left out", "9999.dat", "README"]);
}

#[test]
fn several_dumps_are_listed_and_one_is_named_by_its_folder_or_its_contents() {
    let scene = Scene::new();
    let erp = plain().join("erp");
    let two = packed(packed(zip(), "one/erp/", &erp), "two/erp/", &erp);
    let beside = packed(zip(), "erp/", &erp).entry("erp/crm.dump", dump());
    for (archive, listed) in [
        (&two, ["one/erp/toc.dat", "two/erp/toc.dat"]),
        (&beside, ["erp/toc.dat", "erp/crm.dump"]),
    ] {
        let report = run(&scene, &archive.build(), "", "config");
        says(text(&report["message"]), &["several dumps"]);
        says(text(&report["message"]), &listed);
    }
    for wanted in ["two/erp", "two/erp/", "two/erp/toc.dat", "two/*"] {
        let scene = Scene::new();
        let line = format!("dump = \"{wanted}\"");
        let report = run(&scene, &two.build(), &line, "done");
        is_all_new(&scene);
        assert_eq!(report["dump"]["name"], "two/erp");
    }
    let scene = Scene::new();
    run(&scene, &beside.build(), "dump = \"erp\"", "done");
    is_all_new(&scene);
}

#[test]
fn the_sum_of_all_files_is_bounded() {
    let scene = Scene::new();
    let all = total(&plain().join("erp"));
    let line = format!("max_unpacked = \"{} B\"", all - 1);

    let report = run(&scene, &archive(), &line, "damaged");

    says(
        text(&report["message"]),
        &["max_unpacked", &all.to_string()],
    );
    run(
        &scene,
        &archive(),
        &format!("max_unpacked = \"{all} B\""),
        "done",
    );
}

#[test]
fn a_flipped_byte_in_any_file_is_damaged() {
    let scene = Scene::new();
    let erp = plain().join("erp");
    for name in [largest(&erp), "blob_4711.dat".to_owned()] {
        let mut broken = archive();
        let (_, bytes) = contents(&erp)
            .into_iter()
            .find(|(other, _)| *other == name)
            .expect("it");
        let mut places = broken.windows(bytes.len());
        let at = places
            .position(|place| place == bytes)
            .expect("it is stored");
        broken[at + bytes.len() / 2] ^= 1;
        for keep in ["keep_archives = 0", "keep_archives = 1"] {
            let report = run(&scene, &broken, keep, "damaged");
            says(text(&report["message"]), &["erp.zip", &name]);
        }
    }
}

/// The table of contents, with the name of the largest file replaced by another of its length.
fn misnamed(name: &str) -> (String, Vec<(String, Vec<u8>)>) {
    let erp = plain().join("erp");
    let before = largest(&erp);
    assert_eq!(name.len(), before.len());
    let mut files = contents(&erp);
    for (file, bytes) in &mut files {
        if file == "toc.dat" {
            let mut places = bytes.windows(before.len());
            let at = places
                .position(|place| place == before.as_bytes())
                .expect("it");
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
    }
    (before, files)
}

#[test]
fn a_name_that_leads_out_of_the_directory_is_damaged() {
    let scene = Scene::new();
    let length = largest(&plain().join("erp")).len();
    for name in ["../x.dat", "/etc.dat", ".xyz.dat", "passwd~~"] {
        let padded = format!(
            "{}{name}",
            &"../../../"[..length.saturating_sub(name.len())]
        );
        let (_, files) = misnamed(&padded);
        let archive = files
            .iter()
            .fold(zip(), |zip, (name, bytes)| zip.entry(name, bytes));
        let report = run(&scene, &archive.build(), "", "damaged");
        says(text(&report["message"]), &["names the file", name]);
    }
}

#[test]
fn a_directory_is_not_streamed_which_is_said_before_anything_is_fetched() {
    let scene = Scene::new();
    scene.put("erp.zip", &archive());
    let setup = scene.with("stream = true");
    for command in [&["run", "--json"][..], &["run", "--json", "--dry-run"]] {
        let ran = setup.run(command);
        let report = ran.json();
        assert_eq!(report["verdict"], "config", "{ran}");
        says(
            text(&report["message"]),
            &["fetch", "directory format", "pipe"],
        );
        says(text(&report["hint"]), &["stream = true"]);
    }
    assert!(!setup.path("state/dumps").exists());
    scene.is_untouched();
}

#[test]
fn only_a_table_of_contents_is_damaged_by_any_name() {
    let scene = Scene::new();
    let contents = fs::read(plain().join("erp/toc.dat")).expect("it");
    for (archive, why) in [
        (zip().entry("toc.dat", &contents).build(), "not whole"),
        (
            zip().entry("erp.dump", &contents).build(),
            "only the table of contents",
        ),
        (contents, "only the table of contents"),
    ] {
        let report = run(&scene, &archive, "", "damaged");
        says(text(&report["message"]), &[why]);
    }
}

#[test]
fn a_part_of_a_directory_is_restored_and_in_place_as_well() {
    for lines in [
        "skip = [\"INDEX\"]",
        "skip = [\"INDEX\"]\nmethod = \"in-place\"",
    ] {
        let scene = Scene::new();
        run(&scene, &archive(), lines, "done");
        scene.is_new();
        let indexes = "select count(*) from pg_indexes where indexname in ('odd', 'users_by_name')";
        assert_eq!(scene.server.value(&scene.live, indexes), "0");
        assert_eq!(
            scene.server.rows_hash(&scene.live),
            scene.server.rows_hash(source())
        );
    }
}

#[test]
fn unzip_leaves_a_private_directory_that_restore_takes_and_the_next_unzip_replaces() {
    // given
    let scene = Scene::new();
    scene.put("erp.zip", &archive());
    let setup = scene.with("");
    setup.run(&["fetch"]).expect(0);
    let first = setup.run(&["unzip"]).expect(0);
    let first = Path::new(first.stdout.trim_end()).to_owned();

    // when
    let ran = setup.run(&["unzip", "--json"]).expect(0);

    // then
    let path = Path::new(text(&ran.json()["path"])).to_owned();
    assert_ne!(path, first);
    assert!(!first.exists(), "the earlier one");
    assert!(contents(&path) == contents(&plain().join("erp")));
    let mode = |path: &Path| fs::metadata(path).expect("it").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert!(
        files(&setup, "state/dumps")
            .iter()
            .all(|file| mode(file) == 0o600)
    );
    assert_eq!(ran.json()["dump"]["bytes"], total(&path));
    assert_eq!(
        fs::read_dir(setup.path("state/journal"))
            .expect("it")
            .count(),
        0
    );
    scene.is_untouched();

    // when
    setup.run(&["restore", "--dry-run"]).expect(0);
    let report = judged(&setup, &setup.run(&["restore", "--json"]), "done");

    // then
    is_all_new(&scene);
    assert_eq!(report["dump"]["format"], "directory");
    assert_eq!(report["archive"]["name"], "erp.zip");
    assert!(path.is_dir(), "what unzip left stays for the next restore");
}
