//! The table can't lie about its proofs: each test that a row names is there, and each sweep.

use std::fs;
use std::path::{Path, PathBuf};

use super::SWEEPS;
use super::rows::Row;
use crate::faults::world::files;

/// What the rows name and nobody has.
pub fn unknown(rows: &[Row]) -> Vec<String> {
    let sources = sources();
    let tests = rows.iter().flat_map(|row| &row.tests);
    let mut unknown: Vec<String> = tests
        .filter(|name| !sources.iter().any(|source| source.has(name)))
        .map(|name| format!("test {name}"))
        .collect();
    let named: Vec<&str> = rows.iter().flat_map(|row| row.sweeps.clone()).collect();
    let known: Vec<&str> = SWEEPS.iter().map(|sweep| sweep.name).collect();
    unknown.extend(
        named
            .iter()
            .filter(|name| !known.contains(name))
            .map(|name| format!("sweep {name}")),
    );
    unknown.extend(
        known
            .iter()
            .filter(|name| !named.contains(name))
            .map(|name| format!("{name} is in no row")),
    );
    unknown
}

#[derive(Clone)]
struct Source {
    /// `store::faults` of tests/store/faults.rs.
    module: String,
    text: String,
}

impl Source {
    /// A test function of this file, or of the unit tests that belong to it.
    fn has(&self, test: &str) -> bool {
        let (module, name) = test.rsplit_once("::").expect("a module and a name");
        let module = module.strip_suffix("::tests").unwrap_or(module);
        // A module within a file has no file of its own.
        let within = format!("{}::", self.module);
        let is_its_own = module == self.module || module.starts_with(&within);
        let begin = format!("fn {name}(");
        let Some((before, _)) = self.text.split_once(&begin) else {
            return false;
        };
        let mut above = before.lines().rev().take(6);
        let is_test = above.any(|line| line.contains("test]") || line.contains("test("));
        is_its_own && (is_test || before.contains("proptest!"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let below = |directory: &str| {
        let directory = root.join(directory);
        let all = files(&directory).into_iter();
        let all = all.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        all.map(move |path| source(&directory, path))
            .collect::<Vec<_>>()
    };
    [below("src"), below("tests")].concat()
}

fn source(directory: &Path, path: PathBuf) -> Source {
    let name = path
        .strip_prefix(directory)
        .expect("below it")
        .with_extension("");
    let module = name.display().to_string().replace('/', "::");
    let module = module.strip_suffix("::tests").unwrap_or(&module);
    let module = module.strip_suffix("_tests").unwrap_or(module);
    Source {
        module: module.strip_suffix("::mod").unwrap_or(module).to_owned(),
        text: fs::read_to_string(path).expect("a source"),
    }
}
