//! One `name=value` as the catalog keeps it, written as a SET clause that stores the same again.

use crate::database::connection::{quote_identifier, quote_literal};

/// Parameters whose value is a list of quoted names: given as one constant, the whole list would become one name.
/// They are fixed in the server; an extension can't add one.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Name and value; None where it is neither.
#[must_use]
pub fn split(text: &str) -> Option<(&str, &str)> {
    text.split_once('=')
}

/// `SET "search_path" TO '$user', 'public'`: what follows ALTER DATABASE x or ALTER ROLE r IN DATABASE x.
#[must_use]
pub fn clause(name: &str, value: &str) -> String {
    let values = if LISTS.iter().any(|list| list.eq_ignore_ascii_case(name)) {
        elements(value)
            .iter()
            .map(|element| quote_literal(element))
            .collect::<Vec<_>>()
            .join(", ")
    } else {
        quote_literal(value)
    };
    format!("SET {} TO {values}", quote_identifier(name))
}

/// The names in `"$user", public`; the empty list is one empty name, which SET takes back as the empty list.
fn elements(list: &str) -> Vec<String> {
    let (mut found, mut current, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = list.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                current.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => found.push(std::mem::take(&mut current)),
            c if c.is_ascii_whitespace() && !quoted => {}
            c => current.push(c),
        }
    }
    found.push(current);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_is_set_name_by_name_and_anything_else_as_one_constant() {
        for (name, value, expected) in [
            (
                "search_path",
                r#""$user", public, "a ""b"", c""#,
                r#"SET "search_path" TO '$user', 'public', 'a "b", c'"#,
            ),
            ("search_path", r#""""#, r#"SET "search_path" TO ''"#),
            ("search_path", "", r#"SET "search_path" TO ''"#),
            ("DateStyle", "ISO, DMY", r#"SET "DateStyle" TO 'ISO, DMY'"#),
            (
                "app.motto",
                "it's = so",
                r#"SET "app.motto" TO 'it''s = so'"#,
            ),
            ("app.path", r"C:\x", r#"SET "app.path" TO  E'C:\\x'"#),
        ] {
            assert_eq!(clause(name, value), expected);
        }
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(split("app.motto=a=b"), Some(("app.motto", "a=b")));
        assert_eq!(split("broken"), None);
    }
}
