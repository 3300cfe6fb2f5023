//! Walks the references of a command, opens the files behind them at most once, and collects what is wrong.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;

use zeroize::Zeroizing;

use super::Secret;
use super::command;
use super::env_file::EnvFile;
use super::key_file::{Keys, Unopened};
use super::permissions::{read_plain, read_private};
use super::problem::{Problem, failure, none_of, shell_word, shown};
use super::token::{NoToken, Token};
use super::vault::{self, Unread, Vault, lock};
use crate::config::{SecretFiles, SecretRef, SecretSource, nearest};
use crate::escape::escaped;
use crate::verdict::Outcome;

const KEY_VARIABLE: &str = "SECRET_KEY";

/// A problem was noted; there is nothing to add.
struct Noted;

/// Where a source was looked for: its value, or None where it does not exist.
type Looked = Result<Option<Secret>, Noted>;

pub struct Resolver<'a, E> {
    files: &'a SecretFiles,
    environment: E,
    now: u64,
    env_file: Once<EnvFile>,
    keys: Once<Keys>,
    vault: Once<Vault>,
    /// Commands that had no secret for us, and why.
    refusals: Vec<(Vec<String>, String)>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// Something that is opened when it is first needed, and complained about once.
enum Once<T> {
    NotYet,
    /// Not configured.
    Nothing,
    Unusable,
    Ready(T),
}

impl<'a, E: Fn(&str) -> Option<OsString>> Resolver<'a, E> {
    pub fn new(files: &'a SecretFiles, environment: E, now: u64) -> Self {
        Self {
            files,
            environment,
            now,
            env_file: Once::NotYet,
            keys: Once::NotYet,
            vault: Once::NotYet,
            refusals: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The value of the first source that exists; None after a problem.
    pub async fn resolve(&mut self, reference: &SecretRef) -> Option<Secret> {
        for source in &reference.sources {
            let looked = match source {
                SecretSource::Env(name) => self.variable(&reference.setting, name),
                SecretSource::File(path) => self.file(&reference.setting, path),
                SecretSource::Vault(id) => self.kept(&reference.setting, id, false),
                SecretSource::Credentials(id) => self.kept(&reference.setting, id, true),
                SecretSource::Command(words) => self.command(&reference.setting, words).await,
            };
            match looked {
                Ok(None) => {}
                Ok(Some(secret)) => return Some(secret),
                Err(Noted) => return None,
            }
        }
        let missing = self.missing(&reference.sources).about(&reference.setting);
        self.problems.push(missing);
        None
    }

    /// The warnings, where there was no problem.
    pub fn finish(self) -> Outcome<Vec<String>> {
        none_of(&self.problems)?;
        Ok(self.warnings)
    }

    /// The keys without any reference.
    pub fn into_keys(mut self) -> Outcome<Keys> {
        self.open_keys();
        none_of(&self.problems)?;
        match self.keys {
            Once::Ready(keys) => Ok(keys),
            _ => Err(failure(&[no_key()])),
        }
    }

    /// The vault, empty where there is none yet, and the keys to write it with.
    pub fn into_vault(mut self) -> Outcome<(Vault, Keys)> {
        self.open_vault();
        let vault = match std::mem::replace(&mut self.vault, Once::Nothing) {
            Once::Ready(vault) => vault,
            _ => Vault::default(),
        };
        Ok((vault, self.into_keys()?))
    }

    /// Reads the files that `needed` refers to, while nobody changes them.
    pub fn open_files(&mut self, needed: &[&SecretRef]) {
        let sources = || needed.iter().flat_map(|reference| &reference.sources);
        let from_env = sources().any(|source| matches!(source, SecretSource::Env(_)));
        let from_vault = sources().any(|source| source.vault_id().is_some());
        if !from_env && !from_vault {
            return;
        }
        // Without the lock the worst that can happen is an error that a second attempt doesn't have.
        let _reading = self.files.vault_file.as_deref().and_then(lock::to_read);
        if from_env {
            self.open_env_file();
        }
        self.open_key_file();
        if from_vault {
            self.open_vault();
        }
    }

    fn missing(&self, sources: &[SecretSource]) -> Problem {
        let places = sources
            .iter()
            .map(|source| match (source, &self.files.env_file) {
                (SecretSource::Env(name), Some(file)) => format!(
                    "env:{} is neither in {} nor in the environment",
                    escaped(name),
                    shown(file)
                ),
                (SecretSource::Env(name), None) => format!(
                    "env:{} is not in the environment, and no `secrets.env_file` is configured",
                    escaped(name)
                ),
                (SecretSource::File(path), _) => format!("{} does not exist", shown(path)),
                (SecretSource::Vault(id) | SecretSource::Credentials(id), _) => self.not_kept(id),
                (SecretSource::Command(words), _) => {
                    let why = self.refusals.iter().find(|(refused, _)| refused == words);
                    let why = why.map_or("", |(_, why)| why.as_str());
                    format!("{} {why}", command_shown(words))
                }
            });
        let problem = Problem::new(places.collect::<Vec<_>>().join("; "));
        let by_name = |source: &SecretSource| matches!(source, SecretSource::Env(_));
        if !sources.iter().any(by_name) {
            let id = sources.iter().find_map(SecretSource::vault_id);
            return match id {
                Some(id) => problem.remedy(format!("`backupctl vault add {id}` puts it there")),
                None => problem,
            };
        }
        problem.remedy("`backupctl vault encrypt` makes the token that belongs there")
    }

    fn not_kept(&self, id: &str) -> String {
        let place = self.files.vault_file.as_deref().map(shown);
        let place = place.unwrap_or_else(|| "the vault".to_owned());
        let Once::Ready(vault) = &self.vault else {
            return format!("vault:{id} is nowhere: {place} does not exist");
        };
        let near = nearest(id, vault.secrets.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| {
            format!(" (did you mean `vault:{near}`?)")
        });
        format!("vault:{id} is not in {place}{near}")
    }

    /// What the vault has under `id`.
    fn kept(&mut self, setting: &str, id: &str, with_user: bool) -> Looked {
        self.open_vault();
        let entry = match &self.vault {
            Once::Ready(vault) => vault.secrets.get(id),
            Once::Unusable => return Err(Noted),
            Once::Nothing | Once::NotYet => None,
        };
        let Some(entry) = entry else {
            return Ok(None);
        };
        if with_user && entry.user.is_none() {
            let problem = Problem::new(format!("vault:{id} has a password, but no user"))
                .about(setting)
                .remedy(format!(
                    "`backupctl vault add {id} --user USER --replace` asks for the password again"
                ));
            return Err(self.note(problem));
        }
        Ok(Some(entry.password.clone()))
    }

    fn open_vault(&mut self) {
        if !matches!(self.vault, Once::NotYet) {
            return;
        }
        let path = self.files.vault_file.as_deref();
        let is_there = |path: &&Path| std::fs::symlink_metadata(path).is_ok();
        let Some(path) = path.filter(is_there) else {
            self.vault = Once::Nothing;
            return;
        };
        let read = read_private(path);
        self.open_keys();
        let vault = match (read, &self.keys) {
            (Err(problems), _) => Err(problems),
            (Ok(bytes), Once::Ready(keys)) => Vault::read(keys, &bytes, self.now)
                .map_err(|fault| vec![unread(&shown(path), &self.key_place(), fault)]),
            (Ok(_), Once::Nothing) => Err(vec![no_key()]),
            (Ok(_), _) => Err(Vec::new()),
        };
        self.vault = match vault {
            Ok(vault) => Once::Ready(vault),
            Err(problems) => self.unusable("secrets.vault_file", problems),
        };
    }

    fn file(&mut self, setting: &str, path: &Path) -> Looked {
        let read = read_plain(path).map_err(|problem| self.note(problem.about(setting)))?;
        let Some(bytes) = read else {
            return Ok(None);
        };
        let fault = match password(&bytes) {
            Ok(secret) => return Ok(Some(secret)),
            Err(fault) => fault,
        };
        Err(self.note(Problem::new(format!("{} {fault}", shown(path))).about(setting)))
    }

    /// One that fails has no secret, as a file that is not there; where a later reference has one, that is worth a warning.
    async fn command(&mut self, setting: &str, words: &[String]) -> Looked {
        let shown = command_shown(words);
        match command::output_of(words, &self.environment, command::LIMIT).await {
            Ok(output) => match password(output.as_bytes()) {
                Ok(secret) => Ok(Some(secret)),
                Err(fault) => Err(self
                    .note(Problem::new(format!("the output of {shown} {fault}")).about(setting))),
            },
            Err(why) => {
                self.warnings
                    .push(format!("{setting}: {shown} gave no secret: {why}"));
                self.refusals
                    .push((words.to_vec(), format!("gave no secret: {why}")));
                Ok(None)
            }
        }
    }

    fn variable(&mut self, setting: &str, name: &str) -> Looked {
        self.open_env_file();
        self.open_key_file();
        let found = match &self.env_file {
            Once::Ready(file) => file.find(name),
            Once::Unusable => return Err(Noted),
            Once::Nothing | Once::NotYet => Ok(None),
        };
        let shown_name = escaped(name);
        let place = self
            .files
            .env_file
            .as_deref()
            .map(shown)
            .unwrap_or_default();
        match found {
            Err(fault) => {
                let problem = Problem::new(format!("env:{shown_name} in {place} {fault}"));
                Err(self.note(problem.about(setting)))
            }
            Ok(Some((line, value))) => {
                let value = Zeroizing::new(value.to_owned());
                let whence = format!("{setting}: env:{shown_name} on line {line} of {place}");
                self.token(&whence, &value).map(Some)
            }
            Ok(None) => self.process_variable(setting, name),
        }
    }

    /// The environment holds the plain value; a token there, as after `. ./.env`, is opened all the same.
    fn process_variable(&mut self, setting: &str, name: &str) -> Looked {
        let Some(value) = (self.environment)(name) else {
            return Ok(None);
        };
        let whence = format!("{setting}: env:{} in the environment", escaped(name));
        match value.into_string().map(Zeroizing::new) {
            Err(_) => Err(self.note(Problem::new(format!("{whence} is not UTF-8")))),
            Ok(value) if value.is_empty() => {
                Err(self.note(Problem::new(format!("{whence} is empty"))))
            }
            Ok(value) if Token::parse(&value).is_ok() => self.token(&whence, &value).map(Some),
            Ok(value) => Ok(Some(Secret(value))),
        }
    }

    fn token(&mut self, whence: &str, text: &str) -> Result<Secret, Noted> {
        if text.is_empty() {
            return Err(self.note(Problem::new(format!("{whence} is empty"))));
        }
        let token = match Token::parse(text.trim()) {
            Ok(token) => token,
            Err(fault) => return Err(self.note(no_token(whence, fault))),
        };
        self.open_keys();
        let opened = match &self.keys {
            Once::Ready(keys) => keys.open(&token, self.now),
            Once::Nothing => {
                self.keys = Once::Unusable;
                return Err(self.note(no_key().about(whence)));
            }
            Once::Unusable | Once::NotYet => return Err(Noted),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                let problem = unopened(whence, &self.key_place(), fault);
                return Err(self.note(problem));
            }
        };
        if opened.secret.expose().is_empty() {
            return Err(self.note(Problem::new(format!(
                "{whence} is a token of an empty value"
            ))));
        }
        if let Some(seconds) = opened.ahead {
            self.warnings.push(format!(
                "{whence} was made {seconds} seconds in the future: check this machine's clock"
            ));
        }
        Ok(opened.secret)
    }

    fn open_env_file(&mut self) {
        if !matches!(self.env_file, Once::NotYet) {
            return;
        }
        let Some(path) = self.files.env_file.as_deref() else {
            self.env_file = Once::Nothing;
            return;
        };
        let text = |name: &str| Some((self.environment)(name)?.to_string_lossy().into_owned());
        self.env_file = match read_private(path) {
            Ok(bytes) => Once::Ready(EnvFile::parse(&bytes, text)),
            Err(problems) => self.unusable("secrets.env_file", problems),
        };
    }

    fn open_key_file(&mut self) {
        let (Once::NotYet, Some(path)) = (&self.keys, self.files.key_file.as_deref()) else {
            return;
        };
        let keys = read_private(path).map_err(|problems| with_new_key(problems, path));
        let keys = keys.and_then(|bytes| {
            let about_file = |fault| Problem::new(format!("{} {fault}", shown(path)));
            Keys::from_file(&bytes).map_err(|fault| vec![about_file(fault)])
        });
        self.keys = match keys {
            Ok(keys) => Once::Ready(keys),
            Err(problems) => self.unusable("secrets.key_file", problems),
        };
    }

    /// The key file, else `$SECRET_KEY`, which is looked at only once a token is to be opened: it may be another
    /// program's.
    fn open_keys(&mut self) {
        self.open_key_file();
        if !matches!(self.keys, Once::NotYet) {
            return;
        }
        let value = (self.environment)(KEY_VARIABLE)
            .map(|value| Zeroizing::new(value.to_string_lossy().into_owned()));
        self.keys = match value.map(|value| Keys::from_variable(&value)) {
            None => Once::Nothing,
            Some(Ok(keys)) => Once::Ready(keys),
            Some(Err(fault)) => {
                self.problems
                    .push(Problem::new(format!("${KEY_VARIABLE} {fault}")));
                Once::Unusable
            }
        };
    }

    fn key_place(&self) -> String {
        let file = self.files.key_file.as_deref().map(shown);
        file.unwrap_or_else(|| format!("${KEY_VARIABLE}"))
    }

    fn unusable<T>(&mut self, setting: &str, problems: Vec<Problem>) -> Once<T> {
        self.problems
            .extend(problems.into_iter().map(|problem| problem.about(setting)));
        Once::Unusable
    }

    fn note(&mut self, problem: Problem) -> Noted {
        self.problems.push(problem);
        Noted
    }
}

/// A file's content without its one trailing newline. The error fits behind the file's name.
fn password(bytes: &[u8]) -> Result<Secret, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err("is empty"),
        _ if line.starts_with('\u{feff}') => Err("starts with a byte order mark (BOM)"),
        _ => Ok(Secret::new(line.to_owned())),
    }
}

/// By its program alone: what follows may say more than a log should have.
fn command_shown(words: &[String]) -> String {
    let program = words.first().map(String::as_str).unwrap_or_default();
    format!("`command:{}`", escaped(program))
}

fn no_key() -> Problem {
    Problem::new(format!(
        "there is no key: neither `secrets.key_file` nor ${KEY_VARIABLE} is set"
    ))
    .remedy("backupctl vault new-key secret.key, then `key_file = \"secret.key\"` below [secrets]")
}

/// A missing key file is either lost or not made yet.
fn with_new_key(mut problems: Vec<Problem>, path: &Path) -> Vec<Problem> {
    if let Err(error) = std::fs::metadata(path)
        && error.kind() == std::io::ErrorKind::NotFound
    {
        let remedy = format!(
            "put the key there that made the tokens, or begin with a new one: backupctl vault new-key {}",
            shell_word(path)
        );
        problems = problems.into_iter().map(|p| p.remedy(&remedy)).collect();
    }
    problems
}

fn unread(place: &str, keys: &str, fault: Unread) -> Problem {
    match fault {
        Unread::NoToken => Problem::new(format!(
            "{place} is no vault, or was cut off or changed"
        ))
        .remedy(format!("put back a copy of {place}")),
        Unread::NoKeyFits => Problem::new(format!(
            "{place} is not opened by any key of {keys}: it was made with another key, or was changed"
        ))
        .remedy(format!(
            "put the key that it was made with into {keys}, or put back a copy of {place}"
        )),
        Unread::Newer(format) => Problem::new(format!(
            "{place} was written by a newer backupctl (format {format}; this one knows {})",
            vault::FORMAT
        ))
        .remedy("use that version, or a newer one"),
        Unread::Malformed(line, column) => Problem::new(format!(
            "{place} is opened, but what is in it is no vault: see line {line}, column {column} of its JSON"
        ))
        .remedy(format!("put back a copy of {place}")),
    }
}

fn no_token(whence: impl Display, fault: NoToken) -> Problem {
    let text = match fault {
        NoToken::Other => "is no Fernet token",
        NoToken::Damaged => "is a Fernet token that was cut off or changed",
    };
    Problem::new(format!("{whence} {text}"))
        .remedy("`backupctl vault encrypt` makes the token that belongs there")
}

fn unopened(whence: impl Display, keys: &str, fault: Unopened) -> Problem {
    match fault {
        Unopened::NotUtf8 => Problem::new(format!("{whence} is a token of something that is not UTF-8")),
        Unopened::NoKeyFits => Problem::new(format!(
            "{whence} is not opened by any key of {keys}: it was made with another key, or the token was changed"
        ))
        .remedy(format!(
            "put the key that it was made with into {keys}, or make a new token: `backupctl vault encrypt`"
        )),
    }
}
