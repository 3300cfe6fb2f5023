//! docs/benchmarks.md: the measured parts between markers, and everything else as somebody wrote it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The measured parts in the page's order.
pub const PARTS: [&str; 9] = [
    "goals", "machine", "fetch", "unzip", "together", "restore", "run", "memory", "growth",
];
pub const GOALS_HEAD: &str = "| goal | measured | |\n| --- | --- | --- |\n";

/// What a new page says outside of the measured parts.
const BEFORE: &str = "# Benchmarks

`make bench` measures backupctl beside other tools on this machine and writes the tables of this page; the rest of it is written by hand and
kept. `make bench BENCH=\"--full\"` takes the sizes of the goals, `BENCH=\"--help\"` says what else can be chosen. All servers are real ones on
loopback; a proxy in between makes a round trip of 40 ms and does not limit the rate. It ends TCP on both sides: what a protocol waits for
and what it has outstanding counts, TCP's own windows don't. In each round every contender runs once, in an order that moves on by one; the tables show the median of the rounds and, in brackets, the least and the most. Files are warm in the page cache for
everybody, results are removed and the disk's queue is emptied before each run, and in the first round each result is proven to be the right
one. CPU is the client's user and system time with its children, without servers. Memory is the peak of the program's own process, and,
where it is more, with its children.
";
const BEHIND: &str = "## Where the time goes

Not written yet: to be completed from a profile (`perf record -g`) of a full run.
";

/// The page with these parts in place of its own.
pub fn update(path: &Path, parts: &[(&str, String)]) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => new(),
        Err(error) => return Err(error).context(format!("read {}", path.display())),
    };
    let mut page = old;
    for (name, text) in parts {
        page = with_part(&page, name, text)?;
    }
    let goals = goals(&page);
    page = with_part(&page, "goals", &goals)?;
    // A new file first: nobody is left with half a page.
    let temporary = path.with_extension("md.new");
    fs::write(&temporary, page).with_context(|| format!("write {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("write {}", path.display()))
}

fn new() -> String {
    let mut page = format!("{BEFORE}\n");
    for name in PARTS {
        let (begin, end) = markers(name);
        let _ = write!(page, "{begin}\n{end}\n\n");
    }
    page + BEHIND
}

fn markers(name: &str) -> (String, String) {
    (
        format!("<!-- measured: {name} -->"),
        format!("<!-- end of {name} -->"),
    )
}

fn with_part(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = markers(name);
    let found = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(&end)?;
        Some((before, behind))
    });
    ensure!(
        found.is_some(),
        "the page has no place for {name}: the lines {begin} and {end}"
    );
    let (before, behind) = found.unwrap_or_default();
    Ok(format!(
        "{before}{begin}\n{}\n{end}{behind}",
        text.trim_end()
    ))
}

/// All goals of the page's parts in one table.
fn goals(page: &str) -> String {
    let mut all = String::new();
    for name in PARTS.iter().filter(|name| **name != "goals") {
        let (begin, end) = markers(name);
        let rest = page.split_once(&begin).map_or("", |(_, rest)| rest);
        let part = rest.split_once(&end).map_or("", |(part, _)| part);
        for table in part.split(GOALS_HEAD).skip(1) {
            let rows = table.lines().take_while(|line| line.starts_with('|'));
            all.extend(rows.map(|row| format!("{row}\n")));
        }
    }
    format!("## Goals\n\n{GOALS_HEAD}{all}")
}
