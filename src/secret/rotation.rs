//! `vault rotate`: a new key for the vault and for the tokens in the env file.
//!
//! The key file has the new key before the old ones from the first write to the last, so whatever is killed in between leaves
//! files that are opened. All is proven in memory before anything is written, and from the disk before the old keys go.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::env_file::EnvFile;
use super::permissions::{self, read_private};
use super::problem::{Problem, failure, none_of, shown};
use super::resolve::Resolver;
use super::token::Token;
use super::vault::{self, Vault};
use super::{Keys, environment, new_key, now};
use crate::config::SecretFiles;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// What a rotation has encrypted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Secrets in the vault.
    pub secrets: usize,
    /// Tokens in the env file.
    pub tokens: usize,
    /// What looks like a token in the env file, but was opened by no key before either: left as it was.
    pub foreign: usize,
    /// Keys that are in the key file no more.
    pub dropped: usize,
}

/// Everything that is replaced, as it was and as it will be.
struct Plan {
    /// The new key alone, as text.
    key: Zeroizing<Vec<u8>>,
    /// The new key, and behind it what the key file has.
    both: Zeroizing<Vec<u8>>,
    vault: Option<(Vault, Vec<u8>)>,
    env: Option<Anew>,
    rotated: Rotated,
}

/// Makes a new key and encrypts everything with it; without `is_real` only in memory.
///
/// # Errors
/// `config` where something can't be opened or trusted, `locked`, `local`. The files are opened by the key file all the same.
pub fn rotate(files: &SecretFiles, is_real: bool) -> Outcome<Rotated> {
    let (Some(key_file), Some(vault_file)) = (&files.key_file, &files.vault_file) else {
        return Err(Failed::new(
            Verdict::Config,
            "there is no `secrets.key_file` to write the new key to",
        )
        .hint("put the key of $SECRET_KEY into a file of mode 0600, and name it below [secrets]"));
    };
    none_of(&permissions::replaceable(vault_file))?;
    let _changing = vault::lock::to_change(vault_file)?;
    let plan = plan(files, key_file)?;
    if !is_real {
        return Ok(plan.rotated);
    }
    vault::replace(key_file, &plan.both)?;
    if let Some((_, sealed)) = &plan.vault {
        vault::replace(vault_file, sealed)?;
    }
    if let (Some((_, text)), Some(env_file)) = (&plan.env, &files.env_file) {
        vault::replace(env_file, text)?;
    }
    prove_on_disk(files, &plan).context("read back what was encrypted anew")?;
    vault::replace(key_file, &plan.key)?;
    Ok(plan.rotated)
}

fn plan(files: &SecretFiles, key_file: &Path) -> Outcome<Plan> {
    let (vault, old) = Resolver::new(files, environment, now()).into_vault()?;
    let mut key = Zeroizing::new(new_key().expose().as_bytes().to_vec());
    key.push(b'\n');
    let new = keys(&key)?;
    let both = Zeroizing::new([key.as_slice(), &private(key_file)?].concat());
    let is_there = files.vault_file.as_ref().is_some_and(|file| file.exists());
    let secrets = vault.secrets.len();
    let sealed = is_there.then(|| vault.sealed(&new)).transpose()?;
    let mut rotated = Rotated {
        secrets,
        tokens: 0,
        foreign: 0,
        dropped: old.count(),
    };
    let env = match &files.env_file {
        Some(path) if path.exists() => Some(env_anew(path, &old, &new, &mut rotated)?),
        _ => None,
    };
    let plan = Plan {
        key,
        both,
        vault: sealed.map(|sealed| (vault, sealed)),
        env,
        rotated,
    };
    if let Some((vault, sealed)) = &plan.vault {
        same_vault(&new, sealed, vault)?;
    }
    Ok(plan)
}

fn keys(text: &[u8]) -> Outcome<Keys> {
    Keys::from_file(text).map_err(|fault| Failed::new(Verdict::Bug, format!("the new key {fault}")))
}

fn private(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    read_private(path).map_err(|problems| failure(&problems))
}

/// What variables hold.
type Held = BTreeMap<String, Zeroizing<Vec<u8>>>;
/// That, and the text of the file.
type Anew = (Held, Zeroizing<Vec<u8>>);

/// What the env file's variables hold, and its text with each token made anew.
fn env_anew(path: &Path, old: &Keys, new: &Keys, rotated: &mut Rotated) -> Outcome<Anew> {
    let before = private(path)?;
    let text = replaced(&before, |token| {
        let plain = old.plain(token, now()).map(Zeroizing::new);
        let fresh = plain.map(|plain| new.encrypt_bytes(&plain));
        *(match fresh {
            Some(_) => &mut rotated.tokens,
            None => &mut rotated.foreign,
        }) += 1;
        fresh
    });
    let held = held(&before, old);
    same_values(path, &held, &self::held(&text, new))?;
    Ok((held, text))
}

/// `text` with each token that `fresh` has another one for replaced, and every other byte as it was: quotes, comments, line ends.
fn replaced(
    text: &[u8],
    mut fresh: impl FnMut(&Token<'_>) -> Option<String>,
) -> Zeroizing<Vec<u8>> {
    let mut result = Zeroizing::new(Vec::with_capacity(text.len() + 64));
    let mut at = 0;
    while at < text.len() {
        let end = at + word(&text[at..]);
        let token = std::str::from_utf8(&text[at..end]).unwrap_or_default();
        match Token::parse(token).ok().and_then(|token| fresh(&token)) {
            Some(fresh) => result.extend_from_slice(fresh.as_bytes()),
            None => result.extend_from_slice(&text[at..end]),
        }
        at = end;
    }
    result
}

/// How long the next word in URL-safe base64 with its padding is; a byte that is none counts as a word.
fn word(text: &[u8]) -> usize {
    let in_word = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'-' || **b == b'_';
    let letters = text.iter().take_while(in_word).count();
    let padding = text[letters..].iter().take_while(|b| **b == b'=').count();
    // `NAME=token`: the sign belongs to a word only where the word's length asks for it.
    let padding = padding.min((4 - letters % 4) % 4);
    (letters + padding).max(1)
}

/// What each variable's token holds, of those that `keys` open; read as every command reads it.
fn held(text: &[u8], keys: &Keys) -> Held {
    let variable = |name: &str| Some(environment(name)?.to_string_lossy().into_owned());
    let file = EnvFile::parse(text, variable);
    let value = |name: &str| {
        let (_, value) = file.find(name).ok()??;
        let token = Token::parse(value.trim()).ok()?;
        keys.plain(&token, now()).map(Zeroizing::new)
    };
    let names = file.names().into_iter();
    names
        .filter_map(|name| Some((name.to_owned(), value(name)?)))
        .collect()
}

fn same_values(path: &Path, before: &Held, after: &Held) -> Outcome<()> {
    let lost = before
        .iter()
        .filter(|(name, value)| after.get(*name) != Some(value));
    let problems: Vec<Problem> = lost
        .map(|(name, _)| {
            Problem::new(format!(
                "{} of {} is not opened by the new key",
                crate::escape::escaped(name),
                shown(path)
            ))
            .remedy("write it as one token on one line: `backupctl vault encrypt` makes it")
        })
        .collect();
    none_of(&problems)
}

fn same_vault(new: &Keys, sealed: &[u8], vault: &Vault) -> Outcome<()> {
    if Vault::read(new, sealed, now()).as_ref() == Ok(vault) {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Local,
        "the vault that was encrypted with the new key is not the one that it was",
    )
    .hint("the old key was kept; look at the disk, and rotate again"))
}

fn prove_on_disk(files: &SecretFiles, plan: &Plan) -> Outcome<()> {
    let new = keys(&plan.key)?;
    if let (Some((vault, _)), Some(path)) = (&plan.vault, &files.vault_file) {
        same_vault(&new, &private(path)?, vault)?;
    }
    if let (Some((held, _)), Some(path)) = (&plan.env, &files.env_file) {
        same_values(path, held, &self::held(&private(path)?, &new))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
