//! Fernet keys: one or more, newest first, in the form that Python's `cryptography` writes and accepts.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use fernet::Fernet;
use zeroize::Zeroizing;

use super::Secret;
use super::token::Token;

const KEY_BYTES: usize = 32;
/// How far ahead of this machine's clock a token may be made before it is worth a word. The same as Python's.
const CLOCK_SKEW: u64 = 60;

/// As lenient about padding and spare bits as Python is.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys that open tokens; at least one.
pub struct Keys {
    newest: Fernet,
    older: Vec<Fernet>,
}

/// What a token held.
#[derive(Debug)]
pub struct Opened {
    pub secret: Secret,
    /// By how many seconds it was made in this machine's future, where that is more than a skew.
    pub ahead: Option<u64>,
}

/// Why no key opened a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unopened {
    /// Not made with any of the keys, or changed since: an HMAC can't tell the two apart.
    NoKeyFits,
    NotUtf8,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<keys>")
    }
}

impl Keys {
    /// The keys in a key file, one a line. The error is a fragment that fits behind the file's name.
    pub fn from_file(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err("starts with a byte order mark (BOM)".to_owned());
        }
        if bytes.contains(&b'\r') {
            return Err("has Windows line ends (CRLF)".to_owned());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "is no text".to_owned())?;
        Self::from_lines(text.split('\n'))
            .map_err(|(line, fault)| format!("holds no Fernet key on line {line}: {fault}"))?
            .ok_or_else(|| "is empty".to_owned())
    }

    /// The keys in an environment variable, separated by commas or newlines.
    pub fn from_variable(text: &str) -> Result<Self, String> {
        Self::from_lines(text.split([',', '\n']).map(str::trim))
            .map_err(|(number, fault)| format!("holds no Fernet key as number {number}: {fault}"))?
            .ok_or_else(|| "is empty".to_owned())
    }

    fn from_lines<'a>(
        lines: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Self>, (usize, String)> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.is_empty()) {
            keys.push(key(line).map_err(|fault| (number, fault))?);
        }
        let mut keys = keys.into_iter();
        Ok(keys.next().map(|newest| Self {
            newest,
            older: keys.collect(),
        }))
    }

    /// Encrypts with the newest key.
    pub fn encrypt(&self, plaintext: &Secret) -> String {
        self.encrypt_bytes(plaintext.expose().as_bytes())
    }

    /// As [`Self::encrypt`], of whatever a token held.
    pub fn encrypt_bytes(&self, plaintext: &[u8]) -> String {
        self.newest.encrypt(plaintext)
    }

    /// What a token holds, be it text or not; None where no key fits.
    pub fn plain(&self, token: &Token<'_>, now: u64) -> Option<Vec<u8>> {
        // The crate refuses tokens from the future and its sum overflows for absurd ones: it is told a time that suits.
        let time = now.max(token.made.saturating_sub(CLOCK_SKEW));
        std::iter::once(&self.newest)
            .chain(&self.older)
            .find_map(|key| key.decrypt_at_time(token.text, None, time).ok())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.older.len()
    }

    /// Opens a token with whichever key fits. `now` in seconds since 1970.
    pub fn open(&self, token: &Token<'_>, now: u64) -> Result<Opened, Unopened> {
        let plaintext = self.plain(token, now).ok_or(Unopened::NoKeyFits)?;
        let secret = String::from_utf8(plaintext).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            Unopened::NotUtf8
        })?;
        let ahead = token.made.saturating_sub(now);
        Ok(Opened {
            secret: Secret::new(secret),
            ahead: (ahead > CLOCK_SKEW).then_some(ahead),
        })
    }
}

/// A new random key, as text.
pub fn new_key() -> Secret {
    Secret::new(Fernet::generate_key())
}

fn key(text: &str) -> Result<Fernet, String> {
    if Token::parse(text).is_ok() {
        return Err("it is a token, not a key".to_owned());
    }
    // Python takes the standard alphabet as well, so a key by `openssl rand -base64 32` works there.
    let url_safe = Zeroizing::new(text.replace('+', "-").replace('/', "_"));
    let bytes = KEY_BASE64
        .decode(url_safe.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| "it is no base64".to_owned())?;
    if bytes.len() != KEY_BYTES {
        return Err(format!("{} bytes instead of {KEY_BYTES}", bytes.len()));
    }
    let canonical = Zeroizing::new(URL_SAFE.encode(&*bytes));
    Fernet::new(&canonical).ok_or_else(|| "it is not accepted".to_owned())
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
