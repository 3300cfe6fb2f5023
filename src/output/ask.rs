//! What is asked on a terminal, hidden where it is a secret. Without one nobody is ever asked.

use std::io::{self, IsTerminal, Write};

use tokio_util::sync::CancellationToken;

use super::{Output, terminal};
use crate::secret::Secret;
use crate::verdict::{Failed, Outcome, Verdict};

impl Output {
    /// Where something is typed behind it.
    fn prompt(&self, text: &str) {
        self.progress.above(|| {
            let mut stderr = io::stderr().lock();
            // Nothing is left to complain to.
            let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
        });
    }

    /// Whether [`Output::confirm`] could be answered at all, asked before any work is done.
    ///
    /// # Errors
    /// `usage`: neither a terminal nor `--yes`.
    pub fn can_confirm(&self, yes: bool) -> Outcome<()> {
        if yes || io::stdin().is_terminal() {
            return Ok(());
        }
        Err(Failed::new(
            Verdict::Usage,
            "this needs a confirmation, and there is no terminal to ask on",
        )
        .hint("look with `--dry-run` first, then add `--yes`"))
    }

    /// Asks on a terminal; without one, only `yes` counts as consent.
    ///
    /// # Errors
    /// `usage`: neither a terminal nor `--yes`, or the answer was no; `interrupted`: a signal came instead of an answer.
    pub async fn confirm(
        &self,
        question: &str,
        yes: bool,
        stop: &CancellationToken,
    ) -> Outcome<()> {
        self.can_confirm(yes)?;
        if yes {
            return Ok(());
        }
        self.prompt(&format!("{} [y/N] ", self.scrubber.scrub(question)));
        match terminal::read_line(stop).await?.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failed::new(
                Verdict::Usage,
                "not confirmed; nothing was changed",
            )),
        }
    }

    /// A secret from a hidden prompt on a terminal, else from stdin, without its one trailing newline.
    ///
    /// # Errors
    /// `local`: stdin can't be read; `usage`: it is empty or no UTF-8.
    pub async fn ask_secret(&self, prompt: &str, stop: &CancellationToken) -> Outcome<Secret> {
        let mut text = if io::stdin().is_terminal() {
            let _hidden = terminal::Hidden::new()?;
            self.prompt(prompt);
            terminal::read_line(stop).await?
        } else {
            terminal::read_all(stop).await?
        };
        if text.ends_with('\n') {
            text.pop();
        }
        if text.is_empty() {
            return Err(Failed::new(Verdict::Usage, "the secret is empty").hint(
                "type it at the prompt, or give it on stdin, as in `backupctl vault encrypt < FILE`",
            ));
        }
        Ok(Secret::new(text))
    }

    /// Whether there is somebody to ask.
    pub fn has_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// A line from the terminal, without the space around it; where it is empty, `usual`.
    ///
    /// # Errors
    /// `usage`: the input ended; `interrupted`: a signal came instead of an answer.
    pub async fn ask(
        &self,
        question: &str,
        usual: Option<&str>,
        stop: &CancellationToken,
    ) -> Outcome<String> {
        let usual = usual.filter(|usual| !usual.is_empty());
        let shown = usual.map_or(String::new(), |usual| format!(" [{usual}]"));
        // Room for the answer, where the question is long.
        let end = if question.contains('\n') {
            "\n> "
        } else {
            ": "
        };
        self.prompt(&format!("{question}{shown}{end}"));
        let line = answered(terminal::read_line(stop).await?)?;
        let line = line.trim();
        Ok(if line.is_empty() {
            usual.unwrap_or_default().to_owned()
        } else {
            line.to_owned()
        })
    }

    /// A secret typed without being shown; None where nothing was.
    ///
    /// # Errors
    /// As [`Self::ask`]; `local`: the terminal can't hide it.
    pub async fn ask_hidden(
        &self,
        question: &str,
        stop: &CancellationToken,
    ) -> Outcome<Option<Secret>> {
        let hidden = terminal::Hidden::new()?;
        self.prompt(&format!("{question}: "));
        let mut line = answered(terminal::read_line(stop).await?)?;
        drop(hidden);
        if line.ends_with('\n') {
            line.pop();
        }
        let secret = Secret::new(line);
        Ok((!secret.expose().is_empty()).then_some(secret))
    }
}

/// An input that has ended answers nothing, however often it is asked.
fn answered(line: String) -> Outcome<String> {
    if line.is_empty() {
        let failed = Failed::new(Verdict::Usage, "the input ended; nothing was changed");
        return Err(failed);
    }
    Ok(line)
}
