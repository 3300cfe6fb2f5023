//! How a run ends: the verdict, its exit code, and the error that carries both up to the one place where they are printed.
//!
//! Every error that leaves a mechanism is a [`Failed`]: somebody who knew the cause chose its verdict.
//! An error that nobody judged becomes `bug`, so that it is reported instead of passing for a known outcome.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The signal that ended a run in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, exit code 130.
    Interrupt,
    /// SIGTERM, exit code 143.
    Terminate,
}

/// How a run ended. The words and numbers are a contract with scripts and monitors and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Proven good and reported.
    Done,
    /// An unexpected error or a panic in backupctl itself.
    Bug,
    /// Wrong command line.
    Usage,
    /// Configuration, secret, key file, permission, missing role, right or tool.
    Config,
    /// Another run of this job is active.
    Locked,
    /// Unreachable, cut or too slow, after bounded retries.
    Network,
    /// Host key, TLS or login not accepted, by them or by us.
    Refused,
    /// No archive, or too old, still being written, much smaller than the last one, or rejected.
    Stale,
    /// The archive or the dump is broken, unsafe, or no PostgreSQL archive.
    Damaged,
    /// This machine: disk full, unreadable, out of memory.
    Local,
    /// The restore or a check failed; the live database is proven unchanged.
    Failed,
    /// The live database may have changed, or could not be asked.
    Unclear,
    /// The data is good, a duty is open: report not delivered, previous database not dropped.
    Attention,
    /// Ended in order by a signal.
    Interrupted(Signal),
}

/// All verdicts, worst first: the order in which several jobs' verdicts merge into one exit code.
const WORST_FIRST: [Verdict; 15] = [
    Verdict::Unclear,
    Verdict::Interrupted(Signal::Terminate),
    Verdict::Interrupted(Signal::Interrupt),
    Verdict::Bug,
    Verdict::Failed,
    Verdict::Local,
    Verdict::Damaged,
    Verdict::Stale,
    Verdict::Refused,
    Verdict::Network,
    Verdict::Locked,
    Verdict::Config,
    Verdict::Usage,
    Verdict::Attention,
    Verdict::Done,
];

impl Verdict {
    /// The process exit code of a run that ended so.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Locked => 4,
            Self::Network => 5,
            Self::Refused => 6,
            Self::Stale => 7,
            Self::Damaged => 8,
            Self::Local => 9,
            Self::Failed => 10,
            Self::Unclear => 11,
            Self::Attention => 12,
            Self::Interrupted(Signal::Interrupt) => 130,
            Self::Interrupted(Signal::Terminate) => 143,
        }
    }

    /// The one word used in the mail, the JSON, the log and the manual.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Bug => "bug",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Locked => "locked",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Damaged => "damaged",
            Self::Local => "local",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
            Self::Attention => "attention",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// The worse of two verdicts: the exit code of a command over several jobs.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.rank() <= other.rank() {
            self
        } else {
            other
        }
    }

    /// Whether the data is live and good, whatever duty is left.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Done | Self::Attention)
    }

    fn rank(self) -> usize {
        WORST_FIRST.iter().position(|v| *v == self).unwrap_or(0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        WORST_FIRST
            .into_iter()
            .rev()
            .find(|v| v.word() == word)
            .ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no verdict")))
    }
}

/// An error with its verdict and, where there is one, what to do about it.
///
/// Printed once, by `output.rs`: `error: …`, then `hint: …`.
#[derive(Debug)]
pub struct Failed {
    pub verdict: Verdict,
    pub error: anyhow::Error,
    pub hint: Option<String>,
}

/// What everything that can fail returns.
pub type Outcome<T> = Result<T, Failed>;

impl Failed {
    /// An error that starts here, without a deeper cause.
    pub fn new(verdict: Verdict, message: impl fmt::Display) -> Self {
        Self {
            verdict,
            error: anyhow::anyhow!("{message}"),
            hint: None,
        }
    }

    /// Ended by a signal; which one it was is known where signals are listened to.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(Verdict::Interrupted(Signal::Interrupt), "ended by a signal")
    }

    /// Says what to do next. The first hint, nearest to the cause, wins.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint.get_or_insert_with(|| hint.to_string());
        self
    }

    /// Puts what was being done, and on which thing, before the cause.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.error = self.error.context(context.to_string());
        self
    }

    /// The whole chain on one line: `download x.zip: connection reset`.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self {
            verdict: Verdict::Bug,
            error,
            hint: None,
        }
    }
}

/// Gives any error its verdict and context in one call: `std::fs::read(p).judge(Verdict::Local, "read …")?`.
pub trait Judge<T> {
    /// # Errors
    /// The same error, judged, with `context` before it.
    fn judge(self, verdict: Verdict, context: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<anyhow::Error>> Judge<T> for Result<T, E> {
    fn judge(self, verdict: Verdict, context: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failed {
            verdict,
            error: error.into().context(context.to_string()),
            hint: None,
        })
    }
}

/// Adds to an already judged error on its way up.
pub trait Explain<T> {
    /// # Errors
    /// The same error with a hint, unless it has one.
    fn hint(self, hint: impl fmt::Display) -> Outcome<T>;
    /// # Errors
    /// The same error with `context` before it.
    fn context(self, context: impl fmt::Display) -> Outcome<T>;
}

impl<T> Explain<T> for Outcome<T> {
    fn hint(self, hint: impl fmt::Display) -> Self {
        self.map_err(|failed| failed.hint(hint))
    }

    fn context(self, context: impl fmt::Display) -> Self {
        self.map_err(|failed| failed.context(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_the_published_ones_in_the_published_order() {
        let codes: Vec<u8> = WORST_FIRST.iter().map(|v| v.exit_code()).collect();
        assert_eq!(codes, [11, 143, 130, 1, 10, 9, 8, 7, 6, 5, 4, 3, 2, 12, 0]);
    }

    #[test]
    fn a_failure_is_never_hidden_by_attention_or_success() {
        let merged = Verdict::Attention
            .worst(Verdict::Stale)
            .worst(Verdict::Done);
        assert_eq!(merged, Verdict::Stale);
    }

    #[test]
    fn an_error_that_nobody_judged_is_a_bug() {
        assert_eq!(
            Failed::from(anyhow::anyhow!("surprise")).verdict,
            Verdict::Bug
        );
    }
}
