#![no_main]
//! The key file: a key or a distinct complaint, which never holds what stands in the file; and tokens opened with it.

use backupctl::secret::{Keys, Secret, encrypt, fuzzed::Token};
use backupctl_fuzz::is_clean_line;
use libfuzzer_sys::fuzz_target;

const COMPLAINTS: [&str; 7] = [
    "starts with a byte order mark (BOM)",
    "has Windows line ends (CRLF)",
    "is no text",
    "is empty",
    "it is a token, not a key",
    "it is no base64",
    " bytes instead of 32",
];

/// Nothing but our own words and numbers.
fn is_our_own(complaint: &str) {
    is_clean_line(complaint);
    let words = complaint.split(": ").last().unwrap_or_default();
    let words = words.trim_start_matches(|c: char| c.is_ascii_digit());
    assert!(COMPLAINTS.contains(&words), "{complaint}");
}

fn opens(keys: &Keys, data: &[u8]) {
    let token = encrypt(keys, &Secret::new("CANARY".to_owned()));
    let token = Token::parse(&token).ok().expect("our own token");
    let opened = keys.open(&token, token.made).ok().expect("our own token");
    assert_eq!(opened.secret.expose(), "CANARY");
    for line in String::from_utf8_lossy(data).lines() {
        if let Ok(token) = Token::parse(line) {
            let _ = keys.open(&token, u64::from_be_bytes([data[0]; 8]));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    match Keys::from_file(data) {
        Ok(keys) => opens(&keys, data),
        Err(complaint) => is_our_own(&complaint),
    }
    match Keys::from_variable(&String::from_utf8_lossy(data)) {
        Ok(keys) => opens(&keys, data),
        Err(complaint) => is_our_own(&complaint),
    }
});
