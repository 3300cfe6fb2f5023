//! What is planned of the room here and on the server, before anything is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use backupctl::config::format_bytes;

use super::disk::{MIB, SmallDisk, large, local};
use super::world::{Archive, Slow, World, archive, server, step_verdict};

fn free(directory: &Path) -> rustix::fs::StatVfs {
    rustix::fs::statvfs(directory).expect("a file system")
}

/// state_dir as the program would make it.
fn state(world: &World) {
    let state = world.setup.path("state");
    fs::create_dir(&state).expect("state_dir");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("its mode");
}

#[test]
fn a_directory_that_is_mounted_is_asked_for_its_own_room() {
    // given: room for the archive, and on another disk none for the dump
    let world = World::new("");
    state(&world);
    let Some(_disk) = SmallDisk::mounted(&world.setup.path("state/dumps"), 80 * MIB) else {
        return;
    };
    let good = archive(server(), "new", Slow::default());
    world.offer(&Archive {
        zip: large(40 * MIB),
        ..good.clone()
    });

    // when
    let planned = world.setup.run(&["run", "-n"]).expect(9).stdout;
    let report = local(&world, world.setup.start(&["run", "--json"]));

    // then
    let directory = world.setup.path("state/dumps/erp").display().to_string();
    assert!(
        planned.contains(&format!("needed in {directory}")),
        "{planned}"
    );
    let message = report["message"].as_str().expect("a message");
    assert!(
        message.contains(&directory) && message.contains("dump 40.0 MiB"),
        "{message}"
    );
    assert_eq!(step_verdict(&report, "fetch"), Some("local"));
    world.setup.run(&["fetch"]).expect(0);
    fs::remove_file(world.store.join("erp.zip")).expect("removed");
    world.recovers(&good);
}

#[test]
fn what_is_kept_from_before_is_named_and_without_an_archive_there_is_room() {
    // given: 40 MiB are kept, and the next archive and its dump take 60 each
    let world = World::new("keep_archives = 1");
    let Some(_disk) = SmallDisk::mounted(&world.setup.path("state"), 200 * MIB) else {
        return;
    };
    let good = archive(server(), "new", Slow::default());
    let offer = |mib: u64| {
        world.offer(&Archive {
            zip: large(mib * MIB),
            ..good.clone()
        });
    };
    offer(40);
    world.setup.run(&["fetch"]).expect(0);
    offer(60);

    // when
    let report = local(&world, world.setup.start(&["run", "--json"]));

    // then
    let hint = report["hint"].as_str().expect("a hint");
    for words in [
        "what is kept from before (40.",
        "keep_archives = 0",
        "stream",
    ] {
        assert!(hint.contains(words), "{words}: {hint}");
    }
    let path = world.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(
        &path,
        config.replace("keep_archives = 1", "keep_archives = 0"),
    )
    .expect("config.toml");
    world.setup.run(&["run", "-n"]).expect(0);
    fs::write(&path, config).expect("config.toml");
    fs::remove_file(world.store.join("erp.zip")).expect("removed");
    world.recovers(&good);
}

#[test]
fn a_disk_without_inodes_is_found_before_the_download() {
    // given
    let world = World::new("");
    let state = world.setup.path("state");
    let limits = format!("size={},nr_inodes=200", 200 * MIB);
    let Some(_disk) = SmallDisk::with(&state, &limits) else {
        return;
    };
    let filler = state.join("filler");
    fs::create_dir(&filler).expect("a directory");
    for number in 0.. {
        if free(&state).f_favail <= 15 {
            break;
        }
        fs::write(filler.join(format!("{number}")), "").expect("a file");
    }
    let good = archive(server(), "new", Slow::default());
    world.offer(&good);

    // when
    let report = local(&world, world.setup.start(&["run", "--json"]));

    // then
    assert!(report["message"].to_string().contains("inodes"), "{report}");
    assert_eq!(step_verdict(&report, "fetch"), Some("local"));
    fs::remove_dir_all(filler).expect("room again");
    world.recovers(&good);
}

#[test]
fn what_is_free_on_the_server_is_asked_of_the_live_databases_own_tablespace() {
    // given
    let place = tempfile::Builder::new()
        .prefix("backupctl-room-")
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
    let space = format!("{}_room", world.live);
    let place = place.path();
    server().sql(
        "postgres",
        &format!(
            "create tablespace {space} location '{}'; alter database {} set tablespace {space}; checkpoint",
            place.display(),
            world.live
        ),
    );
    world.offer(&archive(server(), "new", Slow::default()));

    // when
    let planned = world.setup.run(&["run", "-n"]).expect(0).stdout;

    // then
    let disk = free(place);
    let left = format!("free: {}", format_bytes(disk.f_bavail * disk.f_frsize));
    assert!(planned.contains(&left), "{left}: {planned}");
    server().sql(
        "postgres",
        &format!(
            "alter database {} set tablespace pg_default; drop tablespace {space}",
            world.live
        ),
    );
}
