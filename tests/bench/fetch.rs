//! An archive from the SFTP server: backupctl, OpenSSH's sftp, rclone.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::compare::{Contender, Samples, side_by_side};
use crate::data::{self, Filling, MIB};
use crate::machine;
use crate::support::program::Setup;
use crate::tables::{self, Goals};
use crate::world::{Distance, World, backupctl, forget, only_file, remove};
use crate::{rivals, say};

const ARCHIVE: &str = "noise.zip";

pub fn measured(world: &World) -> Result<Vec<(&'static str, String)>> {
    let mut text = format!("## Fetch\n\n{}\n", machine::when(&world.options));
    text += "An archive of incompressible data; backupctl also looks into it first, hashes it and brings it safely to the disk.\n";
    text += "rclone runs without its comparison of checksums, for which the server would read the file once more.\n";
    let mut goals = Goals::default();
    let near = world.options.fetch_mib.iter();
    let far = world.options.far_mib.iter();
    let sizes = near.map(|size| (*size, Distance::Near));
    for (size, distance) in sizes.chain(far.map(|size| (*size, Distance::Far))) {
        let samples = at(world, size, distance)?;
        let title = format!("{size} MiB, {}", distance.in_words());
        let _ = write!(text, "\n### Fetch, {title}\n\n");
        text += &tables::costs(&samples, Some(mebibytes(size)));
        goals = judged(goals, &samples, (&title, size, distance));
    }
    let _ = write!(text, "\n{}", goals.table());
    Ok(vec![("fetch", text)])
}

fn judged(goals: Goals, samples: &[Samples], case: (&str, u64, Distance)) -> Goals {
    let (title, size, distance) = case;
    let (ours, sftp) = (&samples[0], &samples[1]);
    let times = sftp.seconds() / ours.seconds();
    let wanted = match distance {
        Distance::Near => 1.25,
        Distance::Far if size < 1024 => 3.5,
        Distance::Far => 5.0,
    };
    let what = format!("fetch, {title}: at least {wanted} × the rate of OpenSSH's `sftp`");
    let goals = goals.at_least(wanted, times, &what);
    if distance == Distance::Far {
        return goals;
    }
    let what = format!("fetch, {title}: no more CPU than OpenSSH's `sftp` (1.00 ×)");
    goals.at_most(1.0, ours.cpu() / sftp.cpu(), &what)
}

fn at(world: &World, size: u64, distance: Distance) -> Result<Vec<Samples>> {
    world.needs_room(2 * size)?;
    let remote = world.sshd.dir.join(ARCHIVE);
    say(&format!("making an archive of {size} MiB"));
    data::archive(&remote, &world.dump, Filling::Noise, size * MIB)?;
    let hash = data::sha256(&remote)?;
    let setup = world.installation(ARCHIVE, distance);
    let local = world.directory.join("fetched.zip");
    let same = |path: &Path| -> Result<()> {
        ensure!(data::sha256(path)? == hash, "it is another file");
        Ok(())
    };
    let port = world.port(distance);
    let (sshd, to) = (&world.sshd, &local);
    rivals::write_batch(sshd, &remote, to)?;
    let contenders = [
        Contender {
            name: "backupctl fetch",
            clean: Box::new(|| forget(&setup)),
            commands: Box::new(|| vec![backupctl(&setup, &["fetch"])]),
            check: Box::new(|_| fetched_is(&setup, &hash)),
        },
        Contender {
            name: "OpenSSH sftp",
            clean: Box::new(|| remove(to)),
            commands: Box::new(|| vec![rivals::sftp(sshd, port)]),
            check: Box::new(|_| same(to)),
        },
        Contender {
            name: "rclone",
            clean: Box::new(|| remove(to)),
            commands: Box::new(|| vec![rivals::rclone(sshd, port, &remote, to)]),
            check: Box::new(|_| same(to)),
        },
    ];
    let title = format!("fetch {size} MiB, {}", distance.in_words());
    let samples = side_by_side(&title, &contenders, world.options.rounds)?;
    fs::remove_file(&remote)?;
    Ok(samples)
}

pub fn fetched_is(setup: &Setup, hash: &str) -> Result<()> {
    let fetched = only_file(&setup.path("state/archives"), "zip")?;
    ensure!(fetched == hash, "it is another file");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a number of mebibytes")]
pub fn mebibytes(size: u64) -> f64 {
    size as f64
}
