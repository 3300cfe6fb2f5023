//! What a command needs to be reachable, asked before anything begins.

use super::Job;
use crate::config::{Email, Postgres, Store, StoreKind};
use crate::network::{self, Address, Target};
use crate::verdict::Outcome;

/// Both ends answer, and the mail server's absence is at least known.
pub async fn all(job: &Job<'_>) -> Outcome<()> {
    let targets: Vec<Target> = of_store(job.store)
        .into_iter()
        .chain([of_database(job.database)])
        .chain(job.config.notify.email.as_ref().map(of_mail))
        .collect();
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// As [`all`] without the database, which a drill on this machine needs nothing of.
pub async fn all_but_database(job: &Job<'_>) -> Outcome<()> {
    let mail = job.config.notify.email.as_ref().map(of_mail);
    let targets: Vec<Target> = of_store(job.store).into_iter().chain(mail).collect();
    if targets.is_empty() {
        job.run.notes.message("nothing to reach: the store is here");
        return Ok(());
    }
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// Only the store, for `fetch`.
pub async fn store(job: &Job<'_>) -> Outcome<()> {
    let targets: Vec<Target> = of_store(job.store).into_iter().collect();
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// Only the database, for `restore` and `undo`.
pub async fn database(job: &Job<'_>) -> Outcome<()> {
    network::reachable(&[of_database(job.database)], &job.config.network, &job.run).await
}

/// None: a local directory.
pub fn of_store(store: &Store) -> Option<Target> {
    let StoreKind::Sftp(sftp) = &store.kind else {
        return None;
    };
    let address = Address::Tcp(sftp.host.clone(), sftp.port);
    Some(Target {
        setting: format!("stores.{}", store.name),
        address,
        required: true,
    })
}

pub fn of_database(database: &Postgres) -> Target {
    let address = if database.host.starts_with('/') {
        Address::Socket(
            std::path::Path::new(&database.host).join(format!(".s.PGSQL.{}", database.port)),
        )
    } else {
        Address::Tcp(database.host.clone(), database.port)
    };
    Target {
        setting: format!("databases.{}", database.key),
        address,
        required: true,
    }
}

pub fn of_mail(email: &Email) -> Target {
    Target {
        setting: "notify.email".to_owned(),
        address: Address::Tcp(email.server.clone(), email.port),
        required: false,
    }
}
