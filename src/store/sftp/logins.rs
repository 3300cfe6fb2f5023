//! What is configured to log in with; a key file is judged here, before any connection.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::MethodKind;
use russh::keys::{Error as KeyError, PrivateKey, ssh_key};

use crate::config::Sftp;
use crate::secret::Secret;
use crate::store::{Credentials, Kind, StoreError, shown};

/// One way to log in.
pub enum Login {
    Key(Arc<PrivateKey>),
    Agent(PathBuf),
    Password(Secret),
    /// The password, given to the first hidden question.
    Dialogue(Secret),
}

impl Login {
    pub fn method(&self) -> MethodKind {
        match self {
            Self::Key(_) | Self::Agent(_) => MethodKind::PublicKey,
            Self::Password(_) => MethodKind::Password,
            Self::Dialogue(_) => MethodKind::KeyboardInteractive,
        }
    }

    pub fn shown(&self) -> &'static str {
        match self {
            Self::Key(_) => "private key",
            Self::Agent(_) => "agent",
            Self::Password(_) => "password",
            Self::Dialogue(_) => "keyboard-interactive",
        }
    }
}

/// What is configured, in the order in which it is tried. `name` is the store's.
pub fn configured(
    name: &str,
    sftp: &Sftp,
    credentials: Credentials,
) -> Result<Vec<Login>, StoreError> {
    let mut logins = Vec::new();
    if let Some(path) = &sftp.private_key {
        let key = load_key(name, path, credentials.passphrase.as_ref())?;
        logins.push(Login::Key(Arc::new(key)));
    }
    if let Some(password) = credentials.password {
        logins.push(Login::Password(password.clone()));
        logins.push(Login::Dialogue(password));
    }
    if logins.is_empty() {
        let socket = sftp.agent_socket.clone();
        logins.extend(socket.map(Login::Agent));
    }
    if logins.is_empty() {
        return Err(StoreError::new(Kind::Config, "there is nothing to log in with")
            .hint(format!("set `stores.{0}.sftp.password` or `stores.{0}.sftp.private_key`, or run an ssh-agent", shown(name))));
    }
    Ok(logins)
}

fn load_key(
    name: &str,
    path: &Path,
    passphrase: Option<&Secret>,
) -> Result<PrivateKey, StoreError> {
    let place = format!("private key `{}`", shown(&path.to_string_lossy()));
    let config =
        |error: &dyn std::fmt::Display| StoreError::new(Kind::Config, format!("{place}: {error}"));
    let found = fs::metadata(path).map_err(|error| config(&error))?;
    let exposed = found.mode() & 0o077 != 0;
    // As ssh: the modes of somebody else's file are that one's business.
    if exposed && found.uid() == rustix::process::getuid().as_raw() {
        let mode = found.mode() & 0o777;
        return Err(config(&format!("others may read it (mode {mode:04o})"))
            .hint(format!("chmod 600 {}", shown(&path.to_string_lossy()))));
    }
    let text = fs::read(path).map_err(|error| config(&error))?;
    let text = zeroize::Zeroizing::new(text);
    let text = std::str::from_utf8(&text).map_err(|_| config(&"it is no text"))?;
    let key = russh::keys::decode_secret_key(text, passphrase.map(Secret::expose));
    key.map_err(|error| unusable_key(&error, passphrase.is_some(), name).context(place))
}

/// The library's words are vague where a passphrase is concerned, and ours must never hold the key's text.
fn unusable_key(error: &KeyError, has_passphrase: bool, name: &str) -> StoreError {
    let setting = format!("`stores.{}.sftp.passphrase`", shown(name));
    let encrypted = matches!(
        error,
        KeyError::KeyIsEncrypted | KeyError::SshKey(ssh_key::Error::Encrypted)
    );
    if encrypted && !has_passphrase {
        return StoreError::new(Kind::Config, "it has a passphrase").hint(format!("set {setting}"));
    }
    if has_passphrase {
        return StoreError::new(Kind::Config, "the passphrase does not open it")
            .hint(format!("check {setting}"));
    }
    StoreError::new(Kind::Config, "it can't be read as a private key")
        .hint("it must be a private key in OpenSSH's format or PEM, as `ssh-keygen` makes it")
}
