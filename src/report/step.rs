//! The steps of a run, and their words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stage of a run, timed and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Network,
    Fetch,
    Unzip,
    Restore,
    Check,
    /// The rows of what a drill has restored.
    Count,
    /// What was restored is kept beside the live database: for `swap`, or to be looked at.
    Hold,
    Swap,
    Undo,
    /// What was loaded to be looked at, or for a drill, goes.
    Drop,
    Notify,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Fetch => "fetch",
            Self::Unzip => "unzip",
            Self::Restore => "restore",
            Self::Check => "check",
            Self::Count => "count",
            Self::Hold => "hold",
            Self::Swap => "swap",
            Self::Undo => "undo",
            Self::Drop => "drop",
            Self::Notify => "notify",
        })
    }
}
