//! The log, and how much is said on stderr.

use std::fs;

use super::{Scene, says};

#[test]
fn the_configured_log_leads_to_todays_lines_of_every_run() {
    let scene = Scene::with_archive();
    let setup = scene.setup();
    fs::create_dir(setup.path("log")).expect("a directory");
    let setup = setup
        .part("[log]\nfile = \"log/backupctl.log\"\nformat = \"json\"\n")
        .restore("")
        .write();

    setup.run(&["run"]).expect(0);

    let log = fs::read_to_string(setup.path("log/backupctl.log")).expect("today's log");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON lines");
    }
    let run = setup.reports()[0]["run"]
        .as_str()
        .expect("an id")
        .to_owned();
    says(
        &log,
        &[&run, "fetch: started", "swap: ended", "ended: done"],
    );
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning_and_the_run_goes_on() {
    let scene = Scene::with_archive();
    let setup = scene
        .setup()
        .part("[log]\nfile = \"nowhere/backupctl.log\"\n")
        .restore("")
        .write();

    let ran = setup.run(&["run"]).expect(0);

    says(&ran.stderr, &["warning:", "nowhere"]);
    assert!(!setup.path("nowhere").exists());
    scene.is_new();
}

#[test]
fn quiet_says_nothing_but_errors_and_verbose_says_the_steps() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    assert_eq!(setup.run(&["-q", "run"]).expect(0).stderr, "");
    says(
        &setup.run(&["run", "-v"]).expect(0).stderr,
        &["restore: started", "swap: ended"],
    );

    fs::remove_file(scene.store.path().join("erp.zip")).expect("no archive");
    let ran = setup.run(&["run", "-q"]).expect(7);
    says(&ran.stderr, &["error: fetch:", "hint: "]);
    let ran = setup.run(&["run", "--color", "always"]).expect(7);
    says(&ran.stderr, &["\u{1b}[1;31merror:\u{1b}[0m"]);
}

#[test]
fn the_configuration_is_found_by_the_environment_as_well() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let config = setup.path("config.toml");
    let program = setup
        .program
        .clone()
        .env("BACKUPCTL_CONFIG", config.to_str().expect("a path"));

    program.run(&["run"]).expect(0);
    scene.is_new();

    let ran = program.run(&["-c", "missing.toml", "run"]).expect(3);
    says(&ran.stderr, &["missing.toml", "hint:"]);
}
