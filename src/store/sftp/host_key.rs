//! Whether the host is who it should be: known_hosts or a pinned fingerprint, and nothing is ever learnt here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{DisconnectReason, Handler, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::connect::{connect, host_key_algorithms};
use crate::config::Sftp;
use crate::escape::shown;
use crate::store::known_hosts::{self, Answer, Key, KnownHosts};
use crate::store::{Kind, StoreError};

/// What was learnt of the other side while connecting; shared with whoever tells about it.
#[derive(Debug, Default)]
pub struct Seen {
    pub key: Option<Key>,
    /// Why the connection ended, in the server's words or ours.
    pub ended: Option<String>,
    /// The server ended it on purpose, with a message.
    pub dismissed: bool,
    /// What the server says to whoever logs in.
    pub banner: Option<String>,
}

/// Who may be on the other side.
enum Trust {
    Pinned(String),
    /// Or why it can't be read.
    File(Result<KnownHosts, String>),
    /// Only look: the key is noted and nobody is trusted.
    Nobody,
}

/// Answers SSH's question whether to go on with this host key.
pub struct Checker {
    trust: Trust,
    host: String,
    port: u16,
    known_hosts: String,
    remedy: String,
    seen: Arc<Mutex<Seen>>,
}

impl Checker {
    /// `name` is the store's.
    pub fn new(name: &str, sftp: &Sftp, seen: Arc<Mutex<Seen>>) -> Self {
        let trust = match &sftp.host_key {
            Some(pin) => Trust::Pinned(pin.clone()),
            None => Trust::File(read_known_hosts(sftp)),
        };
        Self::with(trust, name, sftp, seen)
    }

    fn with(trust: Trust, name: &str, sftp: &Sftp, seen: Arc<Mutex<Seen>>) -> Self {
        Self {
            trust,
            host: sftp.host.clone(),
            port: sftp.port,
            known_hosts: shown(&sftp.known_hosts.to_string_lossy()),
            remedy: format!(
                "compare the fingerprint with one from the server's administrator, then run `backupctl trust {}`",
                shown(name)
            ),
            seen,
        }
    }

    pub fn seen(&self) -> Arc<Mutex<Seen>> {
        Arc::clone(&self.seen)
    }

    /// The key types that known_hosts has for this host.
    pub fn known_algorithms(&self) -> Vec<String> {
        match &self.trust {
            Trust::File(Ok(known)) => known.algorithms(&self.host, self.port),
            _ => Vec::new(),
        }
    }

    fn judge(&self, key: &Key) -> Result<bool, StoreError> {
        match &self.trust {
            Trust::Nobody => Ok(false),
            Trust::Pinned(pin) if *pin == key.fingerprint() => Ok(true),
            Trust::Pinned(pin) => Err(refusal(&format!(
                "the host key is {}, not the pinned {pin}",
                described(key)
            ))
            .hint("find out why it changed before you correct the store's `host_key`: somebody may be in between")),
            Trust::File(Err(why)) => Err(refusal(&format!(
                "`{}` can't be read ({why}), so the host key {} can't be checked",
                self.known_hosts,
                described(key)
            ))
            .hint("let the user who runs backupctl read it")),
            Trust::File(Ok(known)) => match known.ask(&self.host, self.port, key) {
                Answer::Same => Ok(true),
                answer => Err(self.explain(&answer, key)),
            },
        }
    }

    fn explain(&self, answer: &Answer, key: &Key) -> StoreError {
        let (file, presented) = (&self.known_hosts, described(key));
        match answer {
            Answer::Same => refusal("the host key is known"),
            Answer::Changed { fingerprint, line } => refusal(&format!("the host key has changed: it is {presented}, but {file}:{line} knows {fingerprint}"))
                .hint(format!("find out why first: somebody may be in between; if the server was set up anew, remove line {line} and {}", self.remedy)),
            Answer::Revoked { line } => refusal(&format!("the host key {presented} is revoked by {file}:{line}"))
                .hint("the server must get a new host key"),
            Answer::BrokenRevocation { line } => refusal(&format!("{file}:{line} revokes a key that can't be read, so {presented} can't be trusted"))
                .hint("correct that line"),
            Answer::Unknown { others, authority } => refusal(&format!("the host key {presented} is not in {file}{}{}", also(others), unsupported(*authority)))
                .hint(&self.remedy),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(message: &str) -> StoreError {
    StoreError::new(Kind::Refused, message)
}

fn described(key: &Key) -> String {
    format!("{} {}", shown(&key.algorithm), key.fingerprint())
}

fn also(others: &[(String, usize)]) -> String {
    let shown: Vec<String> = others
        .iter()
        .map(|(algorithm, line)| format!("{algorithm} in line {line}"))
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    format!(
        ", which knows other keys of this host: {}",
        shown.join(", ")
    )
}

fn unsupported(authority: Option<usize>) -> String {
    authority.map_or_else(String::new, |line| {
        format!(" (its @cert-authority in line {line} is not supported)")
    })
}

fn read_known_hosts(sftp: &Sftp) -> Result<KnownHosts, String> {
    KnownHosts::read(&sftp.known_hosts).map_err(|error| error.to_string())
}

fn key_of(key: &PublicKey) -> Result<Key, StoreError> {
    let blob = key
        .to_bytes()
        .map_err(|error| StoreError::new(Kind::Protocol, format!("the host key: {error}")))?;
    let algorithm = key.algorithm().as_str().to_owned();
    Ok(Key { algorithm, blob })
}

impl Handler for Checker {
    type Error = StoreError;

    async fn check_server_key(
        &mut self,
        presented: &PublicKeyOrCertificate,
    ) -> Result<bool, StoreError> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = presented else {
            return Err(refusal(
                "the server presented a certificate, which is not supported",
            ));
        };
        let key = key_of(key)?;
        self.locked().key = Some(key.clone());
        self.judge(&key)
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut Session) -> Result<(), StoreError> {
        self.locked().banner = Some(shown(banner.trim()));
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<StoreError>,
    ) -> Result<(), StoreError> {
        let mut seen = self.locked();
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                seen.dismissed = true;
                seen.ended = Some(format!("the server said `{}`", shown(&said.message)));
            }
            DisconnectReason::Error(error) => seen.ended = Some(error.to_string()),
        }
        Ok(())
    }
}

/// The key a host presents now, and what known_hosts says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The line for known_hosts.
    pub line: String,
    /// `SHA256:…`
    pub fingerprint: String,
    pub algorithm: String,
    pub already: Known,
}

/// Whether a presented key is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    No,
    Same,
    /// Another key of the same type is known; adding this one would accept both.
    Changed {
        fingerprint: String,
        line: usize,
    },
    /// It must not be trusted.
    Revoked {
        line: usize,
    },
}

/// Connects only as far as the key exchange, trusts nobody, and tells what was presented.
pub async fn presented_host_key(sftp: &Sftp, timeout: Duration) -> Result<Presented, StoreError> {
    let known = read_known_hosts(sftp).map_err(|why| {
        let file = shown(&sftp.known_hosts.to_string_lossy());
        StoreError::new(Kind::Config, format!("read `{file}`: {why}"))
    })?;
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let checker = Checker::with(Trust::Nobody, "", sftp, Arc::clone(&seen));
    let algorithms = known.algorithms(&sftp.host, sftp.port);
    let offered = host_key_algorithms(&algorithms, sftp.legacy_algorithms);
    let ended = connect(sftp, checker, &offered, timeout).await.err();
    let key = seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .key
        .take();
    let key = key.ok_or_else(|| {
        ended.unwrap_or_else(|| StoreError::new(Kind::Protocol, "the server presented no host key"))
    })?;
    Ok(Presented {
        line: known_hosts::line(&sftp.host, sftp.port, &key),
        fingerprint: key.fingerprint(),
        already: already(known.ask(&sftp.host, sftp.port, &key)),
        algorithm: key.algorithm,
    })
}

fn already(answer: Answer) -> Known {
    match answer {
        Answer::Same => Known::Same,
        Answer::Changed { fingerprint, line } => Known::Changed { fingerprint, line },
        Answer::Revoked { line } | Answer::BrokenRevocation { line } => Known::Revoked { line },
        Answer::Unknown { .. } => Known::No,
    }
}
