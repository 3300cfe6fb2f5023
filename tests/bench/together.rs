//! Fetch and unzip inside a run, against each of them alone: what is done at the same time costs no more than the slower one.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Result, ensure};

use crate::compare::{Contender, Samples, side_by_side, step_seconds};
use crate::data::{self, Filling, MIB};
use crate::fetch::fetched_is;
use crate::machine;
use crate::say;
use crate::tables::{self, Goals, in_mib};
use crate::unzip::unzipped_is;
use crate::world::{Distance, World, backupctl, forget};

const ARCHIVE: &str = "together.zip";

pub fn measured(world: &World) -> Result<Vec<(&'static str, String)>> {
    let size = world.options.unzip_mib.unwrap_or_default();
    world.needs_room(3 * size)?;
    let archive = world.sshd.dir.join(ARCHIVE);
    say(&format!("making an archive with a dump of {size} MiB"));
    let dump_hash = data::archive(&archive, &world.dump, Filling::Text, size * MIB)?;
    let packed = in_mib(fs::metadata(&archive)?.len());
    let mut text = format!(
        "## Fetch and unzip in a run\n\n{} An archive of {packed:.0} MiB with a dump of {size} MiB.\n\
         The seconds of the steps in the reports; the dump's own tables are small.\n",
        machine::when(&world.options)
    );
    let mut goals = Goals::default();
    for distance in [Distance::Near, Distance::Far] {
        let samples = samples(world, distance, &dump_hash)?;
        let alone = [
            steps(&samples[0], &["fetch"])?,
            steps(&samples[1], &["unzip"])?,
        ];
        let both = steps(&samples[2], &["fetch", "unzip"])?;
        let title = distance.in_words();
        let _ = write!(
            text,
            "\n### Fetch and unzip, {title}\n\n{}",
            tables::steps(&[
                ("fetch alone", &alone[0]),
                ("unzip alone", &alone[1]),
                ("fetch and unzip in `run`", &both),
            ])
        );
        let slower = tables::median(&alone[0]).max(tables::median(&alone[1]));
        let what = format!(
            "fetch and unzip in `run`, {title}: no more than 1.1 × the slower of the two alone"
        );
        goals = goals.at_most(1.1, tables::median(&both) / slower, &what);
    }
    fs::remove_file(&archive)?;
    let _ = write!(text, "\n{}", goals.table());
    Ok(vec![("together", text)])
}

/// The seconds of these steps in each round.
fn steps(samples: &Samples, names: &[&str]) -> Result<Vec<f64>> {
    let costs = samples.costs.iter();
    costs
        .map(|cost| step_seconds(&cost.stdout, names))
        .collect()
}

fn samples(world: &World, distance: Distance, dump_hash: &str) -> Result<Vec<Samples>> {
    let setup = world.installation(ARCHIVE, distance);
    let path = world.sshd.dir.join(ARCHIVE);
    let hash = data::sha256(&path)?;
    let archive = path.display().to_string();
    let fresh = || {
        forget(&setup)?;
        world.empty_databases(&["live"])
    };
    let contenders = [
        Contender {
            name: "fetch",
            clean: Box::new(|| forget(&setup)),
            commands: Box::new(|| vec![backupctl(&setup, &["fetch"])]),
            check: Box::new(|_| fetched_is(&setup, &hash)),
        },
        Contender {
            name: "unzip",
            clean: Box::new(|| forget(&setup)),
            commands: Box::new(|| vec![backupctl(&setup, &["unzip", "--file", &archive])]),
            check: Box::new(|_| unzipped_is(&setup, dump_hash)),
        },
        Contender {
            name: "run",
            clean: Box::new(fresh),
            commands: Box::new(|| vec![backupctl(&setup, &["run"])]),
            check: Box::new(|_| {
                let rows = world.postgres.value("live", "select count(*) from orders");
                ensure!(rows == "1000", "{rows} rows are live");
                Ok(())
            }),
        },
    ];
    let title = format!("fetch and unzip in a run, {}", distance.in_words());
    side_by_side(&title, &contenders, world.options.rounds)
}
