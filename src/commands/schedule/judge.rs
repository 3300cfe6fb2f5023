//! Whether what a schedule is asked for can work: its user, its configuration as that user reads it, its names and paths.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::needs::Needs;
use super::systemd;
use crate::account::{self, Account};
use crate::cli::Schedule;
use crate::commands::App;
use crate::config::{self, Config, Environment};
use crate::escape::{escaped, shown};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

const UNITS: [&str; 4] = [".service", ".target", ".timer", ".path"];

/// What is in systemd's words.
pub async fn words(app: &App, flags: &Schedule) -> Outcome<()> {
    for calendar in &flags.on_calendar {
        systemd::judge_calendar(calendar, app).await?;
    }
    on_failure(flags.on_failure.as_deref())
}

/// Ourselves.
pub fn program(flags: &Schedule) -> Outcome<PathBuf> {
    let program = std::env::current_exe().judge(Verdict::Local, "find our own program")?;
    if !flags.cron {
        startable(&program)?;
    }
    Ok(program)
}

/// Every path that stands in a unit by its own.
pub fn written(needs: &Needs) -> Outcome<()> {
    for written in needs.told_dirs.iter().chain([&needs.state_dir]) {
        plain_text(written)?;
    }
    Ok(())
}

/// Whom it runs for: the named one, else whoever owns `state_dir`, else us.
pub async fn user(app: &App, flags: &Schedule) -> Outcome<Account> {
    let owner = || {
        fs::metadata(&app.config.state_dir)
            .map(|meta| meta.uid())
            .ok()
    };
    let us = || rustix::process::geteuid().as_raw();
    let who = flags
        .user
        .clone()
        .unwrap_or_else(|| owner().unwrap_or_else(us).to_string());
    let found = account::find(&who).await?;
    let plain = |c: char| c.is_alphanumeric() || "_.-@$".contains(c);
    match found {
        Some(account) if account.name.chars().all(plain) => Ok(account),
        Some(account) => Err(Failed::new(
            Verdict::Config,
            format!(
                "the user name {} can't stand in a unit or a crontab",
                shown(&account.name)
            ),
        )),
        None => Err(
            Failed::new(Verdict::Usage, format!("there is no user {}", shown(&who)))
                .hint("`getent passwd` lists them"),
        ),
    }
}

/// The configuration as it will be read there: by that user, without anything of a login's environment.
pub fn as_started(app: &App, user: &Account) -> Outcome<Config> {
    let environment = Environment {
        state_home: Some(user.home.join(".local/state")),
        is_root: user.id == 0,
        ..Environment::default()
    };
    config::load(Some(&app.config.file), &environment).context(format!(
        "read the configuration as {} without a login",
        user.name
    ))
}

pub fn owned(config: &Config, user: &Account) -> Outcome<()> {
    let state_dir = &config.state_dir;
    let Ok(meta) = fs::symlink_metadata(state_dir) else {
        return Ok(());
    };
    if meta.uid() == user.id {
        return Ok(());
    }
    let (name, id) = (&user.name, meta.uid());
    Err(Failed::new(
        Verdict::Config,
        format!(
            "`state_dir` {} belongs to user {id}, not to {name}",
            state_dir.display()
        ),
    )
    .hint(format!(
        "choose that user with `--user`, or give {name} a `state_dir` of its own"
    )))
}

/// A line break would be a line of the file, and what is no UTF-8 no text.
pub fn plain_text(path: &Path) -> Outcome<String> {
    let text = path
        .to_str()
        .filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        let path = escaped(&path.to_string_lossy());
        Failed::new(
            Verdict::Config,
            format!("the path {path} can't stand in a unit or a crontab"),
        )
        .hint("use a path without control characters, in UTF-8")
    })
}

/// systemd takes no program with these in its path, however they are quoted.
fn startable(program: &Path) -> Outcome<()> {
    let text = program.to_string_lossy();
    if !text.contains(['"', '\'', '\\']) {
        return Ok(());
    }
    let told = format!(
        "systemd starts no program with quotes or backslashes in its path: {}",
        escaped(&text)
    );
    Err(Failed::new(Verdict::Config, told)
        .hint("move it, to /usr/local/bin for example, or use `--cron`"))
}

fn on_failure(unit: Option<&str>) -> Outcome<()> {
    let Some(unit) = unit else {
        return Ok(());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.\\@%-".contains(c);
    let is_unit = UNITS
        .iter()
        .any(|kind| unit.len() > kind.len() && unit.ends_with(kind));
    if is_unit && unit.chars().all(plain) {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Usage,
        format!("{} is no name of a unit", shown(unit)),
    )
    .hint("such as `--on-failure tell-admin@%n.service`"))
}
