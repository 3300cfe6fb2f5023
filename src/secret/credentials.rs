//! `credentials = "vault:ID"`: the users that stand in the vault with their passwords.
//!
//! What can't be opened stays empty here without a word: the commands that need it open it again as a secret, and say why.

use super::open_vault;
use super::vault::Vault;
use crate::config::{Config, SecretRef, SecretSource, StoreKind};

/// Puts them where the configuration has `credentials`; without any the vault is not touched.
pub fn fill_in_users(config: &mut Config) {
    let refers = |password: &Option<SecretRef>| id_of(password.as_ref()).is_some();
    let of_store = config.stores.values().any(|store| match &store.kind {
        StoreKind::Sftp(sftp) => refers(&sftp.password),
        StoreKind::Local(_) => false,
    });
    let of_database = config.databases.values().any(|d| refers(&d.password));
    let of_mail = config
        .notify
        .email
        .iter()
        .any(|mail| refers(&mail.password));
    if !of_store && !of_database && !of_mail {
        return;
    }
    if let Ok(vault) = open_vault(&config.secrets) {
        fill(config, &vault);
    }
}

fn fill(config: &mut Config, vault: &Vault) {
    let user = |password: &Option<SecretRef>| {
        let id = id_of(password.as_ref())?;
        vault.secrets.get(id)?.user.clone()
    };
    for store in config.stores.values_mut() {
        if let StoreKind::Sftp(sftp) = &mut store.kind
            && let Some(user) = user(&sftp.password)
        {
            sftp.user = user;
        }
    }
    for database in config.databases.values_mut() {
        if let Some(user) = user(&database.password) {
            database.user = user;
        }
    }
    if let Some(email) = &mut config.notify.email
        && let Some(user) = user(&email.password)
    {
        email.user = Some(user);
    }
}

fn id_of(password: Option<&SecretRef>) -> Option<&str> {
    match password?.sources.as_slice() {
        [SecretSource::Credentials(id)] => Some(id),
        _ => None,
    }
}
