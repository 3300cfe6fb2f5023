//! The roles that an entry's SQL names: pg_restore's own list shows owners, but not who is granted what.
//!
//! Reads what pg_dump writes: GRANT, REVOKE, ALTER DEFAULT PRIVILEGES, SET SESSION AUTHORIZATION, CREATE POLICY, CREATE USER MAPPING.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// A word of pg_dump's SQL; comments and dollar quotes are not told apart from it.
#[derive(Debug, PartialEq, Eq)]
pub enum Token {
    /// A bare word, folded to lower case as the server does.
    Word(String),
    Quoted(String),
    /// A string literal, whose content is nobody's name.
    Literal,
    Symbol(char),
}

impl Token {
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }
}

/// Keywords in the place of a role that are no role of this server's list.
const NO_ROLES: [&str; 6] = [
    "public",
    "current_user",
    "current_role",
    "session_user",
    "user",
    "default",
];

/// Adds every role that the statements of `sql` name.
pub fn collect(sql: &str, roles: &mut BTreeSet<String>) {
    let tokens = tokens(sql);
    for statement in tokens.split(|token| *token == Token::Symbol(';')) {
        match statement.first() {
            Some(Token::Word(verb)) if verb == "grant" || verb == "revoke" || verb == "alter" => {
                granted(statement, roles);
            }
            Some(Token::Word(verb)) if verb == "create" => created(statement, roles),
            Some(Token::Word(verb)) if verb == "set" => {
                after(statement, &["session", "authorization"], roles);
            }
            _ => {}
        }
    }
}

fn granted(statement: &[Token], roles: &mut BTreeSet<String>) {
    if statement[0].is("alter") {
        after(statement, &["for", "role"], roles);
        after(statement, &["for", "user"], roles);
    }
    after(statement, &["to"], roles);
    after(statement, &["from"], roles);
    after(statement, &["granted", "by"], roles);
}

fn created(statement: &[Token], roles: &mut BTreeSet<String>) {
    let second = statement.get(1);
    if second.is_some_and(|token| token.is("policy")) {
        // Behind USING and WITH CHECK stand expressions, in which TO may mean anything.
        let end = statement
            .iter()
            .position(|token| token.is("using") || token.is("with"))
            .unwrap_or(statement.len());
        after(&statement[..end], &["to"], roles);
    } else if second.is_some_and(|token| token.is("user")) {
        after(statement, &["mapping", "for"], roles);
    }
}

/// Adds the comma separated roles behind each place outside parentheses where the words `lead` follow each other.
fn after(statement: &[Token], lead: &[&str], roles: &mut BTreeSet<String>) {
    let mut depth = 0_usize;
    for (at, token) in statement.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        let rest = &statement[at..];
        let leads = rest.len() > lead.len() && rest.iter().zip(lead).all(|(t, word)| t.is(word));
        if depth == 0 && leads {
            list(&rest[lead.len()..], roles);
        }
    }
}

fn list(tokens: &[Token], roles: &mut BTreeSet<String>) {
    let mut tokens = tokens.iter().filter(|token| !token.is("group"));
    while let Some(token) = tokens.next() {
        match token {
            Token::Quoted(name) => roles.insert(name.clone()),
            Token::Word(name) if !NO_ROLES.contains(&name.as_str()) => roles.insert(name.clone()),
            Token::Word(_) => false,
            Token::Literal | Token::Symbol(_) => return,
        };
        if tokens.next() != Some(&Token::Symbol(',')) {
            return;
        }
    }
}

pub fn tokens(sql: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => found.push(Token::Quoted(quoted(&mut chars, '"'))),
            '\'' => {
                quoted(&mut chars, '\'');
                found.push(Token::Literal);
            }
            '-' if chars.peek() == Some(&'-') => {
                chars.by_ref().find(|c| *c == '\n');
            }
            c if is_word(c) => found.push(Token::Word(word(c, &mut chars))),
            c if c.is_whitespace() => {}
            c => found.push(Token::Symbol(c)),
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii() && !c.is_whitespace()
}

fn word(first: char, chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = first.to_ascii_lowercase().to_string();
    while let Some(c) = chars.next_if(|c| is_word(*c)) {
        word.push(c.to_ascii_lowercase());
    }
    word
}

/// What stands between two quotes, the first of which is already read; a doubled quote stands for itself.
fn quoted(chars: &mut Peekable<Chars<'_>>, quote: char) -> String {
    let mut content = String::new();
    while let Some(c) = chars.next() {
        if c == quote && chars.next_if_eq(&quote).is_none() {
            break;
        }
        content.push(c);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles_of(sql: &str) -> Vec<String> {
        let mut roles = BTreeSet::new();
        collect(sql, &mut roles);
        roles.into_iter().collect()
    }

    #[test]
    fn grants_name_their_grantees_and_grantors() {
        let cases: [(&str, &[&str]); 9] = [
            ("GRANT SELECT,INSERT ON TABLE public.t TO app;", &["app"]),
            (
                "GRANT SELECT(\"to\",b) ON TABLE public.\"from x to y\" TO \"App User\" WITH GRANT OPTION;",
                &["App User"],
            ),
            (
                "REVOKE ALL ON SCHEMA public FROM PUBLIC;\nGRANT ALL ON SCHEMA public TO PUBLIC;",
                &[],
            ),
            (
                "GRANT ALL ON TABLE t TO a,\"b\"\"c\",GROUP d;",
                &["a", "b\"c", "d"],
            ),
            (
                "SET SESSION AUTHORIZATION alice;\nGRANT SELECT ON TABLE t TO bob;\nRESET SESSION AUTHORIZATION;",
                &["alice", "bob"],
            ),
            ("SET SESSION AUTHORIZATION DEFAULT;", &[]),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA s GRANT SELECT ON TABLES  TO reader;",
                &["owner", "reader"],
            ),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE o REVOKE ALL ON FUNCTIONS  FROM PUBLIC;",
                &["o"],
            ),
            (
                "GRANT ALL ON FUNCTION public.f(a timestamp with time zone) TO x GRANTED BY y;",
                &["x", "y"],
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(roles_of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn policies_and_user_mappings_name_theirs_but_not_their_expressions() {
        let cases: [(&str, &[&str]); 4] = [
            (
                "CREATE POLICY \"to all\" ON public.t FOR SELECT TO app, \"Auditor\" USING ((a = 'to x; to y'));",
                &["Auditor", "app"],
            ),
            ("CREATE POLICY p ON t USING ((tag ~ ' to nobody'));", &[]),
            (
                "CREATE POLICY p ON t AS RESTRICTIVE TO CURRENT_USER WITH CHECK (true);",
                &[],
            ),
            (
                "CREATE USER MAPPING FOR bob SERVER s OPTIONS (\n    \"user\" 'x'\n);",
                &["bob"],
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(roles_of(sql), expected, "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(sql in ".*") {
            roles_of(&sql);
        }
    }
}
