//! A TCP connection to a server that tells people, by any of its addresses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// For each address of the server.
const CONNECT: Duration = Duration::from_secs(10);

/// All of them, so that the caller can refuse some.
pub(super) async fn addresses(host: &str, port: u16) -> Outcome<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await;
    Ok(found
        .judge(Verdict::Network, "look up its address")?
        .collect())
}

/// Whether what is sent there in clear stays on this machine.
pub(super) fn stays_here(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().is_loopback())
}

/// The first one that answers.
pub(super) async fn dial(addresses: &[SocketAddr]) -> Outcome<TcpStream> {
    let mut last = Failed::new(Verdict::Network, "it has no address");
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                last = Failed::new(Verdict::Network, format!("connect to {address}: {error}"));
            }
            Err(_) => {
                last = Failed::new(
                    Verdict::Network,
                    format!("connect to {address}: no answer within {CONNECT:?}"),
                );
            }
        }
    }
    Err(last)
}
