//! A long way between a client and a server on loopback: every byte arrives half a round trip later, and none is held back for its
//! number.
//!
//! `Proxy::to(sshd.port, Duration::from_millis(40))`, then connect to `proxy.port`; [`Proxy::toml`] is the store behind it. Only the
//! delay is simulated: the rate is what this machine gives.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::sshd::Sshd;

/// What a direction of a connection may hold; more than that and its sender has to wait. At 20 ms it is good for 3 GB/s.
const ON_THE_WAY: usize = 64 << 20;

const READ: usize = 256 << 10;

/// Dropped, it closes its port and cuts its connections.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: u16,
    one_way: Duration,
    /// Both ends of every connection; None once the proxy is gone.
    open: Mutex<Option<Vec<Weak<TcpStream>>>>,
}

impl Proxy {
    /// In front of a port of this machine. What is sent through it and answered at once is back after `round_trip`.
    pub fn to(port: u16, round_trip: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            to: port,
            one_way: round_trip / 2,
            open: Mutex::new(Some(Vec::new())),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if locked(&accepting.open).is_none() {
                    break;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.connect(client));
            }
        });
        Self { port: own, shared }
    }

    /// The `[stores.NAME.sftp]` table of `sshd` seen from this end of the way; its known_hosts learns this port.
    pub fn toml(&self, sshd: &Sshd, name: &str, path: &Path) -> String {
        sshd.also_known_at(self.port);
        let direct = format!("\nport = {}\n", sshd.port);
        let far = format!("\nport = {}\n", self.port);
        sshd.toml(name, path).replacen(&direct, &far, 1)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let open = locked(&self.shared.open).take();
        for stream in open.iter().flatten().filter_map(Weak::upgrade) {
            // One that has ended already is as good as cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then sees that it is over and closes the port.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn connect(&self, client: TcpStream) {
        // The kernel took the connection at once; over a long way SYN and its answer cost a round trip before the first byte.
        thread::sleep(self.one_way * 2);
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.to)) else {
            // The client sees the connection end, as it would see it refused.
            return;
        };
        let (client, server) = (Arc::new(client), Arc::new(server));
        for end in [&client, &server] {
            end.set_nodelay(true).expect("nodelay");
        }
        if let Some(open) = &mut *locked(&self.open) {
            open.retain(|end| end.strong_count() > 0);
            open.extend([Arc::downgrade(&client), Arc::downgrade(&server)]);
        } else {
            return;
        }
        move_bytes(Arc::clone(&client), Arc::clone(&server), self.one_way);
        move_bytes(server, client, self.one_way);
    }
}

/// One direction: a thread that reads and stamps, and one that writes what is due.
fn move_bytes(from: Arc<TcpStream>, to: Arc<TcpStream>, one_way: Duration) {
    let way = Arc::new(Way::default());
    let (source, entering) = (Arc::clone(&from), Arc::clone(&way));
    thread::spawn(move || {
        let mut buffer = vec![0; READ];
        loop {
            // A broken connection ends as a closed one does.
            let read = (&*source).read(&mut buffer).unwrap_or(0);
            let bytes = buffer[..read].to_vec();
            if !entering.enter(Instant::now() + one_way, bytes) || read == 0 {
                break;
            }
        }
    });
    thread::spawn(move || {
        loop {
            let bytes = way.leave();
            if bytes.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                break;
            }
            if (&*to).write_all(&bytes).is_err() {
                way.close();
                let _ = from.shutdown(Shutdown::Read);
                break;
            }
        }
    });
}

/// What is on its way in one direction.
#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When it is due, and the bytes; none at the end.
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    closed: bool,
}

impl Way {
    /// Waits for room. False where nobody takes anything out any more.
    fn enter(&self, due: Instant, bytes: Vec<u8>) -> bool {
        let full = |state: &mut State| state.bytes >= ON_THE_WAY && !state.closed;
        let state = self.changed.wait_while(locked(&self.state), full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes.len();
        state.chunks.push_back((due, bytes));
        self.changed.notify_all();
        !state.closed
    }

    /// The next bytes when they are due; none at the end.
    fn leave(&self) -> Vec<u8> {
        let nothing = |state: &mut State| state.chunks.is_empty();
        let state = self.changed.wait_while(locked(&self.state), nothing);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let (due, bytes) = state.chunks.pop_front().expect("not empty");
        drop(state);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // They count until they have left, so that the bound holds.
        locked(&self.state).bytes -= bytes.len();
        self.changed.notify_all();
        bytes
    }

    fn close(&self) {
        locked(&self.state).closed = true;
        self.changed.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
