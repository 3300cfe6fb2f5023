//! A file of SQL as its statements, with their lines; what can't run in one transaction of our own is found here.
//!
//! No parser: it only knows where strings, quoted names and comments begin and end. What it overlooks, the server refuses.

use std::ops::Range;

/// Words of a statement that are looked at.
const WORDS: usize = 200;

/// One statement of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its bytes in the file, without the semicolon.
    pub range: Range<usize>,
    /// Where it begins, from 1.
    pub line: usize,
}

/// What is wrong with the file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub what: String,
}

/// The statements of `text`, in order.
///
/// # Errors
/// The first one that can't be run here, such as psql's own commands, `COMMIT`, or `COPY … FROM STDIN`.
pub fn statements(text: &str) -> Result<Vec<Statement>, Problem> {
    let mut scanner = Scanner { text, at: 0 };
    let mut found = Vec::new();
    let mut last = (0, 1);
    while let Some(Scanned { range, words }) = scanner.statement(&mut last)? {
        let line = line_at(text, range.start, &mut last);
        if let Some(what) = unfit(&words) {
            return Err(Problem {
                line,
                what: what.to_owned(),
            });
        }
        found.push(Statement { range, line });
    }
    Ok(found)
}

/// The line of a place, counted on from the last one.
fn line_at(text: &str, at: usize, last: &mut (usize, usize)) -> usize {
    let (from, line) = if last.0 <= at { *last } else { (0, 1) };
    let breaks = text.as_bytes()[from..at]
        .iter()
        .filter(|byte| **byte == b'\n');
    *last = (at, line + breaks.count());
    last.1
}

struct Scanned {
    range: Range<usize>,
    /// In upper case, without what is in quotes or parentheses.
    words: Vec<String>,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// How deep in parentheses, and in the `BEGIN ATOMIC … END` of a function's body.
#[derive(Default)]
struct Depth {
    parentheses: usize,
    body: usize,
}

impl Scanner<'_> {
    /// The next one; None at the end.
    fn statement(&mut self, last: &mut (usize, usize)) -> Result<Option<Scanned>, Problem> {
        let (mut start, mut end) = (None, self.at);
        let (mut words, mut depth) = (Vec::new(), Depth::default());
        while let Some(byte) = self.peek(0) {
            let from = self.at;
            if byte == b';' && depth.parentheses == 0 && depth.body == 0 {
                self.at += 1;
                match start {
                    Some(_) => break,
                    None => continue,
                }
            }
            let problem = |what: &str, last: &mut (usize, usize)| Problem {
                line: line_at(self.text, from, last),
                what: what.to_owned(),
            };
            if byte == b'\\' {
                let what = "is a command of psql, which is not used here; only SQL can be run";
                return Err(problem(what, last));
            }
            if byte.is_ascii_whitespace() || self.at_comment() {
                self.skip_blank().map_err(|what| problem(what, last))?;
                continue;
            }
            start.get_or_insert(from);
            match byte {
                b'(' => depth.parentheses += 1,
                b')' => depth.parentheses = depth.parentheses.saturating_sub(1),
                _ => {}
            }
            match self.token() {
                Ok(Some(word)) => depth.note(word.to_ascii_uppercase(), &mut words),
                Ok(None) => {}
                Err(what) => return Err(problem(what, last)),
            }
            end = self.at;
        }
        Ok(start.map(|start| Scanned {
            range: start..end,
            words,
        }))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn at_comment(&self) -> bool {
        matches!(
            (self.peek(0), self.peek(1)),
            (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*'))
        )
    }

    /// One character of white space, or one comment.
    fn skip_blank(&mut self) -> Result<(), &'static str> {
        if self.peek(0) == Some(b'-') {
            let rest = &self.text[self.at..];
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if self.peek(0) == Some(b'/') {
            let mut deep = 0_usize;
            loop {
                match (self.peek(0), self.peek(1)) {
                    (Some(b'/'), Some(b'*')) => (deep, self.at) = (deep + 1, self.at + 2),
                    (Some(b'*'), Some(b'/')) => (deep, self.at) = (deep - 1, self.at + 2),
                    (Some(_), _) => self.at += 1,
                    (None, _) => return Err("is a comment without an end"),
                }
                if deep == 0 {
                    break;
                }
            }
        } else {
            self.at += 1;
        }
        Ok(())
    }

    /// Moves past one token; the word, where it was one without quotes.
    fn token(&mut self) -> Result<Option<String>, &'static str> {
        let from = self.at;
        match self.peek(0) {
            Some(b'\'') => self.quoted(b'\'', false)?,
            Some(b'"') => self.quoted(b'"', false)?,
            Some(b'$') => self.dollars()?,
            Some(byte) if is_in_word(byte) => {
                while self
                    .peek(0)
                    .is_some_and(|byte| is_in_word(byte) || byte == b'$')
                {
                    self.at += 1;
                }
                let word = &self.text[from..self.at];
                if word.eq_ignore_ascii_case("e") && self.peek(0) == Some(b'\'') {
                    self.quoted(b'\'', true)?;
                    return Ok(None);
                }
                return Ok(Some(word.to_owned()));
            }
            _ => self.at += 1,
        }
        Ok(None)
    }

    /// A string or a quoted name. A doubled quote in it reads as two of them, one after the other, which ends at the same place.
    fn quoted(&mut self, quote: u8, backslashes: bool) -> Result<(), &'static str> {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == quote {
                return Ok(());
            }
            if byte == b'\\' && backslashes {
                self.at += 1;
            }
        }
        Err("begins a string or a name in quotes that does not end")
    }

    /// `$$…$$`, `$body$…$body$`; a lone dollar is passed over.
    fn dollars(&mut self) -> Result<(), &'static str> {
        let rest = &self.text[self.at..];
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
        let tag = tag.filter(|tag| {
            let name = &tag.as_bytes()[1..tag.len() - 1];
            name.iter().all(|byte| is_in_word(*byte))
                && !name.first().is_some_and(u8::is_ascii_digit)
        });
        let Some(tag) = tag else {
            self.at += 1;
            return Ok(());
        };
        let inside = &rest[tag.len()..];
        let end = inside
            .find(tag)
            .ok_or("begins a string in dollars that does not end")?;
        self.at += tag.len() + end + tag.len();
        Ok(())
    }
}

impl Depth {
    /// Follows the body of a function in standard SQL, in which semicolons end no statement.
    fn note(&mut self, word: String, words: &mut Vec<String>) {
        if self.parentheses > 0 {
            return;
        }
        if makes_routine(words) {
            match word.as_str() {
                "BEGIN" => self.body += 1,
                "CASE" if self.body > 0 => self.body += 1,
                "END" => self.body = self.body.saturating_sub(1),
                _ => {}
            }
        }
        if self.body == 0 && words.len() < WORDS {
            words.push(word);
        }
    }
}

fn makes_routine(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().take(4).map(String::as_str).collect();
    matches!(
        words.as_slice(),
        ["CREATE", "FUNCTION" | "PROCEDURE", ..]
            | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE"]
    )
}

fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Why a statement with these words can't be run, if so.
fn unfit(words: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let has = |pair: [&str; 2]| words.windows(2).any(|found| found == pair);
    match words.as_slice() {
        ["BEGIN" | "COMMIT" | "END" | "ABORT", ..] | ["START" | "PREPARE", "TRANSACTION", ..] => {
            Some(TRANSACTION)
        }
        ["ROLLBACK", rest @ ..] if !rest.contains(&"TO") => Some(TRANSACTION),
        ["COPY", ..] if has(["FROM", "STDIN"]) || has(["TO", "STDOUT"]) => Some(
            "copies from or to a client, and there is none; use INSERT, or a file on the server",
        ),
        ["VACUUM", ..] | ["ALTER", "SYSTEM", ..] | ["REINDEX", "DATABASE" | "SYSTEM", ..] => {
            Some(ALONE)
        }
        [
            "CREATE" | "DROP",
            "DATABASE" | "TABLESPACE" | "SUBSCRIPTION",
            ..,
        ] => Some(ALONE),
        ["CREATE" | "DROP" | "REINDEX" | "ALTER", ..] if words.contains(&"CONCURRENTLY") => Some(
            "can't run in a transaction: leave out CONCURRENTLY, nobody else is in the scratch database",
        ),
        words => reaches_out(words),
    }
}

/// Why a statement is refused that would change more than the scratch database, before anything is proven.
fn reaches_out(words: &[&str]) -> Option<&'static str> {
    let on = |what: &str| words.windows(2).any(|found| found == ["ON", what]);
    match words {
        ["ALTER", "DATABASE", ..] => Some(DATABASE),
        ["GRANT" | "REVOKE" | "COMMENT" | "SECURITY", ..] | ["CREATE", "SCHEMA", ..]
            if on("DATABASE") =>
        {
            Some(DATABASE)
        }
        // Both go on to databases, tablespaces and parameters, live's among them.
        ["REASSIGN" | "DROP", "OWNED", ..] => Some(SERVER),
        ["ALTER" | "DROP", "USER", "MAPPING", ..] => None,
        ["ALTER" | "DROP", "ROLE" | "USER" | "GROUP", ..] | ["ALTER", "TABLESPACE", ..] => {
            Some(SERVER)
        }
        // Without ON it is a membership; CREATE ROLE is let through, since nobody has the new role yet.
        ["GRANT" | "REVOKE", ..] if !words.contains(&"ON") => Some(SERVER),
        ["GRANT" | "REVOKE", ..] | ["CREATE", "SCHEMA", ..]
            if on("TABLESPACE") || on("PARAMETER") =>
        {
            Some(SERVER)
        }
        _ => None,
    }
}

const TRANSACTION: &str =
    "begins or ends a transaction; the whole file runs in one, which is begun and ended for it";
const ALONE: &str = "can't run in a transaction, and the whole file runs in one";
const DATABASE: &str = "would change the live database at once; its own settings and grants are carried over by the swap";
const SERVER: &str = "would change the whole server at once, whatever becomes of this restore, and with it the live database; do it by hand";

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(usize, &str)> {
        let all = statements(text).expect("statements");
        all.into_iter()
            .map(|statement| (statement.line, &text[statement.range]))
            .collect()
    }

    fn complaint(text: &str) -> (usize, String) {
        let problem = statements(text).expect_err("a file that can't be run");
        (problem.line, problem.what)
    }

    #[test]
    fn semicolons_in_quotes_comments_and_bodies_end_nothing() {
        let whole = [
            "select ';'",
            "select 'it''s; \\'",
            "select E'\\';'",
            "select e'a\\\\'",
            "select \"a;\"\"b\" from t",
            "do $$ begin perform 1; end $$",
            "do $body$ begin perform '$$;'; end $body$",
            "select 1 /* ; /* ; */ ; */ + 2",
            "select 1 -- ;\n + 2",
            "create rule r as on insert to t do also (insert into a values (1); delete from b)",
            "create function f() returns int begin atomic select 1; select case when true then 1 end; end",
            "create or replace procedure f() begin atomic insert into t values (1); end",
            "select a$b$c from t",
            "select u&'d\\0061t;', $1, größe from ñ",
            "select arr[1:2], '{;}'",
        ];
        for sql in whole {
            assert_eq!(
                split(&format!("{sql};\nselect 2")),
                [(1, sql), (1 + sql.matches('\n').count() + 1, "select 2")],
                "{sql}"
            );
        }
    }

    #[test]
    fn each_statement_knows_its_line_and_empty_ones_are_none() {
        assert_eq!(
            split("-- grants\n\n;;grant select\n  on t to a;\n/* x\n */ analyze t\n;\n-- end"),
            [(3, "grant select\n  on t to a"), (6, "analyze t")]
        );
        assert_eq!(split(" \n-- nothing\n"), []);
    }

    #[test]
    fn what_needs_psql_or_another_transaction_is_refused_with_its_line() {
        for (sql, words) in [
            ("\\connect erp", "command of psql"),
            ("select 1 \\gexec", "command of psql"),
            ("BEGIN", "transaction"),
            ("start transaction read only", "transaction"),
            ("/* last */ commit", "transaction"),
            ("end", "transaction"),
            ("rollback", "transaction"),
            ("abort", "transaction"),
            ("prepare transaction 'x'", "transaction"),
            ("copy t (a) from stdin", "copies from or to a client"),
            ("copy (select 1) to stdout", "copies from or to a client"),
            (
                "create unique index concurrently i on t (a)",
                "leave out CONCURRENTLY",
            ),
            ("drop index concurrently i", "leave out CONCURRENTLY"),
            ("vacuum analyze", "can't run in a transaction"),
            ("create database x", "can't run in a transaction"),
            ("alter system set x = 1", "can't run in a transaction"),
            ("select 'x", "does not end"),
            ("select \"x", "does not end"),
            ("do $a$ select 1; $b$", "does not end"),
            ("select 1 /* /* */", "without an end"),
        ] {
            let (line, what) = complaint(&format!("select 1;\n\n{sql};\nselect 2"));
            assert!(line == 3 && what.contains(words), "{sql}: {line} {what}");
        }
    }

    #[test]
    fn what_reaches_past_the_scratch_database_is_refused() {
        let of_live = [
            "alter database erp set work_mem = '1GB'",
            "grant connect on database erp to a",
            "comment on database erp is 'x'",
            "create schema s grant connect on database erp to a",
        ];
        let of_server = [
            "reassign owned by a to b",
            "drop owned by a cascade",
            "alter role \"a\" in database erp set work_mem = '1GB'",
            "alter user all set work_mem = '1GB'",
            "alter group g add user a",
            "drop role if exists a",
            "grant reader to a with admin option",
            "revoke admin option for reader from a",
            "grant create on tablespace fast to a",
            "grant set on parameter work_mem to a",
            "alter tablespace fast owner to a",
        ];
        for sql in of_live {
            let what = complaint(sql).1;
            assert!(
                what.contains("would change the live database"),
                "{sql}: {what}"
            );
        }
        for sql in of_server {
            let what = complaint(sql).1;
            assert!(what.contains("whole server"), "{sql}: {what}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_run() {
        for sql in [
            "savepoint a; rollback to a; release a",
            "rollback work to savepoint a",
            "copy t from '/srv/rows.csv'",
            "copy \"stdin\" from program 'cat'",
            "refresh materialized view concurrently m",
            "select 'commit'",
            "create table \"begin\" (\"commit\" int)",
            "comment on table t is 'on database x'",
            "create role reader nologin",
            "alter user mapping for a server s options (set user 'b')",
            "drop user mapping for a server s",
            "grant select (a), insert on t to a",
            "grant usage on schema s to \"on\"",
            "revoke grant option for all on all tables in schema s from a",
            "create schema s grant select on t to a",
            "drop table if exists owned",
        ] {
            assert!(statements(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn any_text_is_read_to_its_end_without_a_panic() {
        let pieces = [
            "'",
            "\"",
            "$",
            "$a$",
            "\\",
            "/*",
            "*/",
            "--",
            "\n",
            ";",
            "(",
            ")",
            "e'",
            "ä",
            "begin",
            "create function ",
            "end",
            " ",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    // Whatever it finds, it ends; and what it finds is a piece of the text.
                    let text = format!("{first}{second}{third}");
                    for statement in statements(&text).unwrap_or_default() {
                        assert!(text.get(statement.range).is_some(), "{text:?}");
                    }
                }
            }
        }
    }
}
