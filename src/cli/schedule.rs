//! The flags of `schedule`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::duration;

/// When what is run, and where that is written down.
#[derive(Debug, Clone, Default, Args)]
pub struct Schedule {
    /// Restore jobs that are run [default: all of the configuration]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Write the units, or the crontab file, and start the timers
    #[arg(long)]
    pub install: bool,
    /// Stop the timers and remove what `--install` wrote
    #[arg(long, conflicts_with = "install")]
    pub remove: bool,
    /// A file for /etc/cron.d instead of systemd's units
    #[arg(long)]
    pub cron: bool,
    /// When, by this machine's clock; may be given again [default: 02:00]
    #[arg(long, value_name = "HH:MM", value_parser = time_of_day)]
    pub at: Vec<TimeOfDay>,
    /// When drills are made, where `every` of [drill] asks for them [default: hours after the run, Sundays first]
    #[arg(long, value_name = "HH:MM", value_parser = time_of_day)]
    pub drill_at: Option<TimeOfDay>,
    /// When, in systemd's words such as "Mon..Fri 02:00"; may be given again
    #[arg(long, value_name = "CALENDAR", conflicts_with_all = ["at", "cron"])]
    pub on_calendar: Vec<String>,
    /// So much later at most, the same every day, so that not all machines begin at once [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_none, conflicts_with = "cron")]
    pub random_delay: Option<Duration>,
    /// For whom it runs [default: the owner of state_dir, else you]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// How old the last success may be for `status` [default: the longest time between two runs, and 2 h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub max_age: Option<Duration>,
    /// A unit of yours that systemd starts when a run or `status` fails
    #[arg(long, value_name = "UNIT", conflicts_with = "cron")]
    pub on_failure: Option<String>,
    /// Write there and start nothing: for packages and tests [default: /etc/systemd/system, /etc/cron.d]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Don't ask before something is replaced or removed; needed without a terminal
    #[arg(short, long)]
    pub yes: bool,
}

/// A minute of every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    pub hour: u8,
    pub minute: u8,
}

impl TimeOfDay {
    /// As it is written: `02:00`, or `2:00`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
            let is_number =
                digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u8>().ok().filter(|_| is_number)
        };
        let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
        (hour < 24 && minute < 60).then_some(Self { hour, minute })
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

fn time_of_day(text: &str) -> Result<TimeOfDay, String> {
    TimeOfDay::parse(text).ok_or_else(|| "write a time such as 02:00".to_owned())
}

/// Zero is a good answer: on the minute.
fn duration_or_none(text: &str) -> Result<Duration, String> {
    let parsed = crate::config::parse_duration(text);
    parsed.ok_or_else(|| "write a duration such as 0s, 5m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_hours_and_minutes_and_nothing_else() {
        for (text, shown) in [("02:00", "02:00"), ("2:05", "02:05"), ("23:59", "23:59")] {
            let time = TimeOfDay::parse(text).expect(text);
            assert_eq!(time.to_string(), shown);
        }
        for wrong in [
            "24:00", "2", "02:60", "02:0", "+2:00", "02:00:00", "", "2 :00", "002:00",
        ] {
            assert_eq!(TimeOfDay::parse(wrong), None, "{wrong}");
        }
    }
}
