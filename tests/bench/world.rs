//! The servers and the installation that everything is measured with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::data::{self, MIB};
use crate::options::Options;
use crate::say;
use crate::support::postgres::Postgres;
use crate::support::program::{Setup, binary};
use crate::support::proxy::Proxy;
use crate::support::sshd::{self, Sshd};

pub const ROUND_TRIP: Duration = Duration::from_millis(40);

/// What a production server of this size has, and every promise to the disk kept; the tests' own server keeps none.
pub const SERVER_SETTINGS: &str = "\
fsync = on
synchronous_commit = on
full_page_writes = on
wal_level = replica
max_prepared_transactions = 0
shared_buffers = 256MB
maintenance_work_mem = 128MB
max_wal_size = 4GB
";

/// Left for everybody else on the disk; backupctl insists on some of it.
const SPARE_MIB: u64 = 512;

pub struct World {
    pub options: Options,
    /// Everything lies in it.
    pub directory: PathBuf,
    pub postgres: Postgres,
    pub sshd: Sshd,
    /// The same server, 40 ms away.
    pub far: Proxy,
    /// A small database's dump.
    pub dump: Vec<u8>,
}

/// From where an archive is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    Near,
    Far,
}

impl Distance {
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Near => "loopback",
            Self::Far => "40 ms round trip",
        }
    }
}

impl World {
    pub fn start(options: Options, directory: &Path) -> Result<Self> {
        say("starting PostgreSQL and sshd");
        let postgres = Postgres::start(SERVER_SETTINGS);
        let sshd = Sshd::with(&sshd::Options {
            direct: true,
            ..sshd::Options::default()
        });
        let far = Proxy::to(sshd.port, ROUND_TRIP);
        sshd.also_known_at(far.port);
        postgres.sql("postgres", "create database small");
        postgres.sql("small", SMALL);
        let path = directory.join("small.dump");
        dump_to(&postgres, "small", &path)?;
        Ok(Self {
            options,
            directory: directory.to_owned(),
            dump: fs::read(&path)?,
            postgres,
            sshd,
            far,
        })
    }

    pub fn port(&self, distance: Distance) -> u16 {
        match distance {
            Distance::Near => self.sshd.port,
            Distance::Far => self.far.port,
        }
    }

    /// An error where the disk has not so much.
    pub fn needs_room(&self, mebibytes: u64) -> Result<()> {
        let disk = rustix::fs::statvfs(&self.directory).context("ask for the free space")?;
        let free = disk.f_bavail * disk.f_frsize / MIB;
        let needed = mebibytes + SPARE_MIB;
        ensure!(
            free >= needed,
            "{} has {free} MiB free and this needs {needed}: choose smaller sizes, or another disk with TMPDIR",
            self.directory.display()
        );
        Ok(())
    }

    /// An installation of backupctl for the one archive `name`, into the database `live`.
    pub fn installation(&self, name: &str, distance: Distance) -> Setup {
        let store = match distance {
            Distance::Near => self.sshd.toml("office", &self.sshd.dir),
            Distance::Far => self.far.toml(&self.sshd, "office", &self.sshd.dir),
        };
        let job = format!(
            "[restores.erp]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"{name}\"\nsettle = \"0s\"\njobs = {}\n",
            self.options.jobs()
        );
        Setup::new()
            .part(&store)
            .database(&self.postgres, "live")
            .part(&job)
            .write()
    }

    /// An empty live database, and nothing of earlier restores.
    pub fn empty_databases(&self, names: &[&str]) -> Result<()> {
        let leftover = self.postgres.databases_like("live\\_%");
        for name in leftover
            .iter()
            .map(String::as_str)
            .chain(names.iter().copied())
        {
            let drop = format!("drop database if exists \"{name}\" with (force)");
            self.statement("postgres", &drop)?;
        }
        self.statement("postgres", "create database live")?;
        self.statement("postgres", "checkpoint")
    }

    pub fn statement(&self, database: &str, sql: &str) -> Result<()> {
        let (ok, text) = self.postgres.try_sql(database, sql);
        if !ok {
            bail!("{sql}: {text}");
        }
        Ok(())
    }
}

/// `backupctl ARGUMENTS`, as cron would start it.
pub fn backupctl(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(["-c", "config.toml", "--json"])
        .args(arguments)
        .current_dir(setup.path(""))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", setup.path(""))
        .env("TZ", "UTC");
    command
}

/// Takes away what backupctl has fetched, unpacked and reported.
pub fn forget(setup: &Setup) -> Result<()> {
    remove(&setup.path("state"))
}

/// A file or a directory that may not be there.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("remove {}", path.display()))
}

/// Uncompressed and in custom format, with the places of the tables' data in it.
pub fn dump_to(postgres: &Postgres, database: &str, path: &Path) -> Result<()> {
    let output = postgres
        .tool("pg_dump", database)
        .args(["-Fc", "-Z0", "-f"])
        .arg(path)
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pg_dump: {complaint}");
    Ok(())
}

/// The only file with this ending below `directory`, and its hash.
pub fn only_file(directory: &Path, ending: &str) -> Result<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("list {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                found.push(path);
            }
        }
    }
    ensure!(found.len() == 1, "one .{ending} file and not {found:?}");
    data::sha256(&found[0])
}

const SMALL: &str = "
create table orders (id integer primary key, placed date not null);
insert into orders select n, date '2026-01-01' + n % 365 from generate_series(1, 1000) n;
";
