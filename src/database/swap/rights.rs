//! What the configured user may do on the server, as far as carrying a database's properties over needs it.

use std::collections::BTreeMap;

use crate::database::connection::{Session, column, quote_identifier};
use crate::escape::shown;
use crate::verdict::Outcome;

use super::properties::Properties;
use super::setting;

/// The configured user.
#[derive(Debug, Clone)]
pub struct Me {
    pub name: String,
    pub superuser: bool,
    pub may_create_databases: bool,
    pub may_create_roles: bool,
}

/// Another role, seen from the configured user.
#[derive(Debug, Clone, Copy)]
pub struct Other {
    pub superuser: bool,
    /// `SET ROLE` to it is allowed.
    pub can_become: bool,
    /// Its privileges are ours, without becoming it.
    pub inherited: bool,
    pub can_administer: bool,
}

/// The configured user and the roles that a database's properties name.
#[derive(Debug, Clone)]
pub struct Rights {
    pub me: Me,
    roles: BTreeMap<String, Other>,
    /// The server's version: the rules changed with 15 and 16.
    version: u32,
}

const ME: &str = "SELECT rolname::text, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user";

/// The word for "may SET ROLE" changed in PostgreSQL 16, where membership alone no longer means it.
const ROLES: &str = "
SELECT rolname::text, rolsuper,
    pg_has_role(oid, CASE WHEN current_setting('server_version_num')::int4 >= 160000 THEN 'SET' ELSE 'MEMBER' END),
    pg_has_role(oid, 'USAGE'), pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')
FROM pg_roles WHERE rolname::text = ANY ($1)";

impl Rights {
    /// Asks for the rights that carrying `properties` over may need.
    ///
    /// # Errors
    /// As the session.
    pub async fn ask(session: &Session, properties: &Properties) -> Outcome<Self> {
        let row = session.query_one(ME, &[]).await?;
        let me = Me {
            name: column(&row, 0)?,
            superuser: column(&row, 1)?,
            may_create_databases: column(&row, 2)?,
            may_create_roles: column(&row, 3)?,
        };
        let grantors = properties.acl.iter().map(|grant| &grant.grantor);
        let configured = properties.settings.iter().filter_map(|s| s.role.as_ref());
        let names: Vec<&String> = grantors
            .chain(configured)
            .chain([&properties.owner])
            .collect();
        let mut roles = BTreeMap::new();
        for row in session.query(ROLES, &[&names]).await? {
            let other = Other {
                superuser: column(&row, 1)?,
                can_become: column(&row, 2)?,
                inherited: column(&row, 3)?,
                can_administer: column(&row, 4)?,
            };
            roles.insert(column(&row, 0)?, other);
        }
        Ok(Self {
            me,
            roles,
            version: session.version_num(),
        })
    }

    /// Whether SET ROLE to `role` is needed and possible in order to act in its name.
    #[must_use]
    pub fn can_become(&self, role: &str) -> bool {
        self.roles.get(role).is_some_and(|other| other.can_become)
    }

    /// Whether `ALTER ROLE role IN DATABASE` is done in the role's own name: that needs membership only.
    #[must_use]
    pub fn acts_as(&self, role: &str) -> bool {
        !self.me.superuser && role != self.me.name && self.can_become(role)
    }

    fn may_configure(&self, role: &str) -> bool {
        let administers = |other: &Other| {
            self.me.may_create_roles
                && !other.superuser
                && (self.version < 160_000 || other.can_administer)
        };
        self.me.superuser
            || role == self.me.name
            || self
                .roles
                .get(role)
                .is_some_and(|other| other.can_become || administers(other))
    }
}

/// The rights without which these properties could not be carried to another database, each with its remedy.
///
/// For the preflight, so that a missing right is found before anything is loaded.
///
/// # Errors
/// As the session.
pub async fn missing_rights(session: &Session, properties: &Properties) -> Outcome<Vec<String>> {
    let rights = Rights::ask(session, properties).await?;
    if rights.me.superuser {
        return Ok(Vec::new());
    }
    let mut missing = ownership(&rights, properties);
    let settings = uncarried(session, &rights, properties).await?;
    missing.extend(
        settings
            .into_iter()
            .map(|(what, remedy)| format!("{what}: `{remedy}`")),
    );
    Ok(missing)
}

/// Of [`missing_rights`] those that settings need; owning and creating databases is judged by the preflight itself.
/// Each with its remedy.
///
/// # Errors
/// As the session.
pub async fn uncarried_settings(
    session: &Session,
    properties: &Properties,
) -> Outcome<Vec<(String, String)>> {
    let rights = Rights::ask(session, properties).await?;
    if rights.me.superuser {
        return Ok(Vec::new());
    }
    uncarried(session, &rights, properties).await
}

async fn uncarried(
    session: &Session,
    rights: &Rights,
    properties: &Properties,
) -> Outcome<Vec<(String, String)>> {
    let mut missing = role_settings(rights, properties);
    missing.extend(parameters(session, rights, properties).await?);
    Ok(missing)
}

fn ownership(rights: &Rights, properties: &Properties) -> Vec<String> {
    let (me, owner) = (&rights.me.name, &properties.owner);
    let mut missing = Vec::new();
    if !rights.me.may_create_databases {
        missing.push(format!(
            "renaming a database needs CREATEDB: `ALTER ROLE {} CREATEDB`",
            shown(&quote_identifier(me))
        ));
    }
    let member = |other: &Other| other.can_become && other.inherited;
    if owner != me && !rights.roles.get(owner).is_some_and(member) {
        missing.push(format!(
            "database `{}` belongs to `{}`: `{}`",
            shown(&properties.name),
            shown(owner),
            membership(owner, me)
        ));
    }
    missing
}

fn role_settings(rights: &Rights, properties: &Properties) -> Vec<(String, String)> {
    let configured = properties.settings.iter().filter_map(|s| s.role.as_ref());
    configured
        .filter(|role| !rights.may_configure(role))
        .map(|role| {
            let what = format!(
                "role `{}` has settings in database `{}`",
                shown(role),
                shown(&properties.name)
            );
            (what, membership(role, &rights.me.name))
        })
        .collect()
}

fn membership(role: &str, me: &str) -> String {
    let (role, me) = (quote_identifier(role), quote_identifier(me));
    shown(&format!("GRANT {role} TO {me}"))
}

/// Parameters that only a superuser may set, or who was granted SET on them; unknown ones count as such, as on the server.
const RESTRICTED: &str = "
SELECT n FROM unnest($1::text[]) n LEFT JOIN pg_settings s ON lower(s.name) = lower(n)
WHERE coalesce(s.context NOT IN ('user', 'backend'), true)";

const RESTRICTED_15: &str = "
SELECT n FROM unnest($1::text[]) n LEFT JOIN pg_settings s ON lower(s.name) = lower(n)
WHERE coalesce(s.context NOT IN ('user', 'backend'), true) AND NOT has_parameter_privilege($2, n, 'SET')";

async fn parameters(
    session: &Session,
    rights: &Rights,
    properties: &Properties,
) -> Outcome<Vec<(String, String)>> {
    let mut missing = Vec::new();
    for settings in &properties.settings {
        let names: Vec<&str> = settings
            .settings
            .iter()
            .filter_map(|text| setting::split(text))
            .map(|(name, _)| name)
            .collect();
        let acting = settings
            .role
            .as_deref()
            .filter(|role| rights.acts_as(role))
            .unwrap_or(&rights.me.name);
        if rights
            .roles
            .get(acting)
            .is_some_and(|other| other.superuser)
        {
            continue;
        }
        let grants = rights.version >= 150_000;
        let rows = if grants {
            session.query(RESTRICTED_15, &[&names, &acting]).await?
        } else {
            session.query(RESTRICTED, &[&names]).await?
        };
        for row in rows {
            let name = column::<&str>(&row, 0)?;
            missing.push(parameter(&properties.name, name, acting, grants));
        }
    }
    Ok(missing)
}

fn parameter(database: &str, name: &str, acting: &str, grants: bool) -> (String, String) {
    let what = format!(
        "database `{}` has the setting `{}`, which not everybody may set",
        shown(database),
        shown(name)
    );
    let remedy = if grants {
        let (name, acting) = (quote_identifier(name), quote_identifier(acting));
        shown(&format!("GRANT SET ON PARAMETER {name} TO {acting}"))
    } else {
        "restore as a superuser, for GRANT … ON PARAMETER came with PostgreSQL 15".to_owned()
    };
    (what, remedy)
}
