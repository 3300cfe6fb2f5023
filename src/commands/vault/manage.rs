//! `vault add`, `generate`, `remove`, `rotate`, and the way to the others: what goes into the vault and out of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{advice, import, show};
use crate::cli::{Vault as Flags, Whose};
use crate::commands::App;
use crate::config::{is_vault_id, nearest};
use crate::escape::{escaped, shown};
use crate::secret::{self, Entry, Secret, Vault};
use crate::verdict::{Failed, Outcome, Verdict};

/// Neither 0, O and o nor 1, I and l: somebody will read it aloud.
const ALPHABET: &[u8; 56] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// `backupctl vault …`, but for the two that make tokens and keys.
pub async fn command(app: &App, flags: Flags) -> Outcome<Verdict> {
    match flags {
        Flags::Add { whose } => add(app, &whose).await,
        Flags::Generate {
            whose,
            length,
            show,
        } => generate(app, &whose, length, show),
        Flags::Get { id, show } => show::get(app, &id, show),
        Flags::List => show::list(app),
        Flags::Remove { id, yes } => remove(app, &id, yes).await,
        Flags::Info => show::info(app),
        Flags::Import { file, replace } => import::command(app, &file, replace),
        Flags::Rotate => rotate(app),
        Flags::Encrypt | Flags::NewKey { .. } => Ok(Verdict::Done),
    }
}

/// Prints how it went: a document with `facts`, or the text.
pub fn done(app: &App, command: &str, text: &str, facts: Value) -> Verdict {
    let mut document = json!({
        "format": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "command": format!("vault {command}"),
        "verdict": Verdict::Done.word(),
        "exit_code": Verdict::Done.exit_code(),
        "dry_run": app.options.dry_run,
    });
    if let (Value::Object(document), Value::Object(facts)) = (&mut document, facts) {
        document.extend(facts);
    }
    app.output.state(&document, || text.to_owned(), None)
}

/// What the vault has under `id`.
pub fn find<'v>(app: &App, vault: &'v Vault, id: &str) -> Outcome<&'v Entry> {
    vault.secrets.get(id).ok_or_else(|| {
        let file = app.config.secrets.vault_file.as_deref();
        let place = file.map_or_else(
            || "the vault".to_owned(),
            |file| shown(&file.to_string_lossy()),
        );
        let failed = Failed::new(
            Verdict::Config,
            format!("`{}` is not in {place}", escaped(id)),
        );
        match nearest(id, vault.secrets.keys().map(String::as_str)) {
            Some(near) => failed.hint(format!("did you mean `{near}`?")),
            None => failed.hint("`backupctl vault list` shows what is there"),
        }
    })
}

async fn add(app: &App, whose: &Whose) -> Outcome<Verdict> {
    // Before anybody has typed a password in vain.
    let vault = secret::open_vault(&app.config.secrets)?;
    may_put(&vault, whose)?;
    if app.options.dry_run {
        return Ok(put_down(app, "add", whose, &[]));
    }
    let stop = &app.signals.stop;
    let password = app.output.ask_secret("Password: ", stop).await?;
    put(app, whose, password)?;
    Ok(put_down(app, "add", whose, &[]))
}

fn generate(app: &App, whose: &Whose, length: u16, show: bool) -> Outcome<Verdict> {
    let password = strong(length.into());
    put(app, whose, password.clone())?;
    let vault = secret::open_vault(&app.config.secrets)?;
    let entry = vault.secrets.get(&whose.id);
    let user = entry.and_then(|entry| entry.user.as_deref());
    let advice = advice::after_change(&app.config, &whose.id, user.or(whose.user.as_deref()));
    let shown = (show && !app.options.dry_run).then_some(&password);
    if app.output.json {
        let password = shown.map(Secret::expose);
        let facts =
            json!({ "id": whose.id, "length": length, "advice": advice, "password": password });
        return Ok(done(app, "generate", "", facts));
    }
    let mut lines = Vec::new();
    lines.extend(shown.map(|password| password.expose().to_owned()));
    lines.extend(advice);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Ok(put_down(app, "generate", whose, &lines))
}

fn put_down(app: &App, command: &str, whose: &Whose, more: &[&str]) -> Verdict {
    let id = &whose.id;
    let text = if app.options.dry_run {
        format!("{id} would be put into the vault")
    } else {
        format!("{id} is in the vault; the configuration can say \"vault:{id}\"")
    };
    let lines: Vec<&str> = std::iter::once(text.as_str())
        .chain(more.iter().copied())
        .collect();
    done(app, command, &lines.join("\n"), json!({ "id": id }))
}

fn may_put(vault: &Vault, whose: &Whose) -> Outcome<()> {
    let id = escaped(&whose.id);
    if !is_vault_id(&whose.id) {
        return Err(
            Failed::new(Verdict::Usage, format!("`{id}` is no usable ID")).hint(
                "letters, digits, `-`, `_` and `.`, 64 at most, beginning with a letter or digit",
            ),
        );
    }
    if vault.secrets.contains_key(&whose.id) && !whose.replace {
        return Err(
            Failed::new(Verdict::Config, format!("`{id}` is in the vault already"))
                .hint("add `--replace` to overwrite its password; the old one is then gone"),
        );
    }
    Ok(())
}

fn put(app: &App, whose: &Whose, password: Secret) -> Outcome<()> {
    let is_real = !app.options.dry_run;
    secret::change_vault(&app.config.secrets, is_real, |vault| {
        may_put(vault, whose)?;
        let now = Timestamp::now();
        let before = vault.secrets.remove(&whose.id);
        let entry = Entry {
            user: whose
                .user
                .clone()
                .or(before.as_ref().and_then(|b| b.user.clone())),
            password,
            description: whose
                .description
                .clone()
                .or(before.as_ref().and_then(|b| b.description.clone())),
            created: before.map_or(now, |before| before.created),
            changed: now,
        };
        vault.secrets.insert(whose.id.clone(), entry);
        Ok(())
    })
}

/// Each character is drawn alike from a generator that the kernel seeds.
fn strong(length: usize) -> Secret {
    let fair = u8::MAX - u8::MAX % 56;
    let mut password = String::with_capacity(length);
    while password.len() < length {
        let drawn: u8 = rand::random();
        if drawn < fair {
            password.push(char::from(ALPHABET[usize::from(drawn % 56)]));
        }
    }
    Secret::new(password)
}

async fn remove(app: &App, id: &str, yes: bool) -> Outcome<Verdict> {
    let vault = secret::open_vault(&app.config.secrets)?;
    find(app, &vault, id)?;
    let users = advice::settings_of(&app.config, id);
    let used = if users.is_empty() {
        String::new()
    } else {
        format!(", which is used by {}", users.join(", "))
    };
    let facts = json!({ "id": id, "used_by": users });
    if app.options.dry_run {
        let text = format!("{id}{used} would be removed");
        return Ok(done(app, "remove", &text, facts));
    }
    let question = format!("Remove {id}{used}? Its password is then gone.");
    app.output
        .confirm(&question, yes, &app.signals.stop)
        .await?;
    secret::change_vault(&app.config.secrets, true, |vault| {
        find(app, vault, id)?;
        vault.secrets.remove(id);
        Ok(())
    })?;
    Ok(done(
        app,
        "remove",
        &format!("{id}{used} is removed"),
        facts,
    ))
}

fn rotate(app: &App) -> Outcome<Verdict> {
    let rotated = secret::rotate(&app.config.secrets, !app.options.dry_run)?;
    let verb = if app.options.dry_run {
        "would be"
    } else {
        "are"
    };
    let mut text = format!(
        "{} secrets of the vault and {} tokens of the env file {verb} encrypted with a new key; {} old ones {verb} dropped",
        rotated.secrets, rotated.tokens, rotated.dropped
    );
    if rotated.foreign > 0 {
        let left = format!(
            "\n{} tokens of the env file are opened by no key, and left as they are",
            rotated.foreign
        );
        text.push_str(&left);
    }
    if !app.options.dry_run {
        text += "\nkeep a copy of the new key file somewhere safe; tokens kept elsewhere need the old key";
    }
    let facts = json!({
        "secrets": rotated.secrets,
        "tokens": rotated.tokens,
        "foreign": rotated.foreign,
        "dropped": rotated.dropped,
    });
    Ok(done(app, "rotate", &text, facts))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_strong_password_is_as_long_as_asked_and_draws_on_the_whole_alphabet() {
        let password = strong(512);
        assert_eq!(password.expose().len(), 512);
        let seen: BTreeSet<u8> = strong(50_000).expose().bytes().collect();
        assert_eq!(seen, ALPHABET.iter().copied().collect());
        assert_ne!(strong(24), strong(24));
    }
}
