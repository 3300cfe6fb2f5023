//! The links of a chain as they were found: a line each, in the chain's order, and the verdict of the worst.

use serde::Serialize;

use crate::verdict::{Failed, Outcome, Verdict};

/// No line is longer, but for one whose word is.
const COLUMNS: usize = 80;
/// Of the longest link's name.
const NAMES: usize = 14;
const HINT: &str = "         hint: ";

/// How a link was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warning,
    Failed,
    Skipped,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One link, as `--json` shows it.
#[derive(Debug, Serialize)]
pub struct Link {
    #[serde(rename = "link")]
    name: &'static str,
    state: State,
    /// Null where it was not judged. A warning ends no run, and is `done`.
    verdict: Option<Verdict>,
    message: String,
    hint: Option<String>,
}

/// What was found of one job, or of one connection.
#[derive(Debug, Serialize)]
pub struct Chain {
    format: u32,
    command: &'static str,
    version: &'static str,
    /// Null where one connection was asked for alone.
    job: Option<String>,
    /// That connection, such as `stores.office`.
    connection: Option<String>,
    verdict: Verdict,
    exit_code: u8,
    message: Option<String>,
    hint: Option<String>,
    links: Vec<Link>,
}

impl Chain {
    pub fn of_job(name: &str) -> Self {
        Self::new(Some(name), None)
    }

    /// Of one connection, by its table in the configuration.
    pub fn of_connection(table: &str) -> Self {
        Self::new(None, Some(table))
    }

    fn new(job: Option<&str>, connection: Option<&str>) -> Self {
        Self {
            format: 1,
            command: "check",
            version: env!("CARGO_PKG_VERSION"),
            job: job.map(str::to_owned),
            connection: connection.map(str::to_owned),
            verdict: Verdict::Done,
            exit_code: 0,
            message: None,
            hint: None,
            links: Vec::new(),
        }
    }

    pub fn ok(&mut self, link: &'static str, message: impl Into<String>) {
        self.links.push(Link {
            name: link,
            state: State::Ok,
            verdict: Some(Verdict::Done),
            message: message.into(),
            hint: None,
        });
    }

    pub fn failed(&mut self, link: &'static str, failed: &Failed) {
        self.links.push(Link {
            name: link,
            state: State::Failed,
            verdict: Some(failed.verdict),
            message: failed.message(),
            hint: failed.hint.clone(),
        });
    }

    /// What ends no run, but should be looked at, with the remedy.
    pub fn caution(&mut self, link: &'static str, message: String, remedy: String) {
        self.links.push(Link {
            name: link,
            state: State::Warning,
            verdict: Some(Verdict::Done),
            message,
            hint: Some(remedy),
        });
    }

    /// The link, and what it gave for those behind it.
    pub fn take<T>(
        &mut self,
        link: &'static str,
        found: Outcome<T>,
        words: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match found {
            Ok(value) => {
                self.ok(link, words(&value));
                Some(value)
            }
            Err(failed) => {
                self.failed(link, &failed);
                None
            }
        }
    }

    /// What can't be judged, because another link is missing.
    pub fn skip(&mut self, links: &[&'static str], needs: &str) {
        self.links.extend(links.iter().map(|link| Link {
            name: link,
            state: State::Skipped,
            verdict: None,
            message: format!("needs {needs}"),
            hint: None,
        }));
    }

    /// What the operator should see of the last link although it holds. One that failed has worse to say.
    pub fn warn(&mut self, warnings: &[String]) {
        let Some(last) = self.links.last_mut() else {
            return;
        };
        if warnings.is_empty() || last.state != State::Ok {
            return;
        }
        last.state = State::Warning;
        last.message = warnings.join("; ");
    }

    /// All is found: which is the worst.
    pub fn judge(&mut self) {
        let verdicts = self.links.iter().filter_map(|link| link.verdict);
        self.verdict = verdicts.fold(Verdict::Done, Verdict::worst);
        self.exit_code = self.verdict.exit_code();
        let failed = self
            .links
            .iter()
            .filter(|link| link.state == State::Failed)
            .collect::<Vec<_>>();
        let Some(worst) = failed.iter().find(|l| l.verdict == Some(self.verdict)) else {
            return;
        };
        let mut message = format!("{}: {}: {}", self.name(), worst.name, worst.message);
        let others = failed.iter().filter(|link| !std::ptr::eq(**link, *worst));
        let others: Vec<&str> = others.map(|link| link.name).collect();
        if !others.is_empty() {
            message = format!("{message}; failed too: {}", others.join(", "));
        }
        let hint = worst.hint.clone();
        self.message = Some(message);
        self.hint = hint;
    }

    /// What an error says, where a link failed.
    pub fn failure(&self) -> Option<Failed> {
        let failed = Failed::new(self.verdict, self.message.clone()?);
        Some(match &self.hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        })
    }

    fn name(&self) -> &str {
        let either = self.job.as_deref().or(self.connection.as_deref());
        either.unwrap_or("check")
    }

    /// For people, within 80 columns where the words allow it.
    pub fn text(&self) -> String {
        let word = match self.verdict {
            Verdict::Done => "ok",
            other => other.word(),
        };
        let mut lines = vec![format!("{}: {word}", self.name())];
        for link in &self.links {
            let lead = format!("{:<8} {:<NAMES$} ", link.state.word(), link.name);
            let colon = if link.state == State::Skipped {
                "skipped: "
            } else {
                ""
            };
            lines.extend(wrapped(&lead, &format!("{colon}{}", link.message)));
            let hints = link.hint.iter().flat_map(|hint| hint.lines());
            lines.extend(hints.flat_map(|hint| wrapped(HINT, hint)));
        }
        lines.join("\n")
    }
}

/// `text` behind `lead`, with the lines after the first one below it. Words are not cut, so that a path can be copied.
fn wrapped(lead: &str, text: &str) -> Vec<String> {
    let columns = |text: &str| text.chars().count();
    let indent = " ".repeat(columns(lead));
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = if lines.is_empty() { lead } else { &indent }.to_owned();
        let mut is_empty = true;
        for word in paragraph.split(' ') {
            if !is_empty && columns(&line) + columns(word) > COLUMNS {
                let full = std::mem::replace(&mut line, indent.clone());
                lines.push(full.trim_end().to_owned());
            }
            line += word;
            line.push(' ');
            is_empty = false;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_link_decides_and_the_others_that_failed_are_named() {
        let mut chain = Chain::of_job("erp");
        chain.failed("secret", &Failed::new(Verdict::Config, "no DB_PASSWORD"));
        chain.skip(&["database login"], "secret");
        chain.failed(
            "archive",
            &Failed::new(Verdict::Stale, "too old").hint("look at the backup"),
        );
        chain.ok("clock", "right");
        chain.warn(&["it is late".to_owned()]);
        chain.judge();
        assert_eq!((chain.verdict, chain.exit_code), (Verdict::Stale, 7));
        let failed = chain.failure().expect("it failed");
        assert_eq!(
            failed.message(),
            "erp: archive: too old; failed too: secret"
        );
        assert_eq!(failed.hint.as_deref(), Some("look at the backup"));
        assert_eq!(
            chain.text(),
            "erp: stale\n\
             failed   secret         no DB_PASSWORD\n\
             skipped  database login skipped: needs secret\n\
             failed   archive        too old\n\
             \x20        hint: look at the backup\n\
             warning  clock          it is late"
        );
    }

    #[test]
    fn a_warning_ends_no_run() {
        let mut chain = Chain::of_job("erp");
        chain.ok("clock", "right");
        chain.warn(&["it is late".to_owned()]);
        chain.judge();
        assert_eq!(chain.verdict, Verdict::Done);
        assert!(chain.failure().is_none());
    }

    #[test]
    fn lines_fit_into_80_columns_and_words_are_not_cut() {
        let path = "/var/lib/".to_owned() + &"x".repeat(90);
        let text = format!("{} {path} end", "word ".repeat(30).trim_end());
        let lines = wrapped(HINT, &text);
        assert!(lines.iter().any(|line| line.ends_with(&path)), "{lines:?}");
        let rest = lines.iter().filter(|line| !line.contains(&path));
        assert!(
            { rest }.all(|line| line.chars().count() <= COLUMNS),
            "{lines:?}"
        );
        let joined: Vec<&str> = lines.iter().map(|line| line[HINT.len()..].trim()).collect();
        assert_eq!(joined.join(" "), text);
    }
}
