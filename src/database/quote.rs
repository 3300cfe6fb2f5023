//! Text from outside, made safe inside an SQL statement.

/// A name as SQL takes it whatever is in it: `"a ""b"""`.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text constant that reads the same whatever `standard_conforming_strings` says: `'it''s'`, ` E'back\\slash'`.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_text_cannot_leave_its_quotes() {
        assert_eq!(
            quote_identifier(r#"a"; drop table x; --"#),
            r#""a""; drop table x; --""#
        );
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"\'"), r" E'\\'''");
    }
}
