//! The peak of backupctl's memory with a small and with a large archive: it must not depend on the size.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};

use crate::machine;
use crate::measure::measure;
use crate::say;
use crate::support::program::Setup;
use crate::tables::{Goals, in_mib, median};
use crate::world::{Distance, World, backupctl, forget};
use crate::{data, data::MIB};

const ARCHIVE: &str = "zeros.zip";
const SMALL_MIB: u64 = 64;
const BOUND_MIB: f64 = 64.0;
const APART_MIB: f64 = 4.0;
const WORK: [&str; 3] = ["fetch", "unzip", "run"];

pub fn measured(world: &World) -> Result<Vec<(&'static str, String)>> {
    let large = world.options.large_mib.unwrap_or_default();
    world.needs_room(2 * large)?;
    let sizes = [SMALL_MIB, large];
    let mut peaks: Vec<Vec<f64>> = Vec::new();
    for size in sizes {
        say(&format!("memory: an archive of {size} MiB"));
        data::sparse(&world.sshd.dir.join(ARCHIVE), &world.dump, size * MIB)?;
        let found = all(world).with_context(|| format!("memory, {size} MiB"))?;
        fs::remove_file(world.sshd.dir.join(ARCHIVE))?;
        peaks.push(found);
    }

    let mut text = format!(
        "## Memory\n\n{} At most three of them; the archives are stored entries.\n\
         The median of the peaks of backupctl's own process, in MiB.\n\n\
         | | {SMALL_MIB} MiB archive | {large} MiB archive | apart |\n| --- | ---: | ---: | ---: |\n",
        machine::when(&world.options)
    );
    let mut goals = Goals::default();
    for (index, work) in WORK.iter().enumerate() {
        let (small, big) = (peaks[0][index], peaks[1][index]);
        let apart = (big - small).abs();
        let _ = writeln!(text, "| `{work}` | {small:.1} | {big:.1} | {apart:.1} |");
        let what = format!("peak memory of `{work}`: no more than {BOUND_MIB:.0} MiB");
        goals = goals.at_most(BOUND_MIB, small.max(big), &what);
        let what = format!(
            "peak memory of `{work}`: no more than {APART_MIB:.0} MiB between archives of {SMALL_MIB} and {large} MiB"
        );
        goals = goals.at_most(APART_MIB, apart, &what);
    }
    let _ = write!(text, "\n{}", goals.table());
    Ok(vec![("memory", text)])
}

/// The medians of the peaks in MiB, in the order of [`WORK`].
fn all(world: &World) -> Result<Vec<f64>> {
    let setup = world.installation(ARCHIVE, Distance::Near);
    let archive = world.sshd.dir.join(ARCHIVE).display().to_string();
    let mut peaks = vec![Vec::new(); WORK.len()];
    for _ in 0..world.options.rounds.min(3) {
        world.empty_databases(&["live"])?;
        peaks[0].push(alone(&setup, &["fetch"])?);
        peaks[1].push(alone(&setup, &["unzip", "--file", &archive])?);
        peaks[2].push(alone(&setup, &["run"])?);
    }
    Ok(peaks.iter().map(|peaks| median(peaks)).collect())
}

fn alone(setup: &Setup, arguments: &[&str]) -> Result<f64> {
    let cost = measure(backupctl(setup, arguments))?;
    let peak = in_mib(cost.memory);
    say(&format!(
        "memory: {:<6} {peak:>6.1} MiB, {:>6.2} s",
        arguments[0], cost.seconds
    ));
    forget(setup)?;
    Ok(peak)
}
