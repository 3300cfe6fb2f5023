//! What the swap would lose: objects, grants and owners that the live database has and the new one would not have.
//!
//! The catalogs of both are compared, kind by kind; of the new one only hashes are held, so that ten thousand tables cost little.

mod kinds;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use self::kinds::{About, KINDS, Kind};
use super::connection::{Login, Session, column, connect};
use crate::escape::shown;
use crate::report::Lost;
use crate::verdict::{Explain, Outcome};

/// Names that are kept of each kind; the others are counted.
const NAMED: usize = 50;

/// What of the difference was wanted by configuration, and is no loss.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Who owns all of the new one, where owners are not those of the dump.
    pub owner: Option<String>,
    /// The dump's GRANTs were left out.
    pub no_grants: bool,
    /// Kinds in the dump's table of contents that were left out: `EVENT TRIGGER`.
    pub skipped: Vec<String>,
}

impl Wanted {
    fn covers(&self, kind: &Kind) -> bool {
        let is_skipped = |word: &str| {
            self.skipped
                .iter()
                .any(|skip| skip.eq_ignore_ascii_case(word))
        };
        match kind.about {
            About::Object => is_skipped(kind.one),
            About::Grant | About::Later => self.no_grants || is_skipped("ACL"),
            About::Owner => self.owner.is_some(),
        }
    }
}

/// A row of a kind's query.
struct Thing {
    within: String,
    role: String,
    name: String,
    what: String,
}

/// Compares the live database, which is `login.settings.name`, with the one that will replace it.
///
/// # Errors
/// As the sessions: a database that can't be asked.
pub async fn compare(login: &Login, scratch: &str, wanted: &Wanted) -> Outcome<Vec<Lost>> {
    let live = connect(login, &login.settings.name).await?;
    let incoming = connect(login, scratch).await?;
    let owner = in_queries(&incoming, wanted.owner.as_deref()).await?;
    let mut finding = Finding {
        owner,
        ..Finding::default()
    };
    for kind in KINDS.iter().filter(|kind| !wanted.covers(kind)) {
        let there = there(&incoming, kind, &finding.hasher).await?;
        finding.missing(&live, kind, &there).await?;
    }
    live.close().await;
    incoming.close().await;
    Ok(finding.lost)
}

/// A role as the queries name it.
async fn in_queries(session: &Session, role: Option<&str>) -> Outcome<Option<String>> {
    let Some(role) = role else {
        return Ok(None);
    };
    let row = session
        .query_one("SELECT pg_catalog.format('%I', $1::text)", &[&role])
        .await?;
    column(&row, 0).map(Some)
}

/// The hashes of everything of a kind that the new database has.
async fn there(incoming: &Session, kind: &Kind, hasher: &RandomState) -> Outcome<HashSet<u64>> {
    let mut there = HashSet::new();
    let query = kind.query();
    let reading = incoming.for_each(&query, |row| {
        there.insert(thing(row)?.hash(hasher));
        Ok(())
    });
    reading
        .await
        .context(format!("list the {} of the new database", kind.many))?;
    Ok(there)
}

#[derive(Default)]
struct Finding {
    hasher: RandomState,
    /// Of all that the new one has: it needs no grants there.
    owner: Option<String>,
    lost: Vec<Lost>,
    /// What is lost with all its parts, which are not told one by one: `relation public.orders`.
    gone: HashSet<u64>,
}

impl Finding {
    async fn missing(&mut self, live: &Session, kind: &Kind, there: &HashSet<u64>) -> Outcome<()> {
        let mut last = None;
        let query = kind.query();
        let reading = live.for_each(&query, |row| {
            let thing = thing(row)?;
            let is_owners = kind.about == About::Grant && self.owner.as_ref() == Some(&thing.role);
            if is_owners || there.contains(&thing.hash(&self.hasher)) {
                return Ok(());
            }
            if let Some(holds) = kind.holds {
                self.gone
                    .insert(self.hasher.hash_one(format!("{holds} {}", thing.name)));
            }
            if !self.gone.contains(&self.hasher.hash_one(&thing.within)) {
                let key = (thing.role.clone(), thing.name.clone());
                self.note(kind, &thing, last.as_ref() == Some(&key));
                last = Some(key);
            }
            Ok(())
        });
        reading
            .await
            .context(format!("list the {} of the live database", kind.many))
    }

    /// `continues`: another privilege of the same role on the same thing.
    fn note(&mut self, kind: &Kind, thing: &Thing, continues: bool) {
        let role = (!thing.role.is_empty()).then(|| shown(&thing.role));
        let known = self
            .lost
            .iter()
            .position(|lost| lost.kind == kind.one && lost.role == role);
        let at = known.unwrap_or_else(|| {
            self.lost.push(Lost {
                kind: kind.one.to_owned(),
                role,
                count: 0,
                names: Vec::new(),
            });
            self.lost.len() - 1
        });
        let lost = &mut self.lost[at];
        if continues {
            if lost.count <= NAMED
                && let Some(name) = lost.names.last_mut()
            {
                *name = format!("{name}, {}", thing.what);
            }
            return;
        }
        lost.count += 1;
        if lost.names.len() < NAMED {
            let what = match thing.what.as_str() {
                "" => String::new(),
                what => format!(": {what}"),
            };
            lost.names.push(format!("{}{what}", shown(&thing.name)));
        }
    }
}

impl Thing {
    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((&self.role, &self.name, &self.what))
    }
}

fn thing(row: &tokio_postgres::Row) -> Outcome<Thing> {
    Ok(Thing {
        within: column(row, 0)?,
        role: column(row, 1)?,
        name: column(row, 2)?,
        what: column(row, 3)?,
    })
}

/// `2 views`, `1 grant to reader`, `3 objects owned by app`.
#[must_use]
pub fn counted(lost: &Lost) -> String {
    let kind = KINDS.iter().find(|kind| kind.one == lost.kind);
    let words = kind.map_or(lost.kind.as_str(), |kind| match lost.count {
        1 => kind.one,
        _ => kind.many,
    });
    let to = match (kind.map(|kind| kind.about), &lost.role) {
        (Some(About::Owner), Some(role)) => format!(" by {role}"),
        (_, Some(role)) => format!(" to {role}"),
        (_, None) => String::new(),
    };
    format!("{} {words}{to}", lost.count)
}
