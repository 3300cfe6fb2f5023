//! The accounts of this machine, by the system's own list (`getent`), wherever they are kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::{self, Command};
use crate::verdict::Outcome;

const LOOK_UP: Duration = Duration::from_secs(10);

/// Somebody whom cron or systemd runs things for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub id: u32,
    pub group: u32,
    pub home: PathBuf,
}

/// By name or number; None: there is no such account.
///
/// # Errors
/// `config` or `local`: the list can't be asked.
pub async fn find(who: &str) -> Outcome<Option<Account>> {
    // A name that begins with `-` would be an option.
    let command = Command::new("getent")?.args(["passwd", "--", who]);
    let mut found = None;
    process::run(&command, LOOK_UP, |_, line| {
        found = found.take().or_else(|| account(line));
    })
    .await?;
    Ok(found)
}

fn account(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, id, group, _, home, ..] = fields[..] else {
        return None;
    };
    Some(Account {
        name: name.to_owned(),
        id: id.parse().ok()?,
        group: group.parse().ok()?,
        home: home.into(),
    })
}
