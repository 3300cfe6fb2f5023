//! A mail as bytes on the wire: headers, text and the attached log. Always ASCII, whatever is in it.

use std::time::SystemTime;

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MessageBuilder, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::message;
use crate::escape::{escaped, escaped_but};
use crate::report::Record;
use crate::verdict::{Judge, Outcome, Verdict};

/// How much of a log is attached.
pub const LOG_LIMIT: usize = 1024 * 1024;

/// What is said, before it is known to whom.
#[derive(Debug, Clone)]
pub struct Mail {
    pub subject: String,
    pub text: String,
    pub log: Option<Log>,
    pub run: String,
    /// None in a test message.
    pub verdict: Option<Verdict>,
    /// This machine, for the Message-ID.
    pub host: String,
    pub date: Timestamp,
}

/// The attached log; capped and escaped when the mail is composed.
#[derive(Debug, Clone)]
pub struct Log {
    /// The attachment's file name.
    pub name: String,
    pub content: String,
}

impl Mail {
    /// The mail about a run. `date` is the run's end, so that a mail delivered a day later doesn't pass for today's.
    #[must_use]
    pub fn about(record: &Record, text: String, log: Option<String>) -> Self {
        let name = format!("{}.log", record.run);
        Self {
            subject: message::subject(record),
            text,
            log: log.map(|content| Log { name, content }),
            run: record.run.clone(),
            verdict: record.verdict,
            host: record.host.clone(),
            date: record.ended.unwrap_or(record.started),
        }
    }

    /// The mail of `backupctl notify --test`.
    #[must_use]
    pub fn test(run: &str, host: &str, date: Timestamp) -> Self {
        Self {
            subject: message::test_subject(host),
            text: message::test_text(host, date),
            log: None,
            run: run.to_owned(),
            verdict: None,
            host: host.to_owned(),
            date,
        }
    }

    /// The same for every delivery of this report to this recipient, so that a repeated one can be told.
    #[must_use]
    pub fn message_id(&self, to: &str) -> String {
        let digest = Sha256::digest(to.to_lowercase().as_bytes());
        let recipient = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let host = plain(&self.host);
        format!("<{}.{recipient:08x}@{host}>", plain(&self.run))
    }
}

/// Header and body as they go over the wire.
///
/// # Errors
/// `bug`: the mail can't be built from these addresses.
pub(super) fn compose(mail: &Mail, from: &Mailbox, to: &Mailbox) -> Outcome<Vec<u8>> {
    let builder = lettre::Message::builder()
        // A report whose date was damaged on disk is told all the same; mail has no dates before 1970.
        .date(SystemTime::from(mail.date.max(Timestamp::UNIX_EPOCH)))
        .from(from.clone())
        .to(to.clone())
        .subject(escaped(&mail.subject))
        .message_id(Some(mail.message_id(to.email.as_ref())))
        .raw_header(extra("Auto-Submitted", "auto-generated"))
        .raw_header(extra("X-Backupctl-Run", &plain(&mail.run)));
    let builder = match mail.verdict {
        Some(verdict) => builder.raw_header(extra("X-Backupctl-Verdict", verdict.word())),
        None => builder,
    };
    let message = with_body(builder, mail).judge(Verdict::Bug, "compose the mail")?;
    let mut bytes = message.formatted();
    // The end of a mail is `CRLF . CRLF`: what ends with line breaks already would end with empty lines.
    while bytes.ends_with(b"\r\n") {
        bytes.truncate(bytes.len() - 2);
    }
    Ok(bytes)
}

/// What `tests/fuzz` composes without a configuration.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzed {
    pub fn composed(mail: &super::Mail) -> Vec<u8> {
        let address = || "ops@example.org".parse().expect("an address");
        super::compose(mail, &address(), &address()).expect("every mail can be composed")
    }
}

fn with_body(
    builder: MessageBuilder,
    mail: &Mail,
) -> Result<lettre::Message, lettre::error::Error> {
    let text = SinglePart::builder()
        .header(ContentType::TEXT_PLAIN)
        .body(mail.text.clone());
    let Some(log) = &mail.log else {
        return builder.singlepart(text);
    };
    let content = capped_log(&log.content, LOG_LIMIT);
    let attachment = Attachment::new(plain(&log.name)).body(content, ContentType::TEXT_PLAIN);
    builder.multipart(MultiPart::mixed().singlepart(text).singlepart(attachment))
}

/// Only what may stand in a message id, a header or a file name without being quoted.
fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

fn extra(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The first quarter and the last three quarters of what fits into `limit` bytes, with a line between that says what
/// was left out; control characters are escaped. The end matters most: it says how the run ended.
#[must_use]
pub fn capped_log(text: &str, limit: usize) -> String {
    let room = limit.saturating_sub(NOTICE_ROOM);
    let whole = (text.len() <= room).then(|| log_text(text));
    if let Some(whole) = whole.filter(|whole| whole.len() <= room) {
        return whole;
    }
    // Cut twice: escaping can make a piece six times as long.
    let head = log_text(first(text, room / 4));
    let tail = log_text(last(text, room - room / 4));
    let (head, tail) = (first(&head, room / 4), last(&tail, room - room / 4));
    let total = text.len();
    format!("{head}\n[… the log has {total} bytes; its middle is left out here …]\n{tail}")
}

/// What the line about the left-out middle may take.
const NOTICE_ROOM: usize = 128;

fn log_text(text: &str) -> String {
    escaped_but(&text.replace("\r\n", "\n"), |c| c == '\n' || c == '\t')
}

/// At most `bytes` of the beginning, in whole lines where there are any.
fn first(text: &str, bytes: usize) -> &str {
    let cut = &text[..text.floor_char_boundary(bytes)];
    if cut.len() == text.len() {
        return cut;
    }
    cut.rfind('\n').map_or(cut, |end| &cut[..end])
}

/// At most `bytes` of the end, in whole lines where there are any.
fn last(text: &str, bytes: usize) -> &str {
    let from = text.len().saturating_sub(bytes);
    let cut = &text[text.ceil_char_boundary(from)..];
    if cut.len() == text.len() {
        return cut;
    }
    cut.find('\n').map_or(cut, |end| &cut[end + 1..])
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn mail() -> Mail {
        Mail {
            subject: "[backupctl] erp: done".into(),
            text: "Größe: 3 µs\n".into(),
            log: Some(Log {
                name: "20261120-020000-7f3a.log".into(),
                content: "x".repeat(5000),
            }),
            run: "20261120-020000-7f3a".into(),
            verdict: Some(Verdict::Done),
            host: "backup1.example.org".into(),
            date: "2026-11-20T02:00:00Z".parse().expect("a timestamp"),
        }
    }

    fn on_the_wire(mail: &Mail) -> String {
        let from = "backupctl <backup@example.org>"
            .parse()
            .expect("an address");
        let to = "ops@example.org".parse().expect("an address");
        String::from_utf8(compose(mail, &from, &to).expect("a mail")).expect("ASCII")
    }

    #[test]
    fn a_mail_is_ascii_in_short_lines_whatever_is_in_it() {
        let wire = on_the_wire(&mail());
        assert!(wire.is_ascii());
        assert!(
            wire.split("\r\n")
                .all(|line| line.len() <= 998 && !line.contains(['\r', '\n']))
        );
    }

    #[test]
    fn a_line_break_in_a_name_makes_no_header() {
        let hostile = Mail {
            subject: "[backupctl] erp\r\nBcc: thief@example.org: done".into(),
            run: "x\r\nBcc: thief@example.org".into(),
            host: "h\nBcc: thief@example.org".into(),
            log: Some(Log {
                name: "a\"\r\nBcc: thief@example.org".into(),
                content: String::new(),
            }),
            ..mail()
        };
        let wire = on_the_wire(&hostile);
        assert!(!wire.to_lowercase().contains("\nbcc"), "{wire}");
    }

    #[test]
    fn a_report_from_before_1970_or_the_end_of_time_is_still_a_mail() {
        for (date, year) in [(Timestamp::MIN, "1970"), (Timestamp::MAX, "9999")] {
            let wire = on_the_wire(&Mail { date, ..mail() });
            assert!(wire.contains(year), "{wire}");
        }
    }

    #[test]
    fn the_same_report_to_the_same_recipient_has_the_same_id() {
        let id = mail().message_id("ops@example.org");
        assert_eq!(id, mail().message_id("Ops@Example.org"));
        assert_ne!(id, mail().message_id("dba@example.org"));
        assert!(
            id.starts_with("<20261120-020000-7f3a.") && id.ends_with("@backup1.example.org>"),
            "{id}"
        );
    }

    #[test]
    fn a_mail_about_a_run_carries_its_words_and_the_time_it_ended() {
        let record: Record = serde_json::from_value(serde_json::json!({
            "format": 1, "run": "20261120-020000-7f3a", "command": "run", "job": "erp", "host": "backup1",
            "version": "0.1.0", "started": "2026-11-20T02:00:00Z", "ended": "2026-11-20T02:10:00Z", "seconds": 600.0,
            "verdict": "stale", "exit_code": 7, "message": "fetch: no archive", "hint": null, "archive": null,
            "dump": null, "database": null, "steps": [], "checks": [], "notified": [], "warnings": []
        }))
        .expect("a record");

        let mail = Mail::about(
            &record,
            message::text(&record, None),
            Some("the log\n".into()),
        );
        let wire = on_the_wire(&mail);

        for part in [
            "Subject: [backupctl] erp: stale\r\n",
            "Date: Fri, 20 Nov 2026 02:10:00 +0000\r\n",
            "X-Backupctl-Verdict: stale\r\n",
            "\r\n\r\nThere is no fresh backup; the live database of job erp is unchanged.\r\n",
            "filename=\"20261120-020000-7f3a.log\"\r\n",
            "\r\n\r\nthe log\r\n",
        ] {
            assert!(wire.contains(part), "{part:?} in\n{wire}");
        }
    }

    #[test]
    fn a_test_mail_has_no_verdict() {
        let wire = on_the_wire(&Mail::test("20261120-020000-7f3a", "backup1", mail().date));
        assert!(
            wire.contains("Subject: [backupctl] test from backup1\r\n"),
            "{wire}"
        );
        assert!(!wire.contains("X-Backupctl-Verdict"), "{wire}");
    }

    #[test]
    fn a_short_log_is_whole_and_harmless() {
        assert_eq!(
            capped_log("a\tb\r\nc\u{1b}[31m\rd\n", 1000),
            "a\tb\nc\\u{1b}[31m\\rd\n"
        );
    }

    #[test]
    fn of_fifty_megabytes_the_beginning_and_the_end_are_left() {
        let mut log = String::new();
        for line in 0..1_000_000 {
            writeln!(log, "line {line:07} of a long log, with a few words in it")
                .expect("to a String");
        }
        assert!(log.len() > 50_000_000);
        let capped = capped_log(&log, LOG_LIMIT);
        assert!(
            capped.len() <= LOG_LIMIT && capped.len() > LOG_LIMIT * 9 / 10,
            "{}",
            capped.len()
        );
        assert!(capped.starts_with("line 0000000 of"));
        assert!(capped.ends_with("line 0999999 of a long log, with a few words in it\n"));
        assert!(
            capped
                .contains("\n[… the log has 51000000 bytes; its middle is left out here …]\nline ")
        );
    }

    #[test]
    fn the_cap_holds_where_escaping_makes_it_longer_or_no_line_ends() {
        for text in ["\u{1b}", "ä", "x", "\u{202e}\n"] {
            let capped = capped_log(&text.repeat(2_000_000 / text.len()), 100_000);
            assert!(capped.len() <= 100_000, "{text:?}: {}", capped.len());
        }
    }
}
