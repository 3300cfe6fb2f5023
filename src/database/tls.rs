//! TLS to the server by libpq's `sslmode` words, on rustls with aws-lc-rs.
//!
//! `allow`, `prefer` and, without `sslrootcert`, `require` protect from nobody who can answer in the server's place: they don't look at the certificate.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use tokio_postgres::config::SslMode as Wire;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Postgres, SslMode};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// One way of talking to a server; None is clear text.
#[derive(Clone)]
pub struct Attempt {
    pub mode: Wire,
    pub connector: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.mode)
    }
}

/// The ways in, in the order in which libpq tries them.
///
/// # Errors
/// `config`: a certificate or key file is missing, unreadable, or readable by too many.
pub fn attempts(settings: &Postgres) -> Outcome<Vec<Attempt>> {
    let clear = || Attempt {
        mode: Wire::Disable,
        connector: None,
    };
    // As libpq: a Unix socket never uses TLS.
    if settings.host.starts_with('/') || settings.sslmode == SslMode::Disable {
        return Ok(vec![clear()]);
    }
    let connector = MakeRustlsConnect::new(client_config(settings)?);
    let with = |mode| Attempt {
        mode,
        connector: Some(connector.clone()),
    };
    Ok(match settings.sslmode {
        SslMode::Disable => vec![clear()],
        SslMode::Allow => vec![clear(), with(Wire::Require)],
        SslMode::Prefer => vec![with(Wire::Prefer), clear()],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => vec![with(Wire::Require)],
    })
}

/// Whether `allow` and `prefer` go on to their other way: the first one was refused by pg_hba.conf or by the handshake.
pub fn another_way_may_help(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "28000")
        || error.to_string().contains("TLS handshake")
}

fn client_config(settings: &Postgres) -> Outcome<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .judge(Verdict::Bug, "set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(settings, provider)?));
    match (&settings.sslcert, &settings.sslkey) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "sslcert")?;
            builder
                .with_client_auth_cert(chain, private_key(key)?)
                .judge(Verdict::Config, "use `sslcert` with `sslkey`")
        }
        _ => Err(
            Failed::new(Verdict::Config, "`sslcert` and `sslkey` belong together")
                .hint("set both for a client certificate, or neither"),
        ),
    }
}

fn verifier(settings: &Postgres, provider: Arc<CryptoProvider>) -> Outcome<Verifier> {
    let (chain, name) = match (settings.sslmode, &settings.sslrootcert) {
        (SslMode::VerifyFull, _) => (true, true),
        (SslMode::VerifyCa, _) | (SslMode::Require, Some(_)) => (true, false),
        _ => (false, false),
    };
    if !chain {
        return Ok(Verifier {
            inner: None,
            pinned: Vec::new(),
            name: false,
            provider,
        });
    }
    let trusted = trusted(settings)?;
    let mut roots = RootCertStore::empty();
    // A server's own self-signed certificate need not be fit for an authority: it is compared as it is.
    roots.add_parsable_certificates(trusted.iter().cloned());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .judge(Verdict::Config, "use the certificates of `sslrootcert`")?;
    Ok(Verifier {
        inner: Some(inner),
        pinned: trusted,
        name,
        provider,
    })
}

/// The certificates that `sslrootcert` names; the word `system` stands for those of this machine.
fn trusted(settings: &Postgres) -> Outcome<Vec<CertificateDer<'static>>> {
    let Some(path) = &settings.sslrootcert else {
        return Err(Failed::new(
            Verdict::Config,
            "this `sslmode` needs to know whom to trust",
        )
        .hint("set `sslrootcert` to the authority's certificate, or to \"system\" for those of this machine"));
    };
    if path != Path::new("system") {
        return certificates(path, "sslrootcert");
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(Failed::new(
            Verdict::Config,
            "this machine has no certificates that `sslrootcert = \"system\"` could stand for",
        )
        .hint("install the package ca-certificates"));
    }
    Ok(found)
}

fn certificates(path: &Path, setting: &str) -> Outcome<Vec<CertificateDer<'static>>> {
    let what = || format!("read `{setting}` {}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .judge(Verdict::Config, what())?
        .collect::<Result<_, _>>()
        .judge(Verdict::Config, what())?;
    if found.is_empty() {
        return Err(Failed::new(Verdict::Config, "no certificate in it")
            .context(what())
            .hint("the file must hold PEM blocks: -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

/// A key that only its owner reads, or that root owns and shares with one group: libpq's rule.
fn private_key(path: &Path) -> Outcome<PrivateKeyDer<'static>> {
    let what = || format!("read `sslkey` {}", path.display());
    let metadata = std::fs::metadata(path).judge(Verdict::Config, what())?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if !metadata.is_file() || metadata.mode() & forbidden != 0 {
        return Err(Failed::new(
            Verdict::Config,
            format!("mode {:04o} lets others read it", metadata.mode() & 0o7777),
        )
        .context(what())
        .hint(format!("chmod 0600 {}", path.display())));
    }
    PrivateKeyDer::from_pem_file(path)
        .judge(Verdict::Config, what())
        .map_err(|failed| {
            failed.hint("the key must be an unencrypted PEM file: `openssl pkey -in OLD -out NEW`")
        })
}

/// Verifies as much of the server's certificate as `sslmode` asks for.
#[derive(Debug)]
struct Verifier {
    /// None: whatever certificate comes is taken.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Taken as they are, without a chain.
    pinned: Vec<CertificateDer<'static>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: this error says that the chain is good.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            Err(error) if !self.pinned.iter().any(|pinned| pinned == end_entity) => Err(error),
            Err(TlsError::InvalidCertificate(CertificateError::Other(_))) => {
                self.pinned_name(end_entity, server_name)
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match &self.inner {
            Some(inner) => inner.verify_tls12_signature(message, cert, dss),
            // Nobody asked whose key it is, so whether it signed says nothing; and old X.509 v1 certificates can't be read here.
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match &self.inner {
            Some(inner) => inner.verify_tls13_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Verifier {
    /// A self-signed certificate that is itself in `sslrootcert`: trusted as such, so that only its name is left to judge.
    fn pinned_name(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.name {
            let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}
