//! Splits an env file into statements exactly as python-dotenv 1.2.2 does, quirks included.
//!
//! It never fails: what it can't read is a broken statement with its line number, so that the lines which the
//! configuration does not refer to may be anything. Nothing is expanded here.

use zeroize::Zeroizing;

/// One `NAME=value`, `NAME`, or a line that is neither.
#[derive(Debug)]
pub struct Statement {
    /// Where its name stands, from 1.
    pub line: usize,
    /// Of a broken statement: what its name was probably meant to be.
    pub name: String,
    pub value: Value,
}

pub enum Value {
    Text(Zeroizing<String>),
    /// A name without `=`.
    Absent,
    Broken(&'static str),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("<secret>"),
            Self::Absent => f.write_str("Absent"),
            Self::Broken(why) => write!(f, "Broken({why})"),
        }
    }
}

/// All statements of `text`, in its order; blank lines and comments are none.
pub fn statements(text: &str) -> Vec<Statement> {
    let text = universal_newlines(text);
    let mut reader = Reader::new(&text);
    let mut found = Vec::new();
    while !reader.rest.is_empty() {
        reader.take_while(is_space);
        if !reader.rest.is_empty() {
            found.extend(reader.statement());
        }
    }
    found
}

/// Python opens text files so that every line end reads as `\n`.
fn universal_newlines(text: &str) -> Zeroizing<String> {
    let mut unified = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' {
            chars.next_if_eq(&'\n');
            unified.push('\n');
        } else {
            unified.push(c);
        }
    }
    unified
}

/// Python's `\s`: Unicode white space and the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_space_in_line(c: char) -> bool {
    c != '\n' && is_space(c)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }

    /// The statement at the reader, which stands on its first character. None for a comment.
    fn statement(&mut self) -> Option<Statement> {
        let (line, start) = (self.line, self.rest);
        match self.binding() {
            Ok(binding) => binding.map(|(name, value)| Statement { line, name, value }),
            Err(why) => {
                self.take_while(|c| c != '\n');
                self.take_str("\n");
                Some(Statement {
                    line,
                    name: probable_name(start),
                    value: Value::Broken(why),
                })
            }
        }
    }

    fn binding(&mut self) -> Result<Option<(String, Value)>, &'static str> {
        self.skip_export();
        let name = self.name()?;
        self.take_while(is_space_in_line);
        let value = if self.take_str("=") {
            self.take_while(is_space_in_line);
            Value::Text(self.value()?)
        } else {
            Value::Absent
        };
        self.end_of_line()?;
        Ok(name.map(|name| (name, value)))
    }

    fn skip_export(&mut self) {
        let blank_follows = |rest: &str| rest.starts_with(is_space_in_line);
        if self.rest.strip_prefix("export").is_some_and(blank_follows) {
            self.take_str("export");
            self.take_while(is_space_in_line);
        }
    }

    /// None where a comment starts.
    fn name(&mut self) -> Result<Option<String>, &'static str> {
        if self.rest.starts_with('#') {
            return Ok(None);
        }
        let name = if self.rest.starts_with('\'') {
            self.quoted_name().ok_or("its quoted name has no end")?
        } else {
            self.take_while(|c| !is_space(c) && c != '=' && c != '#')
        };
        if name.is_empty() {
            return Err("it has no name");
        }
        Ok(Some(name.to_owned()))
    }

    fn quoted_name(&mut self) -> Option<&'a str> {
        let inside = &self.rest[1..];
        let end = inside.find('\'').filter(|end| *end > 0)?;
        self.advance(end + 2);
        Some(&inside[..end])
    }

    fn value(&mut self) -> Result<Zeroizing<String>, &'static str> {
        match self.rest.chars().next() {
            Some('\'') => self.quoted('\'', r"\'").ok_or("its quote has no end"),
            Some('"') => self
                .quoted('"', r#"\'"abfnrtv"#)
                .ok_or("its quote has no end"),
            _ => Ok(Zeroizing::new(self.unquoted().to_owned())),
        }
    }

    /// A value in quotes, over several lines if need be, with those escapes resolved that stand in `escapes`.
    fn quoted(&mut self, quote: char, escapes: &str) -> Option<Zeroizing<String>> {
        let inside = &self.rest[1..];
        let end = closing_quote(inside, quote)?;
        self.advance(end + 2);
        Some(unescape(&inside[..end], escapes))
    }

    /// The rest of the line without a comment: a `#` counts only behind white space.
    fn unquoted(&mut self) -> &'a str {
        let whole = self.take_while(|c| c != '\n');
        let comment = whole
            .match_indices('#')
            .map(|(at, _)| &whole[..at])
            .find(|before| before.ends_with(is_space));
        comment.unwrap_or(whole).trim_end_matches(is_space)
    }

    fn end_of_line(&mut self) -> Result<(), &'static str> {
        self.take_while(is_space_in_line);
        if self.rest.starts_with('#') {
            self.take_while(|c| c != '\n');
        }
        if self.rest.is_empty() || self.take_str("\n") {
            Ok(())
        } else {
            Err("something follows where the line should end")
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn take_str(&mut self, wanted: &str) -> bool {
        let found = self.rest.starts_with(wanted);
        if found {
            self.advance(wanted.len());
        }
        found
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }
}

/// Where a quoted value ends. A backslash protects the quote behind it, even if it is itself behind a backslash;
/// but where no quote follows at all, the last protected one closes. That is how python-dotenv's pattern backtracks.
fn closing_quote(inside: &str, quote: char) -> Option<usize> {
    let mut last_protected = None;
    for (at, _) in inside.match_indices(quote) {
        if !inside[..at].ends_with('\\') {
            return Some(at);
        }
        last_protected = Some(at);
    }
    last_protected
}

fn unescape(text: &str, escapes: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = chars.next_if(|next| c == '\\' && escapes.contains(*next));
        plain.push(escaped.map_or(c, escaped_char));
    }
    plain
}

fn escaped_char(c: char) -> char {
    match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        same => same,
    }
}

/// What a broken statement was probably about, so that the operator hears of it where the configuration needs that name.
fn probable_name(statement: &str) -> String {
    let line = statement.split('\n').next().unwrap_or_default();
    let line = line.trim_start_matches('\u{feff}');
    let unexported = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(is_space))
        .unwrap_or(line);
    unexported
        .trim_start_matches(|c| is_space(c) || c == '\'' || c == '"')
        .split(|c| is_space(c) || matches!(c, '=' | ':' | '#' | '\'' | '"'))
        .next()
        .unwrap_or_default()
        .to_owned()
}
