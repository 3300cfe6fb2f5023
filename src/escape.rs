//! Text from outside (names, server messages, paths), made fit for a terminal, a log and a mail.
//!
//! One rule for all of them: control characters and characters that can't be seen or turn the reading direction are escaped; quotes,
//! backslashes and letters of every script stay as they are. It is no quoting for SQL or a shell.

use std::fmt::Write as _;

/// The longest text from outside that a message shows; file names and PostgreSQL's names are shorter.
const SHOWN_CHARACTERS: usize = 600;

/// The longest name of an archive's entry that a message shows: such a name may have 64 KiB, and there may be many.
const QUOTED_CHARACTERS: usize = 100;

/// The whole text, in one line.
#[must_use]
pub fn escaped(text: &str) -> String {
    escaped_but(text, |_| false)
}

/// The whole text; the characters that are `kept` stay as they are.
#[must_use]
pub fn escaped_but(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if kept(c) {
            out.push(c);
        } else if c.is_control() {
            // The short form: `\0`, `\n`.
            out.extend(c.escape_debug());
        } else if is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The whole text with its lines.
#[must_use]
pub fn escaped_lines(text: &str) -> String {
    escaped_but(text, |c| c == '\n')
}

/// A JSON document in one line: the same characters as in [`escaped`], in JSON's own way. JSON itself lets most of them stand.
#[must_use]
pub fn escaped_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        if c.is_control() || is_invisible(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A name or another value from outside: in one line, of bounded length.
#[must_use]
pub fn shown(text: &str) -> String {
    capped(text, SHOWN_CHARACTERS)
}

/// What a server or a program said: as [`shown`], its lines joined by spaces.
#[must_use]
pub fn said(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    shown(&lines.join(" "))
}

/// A name in backticks.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", capped(name, QUOTED_CHARACTERS))
}

/// A name as it can be typed in a shell, wherever it comes from.
#[must_use]
pub fn in_shell(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    shown(&format!("'{}'", name.replace('\'', r"'\''")))
}

/// A path, as it can be typed in a shell.
#[must_use]
pub fn in_path(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) {
        return path.to_owned();
    }
    in_shell(path)
}

fn capped(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

/// Separators of lines and paragraphs, soft hyphens, zero-width characters, tags, and whatever turns the reading direction.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_move_the_cursor_break_a_line_or_turn_the_direction() {
        assert_eq!(
            escaped("a\0\r\nb\u{1b}[2J\u{202e}c ä“\u{61c}\u{e0041}"),
            "a\\0\\r\\nb\\u{1b}[2J\\u{202e}c ä“\\u{61c}\\u{e0041}"
        );
        assert_eq!(shown("a\u{1b}[2J\r\n\"b'"), "a\\u{1b}[2J\\r\\n\"b'");
    }

    #[test]
    fn what_a_reader_can_see_stays_as_it_is() {
        // The second ä is two characters, as macOS writes it in file names.
        let name = r"C:\dumps\'ä' a\u{308} 日本 ✓.zip".replace("\\u{308}", "\u{308}");
        assert_eq!(escaped(&name), name);
        assert_eq!(escaped(&escaped("\u{1b}")), "\\u{1b}");
    }

    #[test]
    fn a_name_in_a_command_can_be_typed() {
        assert_eq!(in_shell("erp_look.2"), "erp_look.2");
        assert_eq!(in_shell("it's"), r"'it'\''s'");
        assert_eq!(in_shell("-x"), "'-x'");
        assert_eq!(in_shell(""), "''");
        assert_eq!(in_shell("erp; touch x"), "'erp; touch x'");
    }

    #[test]
    fn a_json_document_stays_the_same_document() {
        let text = "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{e0041}\n\"ä";
        let document = serde_json::json!({ "a": text }).to_string();
        let escaped = escaped_json(&document);
        assert!(
            !escaped.contains(|c: char| c.is_control() || is_invisible(c)),
            "{escaped}"
        );
        let again: serde_json::Value = serde_json::from_str(&escaped).expect("JSON");
        assert_eq!(again["a"], text);
    }

    #[test]
    fn what_a_server_said_becomes_one_line() {
        assert_eq!(
            said(" a\u{1b}[2Jb\r\nc\n\u{202e} "),
            "a\\u{1b}[2Jb c \\u{202e}"
        );
    }

    #[test]
    fn nothing_can_flood_a_message() {
        assert_eq!(
            shown(&"ä".repeat(10_000)).chars().count(),
            SHOWN_CHARACTERS + 1
        );
        assert_eq!(
            quoted(&"ä".repeat(10_000)).chars().count(),
            QUOTED_CHARACTERS + 3
        );
        assert_eq!(quoted("a"), "`a`");
    }

    proptest::proptest! {
        #[test]
        fn whatever_goes_in_nothing_unseen_comes_out(text in proptest::prelude::any::<String>()) {
            let unfit = |c: char| c.is_control() || is_invisible(c);
            for out in [escaped(&text), shown(&text), said(&text), quoted(&text), escaped_json(&text)] {
                proptest::prop_assert!(!out.contains(unfit), "{out:?}");
            }
            let lines = escaped_lines(&text);
            proptest::prop_assert!(!lines.contains(|c| c != '\n' && unfit(c)), "{lines:?}");
            proptest::prop_assert_eq!(escaped(&escaped(&text)), escaped(&text));
            proptest::prop_assert!(shown(&text).chars().count() <= SHOWN_CHARACTERS * 10 + 1);
        }
    }
}
