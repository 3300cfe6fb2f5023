//! A line typed on a terminal, hidden where it is a secret. A signal ends the waiting, and the echo comes back whatever happens.

use std::io::{self, BufRead};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio_util::sync::CancellationToken;

use crate::verdict::{Failed, Judge, Outcome, Signal, Verdict};

/// The next line of stdin, with its end.
///
/// # Errors
/// `interrupted`: `stop` came first; `local`: stdin can't be read.
pub async fn read_line(stop: &CancellationToken) -> Outcome<String> {
    let read = read(stop, || {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    read.await?.judge(Verdict::Local, "read from the terminal")
}

/// All that comes from stdin, where it is no terminal.
///
/// # Errors
/// `interrupted`: `stop` came first; `usage`: stdin can't be read, or is no UTF-8.
pub async fn read_all(stop: &CancellationToken) -> Outcome<String> {
    let read = read(stop, || io::read_to_string(io::stdin().lock()));
    let read = read.await?;
    read.judge(Verdict::Usage, "read the secret from stdin")
}

/// The thread stays behind in its read where nobody waits for it any more; the exit doesn't wait for it either.
async fn read(
    stop: &CancellationToken,
    how: fn() -> io::Result<String>,
) -> Outcome<io::Result<String>> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Failed::new(
            Verdict::Interrupted(Signal::Interrupt),
            "ended by a signal; nothing was changed",
        )),
        read = tokio::task::spawn_blocking(how) => read.judge(Verdict::Bug, "wait for stdin"),
    }
}

/// While it lives, what is typed on stdin's terminal is not shown.
#[derive(Debug)]
pub struct Hidden {
    before: Termios,
}

impl Hidden {
    /// # Errors
    /// `local`: the terminal refuses, and a secret must not be asked for.
    pub fn new() -> Outcome<Self> {
        let what = "hide what is typed on the terminal";
        let before = tcgetattr(io::stdin()).judge(Verdict::Local, what)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        // What was typed ahead was shown, and is no secret.
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).judge(Verdict::Local, what)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that has gone away has nothing to show.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
