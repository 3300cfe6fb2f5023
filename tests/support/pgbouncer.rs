//! A real PgBouncer before a real server: on loopback, in a temporary directory, gone with its value.
//!
//! Like the server itself it refuses to run as root.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use super::postgres::{Postgres, as_server_user, free_port, owned_by_server_user};

const START_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct PgBouncer {
    pub port: u16,
    directory: TempDir,
    process: Child,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl PgBouncer {
    /// Before `server`, for every database; `settings` are more lines of its `[pgbouncer]`.
    pub fn start(server: &Postgres, settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let port = free_port();
        let users = format!("\"postgres\" \"{}\"\n", server.password);
        fs::write(path("users.txt"), users).expect("a list of users");
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\nlogfile = {}\nserver_login_retry = 1\n{settings}\n",
            server.port,
            path("users.txt"),
            path("log"),
        );
        fs::write(path("pgbouncer.ini"), ini).expect("a configuration");
        owned_by_server_user(directory.path());
        let program = PathBuf::from("/usr/sbin/pgbouncer");
        assert!(program.exists(), "Debian's package pgbouncer is installed");
        let process = as_server_user(&program)
            .arg("--quiet")
            .arg(path("pgbouncer.ini"))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer starts");
        let started = Self {
            port,
            directory,
            process,
        };
        started.wait_until_ready(server);
        started
    }

    fn wait_until_ready(&self, server: &Postgres) {
        let until = Instant::now() + START_DEADLINE;
        while !self.answers(server) {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "pgbouncer did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self, server: &Postgres) -> bool {
        let mut psql: Command = server.tool("psql", "postgres");
        let ran = psql
            .env("PGPORT", self.port.to_string())
            .args(["-X", "-c", "select 1"])
            .output();
        ran.expect("psql runs").status.success()
    }

    /// A client with a session through it.
    pub async fn client(&self, database: &str) -> Client {
        let settings = format!(
            "host=127.0.0.1 port={} user=postgres dbname={database}",
            self.port
        );
        let (client, connection) = tokio_postgres::connect(&settings, NoTls)
            .await
            .expect("a session through PgBouncer");
        // It ends with the client, or when PgBouncer ends it.
        tokio::spawn(async move { drop(connection.await) });
        client
    }
}
