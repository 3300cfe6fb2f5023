//! What is wrong with secrets, collected so that the operator sees all of it at once.

use std::path::Path;

use crate::escape::escaped;
use crate::verdict::{Failed, Outcome, Verdict};

/// One line of what is wrong, never with a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    /// The exact command or act that mends it, where there is one.
    pub remedy: Option<String>,
}

impl Problem {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            remedy: None,
        }
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Puts the setting or the thing that it is about before it.
    pub fn about(mut self, what: impl std::fmt::Display) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

/// Fine where there are no problems, else [`failure`].
pub fn none_of(problems: &[Problem]) -> Outcome<()> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(failure(problems))
}

/// All problems as one failure of verdict `config`, a line each, and each remedy once.
pub fn failure(problems: &[Problem]) -> Failed {
    let lines: Vec<&str> = problems.iter().map(|p| p.text.as_str()).collect();
    let message = match lines.as_slice() {
        [only] => (*only).to_owned(),
        several => format!("{} problems:\n{}", several.len(), several.join("\n")),
    };
    let mut remedies: Vec<&str> = Vec::new();
    for remedy in problems.iter().filter_map(|p| p.remedy.as_deref()) {
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    let failed = Failed::new(Verdict::Config, message);
    if remedies.is_empty() {
        return failed;
    }
    failed.hint(remedies.join("\n"))
}

/// Quoted for a message, control characters escaped.
pub fn shown(path: &Path) -> String {
    format!("`{}`", escaped(&path.to_string_lossy()))
}

/// As a word of a shell command that can be pasted.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%=:,".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", escaped(&text).replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_problems_are_one_failure_with_a_line_each_and_each_remedy_once() {
        let problems = [
            Problem::new("a").remedy("chmod 600 x"),
            Problem::new("b").remedy("chmod 600 x"),
            Problem::new("c"),
        ];
        let failed = none_of(&problems).expect_err("there are problems");
        assert_eq!(failed.verdict, Verdict::Config);
        assert_eq!(failed.message(), "3 problems:\na\nb\nc");
        assert_eq!(failed.hint.as_deref(), Some("chmod 600 x"));
    }

    #[test]
    fn a_path_in_a_command_can_be_pasted() {
        assert_eq!(shell_word(Path::new("/etc/a.env")), "/etc/a.env");
        assert_eq!(shell_word(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
