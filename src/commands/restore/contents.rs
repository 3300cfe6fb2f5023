//! What a dry run says of the dump's contents: each role, extension and tablespace, and what will be done about it.

use std::collections::BTreeSet;

use super::Held;
use crate::config::{Contents, Owner};
use crate::database::dump::{Selection, Toc};
use crate::database::preflight::{Inventory, Needs};
use crate::escape::{quoted, shown};
use crate::verdict::Outcome;

/// Wider lines are broken behind the name.
const COLUMNS: usize = 80;

/// A line for each, those too that the configuration makes unnecessary.
pub async fn listed(
    held: &Held,
    toc: &Toc,
    asked: &Needs,
    selection: &Selection,
    contents: &Contents,
) -> Outcome<Vec<String>> {
    let mut all = Needs::of(toc, &Selection::everything());
    all.acting.clone_from(&asked.acting);
    if let Owner::Role(name) = &contents.owner {
        all.roles.insert(name.clone());
    }
    let found = Inventory::of(&held.session, &held.target, &all).await?;
    let mut lines = owner(asked);
    lines.extend(listing("role", &all.roles, |role| {
        role_state(role, &found, &all, asked, contents)
    }));
    lines.extend(listing("extension", &all.extensions, |name| {
        extension_state(name, &found, asked)
    }));
    lines.extend(listing("storage", &all.tablespaces, |name| {
        tablespace_state(name, &found, asked, contents)
    }));
    for (word, count) in &selection.left_out().skipped {
        lines.push(format!("left out  {count} of {word} (skip)"));
    }
    Ok(lines)
}

fn owner(asked: &Needs) -> Vec<String> {
    let Some(owner) = &asked.acting else {
        return Vec::new();
    };
    let mut lines = entry("owner", owner, "everything will belong to it");
    if asked.run_as_owner > 0 {
        lines.push(format!(
            "          functions that will run with its rights: {}",
            asked.run_as_owner
        ));
    }
    lines
}

fn listing(label: &str, names: &BTreeSet<String>, state: impl Fn(&str) -> String) -> Vec<String> {
    names
        .iter()
        .flat_map(|name| entry(label, name, &state(name)))
        .collect()
}

/// `role      `app`: there`, on two lines where one is too long.
fn entry(label: &str, name: &str, state: &str) -> Vec<String> {
    let name = quoted(name);
    let line = format!("{label:<10}{name}: {state}");
    if line.chars().count() <= COLUMNS {
        return vec![line];
    }
    vec![
        format!("{label:<10}{name}:"),
        format!("            {state}"),
    ]
}

fn role_state(
    role: &str,
    found: &Inventory,
    all: &Needs,
    asked: &Needs,
    contents: &Contents,
) -> String {
    if !asked.roles.contains(role) {
        return left_out(role, all, contents);
    }
    if found.roles.contains_key(role) {
        return "there".to_owned();
    }
    if asked.creates_roles && !role.starts_with("pg_") {
        return "will be created, without login".to_owned();
    }
    "missing".to_owned()
}

/// Which settings make a role unnecessary.
fn left_out(role: &str, all: &Needs, contents: &Contents) -> String {
    let mut by = Vec::new();
    if all.owners.contains(role) {
        match contents.owner {
            Owner::Keep => {}
            Owner::Target => by.push("owner = \"target\""),
            Owner::Role(_) => by.push("owner"),
        }
    }
    let granted = all.grantees.contains(role) || all.grantors.contains(role);
    if granted && !contents.keeps_privileges {
        by.push("privileges = \"skip\"");
    }
    if all.named.contains(role) || by.is_empty() {
        by.push("skip");
    }
    format!("left out by {}", by.join(" and "))
}

fn extension_state(name: &str, found: &Inventory, asked: &Needs) -> String {
    if !asked.extensions.contains(name) {
        return "left out by skip".to_owned();
    }
    match found.extensions.get(name) {
        None => "not installed on the server".to_owned(),
        Some(offered) if offered.superusers_only && !found.superuser => {
            format!("version {}, for superusers only", shown(&offered.version))
        }
        Some(offered) => format!("there, version {}", shown(&offered.version)),
    }
}

fn tablespace_state(name: &str, found: &Inventory, asked: &Needs, contents: &Contents) -> String {
    if asked.tablespaces.contains(name) {
        let is_there = found.tablespaces.contains(name);
        return format!("tablespace, {}", if is_there { "there" } else { "missing" });
    }
    let by = if contents.keeps_tablespaces {
        "skip"
    } else {
        "tablespaces = \"default\""
    };
    format!("tablespace, left out by {by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_would_be_too_wide_is_broken_behind_the_name() {
        assert_eq!(entry("role", "app", "there"), ["role      `app`: there"]);
        let long = "x".repeat(63);
        let lines = entry("role", &long, "left out by owner = \"target\"");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= COLUMNS),
            "{lines:?}"
        );
    }
}
