//! The map of the code is true: who may use whom, and who may print, exit and read the environment.

use std::fs;
use std::path::{Path, PathBuf};

const MECHANISMS: [&str; 5] = ["archive", "database", "network", "notify", "store"];
const ABOVE_ALL: [&str; 1] = ["commands"];

/// Every source file with its path below src/ and its text without the unit tests at its end.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    assert!(found.len() > 40, "the sources were found: {}", found.len());
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text
                .split("\n#[cfg(test)]\nmod ")
                .next()
                .unwrap_or_default()
                .to_owned();
            let name = path
                .strip_prefix(&root)
                .expect("below src")
                .display()
                .to_string();
            (name, code)
        })
        .filter(|(name, _)| !name.ends_with("tests.rs"))
        .collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `store` of `store/sftp.rs` and of `store.rs`.
fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

/// The modules that a file names behind `crate::`.
fn used(code: &str) -> Vec<&str> {
    let code = code.split("crate::").skip(1);
    code.map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
    })
    .collect()
}

/// Lines of code, without comments.
fn lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn mechanisms_do_not_know_each_other_nor_the_commands() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let own = module(&file);
        if !MECHANISMS.contains(&own) {
            continue;
        }
        let others = used(&code);
        let bad = others.iter().filter(|name| {
            **name != own && (MECHANISMS.contains(*name) || ABOVE_ALL.contains(*name))
        });
        wrong.extend(bad.map(|name| format!("{file} uses crate::{name}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn foundations_know_nothing_above_them() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let own = module(&file);
        if MECHANISMS.contains(&own) || ABOVE_ALL.contains(&own) || own == "lib" || own == "main" {
            continue;
        }
        let others = used(&code);
        let bad = others
            .iter()
            .filter(|name| MECHANISMS.contains(*name) || ABOVE_ALL.contains(*name));
        wrong.extend(bad.map(|name| format!("{file} uses crate::{name}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_output_prints_and_only_main_exits() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        for line in lines(&code) {
            let prints = ["println!", "print!(", "eprintln!", "eprint!(", "dbg!("]
                .iter()
                .any(|word| line.contains(word));
            if prints && file != "output.rs" {
                wrong.push(format!("{file} prints: {line}"));
            }
            if line.contains("process::exit") || line.contains("process::abort") {
                wrong.push(format!("{file} exits: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_configuration_and_the_secrets_read_the_environment() {
    let reads = ["env::var", "env::vars", "env::home_dir", "env::temp_dir"];
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        if ["config", "secret"].contains(&module(&file)) {
            continue;
        }
        wrong.extend(
            lines(&code)
                .filter(|line| reads.iter().any(|word| line.contains(word)))
                .map(|l| format!("{file}: {l}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_in_the_design_page_names_every_file() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design.md");
    let page = fs::read_to_string(page).expect("docs/design.md");
    let top: Vec<String> = sources().into_iter().map(|(file, _)| file).collect();
    let missing: Vec<&String> = top
        .iter()
        .filter(|file| {
            let name = file.strip_suffix("/mod.rs").unwrap_or(file);
            let last = name.rsplit('/').next().unwrap_or(name);
            let word = last.strip_suffix(".rs").unwrap_or(last);
            !page.contains(word)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "docs/design.md doesn't mention {missing:?}"
    );
}
