//! `--file DIRECTORY`: no archive has proven what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backupctl::database::dump::directory::is_whole;
use backupctl::verdict::Verdict;

use super::{
    Scene, contents, dumped, is_all_new, judged, largest, misnamed, nothing_is_left, plain, says,
    steps, text, total, warnings,
};

/// A copy that may be broken.
fn copy(of: &Path, to: &Path) -> PathBuf {
    let copy = to.join("copy");
    fs::create_dir(&copy).expect("a directory");
    for (name, bytes) in contents(of) {
        fs::write(copy.join(name), bytes).expect("a file");
    }
    copy
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn a_named_directory_is_restored_where_it_is_and_stays() {
    for options in [&["-Z0"][..], &["-j2"]] {
        let folder = dumped(options);
        let directory = folder.path().join("erp");
        let before = contents(&directory);
        fs::write(directory.join("notes.txt"), "of somebody").expect("a file beside it");
        let scene = Scene::new();
        let setup = scene.with("");
        let file = ["restore", "--json", "--file", shown(&directory)];

        setup.run(&[&file[..], &["--dry-run"]].concat()).expect(0);
        let report = judged(&setup, &setup.run(&file), "done");

        is_all_new(&scene);
        let all = ["network", "unzip", "restore", "check", "swap"];
        assert_eq!(steps(&report), all);
        assert_eq!(report["dump"]["name"], "erp");
        assert_eq!(report["dump"]["format"], "directory");
        let bytes: usize = before.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(report["dump"]["bytes"], bytes);
        says(warnings(&report)[0], &["1 file is left out", "notes.txt"]);
        fs::remove_file(directory.join("notes.txt")).expect("it is there");
        assert!(contents(&directory) == before);
        nothing_is_left(&setup);
    }
}

#[test]
fn unzip_copies_a_named_directory_for_a_later_restore() {
    let scene = Scene::new();
    let setup = scene.with("");
    let directory = plain().join("erp");
    let file = ["unzip", "--file", shown(&directory)];
    let dry = setup.run(&[&file[..], &["--dry-run"]].concat()).expect(0);
    says(&dry.stdout, &["erp (", "directory format", "space"]);

    let ran = setup.run(&file).expect(0);

    let path = Path::new(ran.stdout.trim_end());
    assert!(path.starts_with(setup.path("state")), "{ran}");
    assert!(contents(path) == contents(&directory));
    judged(&setup, &setup.run(&["restore", "--json"]), "done");
    is_all_new(&scene);
}

/// What is done to a copy, and what is said of it.
type Fault = (&'static str, fn(&Path), &'static str);

fn cut(file: &Path, keep: impl Fn(u64) -> u64) {
    let file = fs::File::options().write(true).open(file).expect("a file");
    let bytes = file.metadata().expect("its size").len();
    file.set_len(keep(bytes)).expect("a shorter one");
}

fn flipped(file: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(file).expect("a file");
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(file, bytes).expect("another one");
}

const PLAIN: [Fault; 6] = [
    (
        "a row too few",
        |dir| cut(&dir.join(largest(dir)), |bytes| bytes / 2),
        "in the middle of its rows",
    ),
    (
        "empty",
        |dir| cut(&dir.join(largest(dir)), |_| 0),
        "in the middle of its rows",
    ),
    (
        "no file",
        |dir| fs::remove_file(dir.join("blob_4711.dat")).expect("it"),
        "`blob_4711.dat` is in its table",
    ),
    (
        "list cut",
        |dir| cut(&dir.join("blobs.toc"), |bytes| bytes - 3),
        "`blobs.toc` is cut off",
    ),
    (
        "list short",
        |dir| cut(&dir.join("blobs.toc"), |_| 19),
        "3 large objects, and its list has 1",
    ),
    (
        "no contents",
        |dir| fs::remove_file(dir.join("toc.dat")).expect("it"),
        "no `toc.dat`",
    ),
];

const GZIP: [Fault; 4] = [
    (
        "cut",
        |dir| cut(&dir.join(largest(dir)), |bytes| bytes / 2),
        ".dat.gz` is cut off",
    ),
    (
        "flipped",
        |dir| flipped(&dir.join(largest(dir)), |bytes| bytes / 2),
        ".dat.gz`",
    ),
    (
        "checksum",
        |dir| flipped(&dir.join(largest(dir)), |bytes| bytes - 6),
        ".dat.gz`",
    ),
    (
        "contents cut",
        |dir| cut(&dir.join("toc.dat"), |bytes| bytes / 2),
        "table of contents",
    ),
];

#[test]
fn a_named_directory_that_is_not_whole_is_damaged_before_anything_is_loaded() {
    let scene = Scene::new();
    let packed = dumped(&[]);
    let all = [
        (&PLAIN[..], plain().join("erp")),
        (&GZIP[..], packed.path().join("erp")),
    ];
    for (faults, original) in all {
        for (what, damage, why) in faults {
            let folder = tempfile::tempdir().expect("a directory");
            let directory = copy(&original, folder.path());
            damage(&directory);
            for command in ["restore", "unzip"] {
                let setup = scene.with("");

                let ran = setup.run(&[command, "--json", "--file", shown(&directory)]);

                let report = judged(&setup, &ran, "damaged");
                says(text(&report["message"]), &[why]);
                assert!(!steps(&report).contains(&"restore"), "{what}");
                nothing_is_left(&setup);
            }
        }
    }
    scene.is_untouched();
}

#[test]
fn a_name_that_leads_out_and_a_size_above_the_limit_are_refused() {
    let (_, files) = misnamed(&"../../../x.dat"[14 - largest(&plain().join("erp")).len()..]);
    let folder = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("a file");
    }
    let scene = Scene::new();
    let setup = scene.with("");
    let ran = setup.run(&["restore", "--json", "--file", shown(folder.path())]);
    let report = judged(&setup, &ran, "damaged");
    says(text(&report["message"]), &["names the file"]);

    let directory = plain().join("erp");
    let setup = scene.with(&format!("max_unpacked = \"{} B\"", total(&directory) - 1));
    let ran = setup.run(&["restore", "--json", "--file", shown(&directory)]);
    let report = judged(&setup, &ran, "damaged");
    says(text(&report["message"]), &["max_unpacked"]);
    scene.is_untouched();
}

#[test]
fn a_named_table_of_contents_is_told_to_name_its_directory() {
    let scene = Scene::new();
    let setup = scene.with("");
    let file = plain().join("erp/toc.dat");
    for dry in [&[][..], &["--dry-run"]] {
        let ran = setup.run(&[&["restore", "--json", "--file", shown(&file)], dry].concat());
        let report = ran.json();
        assert_eq!(report["verdict"], "damaged", "{ran}");
        says(text(&report["hint"]), &["name the directory"]);
    }
    scene.is_untouched();
}

/// Every data file packed by another program, as newer pg_dumps do it.
fn packed_by(program: &[&str], to: &Path) -> PathBuf {
    let directory = copy(&plain().join("erp"), to);
    for (name, _) in contents(&directory) {
        if name != "toc.dat" && name != "blobs.toc" {
            let mut command = Command::new(program[0]);
            command
                .args(&program[1..])
                .arg(&name)
                .current_dir(&directory);
            let done = match program[0] {
                "lz4" => command.arg(format!("{name}.lz4")).output(),
                _ => command.args(["-o", &format!("{name}.zst")]).output(),
            };
            let done = done.expect("it runs");
            assert!(done.status.success(), "{done:?}");
            fs::remove_file(directory.join(&name)).expect("it was packed");
        }
    }
    directory
}

#[test]
fn lz4_and_zstd_are_followed_from_block_to_block_to_their_end() {
    for program in [
        &["lz4", "-q"][..],
        &["lz4", "-q", "-B4", "-BX", "--content-size"],
        &["lz4", "-q", "--no-frame-crc"],
        &["zstd", "-q"],
        &["zstd", "-q", "--no-check", "-19"],
        &["zstd", "-q", "--no-content-size", "-1"],
    ] {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = packed_by(program, folder.path());
        is_whole(&directory).unwrap_or_else(|failed| panic!("{program:?}: {}", failed.message()));
        let file = directory.join(largest(&directory));
        let whole = fs::read(&file).expect("it");
        // In a block, in a block's header, and where only the end is missing.
        for length in [
            0,
            3,
            5,
            whole.len() / 3,
            whole.len() / 2,
            whole.len() - 4,
            whole.len() - 1,
        ] {
            fs::write(&file, &whole[..length]).expect("a shorter one");
            let failed = is_whole(&directory).expect_err("it is cut off");
            assert_eq!(failed.verdict, Verdict::Damaged, "{program:?} at {length}");
        }
        fs::write(&file, [&whole[..], b"junk"].concat()).expect("a longer one");
        assert!(is_whole(&directory).is_err(), "{program:?}");
        fs::write(&file, whole.repeat(2)).expect("two frames");
        assert!(is_whole(&directory).is_ok(), "{program:?}");
    }
}
