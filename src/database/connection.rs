//! The way to a PostgreSQL server: by each address, with or without TLS, within a deadline.
//!
//! Each connection carries the run's application name, by which a later run finds what this one may leave behind.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Config, Connection, NoTls, Socket};

use super::pooler;
use super::quote::startup_option;
pub use super::quote::{quote_identifier, quote_literal};
pub use super::session::{Session, column};
use super::sqlstate::judge;
pub use super::sqlstate::judged;
use super::tls::{self, Attempt};
use crate::config;
use crate::escape::said;
use crate::secret::Secret;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// Addresses of one host name that are tried.
const ADDRESSES: usize = 4;

/// What every session of this run needs to know.
#[derive(Debug, Clone)]
pub struct Login {
    pub settings: config::Postgres,
    pub password: Option<Secret>,
    /// `run.id.application_name()`.
    pub application_name: String,
    /// For one whole way in: connect, TLS and login, for each address that the host name has.
    pub timeout: Duration,
}

impl Login {
    /// `erp on db.example.org:5432`, for messages.
    #[must_use]
    pub fn target(&self, database: &str) -> String {
        let config::Postgres { host, port, .. } = &self.settings;
        format!("database `{}` on {host}:{port}", said(database))
    }

    /// What the sessions that load and analyze start with.
    ///
    /// They don't wait for the disk, since nothing depends on them before the swap, whose own commit does, and WAL is
    /// flushed in order. Where they are `live` already, only the server decides that.
    #[must_use]
    pub fn options(&self, live: bool) -> String {
        const WAITING: &str = "synchronous_commit";
        let mut options = String::new();
        if !live {
            options.push_str(&startup_option(WAITING, "off"));
        }
        for (name, value) in &self.settings.session {
            if !(live && name.eq_ignore_ascii_case(WAITING)) {
                options.push_str(&startup_option(name, value));
            }
        }
        options.trim_start().to_owned()
    }

    /// A session with the maintenance database.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn maintenance(&self) -> Outcome<Session> {
        connect(self, &self.settings.maintenance_database).await
    }
}

/// Opens a session, by every address of the host and, where libpq does so, with and without TLS.
///
/// # Errors
/// `network`, `refused` or `config`, with the server and the database named.
pub async fn connect(login: &Login, database: &str) -> Outcome<Session> {
    connect_with(login, database, "").await
}

/// As [`connect`], with options for the server at the session's start: [`Login::options`].
///
/// # Errors
/// As [`connect`], and as the server says of the options.
pub async fn connect_with(login: &Login, database: &str, options: &str) -> Outcome<Session> {
    let target = login.target(database);
    let session = open(login, database, options)
        .await
        .context(format!("connect to {target}"))?;
    session
        .prepare()
        .await
        .context(format!("connect to {target}"))
}

async fn open(login: &Login, database: &str, options: &str) -> Outcome<Session> {
    let attempts = tls::attempts(&login.settings)?;
    let mut last = Failed::new(Verdict::Network, "the host name has no address")
        .hint("check `host` of this database, and the resolver");
    for place in places(login).await? {
        let mut config = connection_config(login, database, place);
        if !options.is_empty() {
            config.options(options);
        }
        match enter(&config, &attempts, login.timeout).await {
            Err(failed) if failed.verdict == Verdict::Network => last = failed,
            other => return other,
        }
    }
    Err(last)
}

/// The addresses to try; None stands for the socket directory.
async fn places(login: &Login) -> Outcome<Vec<Option<SocketAddr>>> {
    let config::Postgres { host, port, .. } = &login.settings;
    if host.starts_with('/') {
        return Ok(vec![None]);
    }
    let found = timeout(
        login.timeout,
        tokio::net::lookup_host((host.as_str(), *port)),
    )
    .await;
    match found {
        Ok(Ok(addresses)) => Ok(addresses.take(ADDRESSES).map(Some).collect()),
        Ok(Err(error)) => Err(Failed::new(
            Verdict::Network,
            format!("look up `{}`: {error}", said(host)),
        )),
        Err(_) => Err(Failed::new(
            Verdict::Network,
            format!(
                "look up `{}`: no answer within {:?}",
                said(host),
                login.timeout
            ),
        )),
    }
}

fn connection_config(login: &Login, database: &str, place: Option<SocketAddr>) -> Config {
    let settings = &login.settings;
    let mut config = Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(database)
        .application_name(&login.application_name)
        .connect_timeout(login.timeout)
        .tcp_user_timeout(login.timeout.max(Duration::from_secs(30)))
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    if let Some(password) = &login.password {
        config.password(password.expose());
    }
    if let Some(address) = place {
        config.hostaddr(address.ip());
    }
    config
}

/// One address: the first way in, and the second one only where the first was refused as such, never after a wrong password.
async fn enter(config: &Config, attempts: &[Attempt], patience: Duration) -> Outcome<Session> {
    let mut attempts = attempts.iter().peekable();
    loop {
        let Some(attempt) = attempts.next() else {
            return Err(Failed::new(Verdict::Bug, "no way to connect was chosen"));
        };
        let silent = || {
            Failed::new(Verdict::Network, format!("no answer within {patience:?}"))
                .hint("check `host` and `port`, and firewalls between here and there")
        };
        match timeout(patience, attempt_one(config, attempt)).await {
            Err(_) => return Err(silent()),
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(error)) if pooler::refused(&error) => {
                let unmarked = timeout(patience, unmarked(config, attempt)).await;
                let session = unmarked.ok().and_then(Result::ok);
                return Err(pooler::instead_of_the_server(session.as_ref()).await);
            }
            Ok(Err(error)) if attempts.peek().is_some() && tls::another_way_may_help(&error) => {
                tracing::debug!(%error, "connecting in the other way that sslmode allows");
            }
            Ok(Err(error)) => return Err(judge(error)),
        }
    }
}

async fn attempt_one(config: &Config, attempt: &Attempt) -> Result<Session, tokio_postgres::Error> {
    let mut config = config.clone();
    let options = config.get_options().unwrap_or_default();
    config.options(format!("{} {options}", pooler::MARK));
    unmarked(&config, attempt).await
}

async fn unmarked(config: &Config, attempt: &Attempt) -> Result<Session, tokio_postgres::Error> {
    let mut config = config.clone();
    config.ssl_mode(attempt.mode);
    if let Some(connector) = &attempt.connector {
        let (client, connection) = config.connect(connector.clone()).await?;
        Ok(Session::new(
            client,
            drive(connection),
            Some(connector.clone()),
        ))
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        Ok(Session::new(client, drive(connection), None))
    }
}

/// Moves the connection's bytes until it ends; what the server remarks goes to the log.
fn drive<S>(mut connection: Connection<Socket, S>) -> JoinHandle<()>
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    tracing::debug!(
                        severity = notice.severity(),
                        "server: {}",
                        said(notice.message())
                    );
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!("connection ended: {}", said(&error.to_string()));
                    return;
                }
                None => return,
            }
        }
    })
}
