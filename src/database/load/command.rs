//! pg_restore's command line and environment: the login by libpq's variables, the password by a file in memory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Input, Load, list};
use crate::config::{Postgres, SslMode};
use crate::database::connection::Login;
use crate::database::dump::Format;
use crate::process::Command;
use crate::secret::Secret;
use crate::verdict::{Failed, Outcome, Verdict};

/// Where distributions keep the authorities that a machine trusts; libpq before 16 does not know the word `system`.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub fn pg_restore(plan: &Load<'_>) -> Outcome<Command> {
    let mut command = Command::new(&plan.tool.path)?.args([
        "--exit-on-error",
        "--no-subscriptions",
        "--no-password",
        "--dbname",
        &connection_string(plan.target),
    ]);
    if let Some(select) = plan.select {
        command = list::select(command, select)?;
    }
    if plan.in_place {
        command = command.args(["--single-transaction", "--clean", "--if-exists"]);
    } else if parallel(plan) {
        command = command.arg(format!("--jobs={}", plan.jobs));
    }
    let options = plan.login.options(plan.in_place);
    if !options.is_empty() {
        command = command.env("PGOPTIONS", options);
    }
    let command = with_login(command, plan.login)?;
    Ok(match &plan.input {
        Input::File(dump) => command.arg("--").arg(dump),
        // Without a file it reads its standard input.
        Input::Pipe(_) => command,
    })
}

/// Several sessions need a dump in which each of them can seek.
pub fn parallel(plan: &Load<'_>) -> bool {
    let seekable = matches!(plan.input, Input::File(_)) && plan.format != Format::Tar;
    seekable && plan.jobs > 1
}

/// libpq's keyword form, which takes any name.
fn connection_string(database: &str) -> String {
    let mut quoted = String::new();
    for c in database.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    let mut text = format!("dbname='{quoted}'");
    // A dead link is noticed in a minute instead of hours.
    let _ = write!(
        text,
        " keepalives_idle=30 keepalives_interval=10 keepalives_count=3"
    );
    text
}

fn with_login(command: Command, login: &Login) -> Outcome<Command> {
    let Postgres {
        host, port, user, ..
    } = &login.settings;
    let patience = login.timeout.as_secs().max(2);
    let mut command = command
        // No ~/.pgpass, ~/.postgresql or ~/.pg_service.conf changes what happens.
        .env("HOME", "/nonexistent")
        .env("LC_MESSAGES", "C")
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", user)
        .env("PGAPPNAME", &login.application_name)
        .env("PGCONNECT_TIMEOUT", patience.to_string())
        .env("PGGSSENCMODE", "disable")
        .env("PGSSLMODE", word(login.settings.sslmode));
    let files = [
        (
            "PGSSLROOTCERT",
            login.settings.sslrootcert.as_deref().map(authorities),
        ),
        ("PGSSLCERT", login.settings.sslcert.clone()),
        ("PGSSLKEY", login.settings.sslkey.clone()),
    ];
    for (name, file) in files {
        if let Some(file) = file {
            command = command.env(name, file);
        }
    }
    match &login.password {
        Some(password) => command.secret_file("PGPASSFILE", &password_file(password)?),
        None => Ok(command),
    }
}

fn authorities(path: &Path) -> PathBuf {
    if path != Path::new("system") {
        return path.to_owned();
    }
    let found = AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
    found.unwrap_or(path).to_owned()
}

fn word(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Allow => "allow",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}

/// One line for every server: the file is this child's alone.
fn password_file(password: &Secret) -> Outcome<Secret> {
    if password.expose().contains(['\n', '\r', '\0']) {
        let problem = "the database's password holds a line break or NUL, which PostgreSQL's password file can't";
        return Err(Failed::new(Verdict::Config, problem)
            .hint("remove the line break, often one at its end, or choose another password"));
    }
    // Room for everything from the start: a string that grows leaves copies behind that nobody wipes.
    let mut line = String::with_capacity(password.expose().len() * 2 + 16);
    line.push_str("*:*:*:*:");
    for c in password.expose().chars() {
        if matches!(c, '\\' | ':') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('\n');
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_database_name_is_one_value() {
        let text = connection_string(r"it's a=b\c");
        assert!(
            text.starts_with(r"dbname='it\'s a=b\\c' keepalives_idle"),
            "{text}"
        );
    }

    #[test]
    fn a_password_is_escaped_as_the_password_file_wants_it() {
        let line = password_file(&Secret::new(r#"a:b\c $d'"e"#.into())).expect("a line");
        assert_eq!(line.expose(), "*:*:*:*:a\\:b\\\\c $d'\"e\n");
    }

    #[test]
    fn a_password_with_a_line_break_is_a_mistake_in_the_configuration() {
        let failed = password_file(&Secret::new("canary\n".into())).expect_err("a line break");
        assert_eq!(failed.verdict, Verdict::Config);
        assert!(!failed.message().contains("canary"));
    }
}
