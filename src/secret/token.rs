//! One Fernet token: told apart from other text by its form, before any key is tried.
//!
//! Decoding is strict, since a lenient one would let a flipped byte through that base64 does not count.
//! Format: <https://github.com/fernet/spec/blob/master/Spec.md>.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

const VERSION: u8 = 0x80;
const TIMESTAMP: std::ops::Range<usize> = 1..9;
/// Version, timestamp, IV and HMAC: everything but the ciphertext.
const ENVELOPE: usize = 1 + 8 + 16 + 32;
const BLOCK: usize = 16;
/// How every token begins whose time lies before the year 2106.
const BEGINNING: &str = "gAAAA";

/// Text that has the form of a token.
pub struct Token<'a> {
    pub text: &'a str,
    /// When it was made, in seconds since 1970; to be believed only once it was opened.
    pub made: u64,
}

/// Why text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoToken {
    /// It does not look like one: a plain password, perhaps.
    Other,
    /// It begins like one, but is cut off or changed.
    Damaged,
}

impl<'a> Token<'a> {
    pub fn parse(text: &'a str) -> Result<Self, NoToken> {
        let no_token = if text.starts_with(BEGINNING) {
            NoToken::Damaged
        } else {
            NoToken::Other
        };
        let bytes = URL_SAFE.decode(text).map_err(|_| no_token)?;
        let timestamp = bytes.get(TIMESTAMP).and_then(|b| b.try_into().ok());
        let whole_blocks = bytes.len() > ENVELOPE && (bytes.len() - ENVELOPE).is_multiple_of(BLOCK);
        match timestamp {
            Some(made) if whole_blocks && bytes[0] == VERSION => Ok(Self {
                text,
                made: u64::from_be_bytes(made),
            }),
            _ => Err(no_token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_told_apart_from_a_damaged_token() {
        assert_eq!(Token::parse("hunter2").err(), Some(NoToken::Other));
        assert_eq!(Token::parse("").err(), Some(NoToken::Other));
        assert_eq!(Token::parse("gAAAAABn").err(), Some(NoToken::Damaged));
    }
}
