//! `make bench`: backupctl beside other tools, in one run, on generated data and on servers that exist only for it. Writes
//! docs/benchmarks.md.
//!
//! It starts itself once more with `$TMPDIR` in a directory of its own, and removes that directory whatever happened.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../support/mod.rs"]
mod support;

#[path = "../demo/whole.rs"]
mod whole;

mod compare;
mod data;
mod fetch;
mod growth;
mod machine;
mod measure;
mod memory;
mod options;
mod page;
mod rivals;
mod run;
mod tables;
mod together;
mod unzip;
mod world;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use options::{Options, Part};
use world::World;

type Measured = fn(&World) -> Result<Vec<(&'static str, String)>>;

const PARTS: [(Part, Measured); 6] = [
    (Part::Fetch, fetch::measured),
    (Part::Unzip, unzip::measured),
    (Part::Together, together::measured),
    (Part::Run, run::measured),
    (Part::Memory, memory::measured),
    (Part::Growth, growth::measured),
];

fn main() -> ExitCode {
    let options = Options::parse().with_defaults();
    if let Some(directory) = options.within.clone() {
        return all(options, &directory);
    }
    if let Err(error) = machine::everything_is_there() {
        say(&format!("error: {error:#}"));
        return ExitCode::FAILURE;
    }
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    arguments.push("--within".into());
    whole::in_a_directory_of_its_own("backupctl-bench-", &arguments)
}

/// Measures each part and writes it at once; one that fails doesn't stop the others.
fn all(options: Options, directory: &Path) -> ExitCode {
    let world = match World::start(options, directory) {
        Ok(world) => world,
        Err(error) => {
            say(&format!("error: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (part, measured) in PARTS {
        if !world.options.wants(part) {
            continue;
        }
        if let Err(error) = measured(&world).and_then(|parts| written(&world, parts)) {
            say(&format!("error: {part:?} is not on the page: {error:#}"));
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn written(world: &World, mut parts: Vec<(&'static str, String)>) -> Result<()> {
    let server = world.postgres.value("postgres", "show server_version");
    let machine = machine::described(&world.directory, &world.options, &server);
    parts.push(("machine", machine));
    page::update(&world.options.page, &parts)?;
    say(&format!("written: {}", world.options.page.display()));
    Ok(())
}

/// A line of progress.
pub fn say(line: &str) {
    // Nobody may be reading any more; the page is what counts.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
