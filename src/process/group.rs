//! A child's process group and the thread that keeps it: forked there, waited for there, reaped only when nobody needs its id.
//!
//! As long as the child is not reaped its id cannot be given to another process, so a signal can't hit a stranger.

use std::convert::Infallible;
use std::io;
use std::process::{ChildStderr, ChildStdout, Command as StdCommand};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::oneshot;

use super::Ended;

/// Between the signal that asks it to end, SIGTERM mostly, and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// A process group that ends when this value is dropped, unless its leader has ended before.
#[derive(Debug)]
pub struct Group {
    id: Pid,
    exit: oneshot::Receiver<Ended>,
    ended: Option<Ended>,
    /// What asks it to end.
    end: Signal,
    /// Dropped: the keeper may reap the child.
    hold: Option<mpsc::Sender<Infallible>>,
}

type Started = (Group, ChildStdout, ChildStderr);

/// Forks on a thread of its own, which stays until the child is reaped: a death signal follows the thread, not the process,
/// and tokio ends its threads when it likes.
pub async fn start(command: StdCommand, end: Signal) -> io::Result<Started> {
    let (answer, started) = oneshot::channel();
    thread::Builder::new()
        .name("child".to_owned())
        .spawn(move || keep(command, end, answer))?;
    started
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it died")))
}

fn keep(mut command: StdCommand, end: Signal, answer: oneshot::Sender<io::Result<Started>>) {
    let spawned = command.spawn();
    // It holds the child's end of a pipe: whoever fills that must learn when the child has ended.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            // Whoever asked may be gone; then there is nobody to tell, and nothing to end.
            let _ = answer.send(Err(error));
            return;
        }
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return;
    };
    let id = Pid::from_child(&child);
    let (exited, exit) = oneshot::channel();
    let (hold, held) = mpsc::channel();
    let group = Group {
        id,
        exit,
        ended: None,
        end,
        hold: Some(hold),
    };
    // Where nobody takes the group, dropping it ends the child.
    drop(answer.send(Ok((group, stdout, stderr))));
    // Nobody may be waiting for the exit any more.
    let _ = exited.send(wait_without_reaping(id));
    // Ends with an error when the other side lets go: that is the signal.
    let _ = held.recv();
    // Reaped; how it ended is already told.
    let _ = child.wait();
}

fn wait_without_reaping(id: Pid) -> Ended {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(id), options) {
            Ok(Some(status)) => {
                let by_signal = status.terminating_signal().map(Ended::Killed);
                let by_exit = status.exit_status().map(Ended::Exited);
                return by_signal.or(by_exit).unwrap_or(Ended::Killed(0));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            // Somebody else reaped it: nothing is known, so it is no success.
            Err(_) => return Ended::Killed(0),
        }
    }
}

impl Group {
    pub fn id(&self) -> u32 {
        self.id.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the leader has ended.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = (&mut self.exit).await.unwrap_or(Ended::Killed(0));
        self.ended = Some(ended);
        ended
    }

    /// The signal that asks it to end to all, SIGKILL to whoever is left when the leader has ended or the grace is over.
    pub async fn stop(&mut self) {
        if self.hold.is_none() {
            return;
        }
        self.signal(self.end);
        // Too late or not, what is left of the group is killed; a leader that not even that ends is left to the keeper.
        let _ = tokio::time::timeout(GRACE, self.ended()).await;
        self.signal(Signal::KILL);
        let _ = tokio::time::timeout(GRACE, self.ended()).await;
        self.ended
            .get_or_insert(Ended::Killed(Signal::KILL.as_raw()));
        self.hold = None;
    }

    fn signal(&self, signal: Signal) {
        // A group that is already empty needs none.
        let _ = kill_process_group(self.id, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended.is_some() || self.hold.is_none() {
            return;
        }
        self.signal(self.end);
        let (id, hold) = (self.id, self.hold.take());
        let (_, nothing) = oneshot::channel();
        let mut exit = std::mem::replace(&mut self.exit, nothing);
        let escalate = move || {
            let deadline = Instant::now() + GRACE;
            while exit.try_recv() == Err(oneshot::error::TryRecvError::Empty)
                && Instant::now() < deadline
            {
                thread::sleep(POLL);
            }
            // A group that is already empty needs none.
            let _ = kill_process_group(id, Signal::KILL);
            drop(hold);
        };
        if thread::Builder::new().spawn(escalate).is_err() {
            self.signal(Signal::KILL);
        }
    }
}
