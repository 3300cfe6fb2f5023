//! A real SMTP server (Debian's python3-aiosmtpd) with its own certificate authority, one per test.
//!
//! It ends, and removes its directory, when its standard input is closed: on drop, or when the test process dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const SCRIPT: &str = include_str!("smtp.py");
const DEADLINE: Duration = Duration::from_secs(20);

/// The login that a server knows where a test doesn't say otherwise.
pub const USER: &str = "backup@example.org";
pub const PASSWORD: &str = "mail-canary-3f9c";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    StartTls,
    Tls,
    None,
}

impl Security {
    /// As in `[notify.email]`.
    pub fn word(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }
}

/// How the server behaves; `..Options::default()` is a good one with STARTTLS and a login.
#[derive(Debug, Clone)]
pub struct Options {
    pub security: Security,
    /// The only accepted login; None: AUTH isn't offered.
    pub auth: Option<(&'static str, &'static str)>,
    /// Recipients answered with 550.
    pub refuse: Vec<&'static str>,
    /// Before every answer.
    pub delay: Duration,
    /// The names in the certificate, as openssl writes them.
    pub certificate_for: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            security: Security::StartTls,
            auth: Some((USER, PASSWORD)),
            refuse: Vec::new(),
            delay: Duration::ZERO,
            certificate_for: "DNS:localhost,IP:127.0.0.1",
        }
    }
}

/// One accepted mail as it came over the wire.
#[derive(Debug, Clone)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    pub encrypted: bool,
    /// Who had logged in.
    pub login: Option<String>,
    /// Headers and body, undecoded.
    pub data: String,
}

/// A running server on 127.0.0.1.
#[derive(Debug)]
pub struct Smtp {
    pub port: u16,
    /// The certificate authority that signed the server's certificate.
    pub ca_file: PathBuf,
    dir: PathBuf,
    options: Options,
    child: Child,
}

impl Smtp {
    pub fn start(options: Options) -> Self {
        Self::start_on(0, options)
    }

    /// On a port that something else knows already: a server that was down and comes back.
    pub fn start_on(port: u16, options: Options) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("backupctl-smtp-")
            .tempdir()
            .expect("a directory for the mail server")
            .keep();
        make_certificates(&dir, options.certificate_for);
        let child = spawn(&dir, port, &options);
        let port = wait_until(
            &format!("the mail server listens, log in {}", dir.display()),
            || fs::read_to_string(dir.join("port")).ok()?.parse().ok(),
        );
        Self {
            port,
            ca_file: dir.join("ca.pem"),
            dir,
            options,
            child,
        }
    }

    /// Every accepted mail, oldest first.
    pub fn mails(&self) -> Vec<Received> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.dir)
            .expect("the spool")
            .map(|file| file.expect("a file of the spool").path())
            .filter(|path| is_mail(path))
            .collect();
        files.sort();
        files.iter().map(|path| received(path)).collect()
    }

    /// The mails, as soon as there are `count` of them.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("{count} mails arrive"), || {
            let mails = self.mails();
            (mails.len() >= count).then_some(mails)
        })
    }

    /// From now on `stage` (connect, auth, mail, rcpt, data) is answered with `reply`: `reply_at("rcpt", "451 4.3.0 later")`.
    /// ARGUMENTS in an answer to AUTH becomes what the client sent.
    pub fn reply_at(&self, stage: &str, reply: &str) {
        let temp = self.dir.join("replies.tmp");
        fs::write(&temp, json!({ stage: reply }).to_string()).expect("a scripted reply");
        fs::rename(&temp, self.dir.join("replies.json")).expect("a scripted reply in place");
    }

    /// Undoes `reply_at`.
    pub fn reply_normally(&self) {
        fs::remove_file(self.dir.join("replies.json")).expect("a scripted reply to remove");
    }

    /// The verbs of all commands that clients sent, in order.
    pub fn commands(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("commands")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The `[notify.email]` table that reaches this server; the password is `env:SMTP_PASSWORD`.
    pub fn toml(&self, to: &[&str]) -> String {
        let login = self.options.auth.map_or(String::new(), |(user, _)| {
            format!("user = \"{user}\"\npassword = \"env:SMTP_PASSWORD\"\n")
        });
        format!(
            "[notify.email]\nserver = \"127.0.0.1\"\nport = {}\nsecurity = \"{}\"\n{login}\
             from = \"backupctl <backup@example.org>\"\nto = {}\nca_file = \"{}\"\n",
            self.port,
            self.options.security.word(),
            json!(to),
            self.ca_file.display(),
        )
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It removes its directory and ends by itself once standard input is closed.
        // A failure here would hide the test's own.
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, port: u16, options: &Options) -> Child {
    let settings = json!({
        "dir": dir,
        "port": port,
        "security": options.security.word(),
        "auth": options.auth.map(|(user, password)| [user, password]),
        "refuse": options.refuse,
        "delay": options.delay.as_secs_f64(),
    });
    let log = fs::File::create(dir.join("log")).expect("the mail server's log");
    Command::new("/usr/bin/python3")
        .args(["-I", "-W", "ignore", "-c", SCRIPT, &settings.to_string()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("/usr/bin/python3 with python3-aiosmtpd")
}

/// An authority, and a certificate by it for `names`.
pub(super) fn make_certificates(dir: &Path, names: &str) {
    let config = format!(
        "[req]\ndistinguished_name = name\n[name]\n\
         [ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign\n\
         [server]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = {names}\n"
    );
    fs::write(dir.join("openssl.cnf"), config).expect("a configuration for openssl");
    openssl(dir, "ca.key ca.pem /CN=test-authority ca");
    openssl(
        dir,
        "server.key server.pem /CN=mail-server server ca.pem ca.key",
    );
}

/// `KEY CERTIFICATE SUBJECT EXTENSIONS [SIGNER SIGNER_KEY]`
fn openssl(dir: &Path, what: &str) {
    let words: Vec<&str> = what.split(' ').collect();
    let mut command = Command::new("openssl");
    command.current_dir(dir).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-noenc",
        "-days",
        "2",
        "-config",
        "openssl.cnf",
    ]);
    command.args(["-keyout", words[0], "-out", words[1], "-subj", words[2]]);
    command.args(["-extensions", words[3]]);
    if let [signer, key] = words[4..] {
        command.args(["-CA", signer, "-CAkey", key]);
    }
    let output = command.output().expect("openssl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_mail(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("mail-") && name.ends_with(".json")
}

fn received(path: &Path) -> Received {
    let text = fs::read_to_string(path).expect("a spooled mail");
    let mail: Value = serde_json::from_str(&text).expect("a spooled mail is JSON");
    let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Received {
        from: words(&mail["from"]),
        to: mail["to"]
            .as_array()
            .expect("recipients")
            .iter()
            .map(words)
            .collect(),
        encrypted: mail["encrypted"] == true,
        login: mail["login"].as_str().map(str::to_owned),
        data: words(&mail["data"]),
    }
}

fn wait_until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
