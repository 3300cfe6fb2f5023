//! `trust`: learns a store's host key knowingly. Nothing else ever learns one.

use super::App;
use crate::config::{StoreKind, instead};
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
    let presented = sftp::presented_host_key(settings, app.config.network.timeout)
        .await
        .map_err(Failed::from)?;
    let file = settings.known_hosts.display();
    app.output.say(&format!(
        "{}:{} presents {} {}",
        settings.host, settings.port, presented.algorithm, presented.fingerprint
    ));
    if is_known(name, &presented, &file.to_string())? {
        app.output.say(&format!("it is already in {file}"));
        show(app, name, &presented);
        return Ok(());
    }
    if app.options.dry_run {
        app.output.say(&format!("would be added to {file}"));
        show(app, name, &presented);
        return Ok(());
    }
    app.output.say("compare it with what the server's administrator gives you (`ssh-keygen -lf` on the server)");
    let question = format!("Add this key to {file}?");
    let stop = &app.signals.stop;
    app.output.confirm(&question, yes, stop).await?;
    known_hosts::append(&settings.known_hosts, &presented.line)
        .judge(Verdict::Local, format!("write {file}"))?;
    show(app, name, &presented);
    Ok(())
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
