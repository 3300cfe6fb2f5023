//! `vault get`, `list` and `info`: what is in the vault, and who uses it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::advice;
use super::manage::{done, find};
use crate::commands::App;
use crate::config::Config;
use crate::escape::escaped;
use crate::secret::{self, Entry};
use crate::verdict::{Outcome, Verdict};

pub fn get(app: &App, id: &str, show: bool) -> Outcome<Verdict> {
    let vault = secret::open_vault(&app.config.secrets)?;
    let entry = find(app, &vault, id)?;
    let mut facts = facts(id, entry);
    if show {
        facts["password"] = entry.password.expose().into();
    }
    Ok(done(app, "get", &of_entry(id, entry, show), facts))
}

fn facts(id: &str, entry: &Entry) -> Value {
    json!({
        "id": id,
        "user": entry.user,
        "description": entry.description,
        "created": entry.created,
        "changed": entry.changed,
    })
}

fn of_entry(id: &str, entry: &Entry, show: bool) -> String {
    let plain = entry.password.expose();
    let password = match (show, escaped(plain)) {
        (false, _) => "hidden; `--show` prints it".to_owned(),
        (true, escaped) if escaped == plain => escaped,
        (true, escaped) => {
            format!("{escaped}  (control characters escaped; `--json` has it as it is)")
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(escaped);
    let rows = [
        ("id", Some(id.to_owned())),
        ("user", text(&entry.user)),
        ("password", Some(password)),
        ("description", text(&entry.description)),
        ("created", Some(format!("{:.0}", entry.created))),
        ("changed", Some(format!("{:.0}", entry.changed))),
    ];
    let rows = rows
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)));
    let lines: Vec<String> = rows
        .map(|(name, text)| format!("{name:<12} {text}"))
        .collect();
    lines.join("\n")
}

pub fn list(app: &App) -> Outcome<Verdict> {
    let vault = secret::open_vault(&app.config.secrets)?;
    let secrets: Vec<Value> = vault
        .secrets
        .iter()
        .map(|(id, entry)| facts(id, entry))
        .collect();
    if secrets.is_empty() && !app.output.json {
        app.output
            .say("the vault is empty; `backupctl vault add ID` puts a password into it");
        return Ok(Verdict::Done);
    }
    let cell = |text: &Option<String>| text.as_deref().map(escaped).unwrap_or_default();
    let head = ["ID", "USER", "CHANGED", "DESCRIPTION"].map(str::to_owned);
    let rows = vault.secrets.iter().map(|(id, entry)| {
        [
            id.clone(),
            cell(&entry.user),
            entry.changed.strftime("%Y-%m-%d").to_string(),
            cell(&entry.description),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    Ok(done(
        app,
        "list",
        &table(&rows),
        json!({ "secrets": secrets }),
    ))
}

/// In columns that are as wide as their widest cell.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Which secrets the configuration refers to, by which settings.
type Used<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn used(config: &Config) -> Used<'_> {
    let mut used = Used::new();
    for reference in advice::references(config) {
        for id in reference
            .sources
            .iter()
            .filter_map(|source| source.vault_id())
        {
            used.entry(id).or_default().push(&reference.setting);
        }
    }
    used
}

fn path(file: Option<&PathBuf>) -> Option<String> {
    file.map(|file| file.display().to_string())
}

pub fn info(app: &App) -> Outcome<Verdict> {
    let files = &app.config.secrets;
    let vault = secret::open_vault(files)?;
    let keys = secret::keys(files)?.count();
    let used = used(&app.config);
    let known = |id: &&str| vault.secrets.contains_key(*id);
    let missing: Vec<&str> = used.keys().copied().filter(|id| !known(id)).collect();
    let ids = vault.secrets.keys().map(String::as_str);
    let unused: Vec<&str> = ids.filter(|id| !used.contains_key(id)).collect();
    let changed = vault.secrets.values().map(|entry| entry.changed).max();
    let is_there = files.vault_file.as_ref().is_some_and(|file| file.exists());
    let (place, key_place) = (
        path(files.vault_file.as_ref()),
        path(files.key_file.as_ref()),
    );
    let absent = if is_there { "" } else { " (not made yet)" };
    let vault_place = escaped(place.as_deref().unwrap_or_default());
    let keys_in = key_place
        .as_deref()
        .map_or_else(|| "$SECRET_KEY".to_owned(), escaped);
    let mut lines = vec![
        format!("vault        {vault_place}{absent}"),
        format!("secrets      {}", vault.secrets.len()),
        format!("keys         {keys} in {keys_in}"),
    ];
    lines.extend(changed.map(|changed| format!("changed      {changed:.0}")));
    let uses = used.iter();
    lines.extend(uses.map(|(id, by)| format!("used         {id} by {}", by.join(", "))));
    lines.extend(missing.iter().map(|id| format!("missing      {id}")));
    lines.extend(unused.iter().map(|id| format!("unused       {id}")));
    let facts = json!({
        "vault_file": place, "exists": is_there, "key_file": key_place, "keys": keys,
        "secrets": vault.secrets.len(), "changed": changed,
        "used": used, "missing": missing, "unused": unused,
    });
    Ok(done(app, "info", &lines.join("\n"), facts))
}
