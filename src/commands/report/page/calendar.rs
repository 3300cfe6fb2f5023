//! The timeline: a square for each day, a column for each week, by the worst verdict of the day. Shapes say what colours say.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::markup::Html;
use super::plot::Span;
use crate::commands::report::{Entry, History, Tone};

/// From one square to the next.
const PITCH: f64 = 14.0;
/// How much larger they are shown where there is room: a year has the width of the page.
const SCALE: f64 = 1.27;
/// Where the squares begin, below the months.
const TOP: f64 = 14.0;
/// Weeks of one block; two of them are a year side by side, and below each other on a phone.
const WEEKS: usize = 27;
/// Blocks that are shown, the newest: older days are in the list.
const BLOCKS: usize = 8;

/// The squares, drawn once: other places refer to them.
pub(super) const SYMBOLS: &str = "<svg class=no aria-hidden=true>\
<symbol id=sg viewBox='0 0 11 11'><rect class=cg width=11 height=11 rx=2.5 /></symbol>\
<symbol id=sd viewBox='0 0 11 11'><rect class=cd width=11 height=11 rx=2.5 /><path class=ck d='M2.8 5.5h5.4'/></symbol>\
<symbol id=sb viewBox='0 0 11 11'><rect class=cb width=11 height=11 rx=2.5 /><path class=ck d='M3.2 3.2l4.6 4.6m0-4.6l-4.6 4.6'/></symbol>\
<symbol id=so viewBox='0 0 11 11'><rect class=co width=11 height=11 rx=2.5 /><circle class=cw cx=5.5 cy=5.5 r=2 /></symbol>\
<symbol id=sn viewBox='0 0 11 11'><rect class=cn x=.5 y=.5 width=10 height=10 rx=2 /></symbol>\
<symbol id=sk viewBox='0 0 11 11'><path class=cr d='M11 5.2V8.5A2.5 2.5 0 0 1 8.5 11H5.2z'/></symbol></svg>";

/// What happened in one day.
#[derive(Default)]
struct Day<'a> {
    worst: Option<Entry<'a>>,
    runs: usize,
    has_drill: bool,
}

pub(super) fn calendar(history: &History, span: Span) -> Html {
    let mut days: BTreeMap<Date, Day> = BTreeMap::new();
    for run in &history.runs {
        let day = days.entry(date(run.record.started)).or_default();
        day.runs += 1;
        day.has_drill |= run.record.command == "drill";
        if day.worst.is_none_or(|worst| worst.tone() < run.tone()) {
            day.worst = Some(*run);
        }
    }
    let mut weeks = weeks(span);
    let blocks = weeks.len().div_ceil(WEEKS).clamp(1, BLOCKS);
    weeks.drain(..weeks.len().saturating_sub(WEEKS * BLOCKS));
    let mut html = Html::default();
    html.raw("<div class=cal>");
    for block in weeks.chunks(weeks.len().div_ceil(blocks).max(1)) {
        draw(&mut html, block, (&days, date(span.from), date(span.to)));
    }
    html.raw("</div>");
    legend(&mut html, &days);
    html
}

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The Mondays of the weeks that the span touches.
fn weeks(span: Span) -> Vec<Date> {
    let first = date(span.from);
    let back = i32::from(first.weekday().to_monday_zero_offset());
    let monday = first.saturating_sub(back.days());
    let last = date(span.to);
    monday
        .series(7.days())
        .take_while(|monday| *monday <= last)
        .collect()
}

fn draw(html: &mut Html, weeks: &[Date], (days, first, last): (&BTreeMap<Date, Day>, Date, Date)) {
    #[expect(clippy::cast_precision_loss, reason = "a number of weeks")]
    let wide = (weeks.len() as f64).max(3.0) * PITCH;
    let high = TOP + 7.0 * PITCH;
    html.raw("<svg role=img aria-label='a square for each day' viewBox='0 0 ")
        .number(wide)
        .raw(" ")
        .number(high);
    html.raw("' width=").number(wide * SCALE).raw(">");
    let mut x = 0.0;
    let mut last_label = -3.0 * PITCH;
    for monday in weeks {
        let begins_month = monday.day() <= 7;
        if (begins_month || x == 0.0) && x - last_label >= 3.0 * PITCH {
            html.raw("<text x=").number(x).raw(" y=9>");
            html.text(&monday.strftime("%b").to_string()).raw("</text>");
            last_label = x;
        }
        let mut y = TOP;
        for day in monday.series(1.days()).take(7) {
            if day >= first && day <= last {
                square(html, (x, y), (day, days.get(&day)));
            }
            y += PITCH;
        }
        x += PITCH;
    }
    html.raw("</svg>");
}

fn square(html: &mut Html, (x, y): (f64, f64), (date, day): (Date, Option<&Day>)) {
    let place = |html: &mut Html| {
        html.raw(" width=11 height=11 x=")
            .number(x)
            .raw(" y=")
            .number(y);
    };
    let Some((day, run)) = day.and_then(|day| Some((day, day.worst?))) else {
        html.raw("<use href=#sn");
        place(html);
        html.raw("><title>")
            .text(&format!("{date}: no run"))
            .raw("</title></use>");
        return;
    };
    html.raw("<a href='#")
        .text(&run.record.run)
        .raw("'><use href=#s")
        .raw(match run.tone() {
            Tone::Good => "g",
            Tone::Duty => "d",
            Tone::Bad => "b",
            Tone::Open => "o",
        });
    place(html);
    html.raw(" />");
    if day.has_drill {
        html.raw("<use href=#sk");
        place(html);
        html.raw(" />");
    }
    let runs = if day.runs == 1 {
        String::new()
    } else {
        format!(", worst of {}", day.runs)
    };
    let drill = if day.has_drill { ", drill" } else { "" };
    html.raw("<title>")
        .text(&format!("{date}: {}{runs}{drill}", run.word()))
        .raw("</title></a>");
}

fn legend(html: &mut Html, days: &BTreeMap<Date, Day>) {
    let count = |tone: Tone| {
        let worst = days.values().filter_map(|day| day.worst);
        worst.filter(|run| run.tone() == tone).count()
    };
    html.raw("<p class=leg>");
    for (tone, symbol, word) in [
        (Tone::Good, "<svg class=i><use href=#sg /></svg>", "done"),
        (
            Tone::Duty,
            "<svg class=i><use href=#sd /></svg>",
            "attention",
        ),
        (Tone::Bad, "<svg class=i><use href=#sb /></svg>", "failed"),
        (Tone::Open, "<svg class=i><use href=#so /></svg>", "running"),
    ] {
        let days = match count(tone) {
            0 => continue,
            1 => "1 day".to_owned(),
            count => format!("{count} days"),
        };
        html.raw("<span>")
            .raw(symbol)
            .text(&format!("{word} {days}"))
            .raw("</span>");
    }
    html.raw("<span><svg class=i><use href=#sn /></svg>no run</span>");
    if days.values().any(|day| day.has_drill) {
        html.raw("<span><svg class=i><use href=#sg /><use href=#sk /></svg>with a drill</span>");
    }
    html.raw("</p>");
}
