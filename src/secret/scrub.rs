//! The last line of defence: takes learnt secrets out of text that others wrote (servers, children, libraries).
//!
//! All forms of all secrets are looked for in one pass. What a secret's neighbours are does not matter: matches that
//! overlap are taken out together.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Secret;
use crate::escape::escaped;

const PLACEHOLDER: &str = "<secret>";
/// Shorter ones would blacken half of every log.
const SHORTEST: usize = 4;
/// A longer text is looked for in pieces of this size: the search grows too big and too slow to build otherwise.
const LONGEST: usize = 256;
/// A shorter piece of base64 turns up in innocent text.
const SHORTEST_PIECE: usize = 8;

/// Replaces secrets by `<secret>`. Clones share what they have learnt.
#[derive(Clone, Default)]
pub struct Scrubber(Arc<RwLock<Learnt>>);

#[derive(Default)]
struct Learnt {
    forms: Vec<Zeroizing<String>>,
    search: Option<AhoCorasick>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber")
    }
}

impl Scrubber {
    /// From now on this secret is replaced, in each form in which it may turn up. Under 4 bytes it is not.
    ///
    /// # Panics
    /// Never: a search has room for billions of forms.
    pub fn learn(&self, secret: &Secret) {
        let new = forms(secret.expose());
        let mut learnt = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in new {
            if !learnt.forms.contains(&form) {
                learnt.forms.push(form);
            }
        }
        if learnt.forms.is_empty() {
            return;
        }
        // The placeholder is one of the patterns, so that text can be scrubbed twice and `secret` may be a secret.
        let patterns = learnt.forms.iter().map(|form| form.as_bytes());
        let search = AhoCorasick::new(patterns.chain([PLACEHOLDER.as_bytes()]));
        learnt.search = Some(search.expect("a few forms of a few secrets fit"));
    }

    /// `text` without what was learnt.
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let learnt = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(search) = &learnt.search else {
            return Cow::Borrowed(text);
        };
        let found = merged(
            search
                .find_overlapping_iter(text)
                .map(|m| (m.start(), m.end()))
                .collect(),
        );
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut clean = String::with_capacity(text.len());
        let mut done = 0;
        for (start, end) in found {
            clean.push_str(&text[done..start]);
            clean.push_str(PLACEHOLDER);
            done = end;
        }
        clean.push_str(&text[done..]);
        Cow::Owned(clean)
    }
}

/// Ranges in order, those that overlap or touch made one.
fn merged(mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Every form of a secret and, where it has several lines, of each longer line: logs come line by line.
fn forms(secret: &str) -> Vec<Zeroizing<String>> {
    let lines = secret.lines().filter(|line| line.len() >= SHORTEST_PIECE);
    let texts = std::iter::once(secret).chain(lines).flat_map(pieces);
    let mut forms: Vec<Zeroizing<String>> = Vec::new();
    for text in texts.filter(|text| text.len() >= SHORTEST) {
        for written in written_forms(text) {
            let json = json_forms(&written);
            forms.push(written);
            forms.extend(json);
        }
        forms.extend(base64_forms(text));
    }
    forms
}

/// A text that is short enough, or pieces of it that cover it, the last one overlapping the one before.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > LONGEST {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(LONGEST));
        pieces.push(piece);
        rest = behind;
    }
    let last = text.len().saturating_sub(LONGEST);
    pieces.push(&text[text.floor_char_boundary(last)..]);
    pieces
}

/// As it stands, as messages show it, as Rust's two debug forms, as in an SQL literal, and in URLs.
fn written_forms(text: &str) -> Vec<Zeroizing<String>> {
    let debug = format!("{text:?}");
    let plus = percent(text, false).replace("%20", "+");
    [
        text.to_owned(),
        escaped(text),
        text.escape_debug().to_string(),
        debug[1..debug.len() - 1].to_owned(),
        text.replace('\'', "''"),
        percent(text, true),
        percent(text, false),
        plus,
    ]
    .map(Zeroizing::new)
    .into()
}

/// Percent-encoded but for RFC 3986's unreserved characters.
fn percent(text: &str, lower_case: bool) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        // Writing to a String can't fail.
        let _ = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
                Ok(())
            }
            _ if lower_case => write!(encoded, "%{byte:02x}"),
            _ => write!(encoded, "%{byte:02X}"),
        };
    }
    encoded
}

/// As inside a JSON string, as serde writes it and in pure ASCII.
fn json_forms(text: &str) -> Vec<Zeroizing<String>> {
    let quoted = Zeroizing::new(serde_json::Value::from(text).to_string());
    let inside = &quoted[1..quoted.len() - 1];
    let mut ascii = Zeroizing::new(String::with_capacity(inside.len()));
    for unit in inside.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
            // Writing to a String can't fail.
            _ => drop(write!(ascii, "\\u{unit:04x}")),
        }
    }
    vec![Zeroizing::new(inside.to_owned()), ascii]
}

/// On its own, and the part that stays the same wherever it stands in something longer (`AUTH PLAIN`, `Basic`).
fn base64_forms(text: &str) -> Vec<Zeroizing<String>> {
    let mut forms = vec![Zeroizing::new(STANDARD.encode(text))];
    forms.extend((0..3).map(|shift| base64_piece(text.as_bytes(), shift)));
    forms.retain(|form| form.len() >= SHORTEST_PIECE);
    let url_safe =
        |form: &Zeroizing<String>| Zeroizing::new(form.replace('+', "-").replace('/', "_"));
    let more: Vec<_> = forms.iter().map(url_safe).collect();
    forms.extend(more);
    forms
}

/// The characters that `bytes` alone decide when `shift` bytes stand before them in a group of three.
fn base64_piece(bytes: &[u8], shift: usize) -> Zeroizing<String> {
    let mut padded = Zeroizing::new(vec![0; shift]);
    padded.extend_from_slice(bytes);
    let encoded = Zeroizing::new(STANDARD.encode(&*padded));
    let first = (shift * 8).div_ceil(6);
    let behind_last = padded.len() * 8 / 6;
    Zeroizing::new(encoded[first..behind_last].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CANARY: &str = "pä\"ss'w\\o rd/+%\u{1f600}";

    fn knowing(secrets: &[&str]) -> Scrubber {
        let scrubber = Scrubber::default();
        for secret in secrets {
            scrubber.learn(&Secret::new((*secret).to_owned()));
        }
        scrubber
    }

    #[test]
    fn every_form_of_a_secret_is_replaced() {
        let scrubber = knowing(&[CANARY]);
        // The ASCII JSON and the two URL forms were made by Python's json.dumps, urllib.parse.quote and quote_plus.
        for form in [
            CANARY.to_owned(),
            CANARY.escape_debug().to_string(),
            serde_json::json!(CANARY).to_string(),
            serde_json::json!(format!("{CANARY:?}")).to_string(),
            r#""p\u00e4\"ss'w\\o rd/+%\ud83d\ude00""#.to_owned(),
            "p%C3%A4%22ss%27w%5Co%20rd%2F%2B%25%F0%9F%98%80".to_owned(),
            "p%c3%a4%22ss%27w%5co%20rd%2f%2b%25%f0%9f%98%80".to_owned(),
            "p%C3%A4%22ss%27w%5Co+rd%2F%2B%25%F0%9F%98%80".to_owned(),
            STANDARD.encode(CANARY),
        ] {
            let text = format!("before {form} after");
            let clean = scrubber.scrub(&text).replace(['"', '\\'], "");
            assert_eq!(clean, "before <secret> after", "{form}");
        }
    }

    #[test]
    fn a_secret_inside_longer_base64_is_replaced() {
        let scrubber = knowing(&["correct horse battery"]);
        for before in ["", "u", "us", "\0user\0", "user:"] {
            let text = STANDARD.encode(format!("{before}correct horse battery"));
            let clean = scrubber.scrub(&text);
            assert!(clean.contains("<secret>"), "{clean}");
            assert!(clean.len() < before.len() * 2 + 16, "{clean}");
        }
    }

    #[test]
    fn secrets_that_overlap_leave_no_rest() {
        let scrubber = knowing(&["abcdef", "defghi", "cdef"]);
        assert_eq!(scrubber.scrub("xabcdefghix"), "x<secret>x");
    }

    #[test]
    fn each_line_of_a_long_secret_is_replaced_too() {
        let scrubber = knowing(&["first-line\nsecond-line\n"]);
        assert_eq!(scrubber.scrub("got second-line here"), "got <secret> here");
    }

    #[test]
    fn a_very_long_secret_is_replaced_as_a_whole() {
        let numbers: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let secret = numbers.join("ü");
        let scrubber = knowing(&[&secret]);
        assert_eq!(scrubber.scrub(&format!("a {secret} b")), "a <secret> b");
    }

    /// As one pattern it kept the search busy for minutes while it was built.
    #[test]
    fn a_very_long_secret_of_one_character_is_learnt_in_time() {
        let secret = "x".repeat(60_000);
        let started = std::time::Instant::now();
        assert_eq!(knowing(&[&secret]).scrub(&secret), PLACEHOLDER);
        assert!(started.elapsed() < std::time::Duration::from_secs(30));
    }

    #[test]
    fn a_secret_under_four_bytes_is_left_alone() {
        assert_eq!(knowing(&["abc", ""]).scrub("abc"), "abc");
    }

    #[test]
    fn text_without_secrets_is_not_copied() {
        let scrubber = knowing(&["canary"]);
        assert!(matches!(scrubber.scrub("nothing here"), Cow::Borrowed(_)));
        assert!(matches!(
            Scrubber::default().scrub("canary"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn what_one_clone_learns_the_other_replaces() {
        let scrubber = Scrubber::default();
        let clone = scrubber.clone();
        scrubber.learn(&Secret::new("canary".to_owned()));
        assert_eq!(clone.scrub("a canary"), "a <secret>");
        assert!(!format!("{clone:?}").contains("canary"));
    }

    #[test]
    fn scrubbing_twice_changes_nothing_more() {
        let scrubber = knowing(&["secret"]);
        let once = scrubber.scrub("a secret").into_owned();
        assert_eq!(once, "a <secret>");
        assert_eq!(scrubber.scrub(&once), once);
    }

    proptest! {
        #[test]
        fn no_secret_survives_in_any_text(secret in "\\PC{4,20}", before: String, after: String) {
            let scrubber = knowing(&[&secret]);
            let clean = scrubber.scrub(&format!("{before}{secret}{after}")).into_owned();
            prop_assume!(!PLACEHOLDER.contains(&secret));
            let survives = clean.split(PLACEHOLDER).any(|rest| rest.contains(&secret));
            prop_assert!(!survives, "{clean}");
        }
    }
}
