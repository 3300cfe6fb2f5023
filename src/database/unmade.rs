//! `create = true`: a live database that is not there yet, as it will be when a restore has made it.
//!
//! Nothing is made here. The scratch database is made by this description, and gets the live name when all is proven.

use super::connection::Login;
use super::dump::Toc;
use super::target::{Live, Server, Target};
use crate::escape::shown;

/// It belongs to whoever restores, and is like `template` where the dump says nothing.
pub(super) fn live(login: &Login, server: &Server, template: Live) -> Live {
    Live {
        oid: 0,
        name: login.settings.name.clone(),
        owner: server.user.clone(),
        tablespace: "pg_default".to_owned(),
        acl: None,
        size_bytes: None,
        connection_limit: -1,
        is_template: false,
        allows_connections: true,
        ..template
    }
}

/// The same target; a live database that is still to be made gets the encoding and the locale of the dump.
#[must_use]
pub fn shaped(target: &Target, toc: &Toc) -> Target {
    let mut target = target.clone();
    if !target.live.is_missing() {
        return target;
    }
    let live = &mut target.live;
    if let Some(encoding) = toc.encoding.as_ref().filter(|it| **it != live.encoding) {
        live.encoding.clone_from(encoding);
        // The server's own locale fits its own encoding; this one fits every encoding.
        "C".clone_into(&mut live.collate);
        "C".clone_into(&mut live.ctype);
        (live.locale_provider, live.locale, live.icu_rules) = ('c', None, None);
    }
    if let Some(statement) = &toc.create_database {
        shape(live, &clauses(statement), target.server.version_num);
    }
    target
}

/// A locale whose provider this server doesn't know stays the server's own.
fn shape(live: &mut Live, clauses: &[(String, String)], version_num: u32) {
    let find = |names: &[&str]| {
        let found = clauses
            .iter()
            .find(|(key, _)| names.contains(&key.as_str()));
        found.map(|(_, value)| value.clone())
    };
    let provider = match find(&["LOCALE_PROVIDER"]).as_deref() {
        Some("builtin") => ('b', 170_000),
        Some("icu") => ('i', 150_000),
        _ => ('c', 0),
    };
    if let Some(encoding) = find(&["ENCODING"]) {
        live.encoding = encoding;
    }
    let Some(collate) = find(&["LC_COLLATE", "LOCALE"]) else {
        return;
    };
    if version_num < provider.1 {
        return;
    }
    live.ctype = find(&["LC_CTYPE"]).unwrap_or_else(|| collate.clone());
    live.collate = collate;
    live.locale_provider = provider.0;
    live.locale = find(&["ICU_LOCALE", "BUILTIN_LOCALE"]);
    live.icu_rules = find(&["ICU_RULES"]);
}

/// In words, for a plan and a report.
#[must_use]
pub fn in_words(live: &Live, toc: &Toc) -> String {
    let locale = live.locale.as_ref().unwrap_or(&live.collate);
    let by = match toc.create_database {
        Some(_) => "as in the dump",
        None => "the dump names none",
    };
    format!(
        "`{}` is not there and is made: {}, owner `{}`, locale {} ({by})",
        shown(&live.name),
        shown(&live.encoding),
        shown(&live.owner),
        shown(locale),
    )
}

/// `KEY = value` of a statement such as pg_dump writes it; values without their quotes.
fn clauses(statement: &str) -> Vec<(String, String)> {
    let words = words(statement);
    let is_clause = |words: &&[String]| words[1] == "=";
    let found = words.windows(3).filter(is_clause);
    found
        .map(|clause| (clause[0].clone(), clause[2].clone()))
        .collect()
}

/// Words, signs and quoted strings; a doubled quote in a string is one.
fn words(statement: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = statement.chars().peekable();
    while let Some(c) = characters.next() {
        let mut word = String::new();
        match c {
            '\'' | '"' => {
                while let Some(inner) = characters.next() {
                    if inner == c && characters.next_if_eq(&c).is_none() {
                        break;
                    }
                    word.push(inner);
                }
            }
            '=' | ';' => word.push(c),
            c if c.is_whitespace() => continue,
            c => {
                word.push(c);
                let is_inner = |c: &char| c.is_alphanumeric() || "_-.".contains(*c);
                while let Some(inner) = characters.next_if(is_inner) {
                    word.push(inner);
                }
            }
        }
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_default() -> Live {
        Live {
            oid: 0,
            name: "erp".into(),
            owner: "restorer".into(),
            encoding: "UTF8".into(),
            collate: "en_US.utf8".into(),
            ctype: "en_US.utf8".into(),
            locale_provider: 'c',
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".into(),
            acl: None,
            size_bytes: None,
            connection_limit: -1,
            is_template: false,
            allows_connections: true,
        }
    }

    fn shaped_by(statement: &str, version_num: u32) -> Live {
        let mut live = server_default();
        shape(&mut live, &clauses(statement), version_num);
        live
    }

    #[test]
    fn the_dumps_own_statement_gives_encoding_and_locale() {
        let live = shaped_by(
            "CREATE DATABASE \"o''dd = name\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' LC_COLLATE = 'C' LC_CTYPE = 'de_DE';\n",
            150_000,
        );
        assert_eq!(
            (
                live.encoding.as_str(),
                live.collate.as_str(),
                live.ctype.as_str()
            ),
            ("LATIN1", "C", "de_DE")
        );
        let live = shaped_by(
            "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'de' ICU_RULES = '&a < ''b''';",
            160_000,
        );
        assert_eq!((live.locale_provider, live.collate.as_str()), ('i', "C"));
        assert_eq!(live.locale.as_deref(), Some("de"));
        assert_eq!(live.icu_rules.as_deref(), Some("&a < 'b'"));
    }

    #[test]
    fn a_locale_that_an_older_server_cannot_have_stays_the_servers_own() {
        let statement = "CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = builtin LOCALE = 'C' BUILTIN_LOCALE = 'C.UTF-8';";
        assert_eq!(shaped_by(statement, 150_000), server_default());
        assert_eq!(shaped_by(statement, 170_000).locale_provider, 'b');
    }

    #[test]
    fn a_statement_without_a_locale_changes_none() {
        assert_eq!(
            shaped_by("CREATE DATABASE shop;", 150_000),
            server_default()
        );
        assert_eq!(shaped_by("ENCODING = ", 150_000), server_default());
    }
}
