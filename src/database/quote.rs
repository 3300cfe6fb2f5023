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

    /// What the server makes of a quoted text: the quote doubled, and in `E''` the backslash as well.
    fn read_back(quoted: &str, quote: char) -> Option<String> {
        let escapes = quoted.starts_with(" E");
        let inside = quoted
            .trim_start_matches(" E")
            .strip_prefix(quote)?
            .strip_suffix(quote)?;
        let (mut text, mut chars) = (String::new(), inside.chars());
        while let Some(c) = chars.next() {
            if c == quote || escapes && c == '\\' {
                (chars.next()? == c).then_some(())?;
            }
            text.push(c);
        }
        Some(text)
    }

    /// `pg_split_opts` of the server.
    fn split(options: &str) -> Vec<String> {
        let (mut words, mut word, mut chars) = (Vec::new(), String::new(), options.chars());
        while let Some(c) = chars.next() {
            match c {
                '\\' => word.extend(chars.next()),
                c if c.is_ascii_whitespace() => words.push(std::mem::take(&mut word)),
                c => word.push(c),
            }
        }
        words.push(word);
        words.into_iter().filter(|word| !word.is_empty()).collect()
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back_by_the_server(text in "[^\\x00]*") {
            proptest::prop_assert_eq!(read_back(&quote_identifier(&text), '"'), Some(text.clone()));
            let literal = quote_literal(&text);
            proptest::prop_assert_eq!(read_back(&literal, '\''), Some(text.clone()));
            // Without the E it reads the same where backslashes escape and where they don't.
            proptest::prop_assert!(literal.starts_with(" E") || !literal.contains('\\'));
        }

        #[test]
        fn any_value_stays_one_option(value in "[^\\x00]*") {
            let wanted = vec!["-c".to_owned(), format!("a.b={value}")];
            proptest::prop_assert_eq!(split(&startup_option("a.b", &value)), wanted);
        }
    }
}
