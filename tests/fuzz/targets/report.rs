#![no_main]
//! A report that lies on disk: read back, learnt from, told as text and as a mail, whatever is in it.

use backupctl::notify::compose::{Mail, fuzzed::composed};
use backupctl::notify::message;
use backupctl::report::Record;
use backupctl::store::choose::Earlier;
use backupctl_fuzz::{are_clean_lines, is_clean_line};
use libfuzzer_sys::fuzz_target;

const HEADERS: [&str; 12] = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "X-Backupctl-Run",
    "X-Backupctl-Verdict",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];

/// Only our own headers, in ASCII, each line as short as SMTP wants it.
fn is_a_mail(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("ASCII");
    assert!(text.is_ascii());
    assert!(
        text.split("\r\n")
            .all(|line| line.len() <= 998 && !line.contains(['\r', '\n', '\0']))
    );
    let (head, _) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    for line in head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
    {
        let name = line.split(':').next().unwrap_or_default();
        assert!(HEADERS.contains(&name), "a foreign header: {line}");
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let again = serde_json::to_vec_pretty(&record).expect("a record can be written");
    let again: Record = serde_json::from_slice(&again).expect("what was written can be read");
    assert_eq!(again.verdict, record.verdict);
    let _ = Earlier::from_history(&[record.clone(), again]);
    is_clean_line(&message::subject(&record));
    let text = message::text(&record, None);
    are_clean_lines(&text);
    let log = record.message.clone();
    is_a_mail(&composed(&Mail::about(&record, text, log)));
});
