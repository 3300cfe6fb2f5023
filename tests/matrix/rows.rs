//! The rows of the table and what proves each: tests of the suite by name, sweeps of this matrix, and what is still open.

/// A fault and what is expected of it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub section: &'static str,
    pub fault: &'static str,
    pub expected: &'static str,
    /// `file::name`, as far as the files go.
    pub tests: Vec<&'static str>,
    pub sweeps: Vec<&'static str>,
    /// What nothing proves.
    pub open: Option<&'static str>,
}

pub fn all() -> Vec<Row> {
    let mut section = "";
    let mut rows = Vec::new();
    for block in include_str!("rows.txt").split("\n\n") {
        if let Some(title) = block.trim().strip_prefix("## ") {
            section = title;
        } else {
            rows.push(row(section, block));
        }
    }
    rows
}

fn row(section: &'static str, block: &'static str) -> Row {
    let mut row = Row {
        section,
        ..Row::default()
    };
    for line in block.trim().lines() {
        let (key, text) = line.split_once(": ").expect("a key and its text");
        match key {
            "fault" => row.fault = text,
            "expected" => row.expected = text,
            "tests" => row.tests = text.split(' ').collect(),
            "sweeps" => row.sweeps = text.split(' ').collect(),
            "open" => row.open = Some(text),
            other => panic!("{other}: no key of a row"),
        }
    }
    assert!(!row.fault.is_empty() && !row.tests.is_empty(), "{row:?}");
    row
}
