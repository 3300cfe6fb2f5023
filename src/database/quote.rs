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

/// Settings as options of a session's start, the same for libpq's `PGOPTIONS`: ` -c work_mem=64MB`.
#[must_use]
pub fn startup_option(name: &str, value: &str) -> String {
    let mut option = format!(" -c {name}=");
    for c in value.chars() {
        if c == '\\' || c.is_ascii_whitespace() {
            option.push('\\');
        }
        option.push(c);
    }
    option
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

    #[test]
    fn an_option_stays_one_option() {
        assert_eq!(
            startup_option("a.b", r"x -c fsync=off \ 'y'"),
            r" -c a.b=x\ -c\ fsync=off\ \\\ 'y'"
        );
    }
}
