//! systemd's own programs, where it runs: bounded, and told in its words.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::commands::App;
use crate::escape::{said, shown};
use crate::process::{self, Command, Ended};
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// It waits for its manager, which may be busy.
const DEADLINE: Duration = Duration::from_secs(30);
/// A monitor waits for this one.
const LOOK: Duration = Duration::from_secs(5);

/// Whether it manages this machine, by its own rule (`sd_booted`).
pub fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// `systemctl …`, to its end.
///
/// # Errors
/// `local`: it failed, with what it said; `config`: there is none.
pub async fn systemctl(arguments: &[&str]) -> Outcome<()> {
    let what = format!("systemctl {}", arguments.join(" "));
    let command = Command::new("systemctl")?
        .arg("--no-ask-password")
        .args(arguments);
    let (ended, text) = output(&command, DEADLINE).await?;
    judge(&what, ended, &text)
}

fn judge(what: &str, ended: Ended, text: &str) -> Outcome<()> {
    if ended.is_success() {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Local,
        format!("{what}: {ended}: {}", said(text)),
    ))
}

async fn output(command: &Command, limit: Duration) -> Outcome<(Ended, String)> {
    let mut text = String::new();
    let ended = process::run(command, limit, |_, line| {
        text.push_str(line);
        text.push('\n');
    })
    .await?;
    Ok((ended, text))
}

/// Whether systemd understands it as a calendar; where there is none to ask, that is said.
pub async fn judge_calendar(calendar: &str, app: &App) -> Outcome<()> {
    if calendar.is_empty() || calendar.chars().any(|c| c.is_control() || c == '%') {
        return Err(Failed::new(
            Verdict::Usage,
            format!("{} is no calendar", shown(calendar)),
        ));
    }
    let Ok(command) = Command::new("systemd-analyze") else {
        app.output
            .say("there is no systemd-analyze here: the calendar is taken as it is");
        return Ok(());
    };
    let command = command.args(["calendar", "--", calendar]);
    let (ended, text) = output(&command, DEADLINE).await?;
    if ended == Ended::Exited(1) {
        return Err(Failed::new(Verdict::Usage, said(&text))
            .hint("systemd.time(7) has the words: \"Mon..Fri 02:00\", \"*-*-01 03:00\""));
    }
    judge("systemd-analyze calendar", ended, &text).context("judge the calendar")
}

/// How systemd has a timer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Timer {
    pub is_enabled: bool,
    pub is_active: bool,
    pub next: Option<Timestamp>,
}

/// None where systemd can't be asked. Once it has not answered in time, it isn't asked again: a monitor waits for every job in turn.
pub async fn timer(name: &str) -> Option<Timer> {
    static IS_SILENT: AtomicBool = AtomicBool::new(false);
    if IS_SILENT.load(Ordering::Relaxed) {
        return None;
    }
    let command = Command::new("systemctl").ok()?;
    let property = "--property=UnitFileState,ActiveState,NextElapseUSecRealtime";
    // Older ones can't show this one as a number.
    let command = command
        .args(["show", property, "--", name])
        .env("TZ", "UTC");
    let begun = Instant::now();
    let told = output(&command, LOOK).await;
    if begun.elapsed() >= LOOK {
        IS_SILENT.store(true, Ordering::Relaxed);
    }
    let (ended, text) = told.ok()?;
    ended.is_success().then(|| read(&text))
}

fn read(text: &str) -> Timer {
    let mut timer = Timer::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "UnitFileState" => timer.is_enabled = value.starts_with("enabled"),
            "ActiveState" => timer.is_active = value == "active",
            "NextElapseUSecRealtime" => {
                timer.next = time(value);
            }
            _ => {}
        }
    }
    timer
}

/// `Mon 2026-11-23 02:00:00 UTC`; nothing where it waits for nothing.
fn time(text: &str) -> Option<Timestamp> {
    let (_, text) = text.strip_suffix(" UTC")?.split_once(' ')?;
    let time: jiff::civil::DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read_and_a_timer_that_waits_for_nothing_has_no_next() {
        let shown = "UnitFileState=enabled\nActiveState=active\n\
                     NextElapseUSecRealtime=Mon 2026-11-23 02:04:11 UTC\n";
        let timer = read(shown);
        assert!(timer.is_enabled && timer.is_active);
        assert_eq!(timer.next, "2026-11-23T02:04:11Z".parse().ok());
        assert_eq!(time("n/a"), None);
        let idle = read("NextElapseUSecRealtime=\nActiveState=inactive\nUnitFileState=disabled\n");
        assert_eq!(idle, Timer::default());
    }
}
