//! What a command needs to be reachable, asked before anything begins.

use super::Job;
use crate::config::StoreKind;
use crate::network::{self, Address, Target};
use crate::verdict::Outcome;

/// Both ends answer, and the mail server's absence is at least known.
pub async fn all(job: &Job<'_>) -> Outcome<()> {
    let targets: Vec<Target> = store_target(job)
        .into_iter()
        .chain([database_target(job)])
        .chain(mail_target(job))
        .collect();
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// Only the store, for `fetch`.
pub async fn store(job: &Job<'_>) -> Outcome<()> {
    let targets: Vec<Target> = store_target(job).into_iter().collect();
    network::reachable(&targets, &job.config.network, &job.run).await
}

/// Only the database, for `restore` and `undo`.
pub async fn database(job: &Job<'_>) -> Outcome<()> {
    network::reachable(&[database_target(job)], &job.config.network, &job.run).await
}

fn store_target(job: &Job<'_>) -> Option<Target> {
    let StoreKind::Sftp(sftp) = &job.store.kind else {
        return None;
    };
    let address = Address::Tcp(sftp.host.clone(), sftp.port);
    Some(Target {
        setting: format!("stores.{}", job.store.name),
        address,
        required: true,
    })
}

fn database_target(job: &Job<'_>) -> Target {
    let database = job.database;
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

fn mail_target(job: &Job<'_>) -> Option<Target> {
    let email = job.config.notify.email.as_ref()?;
    let address = Address::Tcp(email.server.clone(), email.port);
    Some(Target {
        setting: "notify.email".to_owned(),
        address,
        required: false,
    })
}
