//! A received mail as a mail program shows it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::stage;

/// Decoded by another implementation than the one that wrote it.
const DECODE: &str = r#"
import email, email.policy, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
for header in ("From", "To", "Date", "Subject"):
    print(f"{header}: {mail[header]}")
print()
print(mail.get_body(("plain",)).get_content().replace("\r", "").rstrip())
print()
for part in mail.iter_attachments():
    lines = len(part.get_content().splitlines())
    print(f"Attachment: {part.get_filename()} ({part.get_content_type()}, {lines} lines)")
"#;

pub fn show(raw: &str) {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-I", "-c", DECODE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(raw.as_bytes()).expect("the mail to decode");
    drop(stdin);
    let output = python.wait_with_output().expect("the decoded mail");
    assert!(output.status.success(), "the mail could not be decoded");
    stage::show(&String::from_utf8_lossy(&output.stdout));
}
