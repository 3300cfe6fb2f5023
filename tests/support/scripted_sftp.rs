//! An SFTP server inside the test process, for what a real sshd can't be made to do without accounts of its own:
//! logins with a password, old algorithms alone, and replies that break the protocol.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{Auth, Config, Handler, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Preferred};
use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status,
    StatusCode, Version,
};
use russh_sftp::server::StatusReply;

use super::sshd::key_pair;

/// How the server answers reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Right,
    /// Never more than this many bytes at once.
    Short(u32),
    /// One byte more than asked for.
    Long,
    /// No data where there is some.
    Empty,
    /// A status that means nothing.
    Failure,
    /// One byte now and then between these offsets.
    DribbleIn(u64, u64),
}

/// What the server is like.
#[derive(Clone, Debug)]
pub struct Script {
    /// In the order in which they are offered.
    pub methods: Vec<MethodKind>,
    pub password: String,
    /// The questions of keyboard-interactive, a round each, with whether the answer is shown; the first answer must be the password.
    pub rounds: Vec<Vec<(&'static str, bool)>>,
    /// The connection is dropped when a login is tried.
    pub hangs_up: bool,
    pub preferred: Preferred,
    /// Every regular file's content.
    pub content: Vec<u8>,
    /// What fstat states; None: the content's length.
    pub stated_bytes: Option<u64>,
    /// Names and modes in the directory.
    pub entries: Vec<(String, u32)>,
    pub reads: Reads,
    /// What `limits@openssh.com` states as the longest read, and a longer one is refused; None: it has no such extension.
    pub longest_read: Option<u64>,
    /// What a file has become since it was listed: LSTAT's mode.
    pub became: Option<u32>,
    /// A name now and then, and no end.
    pub lists_for_ever: bool,
    /// Files that are open, by all clones of this script.
    pub open_files: Arc<AtomicU64>,
    /// Bytes that the client has asked for, by all clones of this script.
    pub asked: Arc<AtomicU64>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            methods: vec![MethodKind::Password],
            password: "correct horse".to_owned(),
            rounds: vec![vec![("Password: ", false)], vec![]],
            hangs_up: false,
            preferred: Preferred::DEFAULT,
            content: b"content".to_vec(),
            stated_bytes: None,
            entries: vec![("a.zip".to_owned(), 0o100_644)],
            reads: Reads::Right,
            longest_read: None,
            became: None,
            lists_for_ever: false,
            open_files: Arc::default(),
            asked: Arc::default(),
        }
    }
}

/// Often enough to pass for alive.
const NOW_AND_THEN: Duration = Duration::from_millis(100);

/// A running server; it ends when this is dropped.
pub struct ScriptedSftp {
    pub port: u16,
    pub known_hosts: PathBuf,
    /// Logins that were tried, without SSH's question for the methods.
    pub attempts: Arc<AtomicUsize>,
    _home: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl ScriptedSftp {
    /// The `[stores.office.sftp]` table; its password is in `env:SFTP_PASSWORD`.
    pub fn toml(&self) -> String {
        format!(
            "[stores.office.sftp]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"backup\"\npassword = \"env:SFTP_PASSWORD\"\npath = \"/backups\"\nknown_hosts = \"{}\"\n",
            self.port,
            self.known_hosts.display()
        )
    }

    pub fn start(script: Script) -> Self {
        Self::with_key("ed25519", script)
    }

    pub fn with_key(kind: &str, script: Script) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (key, line) = host_key(home.path(), kind);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let known_hosts = home.path().join("known_hosts");
        std::fs::write(&known_hosts, format!("[127.0.0.1]:{port} {line}\n")).expect("known_hosts");
        let attempts = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        listener.set_nonblocking(true).expect("non-blocking");
        runtime.spawn(accept(listener, key, script, Arc::clone(&attempts)));
        Self {
            port,
            known_hosts,
            attempts,
            _home: home,
            runtime: Some(runtime),
        }
    }
}

impl Drop for ScriptedSftp {
    /// In the background, because a test is a task of another runtime, where nothing may block.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn host_key(home: &Path, kind: &str) -> (PrivateKey, String) {
    let path = home.join("host_key");
    key_pair(&path, kind, "");
    let line = std::fs::read_to_string(path.with_extension("pub")).expect("the public key");
    let key = russh::keys::load_secret_key(&path, None).expect("the private key");
    (key, line.trim().to_owned())
}

async fn accept(
    listener: std::net::TcpListener,
    key: PrivateKey,
    script: Script,
    attempts: Arc<AtomicUsize>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let config = Arc::new(Config {
        methods: MethodSet::from(&script.methods[..]),
        auth_rejection_time: Duration::ZERO,
        keys: vec![key],
        preferred: script.preferred.clone(),
        nodelay: true,
        ..Config::default()
    });
    while let Ok((stream, _)) = listener.accept().await {
        let connection = Connection {
            script: script.clone(),
            round: 0,
            channels: HashMap::new(),
            attempts: Arc::clone(&attempts),
        };
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(config, stream, connection).await {
                // How a connection ends is the client's test.
                let _ = session.await;
            }
        });
    }
}

struct Connection {
    script: Script,
    round: usize,
    channels: HashMap<ChannelId, Channel<Msg>>,
    attempts: Arc<AtomicUsize>,
}

impl Connection {
    fn attempt(&self) -> Result<(), russh::Error> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if self.script.hangs_up {
            return Err(russh::Error::Disconnect);
        }
        Ok(())
    }

    fn ask(&self) -> Auth {
        let prompts = self.script.rounds[self.round].iter();
        Auth::Partial {
            name: Cow::Borrowed(""),
            instructions: Cow::Borrowed(""),
            prompts: prompts
                .map(|(text, echo)| (Cow::Borrowed(*text), *echo))
                .collect(),
        }
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        self.attempt()?;
        if password == self.script.password {
            return Ok(Auth::Accept);
        }
        Ok(Auth::reject())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(response) = response else {
            self.attempt()?;
            self.round = 0;
            return Ok(self.ask());
        };
        let answers: Vec<Vec<u8>> = response.map(|answer| answer.to_vec()).collect();
        if answers.len() != self.script.rounds[self.round].len() {
            return Ok(Auth::reject());
        }
        if self.round == 0
            && answers.first().map(Vec::as_slice) != Some(self.script.password.as_bytes())
        {
            return Ok(Auth::reject());
        }
        self.round += 1;
        if self.round == self.script.rounds.len() {
            return Ok(Auth::Accept);
        }
        Ok(self.ask())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if let Some(channel) = self.channels.remove(&id) {
            let files = Files {
                script: self.script.clone(),
                listed: false,
            };
            russh_sftp::server::run(channel.into_stream(), files).await;
        }
        Ok(())
    }
}

/// One directory in which every name is the same file.
struct Files {
    script: Script,
    listed: bool,
}

impl Files {
    fn attributes(&self, mode: u32) -> FileAttributes {
        let bytes = self
            .script
            .stated_bytes
            .unwrap_or(self.script.content.len() as u64);
        FileAttributes {
            size: Some(bytes),
            permissions: Some(mode),
            mtime: Some(1_700_000_000),
            atime: Some(1_700_000_000),
            ..FileAttributes::empty()
        }
    }
}

fn refused(status_code: StatusCode) -> StatusReply {
    StatusReply {
        status_code,
        error_message: Some("no\u{1b}[2J".to_owned()),
        language_tag: None,
    }
}

impl russh_sftp::server::Handler for Files {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        refused(StatusCode::OpUnsupported)
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusReply> {
        let mut version = Version::new();
        if self.script.longest_read.is_some() {
            let name = "limits@openssh.com".to_owned();
            version.extensions.insert(name, "1".to_owned());
        }
        Ok(version)
    }

    async fn extended(&mut self, id: u32, _: String, _: Vec<u8>) -> Result<Packet, StatusReply> {
        let longest = self.script.longest_read;
        let longest = longest.ok_or_else(|| refused(StatusCode::OpUnsupported))?;
        // Packet, read, write, open files: 0 is "not stated".
        let data = [0, longest, longest, 0].map(u64::to_be_bytes).concat();
        Ok(Packet::ExtendedReply(ExtendedReply { id, data }))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusReply> {
        Ok(Name {
            id,
            files: vec![File::dummy(path)],
        })
    }

    async fn opendir(&mut self, id: u32, _: String) -> Result<Handle, StatusReply> {
        self.listed = false;
        Ok(Handle {
            id,
            handle: "d".to_owned(),
        })
    }

    async fn readdir(&mut self, id: u32, _: String) -> Result<Name, StatusReply> {
        if self.script.lists_for_ever {
            tokio::time::sleep(NOW_AND_THEN).await;
        } else if std::mem::replace(&mut self.listed, true) {
            return Err(refused(StatusCode::Eof));
        }
        let entries = self.script.entries.iter();
        let files = entries.map(|(name, mode)| File::new(name, self.attributes(*mode)));
        Ok(Name {
            id,
            files: files.collect(),
        })
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let entry = self.script.entries.iter().find(|(known, _)| known == name);
        let (_, mode) = entry.ok_or(refused(StatusCode::NoSuchFile))?;
        Ok(Attrs {
            id,
            attrs: self.attributes(self.script.became.unwrap_or(*mode)),
        })
    }

    async fn open(
        &mut self,
        id: u32,
        _: String,
        _: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, StatusReply> {
        self.script.open_files.fetch_add(1, Ordering::Relaxed);
        Ok(Handle {
            id,
            handle: "f".to_owned(),
        })
    }

    async fn fstat(&mut self, id: u32, _: String) -> Result<Attrs, StatusReply> {
        Ok(Attrs {
            id,
            attrs: self.attributes(0o100_644),
        })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusReply> {
        if handle == "f" {
            self.script.open_files.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(Status {
            id,
            status_code: StatusCode::Ok,
            error_message: String::new(),
            language_tag: String::new(),
        })
    }

    async fn read(
        &mut self,
        id: u32,
        _: String,
        offset: u64,
        len: u32,
    ) -> Result<Data, StatusReply> {
        self.script.asked.fetch_add(len.into(), Ordering::Relaxed);
        if self
            .script
            .longest_read
            .is_some_and(|longest| u64::from(len) > longest)
        {
            return Err(refused(StatusCode::BadMessage));
        }
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.script.content.len());
        let rest = &self.script.content[start..];
        let asked = rest.len().min(len as usize);
        let mut data = rest[..asked].to_vec();
        match self.script.reads {
            Reads::DribbleIn(from, end) if (from..end).contains(&offset) => {
                tokio::time::sleep(NOW_AND_THEN).await;
                data.truncate(1);
            }
            Reads::Right | Reads::DribbleIn(..) => {}
            Reads::Short(most) => data.truncate(most as usize),
            Reads::Long => data.resize(len as usize + 1, b'x'),
            Reads::Empty => {
                return Ok(Data {
                    id,
                    data: Vec::new(),
                });
            }
            Reads::Failure => return Err(refused(StatusCode::Failure)),
        }
        if data.is_empty() {
            return Err(refused(StatusCode::Eof));
        }
        Ok(Data { id, data })
    }
}

/// What a server of 2005 offers.
pub fn old_algorithms() -> Preferred {
    Preferred {
        kex: Cow::Owned(vec![russh::kex::DH_G14_SHA1]),
        key: Cow::Owned(vec![russh::keys::Algorithm::Rsa { hash: None }]),
        cipher: Cow::Owned(vec![russh::cipher::AES_128_CTR]),
        mac: Cow::Owned(vec![russh::mac::HMAC_SHA1]),
        ..Preferred::DEFAULT
    }
}
