//! A download goes on from what was proven, also in another run: after a lost link, a signal, a kill; and never where the archive,
//! the disk or the job's settings say otherwise.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::link::{long, long_inside, strike};
use super::world::{World, step_verdict, texts, wait};
use crate::support::program::{Ran, Running};
use crate::support::scripted_sftp::{Reads, Script, ScriptedSftp};
use crate::support::sshd::{Fault, Sshd};

/// Where the link stalls in an archive of three MiB or more.
const STALLS_AT: u64 = 1_500_000;
/// The least that `STALLS_AT` leaves of an archive, with what SSH and the look inside take.
const AT_LEAST: u64 = 1_000_000;

struct Scene {
    sshd: Sshd,
    world: World,
}

impl Scene {
    fn new(job: &str) -> Self {
        let sshd = Sshd::start();
        let world = World::with(job, |setup, _| setup.sftp(&sshd));
        Self { sshd, world }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let directory = self.world.setup.path("state/archives/erp");
        directory.join("arriving").with_extension(extension)
    }

    fn part_bytes(&self) -> u64 {
        fs::metadata(self.beside("part")).map_or(0, |found| found.len())
    }

    /// A run whose link stalls, once some of the archive is on this disk.
    fn stalled(&self, zip: &[u8], at: u64, command: &str) -> Running {
        self.sshd.put("erp.zip", zip);
        strike(&self.sshd, Fault::StallAfter(at));
        let mut running = self.world.setup.start(&[command, "--json"]);
        wait("the download", || {
            assert!(running.is_alive());
            (self.part_bytes() > AT_LEAST).then_some(())
        });
        running
    }

    /// A run whose server goes away in the middle.
    fn cut_short(&self, zip: &[u8], command: &str) -> Ran {
        let running = self.stalled(zip, STALLS_AT, command);
        self.sshd.kill();
        let ran = running.finish().expect(5);
        self.sshd.restart();
        assert!(self.part_bytes() > AT_LEAST, "{ran}");
        assert!(self.beside("proven").is_file(), "{ran}");
        ran
    }

    fn goes_on(&self) -> Value {
        let ran = self.world.setup.run(&["run", "--json"]).expect(0);
        self.world.ended(&ran);
        ran.json()
    }
}

/// The place where a download of an earlier run was resumed, as the report tells it.
fn resumed_at(report: &Value, zip: &[u8]) -> Option<u64> {
    let of = format!(" of {} bytes", zip.len());
    let warnings = texts(&report["warnings"]);
    let told = "the download of an earlier run was resumed at ";
    let place = warnings.iter().find_map(|line| line.strip_prefix(told));
    Some(place?.strip_suffix(&of)?.parse().expect("a number"))
}

/// How much the fetch step moved.
fn moved(report: &Value) -> u64 {
    let steps = report["steps"].as_array().expect("steps");
    let fetch = steps.iter().find(|step| step["step"] == "fetch");
    fetch.expect("a fetch")["bytes"].as_u64().expect("bytes")
}

fn went_on(report: &Value, zip: &[u8]) {
    let at = resumed_at(report, zip).unwrap_or_else(|| panic!("not resumed: {report:#}"));
    assert!(at > AT_LEAST, "{report:#}");
    assert_eq!(moved(report), zip.len() as u64 - at, "{report:#}");
}

#[test]
fn the_next_run_goes_on_where_the_link_was_lost_and_unpacks_from_the_start() {
    for archive in [long("new"), long_inside("new", 3 << 20)] {
        let scene = Scene::new("");
        let ran = scene.cut_short(&archive.zip, "run");
        assert_eq!(step_verdict(&ran.json(), "fetch"), Some("network"));
        scene.world.is_unchanged();
        scene.world.ended(&ran);

        let report = scene.goes_on();

        went_on(&report, &archive.zip);
        assert_eq!(scene.world.live_hash(), archive.hash);
    }
}

#[test]
fn fetch_goes_on_too_and_its_archive_is_the_stores() {
    let scene = Scene::new("");
    let new = long("new");
    scene.cut_short(&new.zip, "fetch");

    let ran = scene.world.setup.run(&["fetch", "--json"]).expect(0);

    let report = ran.json();
    went_on(&report, &new.zip);
    let path = report["path"].as_str().expect("a path");
    assert!(fs::read(path).expect("the archive") == new.zip);
    scene.world.ended(&ran);
}

#[test]
fn a_download_ended_by_a_signal_is_gone_on_with() {
    let scene = Scene::new("");
    let new = long("new");
    let running = scene.stalled(&new.zip, STALLS_AT, "run");
    running.signal(Signal::TERM);
    let ran = running.finish().expect(143);
    scene.world.ended(&ran);
    assert!(scene.beside("proven").is_file(), "{ran}");

    went_on(&scene.goes_on(), &new.zip);
    assert_eq!(scene.world.live_hash(), new.hash);
}

#[test]
fn a_long_download_that_was_killed_is_gone_on_with_from_what_was_noted() {
    let scene = Scene::new("");
    let new = long_inside("new", 40 << 20);
    assert!(new.zip.len() > 36 << 20, "noise is not packed");
    let mut running = scene.stalled(&new.zip, 35 << 20, "run");
    wait("a note", || {
        assert!(running.is_alive());
        scene.beside("proven").is_file().then_some(())
    });
    running.signal(Signal::KILL);
    running.finish();

    let report = scene.goes_on();

    assert!(
        resumed_at(&report, &new.zip) >= Some(32 << 20),
        "{report:#}"
    );
    assert_eq!(scene.world.live_hash(), new.hash);
}

#[test]
fn a_download_that_was_killed_before_anything_was_noted_is_not_kept() {
    let scene = Scene::new("");
    let new = long("new");
    let running = scene.stalled(&new.zip, STALLS_AT, "run");
    running.signal(Signal::KILL);
    running.finish();

    let report = scene.goes_on();

    assert_eq!(resumed_at(&report, &new.zip), None, "{report:#}");
    assert_eq!(moved(&report), new.zip.len() as u64);
    assert_eq!(scene.world.live_hash(), new.hash);
}

#[test]
fn what_came_of_an_archive_that_is_no_longer_the_newest_goes() {
    let scene = Scene::new("");
    scene.cut_short(&long("old").zip, "run");
    let newer = long("newer");
    scene.sshd.put("erp.zip", &newer.zip);

    let report = scene.goes_on();

    assert_eq!(resumed_at(&report, &newer.zip), None, "{report:#}");
    assert_eq!(scene.world.live_hash(), newer.hash);
}

/// Bytes that differ in the noise behind the dump, under the same size and time.
fn replace_in_place(scene: &Scene, zip: &[u8], at: usize, bytes: usize) {
    let path = scene.sshd.dir.join("erp.zip");
    let modified: SystemTime = fs::metadata(&path).expect("it").modified().expect("a time");
    let mut other = zip.to_vec();
    other[at..at + bytes].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&path, other).expect("other bytes");
    let file = fs::File::options().write(true).open(&path).expect("it");
    file.set_modified(modified).expect("its time");
}

#[test]
fn an_archive_with_the_same_size_and_time_but_other_bytes_is_fetched_anew() {
    let scene = Scene::new("");
    let new = long("new");
    scene.cut_short(&new.zip, "fetch");
    let at = usize::try_from(scene.part_bytes()).expect("a small number");
    replace_in_place(&scene, &new.zip, at - 10, 1);

    let ran = scene.world.setup.run(&["fetch", "--json"]).expect(0);

    let report = ran.json();
    let warnings = texts(&report["warnings"]);
    let is_told = warnings.iter().any(|w| w.contains("it is fetched anew"));
    assert!(is_told, "{report:#}");
    let path = report["path"].as_str().expect("a path");
    let kept = fs::read(path).expect("the archive");
    assert!(kept == fs::read(scene.sshd.dir.join("erp.zip")).expect("it"));
    scene.world.ended(&ran);
}

#[test]
fn an_archive_that_is_replaced_between_two_attempts_is_stale_even_with_its_size_and_time() {
    for job in ["", "keep_archives = 0", "stream = true"] {
        let scene = Scene::new(job);
        let new = long_inside("new", 4 << 20);
        scene.sshd.put("erp.zip", &new.zip);
        strike(&scene.sshd, Fault::StallAfter(STALLS_AT));

        // when: what comes behind it is the same
        let mut running = scene.world.setup.start(&["run", "--json"]);
        wait("the stall", || {
            assert!(running.is_alive());
            scene.sshd.is_stalled().then_some(())
        });
        replace_in_place(
            &scene,
            &new.zip,
            100_000,
            usize::try_from(STALLS_AT).expect("small"),
        );
        scene.sshd.cut();
        let ran = running.finish().expect(7);

        // then
        let report = ran.json();
        let message = report["message"].as_str().expect("a message");
        assert!(
            message.contains("the store has other bytes"),
            "{job}: {ran}"
        );
        scene.world.ended(&ran);
        scene.world.is_unchanged();
    }
}

#[test]
fn a_server_that_dribbles_in_the_middle_of_a_download_uses_up_its_attempts() {
    // given: the look inside, at both ends of the file, is as quick as ever
    let new = long("new");
    let script = |reads| Script {
        content: new.zip.clone(),
        entries: vec![("erp.zip".to_owned(), 0o100_644)],
        reads,
        ..Script::default()
    };
    let end = new.zip.len() as u64 - 70_000;
    let server = ScriptedSftp::start(script(Reads::DribbleIn(1_500_000, end)));
    let world = World::with("max_age = \"none\"", |setup, _| {
        setup
            .part(&server.toml())
            .secret("SFTP_PASSWORD", "correct horse")
    });
    let path = world.setup.path("config.toml");
    let text = fs::read_to_string(&path).expect("config.toml");
    let text = text.replace("timeout = \"2s\"", "timeout = \"300ms\"");
    fs::write(path, text).expect("config.toml");

    // when
    let ran = world.setup.run(&["fetch", "--json"]).expect(5);

    // then
    let report = ran.json();
    let message = report["message"].as_str().expect("a message");
    assert!(message.contains("gave up after 2 attempts"), "{ran}");
    assert!(message.contains("only "), "{ran}");
    world.ended(&ran);
}

#[test]
fn nothing_is_left_for_a_run_that_keeps_no_archive() {
    let scene = Scene::new("");
    let new = long("new");
    scene.cut_short(&new.zip, "run");
    let text = fs::read_to_string(scene.world.setup.path("config.toml")).expect("it");
    let job = "[restores.erp]\n";
    let text = text.replacen(job, &format!("{job}keep_archives = 0\n"), 1);
    fs::write(scene.world.setup.path("config.toml"), text).expect("written");

    let report = scene.goes_on();

    assert_eq!(resumed_at(&report, &new.zip), None, "{report:#}");
    assert_eq!(scene.world.live_hash(), new.hash);
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("a string takes it");
    }
    hex
}

/// Leaves only the first `bytes` of what has come, with the note that belongs to them.
fn proven_only(scene: &Scene, zip: &[u8], bytes: usize) {
    let note = scene.beside("proven");
    let text = fs::read(&note).expect("a note");
    let mut noted: Value = serde_json::from_slice(&text).expect("JSON");
    noted["proven"] = bytes.into();
    noted["sha256"] = sha256(&zip[..bytes]).into();
    fs::write(&note, noted.to_string()).expect("another note");
    fs::write(scene.beside("part"), &zip[..bytes]).expect("a shorter part");
}

#[test]
fn a_prefix_that_is_shorter_than_a_block_is_gone_on_with_as_well() {
    for bytes in [1, 100_000] {
        let scene = Scene::new("");
        let new = long_inside("new", 4 << 20);
        scene.cut_short(&new.zip, "run");
        proven_only(&scene, &new.zip, bytes);

        let report = scene.goes_on();

        assert_eq!(resumed_at(&report, &new.zip), Some(bytes as u64));
        assert_eq!(scene.world.live_hash(), new.hash);
    }
}

#[test]
fn what_an_earlier_run_has_left_and_nobody_can_read_is_fetched_anew() {
    let scene = Scene::new("");
    let new = long("new");
    scene.cut_short(&new.zip, "run");
    let directory = tempfile::tempdir().expect("a directory");
    let elsewhere = directory.path().join("elsewhere");
    fs::copy(scene.beside("part"), &elsewhere).expect("a copy");
    fs::remove_file(scene.beside("part")).expect("moved");
    symlink(&elsewhere, scene.beside("part")).expect("a link that is not followed");
    let before = fs::read(&elsewhere).expect("what came");

    let report = scene.goes_on();

    assert_eq!(resumed_at(&report, &new.zip), None, "{report:#}");
    assert_eq!(scene.world.live_hash(), new.hash);
    assert!(fs::read(&elsewhere).expect("what came") == before);
}
