//! HTML that can only be built escaped: what stands in the source goes in as it is, everything else as text.

use std::fmt::Write as _;

use crate::escape::escaped;

/// A piece of the page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup that stands in the source.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text from anywhere, also within quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in escaped(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A coordinate, to a tenth.
    pub(super) fn number(&mut self, value: f64) -> &mut Self {
        let tenths = (value * 10.0).round() / 10.0;
        // Writing to a string can't fail; a minus before nothing is noise.
        let _ = write!(self.0, "{}", if tenths == 0.0 { 0.0 } else { tenths });
        self
    }

    pub(super) fn count(&mut self, value: usize) -> &mut Self {
        // As above.
        let _ = write!(self.0, "{value}");
        self
    }

    pub(super) fn add(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let mut html = Html::default();
        html.raw("<p title='")
            .text("a'b\"c<script>&amp;\u{202e}\n")
            .raw("'>");
        assert_eq!(
            html.into_string(),
            "<p title='a&#39;b&quot;c&lt;script&gt;&amp;amp;\\u{202e}\\n'>"
        );
    }

    #[test]
    fn coordinates_are_short() {
        let mut html = Html::default();
        html.number(12.34)
            .raw(" ")
            .number(-0.01)
            .raw(" ")
            .number(100.0);
        assert_eq!(html.into_string(), "12.3 0 100");
    }
}
