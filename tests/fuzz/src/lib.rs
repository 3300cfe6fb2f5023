//! What every target asks of the words that the program would show.

use backupctl::verdict::{Failed, Verdict};

/// Fit for a terminal, a log and a mail: no character in it can move the cursor or turn the reading direction.
pub fn is_clean_line(text: &str) {
    let unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    assert!(!text.contains(unfit), "not escaped: {text:?}");
}

/// The same, of a text with several lines.
pub fn are_clean_lines(text: &str) {
    text.split('\n').for_each(is_clean_line);
}

/// An error as it is told: clean, of bounded length, and never a bug.
pub fn is_told(failed: &Failed) {
    let (message, hint) = (failed.message(), failed.hint.clone().unwrap_or_default());
    are_clean_lines(&message);
    are_clean_lines(&hint);
    assert!(
        message.len() + hint.len() < 64 * 1024,
        "too long: {message}"
    );
    assert_ne!(failed.verdict, Verdict::Bug, "{message}");
}
