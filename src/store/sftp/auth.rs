//! Logging in with what is configured: each method at most once, and only what the server offers.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Dialogue, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};
use tokio::time::timeout;

use super::connect::{Ssh, ended};
use super::host_key::Seen;
use super::logins::Login;
use crate::config::Sftp;
use crate::escape::shown;
use crate::secret::Secret;
use crate::store::{Kind, StoreError};

/// Keys of an agent that are tried; servers end the connection after six.
const MOST_AGENT_KEYS: usize = 5;

/// Rounds of questions that keyboard-interactive may take.
const MOST_ROUNDS: usize = 5;

/// The end of one attempt.
enum Attempt {
    In,
    /// What the server offers now.
    Out(MethodSet),
}

impl From<AuthResult> for Attempt {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Self::In,
            AuthResult::Failure {
                remaining_methods, ..
            } => Self::Out(remaining_methods),
        }
    }
}

/// Tries what is configured, as long as the server offers it.
pub async fn log_in(
    ssh: &mut Ssh,
    logins: Vec<Login>,
    sftp: &Sftp,
    seen: &Mutex<Seen>,
    patience: Duration,
) -> Result<(), StoreError> {
    let mut dialogue = Conversation {
        ssh,
        sftp,
        seen,
        patience,
        tried: Vec::new(),
        remarks: Vec::new(),
    };
    let mut offered = match dialogue.none().await? {
        Attempt::In => return Ok(()),
        Attempt::Out(offered) => offered,
    };
    let mut left = logins;
    while let Some(next) = left
        .iter()
        .position(|login| offered.contains(&login.method()))
    {
        let login = left.remove(next);
        match dialogue.attempt(&login).await? {
            Attempt::In => return Ok(()),
            Attempt::Out(now) => offered = now,
        }
    }
    Err(dialogue.refused(&offered, &left))
}

/// The state of one login.
struct Conversation<'a> {
    ssh: &'a mut Ssh,
    sftp: &'a Sftp,
    seen: &'a Mutex<Seen>,
    patience: Duration,
    tried: Vec<&'static str>,
    /// What may explain a refusal.
    remarks: Vec<String>,
}

impl Conversation<'_> {
    /// Asks which methods there are; the only way SSH has (RFC 4252, section 5.2).
    async fn none(&mut self) -> Result<Attempt, StoreError> {
        let user = self.sftp.user.clone();
        let answer = timeout(self.patience, self.ssh.authenticate_none(user)).await;
        self.judged(answer.map(|result| result.map(Attempt::from)))
    }

    async fn attempt(&mut self, login: &Login) -> Result<Attempt, StoreError> {
        self.tried.push(login.shown());
        match login {
            Login::Key(key) => self.key(key).await,
            Login::Agent(socket) => self.agent(socket).await,
            Login::Password(password) => self.password(password).await,
            Login::Dialogue(password) => self.answers(password).await,
        }
    }

    async fn key(&mut self, key: &Arc<PrivateKey>) -> Result<Attempt, StoreError> {
        let hash = self.rsa_hash(key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        let login = self.ssh.authenticate_publickey(self.sftp.user.clone(), key);
        let answer = timeout(self.patience, login).await;
        self.judged(answer.map(|result| result.map(Attempt::from)))
    }

    /// SHA-1 only where it was asked for; a server that doesn't say what it takes gets SHA-512.
    async fn rsa_hash(&mut self, is_rsa: bool) -> Result<Option<HashAlg>, StoreError> {
        if !is_rsa {
            return Ok(None);
        }
        let answer = timeout(self.patience, self.ssh.best_supported_rsa_hash()).await;
        let legacy = self.sftp.legacy_algorithms;
        match answer {
            Ok(Ok(Some(Some(hash)))) => Ok(Some(hash)),
            Ok(Ok(_)) if legacy => Ok(None),
            Ok(Ok(Some(None))) => {
                self.remarks.push(
                    "the server takes RSA keys only with SHA-1 (`legacy_algorithms = true`)"
                        .to_owned(),
                );
                Ok(Some(HashAlg::Sha512))
            }
            Ok(Ok(None)) => Ok(Some(HashAlg::Sha512)),
            Ok(Err(error)) => Err(ended("log in", &error, self.seen)),
            Err(_) => Err(self.silent()),
        }
    }

    async fn password(&mut self, password: &Secret) -> Result<Attempt, StoreError> {
        let user = self.sftp.user.clone();
        let login = self.ssh.authenticate_password(user, password.expose());
        let answer = timeout(self.patience, login).await;
        self.judged(answer.map(|result| result.map(Attempt::from)))
    }

    /// Gives the password to the first hidden question. A later one asks for something we don't have.
    async fn answers(&mut self, password: &Secret) -> Result<Attempt, StoreError> {
        let user = self.sftp.user.clone();
        let start = self.ssh.authenticate_keyboard_interactive_start(user, None);
        let mut reply = timeout(self.patience, start).await;
        let mut password = Some(password);
        for _ in 0..MOST_ROUNDS {
            let prompts = match reply {
                Ok(Ok(Dialogue::InfoRequest { prompts, .. })) => prompts,
                ended => return self.judged(ended.map(|result| result.map(of_dialogue))),
            };
            let Some(responses) = self.responses(&prompts, &mut password) else {
                return Ok(Attempt::Out(MethodSet::empty()));
            };
            let respond = self
                .ssh
                .authenticate_keyboard_interactive_respond(responses);
            reply = timeout(self.patience, respond).await;
        }
        self.remarks.push("it asked without an end".to_owned());
        Ok(Attempt::Out(MethodSet::empty()))
    }

    /// None: it asks for what only a person knows.
    fn responses(
        &mut self,
        prompts: &[Prompt],
        password: &mut Option<&Secret>,
    ) -> Option<Vec<String>> {
        let mut responses = Vec::new();
        for prompt in prompts {
            let answer = password.take_if(|_| !prompt.echo);
            let Some(answer) = answer else {
                self.remarks
                    .push(format!("it asked `{}`", shown(prompt.prompt.trim())));
                return None;
            };
            responses.push(answer.expose().to_owned());
        }
        Some(responses)
    }

    async fn agent(&mut self, socket: &Path) -> Result<Attempt, StoreError> {
        let place = format!("ssh-agent at `{}`", shown(&socket.to_string_lossy()));
        let config =
            |why: &dyn std::fmt::Display| StoreError::new(Kind::Config, format!("{place}: {why}"));
        let connect = timeout(self.patience, AgentClient::connect_uds(socket)).await;
        let mut agent = connect
            .map_err(|_| config(&"no answer"))?
            .map_err(|e| config(&e))?;
        let list = timeout(self.patience, agent.request_identities()).await;
        let keys = list
            .map_err(|_| config(&"no answer"))?
            .map_err(|e| config(&e))?;
        if keys.is_empty() {
            self.remarks.push("the agent holds no key".to_owned());
        }
        let mut last = MethodSet::from(&[MethodKind::PublicKey][..]);
        let keys = keys.into_iter().filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, .. } => Some(key),
            AgentIdentity::Certificate { .. } => None,
        });
        for key in keys.take(MOST_AGENT_KEYS) {
            let hash = self.rsa_hash(key.algorithm().is_rsa()).await?;
            let user = self.sftp.user.clone();
            let login = self
                .ssh
                .authenticate_publickey_with(user, key, hash, &mut agent);
            let answer = timeout(self.patience, login).await;
            match answer {
                Ok(Err(error)) => self
                    .remarks
                    .push(format!("the agent: {}", shown(&error.to_string()))),
                answer => {
                    match self.judged(answer.map(|r| Ok(r.map_or(Attempt::In, Attempt::from))))? {
                        Attempt::In => return Ok(Attempt::In),
                        Attempt::Out(now) => last = now,
                    }
                }
            }
        }
        Ok(Attempt::Out(last))
    }

    /// A connection lost in between looks like a failure that offers nothing.
    fn judged(
        &self,
        answer: Result<Result<Attempt, russh::Error>, tokio::time::error::Elapsed>,
    ) -> Result<Attempt, StoreError> {
        match answer {
            Err(_) => Err(self.silent()),
            Ok(Err(error)) => Err(self.lost(&error)),
            Ok(Ok(Attempt::Out(offered)))
                if offered.is_empty() && self.ssh.is_closed() && !self.has_given_up() =>
            {
                Err(self.lost(&russh::Error::Disconnect))
            }
            Ok(Ok(attempt)) => Ok(attempt),
        }
    }

    /// After a refusal that offers no further method russh ends the connection itself: then it was no loss.
    fn has_given_up(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing_left = russh::Error::NoAuthMethod.to_string();
        seen.ended
            .as_ref()
            .is_some_and(|why| why.ends_with(&nothing_left))
    }

    /// With a word of the server ("Too many authentication failures") it is a refusal; without one the network's fault.
    fn lost(&self, error: &russh::Error) -> StoreError {
        let mut lost = ended("log in", error, self.seen);
        if self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dismissed
        {
            lost.kind = Kind::Refused;
        }
        lost
    }

    fn silent(&self) -> StoreError {
        let message = format!(
            "log in: no answer for {} seconds",
            self.patience.as_secs_f32()
        );
        StoreError::new(Kind::Unreachable, message)
    }

    fn refused(&self, offered: &MethodSet, unused: &[Login]) -> StoreError {
        let (user, host) = (shown(&self.sftp.user), shown(&self.sftp.host));
        let mut parts = vec![format!(
            "the server refused the login of `{user}` at `{host}`: {}",
            self.tries()
        )];
        let unused: Vec<&str> = unused.iter().map(Login::shown).collect();
        if !unused.is_empty() {
            parts.push(format!("configured but not offered: {}", unused.join(", ")));
        }
        let offers: Vec<&str> = offered.iter().map(Into::into).collect();
        let offers = if offers.is_empty() {
            "nothing more".to_owned()
        } else {
            offers.join(", ")
        };
        parts.push(format!("the server offers {offers}"));
        parts.extend(self.remarks.iter().cloned());
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        parts.extend(
            seen.banner
                .iter()
                .map(|banner| format!("its banner: `{banner}`")),
        );
        StoreError::new(Kind::Refused, parts.join("; "))
            .hint("check the store's `user`, `password` and `private_key`, and that the key is authorised on the server")
    }

    fn tries(&self) -> String {
        if self.tried.is_empty() {
            return "nothing of what is configured could be tried".to_owned();
        }
        format!("tried {}", self.tried.join(", "))
    }
}

fn of_dialogue(reply: Dialogue) -> Attempt {
    match reply {
        Dialogue::Success => Attempt::In,
        Dialogue::Failure {
            remaining_methods, ..
        } => Attempt::Out(remaining_methods),
        Dialogue::InfoRequest { .. } => Attempt::Out(MethodSet::empty()),
    }
}
