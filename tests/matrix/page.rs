//! docs/faults.md: what was injected, how often, what came out, and which row of the table is proven by what.

use std::fmt::Write as _;
use std::time::Duration;

use super::SWEEPS;
use super::options::Options;
use super::rows::{self, Row};
use super::sweep::Swept;

const HEAD: &str = "# Faults, and what came of them

Written by `make faults`, which injects single faults into the built program on real servers and asks one oracle after every single one:

1. the live database is wholly the old one or wholly the new one, by a hash of its content;
2. a previous database was set aside exactly if the names were swapped, and it holds the old content;
3. the verdict is one that the fault may have, and the exit code is the verdict's;
4. the report on disk says what was printed; of a killed run it says `unfinished`;
5. no file anywhere in the installation, its `$HOME`, its `$TMPDIR` or its working directory but in state_dir;
6. no secret, in any form, in output, report, log, mail or temporary file;
7. the next clean run of the same command ends `done` by itself, leaves no scratch database and no half-written file, and names the run
   that died (after each fifth broken archive given to `unzip`, after each tenth broken secret or known_hosts, after each other fault).

And no run takes longer than its deadlines add up to here, 45 s (135 s where a mail server says nothing more), and ten more. A broken invariant is counted, shown below, and fails the target.
";

/// The page with these results in place of their own; what `old` says of other sweeps is kept, with when they were run.
pub fn text(results: &[Swept], options: &Options, took: Duration, old: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for sweep in SWEEPS {
        let new = results.iter().find(|swept| swept.name == sweep.name);
        let kept = old
            .lines()
            .find(|line| line.starts_with(&format!("| `{}`: ", sweep.name)));
        lines.extend(new.map(swept_line).or_else(|| kept.map(str::to_owned)));
    }
    let (injected, broken) = (total(&lines, 2), total(&lines, 4));
    let mut page =
        format!("{HEAD}\n**{injected} faults were injected, {broken} broke an invariant.**\n\n");
    for run in old.lines().filter(|line| line.starts_with("- 20")) {
        let _ = writeln!(page, "{run}");
    }
    let _ = writeln!(page, "{}", run_line(results, options, took));
    page += "\n## What was injected\n\n| sweep | injected | what came out | broken |\n| --- | ---: | --- | ---: |\n";
    for line in &lines {
        let _ = writeln!(page, "{line}");
    }
    let _ = writeln!(page, "| in all | {injected} | | {broken} |");
    page += &broken_ones(results);
    page += "\n## What proves each row\n\nBeside the sweeps above, tests of the suite; a test of its own holds that they exist.\n";
    page += &table();
    page
}

/// When, and what with.
fn run_line(results: &[Swept], options: &Options, took: Duration) -> String {
    let names: Vec<&str> = results.iter().map(|swept| swept.name).collect();
    format!(
        "- {}, seed {}, scale {}, {} at a time, {} minutes: {}",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        options.seed,
        options.scale,
        options.lanes,
        took.as_secs() / 60,
        names.join(", ")
    )
}

fn swept_line(swept: &Swept) -> String {
    let Swept { name, what, .. } = swept;
    format!(
        "| `{name}`: {what} | {} | {} | {} |",
        count(swept),
        outcomes(swept),
        swept.broken.len()
    )
}

/// The sum of a column: of `25 of 40` the 25.
fn total(lines: &[String], column: usize) -> u32 {
    let cells = lines.iter().filter_map(|line| line.split('|').nth(column));
    let numbers = cells.filter_map(|cell| cell.split_whitespace().next()?.parse::<u32>().ok());
    numbers.sum()
}

fn count(swept: &Swept) -> String {
    let Swept {
        injected, planned, ..
    } = swept;
    if injected == planned {
        return injected.to_string();
    }
    format!("{injected} of {planned}")
}

fn outcomes(swept: &Swept) -> String {
    if let Some(why) = &swept.skipped {
        return format!("SKIPPED: {why}");
    }
    let mut all: Vec<_> = swept.outcomes.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let all: Vec<String> = all
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    all.join(", ")
}

fn broken_ones(results: &[Swept]) -> String {
    let mut text = String::new();
    for one in results.iter().flat_map(|swept| &swept.broken) {
        let first = one.lines().next().unwrap_or_default();
        let short: String = first.chars().take(300).collect();
        let _ = writeln!(text, "- {short}");
    }
    if text.is_empty() {
        return text;
    }
    format!("\n## Broken\n\n{text}")
}

fn table() -> String {
    let mut text = String::new();
    let mut section = "";
    for row in rows::all() {
        if row.section != section {
            section = row.section;
            let _ = write!(
                text,
                "\n### {section}\n\n| fault | expected | proven by | not shown |\n| --- | --- | --- | --- |\n"
            );
        }
        text += &line(&row);
        text += "\n";
    }
    text
}

fn line(row: &Row) -> String {
    let tests = row.tests.iter().map(|test| format!("`{test}`"));
    let sweeps = row.sweeps.iter().map(|sweep| format!("sweep `{sweep}`"));
    let proofs: Vec<String> = sweeps.chain(tests).collect();
    let open = row.open.unwrap_or_default();
    let Row {
        fault, expected, ..
    } = row;
    format!("| {fault} | {expected} | {} | {open} |", proofs.join(", "))
}

/// What the page has to say of each row whenever it was written.
pub fn lines_of_the_rows() -> Vec<String> {
    rows::all().iter().map(line).collect()
}
