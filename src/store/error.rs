//! What can go wrong with a store, typed: the caller tries again only what trying again can mend.

use std::{fmt, io};

use crate::verdict::{Failed, Verdict};

/// The class of a store's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The archive is not there (any more).
    NotFound,
    /// The directory or the archive may not be read by this user.
    Denied,
    /// No connection came about: name, network, port, silence, or something that is no SSH server.
    Unreachable,
    /// A connection that had come about ended or stalled, or a file shrank while it was read.
    Interrupted,
    /// They don't accept us, or we don't accept them: host key, algorithms, login.
    Refused,
    /// The configuration, a key file, or the server's set-up: only a person can mend it.
    Config,
    /// The other side breaks the rules of its protocol.
    Protocol,
    /// This machine, for a local directory.
    Local,
}

impl Kind {
    /// Whether the same attempt may succeed in a moment.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::Interrupted)
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::NotFound => Verdict::Stale,
            Self::Denied | Self::Config => Verdict::Config,
            Self::Unreachable | Self::Interrupted | Self::Protocol => Verdict::Network,
            Self::Refused => Verdict::Refused,
            Self::Local => Verdict::Local,
        }
    }
}

/// An error of a store, with its class and what to do about it.
#[derive(Debug)]
pub struct StoreError {
    pub kind: Kind,
    pub error: anyhow::Error,
    pub hint: Option<String>,
}

impl StoreError {
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            error: anyhow::anyhow!("{message}"),
            hint: None,
        }
    }

    /// Says what to do next. The first hint, nearest to the cause, wins.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint.get_or_insert_with(|| hint.to_string());
        self
    }

    /// Puts what was being done before the cause.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.error = self.error.context(context.to_string());
        self
    }

    /// What a read or a seek of an [`super::Opened`] file met.
    #[must_use]
    pub fn of_read(error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => Kind::Denied,
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::TimedOut | io::ErrorKind::UnexpectedEof => Kind::Interrupted,
            _ => Kind::Local,
        };
        Self {
            kind,
            error: error.into(),
            hint: None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::Denied => io::ErrorKind::PermissionDenied,
            Kind::Interrupted => io::ErrorKind::ConnectionReset,
            Kind::Protocol => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self {
            verdict: error.kind.verdict(),
            error: error.error,
            hint: error.hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_can_mend_may_pass() {
        use Kind::{Config, Denied, Interrupted, Local, NotFound, Protocol, Refused, Unreachable};
        let all = [
            NotFound,
            Denied,
            Unreachable,
            Interrupted,
            Refused,
            Config,
            Protocol,
            Local,
        ];
        let passing: Vec<Kind> = all.into_iter().filter(|kind| kind.may_pass()).collect();
        assert_eq!(passing, [Unreachable, Interrupted]);
    }

    #[test]
    fn an_error_keeps_its_class_and_hint_through_a_read() {
        let error = StoreError::new(Kind::Protocol, "too long").hint("tell them");
        let found = StoreError::of_read(io::Error::from(error));
        assert_eq!(found.kind, Kind::Protocol);
        assert_eq!(found.hint.as_deref(), Some("tell them"));
    }

    #[test]
    fn an_error_becomes_a_judged_failure_with_its_hint() {
        let failed = Failed::from(
            StoreError::new(Kind::Denied, "no")
                .hint("chmod")
                .context("list x"),
        );
        assert_eq!(failed.verdict, Verdict::Config);
        assert_eq!(failed.message(), "list x: no");
        assert_eq!(failed.hint.as_deref(), Some("chmod"));
    }
}
