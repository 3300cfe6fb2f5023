//! The machine's clock is set while a run works.

use std::fs;
use std::path::PathBuf;

use super::Scene;

/// Debian's libfaketime, by which a program sees another time than the machine's.
fn another_clock() -> PathBuf {
    let places = fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime is installed")
}

#[test]
fn a_clock_that_is_set_while_a_run_works_changes_no_duration_and_no_verdict() {
    for jump in ["-5h", "+3d"] {
        // given: a clock that jumps right before the swap
        let scene = Scene::with_archive();
        let folder = tempfile::tempdir().expect("a directory");
        let (clock, to) = (folder.path().join("clock"), folder.path().join("to"));
        fs::write(&clock, "+0\n").expect("a clock");
        fs::write(&to, format!("{jump}\n")).expect("a jump");
        let mut setup = scene.with(&format!("before_swap = [[\"cp\", {to:?}, {clock:?}]]"));
        for (name, value) in [
            ("LD_PRELOAD", another_clock().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ] {
            setup.program = setup.program.env(name, &value);
        }

        // when
        let report = setup.run(&["run", "--json"]).expect(0).json();

        // then
        scene.is_new();
        let seconds = |value: &serde_json::Value| value["seconds"].as_f64().expect("seconds");
        let steps = report["steps"].as_array().expect("steps");
        let sum: f64 = steps.iter().map(seconds).sum();
        assert!((0.0..60.0).contains(&sum), "{jump}: {report:#}");
        assert!(
            (sum..60.0).contains(&seconds(&report)),
            "{jump}: {report:#}"
        );
        let time = |key: &str| -> jiff::Timestamp {
            let time = report[key].as_str().expect("a time");
            time.parse().expect("RFC 3339")
        };
        let jumped = time("ended").duration_since(time("started")).as_secs_f64();
        assert!(jumped.abs() > 3600.0, "the clock did not jump: {jumped}");
        // and the next run sees nothing odd in what this one has left
        fs::write(&clock, "+0\n").expect("a clock");
        setup.run(&["run"]).expect(0);
    }
}
