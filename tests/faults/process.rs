//! What the process itself keeps: no core dump, a closed memory, and little of it however large the archive.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::world::{Slow, World, archive, server};
use crate::support::archives;
use crate::support::program::{Running, Setup};

const MIB: u64 = 1 << 20;
/// The most that a run may hold in memory, whatever the archive's size.
const MOST: u64 = 64 * MIB;

#[test]
fn a_run_leaves_no_core_dump_and_nobody_reads_its_memory() {
    // given
    let world = World::new("settle = \"1m\"");
    world.offer(&archive(server(), "new", Slow::default()));
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step("fetch", &mut running);
    let process = format!("/proc/{}", running.pid());

    // then: no core file however it crashes
    let limits = fs::read_to_string(format!("{process}/limits")).expect("its limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let soft = core.and_then(|line| line.split_whitespace().nth(4));
    assert_eq!(soft, Some("0"), "{limits}");
    // What isn't dumpable belongs to root in /proc, and others of the same user can't attach to it.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("{process}/mem")).expect("mem"));
    assert_eq!(owner, 0);
    if !rustix::process::geteuid().is_root() {
        let environment = fs::read(format!("{process}/environ"));
        assert!(environment.is_err(), "{environment:?}");
    }
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

#[test]
fn an_ordinary_user_whose_memory_is_closed_still_hands_pg_restore_its_password() {
    if !rustix::process::geteuid().is_root() {
        // Every other test does that.
        return;
    }
    // given: an installation of `nobody`
    let world = World::new("");
    let new = archive(server(), "new", Slow::default());
    world.offer(&new);
    let home = world.setup.path("");
    for directory in [&home, &world.store] {
        let mut chown = std::process::Command::new("chown");
        let status = chown.args(["-R", "nobody"]).arg(directory).status();
        assert!(status.expect("chown").success());
    }

    // when
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", "--"])
        .arg(crate::support::program::binary())
        .args(["-c", "config.toml", "run"])
        .current_dir(&home)
        .env_clear()
        .output()
        .expect("setpriv");

    // then
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.live_hash(), new.hash);
}

/// The most memory that `arguments` has held, in bytes.
fn peak(setup: &Setup, arguments: &[&str]) -> u64 {
    let mut running = setup.start(arguments);
    let mut peak = 0;
    while running.is_alive() {
        peak = peak.max(held(&running));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    running.finish().expect(0);
    peak
}

fn held(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn fetched_and_unzipped(zeros: u64) -> [u64; 2] {
    let store = tempfile::tempdir().expect("a store");
    let small = server().database("small");
    server().sql(&small, "create table item (n int)");
    let file = fs::File::create(store.path().join("erp.zip")).expect("an archive");
    archives::zip()
        .entry("erp.dump", server().dump(&small, &["-Fc"]))
        .stored()
        .and_zeros(zeros)
        .write_to(&mut &file);
    let setup = installation(store.path());
    [peak(&setup, &["fetch"]), peak(&setup, &["unzip"])]
}

fn installation(store: &Path) -> Setup {
    Setup::new()
        .local(store)
        .database(server(), "erp")
        .restore("")
        .write()
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the figures are wanted, not only the verdict"
)]
fn the_memory_of_a_run_does_not_grow_with_the_archive() {
    // `CHAOS_MEMORY_MIB=1024` measures with a larger one as well.
    let wanted = std::env::var("CHAOS_MEMORY_MIB").map_or(128, |n| n.parse().expect("a number"));
    for mib in [4, wanted] {
        let [fetch, unzip] = fetched_and_unzipped(mib * MIB);
        println!(
            "{mib} MiB: fetch {} MiB, unzip {} MiB",
            fetch / MIB,
            unzip / MIB
        );
        assert!(fetch > 0 && unzip > 0);
        assert!(fetch < MOST && unzip < MOST, "{mib} MiB: {fetch}, {unzip}");
    }
}

#[test]
fn the_memory_of_a_refresh_does_not_grow_with_the_archive_however_it_comes() {
    for job in ["", "keep_archives = 0", "stream = true"] {
        let world = World::new(job);
        let dump = server().dump(&world.live, &["-Fc"]);
        let zip = archives::zip().entry("erp.dump", dump).stored();
        let file = fs::File::create(world.store.join("erp.zip")).expect("an archive");
        zip.and_zeros(128 * MIB).write_to(&mut &file);

        let held = peak(&world.setup, &["run"]);

        assert!(held > 0 && held < MOST, "{job}: {} MiB", held / MIB);
    }
}
