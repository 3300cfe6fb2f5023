//! One plot: an SVG that is stretched to whatever width there is, with its words beside it in HTML, so that they keep their size.

use jiff::Timestamp;

use super::markup::Html;
use super::unit::Unit;

/// The plane of an SVG.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Left and right of the first and the last point.
const MARGIN: f64 = 12.0;
/// More points than this are a line without dots.
const DOTTED: usize = 45;
/// More columns than this stand without gaps.
const GAPLESS: usize = 90;
/// A limit further above the values than this would press them flat.
const HEADROOM: f64 = 4.0;

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
        for point in &self.points {
            let at = (span.x(point.at), y(point.value, top));
            if point.is_drill {
                dot(html, "<path class=q d='M", at);
            } else if is_dotted {
                dot(html, "<path class=d d='M", at);
            }
            if self.is_missed(point) {
                dot(html, "<path class=x d='M", at);
            }
        }
    }

    /// A column for each run, a path for each layer.
    fn bars(&self, html: &mut Html, span: Span, top: f64) {
        // Gaps of less than a pixel would only flicker.
        let share = if self.points.len() > GAPLESS {
            1.04
        } else {
            0.72
        };
        let wide = (self.pitch() * share).min(26.0);
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

/// As long as it is not: its stroke's ends make it round, or square, however the plane is stretched.
fn dot(html: &mut Html, start: &'static str, (x, y): (f64, f64)) {
    html.raw(start).number(x).raw(" ").number(y).raw("h0'/>");
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
