//! A real OpenSSH `sshd` on a loopback port of its own: one process per connection (`sshd -i`), behind a listener of the test process.
//!
//! So no port can be snatched between finding and binding it, a connection can be cut or stalled at any byte, and every sshd ends with
//! its connection. It lets in the user who runs the tests, by public key; logins with a password need [`super::scripted_sftp`].

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Numbers the listeners of [`Sshd::restart`]; the first one of each server is 0.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// A test that forgets a paused connection has failed by then.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What one connection suffers, counted in bytes from the server to the client.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection is closed after so many bytes.
    CutAfter(u64),
    /// Nothing arrives any more after so many bytes, and the connection stays open.
    StallAfter(u64),
    /// Nothing arrives after so many bytes until [`Sshd::go_on`].
    Hold(u64),
}

/// How a server differs from the ordinary one.
#[derive(Clone, Debug)]
pub struct Options {
    /// ssh-keygen's types of the host keys: `ed25519`, `rsa`, `ecdsa`. The first one is put into known_hosts.
    pub host_keys: Vec<&'static str>,
    /// The type of the user's key, and its passphrase (empty: none).
    pub user_key: (&'static str, &'static str),
    /// The command of the subsystem; None: there is no such subsystem.
    pub sftp: Option<String>,
    /// More lines of sshd_config.
    pub lines: String,
    /// sshd has the connection itself, without this process in between: for benchmarks. There are no faults then.
    pub direct: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host_keys: vec!["ed25519"],
            user_key: ("ed25519", ""),
            sftp: Some("internal-sftp".to_owned()),
            lines: String::new(),
            direct: false,
        }
    }
}

/// A running server. Dropped, it closes its port and its connections and removes its files.
pub struct Sshd {
    pub port: u16,
    /// Who runs the tests, and may log in.
    pub user: String,
    /// The directory whose files are served; give its path as the store's `path`.
    pub dir: PathBuf,
    /// The key that is let in, mode 0600.
    pub private_key: PathBuf,
    /// A known_hosts that knows the first host key.
    pub known_hosts: PathBuf,
    /// `SHA256:…` of the first host key.
    pub fingerprint: String,
    /// Everything of this server: keys, configuration, log.
    pub home: PathBuf,
    link: Arc<Link>,
    cleaner: Child,
}

/// What the listener's thread, the connections' threads and the test share.
struct Link {
    config: PathBuf,
    log: PathBuf,
    direct: bool,
    faults: Mutex<VecDeque<Fault>>,
    open: Mutex<Vec<TcpStream>>,
    stalled: AtomicBool,
    /// Whether what was paused goes on.
    goes_on: (Mutex<bool>, Condvar),
    /// The generation of the listener; a thread of an older one stops.
    listening: Mutex<Option<u64>>,
}

impl Link {
    fn pause(&self) {
        let (goes_on, changed) = &self.goes_on;
        let paused =
            changed.wait_timeout_while(locked(goes_on), LONGEST_PAUSE, |goes_on| !*goes_on);
        drop(paused);
    }
}

impl Sshd {
    /// An ordinary server with an ed25519 host key.
    pub fn start() -> Self {
        Self::with(&Options::default())
    }

    pub fn with(options: &Options) -> Self {
        privilege_separation_directory();
        let home = tempfile::tempdir().expect("a temporary directory").keep();
        let cleaner = clean_up_with_the_test(&home);
        let dir = home.join("served");
        fs::create_dir(&dir).expect("the served directory");
        make_keys(&home, options);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let known_hosts = home.join("known_hosts");
        let host_key = host_key_line(&home, options.host_keys[0]);
        fs::write(&known_hosts, format!("[127.0.0.1]:{port} {host_key}\n")).expect("known_hosts");
        let config = home.join("sshd_config");
        fs::write(&config, sshd_config(&home, options)).expect("sshd_config");
        let link = Arc::new(Link {
            config,
            log: home.join("sshd.log"),
            direct: options.direct,
            faults: Mutex::default(),
            open: Mutex::default(),
            goes_on: (Mutex::new(false), Condvar::new()),
            listening: Mutex::new(Some(0)),
            stalled: AtomicBool::default(),
        });
        listen(listener, Arc::clone(&link), 0);
        Self {
            port,
            user: user_name(),
            dir,
            private_key: home.join("user_key"),
            known_hosts,
            fingerprint: fingerprint(&home, options.host_keys[0]),
            home,
            link,
            cleaner,
        }
    }

    /// The `[stores.NAME.sftp]` table for this server.
    pub fn toml(&self, name: &str, path: &Path) -> String {
        format!(
            "[stores.{name}.sftp]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\nprivate_key = \"{}\"\npath = \"{}\"\nknown_hosts = \"{}\"\n",
            self.port,
            self.user,
            self.private_key.display(),
            path.display(),
            self.known_hosts.display(),
        )
    }

    /// known_hosts knows the server at another port of this machine as well: that of a proxy.
    pub fn also_known_at(&self, port: u16) {
        let known = fs::read_to_string(&self.known_hosts).expect("known_hosts");
        let key = known.split_once(' ').expect("a host and its key").1;
        let key = key.lines().next().expect("the first line");
        let line = format!("[127.0.0.1]:{port} {key}\n");
        if !known.contains(&line) {
            fs::write(&self.known_hosts, known.clone() + &line).expect("known_hosts");
        }
    }

    /// Puts a file into the served directory.
    pub fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).expect("a served file");
        path
    }

    /// The next connection that has no fault yet suffers this one; those after it none.
    pub fn next_connection(&self, fault: Fault) {
        locked(&self.link.faults).push_back(fault);
    }

    /// Whether a connection has come to the place where its fault lets nothing arrive any more.
    pub fn is_stalled(&self) -> bool {
        self.link.stalled.load(Ordering::Relaxed)
    }

    /// Every connection that pauses, now or later, goes on.
    pub fn go_on(&self) {
        let (goes_on, changed) = &self.link.goes_on;
        *locked(goes_on) = true;
        changed.notify_all();
    }

    /// Cuts every connection that is open now; new ones are accepted.
    pub fn cut(&self) {
        for stream in locked(&self.link.open).drain(..) {
            // One that has ended already is as good as cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes the port and every connection, as a server that went down.
    pub fn kill(&self) {
        *locked(&self.link.listening) = None;
        self.cut();
        // Wakes the listener, which then sees that it is over and closes the port.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.until("the port is closed", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err()
        });
    }

    /// Listens on the same port again.
    pub fn restart(&self) {
        let mut listener = None;
        self.until("the port is free again", || {
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).ok();
            listener.is_some()
        });
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        *locked(&self.link.listening) = Some(generation);
        listen(
            listener.expect("a listener"),
            Arc::clone(&self.link),
            generation,
        );
    }

    /// The server's log, for a failing test's message.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.link.log).unwrap_or_default()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{what}: not within five seconds\n{}", self.log());
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        *locked(&self.link.listening) = None;
        self.cut();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = fs::remove_dir_all(&self.home);
        // The cleaner ends when its standard input closes.
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}

fn listen(listener: TcpListener, link: Arc<Link>, generation: u64) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if *locked(&link.listening) != Some(generation) {
                break;
            }
            let fault = locked(&link.faults).pop_front();
            if link.direct {
                hand_over(stream, &link);
            } else {
                serve(stream, &link, fault);
            }
        }
    });
}

/// An sshd for one connection.
fn sshd(link: &Link, stdin: OwnedFd, stdout: OwnedFd) -> Child {
    let child = Command::new("/usr/sbin/sshd")
        .args(["-i", "-f"])
        .arg(&link.config)
        .arg("-E")
        .arg(&link.log)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::null())
        .spawn();
    child.expect("sshd starts")
}

/// Gives the connection to an sshd of its own.
fn hand_over(client: TcpStream, link: &Link) {
    let kept = client.try_clone().expect("a second descriptor");
    let stdout = client.try_clone().expect("a third descriptor");
    let mut child = sshd(link, client.into(), stdout.into());
    let ours = kept.try_clone().expect("a fourth descriptor");
    locked(&link.open).push(kept);
    thread::spawn(move || {
        let _ = child.wait();
        // The client would wait for as long as this process has it open.
        let _ = ours.shutdown(Shutdown::Both);
    });
}

/// Gives the connection an sshd of its own and moves the bytes between them.
fn serve(client: TcpStream, link: &Arc<Link>, fault: Option<Fault>) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let stdout = theirs.try_clone().expect("a second descriptor");
    let mut child = sshd(link, theirs.into(), stdout.into());
    client.set_nodelay(true).expect("nodelay");
    let kept = client.try_clone().expect("a third descriptor");
    locked(&link.open).push(kept);
    let (mut from_client, mut to_server) = (
        client.try_clone().expect("a descriptor"),
        ours.try_clone().expect("a descriptor"),
    );
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let link = Arc::clone(link);
    thread::spawn(move || {
        deliver(ours, client, fault, &link);
        let _ = child.wait();
    });
}

/// Moves the server's bytes to the client until one of them ends or the fault strikes.
fn deliver(mut server: UnixStream, mut client: TcpStream, fault: Option<Fault>, link: &Link) {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = match fault {
        Some(Fault::CutAfter(bytes) | Fault::StallAfter(bytes) | Fault::Hold(bytes)) => bytes,
        None => u64::MAX,
    };
    while left > 0 {
        let room = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        match server.read(&mut buffer[..room]) {
            Ok(read) if read > 0 && client.write_all(&buffer[..read]).is_ok() => {
                left -= read as u64;
            }
            _ => break,
        }
        if left == 0 && matches!(fault, Some(Fault::Hold(_))) {
            link.pause();
            left = u64::MAX;
        }
    }
    if left == 0 && matches!(fault, Some(Fault::StallAfter(_))) {
        link.stalled.store(true, Ordering::Relaxed);
        // Whoever tires of it closes the connection; then the other thread ends as well.
        while server.read(&mut buffer).is_ok_and(|read| read > 0) {}
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn sshd_config(home: &Path, options: &Options) -> String {
    let at = home.display();
    let pam = if is_locked(&user_name()) { "yes" } else { "no" };
    let basics = format!(
        "AuthorizedKeysFile {at}/authorized_keys\nStrictModes no\nUsePAM {pam}\nUseDNS no\nPidFile none\nLogLevel VERBOSE\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    );
    let host_keys = options.host_keys.iter();
    let host_keys: Vec<String> = host_keys
        .map(|kind| format!("HostKey {at}/host_{kind}\n"))
        .collect();
    let subsystem = options.sftp.iter();
    let subsystem: Vec<String> = subsystem
        .map(|command| format!("Subsystem sftp {command}\n"))
        .collect();
    [
        basics,
        host_keys.concat(),
        subsystem.concat(),
        options.lines.clone(),
    ]
    .concat()
}

fn make_keys(home: &Path, options: &Options) {
    for kind in &options.host_keys {
        key_pair(&home.join(format!("host_{kind}")), kind, "");
    }
    let (kind, passphrase) = options.user_key;
    key_pair(&home.join("user_key"), kind, passphrase);
    let public = fs::read(home.join("user_key.pub")).expect("the public key");
    fs::write(home.join("authorized_keys"), public).expect("authorized_keys");
}

/// Makes `path` and `path.pub`.
pub fn key_pair(path: &Path, kind: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
        .arg(path)
        .output()
        .expect("ssh-keygen");
    assert!(made.status.success(), "ssh-keygen: {made:?}");
}

/// `ssh-ed25519 AAAA…` of a host key.
fn host_key_line(home: &Path, kind: &str) -> String {
    let line = fs::read_to_string(home.join(format!("host_{kind}.pub"))).expect("a host key");
    line.trim().to_owned()
}

fn fingerprint(home: &Path, kind: &str) -> String {
    let shown = Command::new("ssh-keygen")
        .args(["-l", "-E", "sha256", "-f"])
        .arg(home.join(format!("host_{kind}.pub")))
        .output()
        .expect("ssh-keygen -l");
    let line = String::from_utf8(shown.stdout).expect("text");
    line.split(' ').nth(1).expect("a fingerprint").to_owned()
}

fn user_name() -> String {
    let id = Command::new("id").arg("-un").output().expect("id -un");
    String::from_utf8(id.stdout)
        .expect("a name")
        .trim()
        .to_owned()
}

/// Whether sshd would take the account for a locked one, which it lets in through PAM alone: Ubuntu's root, systemd's nobody.
fn is_locked(user: &str) -> bool {
    let entry = Command::new("getent")
        .args(["shadow", user])
        .output()
        .expect("getent");
    String::from_utf8_lossy(&entry.stdout).starts_with(&format!("{user}:!"))
}

/// sshd of root insists on it; a booted system has it.
fn privilege_separation_directory() {
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").expect("/run/sshd");
    }
}

/// Removes the directory once this process is gone, however it ended.
fn clean_up_with_the_test(home: &Path) -> Child {
    Command::new("sh")
        .args([
            "-c",
            "trap '' INT TERM HUP; cat >/dev/null; rm -rf \"$1\"",
            "sh",
        ])
        .arg(home)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh")
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
