//! Reads what of a dump goes in, and to whom it will belong: `owner`, `privileges`, `tablespaces`, `missing_roles`, `skip`.

use super::nearest::nearest;
use super::section::Section;
use super::{Contents, Owner};

/// What pg_dump calls the entries of its table of contents, of PostgreSQL 9.0 to 18.
///
/// Not those without which nothing can be read rightly (ENCODING and its like), nor those that are never restored (DATABASE).
const KINDS: [&str; 58] = [
    "ACCESS METHOD",
    "ACL",
    "AGGREGATE",
    "BLOB",
    "BLOBS",
    "BLOB METADATA",
    "CAST",
    "CHECK CONSTRAINT",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DEFAULT ACL",
    "DOMAIN",
    "EVENT TRIGGER",
    "EXTENSION",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "RULE",
    "SCHEMA",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SERVER",
    "SHELL TYPE",
    "STATISTICS",
    "STATISTICS DATA",
    "SUBSCRIPTION",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
];

/// Kinds that say something about another object, whose kind may follow: `COMMENT EXTENSION`.
const ABOUT: [&str; 3] = ["ACL", "COMMENT", "SECURITY LABEL"];
/// What they may be about beside the kinds above.
const OTHERS: [&str; 3] = ["COLUMN", "LANGUAGE", "LARGE OBJECT"];

pub fn contents(section: &mut Section<'_>) -> Contents {
    Contents {
        owner: owner(section),
        keeps_privileges: section.choice("privileges", &[("keep", true), ("skip", false)], true),
        keeps_tablespaces: section.choice(
            "tablespaces",
            &[("keep", true), ("default", false)],
            true,
        ),
        creates_roles: section.choice(
            "missing_roles",
            &[("refuse", false), ("create", true)],
            false,
        ),
        skip: skip(section),
    }
}

fn owner(section: &mut Section<'_>) -> Owner {
    match section.text("owner").as_deref() {
        None | Some("keep") => Owner::Keep,
        Some("target") => Owner::Target,
        Some(text) => match text.strip_prefix("role:") {
            Some(name) if !name.is_empty() => Owner::Role(name.to_owned()),
            _ => {
                let problem = format!("{text:?} is unknown; known: keep, target, role:NAME");
                section.problem("owner", &problem);
                Owner::Keep
            }
        },
    }
}

fn skip(section: &mut Section<'_>) -> Vec<String> {
    let mut kinds = Vec::new();
    for text in section.texts("skip") {
        let kind = text.to_uppercase();
        if is_known(&kind) {
            kinds.push(kind);
        } else {
            section.problem("skip", &unknown(&text, &kind));
        }
    }
    kinds
}

fn is_known(kind: &str) -> bool {
    KINDS.contains(&kind)
        || ABOUT.iter().any(|about| {
            let of = kind.strip_prefix(about).and_then(|of| of.strip_prefix(' '));
            of.is_some_and(|of| KINDS.contains(&of) || OTHERS.contains(&of))
        })
}

fn unknown(text: &str, kind: &str) -> String {
    let known = ABOUT.iter().flat_map(|about| {
        let of = KINDS.iter().chain(&OTHERS);
        of.map(move |of| format!("{about} {of}"))
    });
    let known: Vec<String> = known.chain(KINDS.map(str::to_owned)).collect();
    let near = nearest(kind, known.iter().map(String::as_str));
    let advice = near.map_or_else(
        || "`pg_restore -l` of the dump names the kinds in it".to_owned(),
        |near| format!("did you mean {near:?}?"),
    );
    format!("{text:?} is no kind of a dump's contents that can be left out; {advice}")
}
