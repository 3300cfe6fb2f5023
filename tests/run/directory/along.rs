//! Many files that are unpacked while their archive comes, and what happens to those that are there when it stops.

use std::path::PathBuf;

use rustix::process::Signal;

use super::{Scene, archive, files, is_all_new, judged, nothing_is_left, until, warnings};
use crate::support::program::Setup;
use crate::support::sshd::{Fault, Sshd};

fn over(sshd: &Sshd, scene: &Scene, lines: &str) -> Setup {
    Setup::new()
        .sftp(sshd)
        .database(scene.server, &scene.live)
        .part("[network]\nattempts = 2\nwait = \"100ms\"\ntimeout = \"1s\"\n")
        .restore(lines)
        .write()
}

#[test]
fn a_cut_link_is_resumed_in_the_middle_of_many_files() {
    for keep in ["keep_archives = 0", "keep_archives = 1"] {
        let scene = Scene::new();
        let sshd = Sshd::start();
        sshd.put("erp.zip", &archive());
        for bytes in [u64::MAX, 900_000, 700_000] {
            sshd.next_connection(Fault::CutAfter(bytes));
        }
        let setup = over(&sshd, &scene, keep);

        let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

        assert!(
            warnings(&report)
                .iter()
                .any(|text| text.contains("resumed")),
            "{report:#}"
        );
        is_all_new(&scene);
        nothing_is_left(&setup);
    }
}

/// Files below the directory that a dump is unpacked into.
fn unpacked(setup: &Setup) -> Vec<PathBuf> {
    files(setup, "state/dumps")
}

#[test]
fn a_run_that_dies_among_the_files_is_cleaned_up_after_by_the_next() {
    for signal in [Signal::KILL, Signal::TERM] {
        // given
        let scene = Scene::new();
        let sshd = Sshd::start();
        sshd.put("erp.zip", &archive());
        sshd.next_connection(Fault::CutAfter(u64::MAX));
        sshd.next_connection(Fault::StallAfter(1_000_000));
        let setup = over(&sshd, &scene, "");
        let running = setup.start(&["run", "--json"]);
        until("some files were unpacked", || unpacked(&setup).len() > 2);

        // when
        running.signal(signal);
        let ran = running.finish();

        // then
        if signal == Signal::KILL {
            assert_eq!(ran.code, None, "{ran}");
            assert!(unpacked(&setup).len() > 2);
        } else {
            assert_eq!(ran.code, Some(143), "{ran}");
            nothing_is_left(&setup);
        }
        scene.is_untouched();
        judged(&setup, &setup.run(&["run", "--json"]), "done");
        is_all_new(&scene);
        nothing_is_left(&setup);
    }
}
