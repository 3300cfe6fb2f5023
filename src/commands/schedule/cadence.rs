//! When drills are made: so often that `every` of [drill] is kept although one takes longer than the last or the clock changes,
//! and hours away from the runs, which hold the same lock.

use std::time::Duration;

use crate::cli::TimeOfDay;

const MINUTES_OF_DAY: u32 = 24 * 60;
/// After the run, where there is that much time before the next one.
const AFTER_RUN: u32 = 4 * 60;
/// Where the runs' times are in systemd's words.
const USUAL_TIME: TimeOfDay = TimeOfDay { hour: 6, minute: 0 };

/// Days of the week, as both write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// With the space behind it.
    pub systemd: &'static str,
    pub cron: &'static str,
}

const EVERY_DAY: Days = days("", "*");
/// With the shortest `every`, in hours, that each is enough for: the longest time between two of them, and a day.
const DAYS: [(u64, Days); 3] = [
    (8 * 24, days("Sun ", "0")),
    (5 * 24, days("Wed,Sun ", "0,3")),
    (3 * 24, days("Mon,Wed,Fri,Sun ", "0,1,3,5")),
];
const ONCE_A_DAY: u64 = 36;
/// How often a day, where once is not enough.
const A_DAY: [u32; 7] = [2, 3, 4, 6, 8, 12, 24];

const fn days(systemd: &'static str, cron: &'static str) -> Days {
    Days { systemd, cron }
}

/// The days, and the times on each.
#[derive(Debug, PartialEq, Eq)]
pub struct Cadence {
    pub days: Days,
    pub times: Vec<TimeOfDay>,
}

impl Cadence {
    /// `runs`: the sorted times of the runs; none where they are not known.
    pub fn of(every: Duration, runs: &[TimeOfDay], first: Option<TimeOfDay>) -> Self {
        let hours = every.as_secs() / 3600;
        let days = DAYS.iter().find(|(enough, _)| hours >= *enough);
        let a_day = if hours >= ONCE_A_DAY {
            1
        } else {
            let fits = |n: &&u32| u64::from(MINUTES_OF_DAY / **n) * 90 <= every.as_secs();
            A_DAY.iter().find(fits).copied().unwrap_or(24)
        };
        let first = minutes(first.unwrap_or_else(|| away_from(runs)));
        let step = MINUTES_OF_DAY / a_day;
        let mut times: Vec<TimeOfDay> = (0..a_day).map(|n| time(first + n * step)).collect();
        times.sort_unstable();
        Self {
            days: days.map_or(EVERY_DAY, |(_, days)| *days),
            times,
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        let times: Vec<String> = self.times.iter().map(ToString::to_string).collect();
        let days = match self.days.systemd.trim_end() {
            "" => "every day",
            days => &days.replace(',', ", "),
        };
        format!("{days} at {}", times.join(", "))
    }

    /// In the words of `OnCalendar=`.
    pub fn calendar(&self) -> Vec<String> {
        let times = self.times.iter();
        let days = self.days.systemd;
        times.map(|time| format!("{days}*-*-* {time}:00")).collect()
    }
}

/// In the longest time without a run: some hours after its beginning, in the middle where it is short.
fn away_from(runs: &[TimeOfDay]) -> TimeOfDay {
    let Some(first) = runs.first() else {
        return USUAL_TIME;
    };
    let next = runs.iter().skip(1).copied().map(minutes);
    let next = next.chain([minutes(*first) + MINUTES_OF_DAY]);
    let gaps =
        { runs.iter().copied().map(minutes).zip(next) }.map(|(begin, end)| (end - begin, begin));
    // The first of those that are equally long.
    let longest = gaps.max_by_key(|(gap, begin)| (*gap, u32::MAX - begin));
    longest.map_or(USUAL_TIME, |(gap, begin)| {
        time(begin + AFTER_RUN.min(gap / 2))
    })
}

fn minutes(time: TimeOfDay) -> u32 {
    u32::from(time.hour) * 60 + u32::from(time.minute)
}

fn time(minutes: u32) -> TimeOfDay {
    let of_day = minutes % MINUTES_OF_DAY;
    TimeOfDay {
        hour: u8::try_from(of_day / 60).unwrap_or_default(),
        minute: u8::try_from(of_day % 60).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(times: &[&str]) -> Vec<TimeOfDay> {
        let parse = |text: &&str| TimeOfDay::parse(text).expect("a time");
        times.iter().map(parse).collect()
    }

    #[test]
    fn drills_are_so_frequent_that_a_late_one_is_still_in_time() {
        let hour = 3600;
        for (hours, calendar) in [
            (30 * 24, "Sun *-*-* 06:00:00"),
            (8 * 24, "Sun *-*-* 06:00:00"),
            (7 * 24, "Wed,Sun *-*-* 06:00:00"),
            (4 * 24, "Mon,Wed,Fri,Sun *-*-* 06:00:00"),
            (48, "*-*-* 06:00:00"),
        ] {
            let cadence = Cadence::of(Duration::from_secs(hours * hour), &at(&["02:00"]), None);
            assert_eq!(cadence.calendar(), [calendar], "{hours}");
        }
        let often = Cadence::of(Duration::from_hours(24), &at(&["02:00"]), None);
        assert_eq!(often.times, at(&["06:00", "18:00"]));
        let often = Cadence::of(Duration::from_mins(5), &[], None);
        assert_eq!(often.times.len(), 24);
    }

    #[test]
    fn a_drill_is_hours_away_from_every_run() {
        for (runs, time) in [
            (&["02:00"][..], "06:00"),
            (&["23:30"], "03:30"),
            (&["02:00", "14:00"], "06:00"),
            (&["01:00", "02:30", "14:00"], "06:30"),
            (&["00:00", "06:00", "12:00", "18:00"], "03:00"),
            (&[], "06:00"),
        ] {
            let cadence = Cadence::of(Duration::from_hours(240), &at(runs), None);
            assert_eq!(cadence.times, at(&[time]), "{runs:?}");
        }
        let told = TimeOfDay::parse("5:15");
        let cadence = Cadence::of(Duration::from_hours(240), &at(&["02:00"]), told);
        assert_eq!(cadence.times, at(&["05:15"]));
    }
}
