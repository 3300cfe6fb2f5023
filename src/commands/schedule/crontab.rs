//! A file for /etc/cron.d, and when it starts something next.

use jiff::civil::Time;
use jiff::{Span, Timestamp, Zoned};

use super::cadence::Cadence;
use super::mark::Mark;
use crate::cli::TimeOfDay;
use crate::process::SEARCH_PATH;

/// So long after the day's first run `status` is asked: once a day, since cron mails each answer.
const STATUS_AFTER_HOURS: u8 = 6;

/// What is started, and when.
#[derive(Debug)]
pub struct Crontab<'a> {
    pub mark: &'a Mark,
    pub user: &'a str,
    pub at: &'a [TimeOfDay],
    /// Program and arguments.
    pub run: &'a [String],
    pub status: &'a [String],
    pub drills: Option<(&'a Cadence, &'a [String])>,
}

impl Crontab<'_> {
    /// The whole file.
    ///
    /// Only errors are left to say something, and cron mails them to the user; the report comes by our own mail.
    pub fn text(&self) -> String {
        let lines = self.at.iter().map(|time| (*time, self.run));
        let status = self.at.iter().min().map(|first| {
            let hour = (first.hour + STATUS_AFTER_HOURS) % 24;
            (TimeOfDay { hour, ..*first }, self.status)
        });
        let mut lines: Vec<String> = { lines.chain(status) }
            .map(|(time, command)| self.line(time, "*", command))
            .collect();
        if let Some((cadence, command)) = self.drills {
            let times = cadence.times.iter();
            lines.extend(times.map(|time| self.line(*time, cadence.days.cron, command)));
        }
        format!(
            "# Written by `backupctl schedule --cron --install`, which writes it anew.\n\
             {}\n\
             SHELL=/bin/sh\nPATH={SEARCH_PATH}\n\n{}\n",
            self.mark.line(),
            lines.join("\n")
        )
    }

    fn line(
        &self,
        TimeOfDay { hour, minute }: TimeOfDay,
        days: &str,
        command: &[String],
    ) -> String {
        let words: Vec<String> = command.iter().map(|word| in_cron(word)).collect();
        let (user, words) = (self.user, words.join(" "));
        format!("{minute} {hour} * * {days}  {user}  {words} >/dev/null")
    }
}

/// For cron's shell; a bare `%` ends cron's command, in quotes as well.
fn in_cron(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@=:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let quoted = format!("'{}'", word.replace('\'', r"'\''"));
    // A backslash right before `%` is taken as ours, wherever it comes from: a quote between them keeps both.
    quoted.replace(r"\%", r"\''%").replace('%', r"\%")
}

/// The next of these times of day after `now`, by its time zone.
pub fn next(at: &[TimeOfDay], now: &Zoned) -> Option<Timestamp> {
    let of_day = |day: &Zoned, time: &TimeOfDay| {
        let hour = i8::try_from(time.hour).ok()?;
        let minute = i8::try_from(time.minute).ok()?;
        let time = Time::new(hour, minute, 0, 0).ok()?;
        let then = day
            .date()
            .to_datetime(time)
            .to_zoned(day.time_zone().clone());
        Some(then.ok()?.timestamp())
    };
    let tomorrow = now.checked_add(Span::new().days(1)).ok()?;
    let both = [now, &tomorrow];
    let all = both
        .iter()
        .flat_map(|day| at.iter().filter_map(|time| of_day(day, time)));
    all.filter(|then| *then > now.timestamp()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reaches_the_program_through_cron_and_its_shell() {
        for (word, written) in [
            ("/usr/bin/backupctl", "/usr/bin/backupctl"),
            ("/50% $HOME", r"'/50\% $HOME'"),
            ("/it's", r"'/it'\''s'"),
            (r"/a\%b", r"'/a\''\%b'"),
        ] {
            assert_eq!(in_cron(word), written);
        }
    }

    #[test]
    fn the_next_time_is_today_or_tomorrow_and_a_gap_of_the_clock_is_passed() {
        let at = ["02:30", "14:00"].map(|text| TimeOfDay::parse(text).expect(text));
        for (now, then) in [
            (
                "2026-11-21T01:00[Europe/Berlin]",
                "2026-11-21T02:30[Europe/Berlin]",
            ),
            (
                "2026-11-21T02:30[Europe/Berlin]",
                "2026-11-21T14:00[Europe/Berlin]",
            ),
            (
                "2026-11-21T15:00[Europe/Berlin]",
                "2026-11-22T02:30[Europe/Berlin]",
            ),
            (
                "2027-03-28T01:00[Europe/Berlin]",
                "2027-03-28T03:30[Europe/Berlin]",
            ),
        ] {
            let now: Zoned = now.parse().expect(now);
            let then: Zoned = then.parse().expect(then);
            assert_eq!(next(&at, &now), Some(then.timestamp()), "{now}");
        }
        assert_eq!(next(&[], &Zoned::now()), None);
    }
}
