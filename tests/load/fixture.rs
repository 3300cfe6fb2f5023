//! What the tests of loading start from.

use std::fs;
use std::path::Path;
use std::time::Duration;

use backupctl::database::connection::Login;
use backupctl::database::dump::{Format, Toc};
use backupctl::database::load::{Feeder, Input, Load, Loaded, load, pipe};
use backupctl::database::tools::{Tool, find};
use backupctl::journal::Journal;
use backupctl::output::Progress;
use backupctl::run::{Notes, Run, RunId};
use backupctl::verdict::Outcome;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::Postgres;

const SHOP: &str = "
create table users (id int primary key, name text not null);
insert into users select i, repeat(md5(i::text), 20) from generate_series(1, 3000) i;
create table orders (id int primary key, user_id int references users);
insert into orders select i, i from generate_series(1, 3000) i;
create index on orders (user_id);
";

/// A dump of a small shop, and everything that loading it takes.
pub struct Fixture {
    pub directory: TempDir,
    pub source: String,
    pub tool: Tool,
    pub login: Login,
    pub run: Run,
}

impl Fixture {
    pub async fn new() -> Self {
        let pg = Postgres::shared();
        let directory = tempfile::tempdir().expect("a directory");
        let source = pg.database("shop");
        pg.sql(&source, SHOP);
        let id = RunId::new(jiff::Timestamp::now());
        let tools = find(Some(&pg.bin_dir)).await.expect("pg_restore");
        Self {
            login: pg.login(&source, &id),
            run: Run {
                journal: Journal::new(directory.path(), &id, "erp", "run"),
                id,
                notes: Notes::default(),
                progress: Progress::default(),
                stop: CancellationToken::new(),
            },
            tool: tools[0].clone(),
            directory,
            source,
        }
    }

    pub fn plan<'a>(&'a self, target: &'a str, dump: &'a Path) -> Load<'a> {
        Load {
            tool: &self.tool,
            login: &self.login,
            target,
            input: Input::File(dump),
            format: Toc::open(dump).map_or(Format::Custom, |toc| toc.header.format),
            jobs: 2,
            in_place: false,
            select: None,
            stall: Duration::from_mins(1),
            most_bytes: None,
        }
    }

    /// The same through a pipe.
    pub fn piped<'a>(&'a self, target: &'a str, format: Format) -> (Feeder, Load<'a>) {
        let (feeder, pipe) = pipe().expect("a pipe");
        let plan = self.plan(target, Path::new("/nonexistent"));
        let input = Input::Pipe(pipe);
        (
            feeder,
            Load {
                input,
                format,
                ..plan
            },
        )
    }

    pub async fn load(&self, target: &str, dump: &[u8]) -> Outcome<Loaded> {
        let path = self.directory.path().join("loaded.dump");
        fs::write(&path, dump).expect("a dump");
        load(self.plan(target, &path), &self.run).await
    }
}
