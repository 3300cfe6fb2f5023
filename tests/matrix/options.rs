//! What is injected, how often, from which seed.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use super::sweep::{Random, Sweep};

/// So many sweeps are in the sample that the suite runs.
const SAMPLE: usize = 6;

/// Injects the faults of docs/faults.md, asks the oracle after each, and writes the page.
#[derive(Debug, Clone, Parser)]
#[command(name = "FAULTS=", no_binary_name = true)]
pub struct Options {
    /// Only sweeps whose name has one of these in it; what came of them is then printed
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Where the random places and moments come from; it is printed
    #[arg(long, default_value_t = 20_261_121)]
    pub seed: u64,
    /// This share of the injections
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Sweeps at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub lanes: u32,
    /// No new fault after so many minutes; the page says how many of each kind were planned
    #[arg(long, default_value_t = 60)]
    pub minutes: u64,
    /// Writes this page also where only a part was run; it keeps its other lines
    #[arg(long)]
    pub page: Option<PathBuf>,
}

impl Options {
    /// `$FAULTS`, as a command line.
    pub fn of_the_environment() -> Self {
        let text = std::env::var("FAULTS").unwrap_or_default();
        Self::parse_from(text.split_whitespace())
    }

    /// A few faults of the first of these sweeps and of some others, other ones each time.
    pub fn sample(sweeps: &[Sweep]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = now.map_or(1, |since| since.as_secs());
        let mut random = Random::of(seed, "sample");
        let mut names: Vec<String> = sweeps.iter().map(|sweep| sweep.name.to_owned()).collect();
        while names.len() > SAMPLE {
            let others = names.len() as u64 - 1;
            let one = usize::try_from(1 + random.below(others)).expect("an index");
            names.remove(one);
        }
        Self {
            only: names,
            seed,
            scale: 0.0,
            lanes: 2,
            minutes: 10,
            page: None,
        }
    }

    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Where the page goes; None: it is only printed.
    pub fn page(&self) -> Option<PathBuf> {
        let is_whole = self.only.is_empty() && self.scale >= 1.0;
        let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md"));
        self.page.clone().or_else(|| is_whole.then(own))
    }
}
