//! What an entry's kind and SQL say about the rights that it takes to create it.

use super::roles::{Token, tokens};

/// What a restore by an ordinary role, or for another owner, must know of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// Only a superuser may create it.
    pub needs_superuser: bool,
    /// Only a superuser may own it.
    pub superuser_owns: bool,
    /// A function that runs with its owner's rights.
    pub runs_as_owner: bool,
    /// A function's language.
    pub language: Option<Box<str>>,
}

/// Kinds that only a superuser may create, whatever their SQL says.
const SUPERUSERS: [&str; 9] = [
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "ACCESS METHOD",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "SHELL TYPE",
    "PUBLICATION TABLES IN SCHEMA",
];

pub fn of(kind: &str, tag: &str, sql: &str) -> Traits {
    let mut found = Traits {
        needs_superuser: SUPERUSERS.contains(&kind),
        superuser_owns: matches!(kind, "EVENT TRIGGER" | "FOREIGN DATA WRAPPER"),
        ..Traits::default()
    };
    match kind {
        "FUNCTION" | "PROCEDURE" => function(sql, &mut found),
        "PUBLICATION" => {
            found.needs_superuser = says(sql, &["for", "all", "tables"]);
            found.superuser_owns = found.needs_superuser;
        }
        "TYPE" => found.needs_superuser = is_base_type(sql),
        "CAST" => found.needs_superuser = says(sql, &["without", "function"]),
        // What somebody else than the owner has granted is granted in that role's name.
        "ACL" => found.needs_superuser = says(sql, &["set", "session", "authorization"]),
        // It comes with every new database and belongs to the superuser who made the server.
        "COMMENT" => found.needs_superuser = tag == "EXTENSION plpgsql",
        "PROCEDURAL LANGUAGE" => found.needs_superuser = tag != "plpgsql",
        _ => {}
    }
    found
}

fn says(sql: &str, words: &[&str]) -> bool {
    let tokens = tokens(sql);
    let mut places = tokens.windows(words.len());
    places.any(|place| place.iter().zip(words).all(|(token, word)| token.is(word)))
}

/// `CREATE FUNCTION name(…) RETURNS … LANGUAGE x … SECURITY DEFINER … AS …`: what stands before the body.
fn function(sql: &str, found: &mut Traits) {
    let mut depth = 0_usize;
    let tokens = tokens(sql);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            token if token.is("language") && found.language.is_none() => {
                if let Some(Token::Word(name) | Token::Quoted(name)) = tokens.get(at + 1) {
                    found.language = Some(name.as_str().into());
                }
            }
            token if token.is("definer") => found.runs_as_owner = true,
            token if found.language.is_some() && (token.is("as") || token.is("begin")) => return,
            _ => {}
        }
    }
}

/// `CREATE TYPE name (INPUT = …)`, unlike `AS (…)`, `AS ENUM (…)` and `AS RANGE (…)`.
fn is_base_type(sql: &str) -> bool {
    let tokens = tokens(sql);
    let Some(open) = tokens.iter().position(|token| *token == Token::Symbol('(')) else {
        return false;
    };
    !tokens[..open].iter().any(|token| token.is("as"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, tag, SQL, and whether it takes a superuser.
    const CASES: [(&str, &str, &str, bool); 15] = [
        ("EVENT TRIGGER", "audit", "", true),
        ("TABLE", "t", "", false),
        (
            "PUBLICATION",
            "p",
            "CREATE PUBLICATION p FOR ALL TABLES WITH (publish = 'insert');",
            true,
        ),
        (
            "PUBLICATION",
            "p",
            "CREATE PUBLICATION p WITH (publish = 'insert');",
            false,
        ),
        (
            "TYPE",
            "b",
            "CREATE TYPE public.b (\n    INPUT = b_in\n);",
            true,
        ),
        (
            "TYPE",
            "c",
            "CREATE TYPE public.c AS (\n\ta integer\n);",
            false,
        ),
        (
            "TYPE",
            "e",
            "CREATE TYPE public.\"as (\" AS ENUM (\n    'a'\n);",
            false,
        ),
        (
            "TYPE",
            "r",
            "CREATE TYPE public.r AS RANGE (\n    subtype = integer\n);",
            false,
        ),
        (
            "CAST",
            "CAST (a AS b)",
            "CREATE CAST (a AS b) WITHOUT FUNCTION;",
            true,
        ),
        (
            "CAST",
            "CAST (a AS b)",
            "CREATE CAST (a AS b) WITH INOUT AS ASSIGNMENT;",
            false,
        ),
        (
            "ACL",
            "TABLE t",
            "SET SESSION AUTHORIZATION a;\nGRANT SELECT ON TABLE t TO b;",
            true,
        ),
        ("ACL", "TABLE t", "GRANT SELECT ON TABLE t TO b;", false),
        ("COMMENT", "EXTENSION plpgsql", "", true),
        ("COMMENT", "EXTENSION citext", "", false),
        ("PROCEDURAL LANGUAGE", "plperl", "", true),
    ];

    #[test]
    fn what_takes_a_superuser_is_known_by_kind_or_by_the_statement() {
        for (kind, tag, sql, expected) in CASES {
            assert_eq!(of(kind, tag, sql).needs_superuser, expected, "{kind} {sql}");
        }
    }

    #[test]
    fn a_functions_language_and_rights_stand_before_its_body() {
        let cases = [
            (
                "CREATE FUNCTION public.f(language integer, b text DEFAULT 'language c'::text) RETURNS integer\n    LANGUAGE sql SECURITY DEFINER\n    AS $$select 1$$;",
                "sql",
                true,
            ),
            (
                "CREATE FUNCTION public.g() RETURNS trigger\n    LANGUAGE plpgsql\n    AS $$ begin /* security definer language c */ end $$;",
                "plpgsql",
                false,
            ),
            (
                "CREATE FUNCTION public.h() RETURNS integer\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT definer;\nEND;",
                "sql",
                false,
            ),
            (
                "CREATE PROCEDURE public.p()\n    LANGUAGE \"plPython3u\"\n    AS $$x$$;",
                "plPython3u",
                false,
            ),
        ];
        for (sql, language, runs_as_owner) in cases {
            let found = of("FUNCTION", "f", sql);
            assert_eq!(found.language.as_deref(), Some(language), "{sql}");
            assert_eq!(found.runs_as_owner, runs_as_owner, "{sql}");
        }
    }
}
