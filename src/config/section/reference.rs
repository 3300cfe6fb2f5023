//! A secret setting: a reference such as `env:NAME`, or a list of references that are tried in order.
//!
//! What stands there is never repeated in a message: it may be the password itself.

use toml::Spanned;
use toml::de::DeValue;

use super::Section;
use crate::config::{Endpoint, HttpUrl, SecretRef, SecretSource};

const NO_ID: &str = "names no secret of the vault; write \"vault:ID\" with letters, digits, `-`, `_` and `.`, 64 at most";

impl Section<'_> {
    /// The user and their password: `user` and `password`, or both at once by `credentials`.
    ///
    /// With `credentials` the user is filled in once the vault is open, and empty until then.
    pub fn login(&mut self) -> (Option<String>, Option<SecretRef>) {
        if !self.has("credentials") {
            return (self.text("user"), self.secret("password"));
        }
        for key in ["user", "password"] {
            self.known.insert(key);
            if self.has(key) {
                self.problem(key, "stands beside `credentials`, which has both user and password; remove one of them");
            }
        }
        (Some(String::new()), self.credentials())
    }

    fn credentials(&mut self) -> Option<SecretRef> {
        let text = self.text("credentials")?;
        let id = text.strip_prefix("vault:").filter(|id| is_vault_id(id));
        if id.is_none() {
            self.problem("credentials", NO_ID);
        }
        Some(SecretRef {
            setting: self.path_of("credentials"),
            sources: vec![SecretSource::Credentials(id?.to_owned())],
        })
    }

    /// A reference to a secret, or a list of references tried in order.
    pub fn secret(&mut self, key: &'static str) -> Option<SecretRef> {
        let value = self.value(key)?;
        self.reference(key, value.get_ref())
    }

    /// Every value of this table, whatever its name, as a reference.
    pub fn secrets(&self) -> Vec<(String, SecretRef)> {
        let entries = self.table.iter();
        let found = entries.filter_map(|(name, value)| {
            let name = name.get_ref();
            Some((name.to_string(), self.reference(name, value.get_ref())?))
        });
        found.collect()
    }

    /// A URL that something is sent to, or a reference to one. `{job}` stands for a job's name.
    pub fn url(&mut self, key: &'static str) -> Option<HttpUrl> {
        let text = self.value(key)?.get_ref().as_str();
        let Some(url) = text.filter(|text| text.contains("://")) else {
            return self.secret(key).map(HttpUrl::Referred);
        };
        if let Err(why) = Endpoint::parse(&url.replace("{job}", "job")) {
            self.problem(key, &why);
        }
        Some(HttpUrl::Written {
            setting: self.path_of(key),
            url: url.to_owned(),
        })
    }

    fn reference(&self, key: &str, value: &DeValue<'_>) -> Option<SecretRef> {
        let references = match value {
            DeValue::Array(items) => items.iter().map(Spanned::get_ref).collect(),
            one => vec![one],
        };
        let mut sources = Vec::new();
        for reference in references {
            match reference {
                DeValue::String(text) => sources.extend(self.secret_source(key, text)),
                other => self.wrong_type(key, other, "a reference such as \"env:NAME\""),
            }
        }
        (!sources.is_empty()).then(|| SecretRef {
            setting: self.path_of(key),
            sources,
        })
    }

    fn secret_source(&self, key: &str, text: &str) -> Option<SecretSource> {
        match text.split_once(':') {
            Some(("env", name)) if is_variable_name(name) => {
                Some(SecretSource::Env(name.to_owned()))
            }
            Some(("env", _)) => {
                self.problem(
                    key,
                    "names no variable; write \"env:NAME\" with letters, digits and `_`",
                );
                None
            }
            Some(("file", path)) if !path.is_empty() => {
                Some(SecretSource::File(self.directory.join(path)))
            }
            Some(("command", line)) => self.secret_command(key, line),
            Some(("vault", id)) if is_vault_id(id) => Some(SecretSource::Vault(id.to_owned())),
            Some(("vault", _)) => {
                self.problem(key, NO_ID);
                None
            }
            _ => {
                self.problem(
                    key,
                    "looks like the secret itself, and secrets don't belong here; encrypt it with `backupctl vault \
                     encrypt`, put `NAME=<the token>` into the env file, and write \"env:NAME\"",
                );
                None
            }
        }
    }

    /// Words as a shell would split them, quotes and all, but nothing is expanded and no shell runs.
    fn secret_command(&self, key: &str, line: &str) -> Option<SecretSource> {
        let mut words = shlex::split(line).unwrap_or_default();
        let Some(program) = words.first_mut().filter(|program| !program.is_empty()) else {
            self.problem(
                key,
                "names no command, or has a quote without its end; for example \"command:/usr/bin/pass show erp\"",
            );
            return None;
        };
        if program.contains('/') {
            *program = self.directory.join(&program).to_string_lossy().into_owned();
        }
        Some(SecretSource::Command(words))
    }
}

/// Whether a secret of the vault can be called that.
#[must_use]
pub fn is_vault_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_variable_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}
