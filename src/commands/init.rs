//! `init`: the first configuration with its key and env file, from a few answers, all written at the end or nothing.
//!
//! What comes behind it is `check`.

mod address;
mod answers;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use self::answers::{Answers, Asker, Place};
use super::{Signals, trust};
use crate::cli::{Global, Init};
use crate::config::{self, Config, Environment, StoreKind};
use crate::durable;
use crate::escape::{escaped, in_path};
use crate::output::Output;
use crate::secret::{self, Keys, Secret};
use crate::store::sftp::Presented;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

pub const ENV_FILE: &str = ".env";
pub const KEY_FILE: &str = "secret.key";

/// What it works with; there is no configuration yet.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub options: &'a Global,
    pub output: &'a Output,
    pub signals: &'a Signals,
    pub environment: &'a Environment,
}

/// A file that is made, never overwritten.
struct New {
    path: PathBuf,
    content: Secret,
}

/// `backupctl init`: the configuration that was written; None for a dry run.
///
/// # Errors
/// `usage`: an answer is missing, makes no sense or was no; `config`: something is there already; `refused`: another host key;
/// `local`: it can't be written. Nothing is left then.
pub async fn command(scene: Scene<'_>, flags: &Init) -> Outcome<Option<PathBuf>> {
    let file = config::place(scene.options.config.as_deref(), scene.environment);
    let directory = file.parent().unwrap_or(Path::new("/"));
    let [env_file, key_file] = [ENV_FILE, KEY_FILE].map(|name| directory.join(name));
    nothing_there(&[&file, &env_file, &key_file])?;
    let answers = ask(scene, flags, &file).await?;
    let text = text::config(&answers);
    let config = config::parse(&file, &text, scene.environment);
    let config = config.context("make a configuration of these answers")?;
    let new = files(&answers, [file.clone(), env_file, key_file], text.clone())?;
    if scene.options.dry_run {
        let paths: Vec<String> = { new.iter() }
            .map(|new| format!("# would be written: {}\n", new.path.display()))
            .collect();
        scene
            .output
            .facts(&format!("{}{text}", paths.concat()), &[("config", &text)]);
        return Ok(None);
    }
    let trusted = host_key(scene, flags, &config).await?;
    write(&new, directory)?;
    let known_hosts = trusted.map(|presented| trusted_from_now(&config, &presented));
    let known_hosts = known_hosts.transpose().inspect_err(|_| unwrite(&new))?;
    for path in new.iter().map(|new| &new.path).chain(&known_hosts) {
        scene.output.say(&format!("written: {}", path.display()));
    }
    Ok(Some(file))
}

/// All answers; what can be seen to be missing is told before the first question.
async fn ask(scene: Scene<'_>, flags: &Init, file: &Path) -> Outcome<Answers> {
    let may_ask = scene.output.has_terminal() && !flags.yes;
    let store = flags.store.as_deref();
    let is_sftp = store.is_some_and(|store| !address::is_directory(store));
    if is_sftp && flags.host_key.is_none() && !scene.options.dry_run {
        let can = scene.output.can_confirm(flags.yes);
        can.hint("give the key with `--host-key`, or add `--yes`")?;
    }
    if may_ask {
        let shown = file.display();
        scene.output.say(&format!(
            "A few questions, then {shown} is written, with a key and an env file beside it.\n\
             Nothing is written before the last answer; Ctrl-C leaves everything as it is.\n"
        ));
    }
    let asker = Asker {
        output: scene.output,
        flags,
        stop: &scene.signals.stop,
        may_ask,
    };
    asker.answers().await
}

/// What comes next, once the check has told how things are.
pub fn farewell(output: &Output, file: &Path, verdict: Verdict) {
    let file = in_path(&file.to_string_lossy());
    output.say(&if verdict == Verdict::Done {
        format!(
            "\nnext: backupctl -c {file} run --dry-run    would the first run start?\n\
             then: backupctl -c {file} schedule --install"
        )
    } else {
        format!("\nthe files stay as they are; once that is mended: backupctl -c {file} check")
    });
}

/// Every one that is there is named.
fn nothing_there(paths: &[&Path]) -> Outcome<()> {
    let there = paths
        .iter()
        .filter(|path| fs::symlink_metadata(path).is_ok());
    let there: Vec<String> = there.map(|path| escaped(&path.to_string_lossy())).collect();
    if there.is_empty() {
        return Ok(());
    }
    let told = format!(
        "{} is there already, and nothing is overwritten",
        there.join(", ")
    );
    Err(Failed::new(Verdict::Config, told).hint(
        "`backupctl check` proves what is there; `-c FILE` begins another configuration elsewhere",
    ))
}

/// The configuration comes last: it makes the others count.
fn files(
    answers: &Answers,
    [file, env_file, key_file]: [PathBuf; 3],
    text: String,
) -> Outcome<[New; 3]> {
    let key = secret::new_key();
    let keys = Keys::from_file(key.expose().as_bytes());
    let keys = keys.map_err(|why| Failed::new(Verdict::Bug, format!("a new key {why}")))?;
    let mut secrets = Vec::new();
    if let Place::Sftp(sftp) = &answers.store {
        secrets.push((text::STORE_PASSWORD, sftp.password.as_ref()));
        secrets.push((text::PASSPHRASE, sftp.passphrase.as_ref()));
    }
    secrets.push((text::DATABASE_PASSWORD, answers.database.password.as_ref()));
    let mail = answers.mail.as_ref();
    secrets.push((
        text::MAIL_PASSWORD,
        mail.and_then(|mail| mail.password.as_ref()),
    ));
    let lines = secrets.iter().filter_map(|(name, secret)| {
        Some(format!("{name}={}\n", secret::encrypt(&keys, (*secret)?)))
    });
    let new = |path, content| New {
        path,
        content: Secret::new(content),
    };
    Ok([
        new(key_file, format!("{}\n", key.expose())),
        new(env_file, lines.collect()),
        new(file, text),
    ])
}

/// The store's key, if it is to be learnt. A server that can't be reached now is trusted later.
async fn host_key(scene: Scene<'_>, flags: &Init, config: &Config) -> Outcome<Option<Presented>> {
    let stores = config.stores.iter();
    let mut sftp = stores.filter_map(|(name, store)| match &store.kind {
        StoreKind::Sftp(sftp) => Some((name, sftp)),
        StoreKind::Local(_) => None,
    });
    let Some((name, settings)) = sftp.next() else {
        return Ok(None);
    };
    let looking = trust::look(scene.output, name, settings, config.network.timeout);
    let stop = &scene.signals.stop;
    let looked = tokio::select! {
        looked = looking => looked,
        () = stop.cancelled() => return Err(Failed::interrupted()),
    };
    let (presented, is_known) = match looked {
        Err(failed) if failed.verdict == Verdict::Network => {
            let server = format!("ask {}:{} for its host key", settings.host, settings.port);
            let file = in_path(&config.file.to_string_lossy());
            let later = format!("it is learnt later: backupctl -c {file} trust {name}");
            scene.output.error(&failed.context(server).hint(later));
            return Ok(None);
        }
        looked => looked?,
    };
    match &flags.host_key {
        _ if is_known => return Ok(None),
        Some(expected) if *expected == presented.fingerprint => {}
        Some(expected) => {
            let told = format!(
                "the store presents {}, not {}",
                presented.fingerprint,
                escaped(expected)
            );
            return Err(Failed::new(Verdict::Refused, told).hint(
                "ask its administrator which one is right: don't send passwords to another server",
            ));
        }
        None => trust::confirm(scene.output, settings, flags.yes, stop).await?,
    }
    Ok(Some(presented))
}

fn trusted_from_now(config: &Config, presented: &Presented) -> Outcome<PathBuf> {
    let mut known_hosts = PathBuf::new();
    for store in config.stores.values() {
        if let StoreKind::Sftp(settings) = &store.kind {
            trust::remember(settings, presented)?;
            known_hosts.clone_from(&settings.known_hosts);
        }
    }
    Ok(known_hosts)
}

/// All of them, or nothing is left.
fn write(new: &[New], directory: &Path) -> Outcome<()> {
    durable::create_private_dir(directory)
        .judge(Verdict::Local, format!("create {}", directory.display()))
        .hint("`-c FILE` writes it elsewhere; in /etc do it as root")?;
    for (done, New { path, content }) in new.iter().enumerate() {
        let written = secret::irreplaceable(path).and_then(|()| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Of this process alone: two at once must not mix their keys.
            let process = std::process::id();
            let temp = path.with_file_name(format!(".{name}.{process}.backupctl-tmp"));
            durable::write_new(&temp, path, content.expose().as_bytes())
                .judge(Verdict::Local, format!("write {}", path.display()))
                .hint("`-c FILE` writes it elsewhere; in /etc do it as root")
        });
        written.inspect_err(|_| unwrite(&new[..done]))?;
    }
    Ok(())
}

fn unwrite(new: &[New]) {
    for New { path, .. } in new {
        // The first error is the one to tell, and the next `init` names what is there.
        let _ = durable::remove(path);
    }
}
