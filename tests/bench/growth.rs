//! What fetch and unzip cost against the archive's size: a constant and so much per MiB, and nothing that grows faster.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;

use crate::compare::{Contender, Samples, side_by_side};
use crate::data::{self, MIB};
use crate::fetch::mebibytes;
use crate::machine;
use crate::say;
use crate::tables::{self, Goals};
use crate::world::{Distance, World, backupctl, forget};

const ARCHIVE: &str = "zeros.zip";
const DEVIATION_PERCENT: f64 = 10.0;

pub fn measured(world: &World) -> Result<Vec<(&'static str, String)>> {
    let mut measured = Vec::new();
    for size in &world.options.growth_mib {
        measured.push((*size, at(world, *size)?));
    }
    let points: Vec<(f64, f64)> = measured
        .iter()
        .map(|(size, samples)| (mebibytes(*size), samples.seconds()))
        .collect();
    let (constant, per_mib) = fit(&points);

    let mut text = format!(
        "## Cost against size\n\n{} `backupctl fetch` and `backupctl unzip` one after the other, the archives stored entries.\n\
         The line is fitted by least squares of the relative deviations: {constant:.3} s + {:.3} ms per MiB.\n\n\
         | archive, MiB | seconds | by the line | deviation, % | CPU s | memory, MiB |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n",
        machine::when(&world.options),
        per_mib * 1000.0
    );
    let mut largest = 0.0_f64;
    for (size, samples) in &measured {
        let line = constant + per_mib * mebibytes(*size);
        let deviation = (samples.seconds() / line - 1.0) * 100.0;
        largest = largest.max(deviation.abs());
        let _ = writeln!(
            text,
            "| {size} | {} | {line:.2} | {deviation:+.1} | {:.2} | {:.0} |",
            tables::spread(samples.spread(|cost| cost.seconds)),
            samples.cpu(),
            tables::in_mib(samples.memory().0)
        );
    }
    let sizes = world.options.growth_mib.iter();
    let range = (sizes.clone().min(), sizes.max());
    let goals = Goals::default().at_most(
        DEVIATION_PERCENT,
        largest,
        &format!(
            "cost against size, {} to {} MiB: within 10 % of a + b × MiB (largest deviation in %)",
            range.0.unwrap_or(&0),
            range.1.unwrap_or(&0)
        ),
    );
    let _ = write!(text, "\n{}", goals.table());
    Ok(vec![("growth", text)])
}

fn at(world: &World, size: u64) -> Result<Samples> {
    world.needs_room(2 * size)?;
    let archive = world.sshd.dir.join(ARCHIVE);
    say(&format!("growth: making an archive of {size} MiB"));
    data::sparse(&archive, &world.dump, size * MIB)?;
    // Warm for the first round as for the others.
    let hash = data::sha256(&archive)?;
    let setup = world.installation(ARCHIVE, Distance::Near);
    let contender = Contender {
        name: "fetch and unzip",
        clean: Box::new(|| forget(&setup)),
        commands: Box::new(|| vec![backupctl(&setup, &["fetch"]), backupctl(&setup, &["unzip"])]),
        check: Box::new(|_| crate::fetch::fetched_is(&setup, &hash)),
    };
    let title = format!("growth, {size} MiB");
    let samples = side_by_side(&title, &[contender], world.options.rounds)?;
    fs::remove_file(&archive)?;
    Ok(samples.into_iter().next().expect("one contender"))
}

/// a and b of a + b × size that make the sum of the squares of the relative deviations least.
fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let mut sums = [0.0; 5];
    for (size, seconds) in points {
        let weight = 1.0 / (seconds * seconds);
        let terms = [1.0, *size, size * size, *seconds, size * seconds];
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += weight * term;
        }
    }
    let [weights, sizes, squares, seconds, products] = sums;
    let divisor = weights * squares - sizes * sizes;
    if points.len() < 2 || divisor == 0.0 {
        return (seconds / weights, 0.0);
    }
    let per_mib = (weights * products - sizes * seconds) / divisor;
    ((seconds - per_mib * sizes) / weights, per_mib)
}
