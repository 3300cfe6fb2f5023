//! `method = "in-place"`: what is said about the live database is true, although there is no way back.

use rustix::process::Signal;

use super::{Scene, judged, says, text, until, warnings};
use crate::support::program::{Running, Setup};

/// A run that waits for a lock in the middle of its one transaction over the live database, and who holds that lock.
fn blocked(scene: &Scene, setup: &Setup) -> (Running, impl Drop) {
    let holder = scene
        .server
        .session(&scene.live, "begin; lock table t; select pg_sleep(60)");
    let running = setup.start(&["run", "--json"]);
    let waiting = format!(
        "select count(*) from pg_stat_activity where datname = '{}'
         and application_name like 'backupctl/%' and wait_event_type = 'Lock'",
        scene.live
    );
    until("the load waits for the lock", || {
        scene.server.value("postgres", &waiting) == "1"
    });
    (running, holder)
}

fn release(scene: &Scene) {
    let others = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'
         and application_name not like 'backupctl%'",
        scene.live
    );
    scene.server.sql("postgres", &others);
}

#[test]
fn a_check_that_fails_after_the_load_is_unclear_and_says_that_the_data_is_live() {
    let scene = Scene::with_archive();
    let setup = scene.with(
        "method = \"in-place\"\n\n[[restores.erp.checks]]\nsql = \"select 0\"\nat_least = 1\n",
    );

    let report = judged(&setup, &setup.run(&["run", "--json"]), "unclear");

    says(text(&report["hint"]), &["live already"]);
    assert!(!text(&report["hint"]).contains("left as it was"));
}

#[test]
fn a_killed_load_is_named_by_the_next_run_which_ends_done() {
    let scene = Scene::with_archive();
    let setup = scene.with("method = \"in-place\"");
    let (running, holder) = blocked(&scene, &setup);

    running.signal(Signal::KILL);
    running.finish();
    drop(holder);
    release(&scene);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");
    assert!(
        warnings(&report)
            .iter()
            .any(|w| w.contains("in the middle")),
        "{report}"
    );
    scene.is_new();
}

#[test]
fn a_load_that_a_signal_ends_leaves_the_old_data() {
    let scene = Scene::with_archive();
    let setup = scene.with("method = \"in-place\"");
    let (running, _holder) = blocked(&scene, &setup);

    running.signal(Signal::TERM);
    let ran = running.finish();

    assert_eq!(ran.json()["exit_code"], 143, "{ran}");
    release(&scene);
    scene.is_untouched();
}
