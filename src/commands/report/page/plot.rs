//! One plot: an SVG that is stretched to whatever width there is, with its words beside it in HTML, so that they keep their size.

use std::time::Duration;

use jiff::Timestamp;

use super::markup::Html;
use crate::config::{format_bytes, format_duration};

/// The plane of an SVG.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Left and right of the first and the last point.
const MARGIN: f64 = 12.0;
/// More points than this are a line without dots.
const DOTTED: usize = 45;
/// A limit further above the values than this would press them flat.
const HEADROOM: f64 = 4.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Count,
}

/// The time that all plots of a job show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// A value of a run.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) at: Timestamp,
    pub(super) value: f64,
    /// Of a drill, not of a run.
    pub(super) is_drill: bool,
    /// What is told when it is pointed at.
    pub(super) told: String,
    /// What the value is made of: a layer's number and its share.
    pub(super) layers: Vec<(usize, f64)>,
}

/// A promise beside the values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) name: &'static str,
    pub(super) value: f64,
}

#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    pub(super) unit: Unit,
    /// Oldest first.
    pub(super) points: Vec<Point>,
    pub(super) limit: Option<Limit>,
    /// The names of what values are made of, from below; none: a line.
    pub(super) layers: Vec<&'static str>,
}

impl Unit {
    pub(super) fn text(self, value: f64) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "values are positive, and shown rounded"
        )]
        let whole = value.max(0.0).round() as u64;
        match self {
            Self::Seconds => {
                format_duration(Duration::try_from_secs_f64(value.max(0.0)).unwrap_or_default())
            }
            Self::Bytes => format_bytes(whole),
            Self::Count => grouped(whole),
        }
    }

    /// What stands at the axis: the same without a needless decimal.
    fn label(self, value: f64) -> String {
        match self {
            Self::Seconds if value == 0.0 => "0".to_owned(),
            Self::Seconds => self.text(value).replace(".0 s", " s"),
            Self::Bytes if value == 0.0 => "0".to_owned(),
            Self::Bytes => self.text(value).replace(".0 ", " "),
            Self::Count => short(value),
        }
    }

    /// The smallest round number that is not less.
    fn ceiling(self, value: f64) -> f64 {
        const SECONDS: [f64; 29] = [
            0.2,
            1.0,
            2.0,
            4.0,
            6.0,
            10.0,
            20.0,
            30.0,
            60.0,
            120.0,
            240.0,
            360.0,
            600.0,
            1200.0,
            1800.0,
            3600.0,
            7200.0,
            14400.0,
            21600.0,
            28800.0,
            43200.0,
            86400.0,
            129_600.0,
            172_800.0,
            345_600.0,
            604_800.0,
            1_209_600.0,
            2_592_000.0,
            5_184_000.0,
        ];
        let steps: &[f64] = match self {
            Self::Seconds => {
                let round = SECONDS.into_iter().find(|round| *round >= value);
                return round.unwrap_or_else(|| (value / 2_592_000.0).ceil() * 2_592_000.0);
            }
            Self::Bytes => &[
                1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 192.0,
                256.0, 384.0, 512.0, 768.0,
            ],
            Self::Count => &[
                2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 200.0, 300.0, 400.0,
                600.0, 800.0,
            ],
        };
        let base: f64 = if self == Self::Bytes { 1024.0 } else { 1000.0 };
        let powers = (0..7).map(|power| base.powi(power));
        powers
            .flat_map(|power| steps.iter().map(move |step| step * power))
            .find(|round| *round >= value)
            .unwrap_or(value)
    }
}

/// `12 345 678`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

/// `1.5 M`.
fn short(value: f64) -> String {
    let units = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let unit = units.into_iter().find(|(size, _)| value >= *size);
    let (size, word) = unit.unwrap_or((1.0, ""));
    format!("{}{word}", value / size)
}

impl Span {
    fn x(self, at: Timestamp) -> f64 {
        let length = self.to.duration_since(self.from).as_secs_f64().max(1.0);
        let place = at.duration_since(self.from).as_secs_f64() / length;
        MARGIN + place.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)
    }
}

impl Plot {
    /// Nothing where there is nothing to plot.
    pub(super) fn draw(&self, span: Span) -> Option<Html> {
        let latest = self.points.last()?;
        let values = || self.points.iter().map(|point| point.value);
        let (low, high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(0.0, f64::max),
        );
        let shown_limit = self.limit.filter(|limit| limit.value <= high * HEADROOM);
        let top = shown_limit.map_or(high, |limit| high.max(limit.value));
        let top = self.unit.ceiling(top);
        let mut html = Html::default();
        html.raw(if self.layers.is_empty() {
            "<figure>"
        } else {
            "<figure class=w>"
        });
        self.caption(&mut html, latest, (low, high));
        html.raw("<div class=g><svg role=img viewBox='0 0 1000 100' preserveAspectRatio=none aria-label=\"");
        html.text(&self.said((low, high))).raw("\">");
        html.raw("<path class=a d='M0 0H1000M0 50H1000M0 100H1000'/>");
        if self.layers.is_empty() {
            self.line(&mut html, span, top);
        } else {
            self.bars(&mut html, span, top);
        }
        if let Some(limit) = shown_limit {
            html.raw("<path class=lim d='M0 ")
                .number(y(limit.value, top))
                .raw("H1000'/>");
        }
        self.told(&mut html, span);
        html.raw("</svg>");
        for (class, value) in [
            ("<span class=t>", top),
            ("<span class=m>", top / 2.0),
            ("<span class=z>", 0.0),
        ] {
            html.raw(class).text(&self.unit.label(value)).raw("</span>");
        }
        html.raw("</div>");
        dates(&mut html, span);
        html.raw("</figure>");
        Some(html)
    }

    fn caption(&self, html: &mut Html, latest: &Point, (low, high): (f64, f64)) {
        html.raw("<figcaption><b>")
            .text(self.title)
            .raw("</b> <span class=v>");
        html.text(&self.unit.text(latest.value))
            .raw("</span><span class=n>")
            .text(self.about);
        if self.points.len() > 1 {
            let (low, high) = (self.unit.text(low), self.unit.text(high));
            html.text(&format!("; {low} to {high}"));
        }
        if let Some(limit) = self.limit {
            html.raw("; <span class=k>")
                .text(limit.name)
                .raw("</span> ");
            html.text(&self.unit.text(limit.value));
            html.text(&match self.missed() {
                0 => ", always met".to_owned(),
                count => format!(", missed {count} of {} times", self.points.len()),
            });
        }
        html.raw("</span>");
        if !self.layers.is_empty() {
            html.raw("<span class=ls>");
            for (number, name) in self.layers.iter().enumerate() {
                html.raw("<span><i class=s")
                    .count(number)
                    .raw("></i>")
                    .text(name)
                    .raw("</span>");
            }
            html.raw("</span>");
        }
        html.raw("</figcaption>");
    }

    /// For whoever can't see it.
    fn said(&self, (low, high): (f64, f64)) -> String {
        let (low, high) = (self.unit.text(low), self.unit.text(high));
        let count = self.points.len();
        format!("{}: {count} values from {low} to {high}", self.title)
    }

    fn is_missed(&self, point: &Point) -> bool {
        self.limit.is_some_and(|limit| point.value > limit.value)
    }

    fn missed(&self) -> usize {
        self.points
            .iter()
            .filter(|point| self.is_missed(point))
            .count()
    }

    fn line(&self, html: &mut Html, span: Span, top: f64) {
        let runs = || self.points.iter().filter(|point| !point.is_drill);
        let is_dotted = runs().count() <= DOTTED;
        html.raw("<path class=l d='");
        for (index, point) in runs().enumerate() {
            html.raw(if index == 0 { "M" } else { "L" });
            html.number(span.x(point.at))
                .raw(" ")
                .number(y(point.value, top));
        }
        html.raw("'/>");
        let marks: [(&'static str, &dyn Fn(&Point) -> bool); 3] = [
            ("<path class=d d='", &|point| is_dotted && !point.is_drill),
            ("<path class=q d='", &|point| point.is_drill),
            ("<path class=x d='", &|point| self.is_missed(point)),
        ];
        for (start, is_marked) in marks {
            let mut marked = self
                .points
                .iter()
                .filter(|point| is_marked(point))
                .peekable();
            if marked.peek().is_none() {
                continue;
            }
            html.raw(start);
            for point in marked {
                html.raw("M")
                    .number(span.x(point.at))
                    .raw(" ")
                    .number(y(point.value, top))
                    .raw("h0");
            }
            html.raw("'/>");
        }
    }

    /// A column for each run, a path for each layer.
    fn bars(&self, html: &mut Html, span: Span, top: f64) {
        let wide = (self.pitch() * 0.72).min(26.0);
        let floor_of = |point: &Point, layer: usize| -> f64 {
            let below = point.layers.iter().filter(|(number, _)| *number < layer);
            below.map(|(_, value)| value).sum()
        };
        for layer in 0..self.layers.len() {
            let parts = self.points.iter().flat_map(|point| {
                let own = point.layers.iter().filter(|(number, _)| *number == layer);
                own.map(move |(_, value)| (point, *value))
            });
            html.raw("<path class=s").count(layer).raw(" d='");
            for (point, value) in parts {
                let floor = floor_of(point, layer);
                let height = value / top * HEIGHT;
                if height < 0.05 {
                    continue;
                }
                html.raw("M")
                    .number(span.x(point.at) - wide / 2.0)
                    .raw(" ")
                    .number(y(floor, top));
                html.raw("h")
                    .number(wide)
                    .raw("v")
                    .number(-height)
                    .raw("h")
                    .number(-wide)
                    .raw("z");
            }
            html.raw("'/>");
        }
    }

    /// The room of one point.
    fn pitch(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of runs")]
        let count = self.points.len().max(1) as f64;
        (WIDTH - 2.0 * MARGIN) / count
    }

    /// What is told when a point is pointed at.
    fn told(&self, html: &mut Html, span: Span) {
        html.raw("<g class=h stroke-width=")
            .number(self.pitch().clamp(1.0, 40.0))
            .raw(">");
        for point in &self.points {
            html.raw("<path d='M")
                .number(span.x(point.at))
                .raw(" 0V100'><title>");
            html.text(&point.told).raw("</title></path>");
        }
        html.raw("</g>");
    }
}

fn y(value: f64, top: f64) -> f64 {
    HEIGHT - (value / top).clamp(0.0, 1.0) * HEIGHT
}

fn dates(html: &mut Html, span: Span) {
    let middle = span.from + span.to.duration_since(span.from) / 2;
    html.raw("<div class=xs>");
    for at in [span.from, middle, span.to] {
        html.raw("<span>")
            .text(&at.strftime("%-d %b %Y").to_string())
            .raw("</span>");
    }
    html.raw("</div>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let table = [
            (Unit::Seconds, 3_000.0, "1 h"),
            (Unit::Seconds, 0.1, "0.2 s"),
            (Unit::Bytes, 3.4e9, "4 GiB"),
            (Unit::Bytes, 0.0, "1 byte"),
            (Unit::Count, 1_300_000.0, "2 M"),
            (Unit::Count, 3.0, "4"),
        ];
        for (unit, value, label) in table {
            let round = unit.ceiling(value);
            assert!(round >= value);
            assert_eq!(unit.label(round), label);
        }
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(grouped(12), "12");
    }
}
