//! Secrets: how they are found, opened and kept from being seen.
//!
//! All that a command needs are opened at once, before its first connection, and all that is wrong is told at once.
//! This file is the only one beside `config.rs` that reads the environment.

mod command;
mod credentials;
mod env_file;
mod key_file;
mod permissions;
mod problem;
mod resolve;
mod rotation;
mod scrub;
mod statement;
mod token;
mod vault;

/// What `tests/fuzz` reads directly.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzed {
    pub use super::env_file::EnvFile;
    pub use super::token::Token;
}

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

pub use credentials::fill_in_users;
pub use key_file::{Keys, new_key};
pub use rotation::{Rotated, rotate};
pub use scrub::Scrubber;
pub use vault::{Entry, Vault, change as change_vault};

use crate::config::{SecretFiles, SecretRef};
use crate::verdict::Outcome;
use resolve::Resolver;

/// A value that can't be printed: `Debug` shows `<secret>`, there is no `Display`, and the memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The opened secrets of one command.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    opened: Vec<(SecretRef, Secret)>,
    warnings: Vec<String>,
}

impl Secrets {
    /// Opens everything in `needed`. The env file and the key file are touched only where a reference needs them.
    ///
    /// # Errors
    /// `config`, with every problem on a line of its own.
    pub async fn open(files: &SecretFiles, needed: &[&SecretRef]) -> Outcome<Self> {
        Self::open_at(files, needed, environment, now()).await
    }

    async fn open_at(
        files: &SecretFiles,
        needed: &[&SecretRef],
        environment: impl Fn(&str) -> Option<OsString>,
        now: u64,
    ) -> Outcome<Self> {
        let mut resolver = Resolver::new(files, environment, now);
        resolver.open_files(needed);
        let mut opened = Vec::new();
        for &reference in needed {
            let secret = resolver.resolve(reference).await;
            opened.extend(secret.map(|secret| (reference.clone(), secret)));
        }
        let warnings = resolver.finish()?;
        Ok(Self { opened, warnings })
    }

    /// Takes in what was opened apart.
    pub fn join(&mut self, other: Self) {
        self.opened.extend(other.opened);
        self.warnings.extend(other.warnings);
    }

    /// The value of a reference that was in `needed`.
    ///
    /// # Panics
    /// Where it was not: then the command did not ask for all that it uses.
    #[must_use]
    pub fn get(&self, reference: &SecretRef) -> &Secret {
        let found = self.opened.iter().find(|(known, _)| known == reference);
        &found.expect("a secret is opened before it is used").1
    }

    /// What the operator should see although every secret was opened.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Has every opened secret taken out of whatever `scrubber` sees.
    pub fn teach(&self, scrubber: &Scrubber) {
        for (_, secret) in &self.opened {
            scrubber.learn(secret);
        }
    }
}

/// The keys alone, from the key file or else `$SECRET_KEY`, to make tokens with.
///
/// # Errors
/// `config` where there are none or they can't be trusted.
pub fn keys(files: &SecretFiles) -> Outcome<Keys> {
    Resolver::new(files, environment, now()).into_keys()
}

/// The vault, empty where there is no file yet.
///
/// # Errors
/// `config` where it can't be opened or trusted.
pub fn open_vault(files: &SecretFiles) -> Outcome<Vault> {
    let _reading = files.vault_file.as_deref().and_then(vault::lock::to_read);
    Ok(Resolver::new(files, environment, now()).into_vault()?.0)
}

/// The tokens of an env file by their names, and the names whose values are no tokens; a symlink or another's file is fine.
///
/// # Errors
/// `config` where the file or the keys can't be read, or a token is opened by none of them.
pub fn read_env_file(files: &SecretFiles, path: &Path) -> Outcome<env_file::Tokens> {
    let (_, keys) = Resolver::new(files, environment, now()).into_vault()?;
    let bytes = read_given(path)?;
    let text = |name: &str| Some(environment(name)?.to_string_lossy().into_owned());
    env_file::EnvFile::parse(&bytes, text).tokens(&keys, now(), path)
}

/// The content of a file that the operator names.
///
/// # Errors
/// `config` where it can't be read.
pub fn read_given(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    let read = permissions::read_plain(path).map_err(|problem| problem::failure(&[problem]))?;
    read.ok_or_else(|| {
        let text = format!("{} does not exist", problem::shown(path));
        problem::failure(&[problem::Problem::new(text)])
    })
}

/// Makes a token with the newest key.
#[must_use]
pub fn encrypt(keys: &Keys, plaintext: &Secret) -> String {
    keys.encrypt(plaintext)
}

/// Whether others could exchange what is put at `path`, because they can write its directory.
///
/// # Errors
/// `config` with the `chmod` that mends it.
pub fn irreplaceable(path: &Path) -> Outcome<()> {
    problem::none_of(&permissions::replaceable(path))
}

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_secs())
}

#[cfg(test)]
#[path = "secret/tests.rs"]
mod tests;
