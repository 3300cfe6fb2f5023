//! Contenders side by side: each runs once per round, in an order that moves on by one each round, and what counts is the median.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::measure::{Cost, measure};
use crate::say;

type Act<'a> = dyn Fn() -> Result<()> + 'a;
type Check<'a> = dyn Fn(&Cost) -> Result<()> + 'a;

pub struct Contender<'a> {
    pub name: &'static str,
    /// Makes the world as it was before: called before and after each of its runs.
    pub clean: Box<Act<'a>>,
    /// What is measured, one after the other.
    pub commands: Box<dyn Fn() -> Vec<Command> + 'a>,
    /// Proves, in the first round, that it did the work.
    pub check: Box<Check<'a>>,
}

/// What a contender cost, round by round.
#[derive(Debug, Clone)]
pub struct Samples {
    pub name: &'static str,
    pub costs: Vec<Cost>,
}

impl Samples {
    pub fn seconds(&self) -> f64 {
        self.median(|cost| cost.seconds)
    }

    pub fn cpu(&self) -> f64 {
        self.median(|cost| cost.cpu)
    }

    /// Median, least and most of something that each round has.
    pub fn spread(&self, of: impl Fn(&Cost) -> f64) -> Spread {
        Spread::of(self.costs.iter().map(of).collect())
    }

    pub fn median(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        self.spread(of).median
    }

    /// The largest of all rounds: of the process itself, and with its children.
    pub fn memory(&self) -> (u64, u64) {
        let own = self.costs.iter().map(|cost| cost.memory).max();
        let tree = self.costs.iter().map(|cost| cost.tree_memory).max();
        (own.unwrap_or(0), tree.unwrap_or(0))
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self {
            median,
            least: values[0],
            most: values[values.len() - 1],
        }
    }
}

/// Runs them all, `rounds` times; what they cost, in the contenders' order.
pub fn side_by_side(title: &str, contenders: &[Contender], rounds: u32) -> Result<Vec<Samples>> {
    let mut all: Vec<Samples> = contenders
        .iter()
        .map(|contender| Samples {
            name: contender.name,
            costs: Vec::new(),
        })
        .collect();
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let which = (turn + round as usize) % contenders.len();
            let contender = &contenders[which];
            let cost = one(contender, round == 0)
                .with_context(|| format!("{title}: {}", contender.name))?;
            say(&format!(
                "{title}, round {} of {rounds}: {:<33} {:>7.2} s, CPU {:>6.2} s",
                round + 1,
                contender.name,
                cost.seconds,
                cost.cpu
            ));
            all[which].costs.push(cost);
        }
    }
    Ok(all)
}

fn one(contender: &Contender, first: bool) -> Result<Cost> {
    (contender.clean)().context("clean up before it")?;
    let mut cost = Cost::default();
    for command in (contender.commands)() {
        cost = cost.then(&measure(command)?);
    }
    if first {
        (contender.check)(&cost).context("look at its result")?;
    }
    (contender.clean)().context("clean up behind it")?;
    Ok(cost)
}

/// The seconds of these steps together, from the reports that backupctl printed.
pub fn step_seconds(stdout: &str, steps: &[&str]) -> Result<f64> {
    let (mut sum, mut found) = (0.0, false);
    for line in stdout.lines() {
        let report: Value = serde_json::from_str(line).context("read backupctl's report")?;
        let done = report["steps"].as_array().context("its steps")?;
        for step in done {
            if steps.iter().any(|name| step["step"] == *name) {
                sum += step["seconds"].as_f64().context("a step's seconds")?;
                found = true;
            }
        }
    }
    ensure!(found, "none of the steps {steps:?} in the report");
    Ok(sum)
}
