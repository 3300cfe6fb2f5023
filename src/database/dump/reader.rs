//! The primitives of the archive format: bytes, signed integers, strings with a length, offsets.
//!
//! No length that the file states is believed further than its bytes go: nothing is allocated ahead of what was read.

use std::io::{self, Read};

use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// The longest name, owner, tag or version string that is taken for one.
const LONGEST_NAME: u64 = 64 * 1024;
/// The longest SQL text of one entry that is looked into; others are passed over without being kept.
const LONGEST_SQL: u64 = 8 * 1024 * 1024;
/// What is read of a function's or a type's SQL, whose body follows.
const LONGEST_HEAD: u64 = 16 * 1024;

pub struct Reader<R> {
    source: R,
    /// Bytes of an integer, without its sign byte.
    pub int_bytes: u8,
    pub offset_bytes: u8,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R) -> Self {
        Self {
            source,
            int_bytes: 4,
            offset_bytes: 8,
        }
    }

    pub fn exactly<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|e| judged(&e))?;
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Outcome<u8> {
        Ok(self.exactly::<1>()?[0])
    }

    /// A sign byte, then the magnitude, least significant byte first.
    pub fn int(&mut self) -> Outcome<i64> {
        let negative = self.byte()? != 0;
        let mut value: i64 = 0;
        for position in 0..self.int_bytes {
            let byte = i64::from(self.byte()?);
            if position >= 7 && byte != 0 {
                return Err(broken("an integer is out of range"));
            }
            if position < 7 {
                value |= byte << (u32::from(position) * 8);
            }
        }
        Ok(if negative { -value } else { value })
    }

    /// A name; None where the dump says that there is none, which differs from an empty one.
    pub fn name(&mut self) -> Outcome<Option<String>> {
        self.text(LONGEST_NAME)
    }

    /// An SQL text that is needed.
    pub fn sql(&mut self) -> Outcome<Option<String>> {
        self.text(LONGEST_SQL)
    }

    /// The beginning of an SQL text of any length; the rest is passed over.
    pub fn head(&mut self) -> Outcome<String> {
        let Some(length) = self.length()? else {
            return Ok(String::new());
        };
        let mut bytes = Vec::new();
        let mut part = self.part(length);
        let mut head = (&mut part).take(LONGEST_HEAD);
        head.read_to_end(&mut bytes).map_err(|e| judged(&e))?;
        let rest = io::copy(&mut part, &mut io::sink()).map_err(|e| judged(&e))?;
        if bytes.len() as u64 + rest < length {
            return Err(truncated());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn text(&mut self, longest: u64) -> Outcome<Option<String>> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if length > longest {
            return Err(broken(format!(
                "a text of {length} bytes where at most {longest} make sense"
            )));
        }
        let mut bytes = Vec::new();
        self.part(length)
            .read_to_end(&mut bytes)
            .map_err(|e| judged(&e))?;
        if (bytes.len() as u64) < length {
            return Err(truncated());
        }
        // Dumps of SQL_ASCII databases hold any bytes; they are only shown and compared.
        let text = String::from_utf8(bytes);
        Ok(Some(text.unwrap_or_else(|error| {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })))
    }

    /// Passes over a text of any length.
    pub fn skip_text(&mut self) -> Outcome<()> {
        let Some(length) = self.length()? else {
            return Ok(());
        };
        let skipped = io::copy(&mut self.part(length), &mut io::sink()).map_err(|e| judged(&e))?;
        if skipped < length {
            return Err(truncated());
        }
        Ok(())
    }

    /// A flag byte and a position in the file.
    pub fn skip_offset(&mut self) -> Outcome<()> {
        let flag = self.byte()?;
        if !(1..=3).contains(&flag) {
            return Err(broken(format!("data offset flag {flag}")));
        }
        for _ in 0..self.offset_bytes {
            self.byte()?;
        }
        Ok(())
    }

    fn length(&mut self) -> Outcome<Option<u64>> {
        let length = self.int()?;
        if length > i64::from(i32::MAX) {
            return Err(broken(format!("a text of {length} bytes")));
        }
        Ok(u64::try_from(length).ok())
    }

    fn part(&mut self, length: u64) -> io::Take<&mut R> {
        (&mut self.source).take(length)
    }
}

/// A dump that contradicts its own format.
pub fn broken(what: impl std::fmt::Display) -> Failed {
    Failed::new(Verdict::Damaged, format!("the dump is broken: {what}")).hint(
        "make and upload the dump again; where this happens often, transfer it in binary mode and check the source's disk",
    )
}

fn truncated() -> Failed {
    broken("it ends in the middle of its table of contents")
}

/// A short or corrupt source is the dump's fault, anything else this machine's.
pub fn judged(error: &io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => truncated(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => broken(error),
        _ => Err::<(), _>(anyhow::anyhow!("{error}"))
            .judge(Verdict::Local, "read the dump")
            .expect_err("it was made as an error"),
    }
}
