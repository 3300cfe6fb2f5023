//! An installation that takes one fault after the other: its live database goes back and forth between two archives.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::faults::world::{Archive, World, files, fill, server};
use crate::secrets::hunt::{Hunt, decoded};
use crate::support::archives;
use crate::support::postgres::Postgres;
use crate::support::program::{Program, Ran, Running, Setup};
use crate::support::proxy::Proxy;
use crate::support::smtp::{self, Smtp};
use crate::support::sshd::{self, Sshd};

const PASSPHRASE: &str = "canary-phrase-71c0";
/// So long may the slowest server take to be given up: what the installation's own deadlines add up to.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// What a mail server that says nothing more is given.
pub const MAIL: Duration = Duration::from_secs(120 + 15);
/// And no run may end later than this after that.
pub const GRACE: Duration = Duration::from_secs(10);

/// Which of the three connections goes through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// And archives come from a local directory.
    NoStore,
    Nothing,
    Store,
    Database,
    Mail,
}

pub struct Field {
    pub world: World,
    pub far: Option<Proxy>,
    pub smtp: Smtp,
    /// Which archive is live.
    pub live: usize,
    /// What was there after the last run, if nothing has happened since.
    pub last: Option<Seen>,
    /// Faults that it has taken, where not each is followed by a clean run.
    pub strikes: u32,
    /// How long the last clean run took.
    pub whole: Duration,
    /// What the program is started by: strace, prlimit.
    pub behind: Vec<String>,
    hunt: aho_corasick::AhoCorasick,
    /// How much of each file was searched for secrets.
    searched: HashMap<PathBuf, u64>,
    mails: usize,
    sshd: Sshd,
}

/// What the server and the disk are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub hash: String,
    pub previous: Vec<String>,
    pub scratch: Vec<String>,
    pub reports: BTreeSet<String>,
}

/// A run that something was done to.
pub struct Struck {
    pub before: Seen,
    pub ran: Ran,
    pub elapsed: Duration,
}

/// Two archives with different content, and its hash once it is live.
pub fn both() -> &'static [Archive; 2] {
    static BOTH: LazyLock<[Archive; 2]> = LazyLock::new(|| ["even", "odd"].map(made));
    &BOTH
}

fn made(word: &str) -> Archive {
    let source = server().database("source");
    fill(server(), &source, word);
    server().sql(
        &source,
        "create or replace function calm(n int) returns int immutable language plpgsql as
             $$begin perform pg_catalog.pg_sleep(0.05); return n; end$$",
    );
    let zip = archives::zip()
        .entry("erp.dump", server().dump(&source, &["-Fc"]))
        .build();
    let hash = content(server(), &source);
    assert_eq!(hash.len(), 32, "{hash}");
    server().sql("postgres", &format!("drop database {source}"));
    Archive { zip, hash }
}

/// All that [`fill`] makes, in one statement: the rows, the sequences, every definition. Anything else gives the server's error.
fn content(server: &Postgres, database: &str) -> String {
    server.try_sql(database, CONTENT).1.trim().to_owned()
}

const CONTENT: &str = "
select md5(string_agg(line, chr(10) order by line collate \"C\")) from (
    select 'item ' || md5(string_agg(t::text, ',' order by t.id)) from item t
    union all select 'part ' || md5(string_agg(t::text, ',' order by t.id)) from part t
    union all select 'once ' || string_agg(t::text, ',' order by t.n) from once t
    union all select 'sequences ' || (select last_value || ' ' || is_called::text from item_id_seq) || (select last_value || ' ' || is_called::text from part_id_seq)
    union all select 'relation ' || relname || relkind::text from pg_class where relnamespace = 'public'::regnamespace
    union all select 'column ' || attrelid::regclass::text || attname || atttypid::regtype::text || attnotnull::text from pg_attribute
        where attnum > 0 and attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v'))
    union all select pg_get_indexdef(indexrelid) || indisvalid::text from pg_index where indrelid in ('item'::regclass, 'part'::regclass, 'once'::regclass)
    union all select conname || pg_get_constraintdef(oid) || convalidated::text from pg_constraint where connamespace = 'public'::regnamespace
    union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
    union all select viewname || definition from pg_views where schemaname = 'public'
) all_of_it(line)";

impl Field {
    pub fn new(far: Far) -> Self {
        Self::with(far, "")
    }

    /// Over SFTP with a passphrase, with mail, and one of the connections through a proxy; `job` has more of the job's settings.
    pub fn with(far: Far, job: &str) -> Self {
        Self::prepared(far, job, |_| ())
    }

    /// `prepare` is handed the installation's directory before anything is in it.
    pub fn prepared(far: Far, job: &str, prepare: impl FnOnce(&Path)) -> Self {
        let sshd = Sshd::with(&sshd::Options {
            user_key: ("ed25519", PASSPHRASE),
            ..sshd::Options::default()
        });
        let smtp = Smtp::start(smtp::Options::default());
        let proxy = match far {
            Far::NoStore | Far::Nothing => None,
            Far::Store => Some(Proxy::to(sshd.port, Duration::ZERO)),
            Far::Database => Some(Proxy::to(server().port, Duration::ZERO)),
            Far::Mail => Some(Proxy::to(smtp.port, Duration::ZERO)),
        };
        let world = World::with(job, |setup, store| {
            prepare(&setup.path(""));
            let setup = with_temporary_files(setup);
            let table = match &proxy {
                Some(proxy) if far == Far::Store => proxy.toml(&sshd, "office", store),
                _ => sshd.toml("office", store),
            };
            let setup = match far {
                Far::NoStore => setup.local(store),
                _ => setup
                    .part(&format!("{table}passphrase = \"env:SFTP_PASSPHRASE\"\n"))
                    .secret("SFTP_PASSPHRASE", PASSPHRASE),
            };
            setup.mail(&smtp, &["ops@example.org"])
        });
        if let Some(proxy) = &proxy {
            match far {
                Far::Mail => go_through(&world, smtp.port, proxy.port),
                Far::Database => go_through(&world, server().port, proxy.port),
                _ => {}
            }
        }
        let mut field = Self {
            hunt: hunt(&world),
            world,
            far: proxy,
            smtp,
            live: 1,
            last: None,
            strikes: 0,
            whole: Duration::ZERO,
            behind: Vec::new(),
            searched: HashMap::new(),
            mails: 0,
            sshd,
        };
        field.recovers(false);
        field
    }

    /// One of the files that it is configured with.
    pub fn file(&self, name: &str) -> PathBuf {
        match name {
            "known_hosts" => self.sshd.known_hosts.clone(),
            other => self.world.setup.path(other),
        }
    }

    /// What becomes live next.
    pub fn next(&self) -> &'static Archive {
        &both()[1 - self.live]
    }

    fn program(&self) -> Program {
        let program = self.world.setup.program.clone();
        program.behind(&self.behind).within(MAIL + GRACE)
    }

    /// Offers the other archive, starts `backupctl …` and does something to it.
    pub fn strike(&mut self, arguments: &[&str], blow: impl FnOnce(&mut Running)) -> Struck {
        self.strike_with(&self.next().zip, arguments, blow)
    }

    /// Offers these bytes in place of the other archive's.
    pub fn strike_with(
        &mut self,
        zip: &[u8],
        arguments: &[&str],
        blow: impl FnOnce(&mut Running),
    ) -> Struck {
        fs::write(self.world.store.join("erp.zip"), zip).expect("an archive in the store");
        let before = self.last.take().unwrap_or_else(|| self.seen());
        let clock = Instant::now();
        let arguments = [&["-c", "config.toml", "--json"], arguments].concat();
        let mut running = self.program().start(&arguments);
        blow(&mut running);
        let ran = running.finish();
        Struck {
            before,
            ran,
            elapsed: clock.elapsed(),
        }
    }

    pub fn seen(&self) -> Seen {
        let World { live, server, .. } = &self.world;
        let like = |what: &str| format!("{live}_{what}_");
        let all = server.databases_like(&format!("{live}%"));
        let those = |what: &str| {
            let names = all.iter().filter(|name| name.starts_with(&like(what)));
            names.cloned().collect()
        };
        Seen {
            hash: content(server, live),
            previous: those("before"),
            scratch: those("new"),
            reports: self.reports(),
        }
    }

    /// What a database holds.
    pub fn content(&self, database: &str) -> String {
        content(self.world.server, database)
    }

    /// The ids of the runs that have a report.
    fn reports(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.world.setup.path("state/runs"));
        let names = entries.into_iter().flatten().flatten();
        names
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(name.strip_suffix(".json")?.to_owned())
            })
            .collect()
    }

    /// Everything that was said and written since the last time: none of it holds a secret.
    pub fn no_secret(&mut self, ran: &Ran) {
        self.absent("stdout", ran.stdout.as_bytes());
        self.absent("stderr", ran.stderr.as_bytes());
        let own = ["secret.key", ".env", "config.toml"].map(|name| self.world.setup.path(name));
        for file in files(&self.world.setup.path("")) {
            let length = file.metadata().map_or(0, |meta| meta.len());
            if own.contains(&file) || self.searched.get(&file) == Some(&length) {
                continue;
            }
            self.absent(
                &file.display().to_string(),
                &fs::read(&file).unwrap_or_default(),
            );
            self.searched.insert(file, length);
        }
        let mails = self.smtp.mails();
        for mail in mails.iter().skip(self.mails) {
            self.absent("a mail", mail.data.as_bytes());
            self.absent("a mail, decoded", &decoded(&mail.data));
        }
        self.mails = mails.len();
    }

    fn absent(&self, what: &str, hay: &[u8]) {
        let found = self.hunt.find(hay);
        assert!(found.is_none(), "a secret in {what}");
    }
}

/// The installation's secrets in each form that they could be shown in.
fn hunt(world: &World) -> aho_corasick::AhoCorasick {
    let key = fs::read_to_string(world.setup.path("secret.key")).expect("the key");
    let key = key.lines().last().expect("a key").trim();
    let words = [PASSPHRASE, smtp::PASSWORD, &world.server.password, key];
    aho_corasick::AhoCorasick::new(Hunt::for_words(&words).needles).expect("an automaton")
}

/// In the installation, so that they are seen.
fn with_temporary_files(mut setup: Setup) -> Setup {
    let directory = setup.path("tmp");
    fs::create_dir(&directory).expect("a directory for temporary files");
    let path = directory.display().to_string();
    setup.program = setup.program.env("TMPDIR", &path);
    setup
}

fn go_through(world: &World, direct: u16, proxy: u16) {
    let path = world.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    let far = config.replace(&format!("port = {direct}\n"), &format!("port = {proxy}\n"));
    assert_ne!(far, config, "a port of the configuration");
    fs::write(path, far).expect("config.toml");
}

/// A file of the installation with other bytes while something is tried, and then as it was.
pub fn with_bytes<T>(path: &Path, bytes: &[u8], work: impl FnOnce() -> T) -> T {
    let good = fs::read(path).expect("the good file");
    fs::write(path, bytes).expect("the broken file");
    let result = work();
    fs::write(path, good).expect("the good file");
    result
}
