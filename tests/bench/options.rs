//! What is measured, how often and how large. The defaults fit into ten minutes on two processors; `--full` takes the goals' sizes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// One part of the page. Restoring and the whole run are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Fetch,
    Unzip,
    Together,
    Run,
    Memory,
    Growth,
}

/// Measures backupctl beside other tools and writes docs/benchmarks.md.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// Only these parts; the page keeps its others
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// The goals' own sizes: about an hour, and 12 GiB of disk
    #[arg(long)]
    pub full: bool,
    /// How often each contender runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// The archives fetched over loopback
    #[arg(long, value_delimiter = ',')]
    pub fetch_mib: Vec<u64>,
    /// The archives fetched with a round trip of 40 ms
    #[arg(long, value_delimiter = ',')]
    pub far_mib: Vec<u64>,
    /// The dump that is unzipped, deflated at 3 to 4:1
    #[arg(long)]
    pub unzip_mib: Option<u64>,
    /// The database that is restored; its archive is about half as large
    #[arg(long)]
    pub run_mib: Option<u64>,
    /// The large archive whose memory is compared with that of one of 64 MiB
    #[arg(long)]
    pub large_mib: Option<u64>,
    /// The archives over which the growth of the cost is measured
    #[arg(long, value_delimiter = ',')]
    pub growth_mib: Vec<u64>,
    /// `pg_restore -j` of everybody; default: this machine's processors, 8 at most
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// The page that is written
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md"))]
    pub page: PathBuf,
    /// Where everything lies while it works; given by the first process to the second
    #[arg(long, hide = true)]
    pub within: Option<PathBuf>,
}

impl Options {
    /// With every size filled in.
    pub fn with_defaults(mut self) -> Self {
        let pick = |small, full| if self.full { full } else { small };
        let (unzip, run, large) = (pick(512, 2048), pick(256, 1024), pick(2048, 5120));
        let far: &[u64] = if self.full { &[256, 1024] } else { &[256] };
        let growth: &[u64] = if self.full {
            &[10, 100, 500, 1024, 2048, 5120]
        } else {
            &[10, 100, 500, 1024]
        };
        for (sizes, default) in [
            (&mut self.fetch_mib, &[1024][..]),
            (&mut self.far_mib, far),
            (&mut self.growth_mib, growth),
        ] {
            if sizes.is_empty() {
                sizes.extend(default);
            }
        }
        self.unzip_mib.get_or_insert(unzip);
        self.run_mib.get_or_insert(run);
        self.large_mib.get_or_insert(large);
        self
    }

    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub fn jobs(&self) -> u32 {
        self.jobs.unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            u32::try_from(processors).unwrap_or(8).min(8)
        })
    }
}
