//! A child's output as lines, in bounded memory whatever it prints.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line handed over, in bytes; the rest of it is dropped.
pub const LONGEST: usize = 10_000;
const CHUNK: usize = 8 * 1024;
const CUT: &str = " … (cut)";

#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// In the middle of a line that was already handed over, cut.
    skipping: bool,
    open: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            skipping: false,
            open: true,
        }
    }

    /// Whether there may be more.
    pub fn is_open(&self) -> bool {
        self.open || !self.buffer.is_empty()
    }

    /// The next line without its end; None at the end, or where the pipe broke. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.take() {
                return Some(line);
            }
            if !self.open {
                return None;
            }
            self.buffer.reserve(CHUNK);
            // A broken pipe says no more than a closed one: the child's exit status tells what happened.
            if self.reader.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                self.open = false;
            }
        }
    }

    fn take(&mut self) -> Option<String> {
        if self.skipping {
            self.skip();
        }
        let end = self.buffer.iter().position(|byte| *byte == b'\n');
        match end {
            Some(end) => Some(self.cut_off(end, end + 1)),
            None if self.buffer.len() > LONGEST => {
                self.skipping = true;
                let all = self.buffer.len();
                Some(self.cut_off(all, all))
            }
            None if !self.open && !self.buffer.is_empty() => {
                let all = self.buffer.len();
                Some(self.cut_off(all, all))
            }
            None => None,
        }
    }

    fn skip(&mut self) {
        if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            self.buffer.drain(..=end);
            self.skipping = false;
        } else {
            self.buffer.clear();
        }
    }

    /// The line in the first `end` bytes; the first `used` bytes are gone afterwards.
    fn cut_off(&mut self, end: usize, used: usize) -> String {
        let whole = &self.buffer[..end];
        let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
        let kept = &whole[..whole.len().min(LONGEST)];
        let mut line = String::from_utf8_lossy(kept).into_owned();
        if whole.len() > LONGEST {
            line.push_str(CUT);
        }
        self.buffer.drain(..used);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(output: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(output);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_come_whole_and_the_last_one_needs_no_end() {
        assert_eq!(
            lines_of(b"one\r\n\ntwo\nthree").await,
            ["one", "", "two", "three"]
        );
        assert_eq!(lines_of(b"").await, [""; 0]);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let mut output = vec![b'x'; 300_000];
        output.extend_from_slice(b"\nnext\n");
        let lines = lines_of(&output).await;
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), LONGEST + CUT.len());
        assert_eq!(lines[1], "next");
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(lines_of(b"a\xffb\n").await, ["a\u{fffd}b"]);
    }
}
