//! The disk under state_dir is full, at every place where a run writes; and the database server's.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::link::{long_inside, strike};
use super::world::{Archive, Slow, World, archive, files, server, step_verdict};
use crate::support::archives;
use crate::support::program::Running;
use crate::support::smtp::{self, Smtp};
use crate::support::sshd::{Fault, Sshd};

/// A small file system of its own. Only root can mount one: as somebody else these tests say that they are skipped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mounted(at: &Path, bytes: u64) -> Option<Self> {
        Self::with(at, &format!("size={bytes}"))
    }

    /// `limits` as mount takes them for a tmpfs: `size=1000000,nr_inodes=100`.
    pub fn with(at: &Path, limits: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a mount point");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("{limits},mode=0700"))
            .arg("backupctl-test")
            .arg(at)
            .output()
            .expect("mount");
        if mounted.status.success() {
            return Some(Self(at.to_owned()));
        }
        assert!(!rustix::process::geteuid().is_root(), "{mounted:?}");
        skipped();
        None
    }

    /// `ro` or `rw`.
    pub fn remount(&self, how: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&self.0)
            .status();
        assert!(status.expect("mount").success());
    }

    /// Leaves so many bytes free; called again it takes what has become free.
    pub fn fill_but(&self, bytes: u64) -> PathBuf {
        let path = self.0.join("filler");
        let mut options = fs::OpenOptions::new();
        let mut filler = options
            .append(true)
            .create(true)
            .open(&path)
            .expect("a filler");
        for block in [vec![0; 1 << 20], vec![0; 4096]] {
            while filler.write_all(&block).is_ok() {}
        }
        let length = filler.metadata().expect("its length").len();
        filler
            .set_len(length.saturating_sub(bytes))
            .expect("some room");
        path
    }
}

/// Only an ordinary user, who may not mount, is spared a full disk: said where the harness can't swallow it, and counted.
fn skipped() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    // A closed stderr spares nobody the test's result.
    let _ = writeln!(
        io::stderr(),
        "SKIPPED ({count}): a full disk can't be made without the right to mount; run the suite as root as well"
    );
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub const MIB: u64 = 1 << 20;

pub fn local(world: &World, running: Running) -> Value {
    let ran = running.finish().expect(9);
    let report = ran_report(&ran.stdout);
    assert_eq!(report["verdict"], "local", "{report:#}");
    assert!(
        report["message"]
            .as_str()
            .expect("a message")
            .contains("space")
            || report["message"]
                .as_str()
                .expect("a message")
                .contains("room"),
        "{report:#}"
    );
    assert_eq!(world.live_hash(), world.old);
    assert!(world.scratch_databases().is_empty() && world.previous_databases().is_empty());
    world.nothing_is_left();
    report
}

fn ran_report(stdout: &str) -> Value {
    serde_json::from_str(stdout.trim()).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// A dump with so many zeros behind it: any size, and still one that pg_restore takes.
pub fn large(zeros: u64) -> Vec<u8> {
    let small = server().database("small");
    server().sql(&small, "create table item (n int)");
    let dump = server().dump(&small, &["-Fc"]);
    archives::zip()
        .entry("erp.dump", dump)
        .stored()
        .and_zeros(zeros)
        .build()
}

#[test]
fn a_disk_that_has_no_room_is_found_before_the_download() {
    let world = World::new("");
    let Some(_disk) = SmallDisk::mounted(&world.setup.path("state"), 80 * MIB) else {
        return;
    };
    let good = archive(server(), "new", Slow::default());
    world.offer(&Archive {
        zip: large(40 * MIB),
        ..good.clone()
    });
    let report = local(&world, world.setup.start(&["run", "--json"]));
    assert_eq!(step_verdict(&report, "fetch"), Some("local"));
    fs::remove_file(world.store.join("erp.zip")).expect("removed");
    world.recovers(&good);
}

#[test]
fn what_a_lost_link_has_left_counts_as_room_for_the_rest() {
    // given: a disk with too little room but for what came already
    let sshd = Sshd::start();
    let world = World::with("", |setup, _| setup.sftp(&sshd));
    let Some(disk) = SmallDisk::mounted(&world.setup.path("state"), 90 * MIB) else {
        return;
    };
    let new = long_inside("new", 4 << 20);
    sshd.put("erp.zip", &new.zip);
    strike(&sshd, Fault::StallAfter(3_000_000));
    let part = world.setup.path("state/archives/erp/arriving.part");
    let bytes = || fs::metadata(&part).map_or(0, |found| found.len());
    let mut running = world.setup.start(&["run"]);
    super::world::wait("the download", || {
        assert!(running.is_alive());
        (bytes() > 2_000_000).then_some(())
    });
    sshd.kill();
    running.finish().expect(5);
    sshd.restart();
    disk.fill_but(64 * MIB + 2 * new.zip.len() as u64 - bytes() / 2);

    // when, then
    let ran = world.setup.run(&["run"]).expect(0);
    assert_eq!(world.live_hash(), new.hash);
    world.ended(&ran);
}

#[test]
fn a_disk_that_fills_during_the_download_leaves_no_part_and_the_older_archive() {
    // given: an archive was fetched before, and a link that is slow enough to fill the disk meanwhile
    let sshd = Sshd::start();
    let world = World::with("settle = \"1s\"", |setup, _| setup.sftp(&sshd));
    let Some(disk) = SmallDisk::mounted(&world.setup.path("state"), 200 * MIB) else {
        return;
    };
    let good = archive(server(), "new", Slow::default());
    sshd.put("erp.zip", &good.zip);
    world.setup.run(&["fetch"]).expect(0);
    let kept = |world: &World| {
        let all = files(&world.setup.path("state/archives"));
        all.iter()
            .filter(|path| path.extension().is_some_and(|e| e == "zip"))
            .count()
    };
    assert_eq!(kept(&world), 1);

    // when: it is full once the room was asked for
    sshd.put("erp.zip", &large(60 * MIB));
    let mut running = world.setup.start(&["fetch", "--json"]);
    let filler = super::world::wait("the download", || {
        assert!(running.is_alive());
        let state = files(&world.setup.path("state"));
        let begun = state
            .iter()
            .any(|path| path.extension().is_some_and(|e| e == "part"));
        begun.then(|| disk.fill_but(MIB))
    });

    // then
    let report = local(&world, running);
    assert_eq!(step_verdict(&report, "fetch"), Some("local"));
    assert_eq!(kept(&world), 1);
    fs::remove_file(filler).expect("room again");
    sshd.put("erp.zip", &good.zip);
    world.recovers(&good);
}

/// A dump with so many zeros behind it, in gzip, which doesn't say how long it is.
fn of_unknown_length(zeros: usize) -> Vec<u8> {
    let small = server().database("small");
    server().sql(&small, "create table item (n int)");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let dump = server().dump(&small, &["-Fc"]);
    gzip.write_all(&dump).expect("memory");
    gzip.write_all(&vec![0; zeros]).expect("memory");
    archives::zip()
        .entry("erp.dump", gzip.finish().expect("memory"))
        .build()
}

#[test]
fn a_disk_that_fills_while_unzipping_leaves_no_dump() {
    // given
    let world = World::new("");
    let Some(_disk) = SmallDisk::mounted(&world.setup.path("state"), 100 * MIB) else {
        return;
    };
    let good = archive(server(), "new", Slow::default());
    world.offer(&Archive {
        zip: of_unknown_length(120 << 20),
        ..good.clone()
    });
    world.setup.run(&["fetch"]).expect(0);

    // when
    let report = local(&world, world.setup.start(&["unzip", "--json"]));

    // then
    assert_eq!(step_verdict(&report, "unzip"), Some("local"));
    fs::remove_file(world.store.join("erp.zip")).expect("removed");
    world.recovers(&good);
}

#[test]
fn a_disk_that_fills_while_a_run_fetches_and_unzips_leaves_neither_archive_nor_dump() {
    for keep in ["keep_archives = 1", "keep_archives = 0"] {
        // given: a download that stalls until the disk is full
        let sshd = Sshd::start();
        let world = World::with(keep, |setup, _| setup.sftp(&sshd));
        let Some(disk) = SmallDisk::mounted(&world.setup.path("state"), 200 * MIB) else {
            return;
        };
        let good = archive(server(), "new", Slow::default());
        sshd.put("erp.zip", &long_inside("long", 12 << 20).zip);
        strike(&sshd, Fault::StallAfter(2_000_000));

        // when
        let mut running = world.setup.start(&["run", "--json"]);
        let filler = super::world::wait("some of the dump", || {
            assert!(running.is_alive());
            let dumps = files(&world.setup.path("state/dumps"));
            let some = dumps.iter().filter_map(|file| file.metadata().ok());
            let has_come = some.map(|meta| meta.len()).sum::<u64>() > MIB;
            has_come.then(|| disk.fill_but(MIB))
        });
        sshd.cut();

        // then
        let report = local(&world, running);
        assert_eq!(step_verdict(&report, "fetch"), Some("local"), "{keep}");
        fs::remove_file(filler).expect("room again");
        sshd.put("erp.zip", &good.zip);
        world.recovers(&good);
    }
}

#[test]
fn a_disk_that_is_full_when_the_swap_is_done_does_not_make_the_swap_a_failure() {
    // given
    let smtp = Smtp::start(smtp::Options::default());
    let world = World::with("after_swap = [[\"sleep\", \"2\"]]", |setup, store| {
        setup.local(store).mail(&smtp, &["ops@example.org"])
    });
    let Some(disk) = SmallDisk::mounted(&world.setup.path("state"), 80 * MIB) else {
        return;
    };
    let new = archive(server(), "new", Slow::default());
    world.offer(&new);

    // when
    let mut running = world.setup.start(&["run", "--json"]);
    let filler = super::world::wait("the swap", || {
        assert!(running.is_alive());
        (world.previous_databases().len() == 1).then(|| disk.fill_but(0))
    });
    while running.is_alive() {
        disk.fill_but(0);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let ran = running.finish().expect(12);

    // then: it says that the data is live, by mail too
    let report = ran.json();
    assert_eq!(report["verdict"], "attention", "{report:#}");
    assert_eq!(step_verdict(&report, "swap"), Some("done"));
    assert_eq!(world.live_hash(), new.hash);
    let mails = smtp.wait_for(1);
    assert!(!mails[0].data.contains("is unchanged"), "{}", mails[0].data);
    fs::remove_file(filler).expect("room again");
    world.recovers(&archive(server(), "newer", Slow::default()));
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told_by_mail() {
    let smtp = Smtp::start(smtp::Options::default());
    let world = World::with("", |setup, store| {
        setup.local(store).mail(&smtp, &["ops@example.org"])
    });
    let Some(disk) = SmallDisk::mounted(&world.setup.path("state"), 80 * MIB) else {
        return;
    };
    let filler = disk.fill_but(0);
    world.offer(&archive(server(), "new", Slow::default()));
    let ran = world.setup.run(&["run", "--json"]).expect(9);
    assert_eq!(ran.json()["verdict"], "local");
    assert_eq!(world.live_hash(), world.old);
    let mails = smtp.wait_for(1);
    assert!(
        mails[0].data.contains("[backupctl] erp: local"),
        "{}",
        mails[0].data
    );
    fs::remove_file(filler).expect("room again");
    world.recovers(&archive(server(), "new", Slow::default()));
}

#[test]
fn a_file_system_that_was_mounted_read_only_is_told_by_mail_and_nothing_is_touched() {
    let smtp = Smtp::start(smtp::Options::default());
    let world = World::with("", |setup, store| {
        setup.local(store).mail(&smtp, &["ops@example.org"])
    });
    let Some(disk) = SmallDisk::mounted(&world.setup.path("state"), 80 * MIB) else {
        return;
    };
    let good = archive(server(), "new", Slow::default());
    world.offer(&good);
    disk.remount("ro");
    let report = world.setup.run(&["run", "--json"]).expect(9).json();
    assert_eq!(report["verdict"], "local", "{report:#}");
    assert!(
        report["message"].to_string().contains("Read-only"),
        "{report:#}"
    );
    assert_eq!(world.live_hash(), world.old);
    assert!(world.scratch_databases().is_empty());
    assert!(smtp.wait_for(1)[0].data.contains("[backupctl] erp: local"));
    disk.remount("rw");
    world.recovers(&good);
}

#[test]
fn a_limit_on_the_size_of_files_ends_a_run_in_order() {
    for most in [0, 4096, 100_000] {
        // given: room for no report, for the report alone, and for all but the archive
        let world = World::new("");
        let good = archive(server(), "new", Slow::default());
        world.offer(&good);
        let limit = ["prlimit".to_owned(), format!("--fsize={most}")];
        let program = world.setup.program.clone().behind(&limit);

        // when
        let ran = program.run(&["-c", "config.toml", "run", "--json"]);

        // then: SIGXFSZ would have killed it without a word
        assert_eq!(ran.code, Some(9), "{most}\n{ran}");
        assert_eq!(ran.json()["verdict"], "local", "{ran}");
        assert_eq!(world.live_hash(), world.old);
        assert!(world.scratch_databases().is_empty());
        world.recovers(&good);
    }
}

#[test]
fn a_database_server_whose_disk_is_full_makes_the_run_fail() {
    // given: the live database lies in a tablespace on a small disk
    let place = tempfile::Builder::new()
        .prefix("backupctl-space-")
        .tempdir_in(&server().directory)
        .expect("a place");
    let Some(_disk) = SmallDisk::mounted(place.path(), 24 * MIB) else {
        return;
    };
    let chown = Command::new("chown")
        .arg("postgres:")
        .arg(place.path())
        .status();
    assert!(chown.expect("chown").success());
    let world = World::new("");
    let space = format!("{}_space", world.live);
    server().sql(
        "postgres",
        &format!(
            "create tablespace {space} location '{}'",
            place.path().display()
        ),
    );
    server().sql(
        "postgres",
        &format!("alter database {} set tablespace {space}", world.live),
    );
    let source = server().database("source");
    server().sql(
        &source,
        "create table item as select n, repeat(md5(n::text), 30) as text from generate_series(1, 30000) n",
    );
    let zip = archives::zip()
        .entry("erp.dump", server().dump(&source, &["-Fc"]))
        .build();
    fs::write(world.store.join("erp.zip"), zip).expect("an archive");

    // when
    let ran = world.setup.run(&["run"]).expect(10);

    // then
    let report = world.report();
    let message = report["message"].as_str().expect("a message");
    assert!(message.contains("No space left on device"), "{message}");
    world.ended(&ran);
    world.is_unchanged();
    server().sql(
        "postgres",
        &format!("alter database {} set tablespace pg_default", world.live),
    );
    world.recovers(&archive(server(), "new", Slow::default()));
    server().sql(
        "postgres",
        &format!("drop database {}", world.previous_databases()[0]),
    );
    server().sql("postgres", &format!("drop tablespace {space}"));
}
