//! Several jobs in one go, and names of jobs.

use super::{Scene, judged, says, text};
use crate::support::program::Setup;

/// `erp` finds nothing in its store, `crm` finds a good archive.
fn two_jobs(erp: &Scene, crm: &Scene) -> Setup {
    erp.setup()
        .part(&format!("[stores.other.local]\npath = \"{}\"\n", crm.store.path().display()))
        .part(&crm.server.toml("crm", &crm.live))
        .restore("")
        .part("[restores.crm]\nfrom = \"other\"\npattern = \"*.zip\"\nsettle = \"0s\"\ninto = \"crm\"\njobs = 1\n")
        .write()
}

#[test]
fn one_jobs_failure_does_not_stop_the_next_and_the_worst_verdict_is_the_exit_code() {
    let (erp, crm) = (Scene::new(), Scene::with_archive());
    let setup = two_jobs(&erp, &crm);

    let ran = setup.run(&["run", "--json"]).expect(7);

    let documents = ran.documents();
    let told: Vec<_> = documents
        .iter()
        .map(|report| (text(&report["job"]), text(&report["verdict"])))
        .collect();
    assert_eq!(told, [("erp", "stale"), ("crm", "done")]);
    assert_ne!(documents[0]["run"], documents[1]["run"]);
    erp.is_untouched();
    crm.is_new();
}

#[test]
fn jobs_are_done_in_the_order_named() {
    let (erp, crm) = (Scene::with_archive(), Scene::with_archive());
    let setup = two_jobs(&erp, &crm);

    let ran = setup.run(&["--json", "run", "crm", "erp"]).expect(0);
    let jobs: Vec<String> = ran
        .documents()
        .iter()
        .map(|r| text(&r["job"]).to_owned())
        .collect();
    assert_eq!(jobs, ["crm", "erp"]);

    let ran = setup.run(&["run", "--json", "crm"]);
    judged(&setup, &ran, "done");
}

#[test]
fn an_unknown_job_is_usage_before_any_job_begins() {
    let (erp, crm) = (Scene::with_archive(), Scene::with_archive());
    let setup = two_jobs(&erp, &crm);

    let ran = setup.run(&["run", "--json", "crm", "epr"]).expect(2);

    assert_eq!(ran.json()["verdict"], "usage");
    says(&ran.stderr, &["`epr`", "did you mean `erp`?"]);
    let ran = setup.run(&["run", "warehouse"]).expect(2);
    says(&ran.stderr, &["`warehouse`", "erp, crm"]);
    assert_eq!(setup.reports(), Vec::<serde_json::Value>::new());
    crm.is_untouched();
}

#[test]
fn a_command_for_one_job_asks_which_where_there_are_several() {
    let (erp, crm) = (Scene::with_archive(), Scene::with_archive());
    let setup = two_jobs(&erp, &crm);
    for command in ["list", "fetch", "unzip", "restore"] {
        let ran = setup.run(&[command]).expect(2);
        says(&ran.stderr, &["erp, crm"]);
    }
    setup.run(&["fetch", "crm"]).expect(0);
}

#[test]
fn a_wrong_command_line_is_usage() {
    let scene = Scene::new();
    let setup = scene.with("");
    for wrong in [
        &["run", "--bogus"][..],
        &["rum"],
        &[],
        &["run", "--accept", "damaged"],
    ] {
        let ran = setup.run(wrong).expect(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran}");
    }
    let ran = setup.run(&["run", "--json", "--bogus"]).expect(2);
    assert_eq!(ran.json()["verdict"], "usage", "{ran}");
    says(&ran.stderr, &["--bogus"]);
    scene.is_untouched();
}
