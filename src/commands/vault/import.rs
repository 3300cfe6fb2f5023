//! `vault import`: takes over an env file's tokens, or a JSON list of connections; wholly or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::manage::done;
use super::show::table;
use crate::commands::App;
use crate::config::is_vault_id;
use crate::escape::{escaped, shown};
use crate::secret::{self, Entry, Secret, Vault};
use crate::verdict::{Failed, Outcome, Verdict};

/// One entry of a JSON file; other fields are somebody else's.
#[derive(Deserialize)]
struct Connection {
    id: String,
    #[serde(default)]
    user: Option<String>,
    password: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    host: Option<String>,
}

/// What a file offers.
struct Offer {
    id: String,
    user: Option<String>,
    password: Secret,
    description: Option<String>,
}

/// What becomes of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    New,
    Same,
    Replaced,
    Exists,
    Twice,
    Unusable,
    NoToken,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "unchanged",
            Self::Replaced => "replaced",
            Self::Exists => "conflict: another value is in the vault",
            Self::Twice => "conflict: more than once in the file",
            Self::Unusable => "conflict: no usable ID, or no password",
            Self::NoToken => "left out: no token",
        }
    }

    fn is_conflict(self) -> bool {
        matches!(self, Self::Exists | Self::Twice | Self::Unusable)
    }
}

pub fn command(app: &App, file: &Path, replace: bool) -> Outcome<Verdict> {
    let (offers, others) = read(app, file)?;
    let is_real = !app.options.dry_run;
    let fates = secret::change_vault(&app.config.secrets, is_real, |vault| {
        let fates = fates(vault, &offers, replace);
        let conflicts: Vec<String> = fates
            .iter()
            .filter(|(_, fate)| fate.is_conflict())
            .map(|(id, fate)| format!("{}: {}", escaped(id), fate.word()))
            .collect();
        if !conflicts.is_empty() {
            return Err(Failed::new(
                Verdict::Config,
                format!(
                    "nothing of {} was taken over:\n{}",
                    shown(&file.to_string_lossy()),
                    conflicts.join("\n")
                ),
            )
            .hint("mend the file, or add `--replace` to overwrite what is in the vault"));
        }
        take(vault, offers, &fates);
        Ok(fates)
    })?;
    let left = others.into_iter().map(|name| (name, Fate::NoToken));
    let fates: Vec<(String, Fate)> = fates.into_iter().chain(left).collect();
    let rows: Vec<[String; 2]> = fates
        .iter()
        .map(|(id, fate)| [escaped(id), fate.word().to_owned()])
        .collect();
    let items: Vec<_> = fates
        .iter()
        .map(|(id, fate)| json!({ "id": id, "result": fate.word() }))
        .collect();
    let verdict = done(app, "import", &table(&rows), json!({ "secrets": items }));
    if is_real {
        app.output.say(&format!(
            "{} still has what it had; remove it once nobody needs it",
            shown(&file.to_string_lossy())
        ));
    }
    Ok(verdict)
}

/// JSON where it begins like that, else an env file; and the names whose values are not taken.
fn read(app: &App, file: &Path) -> Outcome<(Vec<Offer>, Vec<String>)> {
    let bytes = secret::read_given(file)?;
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Ok((connections(file, &bytes)?, Vec::new()));
    }
    let (tokens, others) = secret::read_env_file(&app.config.secrets, file)?;
    let offer = |(id, password)| Offer {
        id,
        user: None,
        password,
        description: None,
    };
    Ok((tokens.into_iter().map(offer).collect(), others))
}

fn connections(file: &Path, bytes: &[u8]) -> Outcome<Vec<Offer>> {
    let read: Result<Vec<Connection>, _> = serde_json::from_slice(bytes);
    let read = read.map_err(|error| {
        // What the parser quotes may be a password.
        Failed::new(
            Verdict::Config,
            format!("{} is no list of connections: see line {}, column {}", shown(&file.to_string_lossy()), error.line(), error.column()),
        )
        .hint("it is a JSON list such as [{\"id\": \"erp-db\", \"user\": \"postgres\", \"password\": \"…\"}]")
    })?;
    let offer = |connection: Connection| Offer {
        id: connection.id,
        user: connection.user,
        password: Secret::new(connection.password),
        description: connection.description.or(connection.host),
    };
    Ok(read.into_iter().map(offer).collect())
}

fn fates(vault: &Vault, offers: &[Offer], replace: bool) -> Vec<(String, Fate)> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for offer in offers {
        *times.entry(&offer.id).or_default() += 1;
    }
    let fate = |offer: &Offer| match vault.secrets.get(&offer.id) {
        _ if !is_vault_id(&offer.id) || offer.password.expose().is_empty() => Fate::Unusable,
        _ if times[offer.id.as_str()] > 1 => Fate::Twice,
        None => Fate::New,
        Some(entry) if is_same(entry, offer) => Fate::Same,
        Some(_) if replace => Fate::Replaced,
        Some(_) => Fate::Exists,
    };
    offers
        .iter()
        .map(|offer| (offer.id.clone(), fate(offer)))
        .collect()
}

fn is_same(entry: &Entry, offer: &Offer) -> bool {
    let agrees =
        |known: &Option<String>, offered: &Option<String>| offered.is_none() || known == offered;
    entry.password == offer.password && agrees(&entry.user, &offer.user)
}

fn take(vault: &mut Vault, offers: Vec<Offer>, fates: &[(String, Fate)]) {
    let now = Timestamp::now();
    for (offer, (_, fate)) in offers.into_iter().zip(fates) {
        if *fate == Fate::Same {
            continue;
        }
        let before = vault.secrets.remove(&offer.id);
        let entry = Entry {
            user: offer.user.or(before.as_ref().and_then(|b| b.user.clone())),
            password: offer.password,
            description: offer
                .description
                .or(before.as_ref().and_then(|b| b.description.clone())),
            created: before.map_or(now, |before| before.created),
            changed: now,
        };
        vault.secrets.insert(offer.id, entry);
    }
}
