//! A long way between a client and a server on loopback: every byte arrives half a round trip later, and none is held back for its
//! number. And a bad way: [`Proxy::arm`] has it cut, stall, throttle or flip at the N-th byte of a direction.
//!
//! `Proxy::to(sshd.port, Duration::from_millis(40))`, then connect to `proxy.port`; [`Proxy::toml`] is the store behind it. Only the
//! delay is simulated: the rate is what this machine gives, unless a fault says otherwise.

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

/// Between two reads of a throttled connection.
const THROTTLED: Duration = Duration::from_millis(20);

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Every connection of the proxy is cut.
    Cut,
    /// Nothing more arrives in this direction, and the connection stays open.
    Stall,
    /// So many bytes a second from here on.
    Throttle(u32),
    /// This byte arrives with these bits turned over.
    Flip(u8),
}

/// Harm to the byte `at`, counted from 0 over all connections from when it was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub direction: Direction,
    pub at: u64,
    pub harm: Harm,
}

/// What has passed since the proxy was armed, and what waits for its byte.
#[derive(Debug, Default)]
struct Armed {
    fault: Option<Fault>,
    passed: [u64; 2],
}

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
    armed: Mutex<Armed>,
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
            armed: Mutex::default(),
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

    /// Counts anew from here on; the fault strikes once.
    pub fn arm(&self, fault: Fault) {
        *locked(&self.shared.armed) = Armed {
            fault: Some(fault),
            passed: [0; 2],
        };
    }

    /// Nothing strikes any more. The bytes that passed to the server and to the client since it was armed last, and whether it struck.
    pub fn disarm(&self) -> ([u64; 2], bool) {
        let mut armed = locked(&self.shared.armed);
        let struck = armed.fault.take().is_none();
        (std::mem::take(&mut armed.passed), struck)
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
        self.shared.cut();
        *locked(&self.shared.open) = None;
        // Wakes the listener, which then sees that it is over and closes the port.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
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
        let to_server = (Arc::clone(&client), Arc::clone(&server));
        self.move_bytes(Direction::ToServer, to_server);
        self.move_bytes(Direction::ToClient, (server, client));
    }

    /// One direction: a thread that reads and stamps, and one that writes what is due.
    fn move_bytes(
        self: &Arc<Self>,
        direction: Direction,
        (from, to): (Arc<TcpStream>, Arc<TcpStream>),
    ) {
        let way = Arc::new(Way::default());
        let (source, entering) = (Arc::clone(&from), Arc::clone(&way));
        let shared = Arc::clone(self);
        thread::spawn(move || shared.read(direction, &source, &entering));
        write(from, to, way);
    }

    /// Reads until one of the ends is gone.
    fn read(&self, direction: Direction, source: &TcpStream, entering: &Way) {
        let mut buffer = vec![0; READ];
        let mut harm = None;
        loop {
            let most = throttled(harm);
            // A broken connection ends as a closed one does.
            let read = (&*source).read(&mut buffer[..most]).unwrap_or(0);
            let mut bytes = buffer[..read].to_vec();
            if harm == Some(Harm::Stall) && read > 0 {
                continue;
            }
            if harm.is_none() {
                harm = self.harm(direction, &mut bytes);
            }
            let is_cut = harm == Some(Harm::Cut);
            let is_over = read == 0 || is_cut;
            let is_taken = bytes.is_empty() || entering.enter(Instant::now() + self.one_way, bytes);
            if is_cut {
                entering.until_all_is_written();
                self.cut();
            }
            if is_over || !is_taken {
                break;
            }
        }
        entering.enter(Instant::now() + self.one_way, Vec::new());
    }

    /// Does to these bytes what is armed for one of them; what then holds for the rest of the connection.
    fn harm(&self, direction: Direction, bytes: &mut Vec<u8>) -> Option<Harm> {
        let mut armed = locked(&self.armed);
        let passed = &mut armed.passed[direction as usize];
        let before = *passed;
        *passed += bytes.len() as u64;
        let fault = armed.fault.filter(|fault| {
            fault.direction == direction
                && (before..before + bytes.len() as u64).contains(&fault.at)
        })?;
        armed.fault = None;
        drop(armed);
        let at = usize::try_from(fault.at - before).expect("within these bytes");
        match fault.harm {
            Harm::Flip(bits) => {
                bytes[at] ^= bits;
                return None;
            }
            Harm::Cut | Harm::Stall => bytes.truncate(at),
            Harm::Throttle(_) => {}
        }
        Some(fault.harm)
    }

    /// Cuts every connection; new ones are accepted.
    fn cut(&self) {
        let open = locked(&self.open);
        for stream in open.iter().flatten().filter_map(Weak::upgrade) {
            // One that has ended already is as good as cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// How much may be read at once, when it may be.
fn throttled(harm: Option<Harm>) -> usize {
    let Some(Harm::Throttle(rate)) = harm else {
        return READ;
    };
    thread::sleep(THROTTLED);
    (rate as usize / 50).clamp(1, READ)
}

fn write(from: Arc<TcpStream>, to: Arc<TcpStream>, way: Arc<Way>) {
    thread::spawn(move || {
        loop {
            let bytes = way.leave();
            if bytes.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                break;
            }
            let is_written = (&*to).write_all(&bytes).is_ok();
            way.written(bytes.len());
            if !is_written {
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
        bytes
    }

    /// They count until they have left, so that the bound holds.
    fn written(&self, bytes: usize) {
        locked(&self.state).bytes -= bytes;
        self.changed.notify_all();
    }

    fn until_all_is_written(&self) {
        let some = |state: &mut State| state.bytes > 0 && !state.closed;
        drop(self.changed.wait_while(locked(&self.state), some));
    }

    fn close(&self) {
        locked(&self.state).closed = true;
        self.changed.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
