//! The program on a terminal of its own: each question is waited for, then answered.

use std::process::{Command, Stdio};

use super::program::{Setup, binary};

const SCRIPT: &str = include_str!("terminal.py");

/// How it ended and what was on the screen, with a last line that says whether typing is shown again.
#[derive(Debug)]
pub struct Screen {
    pub code: Option<i32>,
    pub shown: String,
}

impl Screen {
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.shown);
        self
    }

    /// Whether what is typed is shown again.
    pub fn has_echo(&self) -> bool {
        self.shown.ends_with("echo is on\n")
    }
}

/// Runs `backupctl -c config.toml …` of `setup`; `dialog` has each question's words and what is typed then.
pub fn converse(setup: &Setup, arguments: &[&str], dialog: &[(&str, &str)]) -> Screen {
    let words = dialog.iter().flat_map(|(asked, typed)| [*asked, *typed]);
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-c", SCRIPT, &dialog.len().to_string()])
        .args(words)
        .arg(binary())
        .arg("-c")
        .arg(setup.path("config.toml"))
        .args(arguments)
        .current_dir(setup.path(""))
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TZ", "UTC"), ("TERM", "dumb")])
        .env("HOME", setup.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("python3");
    Screen {
        code: output.status.code(),
        shown: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}
