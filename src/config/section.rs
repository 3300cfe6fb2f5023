//! A TOML table being read: takes known keys out of it, and collects every problem instead of stopping at the first.
//!
//! serde stops at the first error of a document; an operator wants to mend all of them in one go.

mod reference;

pub use reference::is_vault_id;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::units::{parse_duration, parse_size};

/// All problems of one file, with their lines.
pub struct Problems<'a> {
    text: &'a str,
    list: RefCell<Vec<(usize, String)>>,
}

impl<'a> Problems<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            list: RefCell::default(),
        }
    }

    /// `at` is a byte offset in the file.
    pub fn add(&self, at: usize, text: impl Into<String>) {
        let before = self
            .text
            .as_bytes()
            .get(..at)
            .unwrap_or(self.text.as_bytes());
        let line = before.split(|b| *b == b'\n').count();
        self.list.borrow_mut().push((line, text.into()));
    }

    /// `line 12: restores.erp.jobs: …`, in the order of the file.
    pub fn lines(self) -> Vec<String> {
        let mut list = self.list.into_inner();
        list.sort();
        list.dedup();
        list.into_iter()
            .map(|(line, text)| format!("line {line}: {text}"))
            .collect()
    }
}

/// One table of the file with its TOML path.
pub struct Section<'a> {
    pub path: String,
    /// Byte offset of the table's head, for what is missing in it.
    pub at: usize,
    table: &'a DeTable<'a>,
    known: BTreeSet<&'static str>,
    problems: &'a Problems<'a>,
    directory: &'a Path,
}

impl<'a> Section<'a> {
    pub fn root(table: &'a DeTable<'a>, problems: &'a Problems<'a>, directory: &'a Path) -> Self {
        Self {
            path: String::new(),
            at: 0,
            table,
            known: BTreeSet::new(),
            problems,
            directory,
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Where `key` stands, or where it should.
    pub fn place_of(&self, key: &str) -> usize {
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map_or(self.at, |(name, _)| name.span().start)
    }

    pub fn problem(&self, key: &str, text: &str) {
        self.problems
            .add(self.place_of(key), format!("{}: {text}", self.path_of(key)));
    }

    fn wrong_type(&self, key: &str, found: &DeValue<'_>, wanted: &str) {
        self.problem(
            key,
            &format!("is {}, must be {wanted}", article(found.type_str())),
        );
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name.get_ref() == key)
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() => {
                self.problem(key, "is empty");
                None
            }
            DeValue::String(text) => Some(text.to_string()),
            other => {
                self.wrong_type(key, other, "a string in quotes");
                None
            }
        }
    }

    /// A setting that must be there; stands as an empty string after its problem was noted.
    pub fn required_text(&mut self, key: &'static str, example: &str) -> String {
        if !self.has(key) {
            self.known.insert(key);
            self.problem(
                key,
                &format!("is missing; for example `{key} = \"{example}\"`"),
            );
        }
        self.text(key).unwrap_or_default()
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.value(key).map(Spanned::get_ref) {
            None => default,
            Some(DeValue::Boolean(flag)) => *flag,
            Some(other) => {
                self.wrong_type(key, other, "true or false");
                default
            }
        }
    }

    pub fn number(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(value) = self.value(key) else {
            return default;
        };
        let DeValue::Integer(number) = value.get_ref() else {
            self.wrong_type(key, value.get_ref(), "a whole number");
            return default;
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.problem(
                    key,
                    &format!(
                        "is {number}, must be from {} to {}",
                        range.start(),
                        range.end()
                    ),
                );
                default
            }
        }
    }

    pub fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        self.text(key).map_or(default, |text| {
            parse_duration(&text).unwrap_or_else(|| {
                self.problem(
                    key,
                    &format!(
                        "{text:?} is no duration; write it like \"90s\", \"10m\", \"26h\" or \"7d\""
                    ),
                );
                default
            })
        })
    }

    pub fn size(&mut self, key: &'static str, default: u64) -> u64 {
        self.text(key).map_or(default, |text| {
            parse_size(&text).unwrap_or_else(|| {
                self.problem(
                    key,
                    &format!("{text:?} is no size; write it like \"64 MiB\" or \"2 GB\""),
                );
                default
            })
        })
    }

    pub fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(key) else {
            return default;
        };
        words.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.problem(
                    key,
                    &format!("{text:?} is unknown; known: {}", known.join(", ")),
                );
                default
            },
            |(_, value)| *value,
        )
    }

    /// A file or directory; relative ones start at the configuration file's directory.
    pub fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(|text| self.directory.join(text))
    }

    /// A list of files, as [`Section::file`].
    pub fn files(&mut self, key: &'static str) -> Vec<PathBuf> {
        let names = self.texts(key);
        if names.iter().any(String::is_empty) {
            self.problem(key, "has an empty name");
        }
        names.iter().map(|name| self.directory.join(name)).collect()
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        self.strings(key, value.get_ref()).unwrap_or_default()
    }

    fn strings(&self, key: &str, value: &DeValue<'_>) -> Option<Vec<String>> {
        let texts = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.wrong_type(key, value, "an array of strings");
        }
        texts
    }

    /// A list of commands, each a list of program and arguments.
    pub fn commands(&mut self, key: &'static str) -> Vec<Vec<String>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(
                key,
                value.get_ref(),
                "an array of commands, [[\"program\", \"argument\"]]",
            );
            return Vec::new();
        };
        let commands: Vec<_> = items
            .iter()
            .filter_map(|item| self.strings(key, item.get_ref()))
            .collect();
        if commands
            .iter()
            .any(|command| command.first().is_none_or(String::is_empty))
        {
            self.problem(key, "has a command without a program");
        }
        commands
    }

    /// `text`, a whole or a decimal number, as text and number.
    pub fn scalar(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?.get_ref();
        let text = scalar_text(value);
        if text.is_none() {
            self.wrong_type(key, value, "a number or a string");
        }
        text
    }

    /// Everything in this table, whatever its name, as text.
    pub fn scalars(&self, wanted: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, value) in self.table {
            match scalar_text(value.get_ref()) {
                Some(text) => found.push((name.get_ref().to_string(), text)),
                None => self.wrong_type(name.get_ref(), value.get_ref(), wanted),
            }
        }
        found
    }

    pub fn decimal(&mut self, key: &'static str) -> Option<f64> {
        let text = self.scalar(key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.problem(key, "is not a number");
        }
        number
    }

    /// A sub-table; None where it is missing.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        self.enter(key, value)
    }

    fn enter(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Section<'a>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value.get_ref(), "a table");
            return None;
        };
        let (path, at) = (self.path_of(key), self.place_of(key));
        Some(Section {
            path,
            at,
            table,
            known: BTreeSet::new(),
            problems: self.problems,
            directory: self.directory,
        })
    }

    /// The tables below this one, by name, in the order of the file.
    pub fn named(&self) -> Vec<(String, Section<'a>)> {
        let mut found: Vec<_> = self
            .table
            .iter()
            .filter_map(|(name, value)| Some((name, self.enter(name.get_ref(), value)?)))
            .collect();
        found.sort_by_key(|(name, _)| name.span().start);
        found
            .into_iter()
            .map(|(name, section)| (name.get_ref().to_string(), section))
            .collect()
    }

    /// The names of what stands in this table.
    pub fn names(&self) -> Vec<&'a str> {
        self.table
            .keys()
            .map(|name| name.get_ref().as_ref())
            .collect()
    }

    /// `[[key]]`, an array of tables.
    pub fn each(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value.get_ref(), "an array of tables");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                self.wrong_type(key, item.get_ref(), "a table");
                continue;
            };
            let path = format!("{}[{index}]", self.path_of(key));
            let (known, problems, directory) = (BTreeSet::new(), self.problems, self.directory);
            sections.push(Section {
                path,
                at: item.span().start,
                table,
                known,
                problems,
                directory,
            });
        }
        sections
    }

    /// Every key that nothing asked for is a problem, with the nearest known one.
    pub fn finish(self) {
        for (name, _) in self.table {
            let key = name.get_ref().as_ref();
            if self.known.contains(key) {
                continue;
            }
            let near = nearest(key, self.known.iter().copied());
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.problems.add(
                name.span().start,
                format!("{}: unknown setting{hint}", self.path_of(key)),
            );
        }
    }
}

fn scalar_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(flag) => Some(if *flag { "t" } else { "f" }.to_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn article(kind: &str) -> String {
    match kind {
        "string" => "a string".to_owned(),
        "integer" => "a number".to_owned(),
        "float" => "a decimal number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "datetime" => "a date".to_owned(),
        "array" => "an array".to_owned(),
        other => format!("a {other}"),
    }
}
