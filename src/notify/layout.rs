//! Plain text for 80 columns: wrapped paragraphs, and sizes, times and ages as people say them.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::format_duration;

/// No line is longer, but for a single word that is.
pub(super) const WIDTH: usize = 76;

/// `text` in lines of [`WIDTH`] columns, the first after `first`, the others indented as far. Its own line breaks stay.
pub(super) fn wrapped(first: &str, text: &str) -> String {
    let indent = " ".repeat(columns(first));
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let start = if lines.is_empty() { first } else { &indent };
        let mut line = start.to_owned();
        let mut is_empty = true;
        for word in paragraph.split_whitespace() {
            if !is_empty && columns(&line) + 1 + columns(word) > WIDTH {
                lines.push(std::mem::replace(&mut line, indent.clone()));
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// As many columns as a terminal needs for text without wide characters.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Seconds as the report has them, for people.
pub(super) fn duration_text(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// How old `then` was at `now`, in one unit: `6 h old`.
pub(super) fn age_text(then: Timestamp, now: Timestamp) -> String {
    match now.as_second() - then.as_second() {
        ..0 => "dated in the future".to_owned(),
        seconds @ 0..7200 => format!("{} min old", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h old", seconds / 3600),
        seconds => format!("{} days old", seconds / 86_400),
    }
}

/// `2026-11-20 02:00 UTC`.
pub(super) fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-20 02:00:13 UTC`.
pub(super) fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_read_as_people_say_them() {
        let times = [
            (0.0, "0.0 s"),
            (0.204, "0.2 s"),
            (9.96, "10 s"),
            (59.9, "1 min"),
            (72.0, "1 min 12 s"),
            (7500.0, "2 h 5 min"),
            (273_600.0, "3 d 4 h"),
        ];
        for (seconds, text) in times {
            assert_eq!(duration_text(seconds), text);
        }
    }

    #[test]
    fn an_age_is_one_number() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a timestamp");
        let now = at("2026-11-20T08:00:00Z");
        assert_eq!(
            age_text(at("2026-11-20T08:00:01Z"), now),
            "dated in the future"
        );
        assert_eq!(age_text(at("2026-11-20T07:01:00Z"), now), "59 min old");
        assert_eq!(age_text(at("2026-11-20T02:00:00Z"), now), "6 h old");
        assert_eq!(age_text(at("2026-11-18T08:00:00Z"), now), "2 days old");
    }

    #[test]
    fn wrapped_text_keeps_its_lines_and_hangs_under_its_label() {
        let text = format!("{} end\n- second", "word ".repeat(20).trim_end());
        let lines = format!(
            "what: {0}\n      {1} end\n      - second",
            ["word"; 14].join(" "),
            ["word"; 6].join(" ")
        );
        assert_eq!(wrapped("what: ", &text), lines);
    }
}
