//! `trust`: learns a store's host key knowingly. Nothing else ever learns one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::App;
use crate::config::{Sftp, StoreKind, instead};
use crate::output::Output;
use crate::store::known_hosts;
use crate::store::sftp::{self, Known, Presented};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// `backupctl trust STORE`.
pub async fn command(app: &App, name: &str, yes: bool) -> Outcome<()> {
    let store = app.config.stores.get(name).ok_or_else(|| {
        let known: Vec<&str> = app.config.stores.keys().map(String::as_str).collect();
        Failed::new(Verdict::Usage, format!("there is no store `{name}`"))
            .hint(instead(name, &known, "stores"))
    })?;
    let StoreKind::Sftp(settings) = &store.kind else {
        return Err(Failed::new(
            Verdict::Usage,
            format!("`{name}` is a local directory and has no host key"),
        ));
    };
    let timeout = app.config.network.timeout;
    let (presented, is_known) = look(&app.output, name, settings, timeout).await?;
    let file = settings.known_hosts.display();
    if is_known {
        app.output.say(&format!("it is already in {file}"));
    } else if app.options.dry_run {
        app.output.say(&format!("would be added to {file}"));
    } else {
        let stop = &app.signals.stop;
        confirm(&app.output, settings, yes, stop).await?;
        remember(settings, &presented)?;
    }
    show(app, name, &presented);
    Ok(())
}

/// The key that the server presents, told, and whether it is known; one that contradicts known_hosts is refused.
pub async fn look(
    output: &Output,
    name: &str,
    settings: &Sftp,
    timeout: Duration,
) -> Outcome<(Presented, bool)> {
    let presented = sftp::presented_host_key(settings, timeout).await;
    let presented = presented.map_err(Failed::from)?;
    output.say(&format!(
        "{}:{} presents {} {}",
        settings.host, settings.port, presented.algorithm, presented.fingerprint
    ));
    let is_known = is_known(
        name,
        &presented,
        &settings.known_hosts.display().to_string(),
    )?;
    Ok((presented, is_known))
}

/// Asks whether it is the right one.
pub async fn confirm(
    output: &Output,
    settings: &Sftp,
    yes: bool,
    stop: &CancellationToken,
) -> Outcome<()> {
    output.say("compare it with what the server's administrator gives you (`ssh-keygen -lf` on the server)");
    let question = format!("Add this key to {}?", settings.known_hosts.display());
    output.confirm(&question, yes, stop).await
}

/// From now on it is trusted.
pub fn remember(settings: &Sftp, presented: &Presented) -> Outcome<()> {
    let file = &settings.known_hosts;
    let what = format!("write {}", file.display());
    known_hosts::append(file, &presented.line).judge(Verdict::Local, what)
}

/// Whether the key is already trusted; one that contradicts known_hosts is never added by us.
fn is_known(name: &str, presented: &Presented, file: &str) -> Outcome<bool> {
    match &presented.already {
        Known::Same => Ok(true),
        Known::No => Ok(false),
        Known::Changed { fingerprint, line } => Err(Failed::new(
            Verdict::Refused,
            format!("trust `{name}`: {file} line {line} has another key for it, {fingerprint}"),
        )
        .hint("ask the server's administrator why it changed; only then remove that line, and trust again")),
        Known::Revoked { line } => Err(Failed::new(
            Verdict::Refused,
            format!("trust `{name}`: {file} line {line} revokes this key"),
        )
        .hint("somebody has declared this key compromised: don't send passwords there")),
    }
}

/// The line as it stands, or would stand, in known_hosts.
fn show(app: &App, store: &str, presented: &Presented) {
    let Presented {
        algorithm,
        fingerprint,
        line,
        ..
    } = presented;
    app.output.facts(
        line,
        &[
            ("store", store),
            ("algorithm", algorithm),
            ("fingerprint", fingerprint),
            ("line", line),
        ],
    );
}
