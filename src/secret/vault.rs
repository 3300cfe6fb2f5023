//! The vault: passwords with who they belong to, in one file that is a single Fernet token of JSON.
//!
//! `{"format": 1, "secrets": {"ID": {"user", "password", "description", "created", "changed"}}}`; a reader that does not know all of
//! it refuses it, since writing it again would lose the rest.

pub mod lock;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::problem::{none_of, shown};
use super::resolve::Resolver;
use super::token::Token;
use super::{Keys, Secret, environment, now, permissions};
use crate::config::SecretFiles;
use crate::durable;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// The newest that is read, and the one that is written.
pub const FORMAT: u64 = 1;
/// A file that would be larger could not be read again.
const LARGEST: usize = 1024 * 1024;

/// What is in it, by ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vault {
    pub secrets: BTreeMap<String, Entry>,
}

/// A secret and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(with = "plain")]
    pub password: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created: Timestamp,
    pub changed: Timestamp,
}

/// Why bytes are no vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    NoToken,
    /// Not made with any of the keys, or changed since.
    NoKeyFits,
    Newer(u64),
    /// Line and column of the JSON; what stands there is never told.
    Malformed(usize, usize),
}

#[derive(Deserialize)]
struct Head {
    format: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "format")]
    _format: u64,
    secrets: BTreeMap<String, Entry>,
}

#[derive(Serialize)]
struct Written<'a> {
    format: u64,
    secrets: &'a BTreeMap<String, Entry>,
}

impl Vault {
    /// Opens the content of a vault's file. `now` in seconds since 1970.
    pub fn read(keys: &Keys, bytes: &[u8], now: u64) -> Result<Self, Unread> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unread::NoToken)?;
        let token = Token::parse(text.trim_ascii()).map_err(|_| Unread::NoToken)?;
        let plain = keys.plain(&token, now).ok_or(Unread::NoKeyFits)?;
        let plain = Zeroizing::new(plain);
        let malformed = |error: serde_json::Error| Unread::Malformed(error.line(), error.column());
        let head: Head = serde_json::from_slice(&plain).map_err(malformed)?;
        if head.format > FORMAT {
            return Err(Unread::Newer(head.format));
        }
        let read: Read = serde_json::from_slice(&plain).map_err(malformed)?;
        Ok(Self {
            secrets: read.secrets,
        })
    }

    /// The content of its file, made with the newest key.
    pub fn sealed(&self, keys: &Keys) -> Outcome<Vec<u8>> {
        // Room from the start, so that no copy is left behind by a growing buffer.
        let mut plain = Zeroizing::new(Vec::with_capacity(LARGEST));
        let written = Written {
            format: FORMAT,
            secrets: &self.secrets,
        };
        serde_json::to_writer(&mut *plain, &written).judge(Verdict::Bug, "write the vault")?;
        let mut sealed = keys.encrypt_bytes(&plain).into_bytes();
        sealed.push(b'\n');
        if sealed.len() > LARGEST {
            return Err(
                Failed::new(Verdict::Config, "the vault would be larger than 1 MiB")
                    .hint("`backupctl vault remove ID` makes room"),
            );
        }
        Ok(sealed)
    }
}

/// Changes the vault under its lock; nothing is written where `work` fails, where nothing has changed, or without `is_real`.
///
/// # Errors
/// `config` where it can't be opened or trusted, `locked`, `local`, and whatever `work` says.
pub fn change<T>(
    files: &SecretFiles,
    is_real: bool,
    work: impl FnOnce(&mut Vault) -> Outcome<T>,
) -> Outcome<T> {
    let Some(path) = files.vault_file.as_deref() else {
        return Err(Failed::new(
            Verdict::Config,
            "there is no `secrets.vault_file`",
        ));
    };
    none_of(&permissions::replaceable(path))?;
    let _changing = lock::to_change(path)?;
    let (mut vault, keys) = Resolver::new(files, environment, now()).into_vault()?;
    let before = vault.clone();
    let result = work(&mut vault)?;
    if is_real && vault != before {
        replace(path, &vault.sealed(&keys)?)?;
    }
    Ok(result)
}

/// Writes a secret file in one go; a symlink stays one.
pub fn replace(path: &Path, content: &[u8]) -> Outcome<()> {
    let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    durable::write(&temp(&file), &file, content)
        .judge(Verdict::Local, format!("write {}", shown(path)))
}

fn temp(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.tmp"))
}

/// Only here does a password become plain text.
mod plain {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
