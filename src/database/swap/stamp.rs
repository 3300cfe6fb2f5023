//! The comment on a database that a swap has set aside: by it, and by nothing else, a previous database is known as ours.
//!
//! A sentence for whoever meets the database, then JSON for backupctl. The sentence holds nothing from outside, so that the JSON's start is sure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::database::beside::BesideStamp;
use crate::run::RunId;

use super::prepared::PreparedStamp;

const SENTENCE: &str =
    "Set aside by backupctl: this was the live database before a swap, kept for `backupctl undo`. ";

/// What the stamp says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    format: u32,
    /// The name it was live under.
    pub live: String,
    /// The name it was given; a database with another name was renamed by somebody, and is theirs.
    pub name: String,
    pub run: String,
    /// By the server's clock.
    pub swapped_at: Timestamp,
    /// The comment it had as the live database.
    pub comment: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    backupctl: Stamp,
}

impl Stamp {
    /// A stamp for `name`, which was live as `live` until `swapped_at`.
    #[must_use]
    pub fn new(live: &str, name: &str, run: &RunId, swapped_at: Timestamp) -> Self {
        Self {
            format: 1,
            live: live.to_owned(),
            name: name.to_owned(),
            run: run.to_string(),
            swapped_at,
            comment: None,
        }
    }

    /// Keeps the comment that the database had. A stamp that somebody brought back with its database is unwrapped.
    #[must_use]
    pub fn with_comment(mut self, comment: Option<&str>) -> Self {
        self.comment = original(comment);
        self
    }

    /// The whole comment.
    ///
    /// # Errors
    /// Never in practice: text and a timestamp can always be written as JSON.
    pub fn to_comment(&self) -> serde_json::Result<String> {
        let wrapped = Wrapped {
            backupctl: self.clone(),
        };
        Ok(format!("{SENTENCE}{}", serde_json::to_string(&wrapped)?))
    }

    /// The stamp in a comment; None where it is not wholly one: then the database is not ours.
    #[must_use]
    pub fn parse(comment: &str) -> Option<Self> {
        let json = comment.strip_prefix(SENTENCE)?;
        let Wrapped { backupctl: stamp } = serde_json::from_str(json).ok()?;
        (stamp.format == 1 && RunId::parse(&stamp.run).is_some()).then_some(stamp)
    }
}

/// The comment that a database has for its own sake: a stamp's inner one where it is stamped, none where it was only prepared, or was
/// loaded to be looked at: by that stamp whoever drops it would drop what is live.
#[must_use]
pub fn original(comment: Option<&str>) -> Option<String> {
    match comment.map(|text| (text, Stamp::parse(text))) {
        None => None,
        Some((_, Some(stamp))) => stamp.comment,
        Some((text, None))
            if PreparedStamp::parse(text).is_some() || BesideStamp::parse(text).is_some() =>
        {
            None
        }
        Some((text, None)) => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(live: &str, comment: Option<&str>) -> Stamp {
        let run = RunId::parse("20261120-020000-7f3a").expect("an id");
        let at = "2026-11-20T02:00:05Z".parse().expect("a timestamp");
        Stamp::new(live, "erp_before_20261120_020000_7f3a", &run, at).with_comment(comment)
    }

    proptest! {
        #[test]
        fn a_stamp_reads_back_whatever_was_in_it(live in ".{1,40}", comment in proptest::option::of(".*")) {
            let stamp = stamp(&live, comment.as_deref());
            let text = stamp.to_comment().expect("a comment");
            prop_assert_eq!(Stamp::parse(&text), Some(stamp));
        }
    }

    #[test]
    fn a_stamped_comment_is_never_stamped_twice() {
        let inner = stamp("erp", Some("the \"shop\"\n$1"))
            .to_comment()
            .expect("a comment");
        assert_eq!(
            stamp("erp", Some(&inner)).comment.as_deref(),
            Some("the \"shop\"\n$1")
        );
        assert_eq!(original(Some(&inner)).as_deref(), Some("the \"shop\"\n$1"));
    }

    #[test]
    fn a_comment_that_is_not_wholly_a_stamp_is_none() {
        let whole = stamp("erp", None).to_comment().expect("a comment");
        for text in [
            "",
            "set aside by backupctl",
            SENTENCE,
            &whole[..whole.len() - 1],
            &format!("{whole} do not drop"),
            &whole.replace("20261120-020000-7f3a", "yesterday"),
            &whole.replace("\"format\":1", "\"format\":2"),
            &whole[SENTENCE.len()..],
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }
}
