//! `name_time`: how the name of an archive tells when it was made, in strftime's words.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A pattern that is known to hold a whole date, such as `erp_%Y%m%d.zip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTime(String);

impl NameTime {
    /// Proven by writing days and reading them back.
    ///
    /// # Errors
    /// What is wrong with the pattern, in words that fit behind it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let time = Self(pattern.to_owned());
        // One of them needs its zeros, so that `%-m%-d` is found out.
        for (year, month, day) in [(2026, 11, 21), (2003, 1, 12), (2030, 12, 1)] {
            let moment = DateTime::constant(year, month, day, 22, 33, 44, 0);
            let moment = moment.to_zoned(TimeZone::UTC);
            let moment = moment.map_err(|error| error.to_string())?;
            let name = strtime::format(pattern, &moment).map_err(|error| error.to_string())?;
            let read = time.read(&name, false).map(|t| t.to_zoned(TimeZone::UTC));
            if read.is_none_or(|read| read.date() != moment.date()) {
                return Err(format!(
                    "can't be read back into a date: it must hold year, month and day, as \"%Y%m%d\" does, and no time zone's name ({name:?})"
                ));
            }
        }
        Ok(time)
    }

    /// The time that a name states: UTC, unless the pattern holds an offset; midnight, unless it holds a time of day.
    #[must_use]
    pub fn read(&self, name: &str, ignore_case: bool) -> Option<Timestamp> {
        let (pattern, name) = if ignore_case {
            (in_small_letters(&self.0), name.to_lowercase())
        } else {
            (self.0.clone(), name.to_owned())
        };
        let found = strtime::parse(&pattern, &name).ok()?;
        // What reads `2026112` for a day in January is not taken for a date.
        let written = found.to_string(&pattern).ok()?;
        if !written.eq_ignore_ascii_case(&name) {
            return None;
        }
        let with_offset = found.to_timestamp().ok();
        let in_utc = || {
            let moment = found.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?;
            Some(moment.timestamp())
        };
        with_offset.or_else(in_utc)
    }
}

impl fmt::Display for NameTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands around the directives; those mean something else in small letters.
fn in_small_letters(pattern: &str) -> String {
    let mut small = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        small.extend(c.to_lowercase());
        if c == '%' {
            for directive in characters.by_ref() {
                small.push(directive);
                if directive.is_ascii_alphabetic() || directive == '%' {
                    break;
                }
            }
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, name: &str) -> Option<String> {
        let time = NameTime::new(pattern).expect("a pattern");
        time.read(name, false).map(|time| time.to_string())
    }

    #[test]
    fn a_date_is_midnight_in_utc_and_a_time_of_day_is_what_it_says() {
        let table = [
            ("erp_%Y%m%d.zip", "erp_20261121.zip", "2026-11-21T00:00:00Z"),
            (
                "erp_%Y-%m-%dT%H%M.zip",
                "erp_2026-11-21T0230.zip",
                "2026-11-21T02:30:00Z",
            ),
            ("%d%b%y.zip", "21Nov26.zip", "2026-11-21T00:00:00Z"),
            ("%d%b%y.zip", "21NOV26.zip", "2026-11-21T00:00:00Z"),
            ("erp-%Y-%j.zip", "erp-2026-325.zip", "2026-11-21T00:00:00Z"),
            ("erp_%s.zip", "erp_1795224600.zip", "2026-11-21T01:30:00Z"),
            (
                "erp_%Y%m%d%z.zip",
                "erp_20261121+0200.zip",
                "2026-11-20T22:00:00Z",
            ),
        ];
        for (pattern, name, time) in table {
            assert_eq!(
                read(pattern, name).as_deref(),
                Some(time),
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_name_of_another_form_or_without_a_real_date_has_no_time() {
        for name in [
            "erp_2026112.zip",
            "erp_20261131.zip",
            "erp_20261121_2.zip",
            "erp_20261121.zip.part",
            "ERP_20261121.zip",
            "erp_.zip",
            "erp_+2026112.zip",
            "",
        ] {
            assert_eq!(read("erp_%Y%m%d.zip", name), None, "{name}");
        }
    }

    #[test]
    fn without_regard_to_case_only_the_letters_around_the_date_matter() {
        let time = NameTime::new("Erp_%Y%m%d.ZIP").expect("a pattern");
        let read = |name| time.read(name, true).map(|time| time.to_string());
        let wanted = Some("2026-11-21T00:00:00Z".to_owned());
        assert_eq!(read("ERP_20261121.zip"), wanted);
        assert_eq!(read("erp_20261121.Zip"), wanted);
        assert_eq!(read("crm_20261121.zip"), None);
    }

    #[test]
    fn a_pattern_that_gives_no_certain_date_is_refused() {
        for pattern in [
            "erp.zip",
            "erp_%H%M.zip",
            "erp_%Y%m.zip",
            "erp_%m%d.zip",
            "erp_%Y%-m%-d.zip",
            "erp_%Y%m%d_%Z.zip",
            "erp_%!.zip",
            "erp_%",
        ] {
            assert!(NameTime::new(pattern).is_err(), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_moment_is_read_back_from_the_name_that_states_it(second in 0..4_000_000_000_i64, pattern in "[a-zA-Z0-9_.-]{0,8}") {
            let moment = Timestamp::from_second(second).expect("a time").to_zoned(TimeZone::UTC);
            let pattern = format!("{pattern}_%Y-%m-%dT%H%M%S.zip");
            let time = NameTime::new(&pattern).expect("a whole date");
            let name = strtime::format(&pattern, &moment).expect("a name");
            for ignore_case in [false, true] {
                proptest::prop_assert_eq!(time.read(&name, ignore_case), Some(moment.timestamp()));
            }
            proptest::prop_assert_eq!(time.read(&format!("{name}x"), false), None);
        }

        #[test]
        fn no_pattern_and_no_name_panics(pattern in ".{0,20}", name in ".{0,20}") {
            let _ = NameTime(pattern.clone()).read(&name, true);
            let _ = NameTime::new(&pattern).map(|time| time.read(&name, false));
        }
    }
}
