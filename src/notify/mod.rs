//! How people are told: what to say (`message`), how it looks as a mail (`compose`), and to whom it goes (`email`); and how programs
//! are: what of it goes to a URL (`summary`), as a `webhook` or a `ping`, by `http`.

pub mod compose;
mod connection;
mod dial;
mod drill;
pub mod email;
pub mod http;
mod layout;
pub mod message;
mod outcome;
pub mod ping;
mod summary;
mod tables;
mod tls;
pub mod webhook;

use crate::config::NotifyOn;
use crate::escape::escaped;
use crate::verdict::Verdict;

/// Whether a run that ended with `verdict` is worth a mail; `last` is how the job's run before it ended.
///
/// `attention` is always told: an open duty that nobody hears of stays open. A `locked` run is not this function's
/// business: its mail depends on the age of the lock.
#[must_use]
pub fn wanted(on: NotifyOn, verdict: Verdict, last: Option<Verdict>) -> bool {
    let is_news = |verdict| verdict != Verdict::Done;
    match on {
        NotifyOn::Always => true,
        NotifyOn::Failure => is_news(verdict),
        NotifyOn::Change => is_news(verdict) || last.is_some_and(is_news),
    }
}

/// Escaped, but a message that lists several problems keeps a line for each.
fn escaped_lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Signal;

    #[test]
    fn who_asks_for_everything_failures_or_changes_gets_just_that() {
        use Verdict::{Attention, Done, Failed, Stale};
        let interrupted = Verdict::Interrupted(Signal::Terminate);
        // verdict, last verdict, with `failure`, with `change`
        let cases = [
            (Done, None, false, false),
            (Done, Some(Done), false, false),
            (Done, Some(Failed), false, true),
            (Done, Some(Attention), false, true),
            (Failed, None, true, true),
            (Failed, Some(Failed), true, true),
            (Stale, Some(Done), true, true),
            (Attention, Some(Done), true, true),
            (interrupted, Some(Done), true, true),
        ];
        for (verdict, last, on_failure, on_change) in cases {
            assert!(
                wanted(NotifyOn::Always, verdict, last),
                "{verdict} {last:?}"
            );
            assert_eq!(
                wanted(NotifyOn::Failure, verdict, last),
                on_failure,
                "{verdict} {last:?}"
            );
            assert_eq!(
                wanted(NotifyOn::Change, verdict, last),
                on_change,
                "{verdict} {last:?}"
            );
        }
    }
}
