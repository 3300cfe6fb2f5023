//! What the server has of what a dump names: roles, extensions, tablespaces; for the preflight and for a dry run's list.

use std::collections::{BTreeMap, BTreeSet};

use super::needs::Needs;
use crate::database::connection::{Session, column};
use crate::database::target::Target;
use crate::verdict::Outcome;

/// Roles, extensions and tablespaces that were asked for and are there.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The role as which everything is made.
    pub acting: String,
    /// Whether that one is a superuser.
    pub superuser: bool,
    /// Whether the role that logs in may create others.
    pub may_create_roles: bool,
    /// Whether each is a superuser.
    pub roles: BTreeMap<String, bool>,
    pub extensions: BTreeMap<String, Offered>,
    pub tablespaces: BTreeSet<String>,
}

/// An extension that could be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub version: String,
    /// Nobody else may create it.
    pub superusers_only: bool,
}

impl Inventory {
    /// Asks for what `needs` names.
    ///
    /// # Errors
    /// As the session.
    pub async fn of(session: &Session, target: &Target, needs: &Needs) -> Outcome<Self> {
        let acting = needs.acting.as_ref().unwrap_or(&target.server.user).clone();
        let mut names: Vec<&String> = needs.roles.union(&needs.owners).collect();
        names.push(&acting);
        let sql = "SELECT rolname::text, rolsuper FROM pg_roles WHERE rolname::text = ANY ($1)";
        let mut roles = BTreeMap::new();
        for row in session.query(sql, &[&names]).await? {
            roles.insert(column(&row, 0)?, column(&row, 1)?);
        }
        let sql = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user";
        let may_create_roles = column(&session.query_one(sql, &[]).await?, 0)?;
        Ok(Self {
            superuser: roles.get(&acting).copied().unwrap_or(false),
            acting,
            may_create_roles,
            roles,
            extensions: extensions(session, needs).await?,
            tablespaces: tablespaces(session, needs).await?,
        })
    }

    /// The roles that must be created first: those that are missing, without PostgreSQL's own.
    #[must_use]
    pub fn missing_roles(&self, needs: &Needs) -> Vec<String> {
        let wanted = needs.roles.union(&needs.owners);
        wanted
            .filter(|role| !self.roles.contains_key(*role))
            .cloned()
            .collect()
    }
}

async fn extensions(session: &Session, needs: &Needs) -> Outcome<BTreeMap<String, Offered>> {
    let names: Vec<&String> = needs.extensions.iter().collect();
    let sql = "SELECT a.name::text, a.default_version, coalesce(v.superuser AND NOT v.trusted, true)
               FROM pg_available_extensions a
               LEFT JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
               WHERE a.name::text = ANY ($1)";
    let mut found = BTreeMap::new();
    for row in session.query(sql, &[&names]).await? {
        let name: String = column(&row, 0)?;
        let superusers_only: bool = column(&row, 2)?;
        let offered = Offered {
            version: column::<Option<String>>(&row, 1)?.unwrap_or_default(),
            // It is in every new database already.
            superusers_only: superusers_only && name != "plpgsql",
        };
        found.insert(name, offered);
    }
    Ok(found)
}

async fn tablespaces(session: &Session, needs: &Needs) -> Outcome<BTreeSet<String>> {
    let names: Vec<&String> = needs.tablespaces.iter().collect();
    let sql = "SELECT spcname::text FROM pg_tablespace WHERE spcname::text = ANY ($1)";
    let rows = session.query(sql, &[&names]).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}
