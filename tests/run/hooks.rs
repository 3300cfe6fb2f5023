//! The commands around the swap.

use std::fs;

use rustix::process::Signal;

use super::{Scene, judged, says, text, until, warnings};

/// A hook that writes its environment, and which row is live, into a file.
fn noting(scene: &Scene, file: &str) -> String {
    let server = scene.server;
    let psql = server.bin_dir.join("psql");
    let script = format!(
        "env > {file}; PGPASSWORD={} {} -XAtq -h 127.0.0.1 -p {} -U postgres -d \\\"$BACKUPCTL_DATABASE\\\" -c 'select v from t' >> {file}",
        server.password,
        psql.display(),
        server.port
    );
    format!("[\"/bin/sh\", \"-c\", \"{script}\"]")
}

#[test]
fn hooks_run_around_the_swap_and_know_what_is_swapped() {
    // given
    let scene = Scene::with_archive();
    let (before, after) = (
        scene.store.path().join("before"),
        scene.store.path().join("after"),
    );
    let setup = scene.with(&format!(
        "before_swap = [{}]\nafter_swap = [[\"true\"], {}]",
        noting(&scene, &before.display().to_string()),
        noting(&scene, &after.display().to_string())
    ));

    // when
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    // then
    let (before, after) = (read(&before), read(&after));
    assert!(before.ends_with("old\n"), "{before}");
    assert!(after.ends_with("new\n"), "{after}");
    for seen in [before, after] {
        says(
            &seen,
            &[
                &format!("BACKUPCTL_RUN={}\n", text(&report["run"])),
                "BACKUPCTL_JOB=erp\n",
                &format!("BACKUPCTL_DATABASE={}\n", scene.live),
                &format!("BACKUPCTL_SCRATCH={}_new_", scene.live),
            ],
        );
        assert!(!seen.contains("HOME="), "a cleared environment: {seen}");
    }
}

fn read(path: &std::path::Path) -> String {
    fs::read_to_string(path).expect("a hook ran")
}

#[test]
fn a_failing_before_swap_prevents_the_swap_and_what_was_stopped_is_started_again() {
    let scene = Scene::with_archive();
    let after = scene.store.path().join("after");
    let setup = scene.with(&format!(
        "before_swap = [[\"true\"], [\"/bin/sh\", \"-c\", \"echo unit not found >&2; exit 5\"]]\nafter_swap = [[\"touch\", \"{}\"]]",
        after.display()
    ));

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(
        text(&report["message"]),
        &["before_swap", "5", "unit not found"],
    );
    assert!(after.exists(), "after_swap ran");
    scene.is_untouched();
}

#[test]
fn a_failing_after_swap_is_attention_and_the_others_still_run() {
    let scene = Scene::with_archive();
    let after = scene.store.path().join("after");
    let setup = scene.with(&format!(
        "after_swap = [[\"false\"], [\"touch\", \"{}\"]]",
        after.display()
    ));

    let report = judged(&setup, &setup.run(&["run", "--json"]), "attention");

    says(text(&report["message"]), &["after_swap", "false"]);
    assert!(after.exists(), "the second one ran");
    scene.is_new();
    assert_eq!(scene.beside(), [text(&report["database"]["previous"])]);
}

#[test]
fn a_hook_that_hangs_is_ended_by_its_deadline() {
    let scene = Scene::with_archive();
    let setup = scene.with("hook_timeout = \"300ms\"\nbefore_swap = [[\"sleep\", \"60\"]]");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(text(&report["message"]), &["before_swap", "sleep"]);
    scene.is_untouched();
}

#[test]
fn a_hook_whose_program_is_missing_is_config_before_the_download() {
    let scene = Scene::with_archive();
    let setup = scene.with("after_swap = [[\"no-such-program-here\"]]");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(
        text(&report["message"]),
        &["after_swap", "no-such-program-here"],
    );
    assert_eq!(
        super::files(&setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    scene.is_untouched();
}

#[test]
fn an_after_swap_that_fails_is_told_even_where_nothing_was_swapped() {
    let scene = Scene::with_archive();
    let setup = scene.with(
        "before_swap = [[\"false\"]]\nafter_swap = [[\"/bin/sh\", \"-c\", \"echo still down; exit 3\"]]",
    );

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    let told = |warning: &&str| warning.contains("after_swap") && warning.contains("still down");
    assert!(warnings(&report).iter().any(told), "{report}");
    scene.is_untouched();
}

#[test]
fn what_a_killed_run_has_stopped_is_started_again_by_the_next_one_even_where_that_ends_stale() {
    let scene = Scene::with_archive();
    let marks = scene.with("");
    let (stopped, started) = (marks.path("stopped"), marks.path("started"));
    let setup = scene.with(&format!(
        "before_swap = [[\"/bin/sh\", \"-c\", \"touch {}; sleep 60\"]]\nafter_swap = [[\"touch\", \"{}\"]]",
        stopped.display(),
        started.display()
    ));

    let running = setup.start(&["run", "--json"]);
    until("the application is stopped", || stopped.exists());
    running.signal(Signal::KILL);
    running.finish();
    assert!(!started.exists(), "nobody is left to start it");
    fs::remove_file(scene.store.path().join("erp.zip")).expect("no archive any more");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "stale");
    assert!(started.exists());
    let told = |warning: &&str| warning.contains("died before `after_swap`, which ran now");
    assert!(warnings(&report).iter().any(told), "{report}");
    scene.is_untouched();
}
