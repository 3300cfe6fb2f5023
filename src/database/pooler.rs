//! Whether a connection pooler answers instead of the server: PgBouncer and its like are in the way of a restore.
//!
//! A setting of ours goes along when a session starts. The server knows it from then on; a pooler, whose sessions with the
//! server began before, refuses it or passes over it. Names, ports and process ids prove nothing: networks translate them too.

use tokio_postgres::Error;

use super::session::Session;
use crate::escape::shown;
use crate::verdict::{Failed, Verdict};

/// What each session asks for when it starts.
pub const MARK: &str = "-c backupctl.direct=on";
/// Whether the server has heard that.
pub const MARKED: &str = "current_setting('backupctl.direct', true)";

/// What poolers say that don't take the mark: PgBouncer, RDS Proxy.
const REFUSALS: [&str; 2] = [
    "unsupported startup parameter",
    "support command-line options",
];

/// Whether only a pooler would have ended the login so.
pub fn refused(error: &Error) -> bool {
    error.as_db_error().is_some_and(|answer| {
        let said = answer.message();
        REFUSALS.iter().any(|refusal| said.contains(refusal))
    })
}

/// `config`: the server itself is wanted, and where it is as far as it can be asked.
pub async fn instead_of_the_server(session: Option<&Session>) -> Failed {
    let direct = match session {
        Some(session) => behind(session).await,
        None => None,
    };
    let direct = direct.map_or_else(String::new, |address| {
        format!(
            "; the server behind it says that it listens on {}",
            shown(&address)
        )
    });
    let problem = "a connection pooler such as PgBouncer answers there, which hands sessions on to others and can't be restored through";
    Failed::new(Verdict::Config, problem).hint(format!(
        "set `host` and `port` of this database to the server's own, not the pooler's{direct}"
    ))
}

async fn behind(session: &Session) -> Option<String> {
    let sql = "SELECT coalesce(host(inet_server_addr()), 'a socket'), current_setting('port')";
    // Only a help to the operator: where it can't be asked the hint does without it.
    let rows = session.text_rows(sql).await.ok()?;
    let mut row = rows.into_iter().next()?.into_iter();
    let (host, port) = (row.next()??, row.next()??);
    Some(format!("{host}, port {port}"))
}
