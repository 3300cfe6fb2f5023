//! Keys and tokens that Python's `cryptography` 48.0.0 made, and each way in which they can be wrong.
//!
//! `Fernet(base64.urlsafe_b64encode(bytes(range(32)))).encrypt_at_time("pässword".encode(), 1700000000)`

use super::*;
use crate::secret::token::NoToken;

/// Of the bytes 0 to 31.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Of the bytes 32 to 63.
const OLD_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const TOKEN: &str = "gAAAAABlU_EA36ttlkfOtCJWVD3aE4dKEaA827fwqtdat2jpIAr5IHITsCzq07KZgDssp-U8w2I9baPv3OzsXar9Nf1diIQrVg==";
const OLD_TOKEN: &str = "gAAAAABlU_EATW8icYazKT6WZIIslS042ET3Uif4E6m5AhWQtVtjqfGlgtMr3NdISZ-IP0le5n2pXpTwZLPJn-dhBmMZYJXk7w==";
/// Made at 4102444800, in the year 2100.
const FUTURE: &str = "gAAAAAD0hlcAtMTqE-s-zEljhbb7i6ylvnxRZF8GSCK09kKeL89j0bqaBfrEwedzLU_tpsONrGMvDk-GD9gJ5N0zx4EAl7hPGw==";
/// Made at 2**64 - 1.
const END_OF_TIME: &str = "gP__________Nc3-ZoN2vwNtzwfTZLY5goB4YvTqaCk730hcNPK-seeTutZYTi1RQdbiWY2wn_BvCLqm-j7urscp_rGZKqCVuQ==";
/// Of the bytes ff fe.
const NOT_UTF8: &str = "gAAAAABlU_EAB7I8TdcIrX3JELDhacfeSnkbtOA168Kn2w8G3eP4LJtx9ED35Yl5m-UMCErrFscoA4rro9P_Fsliw2h6SfBkxg==";
const NOW: u64 = 1_800_000_000;

fn keys(text: &str) -> Keys {
    Keys::from_file(text.as_bytes()).expect("a key file")
}

fn open(keys: &Keys, text: &str) -> Result<Opened, Unopened> {
    keys.open(&Token::parse(text).expect("the form of a token"), NOW)
}

fn opened(keys: &Keys, text: &str) -> Opened {
    open(keys, text).expect("a token that a key fits")
}

#[test]
fn tokens_of_python_are_opened_with_whichever_key_fits() {
    for file in [format!("{KEY}\n{OLD_KEY}\n"), format!("{OLD_KEY}\n{KEY}")] {
        for token in [TOKEN, OLD_TOKEN] {
            assert_eq!(opened(&keys(&file), token).secret.expose(), "pässword");
        }
    }
}

#[test]
fn a_key_in_the_standard_alphabet_works_as_in_python() {
    // Fernet(base64.b64encode(bytes([255]) * 32)).encrypt_at_time(b"standard alphabet", 1700000000)
    let token = "gAAAAABlU_EAovt3kKmQZQ-l76mqHm70AfUdRART2HJUrE9gi8dXTNC4LY8yYIZMPEgNzIKr-16oVpCC568H9D6bhIhNceeDxhc-v82PJwl64_hVGQAzyzg=";
    let keys = keys("//////////////////////////////////////////8=");
    assert_eq!(opened(&keys, token).secret.expose(), "standard alphabet");
}

#[test]
fn the_newest_key_encrypts() {
    let both = keys(&format!("{KEY}\n{OLD_KEY}\n"));
    let token = both.encrypt(&Secret::new("canary".to_owned()));
    let fernet = Fernet::new(KEY).expect("a key");
    assert_eq!(fernet.decrypt(&token), Ok(b"canary".to_vec()));
}

#[test]
fn a_new_key_is_one() {
    let key = new_key();
    let token = keys(key.expose()).encrypt(&Secret::new("canary".to_owned()));
    assert_eq!(
        opened(&keys(key.expose()), &token).secret.expose(),
        "canary"
    );
}

#[test]
fn every_fault_of_a_key_file_has_its_own_text_without_the_content() {
    let cut = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==";
    let faults = [
        (String::new(), "is empty"),
        ("\n\n".to_owned(), "is empty"),
        (
            cut.to_owned(),
            "holds no Fernet key on line 1: 31 bytes instead of 32",
        ),
        (
            format!("{KEY}\nnot base64!\n"),
            "holds no Fernet key on line 2: it is no base64",
        ),
        (
            format!(" {KEY}\n"),
            "holds no Fernet key on line 1: it is no base64",
        ),
        (format!("{KEY}\r\n"), "has Windows line ends (CRLF)"),
        (
            format!("\u{feff}{KEY}\n"),
            "starts with a byte order mark (BOM)",
        ),
        (
            format!("{TOKEN}\n"),
            "holds no Fernet key on line 1: it is a token, not a key",
        ),
    ];
    for (content, text) in faults {
        let fault = Keys::from_file(content.as_bytes()).map(drop);
        assert_eq!(fault, Err(text.to_owned()));
    }
    let fault = Keys::from_file(b"\xff\xfe").map(drop);
    assert_eq!(fault, Err("is no text".to_owned()));
}

#[test]
fn a_variable_may_hold_several_keys() {
    for text in [
        format!("{OLD_KEY},{KEY}"),
        format!("{OLD_KEY}\n{KEY}\n"),
        format!(" {OLD_KEY} , {KEY} "),
    ] {
        let keys = Keys::from_variable(&text).expect("two keys");
        assert_eq!(opened(&keys, TOKEN).secret.expose(), "pässword");
    }
    assert_eq!(
        Keys::from_variable(" ").map(drop),
        Err("is empty".to_owned())
    );
}

#[test]
fn a_token_from_the_future_is_opened_and_mentioned() {
    assert_eq!(opened(&keys(KEY), TOKEN).ahead, None);
    assert_eq!(opened(&keys(KEY), FUTURE).ahead, Some(4_102_444_800 - NOW));
    assert_eq!(opened(&keys(KEY), END_OF_TIME).ahead, Some(u64::MAX - NOW));
}

#[test]
fn a_token_a_minute_ahead_is_not_mentioned() {
    let token = Token::parse(TOKEN).expect("a token");
    let opened = keys(KEY)
        .open(&token, 1_700_000_000 - 60)
        .expect("it opens");
    assert_eq!(opened.ahead, None);
}

#[test]
fn a_token_of_another_key_is_not_opened() {
    let fault = open(&keys(OLD_KEY), TOKEN).expect_err("no key fits");
    assert_eq!(fault, Unopened::NoKeyFits);
}

#[test]
fn a_token_of_something_else_than_text_is_not_opened() {
    let fault = open(&keys(KEY), NOT_UTF8).expect_err("no text");
    assert_eq!(fault, Unopened::NotUtf8);
}

#[test]
fn no_flipped_bit_of_a_token_yields_a_value() {
    let keys = keys(KEY);
    for at in 0..TOKEN.len() {
        for bit in 0..8 {
            let mut bytes = TOKEN.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let text = String::from_utf8_lossy(&bytes);
            let value = Token::parse(&text)
                .ok()
                .and_then(|t| keys.open(&t, NOW).ok());
            assert!(value.is_none(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn no_flipped_bit_inside_a_token_yields_a_value() {
    let keys = keys(KEY);
    let inside = URL_SAFE.decode(TOKEN).expect("base64");
    for at in 0..inside.len() * 8 {
        let mut bytes = inside.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let text = URL_SAFE.encode(bytes);
        let value = Token::parse(&text)
            .ok()
            .and_then(|t| keys.open(&t, NOW).ok());
        assert!(value.is_none(), "bit {at}");
    }
}

#[test]
fn no_truncated_token_yields_a_value() {
    for length in 0..TOKEN.len() {
        let text = &TOKEN[..length];
        let fault = Token::parse(text).err();
        let expected = if length < 5 {
            NoToken::Other
        } else {
            NoToken::Damaged
        };
        assert_eq!(fault, Some(expected), "{length}");
    }
}
