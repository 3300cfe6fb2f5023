//! What can be wrong with an archive, before somebody who knows where it came from judges it.

use std::error::Error;
use std::fmt;
use std::io;

use zip::result::ZipError;

use crate::escape::{quoted, said};
use crate::verdict::{Failed, Verdict};

/// Why an archive gives no dump.
#[derive(Debug)]
pub enum Problem {
    /// Not wholly there, or no archive at all: half uploaded in a store, damaged once it was fetched.
    NoEndRecord(String),
    /// Broken or unsafe.
    Damaged {
        message: String,
        hint: Option<String>,
    },
    /// In order, but which dump, or how to read it, must be said in the configuration.
    Config { message: String, hint: String },
    /// The archive could not be read: the network for a remote one.
    Io(io::Error),
    /// The unpacked bytes could not be written.
    WriteFailed(io::Error),
    /// Ended by the caller's `stopped`.
    Stopped,
}

impl Problem {
    pub(super) fn damaged(message: impl fmt::Display) -> Self {
        Self::Damaged {
            message: message.to_string(),
            hint: None,
        }
    }

    /// The verdict, given what a missing end record and a failing reader mean for this archive.
    #[must_use]
    pub fn judged(self, no_end_record: Verdict, reader_failed: Verdict) -> Failed {
        match self {
            Self::NoEndRecord(message) => Failed::new(no_end_record, message),
            Self::Damaged { message, hint } => match hint {
                Some(hint) => Failed::new(Verdict::Damaged, message).hint(hint),
                None => Failed::new(Verdict::Damaged, message),
            },
            Self::Config { message, hint } => Failed::new(Verdict::Config, message).hint(hint),
            Self::Io(error) => caused(reader_failed, "read the archive", error),
            Self::WriteFailed(error) => caused(Verdict::Local, "write the unpacked dump", error),
            // A thread that saw the stop may be heard before the run's own wait for it is.
            Self::Stopped => Failed::interrupted(),
        }
    }

    /// Tells a failing reader from a broken archive, in an error that reading an entry gave.
    #[must_use]
    pub fn from_reading(error: io::Error) -> Self {
        match error.downcast::<ReaderFailed>() {
            Ok(ReaderFailed(error)) => Self::Io(error),
            Err(error) => Self::damaged(worded(&error.to_string())),
        }
    }

    /// Whether this is what a failing reader gave.
    pub(super) fn is_of_reader(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
        cause.is::<ReaderFailed>()
    }

    /// Says which entry is broken.
    pub(super) fn in_entry(self, name: &str) -> Self {
        match self {
            Self::Damaged { message, hint } if !name.is_empty() => Self::Damaged {
                message: format!("the entry {} is broken: {message}", quoted(name)),
                hint,
            },
            other => other,
        }
    }

    pub(super) fn from_zip(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::from_reading(error),
            other => Self::damaged(said(&other.to_string())),
        }
    }
}

/// What AES proves is asked only where the dump's first bytes have shown that the password is right.
fn worded(text: &str) -> String {
    if text.starts_with("Invalid authentication code") {
        return "its bytes are not those that were encrypted: the authentication code is another"
            .into();
    }
    said(text)
}

fn caused(verdict: Verdict, context: &str, error: io::Error) -> Failed {
    Failed {
        verdict,
        error: anyhow::Error::new(error),
        hint: None,
    }
    .context(context)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndRecord(message)
            | Self::Damaged { message, .. }
            | Self::Config { message, .. } => f.write_str(message),
            Self::Io(error) => write!(f, "read the archive: {error}"),
            Self::WriteFailed(error) => write!(f, "write the unpacked dump: {error}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl Error for Problem {}

/// Marks an error of the underlying reader on its way through the decoders, which report their own as `io::Error` too.
#[derive(Debug)]
pub(super) struct ReaderFailed(pub(super) io::Error);

impl fmt::Display for ReaderFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ReaderFailed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stop_ends_is_interrupted_and_no_bug() {
        let failed = Problem::Stopped.judged(Verdict::Stale, Verdict::Network);
        assert!(
            matches!(failed.verdict, Verdict::Interrupted(_)),
            "{failed:?}"
        );
    }
}
