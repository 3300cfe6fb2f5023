#![no_main]
//! pg_restore's stderr: what calls itself an error is never passed over, and what is told is clean and short.

use backupctl::database::messages::Messages;
use backupctl_fuzz::{is_clean_line, is_told};
use libfuzzer_sys::fuzz_target;

/// An error by its own words, where the line can't be a part of a statement that an earlier message quotes.
fn is_error(line: &str) -> bool {
    [
        "pg_restore: error: ",
        "pg_restore: fatal: ",
        "ERROR:  ",
        "FATAL:  ",
        "PANIC:  ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
        && !line.starts_with("pg_restore: error: error while")
        && !line.starts_with("pg_restore: error: Error while")
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut messages = Messages::default();
    text.lines().for_each(|line| messages.line(line));
    let failed_already = messages.has_failed();
    let said = messages.finish();
    assert!(said.fatal.is_some() || !failed_already);
    if text.lines().any(is_error) {
        assert!(said.fatal.is_some(), "an error was passed over");
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
    assert!(said.harmless <= lines);
    assert!(said.degraded.len() <= 21);
    for line in &said.degraded {
        is_clean_line(line);
        assert!(line.len() < 8 * 1024);
    }
    if let Some(failed) = &said.fatal {
        is_told(failed);
    }
});
