//! The way in: a host that is who it should be, then the login, then SFTP. Each is a call of its own for whoever wants to know which
//! of them fails.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::connect::Ssh;
use super::host_key::Seen;
use super::logins::{self, Login};
use super::{SftpStore, auth, channel, connect};
use crate::config::Sftp;
use crate::escape::shown;
use crate::store::{Credentials, StoreError};

/// A host whose key is accepted; nobody is logged in yet.
pub struct Trusted<'a> {
    sftp: &'a Sftp,
    timeout: Duration,
    ssh: Ssh,
    seen: Arc<Mutex<Seen>>,
}

/// Connects, checks the host key, logs in and starts SFTP. `name` is the store's, for hints.
pub async fn open(
    name: &str,
    sftp: &Sftp,
    credentials: Credentials,
    timeout: Duration,
) -> Result<SftpStore, StoreError> {
    let way = async {
        // A key file that can't be used is found before any socket is opened.
        let logins = logins::configured(name, sftp, credentials)?;
        trusted(name, sftp, timeout).await?.log_in(logins).await
    };
    way.await.map_err(|error| error.context(location(sftp)))
}

/// Connects and checks the host key.
pub async fn trusted<'a>(
    name: &str,
    sftp: &'a Sftp,
    timeout: Duration,
) -> Result<Trusted<'a>, StoreError> {
    let (ssh, seen) = connect::trusted(name, sftp, timeout).await?;
    Ok(Trusted {
        sftp,
        timeout,
        ssh,
        seen,
    })
}

impl Trusted<'_> {
    /// The accepted key, as [`super::Store::host_key`] tells it.
    pub fn host_key(&self) -> String {
        accepted(&self.seen).unwrap_or_default()
    }

    /// Logs in and starts SFTP.
    pub async fn log_in(self, logins: Vec<Login>) -> Result<SftpStore, StoreError> {
        let Self {
            sftp,
            timeout,
            mut ssh,
            seen,
        } = self;
        auth::log_in(&mut ssh, logins, sftp, &seen, timeout).await?;
        let connection = channel::start_sftp(ssh, seen, timeout).await?;
        Ok(SftpStore {
            location: location(sftp),
            path: sftp.path.clone(),
            patience: timeout * 3,
            connection: Arc::new(connection),
            listed: HashSet::new(),
        })
    }
}

/// `ssh-ed25519 SHA256:…`.
pub(super) fn accepted(seen: &Mutex<Seen>) -> Option<String> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let key = seen.key.as_ref();
    key.map(|key| format!("{} {}", key.algorithm, key.fingerprint()))
}

fn location(sftp: &Sftp) -> String {
    let (user, host, path) = (shown(&sftp.user), shown(&sftp.host), shown(&sftp.path));
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let slash = if path.starts_with('/') { "" } else { "/./" };
    format!("sftp://{user}@{host}:{}{slash}{path}", sftp.port)
}
