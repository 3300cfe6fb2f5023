//! The dump out of an archive on this machine: backupctl, unzip, 7z, bsdtar, Python's zipfile.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::compare::{Contender, side_by_side};
use crate::data::{self, DUMP, Filling, MIB};
use crate::fetch::mebibytes;
use crate::machine;
use crate::support::program::Setup;
use crate::tables::{self, Goals, in_mib};
use crate::world::{Distance, World, backupctl, forget, only_file, remove};
use crate::{rivals, say};

pub fn measured(world: &World) -> Result<Vec<(&'static str, String)>> {
    let size = world.options.unzip_mib.unwrap_or_default();
    world.needs_room(2 * size)?;
    let archive = world.directory.join("text.zip");
    say(&format!("making an archive with a dump of {size} MiB"));
    let hash = data::archive(&archive, &world.dump, Filling::Text, size * MIB)?;
    let ratio = mebibytes(size) / in_mib(fs::metadata(&archive)?.len());
    let samples = samples(world, &archive, &hash)?;
    fs::remove_file(&archive)?;

    let rate = |name: &str| {
        let other = samples.iter().find(|samples| samples.name == name);
        other.map_or(0.0, |other| other.seconds() / samples[0].seconds())
    };
    let goals = Goals::default()
        .at_least(
            2.0,
            rate("unzip"),
            &format!("unzip, {size} MiB: at least 2 × the rate of `unzip`"),
        )
        .at_least(
            1.3,
            rate("Python's zipfile"),
            &format!("unzip, {size} MiB: at least 1.3 × the rate of Python's zipfile"),
        );
    let text = format!(
        "## Unzip\n\n{} A dump of {size} MiB, text as COPY writes it, deflated at {ratio:.1}:1.\n\
         backupctl also hashes the archive, looks for contradictions in it and brings the dump safely to the disk.\n\n{}\n{}",
        machine::when(&world.options),
        tables::costs(&samples, Some(mebibytes(size))),
        goals.table()
    );
    Ok(vec![("unzip", text)])
}

fn samples(world: &World, archive: &Path, hash: &str) -> Result<Vec<crate::compare::Samples>> {
    let setup = world.installation("text.zip", Distance::Near);
    let directory = world.directory.join("unzipped");
    fs::create_dir_all(&directory)?;
    let dump = directory.join(DUMP);
    let file = archive.display().to_string();
    let rival = |name, command: fn(&Path, &Path) -> Command| Contender {
        name,
        clean: Box::new(|| remove(&dump)),
        commands: {
            let directory = &directory;
            Box::new(move || vec![command(archive, directory)])
        },
        check: Box::new(|_| same(&data::sha256(&dump)?, hash)),
    };
    let contenders = [
        Contender {
            name: "backupctl unzip",
            clean: Box::new(|| forget(&setup)),
            commands: Box::new(|| vec![backupctl(&setup, &["unzip", "--file", &file])]),
            check: Box::new(|_| unzipped_is(&setup, hash)),
        },
        rival("unzip", rivals::unzip),
        rival("7z x", rivals::seven_zip),
        rival("bsdtar -xf", rivals::bsdtar),
        rival("Python's zipfile", rivals::zipfile),
    ];
    side_by_side("unzip", &contenders, world.options.rounds)
}

pub fn unzipped_is(setup: &Setup, hash: &str) -> Result<()> {
    same(&only_file(&setup.path("state/dumps"), "dump")?, hash)
}

fn same(found: &str, hash: &str) -> Result<()> {
    ensure!(found == hash, "it is another dump");
    Ok(())
}
