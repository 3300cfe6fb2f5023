//! One session: each statement has a deadline, is cancelled on the server when it passes, and its error has a verdict.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, NoTls, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pooler::{self, MARKED};
use super::sqlstate::{judge, judged};
use crate::escape::said;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// For each statement, unless [`Session::with_deadline`] says otherwise.
const STATEMENT_DEADLINE: Duration = Duration::from_mins(1);
/// How long a cancelled statement may take to end.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// Independence of the defaults that a role or a database may carry.
const SETTINGS: &str = "SET client_encoding = 'UTF8'; SET search_path = pg_catalog; SET DateStyle = 'ISO'; SET TimeZone = 'UTC'; \
     SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET standard_conforming_strings = on; \
     SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '30s'";

/// One session. Dropped, it cancels what it was still waiting for, and closes.
pub struct Session {
    client: Client,
    tls: Option<MakeRustlsConnect>,
    driver: Option<JoinHandle<()>>,
    deadline: Duration,
    /// Statements that were begun and whose end nobody has seen yet.
    in_flight: AtomicUsize,
    version_num: u32,
    pid: i32,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(driver), Ok(runtime)) =
            (self.driver.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            // A statement that nobody waits for any more would otherwise go on by itself, a CREATE DATABASE for minutes.
            runtime.spawn(timeout(CANCEL_DEADLINE, self.canceller()));
            driver.abort();
        } else {
            runtime.spawn(farewell(driver));
        }
    }
}

/// Lets the connection say goodbye, which its task does once the client is gone, but not for ever.
async fn farewell(driver: JoinHandle<()>) {
    let abort = driver.abort_handle();
    if timeout(CANCEL_DEADLINE, driver).await.is_err() {
        abort.abort();
    }
}

impl Session {
    pub(super) fn new(
        client: Client,
        driver: JoinHandle<()>,
        tls: Option<MakeRustlsConnect>,
    ) -> Self {
        Self {
            client,
            tls,
            driver: Some(driver),
            deadline: STATEMENT_DEADLINE,
            in_flight: AtomicUsize::new(0),
            version_num: 0,
            pid: 0,
        }
    }

    /// Makes the session independent of the defaults that a role or a database may carry.
    pub(super) async fn prepare(mut self) -> Outcome<Self> {
        // Before any SET, which a pooler would hand on to other clients with the server's session; and by the simple
        // protocol, since it may not keep a prepared statement where it was prepared.
        let facts =
            format!("SELECT {MARKED}, current_setting('server_version_num'), pg_backend_pid()");
        let rows = self.text_rows(&facts).await?;
        let mut facts = rows.into_iter().next().unwrap_or_default().into_iter();
        if facts.next().flatten().as_deref() != Some("on") {
            return Err(pooler::instead_of_the_server(Some(&self)).await);
        }
        let mut number = || facts.next().flatten()?.parse::<i32>().ok();
        let version = number().and_then(|version| u32::try_from(version).ok());
        self.version_num = version.unwrap_or(0);
        self.pid = number().unwrap_or(0);
        self.batch(SETTINGS).await?;
        if self.version_num >= 140_000 {
            // Lets the server notice a client that is gone. A server's platform may not have it, and nothing depends on it.
            let _ = self
                .batch("SET client_connection_check_interval = '10s'")
                .await;
        }
        Ok(self)
    }

    /// Another deadline for each statement of this session.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Ends the session and waits until the server was told, so that it is in nobody's way.
    pub async fn close(mut self) {
        let driver = self.driver.take();
        drop(self);
        if let Some(driver) = driver {
            farewell(driver).await;
        }
    }

    /// For what this type has no word for; such calls have no deadline.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The server's version as a number: 150014.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// The process id of this session's backend.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the connection has ended, by whichever side.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Outcome<Vec<Row>> {
        self.bounded(sql, self.client.query(sql, params)).await
    }

    pub async fn query_one(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Outcome<Row> {
        self.bounded(sql, self.client.query_one(sql, params)).await
    }

    pub async fn query_opt(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Outcome<Option<Row>> {
        self.bounded(sql, self.client.query_opt(sql, params)).await
    }

    pub async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Outcome<u64> {
        self.bounded(sql, self.client.execute(sql, params)).await
    }

    /// One or several statements without results; several are one transaction, unless they say otherwise.
    pub async fn batch(&self, sql: &str) -> Outcome<()> {
        self.bounded(sql, self.client.batch_execute(sql)).await
    }

    /// How many columns the one statement in `sql` gives; several statements are an error. Nothing is run.
    pub async fn columns_of(&self, sql: &str) -> Outcome<usize> {
        let statement = self.bounded(sql, self.client.prepare(sql)).await?;
        Ok(statement.columns().len())
    }

    /// Rows as the server writes them, whatever their types; None is NULL.
    pub async fn text_rows(&self, sql: &str) -> Outcome<Vec<Vec<Option<String>>>> {
        let messages = self.bounded(sql, self.client.simple_query(sql)).await?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|index| row.try_get(index).ok().flatten().map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Waits for a statement until the deadline, cancels it on the server then, and says how it really ended.
    async fn bounded<T>(
        &self,
        sql: &str,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Outcome<T> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let outcome = self.until_deadline(statement).await;
        // Not reached where the caller stops waiting: then dropping the session cancels the statement.
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        outcome.context(format!("run `{}`", summary(sql)))
    }

    async fn until_deadline<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Outcome<T> {
        let mut statement = pin!(statement);
        tokio::select! {
            ended = &mut statement => return ended.map_err(judge),
            () = sleep(self.deadline) => {}
        }
        let cancelled = timeout(CANCEL_DEADLINE, self.canceller()).await;
        tracing::debug!(?cancelled, "cancelled a statement at its deadline");
        match timeout(CANCEL_DEADLINE, statement).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.code().is_some_and(|code| code.code() == "57014") => {
                let message = format!("cancelled after {:?} without an end", self.deadline);
                Err(Failed::new(Verdict::Failed, message))
            }
            Ok(Err(error)) => Err(judge(error)),
            Err(_) => {
                let message = format!(
                    "no answer within {:?}, nor to its cancellation",
                    self.deadline
                );
                Err(Failed::new(Verdict::Network, message))
            }
        }
    }

    fn canceller(&self) -> impl Future<Output = Result<(), tokio_postgres::Error>> + Send + use<> {
        let (token, tls) = (self.client.cancel_token(), self.tls.clone());
        async move {
            match tls {
                Some(connector) => token.cancel_query(connector).await,
                None => token.cancel_query(NoTls).await,
            }
        }
    }
}

/// A value of a row; a type or a column that doesn't fit is a `bug`.
///
/// # Errors
/// `bug`.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Outcome<T> {
    row.try_get(index)
        .map_err(|error| judged(error, format!("read column {index}")))
}

/// The beginning of a statement, for a message, without its values: a database's settings can be secrets.
fn summary(sql: &str) -> String {
    let line = said(&sql.split_whitespace().collect::<Vec<_>>().join(" "));
    if let Some((before, _)) = line.split_once('\'') {
        return format!("{}…", before.chars().take(80).collect::<String>());
    }
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_statement_but_none_of_its_values() {
        assert_eq!(
            summary("ALTER DATABASE \"erp\"\n SET \"app.jwt\" TO 'canary', 'canary'"),
            "ALTER DATABASE \"erp\" SET \"app.jwt\" TO …"
        );
        assert_eq!(summary("ROLLBACK"), "ROLLBACK");
        assert_eq!(summary(&"x".repeat(100)).chars().count(), 81);
    }
}
