//! A private PostgreSQL server for one drill: made by `initdb` in a directory of its own, reachable by a socket in it alone, and
//! ended and removed with all that was loaded.
//!
//! It may lose everything at a crash, so nothing is synced. PostgreSQL refuses to run as root: then it runs as `nobody`, which
//! gets its directory as an open descriptor and needs no way through `state_dir`.

mod extensions;
mod leftover;
mod programs;
mod user;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub use self::extensions::has_extensions;
pub use self::leftover::remove;
pub use self::programs::choose;
pub use self::user::server_user;
use super::connection::{Login, Session};
use super::tools::Tool;
use crate::config::{Postgres, SslMode};
use crate::durable;
use crate::escape::shown;
use crate::process::{self, Child, Command, Signal, User};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const PORT: u16 = 5432;
/// What the kernel takes for the path of a socket, without the zero byte at its end.
const SOCKET_BYTES: usize = 107;
const INITDB_DEADLINE: Duration = Duration::from_mins(2);
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Between a session that is lost and the end of a server that has crashed.
const END_DEADLINE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);
/// Lines of what a program said last that a failure tells.
const SAID: usize = 5;
/// Every libc that PostgreSQL is packaged for has the first one; the second one is in PostgreSQL itself.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];
/// Sessions beside those of pg_restore.
const OWN_SESSIONS: u32 = 20;

/// A server that ends when this value is dropped. Its directory stays until [`remove`].
#[derive(Debug)]
pub struct Cluster {
    pub directory: PathBuf,
    /// Dropped: the server is ended.
    stop: Option<oneshot::Sender<()>>,
    keeper: JoinHandle<()>,
    said: Said,
    /// Keeps the server's way into its directory as good for us as it is for the server.
    _command: Command,
}

/// The last lines of a program.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<VecDeque<String>>>);

impl Said {
    fn line(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(shown(line));
        if lines.len() > SAID {
            lines.pop_front();
        }
    }

    fn in_words(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.join("; ")
    }
}

/// How a cluster in `directory` is logged in to, in place of what `settings` say. Its only user may do everything in it.
///
/// # Errors
/// `config`: the directory's path is too long for a socket, or no such for libpq.
pub fn settings(directory: &Path, tool: &Tool, settings: &Postgres) -> Outcome<Postgres> {
    let socket = directory.join(format!(".s.PGSQL.{PORT}"));
    let length = socket.as_os_str().len();
    if length > SOCKET_BYTES {
        let over = length - SOCKET_BYTES;
        return Err(Failed::new(
            Verdict::Config,
            format!(
                "the socket {} would have {length} bytes, and the kernel takes {SOCKET_BYTES}",
                socket.display()
            ),
        )
        .hint(format!(
            "give `state_dir` a path that is {over} bytes shorter, or set `where = \"server\"` in [drill]"
        )));
    }
    if socket.as_os_str().as_encoded_bytes().contains(&b',') {
        return Err(Failed::new(
            Verdict::Config,
            format!(
                "pg_restore would take {} for two directories, because of its comma",
                directory.display()
            ),
        )
        .hint("give `state_dir` a path without a comma, or set `where = \"server\"` in [drill]"));
    }
    let is_own = ["postgres", "template0", "template1"].contains(&settings.name.as_str());
    Ok(Postgres {
        key: settings.key.clone(),
        host: directory.display().to_string(),
        port: PORT,
        user: superuser(&settings.user).to_owned(),
        password: None,
        name: if is_own { "drilled" } else { &settings.name }.to_owned(),
        sslmode: SslMode::Disable,
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        maintenance_database: "postgres".to_owned(),
        bin_dir: tool.path.parent().map(Path::to_owned),
        system_identifier: None,
        session: Vec::new(),
        create: true,
        max_server_bytes: None,
    })
}

/// The configured name, so that a dump that names it needs no other role; `initdb` refuses those of PostgreSQL itself.
fn superuser(user: &str) -> &str {
    if user.is_empty() || user.starts_with("pg_") {
        return "postgres";
    }
    user
}

impl Cluster {
    /// Makes and starts one. The directory must be in the journal, and not there.
    ///
    /// # Errors
    /// `config`: there is nobody as whom it could run; `local`: it can't be made or doesn't start, with what it said.
    pub async fn start(login: &Login, tool: &Tool, jobs: u32) -> Outcome<Self> {
        let directory = PathBuf::from(&login.settings.host);
        let user = server_user()?;
        make_directory(&directory, user)
            .judge(Verdict::Local, format!("create {}", directory.display()))?;
        init(&directory, (tool, user), &login.settings.user).await?;
        let cluster = Self::launch(&directory, (tool, user), jobs).await?;
        cluster.ready(login).await?.close().await;
        Ok(cluster)
    }

    async fn launch(
        directory: &Path,
        (tool, user): (&Tool, Option<User>),
        jobs: u32,
    ) -> Outcome<Self> {
        let program = programs::beside(tool, "postgres");
        let (command, inside) = Command::new(program)?
            .confined(user)
            // An immediate shutdown: what is in it is thrown away.
            .ended_by(Signal::QUIT)
            .hand_over(directory)?;
        let inside = inside.display().to_string();
        let command = command.arg("-D").arg(format!("{inside}/data"));
        let command = own_settings(&inside, jobs)
            .iter()
            .fold(command, |command, setting| command.args(["-c", setting]));
        let child = Child::start(&command).await?;
        let (stop, stopped) = oneshot::channel();
        let said = Said::default();
        let keeper = tokio::spawn(keep(child, stopped, said.clone()));
        Ok(Self {
            directory: directory.to_owned(),
            stop: Some(stop),
            keeper,
            said,
            _command: command,
        })
    }

    /// A first session, as soon as it takes one.
    async fn ready(&self, login: &Login) -> Outcome<Session> {
        let until = Instant::now() + START_DEADLINE;
        loop {
            let failed = match login.maintenance().await {
                Ok(session) => return Ok(session),
                Err(failed) => failed,
            };
            if self.keeper.is_finished() {
                return Err(Failed::new(
                    Verdict::Local,
                    format!("the private cluster has ended: {}", self.said.in_words()),
                )
                .hint("this machine may lack memory, shared memory or processes for a PostgreSQL server"));
            }
            if Instant::now() > until {
                let told = format!("the private cluster takes nobody: {}", failed.message());
                return Err(Failed::new(Verdict::Local, told));
            }
            sleep(POLL).await;
        }
    }

    /// What `failed` is where it is the cluster that has failed, and not what is restored in it: memory or room ran out here.
    pub async fn judge(&self, failed: Failed) -> Failed {
        if matches!(failed.verdict, Verdict::Interrupted(_) | Verdict::Local) {
            return failed;
        }
        let told = failed.message();
        let hint = failed.hint.as_deref().unwrap_or_default();
        // What a server says is a full disk, in whichever words.
        if told.contains("No space left on device") || hint.contains("free space on the database") {
            return Failed::new(Verdict::Local, told).hint(
                "free space in `state_dir`, move it to a larger disk, or set `where = \"server\"` in [drill]",
            );
        }
        if told.to_lowercase().contains("connect") && self.ends().await {
            let said = self.said.in_words();
            let told = format!("{told}; the private cluster has ended: {said}");
            return Failed::new(Verdict::Local, told).hint(
                "look for the kernel's out-of-memory killer in this machine's log, or set `where = \"server\"` in [drill]",
            );
        }
        failed
    }

    /// Whether it is gone, or about to go.
    async fn ends(&self) -> bool {
        let until = Instant::now() + END_DEADLINE;
        while !self.keeper.is_finished() && Instant::now() < until {
            sleep(POLL).await;
        }
        self.keeper.is_finished()
    }

    /// Ends the server and removes everything of it.
    ///
    /// # Errors
    /// `local`: something of it is still there.
    pub async fn end(mut self) -> Outcome<()> {
        drop(self.stop.take());
        // It ends by itself and bounded; a panic in it leaves what `remove` looks for.
        let _ = (&mut self.keeper).await;
        remove(&self.directory).await
    }
}

async fn keep(mut child: Child, stopped: oneshot::Receiver<()>, said: Said) {
    let listening = async {
        while let Some((_, line)) = child.line().await {
            tracing::debug!("cluster: {}", shown(&line));
            said.line(&line);
        }
    };
    tokio::select! {
        () = listening => {}
        _ = stopped => {}
    }
    child.stop().await;
}

fn make_directory(directory: &Path, user: Option<User>) -> std::io::Result<()> {
    durable::create_private_dir(directory)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(directory, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

async fn init(directory: &Path, by: (&Tool, Option<User>), superuser: &str) -> Outcome<()> {
    let [first, second] = LOCALES;
    match init_with(directory, by, (superuser, first)).await {
        Err(failed) if failed.message().contains("invalid locale") => {
            init_with(directory, by, (superuser, second)).await
        }
        other => other,
    }
}

async fn init_with(
    directory: &Path,
    (tool, user): (&Tool, Option<User>),
    (superuser, locale): (&str, &str),
) -> Outcome<()> {
    let program = programs::beside(tool, "initdb");
    let (command, inside) = Command::new(&program)?
        .confined(user)
        // Nothing of what it has made is kept, and one that heeds nothing else would outlive us.
        .ended_by(Signal::KILL)
        .hand_over(directory)?;
    // Whoever reaches the socket may come in; that is the owner of its directory, and root.
    let command = command
        .args(["--auth=trust", "--no-sync", "--encoding=UTF8"])
        .arg(format!("--locale={locale}"))
        .arg(format!("--username={superuser}"))
        .arg("-D")
        .arg(inside.join("data"));
    let said = Said::default();
    let ended = process::run(&command, INITDB_DEADLINE, |_, line| said.line(line)).await?;
    if ended.is_success() {
        return Ok(());
    }
    let told = format!("{}: {ended}: {}", program.display(), said.in_words());
    Err(Failed::new(Verdict::Local, told)
        .hint("look whether `state_dir` has room, and allows programs to be owned by others")
        .context("make a private cluster"))
}

/// No network, no durability, and nothing that runs beside the load by itself.
fn own_settings(inside: &str, jobs: u32) -> Vec<String> {
    let connections = jobs + OWN_SESSIONS;
    let mut settings = vec![
        format!("unix_socket_directories={inside}"),
        format!("port={PORT}"),
        format!("max_connections={connections}"),
    ];
    settings.extend(
        [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            // In its directory, which goes; containers have little in /dev/shm, where it would stay after a kill.
            "dynamic_shared_memory_type=mmap",
            "wal_level=minimal",
            "max_wal_senders=0",
            "archive_mode=off",
            "autovacuum=off",
            "checkpoint_timeout=30min",
            "maintenance_work_mem=256MB",
            "max_locks_per_transaction=256",
            "restart_after_crash=off",
            "ssl=off",
            "logging_collector=off",
            "log_destination=stderr",
            // Statements hold what no log should.
            "log_statement=none",
            "log_min_error_statement=panic",
            "lc_messages=C",
            "cluster_name=backupctl",
        ]
        .map(str::to_owned),
    );
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::dump::PgVersion;

    #[test]
    fn a_path_that_libpq_takes_for_two_is_refused() {
        let failed = settings(
            Path::new("/a,b/drills/x"),
            &tool(),
            &configured("erp", "me"),
        );
        let failed = failed.expect_err("a comma");
        assert_eq!(failed.verdict, Verdict::Config);
        assert!(
            failed.message().contains("two directories"),
            "{}",
            failed.message()
        );
    }

    fn configured(name: &str, user: &str) -> Postgres {
        let config = crate::config::parse(
            Path::new("/etc/backupctl/config.toml"),
            &format!(
                "state_dir = \"/s\"\n[databases.erp.postgres]\nhost = \"db\"\nuser = \"{user}\"\nname = \"{name}\"\n\
                 maintenance_database = \"other\""
            ),
            &crate::config::Environment::default(),
        );
        let config = config.unwrap_or_else(|failed| panic!("{}", failed.message()));
        config.databases["erp"].clone()
    }

    fn tool() -> Tool {
        Tool {
            path: "/pg/15/bin/pg_restore".into(),
            version: PgVersion {
                major: 15,
                minor: 3,
            },
        }
    }

    #[test]
    fn nothing_of_the_configured_server_is_asked() {
        let found = settings(Path::new("/s/drills/x"), &tool(), &configured("erp", "me"));
        let found = found.expect("short enough");
        assert_eq!(
            (&*found.host, &*found.user, &*found.name),
            ("/s/drills/x", "me", "erp")
        );
        assert_eq!(found.bin_dir.as_deref(), Some(Path::new("/pg/15/bin")));
    }

    #[test]
    fn names_that_a_cluster_has_or_refuses_are_replaced() {
        let found = settings(Path::new("/s"), &tool(), &configured("postgres", "pg_me"));
        let found = found.expect("short enough");
        assert_eq!((&*found.user, &*found.name), ("postgres", "drilled"));
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_told_with_its_length() {
        let room = SOCKET_BYTES - "/.s.PGSQL.5432".len();
        let path = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        let asked = configured("erp", "me");
        assert!(settings(&path(room), &tool(), &asked).is_ok());
        let failed = settings(&path(room + 3), &tool(), &asked).expect_err("too long");
        assert_eq!(failed.verdict, Verdict::Config);
        assert!(
            failed.message().contains("110 bytes"),
            "{}",
            failed.message()
        );
        assert!(failed.hint.expect("a hint").contains("3 bytes shorter"));
    }
}
