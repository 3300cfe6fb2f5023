//! A real SFTP server that is not OpenSSH's: paramiko's (Debian's python3-paramiko), which has none of OpenSSH's extensions.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const SCRIPT: &str = include_str!("paramiko_sftp.py");

/// Takes any password, and serves one directory as `/`.
pub struct ParamikoSftp {
    pub port: u16,
    pub known_hosts: PathBuf,
    pub dir: PathBuf,
    _home: TempDir,
    child: Child,
}

impl ParamikoSftp {
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let dir = home.path().join("files");
        fs::create_dir(&dir).expect("a directory");
        let mut child = spawn(home.path(), &dir);
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its standard output");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a line of the server");
        let (port, key) = line.trim().split_once(' ').unwrap_or_else(|| {
            let log = fs::read_to_string(home.path().join("log"));
            panic!("the server says {line:?}, and {log:?}")
        });
        let port = port.parse().expect("a port");
        let known_hosts = home.path().join("known_hosts");
        fs::write(&known_hosts, format!("[127.0.0.1]:{port} {key}\n")).expect("known_hosts");
        Self {
            port,
            known_hosts,
            dir,
            _home: home,
            child,
        }
    }
}

impl Drop for ParamikoSftp {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself once its standard input is closed; a failure here would hide the test's own.
        let _ = self.child.wait();
    }
}

fn spawn(home: &Path, dir: &Path) -> Child {
    let log = fs::File::create(home.join("log")).expect("the server's log");
    Command::new("/usr/bin/python3")
        .args(["-I", "-W", "ignore", "-c", SCRIPT])
        .arg(dir)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("/usr/bin/python3 with python3-paramiko")
}
