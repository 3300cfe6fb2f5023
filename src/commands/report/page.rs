//! The page: one file without a script, that needs nothing from elsewhere and may load nothing. Every word from outside is escaped by
//! how it is put together (`markup`).

mod calendar;
mod entries;
mod markup;
mod plot;
mod plots;
mod unit;

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use self::markup::Html;
use self::plot::Span;
use super::text::{counts, proof};
use super::{Asked, History, Tone};
use crate::escape::said;
use crate::report::Audit;

/// How a page of ours begins: nothing else is written over.
pub(super) const MARK: &str = "<!doctype html><!-- backupctl report -->";
const STYLE: &str = include_str!("page/style.css");
/// Problems of the chain that are named.
const NAMED: usize = 50;

pub(super) fn page(asked: &Asked, histories: &[History]) -> String {
    let mut html = Html::default();
    head(&mut html);
    html.raw("<main><header><h1>Restore history</h1><p class=n>");
    let span = format!("{} to {} UTC", minute(asked.since), minute(asked.now));
    html.text(&format!("{span}, on {}", host()))
        .raw("</p></header>");
    html.raw("<section class=now aria-label='how things are'>");
    for history in histories {
        now(&mut html, history, asked.now);
    }
    chain(&mut html, &asked.audit);
    html.raw("</section>").raw(calendar::SYMBOLS);
    for history in histories {
        job(&mut html, asked, history);
    }
    html.raw("<footer class=n>backupctl ")
        .text(env!("CARGO_PKG_VERSION"));
    html.raw(". Times are UTC. A day has the colour of its worst run.</footer></main></html>\n");
    html.into_string()
}

/// The style is allowed by its hash; there is nothing else to allow.
fn head(html: &mut Html) {
    let hash = BASE64.encode(&Sha256::digest(STYLE.as_bytes()));
    html.raw(MARK).raw("<html lang=en><head><meta charset=utf-8><meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'sha256-");
    html.text(&hash)
        .raw("'; base-uri 'none'; form-action 'none'\">");
    html.raw("<meta name=viewport content='width=device-width, initial-scale=1'><meta name=color-scheme content='light dark'>");
    html.raw("<meta name=robots content=noindex><meta name=referrer content=no-referrer><title>Restore history</title><style>");
    html.raw(STYLE).raw("</style></head><body>");
}

fn host() -> String {
    let name = rustix::system::uname();
    said(&name.nodename().to_string_lossy())
}

/// `2026-11-20 02:00`.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// A sign and a word: the colour only repeats them.
fn badge(html: &mut Html, tone: Tone, word: &str) {
    html.raw(match tone {
        Tone::Good => "<b class=good>✓ ",
        Tone::Open => "<b class=open>● ",
        Tone::Duty => "<b class=duty>! ",
        Tone::Bad => "<b class=bad>✕ ",
    });
    html.text(word).raw("</b>");
}

/// How a job is now, in a line.
fn now(html: &mut Html, history: &History, now: Timestamp) {
    let state = &history.state;
    html.raw("<div class=job>");
    badge(html, Tone::of(state.verdict()), state.word());
    html.raw("<strong>")
        .text(&history.restore.name)
        .raw("</strong><span>");
    for (name, value) in state.brief(now) {
        html.raw("<span><i>")
            .text(name)
            .raw("</i> ")
            .text(&value)
            .raw("</span> ");
    }
    html.raw("</span></div>");
}

fn chain(html: &mut Html, audit: &Audit) {
    html.raw("<div class=job>");
    if audit.problems.is_empty() {
        badge(html, Tone::Good, "ok");
    } else {
        badge(html, Tone::Bad, "edited");
    }
    html.raw("<strong>history</strong><span><span>")
        .text(&proof(audit))
        .raw("</span>");
    for problem in audit.problems.iter().take(NAMED) {
        html.raw(" <span>")
            .text(&problem.to_string())
            .raw("</span>");
    }
    if let Some(head) = &audit.head {
        html.raw(" <span><i>head</i> <code>")
            .text(&said(head))
            .raw("</code></span>");
    }
    html.raw("</span></div>");
}

fn job(html: &mut Html, asked: &Asked, history: &History) {
    html.raw("<section><h2>")
        .text(&history.restore.name)
        .raw("</h2>");
    let Some(oldest) = history.runs.last() else {
        html.raw("<p class=n>No runs in this time.</p></section>");
        return;
    };
    html.raw("<p class=n>").text(&counts(history)).raw("</p>");
    // Young histories are not squeezed into a corner; a day is the least.
    let day = SignedDuration::from_hours(24);
    let from = oldest
        .record
        .started
        .min(asked.now.saturating_sub(day).unwrap_or(asked.now));
    let span = Span {
        from,
        to: asked.now,
    };
    html.add(&calendar::calendar(history, span));
    html.raw("<div class=plots>")
        .add(&plots::plots(history, span))
        .raw("</div>");
    html.add(&entries::drills(history))
        .add(&entries::runs(history));
    html.raw("</section>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The colours of one theme: the first `:root` is light, the second dark.
    fn colours(theme: &str) -> HashMap<String, [f64; 3]> {
        let declarations = theme.split([';', '{', '}']).filter_map(|text| {
            let (name, value) = text.trim().strip_prefix("--")?.split_once(':')?;
            let hex = value.trim().strip_prefix('#')?;
            let channel = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("a colour");
            Some((
                name.to_owned(),
                [0, 2, 4].map(|at| f64::from(channel(at)) / 255.0),
            ))
        });
        declarations.collect()
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(colour: [f64; 3]) -> f64 {
        let linear = colour.map(|c| {
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_has_contrast_in_both_themes() {
        let (light, dark) = STYLE
            .split_once("prefers-color-scheme:dark")
            .expect("two themes");
        for (name, theme) in [("light", light), ("dark", dark)] {
            let colours = colours(theme);
            for text in ["ink", "soft", "good", "duty", "bad", "open"] {
                for paper in ["paper", "card"] {
                    let found = contrast(colours[text], colours[paper]);
                    assert!(found >= 4.5, "{name}: {text} on {paper} has {found:.2}");
                }
            }
            for shape in [
                "cg", "cd", "cb", "co", "line1", "s0", "s1", "s2", "s3", "s4", "s5",
            ] {
                let found = contrast(colours[shape], colours["paper"]);
                assert!(found >= 3.0, "{name}: {shape} on paper has {found:.2}");
            }
        }
    }

    #[test]
    fn the_style_asks_for_nothing_from_elsewhere() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
        assert!(!STYLE.contains('<'));
    }
}
