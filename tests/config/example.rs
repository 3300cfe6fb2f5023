//! `config.example.toml` against the reader: it parses, it leaves nothing out, and the defaults in it are the real ones.

use std::collections::BTreeSet;

use super::read;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// One setting of the example that is commented out.
#[derive(Debug)]
struct Commented {
    /// `[restores.erp]`, `[[restores.erp.checks]]`, or nothing before the first table.
    table: String,
    /// `settle = "5s"`
    setting: String,
    key: String,
    is_default: bool,
}

/// What stands there as `# key = value`, under the table that is named above it.
fn commented() -> Vec<Commented> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in EXAMPLE.lines().filter_map(|line| line.strip_prefix("# ")) {
        if let Some(head) = line.strip_prefix("--- ") {
            let end = head.rfind(']').map_or(0, |at| at + 1);
            head[..end].clone_into(&mut table);
        } else if let Some((key, rest)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            let why = rest.rsplit_once("  # ").map_or("", |(_, why)| why);
            found.push(Commented {
                table: table.clone(),
                setting: line.to_owned(),
                key: key.to_owned(),
                is_default: !why.starts_with("no default") && !why.starts_with("example"),
            });
        }
    }
    found
}

/// The smallest useful file with more settings in its tables.
fn small_with(more: &[&Commented]) -> String {
    let in_table = |table: &str| -> Vec<String> {
        let here = more.iter().filter(|setting| setting.table == table);
        here.map(|setting| setting.setting.clone()).collect()
    };
    let mut text = in_table("");
    let small = EXAMPLE.lines().filter(|line| !line.starts_with('#'));
    let mut tables = BTreeSet::from([""]);
    for line in small {
        text.push(line.to_owned());
        if line.starts_with('[') {
            text.extend(in_table(line));
            tables.insert(line);
        }
    }
    let others: BTreeSet<&str> = more
        .iter()
        .map(|setting| setting.table.as_str())
        .filter(|table| !tables.contains(table) && !table.starts_with("[["))
        .collect();
    for table in others {
        text.push(table.to_owned());
        text.extend(in_table(table));
    }
    text.join("\n") + "\n"
}

/// Each way to judge a check, in a check of its own.
fn checks(all: &[Commented]) -> String {
    let (sql, ways): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(|setting| setting.table == "[[restores.erp.checks]]")
        .partition(|setting| setting.key == "sql");
    assert_eq!(ways.len(), 5, "{ways:?}");
    let check = |way: &&Commented| format!("{}\n{}\n{}\n", way.table, sql[0].setting, way.setting);
    ways.iter().map(check).collect()
}

#[test]
fn the_example_parses_as_it_is() {
    let config = read(EXAMPLE).expect("the example is right");

    assert_eq!(config.restores.len(), 1);
    assert!(config.notify.email.is_some());
}

#[test]
fn the_example_parses_with_every_line_of_it_switched_on() {
    let all = commented();
    let text = small_with(&all.iter().collect::<Vec<_>>()) + &checks(&all);
    // `name_time` goes with it alone.
    let text = text.replace("newest_by = \"modified\"", "newest_by = \"name\"");

    let config = read(&text).unwrap_or_else(|failed| panic!("{}\n{text}", failed.message()));

    assert_eq!(config.restores[0].checks.len(), 5);
    assert_eq!(config.stores.len(), 2);
}

#[test]
fn the_defaults_in_the_example_are_the_real_ones() {
    let all = commented();
    // The one default that depends on the machine.
    let defaults: Vec<&Commented> = all
        .iter()
        .filter(|setting| setting.is_default && setting.key != "jobs")
        .collect();
    assert!(defaults.len() > 35, "{}", defaults.len());

    let (bare, spelled_out) = (small_with(&[]), small_with(&defaults));

    let shown = |text: &str| format!("{:#?}", read(text).expect("the example is right"));
    assert_eq!(shown(&bare), shown(&spelled_out));
}

#[test]
fn every_setting_that_the_reader_knows_is_in_the_example() {
    let sources = [
        include_str!("../../src/config/read.rs"),
        include_str!("../../src/config/restores.rs"),
        include_str!("../../src/config/choosing.rs"),
        include_str!("../../src/config/contents.rs"),
        include_str!("../../src/config/notify.rs"),
        include_str!("../../src/config/drill.rs"),
    ];
    let known: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| asked_for(source))
        .collect();
    assert!(known.len() > 70, "the reader's keys were found: {known:?}");

    let said = |key: &&str| {
        EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            let as_table = line.contains(&format!("[{key}"))
                || line.contains(&format!(".{key}]"))
                || line.contains(&format!(".{key}."));
            as_table
                || line
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(" = "))
        })
    };
    let left_out: Vec<&str> = known.into_iter().filter(|key| !said(key)).collect();
    assert_eq!(left_out, [""; 0]);
}

/// The keys in calls such as `section.text("key")` and `glob(&mut section, "key")`.
fn asked_for(source: &str) -> impl Iterator<Item = &str> {
    const ASK: [&str; 18] = [
        "text(",
        "texts(",
        "flag(",
        "number(",
        "choice(",
        "duration(",
        "size(",
        "only(",
        "file(",
        "files(",
        "secret(",
        "url(",
        "scalar(",
        "decimal(",
        "commands(",
        "section(",
        "each(",
        "&mut section,",
    ];
    source
        .split('"')
        .zip(source.split('"').skip(1))
        .filter_map(|(before, key)| {
            let asks = ASK.iter().any(|ask| before.trim_end().ends_with(ask));
            let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            (asks && is_key && !key.is_empty()).then_some(key)
        })
}
