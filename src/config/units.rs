//! Durations and sizes as people write and read them: `26h`, `64 MiB`.

use std::time::Duration;

const MILLIS_PER: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

const BYTES_PER: [(&str, u64); 11] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("kiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `10s`, `1h30m`, `2d`; units are ms, s, m, h, d (24 h) and w. None where it is no duration.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let (_, factor) = MILLIS_PER.into_iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = next.trim_start();
    }
    Some(Duration::from_millis(millis))
}

/// Reads `64 MiB`, `2 GB`, `1.5GiB`, `512 B`; powers of 1000 without the `i`. None where it is no size.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = BYTES_PER.into_iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    // Rust's own numbers may have a sign.
    if [whole, fraction]
        .iter()
        .any(|n| n.contains(|c: char| !c.is_ascii_digit()))
    {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(fraction_of(fraction, factor)?)
}

fn fraction_of(digits: &str, factor: u64) -> Option<u64> {
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    u64::try_from(
        digits
            .parse::<u128>()
            .ok()?
            .checked_mul(u128::from(factor))?
            / scale,
    )
    .ok()
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start()))
}

/// `12 bytes`, `742.0 MiB`, `1.3 GiB`: powers of 1024, one decimal.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95 would be rounded to 1024.0 of the smaller unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match (unit, bytes) {
        (0, 1) => "1 byte".to_owned(),
        (0, _) => format!("{bytes} bytes"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`: two units at most.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    if duration < Duration::from_millis(9_950) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    let seconds = duration
        .saturating_add(Duration::from_millis(500))
        .as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [
            ("10s", 10_000),
            ("26h", 93_600_000),
            ("1h30m", 5_400_000),
            ("2 d", 172_800_000),
            ("250ms", 250),
        ];
        for (text, millis) in table {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_not_guessed() {
        for text in [
            "",
            "10",
            "h",
            "10 parsecs",
            "-5s",
            "1.5h",
            "99999999999999999999s",
            "18446744073709551615w",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_both_kinds_of_prefix() {
        let table = [
            ("64 MiB", 64 << 20),
            ("2 GB", 2_000_000_000),
            ("1.5 GiB", 3 << 29),
            ("512B", 512),
            ("0 B", 0),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_not_guessed() {
        for text in [
            "",
            "64",
            "MiB",
            "64 Mib",
            "-1 MB",
            "1,5 GB",
            "99999999999 TiB",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_and_durations_are_shown_short() {
        assert_eq!(format_bytes(1), "1 byte");
        assert_eq!(format_bytes(12), "12 bytes");
        assert_eq!(format_bytes(1023), "1023 bytes");
        assert_eq!(format_bytes(64 << 20), "64.0 MiB");
        assert_eq!(format_bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(format_bytes(84_123_456), "80.2 MiB");
        assert_eq!(format_bytes(1_395_864_371), "1.3 GiB");
        assert_eq!(format_duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(format_duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(format_duration(Duration::from_hours(26)), "1 d 2 h");
    }

    #[test]
    fn a_number_has_digits_and_no_sign() {
        for text in [
            "+5 MB", "1.+5 GB", "-1 B", "1.5.5 MB", ". MB", "1 000 MB", "0x10 B",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        for text in ["+5s", "1m+5s", "-1s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_duration_is_the_sum_of_its_parts(parts in proptest::collection::vec((0..10_000_u64, 0..MILLIS_PER.len()), 1..5)) {
            let words = parts.iter().map(|(n, unit)| format!("{n}{}", MILLIS_PER[*unit].0));
            let text = words.collect::<Vec<_>>().join(" ");
            let millis = parts.iter().map(|(n, unit)| n * MILLIS_PER[*unit].1).sum();
            proptest::prop_assert_eq!(parse_duration(&text), Some(Duration::from_millis(millis)));
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(n in 0..8_000_000_u64, unit in 0..BYTES_PER.len()) {
            let (word, factor) = BYTES_PER[unit];
            proptest::prop_assert_eq!(parse_size(&format!("{n} {word}")), Some(n * factor));
            proptest::prop_assert_eq!(parse_size(&format!("{n}.5{word}")), Some(n * factor + factor / 2));
        }

        #[test]
        fn no_text_panics_and_what_is_shown_is_never_far_off(text in ".{0,30}", bytes in proptest::prelude::any::<u64>(), millis in proptest::prelude::any::<u64>()) {
            let _ = (parse_size(&text), parse_duration(&text));
            let _ = format_duration(Duration::from_millis(millis));
            let shown = format_bytes(bytes).replace(" bytes", " B").replace(" byte", " B").replace("PiB", "TiB");
            let read = parse_size(&shown);
            if let Some(read) = read.filter(|_| bytes < 1 << 50) {
                proptest::prop_assert!(read.abs_diff(bytes) <= bytes / 15, "{} {}", bytes, shown);
            }
        }
    }
}
