//! What the server remarks beside its answers, in the order of a session: counted, and its warnings kept.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::error::{DbError, Severity};

use crate::escape::said;

/// Warnings that are kept; a trigger could give one for each row.
const KEPT: usize = 5;

/// The remarks of one session so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// NOTICE, INFO and the like.
    pub notices: usize,
    /// The first few warnings.
    pub warnings: Vec<String>,
}

/// Shared by a session and whoever reads its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Remarked(Arc<Mutex<Remarks>>);

impl Remarked {
    pub fn note(&self, remark: &DbError) {
        let text = said(remark.message());
        tracing::debug!(severity = remark.severity(), "server: {text}");
        let mut remarks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remark.parsed_severity() != Some(Severity::Warning) {
            remarks.notices += 1;
        } else if remarks.warnings.len() < KEPT && !remarks.warnings.contains(&text) {
            remarks.warnings.push(text);
        }
    }

    pub fn so_far(&self) -> Remarks {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
