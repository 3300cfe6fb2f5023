//! A TCP connection and the key exchange over it, each within its time, with the host key checked on the way.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, client, kex, mac};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::host_key::{Checker, Seen};
use super::recorded::{First, Recorded};
use crate::config::Sftp;
use crate::escape::shown;
use crate::store::exact::Arrived;
use crate::store::{Kind, StoreError};

/// An SSH connection.
pub type Ssh = client::Handle<Checker>;

/// Addresses of one name that are tried, each for the whole timeout.
const MOST_ADDRESSES: usize = 8;

/// Credit for the other side, not memory: what is outstanding is what the reader asked for.
/// Twice what is ever under way, since it is renewed only when half of it is used up.
const WINDOW: u32 = 64 * 1024 * 1024;

/// The longest packet of the connection below SFTP; the largest that russh lets pass without a complaint.
const PACKET: u32 = 65_535;

/// Packets that wait between the connection's task and SFTP's.
const PACKETS_HANDED_OVER: usize = 16;

/// Read from the socket at once: a packet's length and its content are read apart, and each read is a system call.
const SOCKET_BUFFER: usize = 256 * 1024;

/// Connects to a host whose key is known or pinned.
pub async fn trusted(
    name: &str,
    sftp: &Sftp,
    patience: Duration,
) -> Result<(Ssh, Arc<Mutex<Seen>>), StoreError> {
    let seen = Arc::default();
    let checker = Checker::new(name, sftp, Arc::clone(&seen));
    let mut offered = host_key_algorithms(&checker.known_algorithms(), sftp.legacy_algorithms);
    let first = connect(sftp, checker, &offered, patience).await;
    let mut failure = match first {
        Ok(ssh) => return Ok((ssh, seen)),
        Err(error) => error,
    };
    // A pin says nothing about the key's type: a server with several keys is asked for each before the pin counts as missed.
    while sftp.host_key.is_some() && failure.kind == Kind::Refused {
        let presented = locked(&seen).key.take();
        let Some(presented) = presented else { break };
        offered.retain(|algorithm| key_type(algorithm) != presented.algorithm);
        if offered.is_empty() {
            break;
        }
        let checker = Checker::new(name, sftp, Arc::clone(&seen));
        match connect(sftp, checker, &offered, patience).await {
            Ok(ssh) => return Ok((ssh, seen)),
            Err(error) if error.kind == Kind::Refused && locked(&seen).key.is_some() => {
                failure = error;
            }
            // It has no key of another type: the first refusal is the one to tell.
            Err(error) if error.kind == Kind::Refused => break,
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

/// One connection, up to the end of the key exchange.
pub async fn connect(
    sftp: &Sftp,
    checker: Checker,
    host_keys: &[Algorithm],
    patience: Duration,
) -> Result<Ssh, StoreError> {
    let seen = checker.seen();
    let tcp = reach(&sftp.host, sftp.port, patience).await?;
    let config = Arc::new(ssh_config(host_keys, sftp.legacy_algorithms, patience));
    let first = First::default();
    let stream = BufReader::with_capacity(SOCKET_BUFFER, tcp);
    let stream = Recorded::new(stream, first.clone(), Arrived::default());
    let exchange = client::connect_stream(config, stream, checker);
    tokio::pin!(exchange);
    // The banner has its own deadline, and the key exchange another one.
    let done = match timeout(patience, &mut exchange).await {
        Err(_) if first.shown().is_some() => timeout(patience, exchange).await,
        ended => ended,
    };
    match done {
        Ok(Ok(ssh)) => Ok(ssh),
        Ok(Err(error)) => Err(explained(error, &first, &seen)),
        Err(_) => Err(too_slow(&first, patience)),
    }
}

/// Every address of the name, in the resolver's order.
async fn reach(host: &str, port: u16, patience: Duration) -> Result<TcpStream, StoreError> {
    let found = timeout(patience, tokio::net::lookup_host((host, port))).await;
    let host = shown(host);
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.take(MOST_ADDRESSES).collect(),
        Ok(Err(error)) => return Err(unreachable(format!("look up `{host}`: {error}"))),
        Err(_) => return Err(unreachable(format!("look up `{host}`: no answer in time"))),
    };
    let mut failures = Vec::new();
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // Only speed is lost where this fails.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer for {}", seconds(patience))),
        }
    }
    Err(unreachable(format!(
        "connect to `{host}`: {}",
        failures.join(", ")
    )))
}

fn unreachable(message: String) -> StoreError {
    StoreError::new(Kind::Unreachable, message)
}

fn seconds(patience: Duration) -> String {
    format!("{} seconds", patience.as_secs_f32())
}

fn ssh_config(host_keys: &[Algorithm], legacy: bool, patience: Duration) -> client::Config {
    client::Config {
        preferred: preferred(host_keys, legacy),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: PACKETS_HANDED_OVER,
        nodelay: true,
        keepalive_interval: Some(patience),
        keepalive_max: 3,
        // Above the keepalives: it ends what hangs before they begin, and writes that nobody takes.
        inactivity_timeout: Some(patience * 5),
        ..client::Config::default()
    }
}

/// The host key algorithms we accept; those of keys that are known come first, or a right key would look wrong.
pub fn host_key_algorithms(known: &[String], legacy: bool) -> Vec<Algorithm> {
    let rsa = |hash| Algorithm::Rsa { hash };
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let mut all = vec![
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(Some(HashAlg::Sha512)),
        rsa(Some(HashAlg::Sha256)),
    ];
    if legacy {
        all.push(rsa(None));
    }
    all.sort_by_key(|algorithm| !known.contains(&key_type(algorithm)));
    all
}

/// The key type of an algorithm: an RSA key is `ssh-rsa`, whatever hash it signs with.
fn key_type(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// Fast and safe ones first; strict key exchange (CVE-2023-48795) is kept. `legacy` adds what uses SHA-1 or CBC.
fn preferred(host_keys: &[Algorithm], legacy: bool) -> Preferred {
    let mut exchanges = vec![
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
    ];
    exchanges.extend([
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
    ]);
    exchanges.extend([
        kex::DH_GEX_SHA256,
        kex::DH_G18_SHA512,
        kex::DH_G16_SHA512,
        kex::DH_G14_SHA256,
    ]);
    let mut ciphers = ciphers(has_fast_aes());
    let mut macs = vec![
        mac::HMAC_SHA256_ETM,
        mac::HMAC_SHA512_ETM,
        mac::HMAC_SHA256,
        mac::HMAC_SHA512,
    ];
    if legacy {
        exchanges.extend([kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1]);
        ciphers.extend([
            cipher::AES_256_CBC,
            cipher::AES_192_CBC,
            cipher::AES_128_CBC,
        ]);
        macs.extend([mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]);
    }
    exchanges.push(kex::EXTENSION_SUPPORT_AS_CLIENT);
    exchanges.push(kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT);
    Preferred {
        kex: Cow::Owned(exchanges),
        key: Cow::Owned(host_keys.to_vec()),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        ..Preferred::DEFAULT
    }
}

/// By measured speed. Without the processor's help AES is several times slower than ChaCha20, which needs none.
fn ciphers(fast_aes: bool) -> Vec<cipher::Name> {
    let mut ciphers = vec![
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::CHACHA20_POLY1305,
    ];
    if !fast_aes {
        ciphers.rotate_right(1);
    }
    ciphers.extend([
        cipher::AES_128_CTR,
        cipher::AES_192_CTR,
        cipher::AES_256_CTR,
    ]);
    ciphers
}

/// GCM is as slow as its slower half: the cipher and the carry-less product.
fn has_fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl From<russh::Error> for StoreError {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::NoCommonAlgo { kind, ours, theirs } => no_common(&kind, &ours, &theirs),
            russh::Error::WrongServerSig | russh::Error::StrictKeyExchangeViolation { .. } => {
                StoreError::new(Kind::Refused, error)
                    .hint("somebody may be tampering with the connection; try from another network")
            }
            other => StoreError::new(Kind::Interrupted, shown(&other.to_string())),
        }
    }
}

fn no_common(kind: &russh::AlgorithmKind, ours: &[String], theirs: &[String]) -> StoreError {
    let what = match kind {
        russh::AlgorithmKind::Kex => "key exchange",
        russh::AlgorithmKind::Key => "host key",
        russh::AlgorithmKind::Cipher => "cipher",
        russh::AlgorithmKind::Mac => "MAC",
        russh::AlgorithmKind::Compression => "compression",
    };
    let theirs = shown(&theirs.join(", "));
    let message = format!(
        "no common {what} algorithm; the server offers {theirs}; we offer {}",
        ours.join(", ")
    );
    StoreError::new(Kind::Refused, message)
        .hint("update the server; until then, `legacy_algorithms = true` in this store accepts old algorithms (SHA-1)")
}

/// Where the exchange broke off without a verdict of its own, what was seen decides what to say.
fn explained(error: StoreError, first: &First, seen: &Mutex<Seen>) -> StoreError {
    if error.kind == Kind::Refused {
        return error;
    }
    let why = locked(seen)
        .ended
        .clone()
        .unwrap_or_else(|| error.to_string());
    match first.shown() {
        None => unreachable(format!(
            "the server ended the connection without a word: {why}"
        )),
        Some(text) if is_ssh(first) => {
            unreachable(format!("the key exchange with `{text}` broke off: {why}"))
        }
        Some(text) => unreachable(format!("no SSH server answers there; it sent `{text}`"))
            .hint("check the store's `host` and `port`"),
    }
}

fn too_slow(first: &First, patience: Duration) -> StoreError {
    let waited = seconds(patience);
    match first.shown() {
        None => unreachable(format!("the server said nothing for {waited}")),
        Some(_) if is_ssh(first) => unreachable(format!("no key exchange within {waited}")),
        Some(text) => unreachable(format!("no SSH server answers there; it sent `{text}`"))
            .hint("check the store's `host` and `port`"),
    }
}

/// Other lines may precede the version (RFC 4253, section 4.2).
fn is_ssh(first: &First) -> bool {
    let bytes = first.bytes();
    bytes.starts_with(b"SSH-") || bytes.windows(5).any(|window| window == b"\nSSH-")
}

/// A connection that had come about is lost, or was ended by the server with a word.
pub fn ended(doing: &str, error: &russh::Error, seen: &Mutex<Seen>) -> StoreError {
    let why = locked(seen).ended.clone();
    let why = why.unwrap_or_else(|| shown(&error.to_string()));
    StoreError::new(Kind::Interrupted, format!("{doing}: {why}"))
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_known_keys_are_asked_for_first() {
        let first = &host_key_algorithms(&["ssh-rsa".to_owned()], false)[0];
        assert_eq!(key_type(first), "ssh-rsa");
        let first = &host_key_algorithms(&[], false)[0];
        assert_eq!(key_type(first), "ssh-ed25519");
    }

    #[test]
    fn chacha20_comes_first_where_the_processor_knows_no_aes() {
        assert_eq!(ciphers(true)[0], cipher::AES_128_GCM);
        assert_eq!(ciphers(false)[0], cipher::CHACHA20_POLY1305);
        assert_eq!(ciphers(true).len(), ciphers(false).len());
    }

    #[test]
    fn the_window_lasts_while_everything_that_may_be_under_way_arrives() {
        assert!(u64::from(WINDOW / 2) >= super::super::read_ahead::MOST_BYTES);
    }

    #[test]
    fn sha_1_is_offered_only_where_it_is_asked_for() {
        let names = |legacy| {
            let offered = preferred(&host_key_algorithms(&[], legacy), legacy);
            let mut names: Vec<String> =
                offered.key.iter().map(|k| k.as_str().to_owned()).collect();
            names.extend(offered.kex.iter().map(|k| k.as_ref().to_owned()));
            names.extend(offered.mac.iter().map(|m| m.as_ref().to_owned()));
            names
        };
        let old = |name: &String| name.contains("sha1") || name == "ssh-rsa";
        assert!(!names(false).iter().any(old));
        assert_eq!(names(true).iter().filter(|name| old(name)).count(), 6);
        assert!(names(false).contains(&"kex-strict-c-v00@openssh.com".to_owned()));
    }
}
