//! A POST to a URL: TLS that is proven, bounded attempts, and no way to anywhere else.
//!
//! Redirects are followed nowhere: the body is for who was configured. Of the URL only scheme, host and port are ever told. There is no
//! proxy, and none is taken from the environment, which is another one under cron than by hand.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dial::{addresses, dial, stays_here};
use super::tls::{Peer, tls};
use crate::config::Endpoint;
use crate::escape::said;
use crate::secret::Secret;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// How long and how often a server is tried.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All attempts and the waits between them.
    pub total: Duration,
    /// From the look-up of the name to the answer's first line.
    pub attempt: Duration,
    pub attempts: u32,
    /// Doubles after each attempt.
    pub first_wait: Duration,
}

/// Those of every run.
pub const BOUNDS: Bounds = Bounds {
    total: Duration::from_secs(30),
    attempt: Duration::from_secs(10),
    attempts: 3,
    first_wait: Duration::from_secs(1),
};
/// For what a server says about a refusal.
const WORDS_IN: Duration = Duration::from_secs(2);
const WORDS: usize = 500;
const ANSWER_BYTES: usize = 64 * 1024;

/// Where something is sent, and the settings that this comes from.
#[derive(Debug, Clone)]
pub struct Way {
    pub endpoint: Endpoint,
    pub ca_file: Option<std::path::PathBuf>,
    /// `notify.webhook.url`.
    pub setting: String,
}

/// What is sent.
#[derive(Debug)]
pub struct Message {
    pub content_type: &'static str,
    pub headers: Vec<(String, Secret)>,
    pub body: String,
}

/// Sends it, again where that may help, and gives the answer's first line: `200 OK`.
///
/// # Errors
/// `network` where it could not be delivered in time, `refused` where the certificate or the message wasn't accepted, `config`.
pub async fn post(way: &Way, message: &Message, bounds: Bounds) -> Outcome<String> {
    let until = Instant::now() + bounds.total;
    let mut wait = bounds.first_wait;
    let mut made = 1;
    loop {
        let deadline = until.min(Instant::now() + bounds.attempt);
        let tried = timeout_at(deadline, attempt(way, message)).await;
        let failed = match tried.unwrap_or_else(|_| Err(too_slow(bounds.attempt))) {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let is_over = made == bounds.attempts || Instant::now() + wait >= until;
        if failed.verdict != Verdict::Network || is_over {
            return Err(after(made, failed));
        }
        let origin = way.endpoint.origin();
        tracing::warn!(attempt = made, "{origin}: {}", failed.message());
        // Many runs begin and end at the full hour.
        sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        (made, wait) = (made + 1, wait * 2);
    }
}

/// Goes as far as the TLS handshake, and sends nothing.
///
/// # Errors
/// As a POST would fail before it.
pub async fn shake_hands(way: &Way) -> Outcome<()> {
    let work = async {
        if let Connected::Encrypted(mut stream) = connect(way).await? {
            // It is proven by now; how it is closed changes nothing.
            let _ = stream.shutdown().await;
        }
        Ok(())
    };
    let limit = BOUNDS.attempt;
    let shaken = timeout(limit, work).await;
    shaken.unwrap_or_else(|_| Err(too_slow(limit)))
}

fn too_slow(limit: Duration) -> Failed {
    Failed::new(Verdict::Network, format!("no answer within {limit:?}"))
        .hint("is the server up, and does the firewall let this machine reach it?")
}

fn after(attempts: u32, failed: Failed) -> Failed {
    if attempts == 1 {
        return failed;
    }
    failed.context(format!("gave up after {attempts} attempts"))
}

enum Connected {
    Clear(TcpStream),
    Encrypted(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn connect(way: &Way) -> Outcome<Connected> {
    let Way {
        endpoint, setting, ..
    } = way;
    let host = endpoint.host();
    let found = addresses(&host, endpoint.port()).await;
    let found = found.hint(format!("is the host in `{setting}` right?"))?;
    if !endpoint.is_tls() && !stays_here(&found) {
        return Err(
            Failed::new(Verdict::Config, "http:// goes to this machine only")
                .hint(format!("write https:// in `{setting}`")),
        );
    }
    let stream = dial(&found).await;
    let stream = stream.hint(format!(
        "are host and port in `{setting}` right, and does the firewall let this machine there?"
    ))?;
    if !endpoint.is_tls() {
        return Ok(Connected::Clear(stream));
    }
    let ca_setting = ca_setting(setting);
    let peer = Peer {
        host: &host,
        ca_file: way.ca_file.as_deref().map(Path::new),
        host_setting: setting,
        ca_setting: &ca_setting,
        otherwise: "is it https:// that is spoken on this port?",
    };
    let stream = tls(peer, stream).await?;
    Ok(Connected::Encrypted(Box::new(stream)))
}

/// A job's own ping has no authority of its own either.
fn ca_setting(setting: &str) -> String {
    let table = setting
        .rsplit_once('.')
        .map_or("notify", |(table, _)| table);
    match table {
        "notify.webhook" => "notify.webhook.ca_file".to_owned(),
        _ => "notify.ca_file".to_owned(),
    }
}

async fn attempt(way: &Way, message: &Message) -> Outcome<String> {
    let request = request(way, message)?;
    match connect(way).await? {
        Connected::Clear(stream) => exchange(stream, request).await,
        Connected::Encrypted(stream) => exchange(stream, request).await,
    }
}

fn request(way: &Way, message: &Message) -> Outcome<hyper::Request<Full<Bytes>>> {
    let endpoint = &way.endpoint;
    let mut request = hyper::Request::post(endpoint.target())
        .header(HOST, endpoint.authority())
        .header(USER_AGENT, concat!("backupctl/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, message.content_type)
        .header(CONNECTION, "close");
    for (name, value) in &message.headers {
        let bad = || {
            let told = format!("the secret for the header `{name}` can't stand in one");
            Failed::new(Verdict::Config, told)
                .hint("it must be one line, of letters, digits and ASCII signs")
        };
        let name = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::copy_from_slice(message.body.as_bytes()));
    // Nothing of the URL may be told, so the cause is not.
    request.body(body).map_err(|_| {
        Failed::new(
            Verdict::Config,
            format!("`{}` makes no HTTP request", way.setting),
        )
    })
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: hyper::Request<Full<Bytes>>,
) -> Outcome<String> {
    let handshake = http1::Builder::new()
        .max_buf_size(ANSWER_BYTES)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.judge(Verdict::Network, "speak HTTP")?;
    let answer = async {
        let answer = sender.send_request(request).await;
        judged(answer.judge(Verdict::Network, "wait for the answer")?).await
    };
    tokio::pin!(answer);
    // The connection moves the bytes; the answer waits for them.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

async fn judged(answer: Response<Incoming>) -> Outcome<String> {
    let status = answer.status();
    if status.is_success() {
        return Ok(in_words(status));
    }
    if status.is_redirection() {
        let told = format!("it answered {}, which leads elsewhere", in_words(status));
        return Err(Failed::new(Verdict::Refused, told)
            .hint("redirects are not followed: configure the URL that it leads to"));
    }
    let words = timeout(WORDS_IN, words(answer)).await.unwrap_or_default();
    let colon = if words.is_empty() { "" } else { ": " };
    let told = format!("it answered {}{colon}{words}", in_words(status));
    let may_pass = status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
    Err(if may_pass {
        Failed::new(Verdict::Network, told)
    } else {
        Failed::new(Verdict::Refused, told)
            .hint("is the URL still right, and the secret of its headers?")
    })
}

fn in_words(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", status.as_u16())
        .trim_end()
        .to_owned()
}

/// The beginning of what it says, in one line.
async fn words(answer: Response<Incoming>) -> String {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    let mut is_whole = false;
    while bytes.len() <= WORDS && !is_whole {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break,
            None => is_whole = true,
        }
    }
    beginning(&String::from_utf8_lossy(&bytes), is_whole)
}

/// Ends with a whole word: half of a secret is none that anybody would take out.
fn beginning(text: &str, is_whole: bool) -> String {
    if is_whole && text.chars().nth(WORDS).is_none() {
        return said(text);
    }
    let cut: String = text.chars().take(WORDS).collect();
    let end = cut.rfind(char::is_whitespace).unwrap_or(0);
    said(&cut[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_ends_with_a_whole_word() {
        assert_eq!(beginning("no such hook", true), "no such hook");
        assert_eq!(
            beginning("no such hook: https://hooks.exa", false),
            "no such hook:"
        );
        let long = format!(
            "{} https://hooks.example.org/canary",
            "x".repeat(WORDS - 12)
        );
        assert!(!beginning(&long, true).contains("hooks"), "{long}");
        assert_eq!(beginning(&"x".repeat(WORDS + 1), true), "");
    }
}
