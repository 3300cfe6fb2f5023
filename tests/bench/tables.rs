//! The tables of the page: what contenders cost, and the goals with what was measured.

use std::fmt::Write as _;

use crate::compare::{Samples, Spread};
use crate::data::MIB;
use crate::page::GOALS_HEAD;

/// A table of what contenders cost, with the rate where bytes were moved.
pub fn costs(samples: &[Samples], mebibytes: Option<f64>) -> String {
    let ours = samples[0].seconds();
    let mut table = String::from("| | seconds | ");
    table += if mebibytes.is_some() { "MiB/s | " } else { "" };
    table += "time against backupctl's | CPU s | memory, MiB |\n| --- | ---: | ";
    table += if mebibytes.is_some() { "---: | " } else { "" };
    table += "---: | ---: | ---: |\n";
    for contender in samples {
        let seconds = contender.spread(|cost| cost.seconds);
        let _ = write!(table, "| {} | {} | ", contender.name, spread(seconds));
        if let Some(mebibytes) = mebibytes {
            let _ = write!(table, "{:.0} | ", mebibytes / seconds.median);
        }
        let _ = writeln!(
            table,
            "{:.2} | {:.2} | {} |",
            seconds.median / ours,
            contender.cpu(),
            memory(contender)
        );
    }
    table
}

/// A table of seconds alone, against the first line's.
pub fn steps(lines: &[(&str, &[f64])]) -> String {
    let mut table = String::from("| | seconds | ratio |\n| --- | ---: | ---: |\n");
    for (name, seconds) in lines {
        let ratio = median(seconds) / median(lines[0].1);
        let seconds = spread(Spread::of(seconds.to_vec()));
        let _ = writeln!(table, "| {name} | {seconds} | {ratio:.2} |");
    }
    table
}

pub fn median(values: &[f64]) -> f64 {
    Spread::of(values.to_vec()).median
}

fn memory(contender: &Samples) -> String {
    let (own, tree) = contender.memory();
    let own_text = format!("{:.0}", in_mib(own));
    if in_mib(tree) > in_mib(own) + 1.0 {
        format!("{own_text}, with children {:.0}", in_mib(tree))
    } else {
        own_text
    }
}

pub fn spread(spread: Spread) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    format!("{median:.2} ({least:.2}–{most:.2})")
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
pub fn in_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

/// Goals with what was measured, and whether that meets them.
#[derive(Default)]
pub struct Goals(String);

impl Goals {
    /// `measured` must be at least this.
    pub fn at_least(self, goal: f64, measured: f64, what: &str) -> Self {
        self.row(what, &format!("{measured:.2}"), measured >= goal)
    }

    /// `measured` must be at most this.
    pub fn at_most(self, goal: f64, measured: f64, what: &str) -> Self {
        self.row(what, &format!("{measured:.2}"), measured <= goal)
    }

    fn row(mut self, what: &str, measured: &str, met: bool) -> Self {
        let met = if met { "met" } else { "**missed**" };
        let _ = writeln!(self.0, "| {what} | {measured} | {met} |");
        self
    }

    pub fn table(&self) -> String {
        format!("{GOALS_HEAD}{}", self.0)
    }
}
