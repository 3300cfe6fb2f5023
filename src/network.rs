//! Is what a job needs reachable, and how patiently is something tried again.
//!
//! Only a TCP connect (or a look at the socket): what speaks there is found out by the step that talks to it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use crate::config::{Network, format_duration};
use crate::escape::shown;
use crate::run::Run;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Something that must answer before the work starts.
#[derive(Debug, Clone)]
pub struct Target {
    /// The setting it comes from: `stores.office`.
    pub setting: String,
    pub address: Address,
    /// Whether the job can't go on without it. A mail server that is away must not keep the data from being refreshed.
    pub required: bool,
}

#[derive(Debug, Clone)]
pub enum Address {
    Tcp(String, u16),
    Socket(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Waits, within bounds, until every required target answers.
///
/// # Errors
/// `network`: a required target stayed unreachable.
pub async fn reachable(targets: &[Target], network: &Network, run: &Run) -> Outcome<()> {
    let mut answered = Vec::new();
    for target in targets {
        if target.required {
            let mut patience = Patience::new(network);
            while let Err(failed) = knock(target, network.timeout).await {
                patience.wait_after(failed, run).await?;
            }
        } else if let Err(failed) = knock(target, network.timeout).await {
            run.notes.warn(format!(
                "can't {}; the run goes on without it",
                failed.message()
            ));
            continue;
        }
        answered.push(target.address.to_string());
    }
    run.notes.message(answered.join(", "));
    Ok(())
}

/// Whether the name has an address; a socket needs none.
///
/// # Errors
/// `network`: the resolver knows none, or does not answer.
pub async fn look_up(target: &Target, patience: Duration) -> Outcome<Vec<IpAddr>> {
    let Address::Tcp(host, port) = &target.address else {
        return Ok(Vec::new());
    };
    let what = format!("look up `{}` ({})", shown(host), target.setting);
    let found = timeout(patience, lookup_host((host.as_str(), *port))).await;
    match found {
        Ok(addresses) => addresses
            .judge(Verdict::Network, what)
            .map(|all| all.map(|address| address.ip()).collect()),
        Err(_) => Err(Failed::new(
            Verdict::Network,
            format!("{what}: no answer within {}", format_duration(patience)),
        )),
    }
    .hint(format!(
        "is the name in `{}` right, and does the resolver work (/etc/resolv.conf)?",
        target.setting
    ))
}

/// Whether somebody answers there.
///
/// # Errors
/// `network`.
pub async fn knock(target: &Target, patience: Duration) -> Outcome<()> {
    let what = format!("reach {} ({})", target.address, target.setting);
    let connected = match &target.address {
        Address::Tcp(host, port) => timeout(patience, TcpStream::connect((host.as_str(), *port)))
            .await
            .map(|r| r.map(drop)),
        Address::Socket(path) => timeout(patience, UnixStream::connect(path))
            .await
            .map(|r| r.map(drop)),
    };
    match connected {
        Ok(result) => result.judge(Verdict::Network, what),
        Err(_) => Err(Failed::new(
            Verdict::Network,
            format!("{what}: no answer within {}", format_duration(patience)),
        )),
    }
    .map_err(|failed| {
        failed.hint(format!(
            "is it up, and are host and port in `{}` right?",
            target.setting
        ))
    })
}

/// A bounded number of attempts with growing waits between them.
#[derive(Debug)]
pub struct Patience {
    attempts: u32,
    made: u32,
    wait: Duration,
    first_wait: Duration,
}

impl Patience {
    #[must_use]
    pub fn new(network: &Network) -> Self {
        Self {
            attempts: network.attempts,
            made: 1,
            wait: network.wait,
            first_wait: network.wait,
        }
    }

    /// An attempt that moved bytes doesn't count against `attempts`.
    pub fn refill(&mut self) {
        self.made = 1;
        self.wait = self.first_wait;
    }

    /// Waits before the next attempt, or gives the failure back: when attempts are used up, and at once for
    /// whatever a retry can't mend.
    ///
    /// # Errors
    /// `failed` itself.
    pub async fn wait_after(&mut self, failed: Failed, run: &Run) -> Outcome<()> {
        if failed.verdict != Verdict::Network {
            return Err(failed);
        }
        if self.made >= self.attempts {
            let times = if self.made == 1 {
                "attempt"
            } else {
                "attempts"
            };
            return Err(failed
                .context(format!("gave up after {} {times}", self.made))
                .hint("look at the link and at the server's own log; the next run tries again"));
        }
        let wait = self.wait.mul_f64(rand::random_range(0.5..1.0));
        tracing::warn!(
            attempt = self.made,
            of = self.attempts,
            "{}; next attempt in {}",
            failed.message(),
            format_duration(wait)
        );
        run.progress.note(&format!(
            "attempt {} of {} failed, waiting",
            self.made, self.attempts
        ));
        tokio::time::sleep(wait).await;
        self.made += 1;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }
}
