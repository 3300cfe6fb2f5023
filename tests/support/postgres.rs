//! A real PostgreSQL server for the tests: one per test process, in a temporary directory, gone with the process.
//!
//! PostgreSQL refuses to run as root, so a test run by root starts it as the `postgres` user.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backupctl::config::{self, SslMode};
use backupctl::database::connection::{Login, quote_identifier, quote_literal};
use backupctl::run::RunId;
use backupctl::secret::Secret;
use sha2::{Digest, Sha256};

/// The environment variable that `Postgres::toml` refers to; give the program under test `Postgres::password` in it.
pub const PASSWORD_VARIABLE: &str = "DB_PASSWORD";

const START_DEADLINE: Duration = Duration::from_mins(1);

/// Starts the server once told to; ends it and removes its directory when the test process closes the pipe, however it ended.
const SUPERVISOR: &str = r#"
trap '' INT TERM HUP
directory=$1; shift
if read -r go; then
    "$@" </dev/null >"$directory/log" 2>&1 &
    server=$!
    echo "$server"
    cat >/dev/null
    kill -INT "$server" 2>/dev/null
    wait "$server"
fi
rm -rf "$directory"
"#;

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    /// Where its Unix socket lies; usable as `host`.
    pub socket_dir: PathBuf,
    /// Of the superuser `postgres`.
    pub password: String,
    /// The cluster's own directory: `data`, `log`, and room for a test's files that the server must read.
    pub directory: PathBuf,
    pub bin_dir: PathBuf,
    supervisor: Child,
    /// Closed, it ends the supervisor and with it the server.
    lifeline: Option<ChildStdin>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        self.supervisor.wait().expect("the supervisor ends");
    }
}

impl Postgres {
    /// The one server that most tests share; they keep apart by [`Postgres::database`] and [`Postgres::role`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(""))
    }

    /// A server of one's own, with more lines for postgresql.conf: to be stopped, filled or configured otherwise.
    pub fn start(extra_conf: &str) -> Self {
        Self::start_with(extra_conf, |_| {})
    }

    /// A hot standby, though one without a primary to follow.
    pub fn start_standby() -> Self {
        Self::start_with("hot_standby = on", |data| {
            fs::write(data.join("standby.signal"), "").expect("standby.signal is written");
        })
    }

    /// `before` may change the data directory, which it is handed.
    pub fn start_with(extra_conf: &str, before: impl FnOnce(&Path)) -> Self {
        let bin_dir = newest_bin_dir();
        let directory = tempfile::Builder::new()
            .prefix("backupctl-pg-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let password = format!("canary-{:016x}", rand::random::<u64>());
        let (mut supervisor, mut lifeline) = supervise(&bin_dir, &directory);
        init(&bin_dir, &directory, &password);
        let port = free_port();
        configure(&directory, port, extra_conf);
        before(&directory.join("data"));
        launch(&mut supervisor, &mut lifeline);
        let server = Self {
            port,
            socket_dir: directory.join("socket"),
            password,
            directory,
            bin_dir,
            supervisor,
            lifeline: Some(lifeline),
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + START_DEADLINE;
        while !self.try_sql("postgres", "select 1").0 {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the server did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A new, empty database with a name that no other test has: `erp_0012`.
    pub fn database(&self, prefix: &str) -> String {
        let name = unique(prefix);
        self.sql(
            "postgres",
            &format!("create database {}", quote_identifier(&name)),
        );
        name
    }

    /// A new role with a name that no other test has; `options` as in CREATE ROLE: `LOGIN PASSWORD 'x' CREATEDB`.
    pub fn role(&self, prefix: &str, options: &str) -> String {
        let name = unique(prefix);
        self.sql(
            "postgres",
            &format!("create role {} {options}", quote_identifier(&name)),
        );
        name
    }

    /// Runs a script of statements, each its own transaction, as the superuser.
    pub fn sql(&self, database: &str, sql: &str) {
        let (ok, text) = self.try_sql(database, sql);
        assert!(ok, "{sql}\n{text}");
    }

    /// The rows that a statement gives, columns divided by `|`, lines by newlines.
    pub fn value(&self, database: &str, sql: &str) -> String {
        let (ok, text) = self.try_sql(database, sql);
        assert!(ok, "{sql}\n{text}");
        text.trim_end().to_owned()
    }

    /// Whether it went well, and the output or the error.
    pub fn try_sql(&self, database: &str, sql: &str) -> (bool, String) {
        let mut psql = self
            .tool("psql", database)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let mut stdin = psql.stdin.take().expect("a pipe to psql");
        // A psql that could not connect has closed its end; its exit status and error text say why.
        let _ = stdin.write_all(sql.as_bytes());
        drop(stdin);
        let output = psql.wait_with_output().expect("psql ends");
        let text = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// A `psql` of its own that stays connected: `sql` runs in it, then it waits until it is dropped.
    pub fn session(&self, database: &str, sql: &str) -> OpenSession {
        let mut psql = self
            .tool("psql", database)
            .args(["-X", "-q", "-A", "-t", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql starts");
        let mut stdin = psql.stdin.take().expect("a pipe to psql");
        writeln!(stdin, "{sql};\n\\echo ready").expect("psql reads");
        let mut output = psql.stdout.take().expect("a pipe from psql");
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"ready\n") {
            output
                .read_exact(&mut byte)
                .expect("psql runs the statements");
            seen.push(byte[0]);
        }
        OpenSession {
            psql,
            stdin: Some(stdin),
        }
    }

    /// What `pg_dump` writes: `&["-Fc"]`, `&["-Ft"]`, `&["-s"]`.
    pub fn dump(&self, database: &str, options: &[&str]) -> Vec<u8> {
        let output = self
            .tool("pg_dump", database)
            .args(options)
            .output()
            .expect("pg_dump runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_dump: {complaint}");
        output.stdout
    }

    /// The dump as a file in `directory`: `dump.dump`.
    pub fn dump_to(&self, database: &str, options: &[&str], directory: &Path) -> PathBuf {
        let path = directory.join("dump.dump");
        fs::write(&path, self.dump(database, options)).expect("a dump is written");
        path
    }

    /// One of PostgreSQL's programs, logged in to `database` as the superuser, in an otherwise empty environment.
    pub fn tool(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin_dir.join(program));
        command
            .env_clear()
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", &self.password)
            .env("PGDATABASE", database)
            .env("PGCONNECT_TIMEOUT", "10")
            .env("LC_MESSAGES", "C")
            .env("TZ", "UTC");
        command
    }

    /// The `[databases.KEY.postgres]` table for a configuration file.
    pub fn toml(&self, key: &str, database: &str) -> String {
        format!(
            "[databases.{key}.postgres]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"postgres\"\n\
             password = \"env:{PASSWORD_VARIABLE}\"\nname = \"{database}\"\nbin_dir = \"{}\"\n",
            self.port,
            self.bin_dir.display()
        )
    }

    /// The settings of a configured database.
    pub fn settings(&self, database: &str) -> config::Postgres {
        config::Postgres {
            key: "erp".into(),
            host: "127.0.0.1".into(),
            port: self.port,
            user: "postgres".into(),
            password: None,
            name: database.into(),
            sslmode: SslMode::Prefer,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            maintenance_database: "postgres".into(),
            bin_dir: Some(self.bin_dir.clone()),
            system_identifier: None,
            session: Vec::new(),
            create: false,
            max_server_bytes: None,
        }
    }

    /// The superuser's login, tagged as `run`'s.
    pub fn login(&self, database: &str, run: &RunId) -> Login {
        Login {
            settings: self.settings(database),
            password: Some(Secret::new(self.password.clone())),
            application_name: run.application_name(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Names of databases that are LIKE `pattern`, sorted.
    pub fn databases_like(&self, pattern: &str) -> Vec<String> {
        let sql = format!(
            "select datname from pg_database where datname like {} order by 1",
            quote_literal(pattern)
        );
        let names = self.value("postgres", &sql);
        names.lines().map(str::to_owned).collect()
    }

    /// A hash over all rows, sequences, large objects and definitions: equal means wholly the same.
    pub fn content_hash(&self, database: &str) -> String {
        let mut hash = Sha256::new();
        let definitions = self.dump(database, &["-s"]);
        for line in String::from_utf8_lossy(&definitions).lines() {
            // Newer pg_dump put a random word here, so that a dump can't be taken for psql's commands.
            if !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict") {
                hash.update(line);
                hash.update("\n");
            }
        }
        hash.update(self.rows_hash(database));
        format!("{:02x?}", hash.finalize())
    }

    /// A hash over all rows, sequences and large objects, whoever owns them and whatever was granted.
    pub fn rows_hash(&self, database: &str) -> String {
        let mut hash = Sha256::new();
        for statement in self.value(database, CONTENT_STATEMENTS).lines() {
            hash.update(statement);
            hash.update(self.value(database, statement));
        }
        format!("{:02x?}", hash.finalize())
    }
}

/// One statement a line, each of which gives all that is in one table, sequence, or in the large objects.
const CONTENT_STATEMENTS: &str = "
select statement from (
    select format('select md5(coalesce(string_agg(md5(t::text), %L order by md5(t::text)), %L)) from only %I.%I t', ' ', '', n.nspname, c.relname) as statement
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm') and c.relispopulated and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_t%'
    union all
    select format('select last_value, is_called from %I.%I', n.nspname, c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'S'
    union all
    select 'select md5(string_agg(loid || chr(58) || pageno || encode(data, chr(104) || chr(101) || chr(120)), chr(10) order by loid, pageno)) from pg_largeobject'
) all_of_them order by statement collate \"C\"";

/// A session that somebody else has in a database, until it is dropped.
#[derive(Debug)]
pub struct OpenSession {
    psql: Child,
    stdin: Option<ChildStdin>,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It may have been ended by the test already, and may still be waiting for a lock.
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// A name that no other test of this process uses, and that none begins with.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}_{:04}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn newest_bin_dir() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL's server is installed below /usr/lib/postgresql")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let major = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb")
                .exists()
                .then(|| (major, path.join("bin")))
        })
        .collect();
    found.sort();
    found.pop().expect("a server with initdb is installed").1
}

/// A command that runs as the server's user: the present one, or `postgres` where that is root.
pub fn as_server_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            "--",
        ])
        .arg(program);
    command
}

/// Hands a directory over to the user that the servers run as.
pub fn owned_by_server_user(directory: &Path) {
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown")
            .args(["-R", "postgres:postgres"])
            .arg(directory)
            .status();
        assert!(owned.expect("chown runs").success());
    }
}

fn init(bin_dir: &Path, directory: &Path, password: &str) {
    fs::create_dir(directory.join("socket")).expect("a directory for the socket");
    fs::write(directory.join("password"), password).expect("a password file");
    owned_by_server_user(directory);
    let output = as_server_user(&bin_dir.join("initdb"))
        .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8"])
        .arg(format!("--pwfile={}", directory.join("password").display()))
        .arg(directory.join("data"))
        .current_dir("/")
        .output()
        .expect("initdb runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb: {complaint}");
    fs::remove_file(directory.join("password")).expect("the password file is removed");
}

fn configure(directory: &Path, port: u16, extra_conf: &str) {
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
         fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nlogging_collector = off\n\
         max_connections = 100\nwal_level = logical\nmax_prepared_transactions = 10\n\
         shared_buffers = 32MB\nlog_line_prefix = '%m [%p] %a '\n{extra_conf}\n",
        directory.join("socket").display()
    );
    let file = fs::OpenOptions::new()
        .append(true)
        .open(directory.join("data/postgresql.conf"));
    file.and_then(|mut file| file.write_all(settings.as_bytes()))
        .expect("postgresql.conf is written");
}

/// Watches over the directory from before there is a server in it.
fn supervise(bin_dir: &Path, directory: &Path) -> (Child, ChildStdin) {
    let server = as_server_user(&bin_dir.join("postgres"));
    let mut supervisor = Command::new("sh")
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(directory)
        .arg(server.get_program())
        .args(server.get_args())
        .arg("-D")
        .arg(directory.join("data"))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("the supervisor starts");
    let lifeline = supervisor.stdin.take().expect("a pipe to the supervisor");
    (supervisor, lifeline)
}

/// Starts the server; its process id.
fn launch(supervisor: &mut Child, lifeline: &mut ChildStdin) {
    lifeline.write_all(b"go\n").expect("the supervisor listens");
    let output = supervisor
        .stdout
        .take()
        .expect("a pipe from the supervisor");
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .expect("the supervisor answers");
    assert!(
        !line.trim().is_empty(),
        "the supervisor says the server's process id"
    );
}

/// A port of 127.0.0.1 that nobody listens on just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
