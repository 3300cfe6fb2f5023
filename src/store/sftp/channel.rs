//! From a login to a speaking SFTP session.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use russh::ChannelMsg;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use tokio::time::timeout;

use super::Connection;
use super::connect::{Ssh, ended};
use super::host_key::Seen;
use super::recorded::{First, Recorded};
use crate::store::exact::Arrived;
use crate::store::{Kind, StoreError};

/// What a server without `limits@openssh.com` must serve at once (draft-ietf-secsh-filexfer-02, section 3).
const ALWAYS_SERVED: u32 = 32 * 1024;

/// What a packet carries besides its data, and more than that.
const PACKET_OVERHEAD: u32 = 1024;

/// The largest packet we take.
const LONGEST_PACKET: u32 = 256 * 1024;

/// What [`longest_read`] asks for.
pub type LongestRead = Shared<BoxFuture<'static, u32>>;

/// Starts the subsystem on a new channel and agrees on the protocol's version.
pub async fn start_sftp(
    ssh: Ssh,
    seen: Arc<Mutex<Seen>>,
    patience: Duration,
) -> Result<Connection, StoreError> {
    let opening = timeout(patience, open_channel(&ssh, &seen)).await;
    let stream = opening.map_err(|_| silent("opening a channel", patience))??;
    let (first, arrived) = (First::default(), Arrived::default());
    let stream = Recorded::new(stream, first.clone(), Arc::clone(&arrived));
    let sftp = RawSftpSession::new_with_config(stream, sftp_config());
    let greeted = timeout(patience, greet(&sftp)).await;
    let has_limits = greeted
        .map_err(|_| no_sftp(&first, &seen, "it said nothing"))?
        .map_err(|_| no_sftp(&first, &seen, "it ended at once"))?;
    let sftp = Arc::new(sftp);
    let longest_read = longest_read(&sftp, has_limits);
    Ok(Connection {
        sftp,
        ssh,
        seen,
        arrived,
        longest_read,
    })
}

/// Requests have no timeout of their own, which would count from queuing: every wait here has its own deadline.
fn sftp_config() -> Config {
    Config {
        max_packet_len: LONGEST_PACKET,
        request_timeout_secs: 7 * 24 * 3600,
        ..Config::default()
    }
}

async fn open_channel(
    ssh: &Ssh,
    seen: &Mutex<Seen>,
) -> Result<russh::ChannelStream<russh::client::Msg>, StoreError> {
    let lost = |error: russh::Error| ended("the server opens no channel", &error, seen);
    let mut channel = ssh.channel_open_session().await.map_err(lost)?;
    channel
        .request_subsystem(true, "sftp")
        .await
        .map_err(lost)?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(channel.into_stream()),
            Some(ChannelMsg::Failure) => {
                return Err(StoreError::new(Kind::Config, "the server has no SFTP subsystem")
                    .hint("enable SFTP for this user on the server (sshd_config: `Subsystem sftp internal-sftp`)"));
            }
            Some(ChannelMsg::Close | ChannelMsg::Eof) | None => {
                return Err(ended("start SFTP", &russh::Error::Disconnect, seen));
            }
            Some(_) => {}
        }
    }
}

/// Returns whether the server states its limits.
async fn greet(sftp: &RawSftpSession) -> Result<bool, SftpError> {
    let version = sftp.init().await?;
    Ok(version.extensions.contains_key("limits@openssh.com"))
}

/// Asks for the limits, without waiting: the answer comes on the way of whatever is asked next.
fn longest_read(sftp: &Arc<RawSftpSession>, has_limits: bool) -> LongestRead {
    if !has_limits {
        return ready(ALWAYS_SERVED).boxed().shared();
    }
    let sftp = Arc::clone(sftp);
    let asked = tokio::spawn(async move { sftp.limits().await.map(Limits::from) });
    let served = |answer| match answer {
        Ok(Ok(limits)) => served_at_once(&limits),
        // The next request meets the same trouble, and tells it.
        _ => ALWAYS_SERVED,
    };
    asked.map(served).boxed().shared()
}

fn served_at_once(limits: &Limits) -> u32 {
    let stated = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let packet = limits.packet_len.map_or(LONGEST_PACKET, stated);
    let read = limits.read_len.map_or(ALWAYS_SERVED, stated);
    read.min(packet.min(LONGEST_PACKET).saturating_sub(PACKET_OVERHEAD))
        .max(1)
}

/// SFTP's first byte is the upper one of a length, so never a letter.
fn no_sftp(first: &First, seen: &Mutex<Seen>, otherwise: &str) -> StoreError {
    match (first.bytes().first(), first.shown()) {
        (Some(byte), Some(text)) if *byte != 0 => StoreError::new(
            Kind::Config,
            format!("the server sent text where SFTP begins: `{text}`"),
        )
        .hint("on the server, let the user's shell print nothing where it is not interactive (.bashrc), or use `internal-sftp`"),
        _ => ended(&format!("the server starts SFTP, but {otherwise}"), &russh::Error::Disconnect, seen),
    }
}

fn silent(what: &str, patience: Duration) -> StoreError {
    let seconds = patience.as_secs_f32();
    StoreError::new(
        Kind::Interrupted,
        format!("{what}: no answer for {seconds} seconds"),
    )
}
