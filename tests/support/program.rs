//! The built program, run as cron runs it: empty environment, no terminal, and a deadline that fails the test.
//!
//! `Setup::new().sftp(&sshd).database(&postgres, &name).mail(&smtp, &["ops@example.org"]).restore("").write()` makes a whole
//! installation in a temporary directory; then `setup.run(&["run", "--json"])`.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use backupctl::commands::vault;
use backupctl::config::SecretFiles;
use backupctl::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::postgres::{PASSWORD_VARIABLE, Postgres};
use super::smtp::{self, Smtp};
use super::sshd::Sshd;

const DEADLINE: Duration = Duration::from_mins(3);

/// How the program is started.
#[derive(Debug, Clone)]
pub struct Program {
    directory: PathBuf,
    environment: Vec<(String, String)>,
    deadline: Duration,
    behind: Vec<String>,
}

/// How it ended and what it said.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; None: a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program at work.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: String,
    until: Instant,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Program {
    /// Works in `directory`, which is its `$HOME` as well.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            environment: Vec::new(),
            deadline: DEADLINE,
            behind: Vec::new(),
        }
    }

    /// Started by this command: `["strace", "-o", …]`, `["prlimit", …]`.
    pub fn behind(mut self, command: &[String]) -> Self {
        self.behind = command.to_vec();
        self
    }

    /// Fails the test where it works for longer.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).finish()
    }

    /// With `text` on its standard input, which then ends.
    pub fn run_with_stdin(&self, arguments: &[&str], text: &str) -> Ran {
        let mut running = self.spawn(arguments, Stdio::piped());
        let mut stdin = running.child.stdin.take().expect("a pipe");
        // A program that has ended without reading is judged by its exit code.
        let _ = stdin.write_all(text.as_bytes());
        drop(stdin);
        running.finish()
    }

    /// Starts it and returns at once: to send it a signal, or to change the world while it works.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.spawn(arguments, Stdio::null())
    }

    fn spawn(&self, arguments: &[&str], stdin: Stdio) -> Running {
        let mut words = self.behind.iter().map(PathBuf::from).chain([binary()]);
        let mut child = Command::new(words.next().expect("the program"))
            .args(words)
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.directory)
            .env("TZ", "UTC")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program starts");
        Running {
            stdout: read(child.stdout.take()),
            stderr: read(child.stderr.take()),
            what: format!("backupctl {}", arguments.join(" ")),
            until: Instant::now() + self.deadline,
            child,
        }
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `Signal::INT`, `Signal::TERM`, `Signal::KILL`.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a signal to the program");
    }

    /// Whether it still works.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Ran {
        let status = self.status();
        let (stdout, stderr) = (text(self.stdout), text(self.stderr));
        let Some(status) = status else {
            panic!(
                "`{}` did not end in time and was killed\nstdout:\n{stdout}\nstderr:\n{stderr}",
                self.what
            );
        };
        Ran {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    /// None where the deadline passed; then it was killed.
    fn status(&mut self) -> Option<ExitStatus> {
        while Instant::now() < self.until {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        // It may have ended just now.
        let _ = self.child.kill();
        self.child.wait().expect("its status");
        None
    }
}

impl Ran {
    /// Fails the test, with all that was said, where the exit code is another one.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The only JSON document on stdout.
    pub fn json(&self) -> Value {
        let documents = self.documents();
        assert_eq!(documents.len(), 1, "one document on stdout\n{self}");
        documents.into_iter().next().unwrap_or_default()
    }

    /// The JSON documents on stdout, one a line.
    pub fn documents(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}\n{self}"))
            })
            .collect()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "exit code: {code:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        )
    }
}

/// An installation in a temporary directory: `config.toml`, `secret.key`, `.env` with real tokens, `state/`.
#[derive(Debug)]
pub struct Setup {
    pub program: Program,
    directory: TempDir,
    config: String,
    env_file: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Nothing but a key; `state_dir` is `state` beside the configuration.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        vault::new_key(&directory.path().join("secret.key")).expect("a new key");
        Self {
            program: Program::new(directory.path()),
            directory,
            config: "state_dir = \"state\"\n".to_owned(),
            env_file: String::new(),
        }
        .part("[secrets]\nenv_file = \".env\"\nkey_file = \"secret.key\"\n")
    }

    /// More of the configuration, from a table's head on.
    pub fn part(mut self, toml: &str) -> Self {
        self.config += "\n";
        self.config += toml;
        self
    }

    /// A value that `env:NAME` refers to, encrypted.
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        let files = SecretFiles {
            env_file: None,
            key_file: Some(self.path("secret.key")),
            ..SecretFiles::default()
        };
        let token = vault::encrypt(&files, Secret::new(value.to_owned())).expect("a token");
        writeln!(self.env_file, "{name}={token}").expect("memory");
        self
    }

    /// `[stores.office.sftp]`: the directory that `sshd` serves.
    pub fn sftp(self, sshd: &Sshd) -> Self {
        self.part(&sshd.toml("office", &sshd.dir))
    }

    /// `[stores.office.local]`.
    pub fn local(self, path: &Path) -> Self {
        self.part(&format!(
            "[stores.office.local]\npath = \"{}\"\n",
            path.display()
        ))
    }

    /// `[databases.erp.postgres]`: the database `name` of `server`.
    pub fn database(self, server: &Postgres, name: &str) -> Self {
        self.part(&server.toml("erp", name))
            .secret(PASSWORD_VARIABLE, &server.password)
    }

    /// `[notify.email]`.
    pub fn mail(self, server: &Smtp, to: &[&str]) -> Self {
        self.part(&server.toml(to))
            .secret("SMTP_PASSWORD", smtp::PASSWORD)
    }

    /// `[restores.erp]` from `office` into `erp`, any ZIP, not waiting for it to settle; `lines` say more or otherwise.
    pub fn restore(self, lines: &str) -> Self {
        let mut table = "[restores.erp]\nfrom = \"office\"\ninto = \"erp\"\n".to_owned();
        let chosen = lines.lines().any(|line| line.starts_with("jobs"));
        if !chosen && !lines.contains("stream = true") {
            table += "jobs = 2\n";
        }
        for default in ["pattern = \"*.zip\"", "settle = \"0s\""] {
            let key = default.split(' ').next().expect("a key");
            if !lines.lines().any(|line| line.starts_with(key)) {
                table += default;
                table += "\n";
            }
        }
        self.part(&format!("{table}{lines}\n"))
    }

    /// Writes the files, again after a change.
    pub fn write(self) -> Self {
        fs::write(self.path("config.toml"), &self.config).expect("config.toml");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(self.path(".env"))
            .and_then(|mut file| file.write_all(self.env_file.as_bytes()))
            .expect(".env");
        self
    }

    /// Runs `backupctl -c config.toml …`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.program.run(&configured(arguments))
    }

    /// Starts `backupctl -c config.toml …`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.program.start(&configured(arguments))
    }

    /// A file of the installation: `config.toml`, `state/runs`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The reports on disk, oldest first.
    pub fn reports(&self) -> Vec<Value> {
        let Ok(runs) = fs::read_dir(self.path("state/runs")) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = runs
            .map(|file| file.expect("a file").path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .collect();
        files.sort();
        let parse = |path: &PathBuf| -> Value {
            let text = fs::read_to_string(path).expect("a report");
            serde_json::from_str(&text).expect("a report is JSON")
        };
        let mut reports: Vec<Value> = files.iter().map(parse).collect();
        // A run's id is exact to the second only.
        let started = |report: &Value| {
            let text = report["started"].as_str().unwrap_or_default();
            text.parse::<jiff::Timestamp>().expect("when it started")
        };
        reports.sort_by_key(started);
        reports
    }
}

fn configured<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["-c", "config.toml"], arguments].concat()
}

/// The names of what is in a directory, in order.
pub fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("a file").file_name();
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// The program as it was built with these tests, or, for an example, beside it.
pub fn binary() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_backupctl") {
        return path.into();
    }
    let example = std::env::current_exe().expect("this program's path");
    let built = example.parent().and_then(Path::parent);
    built.expect("target/debug/examples").join("backupctl")
}

fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut pipe = pipe.expect("a pipe");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("its output");
        String::from_utf8(bytes).expect("its output is UTF-8")
    })
}

fn text(reader: JoinHandle<String>) -> String {
    reader.join().expect("its output")
}
