//! The env file: `NAME=<Fernet token>` lines as python-dotenv reads them.
//!
//! Only a name that somebody asks for is judged. A reader would expect the last of two definitions to win, as it does
//! in Python: here a duplicate is an error, since one of the two is a password that somebody believes to be in use.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use zeroize::Zeroizing;

use super::Secret;
use super::key_file::Keys;
use super::problem::{Problem, none_of, shown};
use super::statement::{Statement, Value, statements};
use super::token::Token;
use crate::escape::escaped;
use crate::verdict::Outcome;

/// All expanded values together may not grow beyond this, or a few lines of `${A}${A}` fill the memory.
const MOST_EXPANDED: usize = 4 * 1024 * 1024;

/// A parsed and expanded env file.
#[derive(Debug, Default)]
pub struct EnvFile {
    statements: Vec<Statement>,
    /// The last readable statement of each name.
    latest: HashMap<String, usize>,
}

impl EnvFile {
    /// Reads any bytes. `environment` serves `${NAME}` where no earlier line defines it.
    pub fn parse(bytes: &[u8], environment: impl Fn(&str) -> Option<String>) -> Self {
        let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
        let mut file = Self::default();
        let mut room = MOST_EXPANDED;
        for mut statement in statements(&text) {
            if let Value::Text(value) = &statement.value
                && value.contains("${")
            {
                let expanded = expand(value, room, |name| file.known(name, &environment));
                // Once there was too little room, nothing that might build on the missing value is expanded.
                room = expanded.as_ref().map_or(0, |value| room - value.len());
                statement.value = expanded.map_or(
                    Value::Broken("the values of this file expand to more than 4 MiB"),
                    Value::Text,
                );
            }
            file.push(statement);
        }
        file
    }

    fn push(&mut self, statement: Statement) {
        if !matches!(statement.value, Value::Broken(_)) {
            let at = self.statements.len();
            self.latest.insert(statement.name.clone(), at);
        }
        self.statements.push(statement);
    }

    /// What `${name}` stands for: the last of the lines so far, empty for a name without `=`, else the environment.
    fn known(
        &self,
        name: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Zeroizing<String>> {
        let Some(at) = self.latest.get(name) else {
            return environment(name).map(Zeroizing::new);
        };
        match &self.statements[*at].value {
            Value::Text(value) => Some(value.clone()),
            _ => Some(Zeroizing::default()),
        }
    }

    /// Every name that is set, once.
    pub fn names(&self) -> BTreeSet<&str> {
        let names = self.statements.iter();
        names.map(|statement| statement.name.as_str()).collect()
    }

    /// The line and value of `name`; None where the file does not set it.
    ///
    /// The error is a fragment that fits behind the name: `is set twice, on lines 2 and 5`.
    pub fn find(&self, name: &str) -> Result<Option<(usize, &str)>, String> {
        let mut found: Vec<&Statement> = Vec::new();
        for statement in &self.statements {
            match &statement.value {
                Value::Broken(why) if statement.name == name => {
                    return Err(format!("can't be read on line {}: {why}", statement.line));
                }
                _ if statement.name == format!("\u{feff}{name}") => {
                    return Err(format!(
                        "is hidden on line {} by a byte order mark (BOM) before it",
                        statement.line
                    ));
                }
                _ if statement.name == name => found.push(statement),
                _ => {}
            }
        }
        the_only_one(&found)
    }
}

/// Names with what their tokens hold, and names of what is no token.
pub type Tokens = (Vec<(String, Secret)>, Vec<String>);

impl EnvFile {
    /// What each token holds, and the names of what is no token; all that can't be read or opened is told at once.
    pub fn tokens(&self, keys: &Keys, now: u64, path: &Path) -> Outcome<Tokens> {
        let (mut tokens, mut others, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for name in self.names() {
            let told = escaped(name);
            let place = shown(path);
            match self.find(name) {
                Err(fault) => problems.push(Problem::new(format!("{told} in {place} {fault}"))),
                Ok(None) => others.push(name.to_owned()),
                Ok(Some((line, value))) => match Token::parse(value.trim()) {
                    Err(_) => others.push(name.to_owned()),
                    Ok(token) => match keys.open(&token, now) {
                        Ok(opened) => tokens.push((name.to_owned(), opened.secret)),
                        Err(_) => problems.push(Problem::new(format!(
                            "{told} on line {line} of {place} is opened by none of the keys"
                        ))),
                    },
                },
            }
        }
        none_of(&problems)?;
        Ok((tokens, others))
    }
}

fn the_only_one<'a>(found: &[&'a Statement]) -> Result<Option<(usize, &'a str)>, String> {
    match found {
        [] => Ok(None),
        [only] => match &only.value {
            Value::Text(value) if value.contains('\u{fffd}') => {
                Err(format!("is not UTF-8 on line {}", only.line))
            }
            Value::Text(value) => Ok(Some((only.line, value))),
            _ => Ok(None),
        },
        [first, second, ..] => Err(format!(
            "is set more than once, on lines {} and {}",
            first.line, second.line
        )),
    }
}

/// Replaces `${NAME}` and `${NAME:-default}`; never `$NAME`. None where the result would have more than `room` bytes.
fn expand(
    value: &str,
    room: usize,
    resolve: impl Fn(&str) -> Option<Zeroizing<String>>,
) -> Option<Zeroizing<String>> {
    let mut result = Zeroizing::new(String::with_capacity(value.len()));
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, default, behind)) = variable(rest) {
            match resolve(name) {
                Some(known) => result.push_str(&known),
                None => result.push_str(default),
            }
            rest = behind;
        } else {
            result.push('$');
            rest = &rest[1..];
        }
        if result.len() >= room {
            return None;
        }
    }
    result.push_str(rest);
    (result.len() < room).then_some(result)
}

/// Name, default and what follows, where `text` starts with a whole `${…}`.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let inside = text.strip_prefix("${")?;
    let (name, behind) = inside.split_at(inside.find(['}', ':'])?);
    if let Some(behind) = behind.strip_prefix('}') {
        return Some((name, "", behind));
    }
    let (default, behind) = behind.strip_prefix(":-")?.split_once('}')?;
    Some((name, default, behind))
}

#[cfg(test)]
#[path = "env_file_tests.rs"]
mod tests;
