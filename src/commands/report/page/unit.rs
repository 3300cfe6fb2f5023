//! What is measured, how it is written, and where an axis of it ends.

use std::time::Duration;

use crate::config::{format_bytes, format_duration};

/// Where axes end. The halves are labelled as well.
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
    MONTH,
    5_184_000.0,
];
const MONTH: f64 = 2_592_000.0;
const BYTES: [f64; 18] = [
    1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0,
    512.0, 768.0,
];
const COUNTS: [f64; 16] = [
    2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 200.0, 300.0, 400.0, 600.0,
    800.0,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Count,
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
            Self::Seconds => duration(value),
            Self::Bytes => format_bytes(whole),
            Self::Count => grouped(whole),
        }
    }

    /// What stands at the axis: the same without a needless decimal.
    pub(super) fn label(self, value: f64) -> String {
        match self {
            Self::Seconds | Self::Bytes if value == 0.0 => "0".to_owned(),
            Self::Seconds => self.text(value).replace(".0 s", " s"),
            Self::Bytes => self.text(value).replace(".0 ", " "),
            Self::Count => short(value),
        }
    }

    /// The smallest round number that is not less.
    pub(super) fn ceiling(self, value: f64) -> f64 {
        let (steps, base): (&[f64], f64) = match self {
            Self::Seconds => {
                let round = SECONDS.into_iter().find(|round| *round >= value);
                return round.unwrap_or_else(|| (value / MONTH).ceil() * MONTH);
            }
            Self::Bytes => (&BYTES, 1024.0),
            Self::Count => (&COUNTS, 1000.0),
        };
        let powers = (0..7).map(|power| base.powi(power));
        powers
            .flat_map(|power| steps.iter().map(move |step| step * power))
            .find(|round| *round >= value)
            .unwrap_or(value)
    }
}

/// As everywhere, but in hours up to four days, as people promise them: `26 h`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds.max(0.0) / 60.0).round();
    let (hours, rest) = ((minutes / 60.0).floor(), minutes % 60.0);
    match (24.0..96.0).contains(&hours) {
        true if rest == 0.0 => format!("{hours} h"),
        true => format!("{hours} h {rest} min"),
        false => format_duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()),
    }
}

/// `12 345 678`.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let table = [
            (Unit::Seconds, 3_000.0, "1 h"),
            (Unit::Seconds, 95_000.0, "36 h"),
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
