//! What starts a job by itself: units and crontabs of ours, and lines of others that name us.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use serde::Serialize;

use super::mark::Mark;
use super::{CRON_DIR, SYSTEMD_DIR, crontab, systemd};
use crate::config::format_duration;
use crate::process::{self, Command};

/// Where units may lie; those of packages in the last ones.
const UNIT_DIRS: [&str; 3] = [
    SYSTEMD_DIR,
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
const CRONTAB: &str = "/etc/crontab";
const LOOK: Duration = Duration::from_secs(5);

/// One thing that starts a job.
#[derive(Debug)]
pub struct Starter {
    pub file: PathBuf,
    pub mark: Mark,
    /// Its timer, where it is a unit.
    timer: Option<String>,
}

/// When a job is started next, as `status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Next {
    /// Null: it is installed, but nothing will start it.
    pub at: Option<Timestamp>,
    /// The timer or the crontab.
    pub by: String,
}

/// How a starter stands.
#[derive(Debug)]
pub enum Standing {
    Ready(Next),
    /// Why nothing will be started, and what mends it.
    Broken {
        why: String,
        remedy: String,
    },
}

/// What is started: `run` or `drill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    Run,
    Drill,
}

impl Started {
    fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Drill => "drill",
        }
    }
}

/// Everything of ours that starts this job.
pub fn starters(config: &Path, job: &str, what: Started) -> Vec<Starter> {
    let config = config.to_string_lossy();
    let mut found = Vec::new();
    for directory in UNIT_DIRS {
        for starter in marked(Path::new(directory), Some(what), &config, job) {
            let is_hidden = found
                .iter()
                .any(|known: &Starter| known.timer == starter.timer);
            if !is_hidden {
                found.push(starter);
            }
        }
    }
    let in_cron = marked(Path::new(CRON_DIR), None, &config, job).into_iter();
    // One file starts both.
    found.extend(in_cron.filter(|starter| what == Started::Run || starter.mark.drills));
    found
}

/// Those of a directory, units or crontabs. One that lies in two of the units' directories is taken from the first, as systemd does.
fn marked(directory: &Path, unit: Option<Started>, config: &str, job: &str) -> Vec<Starter> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<Starter> = entries
        .flatten()
        .filter_map(|entry| starter(entry.path(), unit))
        .filter(|starter| starter.mark.is_for(config, job))
        .collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

fn starter(file: PathBuf, unit: Option<Started>) -> Option<Starter> {
    let name = file.file_name()?.to_str()?;
    let stem = match unit {
        Some(_) => name.strip_suffix(".service")?,
        None => name,
    };
    let what = unit.unwrap_or(Started::Run).word();
    let jobs = stem.strip_prefix("backupctl-")?.strip_prefix(what)?;
    if !(jobs.is_empty() || jobs.starts_with('_')) {
        return None;
    }
    let timer = unit.is_some().then(|| format!("{stem}.timer"));
    let mark = Mark::of(&fs::read_to_string(&file).ok()?)?;
    Some(Starter { file, mark, timer })
}

impl Starter {
    pub fn is_crontab(&self) -> bool {
        self.timer.is_none()
    }

    /// Whether anything comes of it.
    pub async fn standing(&self) -> Standing {
        let Some(timer) = &self.timer else {
            let at = crontab::next(&self.mark.times(), &Zoned::now());
            let by = self.file.display().to_string();
            return Standing::Ready(Next { at, by });
        };
        let enable = format!("systemctl enable --now {timer}");
        if !systemd::is_running() {
            return Standing::Broken {
                why: format!("{timer} is installed, but systemd does not run this machine"),
                remedy: "backupctl schedule --cron".to_owned(),
            };
        }
        match systemd::timer(timer).await {
            None => Standing::Broken {
                why: format!("systemd can't be asked about {timer}"),
                remedy: format!("systemctl status {timer}"),
            },
            Some(state) if !state.is_active => Standing::Broken {
                why: format!("{timer} is installed, but not active"),
                remedy: enable,
            },
            Some(state) if !state.is_enabled => Standing::Broken {
                why: format!("{timer} is active, but not enabled: not after the next boot"),
                remedy: enable,
            },
            Some(state) => Standing::Ready(Next {
                at: state.next,
                by: timer.clone(),
            }),
        }
    }
}

/// When it is started next; None: nothing of ours starts it.
pub async fn next(config: &Path, job: &str) -> Option<Next> {
    let mut found: Option<Next> = None;
    for starter in starters(config, job, Started::Run) {
        let next = match starter.standing().await {
            Standing::Ready(next) => next,
            Standing::Broken { why, .. } => Next { at: None, by: why },
        };
        let is_sooner = match (&found, next.at) {
            (
                Some(Next {
                    at: Some(known), ..
                }),
                Some(at),
            ) => at < *known,
            (Some(Next { at: Some(_), .. }), None) => false,
            _ => true,
        };
        if is_sooner {
            found = Some(next);
        }
    }
    found
}

/// `2026-11-22T02:00:00Z, in 9 h 3 min, by backupctl-run.timer`.
pub fn words(next: &Next) -> String {
    let by = &next.by;
    let Some(at) = next.at else {
        return by.clone();
    };
    let wait = at.duration_since(Timestamp::now()).unsigned_abs();
    format!("{at:.0}, in {}, by {by}", format_duration(wait))
}

/// A crontab in which somebody has written us by hand: the machine's, or this user's.
pub async fn by_hand(what: Started) -> Option<String> {
    let starts_us = |line: &str| starts_us(line, what);
    if fs::read_to_string(CRONTAB).is_ok_and(|text| text.lines().any(&starts_us)) {
        return Some(CRONTAB.to_owned());
    }
    let files = fs::read_dir(CRON_DIR).into_iter().flatten().flatten();
    for file in files.map(|entry| entry.path()) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if Mark::of(&text).is_none() && text.lines().any(&starts_us) {
            return Some(file.display().to_string());
        }
    }
    let command = Command::new("crontab").ok()?.arg("-l");
    let mut is_there = false;
    let ended = process::run(&command, LOOK, |_, line| is_there |= starts_us(line)).await;
    let is_there = is_there && ended.is_ok_and(process::Ended::is_success);
    is_there.then(|| "this user's crontab".to_owned())
}

fn starts_us(line: &str, what: Started) -> bool {
    let line = line.trim_start();
    !line.starts_with('#')
        && line
            .split_once("backupctl")
            .is_some_and(|(_, rest)| rest.split_whitespace().any(|word| word == what.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts_us(line: &str) -> bool {
        super::starts_us(line, Started::Run)
    }

    #[test]
    fn a_crontabs_line_that_runs_us_is_told_from_one_that_does_not() {
        assert!(starts_us("30 3 * * *  backupctl run -q >/dev/null"));
        assert!(starts_us(
            "30 3 * * * root /opt/backupctl -c /etc/x.toml run erp"
        ));
        assert!(!starts_us("# 30 3 * * *  backupctl run -q"));
        assert!(!starts_us("30 3 * * *  backupctl status --max-age 26h"));
        assert!(!starts_us("30 3 * * *  run-parts /etc/cron.daily"));
    }
}
