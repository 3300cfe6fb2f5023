//! `--dry-run` says what would happen, with the exit code of whether it could start, and changes nothing anywhere.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Scene, archive, dump_of, files, says};
use crate::support::archives::zip;
use crate::support::program::{Ran, Setup};
use crate::support::smtp::{Options, Security, Smtp};
use crate::support::sshd::{Options as SshdOptions, Sshd};

/// Names, sizes and times of all files in a directory.
fn listing(directory: &Path) -> Vec<(String, u64, SystemTime)> {
    let mut all: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("its metadata");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, meta.len(), meta.modified().expect("a time"))
        })
        .collect();
    all.sort();
    all
}

/// Runs it, and compares the store, the installation and the databases before and after.
fn changes_nothing(scene: &Scene, setup: &Setup, arguments: &[&str]) -> Ran {
    let state = || files(setup, ".");
    let before = (listing(scene.store.path()), state());
    let ran = setup.run(arguments);
    assert_eq!((listing(scene.store.path()), state()), before, "{ran}");
    scene.is_untouched();
    ran
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    // given
    let scene = Scene::new();
    let sshd = Sshd::start();
    let smtp = Smtp::start(Options {
        security: Security::None,
        auth: None,
        ..Options::default()
    });
    let file = sshd.put("erp.zip", &archive());
    super::grow_old(&file, Duration::from_hours(6));
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .mail(&smtp, &["ops@example.org"])
        .restore("")
        .write();
    let _open = scene
        .server
        .session(&scene.live, "set application_name = 'the shop'");

    // when
    let ran = changes_nothing(&scene, &setup, &["run", "--dry-run"]).expect(0);

    // then: archive and age, dump and pg_dump, space, the live database, names, sessions
    let version = scene.server.value("postgres", "show server_version");
    let words = [
        "erp.zip",
        "6 h old",
        "erp.dump",
        "custom",
        "pg_dump",
        version.split(' ').next().unwrap_or(""),
        "free",
        &scene.live,
        "_new_",
        "_before_",
        "the shop",
        "pg_restore",
    ];
    says(&ran.stdout, &words);
    assert!(!setup.path("state").exists(), "{ran}");
    assert!(smtp.mails().is_empty());
}

#[test]
fn a_dry_run_that_could_not_start_has_the_exit_code_of_the_run() {
    // stale
    let scene = Scene::new();
    let setup = scene.with("");
    changes_nothing(&scene, &setup, &["run", "-n"]).expect(7);
    // damaged
    scene.put(
        "erp.zip",
        &zip().entry("erp.sql", dump_of("", &["-Fp"])).build(),
    );
    changes_nothing(&scene, &setup, &["run", "-n"]).expect(8);
    // refused
    scene.put("erp.zip", &archive());
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&scene.server.toml("erp", &scene.live))
        .secret("DB_PASSWORD", "wrong")
        .restore("")
        .write();
    changes_nothing(&scene, &setup, &["run", "-n"]).expect(6);
}

#[test]
fn a_dry_run_as_json_has_the_plan() {
    let scene = Scene::with_archive();
    let setup = scene.with("");

    let report = changes_nothing(&scene, &setup, &["run", "-n", "--json"])
        .expect(0)
        .json();

    assert_eq!(report["verdict"], "done");
    assert_eq!(report["archive"]["name"], "erp.zip");
    assert_eq!(report["dump"]["name"], "erp.dump");
    assert!(
        report["plan"].as_array().is_some_and(|plan| plan.len() > 4),
        "{report}"
    );
}

#[test]
fn single_steps_run_dry_as_well() {
    let scene = Scene::with_archive();
    let setup = scene.with("");

    let ran = changes_nothing(&scene, &setup, &["fetch", "-n"]).expect(0);
    says(&ran.stdout, &["erp.zip", "erp.dump", "free"]);
    changes_nothing(&scene, &setup, &["unzip", "-n"]).expect(7);
    changes_nothing(&scene, &setup, &["restore", "-n"]).expect(7);
    assert!(!setup.path("state").exists());

    setup.run(&["fetch"]).expect(0);
    let ran = changes_nothing(&scene, &setup, &["unzip", "-n"]).expect(0);
    says(&ran.stdout, &["erp.dump", "free"]);
    setup.run(&["unzip"]).expect(0);
    let ran = changes_nothing(&scene, &setup, &["restore", "-n"]).expect(0);
    says(&ran.stdout, &["_new_", &scene.live]);

    let file = scene.store.path().join("erp.zip");
    let file = file.to_str().expect("a path");
    let ran = changes_nothing(&scene, &setup, &["restore", "-n", "--file", file]).expect(0);
    says(&ran.stdout, &["_new_"]);
    let broken = scene.put("broken.bin", &archive()[..100]);
    let broken = broken.to_str().expect("a path");
    changes_nothing(&scene, &setup, &["restore", "-n", "--file", broken]).expect(8);
    changes_nothing(&scene, &setup, &["unzip", "-n", "--file", broken]).expect(8);
}

#[test]
fn a_dry_run_names_missing_roles() {
    let scene = Scene::new();
    let role = scene.server.role("lost", "");
    let database = super::filled(
        scene.server,
        &format!("create table t (v text); alter table t owner to {role}"),
    );
    let dump = scene.server.dump(&database, &["-Fc"]);
    scene.server.sql(
        "postgres",
        &format!("drop database {database}; drop role {role}"),
    );
    scene.put("erp.zip", &zip().entry("erp.dump", &dump).build());
    let setup = scene.with("");

    let ran = changes_nothing(&scene, &setup, &["run", "-n"]).expect(3);

    says(
        &ran.stderr,
        &[&format!("CREATE ROLE \"{role}\" NOLOGIN;"), "hint:"],
    );
}

/// What sftp-server was asked, by its own log, but for CLOSE, for whose answer nobody waits. `limits` and the OPEN of a listed
/// archive travel with the request beside them; here they count all the same.
fn requests(log: &Path) -> Vec<String> {
    let log = fs::read_to_string(log).expect("the server's log");
    let named = log.lines().filter_map(|line| {
        let (_, request) = line.split_once("request ")?;
        let (_, name) = request.split_once(": ")?;
        Some(name.split(' ').next().unwrap_or_default().to_owned())
    });
    named
        .filter(|name| name != "close" && name != "sent")
        .collect()
}

/// Where the run got its archive from: an sftp-server that writes down what it is asked.
fn asked_server(log: &Path) -> Sshd {
    let sshd = Sshd::with(&SshdOptions {
        sftp: Some(format!(
            "/usr/lib/openssh/sftp-server -e -l DEBUG3 2>>{}",
            log.display()
        )),
        ..SshdOptions::default()
    });
    // So long that its end and its beginning are two reads.
    let long = super::packed().entry("noise", super::noise(400 << 10));
    sshd.put("erp.zip", &long.build());
    sshd
}

#[test]
fn a_fetch_opens_its_archive_once_and_asks_in_the_end_what_its_name_stands_for() {
    let scene = Scene::new();
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = home.path().join("requests");
    let sshd = asked_server(&log);
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .restore("settle = \"0s\"")
        .write();

    setup.run(&["fetch"]).expect(0);

    let requests = requests(&log);
    let count = |wanted: &str| requests.iter().filter(|name| *name == wanted).count();
    assert_eq!((count("open"), count("fstat")), (1, 1), "{requests:?}");
    assert_eq!(count("lstat"), 2, "{requests:?}");
    let last = requests.iter().map(String::as_str).next_back();
    assert_eq!(last, Some("lstat"), "{requests:?}");
}

#[test]
fn a_dry_run_takes_at_most_fifteen_sftp_round_trips() {
    let scene = Scene::new();
    let home = tempfile::tempdir().expect("a temporary directory");
    let log = home.path().join("requests");
    let sshd = asked_server(&log);
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .restore("settle = \"100ms\"")
        .write();

    setup.run(&["run", "--dry-run"]).expect(0);

    let requests = requests(&log);
    // The greeting has no number.
    assert!(requests.len() < 15, "{requests:?}");
    for expected in [
        "limits", "opendir", "readdir", "lstat", "open", "fstat", "read",
    ] {
        assert!(requests.iter().any(|name| name == expected), "{requests:?}");
    }
    // By fstat before and after `settle`, each time opened by its name.
    let count = |wanted: &str| requests.iter().filter(|name| *name == wanted).count();
    assert_eq!((count("open"), count("fstat")), (2, 2), "{requests:?}");
}
