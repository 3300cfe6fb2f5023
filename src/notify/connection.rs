//! The way to the mail server: TCP, then TLS that is proven before anything else is said, then the login.
//!
//! STARTTLS is done here and not by lettre, which keeps bytes that came in clear behind the server's answer and later
//! takes them for answers that came encrypted (the class of CVE-2011-0411).

use std::net::SocketAddr;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::{addresses, dial, stays_here};
use super::tls::{Greeted, Peer, tls};
use crate::config::{Email, MailSecurity};
use crate::escape::escaped;
use crate::secret::Secret;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// RFC 5321 allows 512 bytes a line; nobody needs more lines.
const REPLY_BYTES: u64 = 32 * 1024;

/// Connects, proves the server's certificate and logs in. No deadline of its own beyond the TCP connect.
pub(super) async fn open(email: &Email, password: Option<&Secret>) -> Outcome<AsyncSmtpConnection> {
    let login = login(email, password)?;
    let stream = connect(email).await?;
    let name = own_name(&stream);
    let stream: Box<dyn AsyncTokioStream> = match email.security {
        MailSecurity::None => Box::new(stream),
        MailSecurity::Tls => Box::new(Greeted::new(b"", encrypt(email, stream).await?)),
        MailSecurity::StartTls => {
            let stream = starttls(stream, &name).await.hint(
                "check `notify.email.port` and `security`: 587 is `starttls`, 465 is `tls`",
            )?;
            // lettre waits for a greeting, which the server has given before TLS and won't repeat.
            Box::new(Greeted::new(
                b"220 encrypted\r\n",
                encrypt(email, stream).await?,
            ))
        }
    };
    let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &name)
        .await
        .map_err(|error| said("the greeting", &error))?;
    if let Some(login) = login {
        log_in(&mut connection, &login, email).await?;
    }
    Ok(connection)
}

/// What lettre reports, with the server's words where there are any.
pub(super) fn said(what: &str, error: &lettre::transport::smtp::Error) -> Failed {
    let cause =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let cause = escaped(&cause);
    match error.status() {
        Some(code) => Failed::new(
            Verdict::Refused,
            format!("{what} was refused: {code} {cause}"),
        ),
        None => Failed::new(Verdict::Network, format!("{what} failed: {cause}")),
    }
}

fn login(email: &Email, password: Option<&Secret>) -> Outcome<Option<Credentials>> {
    let Some(user) = &email.user else {
        return Ok(None);
    };
    if email.security == MailSecurity::None {
        return Err(Failed::new(Verdict::Config, "a password is never sent without TLS")
            .hint("set `notify.email.security` to `starttls` or `tls`, or remove `user` and `password`"));
    }
    let Some(password) = password else {
        return Err(Failed::new(
            Verdict::Config,
            format!("no password for the mail user `{}`", escaped(user)),
        )
        .hint("set `notify.email.password`"));
    };
    Ok(Some(Credentials::new(
        user.clone(),
        password.expose().to_owned(),
    )))
}

async fn log_in(
    connection: &mut AsyncSmtpConnection,
    login: &Credentials,
    email: &Email,
) -> Outcome<()> {
    if connection
        .server_info()
        .get_auth_mechanism(DEFAULT_MECHANISMS)
        .is_none()
    {
        return Err(Failed::new(
            Verdict::Refused,
            "the mail server offers no login with PLAIN or LOGIN",
        )
        .hint("if it needs no login, remove `notify.email.user` and `password`"));
    }
    let user = email.user.as_deref().unwrap_or_default();
    connection
        .auth(DEFAULT_MECHANISMS, login)
        .await
        .map_err(|error| {
            said(&format!("the login as `{}`", escaped(user)), &error)
                .hint("check `notify.email.user` and the secret of `notify.email.password`")
        })?;
    Ok(())
}

async fn connect(email: &Email) -> Outcome<TcpStream> {
    let addresses = addresses(&email.server, email.port).await?;
    if email.security == MailSecurity::None && !stays_here(&addresses) {
        return Err(Failed::new(
            Verdict::Config,
            "mail goes without TLS to this machine only",
        )
        .hint("set `notify.email.security` to `starttls` or `tls`"));
    }
    let stream = dial(&addresses).await;
    stream.hint("check `notify.email.server`, `port`, and the firewall")
}

/// Speaks TLS with the mail server, whose certificate must be for its configured name.
async fn encrypt(email: &Email, stream: TcpStream) -> Outcome<TlsStream<TcpStream>> {
    let peer = Peer {
        host: &email.server,
        ca_file: email.ca_file.as_deref(),
        host_setting: "notify.email.server",
        ca_setting: "notify.email.ca_file",
        otherwise: "check `notify.email.port` and `security`: 587 is `starttls`, 465 is `tls`",
    };
    tls(peer, stream).await
}

/// This machine's full name, or its address: RFC 5321, section 4.1.4, and what strict servers accept.
fn own_name(stream: &TcpStream) -> ClientId {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let is_full = name.contains('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    match stream.local_addr() {
        _ if is_full => ClientId::Domain(name.into_owned()),
        Ok(SocketAddr::V4(address)) => ClientId::Ipv4(*address.ip()),
        Ok(SocketAddr::V6(address)) => ClientId::Ipv6(*address.ip()),
        Err(_) => ClientId::Domain("localhost".to_owned()),
    }
}

/// Asks for TLS in clear text, and makes sure that nothing in clear text is left when it begins.
async fn starttls(stream: TcpStream, name: &ClientId) -> Outcome<TcpStream> {
    let mut stream = BufReader::new(stream);
    expect(&mut stream, "220").await.context("the greeting")?;
    let offered = ask(&mut stream, &format!("EHLO {name}"), "250").await?;
    if !offered
        .iter()
        .any(|line| line.trim().eq_ignore_ascii_case("STARTTLS"))
    {
        return Err(Failed::new(
            Verdict::Refused,
            "the mail server offers no STARTTLS (or somebody in between removes it), so nothing was sent",
        ));
    }
    ask(&mut stream, "STARTTLS", "220").await?;
    if !stream.buffer().is_empty() {
        return Err(Failed::new(
            Verdict::Refused,
            "more bytes in clear text followed the answer to STARTTLS: somebody may sit in between; nothing was sent",
        ));
    }
    Ok(stream.into_inner())
}

async fn ask(stream: &mut BufReader<TcpStream>, command: &str, code: &str) -> Outcome<Vec<String>> {
    let line = format!("{command}\r\n");
    stream
        .write_all(line.as_bytes())
        .await
        .judge(Verdict::Network, command)?;
    expect(stream, code).await.context(command)
}

/// The lines of one reply without their code, if the code is the expected one.
async fn expect(stream: &mut BufReader<TcpStream>, code: &str) -> Outcome<Vec<String>> {
    let mut lines = Vec::new();
    let mut limited = stream.take(REPLY_BYTES);
    loop {
        let mut line = Vec::new();
        limited
            .read_until(b'\n', &mut line)
            .await
            .judge(Verdict::Network, "read the answer")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        if !line.ends_with('\n') {
            return Err(Failed::new(
                Verdict::Network,
                "the connection was closed in the middle of an answer",
            ));
        }
        let line = line.trim_end();
        let text = line
            .strip_prefix(code)
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '-']));
        let Some(text) = text else {
            return Err(Failed::new(
                Verdict::Refused,
                format!("the mail server said: {}", escaped(line)),
            ));
        };
        lines.push(text.get(1..).unwrap_or_default().to_owned());
        if !text.starts_with('-') {
            return Ok(lines);
        }
    }
}
