//! Every kind of store, for the suite of promises.

use std::any::Any;
use std::path::PathBuf;

use backupctl::config::{Local, Sftp, Store as Configured, StoreKind};
use backupctl::store::{self, Credentials, Store, StoreError};

use super::{TIMEOUT, named, password, settings};
use crate::support::paramiko_sftp::ParamikoSftp;
use crate::support::sshd::{Options, Sshd};

/// A store of some kind over a directory of this machine.
pub struct Setup {
    pub kind: &'static str,
    pub dir: PathBuf,
    pub store: Configured,
    password: Option<&'static str>,
    /// Lives as long as the store.
    _server: Box<dyn Any>,
}

impl Setup {
    pub async fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        let credentials = self.password.map_or_else(Credentials::default, password);
        store::open(&self.store, credentials, TIMEOUT).await
    }
}

/// Every kind of store; a new kind is a line here.
pub fn every_kind() -> Vec<Setup> {
    vec![
        local_directory(),
        sftp("sftp", "internal-sftp"),
        sftp("sftp without limits", "internal-sftp -P limits"),
        paramiko(),
    ]
}

fn local_directory() -> Setup {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().to_owned();
    Setup {
        kind: "local",
        dir: path.clone(),
        store: Configured {
            name: "disk".to_owned(),
            kind: StoreKind::Local(Local { path }),
        },
        password: None,
        _server: Box::new(home),
    }
}

pub fn sftp(kind: &'static str, command: &str) -> Setup {
    let sshd = Sshd::with(&Options {
        sftp: Some(command.to_owned()),
        ..Options::default()
    });
    Setup {
        kind,
        dir: sshd.dir.clone(),
        store: named(settings(&sshd)),
        password: None,
        _server: Box::new(sshd),
    }
}

fn paramiko() -> Setup {
    let server = ParamikoSftp::start();
    let sftp = Sftp {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        user: "backup".to_owned(),
        password: None,
        private_key: None,
        passphrase: None,
        agent_socket: None,
        path: "/".to_owned(),
        known_hosts: server.known_hosts.clone(),
        host_key: None,
        legacy_algorithms: false,
    };
    Setup {
        kind: "paramiko's sftp",
        dir: server.dir.clone(),
        store: named(sftp),
        password: Some("anything"),
        _server: Box::new(server),
    }
}
