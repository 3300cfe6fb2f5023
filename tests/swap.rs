//! The swap against a real server: old or new, never anything else, and everything that belongs to the database goes along.

mod after_checks;
mod clients;
mod command;
mod commits;
mod held_again;
mod hold_killed;
mod kills;
mod names;
mod previous;
mod properties;
mod rights;
mod room;
mod sessions;

use std::time::Duration;

use backupctl::config::Sessions;
use backupctl::database::connection::{Login, Session, quote_identifier};
use backupctl::database::swap::{
    Happened, Named, Patience, SwapOrder, Swapped, previous_name, swap, was_swapped,
};
use backupctl::journal::{Created, Journal};
use backupctl::output::Progress;
use backupctl::run::{Notes, Run, RunId};
use backupctl::secret::Secret;
use backupctl::verdict::{Outcome, Verdict};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::Postgres;

/// A live database with old rows and a scratch database with new ones.
pub struct Pair {
    pub server: &'static Postgres,
    pub live: String,
    pub scratch: String,
    pub login: Login,
    pub run: Run,
    state: TempDir,
}

impl Pair {
    pub fn new() -> Self {
        Self::on(Postgres::shared())
    }

    /// On a server of the test's own.
    pub fn on(server: &'static Postgres) -> Self {
        Self::of(server, server.database("shop"))
    }

    /// With a name of one's own.
    pub fn named(live: &str) -> Self {
        Postgres::shared().sql(
            "postgres",
            &format!("create database {}", quote_identifier(live)),
        );
        Self::of(Postgres::shared(), live.to_owned())
    }

    fn of(server: &'static Postgres, live: String) -> Self {
        server.sql(
            &live,
            "create table t (v text); insert into t values ('old')",
        );
        let state = tempfile::tempdir().expect("a temporary directory");
        let run = new_run(&state);
        let mut pair = Self {
            login: server.login(&live, &run.id),
            server,
            live,
            scratch: String::new(),
            run,
            state,
        };
        pair.load("new");
        pair
    }

    /// A new run, with a new scratch database that holds `row`.
    pub fn load(&mut self, row: &str) {
        self.next_run();
        self.scratch = self.server.database("scratch");
        self.server.sql(
            &self.scratch,
            &format!("create table t (v text); insert into t values ('{row}')"),
        );
    }

    pub fn next_run(&mut self) {
        self.run = new_run(&self.state);
        self.login.application_name = self.run.id.application_name();
    }

    /// Lets another role do it.
    pub fn as_role(&mut self, role: &str, password: &str) {
        role.clone_into(&mut self.login.settings.user);
        self.login.password = Some(Secret::new(password.to_owned()));
    }

    pub fn oid(&self, database: &str) -> u32 {
        let name = backupctl::database::connection::quote_literal(database);
        let sql = format!("select oid from pg_database where datname = {name}");
        self.server.value("postgres", &sql).parse().expect("an OID")
    }

    pub fn named_database(&self, name: &str) -> Named {
        Named {
            name: name.to_owned(),
            oid: self.oid(name),
        }
    }

    pub fn order(&self) -> SwapOrder {
        SwapOrder {
            live: self.named_database(&self.live),
            incoming: self.named_database(&self.scratch),
            previous: previous_name(&self.live, &self.run.id),
            patience: terminate(),
        }
    }

    pub async fn swap(&self) -> Outcome<Swapped> {
        swap(&self.login, &self.order(), &self.run).await
    }

    pub async fn session(&self) -> Session {
        self.login.maintenance().await.expect("a session")
    }

    /// Somebody else's.
    pub async fn session_of_another(&self) -> Session {
        let mut login = self.login.clone();
        login.application_name = "operator".into();
        login.maintenance().await.expect("a session")
    }

    pub fn row(&self, database: &str) -> String {
        self.server.value(database, "select v from t")
    }

    pub fn admin(&self, sql: &str) {
        self.server.sql("postgres", sql);
    }

    /// The oracle after every fault: the old database under its name, and nothing set aside.
    pub fn live_is_unchanged(&self, order: &SwapOrder) {
        assert_eq!(self.row(&self.live), "old");
        assert_eq!(self.oid(&self.live), order.live.oid);
        assert_eq!(self.oid(&self.scratch), order.incoming.oid);
        assert!(!self.server.databases_like("%").contains(&order.previous));
    }
}

fn new_run(state: &TempDir) -> Run {
    let id = RunId::new(jiff::Timestamp::now());
    Run {
        journal: Journal::new(state.path(), &id, "shop", "run"),
        id,
        notes: Notes::default(),
        progress: empty::<Progress>(),
        stop: CancellationToken::new(),
    }
}

fn empty<T: Default>() -> T {
    T::default()
}

pub fn terminate() -> Patience {
    patience(Sessions::Terminate, 10)
}

pub fn patience(sessions: Sessions, seconds: u64) -> Patience {
    Patience {
        sessions,
        timeout: Duration::from_secs(seconds),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_makes_the_scratch_database_live_and_keeps_the_old_one() {
    let pair = Pair::new();
    let order = pair.order();

    let swapped = swap(&pair.login, &order, &pair.run).await.expect("swapped");

    assert_eq!(swapped.previous, order.previous);
    assert_eq!(swapped.differences, Vec::<String>::new());
    assert_eq!(pair.row(&pair.live), "new");
    assert_eq!(pair.row(&swapped.previous), "old");
    assert_eq!(pair.oid(&pair.live), order.incoming.oid);
    assert_eq!(pair.oid(&swapped.previous), order.live.oid);
    assert_eq!(pair.run.notes.lock().warnings, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_swap_leaves_nothing_in_the_journal() {
    let pair = Pair::new();
    let scratch = Created::Scratch {
        database: "erp".into(),
        name: pair.scratch.clone(),
    };
    pair.run.journal.will_create(scratch).expect("written");

    pair.swap().await.expect("swapped");

    assert_eq!(pair.run.journal.created(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_was_refused_is_forgotten_but_its_scratch_database_is_not() {
    let pair = Pair::new();
    let order = pair.order();
    let scratch = Created::Scratch {
        database: "erp".into(),
        name: pair.scratch.clone(),
    };
    pair.run
        .journal
        .will_create(scratch.clone())
        .expect("written");
    pair.admin(&format!("create database \"{}\"", order.previous));

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("in the way");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("already exists"),
        "{}",
        failed.message()
    );
    assert_eq!(pair.run.journal.created(), [scratch]);
    assert_eq!(pair.row(&pair.live), "old");
    assert_eq!(pair.oid(&pair.live), order.live.oid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_the_first_rename_rolls_it_back() {
    // given: somebody's transaction that lets the live database be renamed, but not the scratch one
    let pair = Pair::new();
    let order = SwapOrder {
        patience: patience(Sessions::Terminate, 1),
        ..pair.order()
    };
    let holder = pair.server.session(
        "postgres",
        &format!("begin; comment on database \"{}\" is 'busy'", pair.scratch),
    );

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("locked");

    assert_eq!(failed.verdict, Verdict::Failed);
    let second = format!("ALTER DATABASE \"{}\" RENAME TO", pair.scratch);
    assert!(failed.message().contains(&second), "{}", failed.message());
    drop(holder);
    pair.live_is_unchanged(&order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_exchanged_meanwhile_is_not_swapped() {
    let pair = Pair::new();
    let order = pair.order();
    let stale = [
        SwapOrder {
            live: Named {
                oid: pair.oid("postgres"),
                ..order.live.clone()
            },
            ..order.clone()
        },
        SwapOrder {
            incoming: Named {
                oid: pair.oid("postgres"),
                ..order.incoming.clone()
            },
            ..order.clone()
        },
        SwapOrder {
            live: Named {
                oid: 999_999_999,
                ..order.live.clone()
            },
            ..order.clone()
        },
    ];

    for stale in stale {
        let failed = swap(&pair.login, &stale, &pair.run)
            .await
            .expect_err("refused");
        assert_eq!(failed.verdict, Verdict::Failed);
        pair.live_is_unchanged(&order);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_server_would_cut_is_refused() {
    let pair = Pair::new();
    let order = SwapOrder {
        previous: "x".repeat(64),
        ..pair.order()
    };

    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("too long");

    assert!(
        failed.message().contains("64 bytes"),
        "{}",
        failed.message()
    );
    pair.live_is_unchanged(&order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_run_can_find_out_whether_a_swap_happened() {
    let pair = Pair::new();
    let order = pair.order();
    let session = pair.session().await;
    let (live, scratch) = (order.live.oid, order.incoming.oid);
    let asked = was_swapped(&session, live, scratch, &pair.live).await;
    assert_eq!(asked.expect("asked"), Happened::No);

    pair.swap().await.expect("swapped");

    let asked = was_swapped(&session, live, scratch, &pair.live).await;
    assert_eq!(asked.expect("asked"), Happened::Yes);
    pair.admin(&format!("drop database \"{}\"", pair.live));
    let asked = was_swapped(&session, live, scratch, &pair.live).await;
    assert_eq!(asked.expect("asked"), Happened::Unknown);
}
