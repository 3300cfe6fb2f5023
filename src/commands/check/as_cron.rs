//! `--as-cron`: the same command again with the little that cron gives a job, so that what only a login shell has is missed now
//! and not by night.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Check, Color, Global};
use crate::output::Output;
use crate::process::{self, Command};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const PATH: &str = "/usr/bin:/bin";
const SHELL: &str = "/bin/sh";
const LOOK_UP: Duration = Duration::from_secs(10);

/// Whom cron would run it for.
struct Account {
    name: String,
    home: PathBuf,
}

/// Becomes the command without `--as-cron`, in the home directory.
///
/// # Errors
/// `config`: this user has no account; `local`: it can't be started.
pub async fn become_cron(global: &Global, asked: &Check, output: &Output) -> Outcome<()> {
    let account = account().await?;
    let home = account.home.display();
    output.say(&format!(
        "as cron: PATH={PATH} HOME={home} SHELL={SHELL} LOGNAME={}, and nothing else",
        account.name
    ));
    let program = std::env::current_exe().judge(Verdict::Local, "find our own program")?;
    let error = process::replace_with(
        &program,
        &arguments(global, asked),
        &[
            ("PATH".into(), PATH.into()),
            ("HOME".into(), account.home.clone().into()),
            ("SHELL".into(), SHELL.into()),
            ("LOGNAME".into(), account.name.into()),
        ],
        &account.home,
    );
    Err(error).judge(Verdict::Local, format!("start {}", program.display()))
}

/// By the system's own list, as cron asks it.
async fn account() -> Outcome<Account> {
    let user = rustix::process::geteuid().as_raw().to_string();
    let command = Command::new("getent")?.arg("passwd").arg(&user);
    let mut found = None;
    process::run(&command, LOOK_UP, |_, line| {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, _, _, _, home, ..] = fields[..] {
            found = Some(Account {
                name: name.to_owned(),
                home: Path::new(home).to_owned(),
            });
        }
    })
    .await?;
    found.ok_or_else(|| {
        Failed::new(
            Verdict::Config,
            format!("user {user} has no account, and cron runs nothing for it"),
        )
        .hint("`getent passwd` lists the accounts")
    })
}

fn arguments(global: &Global, asked: &Check) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["check".into()];
    let mut option = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            arguments.extend([name.into(), value]);
        }
    };
    // Relative to where we are, and cron starts elsewhere.
    let file = global.config.as_ref();
    let file = file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    option("--config", file.map(Into::into));
    option("--store", asked.only.store.clone().map(Into::into));
    option("--database", asked.only.database.clone().map(Into::into));
    let color = match global.color {
        Color::Auto => None,
        Color::Always => Some("always".into()),
        Color::Never => Some("never".into()),
    };
    option("--color", color);
    let flags = [
        ("--email", asked.only.email),
        ("--json", global.json),
        ("--quiet", global.quiet),
    ];
    let set = flags.into_iter().filter(|(_, is_set)| *is_set);
    arguments.extend(set.map(|(flag, _)| flag.into()));
    arguments.extend((0..global.verbose).map(|_| "--verbose".into()));
    arguments.push("--".into());
    arguments.extend(asked.jobs.iter().map(Into::into));
    arguments
}
