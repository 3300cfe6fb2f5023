//! TLS that is proven or refused: the system's authorities and the configured one, and no way around them.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::escape::escaped;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// With whom TLS is spoken, and the settings that mend it where that fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer<'a> {
    /// The name that its certificate must be for.
    pub host: &'a str,
    pub ca_file: Option<&'a Path>,
    pub host_setting: &'a str,
    pub ca_setting: &'a str,
    /// What to do where it isn't about the certificate.
    pub otherwise: &'a str,
}

pub(super) async fn tls(peer: Peer<'_>, stream: TcpStream) -> Outcome<TlsStream<TcpStream>> {
    let name = ServerName::try_from(peer.host.to_owned())
        .judge(Verdict::Config, format!("`{}`", peer.host_setting))?;
    let connector = TlsConnector::from(Arc::new(trust(peer)?));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| untrusted(peer, &error))
}

/// The system's authorities and the configured one.
fn trust(peer: Peer<'_>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = peer.ca_file {
        let what_it_is = format!(
            "`{}` is a PEM file with the certificate of an authority",
            peer.ca_setting
        );
        let found = certificates(file).hint(&what_it_is)?;
        if roots.add_parsable_certificates(found).0 == 0 {
            let told = format!("no certificate in {}", file.display());
            return Err(Failed::new(Verdict::Config, told).hint(what_it_is));
        }
    }
    if roots.is_empty() {
        let problem = "this machine has no certificates of authorities to trust";
        return Err(Failed::new(Verdict::Config, problem)
            .hint("install the package ca-certificates, or set `notify.email.ca_file`"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .judge(Verdict::Bug, "choose TLS versions")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn certificates(file: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .judge(Verdict::Config, format!("read {}", file.display()))
}

fn untrusted(peer: Peer<'_>, error: &io::Error) -> Failed {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let failed = Failed::new(
        Verdict::Refused,
        format!("TLS: {}", escaped(&error.to_string())),
    );
    let (host, ca) = (peer.host_setting, peer.ca_setting);
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Failed::new(
            Verdict::Refused,
            "TLS: the certificate is signed by an authority that this machine doesn't know",
        )
        .hint(format!(
            "for a private authority set `{ca}` to its certificate"
        )),
        Some(rustls::Error::InvalidCertificate(_)) => failed.hint(format!(
            "`{host}` must be a name in the certificate; a private authority belongs into `{ca}`"
        )),
        _ => failed.hint(peer.otherwise),
    }
}

/// A stream that has something to read before what really comes.
#[derive(Debug)]
pub(super) struct Greeted {
    greeting: &'static [u8],
    stream: TlsStream<TcpStream>,
}

impl Greeted {
    pub(super) fn new(greeting: &'static [u8], stream: TlsStream<TcpStream>) -> Self {
        Self { greeting, stream }
    }
}

impl AsyncTokioStream for Greeted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let (now, later) = self
            .greeting
            .split_at(self.greeting.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
