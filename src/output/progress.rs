//! How far a step is: on a terminal a line that moves, with bytes, rate and what is left; without one a few plain lines a minute.
//!
//! Always on stderr. What is said comes from outside as well (names of tables), so it is escaped here.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::config::{format_bytes, format_duration};
use crate::escape::escaped;

const LINE_EVERY: Duration = Duration::from_secs(20);
const REDRAWN_EVERY: Duration = Duration::from_millis(120);
/// A bar shorter than this says nothing.
const SHORTEST_BAR: usize = 10;
const LONGEST_BAR: usize = 40;
/// Where nobody knows how wide the terminal is.
const COLUMNS: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Display {
    #[default]
    Hidden,
    Bar,
    Lines,
}

/// How far a step is, shared by all who move it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    display: Display,
    state: Arc<Mutex<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    step: String,
    total: Option<u64>,
    done: u64,
    note: String,
    began: Option<Instant>,
    last_line: Option<Instant>,
    bar: Option<ProgressBar>,
    /// The note, for whoever draws the bar of bytes: the bar itself doesn't hand out its message.
    beside: Arc<Mutex<String>>,
}

impl Progress {
    /// In lines, where the terminal can't go back in a line ($TERM is missing or `dumb`).
    pub(super) fn on_a_terminal() -> Self {
        if ProgressDrawTarget::stderr().is_hidden() {
            return Self::in_lines();
        }
        Self {
            display: Display::Bar,
            ..Self::default()
        }
    }

    pub(super) fn in_lines() -> Self {
        Self {
            display: Display::Lines,
            ..Self::default()
        }
    }

    /// Whether anybody is told: what costs something need not be found out for nobody.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.display != Display::Hidden
    }

    /// Whether somebody may watch.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.display == Display::Bar
    }

    /// A step starts; nothing is known about its size yet.
    pub fn begin(&self, step: &str) {
        let mut shown = self.lock();
        let now = Instant::now();
        *shown = Shown {
            step: step.to_owned(),
            began: Some(now),
            last_line: Some(now),
            ..Shown::default()
        };
        if self.display == Display::Bar {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(style("{spinner} {prefix} {wide_msg}"));
            bar.set_prefix(step.to_owned());
            bar.enable_steady_tick(REDRAWN_EVERY);
            shown.bar = Some(bar);
        }
    }

    /// The step's size in bytes is known.
    pub fn total(&self, bytes: u64) {
        let mut shown = self.lock();
        shown.total = Some(bytes);
        shown.done = 0;
        shown.began = Some(Instant::now());
        shown.note.clear();
        shown.beside = Arc::default();
        if let Some(bar) = &shown.bar {
            bar.set_length(bytes);
            bar.set_position(0);
            bar.reset_eta();
            let before = shown.step.chars().count() + "⠁  ".chars().count();
            let note = Arc::clone(&shown.beside);
            let figures = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let room = columns().saturating_sub(before + 1);
                let note = note.lock().unwrap_or_else(PoisonError::into_inner);
                // A line that can't be drawn is drawn the next time.
                let _ = out.write_str(&Figures::of(state).within(room, &note));
            };
            bar.set_style(style("{spinner} {prefix} {figures}").with_key("figures", figures));
        }
    }

    /// So many more bytes are done.
    pub fn advance(&self, bytes: u64) {
        let mut shown = self.lock();
        shown.done += bytes;
        match &shown.bar {
            Some(bar) => bar.inc(bytes),
            None => self.line(&mut shown),
        }
    }

    /// What is going on, where bytes say nothing: `items 12 of 40`.
    pub fn note(&self, text: &str) {
        let mut shown = self.lock();
        shown.note = escaped(text);
        match &shown.bar {
            Some(bar) => {
                bar.set_message(shown.note.clone());
                shown
                    .beside
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone_from(&shown.note);
            }
            None => self.line(&mut shown),
        }
    }

    /// The step is over.
    pub fn end(&self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints something else without tearing the bar.
    pub fn above(&self, print: impl FnOnce()) {
        let bar = self.lock().bar.clone();
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn line(&self, shown: &mut Shown) {
        let is_due = shown
            .last_line
            .is_some_and(|last| last.elapsed() >= LINE_EVERY);
        if self.display != Display::Lines || !is_due {
            return;
        }
        shown.last_line = Some(Instant::now());
        let line = shown.as_line();
        // Nothing is left to complain to.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn as_line(&self) -> String {
        let mut line = format!("{}: ", self.step);
        if let Some(total) = self.total {
            let took = self.began.map_or(Duration::ZERO, |began| began.elapsed());
            line += &Figures::steady(self.done, total, took).long();
            if !self.note.is_empty() {
                line += "; ";
            }
        }
        line + &self.note
    }
}

/// What is known of a step that moves bytes.
#[derive(Debug, Clone, Copy)]
struct Figures {
    done: u64,
    total: u64,
    /// Bytes a second; 0 where it can't be said.
    rate: u64,
    left: Option<Duration>,
}

impl Figures {
    fn of(state: &ProgressState) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "for people; a cast from a float saturates"
        )]
        let rate = state.per_sec() as u64;
        let (done, total) = (state.pos(), state.len().unwrap_or(0));
        Self {
            done,
            total,
            rate,
            left: (rate > 0 && done < total).then(|| state.eta()),
        }
    }

    /// By the mean over all the time that it took until now.
    fn steady(done: u64, total: u64, took: Duration) -> Self {
        let rate = done / took.as_secs().max(1);
        let to_come = total.saturating_sub(done);
        Self {
            done,
            total,
            rate,
            left: to_come
                .checked_div(rate)
                .filter(|_| to_come > 0)
                .map(Duration::from_secs),
        }
    }

    fn long(self) -> String {
        let mut text = self.short();
        if self.rate > 0 {
            // Writing to a string can't fail.
            let _ = write!(text, ", {}/s", format_bytes(self.rate));
        }
        if let Some(left) = self.left {
            // A link that has stood still for long may promise years.
            let left = left.min(Duration::from_hours(24 * 99));
            let left = Duration::from_secs(left.as_secs().max(1));
            let _ = write!(text, ", {} left", in_words(left));
        }
        text
    }

    fn short(self) -> String {
        format!(
            "{} of {}",
            format_bytes(self.done),
            format_bytes(self.total)
        )
    }

    fn percent(self) -> u64 {
        let percent = u128::from(self.done) * 100 / u128::from(self.total.max(1));
        u64::try_from(percent).unwrap_or(100).min(100)
    }

    /// As much as fits into so many columns, with the note rather than a bar.
    fn within(self, columns: usize, note: &str) -> String {
        let long = self.long();
        let length = long.chars().count();
        let room = columns.saturating_sub(length);
        if room > SHORTEST_BAR && note.is_empty() {
            let bar = self.bar((room - 1).min(LONGEST_BAR));
            return format!("{bar} {long}");
        }
        if room > SHORTEST_BAR {
            return format!("{long}; {}", cut(note, room - 2));
        }
        let candidates = [long, self.short(), format!("{} %", self.percent())];
        let mut fitting = candidates
            .into_iter()
            .filter(|text| text.chars().count() <= columns);
        fitting.next().unwrap_or_default()
    }

    fn bar(self, columns: usize) -> String {
        let full = columns * usize::try_from(self.percent()).unwrap_or(100) / 100;
        "█".repeat(full) + &"░".repeat(columns - full)
    }
}

/// No wider than so many columns; what is no ASCII may be two wide.
fn cut(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |letter: &char| {
        let wide = if letter.is_ascii() { 1 } else { 2 };
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).collect()
}

/// Without a tenth of a second that jumps about.
fn in_words(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..10 => format!("{seconds} s"),
        _ => format_duration(left),
    }
}

/// Of the terminal as it is now: it may have been resized.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS } else { columns }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn figures() -> Figures {
        Figures::steady(512 * MIB, 3 << 30, Duration::from_secs(5))
    }

    #[test]
    fn a_line_says_bytes_rate_and_what_is_left() {
        assert_eq!(
            figures().long(),
            "512.0 MiB of 3.0 GiB, 102.4 MiB/s, 25 s left"
        );
        let begun = Figures::steady(0, 3 << 30, Duration::from_secs(5));
        assert_eq!(begun.long(), "0 bytes of 3.0 GiB");
        let over = Figures::steady(3 << 30, 3 << 30, Duration::from_secs(10));
        assert_eq!(over.long(), "3.0 GiB of 3.0 GiB, 307.2 MiB/s");
    }

    #[test]
    fn a_narrow_terminal_gets_what_fits() {
        for columns in 0..200 {
            for note in ["", "items 1,204 of 3,310, public.orders 1.2 GiB"] {
                let text = figures().within(columns, note);
                assert!(text.chars().count() <= columns, "{columns}: {text}");
            }
        }
        assert_eq!(
            figures().within(72, ""),
            "████░░░░░░░░░░░░░░░░░░░░░░░ 512.0 MiB of 3.0 GiB, 102.4 MiB/s, 25 s left"
        );
        assert_eq!(figures().within(30, ""), "512.0 MiB of 3.0 GiB");
        assert_eq!(figures().within(8, ""), "16 %");
        assert_eq!(figures().within(2, ""), "");
        assert_eq!(
            figures().within(64, "items 12 of 86, public.größe"),
            "512.0 MiB of 3.0 GiB, 102.4 MiB/s, 25 s left; items 12 of 86, pu"
        );
        assert_eq!(cut("größe", 4), "grö");
    }

    #[test]
    fn a_note_behind_the_figures_stands_in_the_same_line() {
        let progress = Progress::in_lines();
        progress.begin("restore");
        progress.note("looking");
        assert_eq!(progress.lock().as_line(), "restore: looking");
        progress.total(4 * MIB);
        progress.note("items 2 of 4\u{1b}[2J");
        assert_eq!(
            progress.lock().as_line(),
            "restore: 0 bytes of 4.0 MiB; items 2 of 4\\u{1b}[2J"
        );
    }
}
