//! Who uses a secret of the vault, and what to change where its password changes.

use crate::config::{Config, HttpUrl, SecretRef, StoreKind, Webhook};
use crate::database::quote::quote_identifier;
use crate::escape::escaped;

/// Every reference to a secret in the configuration.
pub fn references(config: &Config) -> Vec<&SecretRef> {
    let mut found: Vec<&SecretRef> = Vec::new();
    for store in config.stores.values() {
        if let StoreKind::Sftp(sftp) = &store.kind {
            found.extend(sftp.password.iter().chain(&sftp.passphrase));
        }
    }
    found.extend(
        config
            .databases
            .values()
            .filter_map(|d| d.password.as_ref()),
    );
    found.extend(
        config
            .restores
            .iter()
            .filter_map(|r| r.zip_password.as_ref()),
    );
    let notify = &config.notify;
    found.extend(
        notify
            .email
            .iter()
            .filter_map(|mail| mail.password.as_ref()),
    );
    found.extend(notify.webhook.iter().flat_map(Webhook::references));
    let pings = config.restores.iter().map(|restore| &restore.ping);
    let pings = pings.chain([&notify.ping]).flatten();
    found.extend(pings.filter_map(HttpUrl::reference));
    found
}

/// The settings that refer to `id`.
pub fn settings_of(config: &Config, id: &str) -> Vec<String> {
    let refers = |reference: &&SecretRef| {
        let mut ids = reference
            .sources
            .iter()
            .filter_map(|source| source.vault_id());
        ids.any(|used| used == id)
    };
    let found = references(config).into_iter().filter(refers);
    found.map(|reference| reference.setting.clone()).collect()
}

/// What makes servers expect the new password, a line each; never with the password.
pub fn after_change(config: &Config, id: &str, user: Option<&str>) -> Vec<String> {
    let settings = settings_of(config, id);
    let known = settings
        .iter()
        .map(|setting| of_setting(config, setting, user));
    let mut lines: Vec<String> = known.collect();
    if lines.is_empty() {
        lines.push("no setting refers to it yet".to_owned());
        let role = quote_identifier(user.unwrap_or("ROLE"));
        lines.push(format!(
            "for a PostgreSQL role: ALTER ROLE {role} PASSWORD '…'"
        ));
    }
    lines.push(format!(
        "until the server has it, logins fail; `backupctl vault get {id} --show` prints it"
    ));
    lines
}

fn of_setting(config: &Config, setting: &str, user: Option<&str>) -> String {
    let parts: Vec<&str> = setting.split('.').collect();
    match parts.as_slice() {
        ["databases", name, ..] => {
            let database = config.databases.get(*name);
            let configured = database
                .map(|database| database.user.as_str())
                .filter(|u| !u.is_empty());
            let (user, host) = (
                configured.or(user),
                database.map_or("", |d| d.host.as_str()),
            );
            let role = quote_identifier(user.unwrap_or("ROLE"));
            format!(
                "{setting}: on {}, ALTER ROLE {} PASSWORD '…'; `\\password` of psql keeps it out of the server's log",
                escaped(host),
                escaped(&role)
            )
        }
        ["stores", _, "sftp", "passphrase"] => {
            format!("{setting}: ssh-keygen -p changes the passphrase of the private key")
        }
        ["stores", name, ..] => {
            let store = config.stores.get(*name).map(|store| &store.kind);
            let (account, host) = match store {
                Some(StoreKind::Sftp(sftp)) => (sftp.user.as_str(), sftp.host.as_str()),
                _ => ("", ""),
            };
            let account = if account.is_empty() {
                user.unwrap_or("USER")
            } else {
                account
            };
            format!(
                "{setting}: on {}, passwd {}",
                escaped(host),
                escaped(account)
            )
        }
        ["notify", "email", ..] => {
            format!("{setting}: change it with whoever runs the mail server")
        }
        ["notify", ..] | ["restores", _, "ping"] => {
            format!("{setting}: change it with whoever runs the server that it leads to")
        }
        _ => format!("{setting}: whoever makes the archives must use it"),
    }
}
