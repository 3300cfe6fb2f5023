//! What an error of the server or of the way to it means: SQLSTATE → verdict, with what to do.
//!
//! The codes are in the PostgreSQL manual, appendix A. Texts are not looked at where a code says enough: they are translated.

use std::error::Error as _;
use std::fmt;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::escape::said;
use crate::verdict::{Failed, Verdict};

/// Judges an error of tokio-postgres; `what` was being done.
#[must_use]
pub fn judged(error: Error, what: impl fmt::Display) -> Failed {
    judge(error).context(what)
}

/// The same without a context.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the error ends here, and map_err hands it over by value"
)]
pub(super) fn judge(error: Error) -> Failed {
    match error.as_db_error() {
        Some(answer) => said_by_server(answer),
        None => on_the_way(&error),
    }
}

/// The SQLSTATE's verdict.
fn verdict(code: &str) -> Verdict {
    match code {
        // Reserved and read-only: a hot standby, or a role that may not connect now.
        "3D000" | "25006" | "53300" | "42501" => Verdict::Config,
        "57P03" => Verdict::Network,
        code if code.starts_with("28") => Verdict::Refused,
        code if code.starts_with("08") => Verdict::Network,
        _ => Verdict::Failed,
    }
}

fn said_by_server(answer: &DbError) -> Failed {
    let code = answer.code().code();
    let mut message = said(answer.message());
    if let Some(detail) = answer.detail() {
        message = format!("{message}: {}", said(detail));
    }
    let failed = Failed::new(verdict(code), format!("{message} (SQLSTATE {code})"));
    match remedy(code, answer.message()).map_or_else(|| answer.hint().map(said), Some) {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// What to do, where the code alone tells; None leaves it to the server's own hint or to the caller, who knows the names.
fn remedy(code: &str, message: &str) -> Option<String> {
    let text = match code {
        "28P01" => {
            "the server did not accept the password: check `user` and `password` of this database"
        }
        "28000" if message.contains("pg_hba.conf") => {
            "add a line for this user, database and address to the server's pg_hba.conf, then `select pg_reload_conf()`; \
             databases of a restore are named `<name>_new_…`, so the database column wants `all` or a pattern (`/^erp`, from PostgreSQL 16)"
        }
        "28000" => {
            "check `user` of this database: whether the role exists, may log in, and by which method"
        }
        "3D000" => "check `name` and `maintenance_database` of this database",
        "25006" => "the server is a hot standby or read-only: point `host` at the primary",
        "53300" => {
            "the server has no free connection: raise max_connections, lower `jobs`, or give the role CONNECTION LIMIT -1"
        }
        "53100" => "free space on the database server, or set `drop_previous = \"before-load\"`",
        "57P03" => "the server is starting, stopping or in recovery: try again",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Errors that no server has put into words: sockets, TLS, a peer that speaks something else.
fn on_the_way(error: &Error) -> Failed {
    let kind = error.to_string();
    let cause = error
        .source()
        .map_or_else(|| kind.clone(), |cause| said(&cause.to_string()));
    if kind.contains("TLS handshake") {
        return tls_failed(error, &cause);
    }
    if let Some(failed) = error.source().and_then(io_error) {
        return failed;
    }
    if kind.contains("invalid configuration") {
        return Failed::new(Verdict::Config, "the server asks for a password")
            .hint("set `password` of this database, or let the server trust another method");
    }
    if kind.contains("authentication error") {
        return Failed::new(Verdict::Refused, format!("authentication: {cause}"));
    }
    if error.is_closed() {
        return Failed::new(Verdict::Network, "the connection was closed");
    }
    if kind.contains("unexpected message") || kind.contains("parsing response") {
        return Failed::new(Verdict::Network, format!("{kind}: {cause}")).hint(
            "check `host` and `port`: what answers there does not speak PostgreSQL's protocol",
        );
    }
    Failed::new(Verdict::Bug, format!("{kind}: {cause}"))
}

fn tls_failed(error: &Error, cause: &str) -> Failed {
    let cut = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|io| io.get_ref().is_none() || io.kind() == io::ErrorKind::UnexpectedEof);
    if cut {
        return Failed::new(Verdict::Network, format!("TLS: {cause}"));
    }
    Failed::new(Verdict::Refused, format!("TLS: {cause}")).hint(
        "check `sslmode` and `sslrootcert`; a certificate needs the host's name as subjectAltName, \
         and `openssl s_client -starttls postgres -connect HOST:PORT -showcerts` shows what the server presents",
    )
}

fn io_error(source: &(dyn std::error::Error + 'static)) -> Option<Failed> {
    let io = source.downcast_ref::<io::Error>()?;
    let message = said(&io.to_string());
    Some(match io.kind() {
        io::ErrorKind::PermissionDenied => Failed::new(Verdict::Config, message)
            .hint("check the permissions of the socket directory, or the firewall"),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failed::new(Verdict::Network, message)
                .hint("is the server running, and are `host` and `port` right?")
        }
        _ => Failed::new(Verdict::Network, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_login_is_refused_for_is_refused_and_what_is_down_is_network() {
        for (code, expected) in [
            ("28P01", Verdict::Refused),
            ("28000", Verdict::Refused),
            ("3D000", Verdict::Config),
            ("57P03", Verdict::Network),
            ("08006", Verdict::Network),
            ("53300", Verdict::Config),
            ("53100", Verdict::Failed),
            ("42501", Verdict::Config),
            ("57014", Verdict::Failed),
            ("42P01", Verdict::Failed),
        ] {
            assert_eq!(verdict(code), expected, "{code}");
        }
    }
}
