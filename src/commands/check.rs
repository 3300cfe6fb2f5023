//! `check`: every link of the chain from the configuration to the mail server, each proven or named with its remedy.
//!
//! Like `list` and `status` it takes no lock and leaves no trace; unlike a run it tries everything once, and goes on after a failure.

mod as_cron;
mod chain;
mod drill;
mod here;
mod mail;
mod source;
mod target;
mod urls;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

pub use self::as_cron::become_cron;
use self::chain::Chain;
use super::{App, Job, Order, begin, space, telling};
use crate::cli::{Check, Only};
use crate::config::{Config, Email, Postgres, Restore, SecretRef, Store, StoreKind, instead};
use crate::network::{self, Target};
use crate::output::Output;
use crate::run::RunId;
use crate::verdict::{Failed, Outcome, Verdict};

/// `backupctl check [JOB…]`, or of one connection alone.
///
/// # Errors
/// `usage`: the configuration has no such job or connection.
pub async fn command(app: &App, asked: &Check) -> Outcome<Verdict> {
    let Only {
        store,
        database,
        email,
    } = &asked.only;
    let mut worst = Verdict::Done;
    if let Some(name) = store {
        let store = named(&app.config.stores, "store", name)?;
        worst = worst.worst(told(app, of_store(app, store)).await);
    }
    if let Some(name) = database {
        let database = named(&app.config.databases, "database", name)?;
        worst = worst.worst(told(app, of_database(app, database)).await);
    }
    if *email {
        let email = app.config.notify.email.as_ref().ok_or_else(|| {
            Failed::new(Verdict::Config, "there is no [notify.email]")
                .hint("config.example.toml shows its settings")
        })?;
        worst = worst.worst(told(app, of_mail(app, email)).await);
    }
    if asked.only.is_any() {
        return Ok(worst);
    }
    for restore in super::jobs(&app.config, &asked.jobs)? {
        worst = worst.worst(told(app, of_job(app, restore)).await);
    }
    Ok(worst)
}

fn named<'a, T>(among: &'a BTreeMap<String, T>, what: &str, name: &str) -> Outcome<&'a T> {
    among.get(name).ok_or_else(|| {
        let known: Vec<&str> = among.keys().map(String::as_str).collect();
        Failed::new(Verdict::Usage, format!("there is no {what} `{name}`")).hint(instead(
            name,
            &known,
            &format!("{what}s"),
        ))
    })
}

/// A configuration that can't be used is a link as well, the first one.
pub fn unread(output: &Output, failed: &Failed) -> Verdict {
    let mut chain = Chain::of_connection("check");
    chain.failed("configuration", failed);
    shown(output, chain)
}

/// A signal ends it without a list: nothing was changed, and it can be asked again.
async fn told(app: &App, work: impl Future<Output = Chain>) -> Verdict {
    app.output.progress.begin("check");
    let chain = tokio::select! {
        chain = work => Ok(chain),
        () = app.signals.stop.cancelled() => Err(app.signals.named(Failed::interrupted())),
    };
    app.output.progress.end();
    match chain {
        Ok(chain) => shown(&app.output, chain),
        Err(failed) => app.output.refuse(&failed),
    }
}

fn shown(output: &Output, mut chain: Chain) -> Verdict {
    chain.judge();
    let failure = chain.failure();
    output.state(&chain, || chain.text(), failure.as_ref())
}

/// The whole way of a job.
async fn of_job(app: &App, restore: &Restore) -> Chain {
    let mut chain = Chain::of_job(&restore.name);
    let config = &app.config;
    let ends = config.stores.get(&restore.from);
    let ends = ends.zip(config.databases.get(&restore.into));
    let Some((store, database)) = ends else {
        let told = "the job names a store or database that is not there";
        chain.failed("configuration", &Failed::new(Verdict::Bug, told));
        return chain;
    };
    here::configuration(&mut chain, config);
    drill::on_time(&mut chain, config, &restore.name);
    let mut needed = of_way_in(store);
    needed.extend(restore.zip_password.iter().chain(&database.password));
    needed.extend(telling::secrets(config, restore));
    let opened = here::secrets(app, &mut chain, &needed).await;
    here::directories(&mut chain, config);
    let tools = here::tools(&mut chain, database.bin_dir.as_deref()).await;
    let job = Job {
        config,
        restore,
        store,
        database,
        secrets: opened.secrets.clone(),
        run: begin(app, restore, LOOKING).run,
    };
    here::programs(&mut chain, &job);
    drill::programs(&mut chain, config, database.bin_dir.as_deref()).await;
    let reached = source::reach(app, &mut chain, store, &opened).await;
    let newest = source::newest(&mut chain, &job, (reached, &opened)).await;
    let held = target::enter(app, &mut chain, database, (&opened, &job.run.id)).await;
    target::fit(&mut chain, &job, (held, tools), newest.as_ref()).await;
    space_here(&mut chain, &job, newest.as_ref());
    if let Some(email) = &config.notify.email {
        mail::log_in(app, &mut chain, email, &opened).await;
    }
    urls::links(app, &mut chain, restore, &opened).await;
    here::timer(&mut chain, config, &restore.name).await;
    chain
}

const LOOKING: Order = Order {
    command: "check",
    store: true,
    archives: true,
    database: true,
    mail: true,
};

fn of_way_in(store: &Store) -> Vec<&SecretRef> {
    match &store.kind {
        StoreKind::Sftp(sftp) => sftp.password.iter().chain(&sftp.passphrase).collect(),
        StoreKind::Local(_) => Vec::new(),
    }
}

fn space_here(chain: &mut Chain, job: &Job<'_>, newest: Option<&source::Newest>) {
    let Some(newest) = newest else {
        return chain.skip(&["space here"], "archive");
    };
    let dump = newest.contents.as_ref().and_then(|contents| contents.bytes);
    let room = space::of_run(newest.archive.bytes, dump, job);
    let judged = room.and_then(|room| room.judge().map(|()| room));
    chain.take("space here", judged, space::Here::needed_and_free);
}

async fn of_store(app: &App, store: &Store) -> Chain {
    let mut chain = alone(&app.config, &format!("stores.{}", store.name));
    let opened = here::secrets(app, &mut chain, &of_way_in(store)).await;
    source::reach(app, &mut chain, store, &opened).await;
    chain
}

async fn of_database(app: &App, database: &Postgres) -> Chain {
    let mut chain = alone(&app.config, &format!("databases.{}", database.key));
    let needed: Vec<&SecretRef> = database.password.iter().collect();
    let opened = here::secrets(app, &mut chain, &needed).await;
    here::tools(&mut chain, database.bin_dir.as_deref()).await;
    let id = RunId::new(Timestamp::now());
    let held = target::enter(app, &mut chain, database, (&opened, &id)).await;
    target::alone(&mut chain, held.as_ref(), &id).await;
    chain
}

async fn of_mail(app: &App, email: &Email) -> Chain {
    let mut chain = alone(&app.config, "notify.email");
    let needed: Vec<&SecretRef> = email.password.iter().collect();
    let opened = here::secrets(app, &mut chain, &needed).await;
    mail::log_in(app, &mut chain, email, &opened).await;
    chain
}

fn alone(config: &Config, table: &str) -> Chain {
    let mut chain = Chain::of_connection(table);
    here::configuration(&mut chain, config);
    chain
}

/// The links `[name, connection]` of whatever has an address; a socket has no name to look up.
async fn answers(
    chain: &mut Chain,
    target: &Target,
    [name, connection]: [&'static str; 2],
    patience: Duration,
) -> bool {
    if let network::Address::Tcp(host, _) = &target.address {
        let found = network::look_up(target, patience).await;
        let found = chain.take(name, found, |addresses| {
            let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            format!("{host}: {}", all.join(", "))
        });
        if found.is_none() {
            chain.skip(&[connection], name);
            return false;
        }
    }
    let knocked = network::knock(target, patience).await;
    let knocked = chain.take(connection, knocked, |()| target.address.to_string());
    knocked.is_some()
}

/// What was noted since the last time.
fn noted(job: &Job<'_>) -> Vec<String> {
    std::mem::take(&mut job.run.notes.lock().warnings)
}
