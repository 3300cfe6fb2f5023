//! A dead man's switch, by the convention of healthchecks.io: `URL/start`, then `URL` or `URL/fail`, with one `rid` for both.
//!
//! It raises the alarm by itself when it hears nothing, so it is told of every run, whatever `on` says.

use super::http::{Message, Way};
use super::summary;
use crate::report::Record;
use crate::verdict::Verdict;

/// healthchecks.io keeps so much of a body.
pub const BODY_BYTES: usize = 10_000;

/// What the switch is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Start,
    Success,
    Fail,
    /// Something to note that changes nothing.
    Log,
}

impl Signal {
    /// How a run ended. An open duty is a failure: who should hear of it may not have.
    #[must_use]
    pub fn of(verdict: Option<Verdict>) -> Self {
        match verdict {
            Some(Verdict::Done) => Self::Success,
            _ => Self::Fail,
        }
    }
}

/// Where a signal goes; `id` is the same for the begin and the end of a run.
#[must_use]
pub fn way(way: &Way, signal: Signal, id: &str) -> Way {
    let endpoint = match signal {
        Signal::Start => way.endpoint.below("start"),
        Signal::Success => way.endpoint.clone(),
        Signal::Fail => way.endpoint.below("fail"),
        Signal::Log => way.endpoint.below("log"),
    };
    Way {
        endpoint: endpoint.with("rid", id),
        ..way.clone()
    }
}

/// The verdict and the steps, never the log.
#[must_use]
pub fn message(record: &Record) -> Message {
    plain(&summary::text(record))
}

#[must_use]
pub fn plain(text: &str) -> Message {
    Message {
        content_type: "text/plain; charset=utf-8",
        headers: Vec::new(),
        body: text[..text.floor_char_boundary(BODY_BYTES)].to_owned(),
    }
}

/// A random UUID (RFC 9562, version 4).
#[must_use]
pub fn new_id() -> String {
    let random: u128 = rand::random();
    let versioned = random & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let hex = format!("{versioned:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;

    #[test]
    fn an_id_is_a_random_uuid() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!("89ab".contains(&one[19..20]), "{one}");
    }

    #[test]
    fn begin_and_end_differ_by_the_path_alone() {
        let endpoint = Endpoint::parse("https://hc-ping.com/uuid").expect("a URL");
        let there = Way {
            endpoint,
            ca_file: None,
            setting: "notify.ping".into(),
        };
        let targets = [Signal::Start, Signal::Success, Signal::Fail, Signal::Log]
            .map(|signal| way(&there, signal, "1").endpoint.target());
        let wanted = ["/uuid/start", "/uuid", "/uuid/fail", "/uuid/log"];
        assert_eq!(targets, wanted.map(|path| format!("{path}?rid=1")));
    }

    #[test]
    fn a_body_is_bounded_within_a_character() {
        let body = plain(&"ä€".repeat(BODY_BYTES)).body;
        assert!(body.len() <= BODY_BYTES && body.len() > BODY_BYTES - 4);
    }
}
