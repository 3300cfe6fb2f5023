//! Started by cron or by something that goes away: closed standard streams, and no environment at all.

use std::process::{Command, Stdio};

use super::Scene;
use crate::support::program::{Setup, binary};

/// Through a shell that redirects; its exit code and what was said.
fn redirected(setup: &Setup, how: &str) -> (Option<i32>, String) {
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("exec \"$0\" -c \"$1\" run {how}")])
        .arg(binary())
        .arg(setup.path("config.toml"))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_run_goes_on_whatever_streams_are_closed_or_full() {
    for how in [
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        ">/dev/full 2>/dev/full",
        "-vv >&- 2>&-",
    ] {
        let scene = Scene::with_archive();
        let setup = scene.with("");

        let (code, said) = redirected(&setup, how);

        assert_eq!(code, Some(0), "{how}: {said}");
        scene.is_new();
        assert_eq!(setup.reports()[0]["verdict"], "done", "{how}");
    }
}

#[test]
fn a_run_goes_on_when_the_reader_of_its_output_has_gone() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let mut child = Command::new(binary())
        .arg("-c")
        .arg(setup.path("config.toml"))
        .args(["-vv", "run"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    drop((child.stdout.take(), child.stderr.take()));

    let status = child.wait().expect("its end");

    assert_eq!(status.code(), Some(0));
    scene.is_new();
}

#[test]
fn a_hostile_environment_changes_nothing() {
    let scene = Scene::with_archive();
    let mut setup = scene.with("");
    for (name, value) in [
        ("PGHOST", "nowhere.invalid"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "postgres"),
        ("PGOPTIONS", "-c default_transaction_read_only=on"),
        ("PGSERVICE", "other"),
        ("PGSSLMODE", "verify-full"),
        ("LANG", "de_DE.UTF-8"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("TZ", "Pacific/Kiritimati"),
        ("RUST_LOG", "trace"),
        ("http_proxy", "http://127.0.0.1:1"),
    ] {
        setup.program = setup.program.env(name, value);
    }

    setup.run(&["run"]).expect(0);

    scene.is_new();
}
