//! The line by which a unit or crontab file is known as ours: what it starts, with what, and when.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::cli::TimeOfDay;

const LEAD: &str = "# backupctl-schedule: ";

/// What a file of ours was written for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// 1; one that is higher is of a newer version of us.
    pub format: u32,
    pub program: String,
    pub config: String,
    /// None: all of the configuration.
    pub jobs: Vec<String>,
    /// The times of day; none where the calendar is in systemd's words.
    pub at: Vec<String>,
    /// Whether drills belong to it.
    #[serde(default)]
    pub drills: bool,
}

impl Mark {
    /// The comment that stands in the file.
    pub fn line(&self) -> String {
        // Text and numbers can always be written.
        LEAD.to_owned() + &serde_json::to_string(self).unwrap_or_default()
    }

    /// None: we did not write that.
    pub fn of(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(LEAD))?;
        serde_json::from_str(line).ok()
    }

    /// Whether it starts this job of this configuration.
    pub fn is_for(&self, config: &str, job: &str) -> bool {
        self.is_of(config) && (self.jobs.is_empty() || self.jobs.iter().any(|name| name == job))
    }

    /// Whether it is of this configuration, by whatever way that was named.
    pub fn is_of(&self, config: &str) -> bool {
        let real = |path: &str| fs::canonicalize(path).ok();
        self.config == config || real(config).is_some_and(|path| real(&self.config) == Some(path))
    }

    pub fn times(&self) -> Vec<TimeOfDay> {
        let times = self.at.iter();
        times.filter_map(|time| TimeOfDay::parse(time)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_what_was_written() {
        let mark = Mark {
            format: 1,
            program: "/usr/bin/backupctl".to_owned(),
            config: "/etc/it's \"50%\" \\.toml".to_owned(),
            jobs: vec!["erp".to_owned()],
            at: vec!["02:00".to_owned()],
            drills: true,
        };
        let text = format!("# somebody's\n{}\n[Unit]\n", mark.line());
        assert_eq!(Mark::of(&text), Some(mark.clone()));
        assert!(mark.is_for(&mark.config, "erp"));
        assert!(!mark.is_for(&mark.config, "crm"));
        assert!(!mark.is_for("/etc/backupctl/config.toml", "erp"));
        assert_eq!(
            Mark::of("[Unit]\nDescription=# backupctl-schedule: {}\n"),
            None
        );
    }
}
