//! An HTTPS server on loopback with its own certificate authority, as a webhook or a dead man's switch has: it records what it is sent, and
//! answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use super::smtp::make_certificates;

const DEADLINE: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this body.
    Status(u16, &'static str),
    /// A 302 to there.
    Redirect(String),
    /// Nothing, until the server ends.
    Hang,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What the query says of `rid`.
    pub fn rid(&self) -> &str {
        self.target.split_once("rid=").map_or("", |(_, rid)| rid)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    replies: VecDeque<Reply>,
    connections: usize,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server on 127.0.0.1; it ends on drop.
#[derive(Debug)]
pub struct Hook {
    pub port: u16,
    scheme: &'static str,
    directory: TempDir,
    shared: Arc<Shared>,
}

impl Hook {
    pub fn start() -> Self {
        Self::start_for("DNS:localhost,IP:127.0.0.1")
    }

    /// With a certificate for these names, as openssl writes them.
    pub fn start_for(names: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for certificates");
        make_certificates(directory.path(), names);
        let pem = |name: &str| directory.path().join(name);
        let chain = CertificateDer::pem_file_iter(pem("server.pem")).expect("a certificate");
        let chain = chain.collect::<Result<_, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(pem("server.key")).expect("its key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        Self::serve(directory, "https", Some(Arc::new(config)))
    }

    /// Without TLS.
    pub fn in_clear() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::serve(directory, "http", None)
    }

    fn serve(directory: TempDir, scheme: &'static str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared::default());
        let server = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if server.lock().is_over {
                    return;
                }
                let (shared, tls) = (server.clone(), tls.clone());
                let stream = stream.expect("a connection");
                // A client that hangs up in the middle is one of the cases.
                thread::spawn(move || drop(answer(stream, tls, &shared)));
            }
        });
        Self {
            port,
            scheme,
            directory,
            shared,
        }
    }

    /// The certificate authority that signed the server's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// All of it that may be shown.
    pub fn origin(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.origin())
    }

    /// The answers to the next requests; after them it is 200 again.
    pub fn reply(&self, replies: &[Reply]) {
        self.shared.lock().replies = replies.iter().cloned().collect();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// The paths of all requests, in order.
    pub fn paths(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().map(|r| r.path().to_owned()).collect()
    }

    /// The requests, as soon as there are `count` of them.
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        let until = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        while state.requests.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{count} requests, not {:?}",
                state.requests
            );
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.requests.clone()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        // Wakes the thread that waits for a connection; where it has ended already, all is well.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    shared: &Shared,
) -> std::io::Result<()> {
    shared.lock().connections += 1;
    stream.set_read_timeout(Some(DEADLINE))?;
    match tls {
        None => talk(stream, shared),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
            talk(StreamOwned::new(connection, stream), shared)
        }
    }
}

fn talk(stream: impl Read + Write, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream)?;
    let reply = {
        let mut state = shared.lock();
        state.requests.push(request);
        shared.changed.notify_all();
        state.replies.pop_front()
    };
    let text = match reply.unwrap_or(Reply::Status(200, "OK")) {
        Reply::Status(status, body) => format!(
            "HTTP/1.1 {status} \r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        Reply::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
        Reply::Hang => {
            let over = shared.changed.wait_while(shared.lock(), |s| !s.is_over);
            drop(over);
            return Ok(());
        }
    };
    stream.get_mut().write_all(text.as_bytes())?;
    stream.get_mut().flush()
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines[0].split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Request {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers,
        body: String::from_utf8(body).expect("a body in UTF-8"),
    })
}
