//! `--as-cron`: the same command again with the little that cron gives a job, so that what only a login shell has is missed now
//! and not by night.

use std::ffi::OsString;

use crate::account::{self, Account};
use crate::cli::{Check, Color, Global};
use crate::output::Output;
use crate::process;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const PATH: &str = "/usr/bin:/bin";
const SHELL: &str = "/bin/sh";

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

async fn account() -> Outcome<Account> {
    let user = rustix::process::geteuid().as_raw().to_string();
    account::find(&user).await?.ok_or_else(|| {
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
