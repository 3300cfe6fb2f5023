//! Roles that a dump needs and the server doesn't have: made without login, password or membership, before the load.
//!
//! They stay, whatever becomes of the run: other jobs may use them a moment later, and one without login harms nobody.

use std::collections::BTreeSet;

use super::connection::{Session, quote_identifier};
use super::preflight::{Inventory, Needs};
use super::target::Target;
use crate::verdict::{Explain, Outcome};

/// Creates what `needs` names and the server lacks; all of them or none. Returns their names.
///
/// # Errors
/// As the session; the preflight has found missing rights before.
pub async fn create(session: &Session, target: &Target, needs: &Needs) -> Outcome<Vec<String>> {
    let found = Inventory::of(session, target, needs).await?;
    let missing = found.missing_roles(needs);
    if missing.is_empty() {
        return Ok(missing);
    }
    let version = target.server.version_num;
    let mut statements: Vec<String> = missing.iter().map(|role| creation(role)).collect();
    for (role, member) in memberships(&missing, &found, target, needs) {
        statements.push(membership(role, member, version));
    }
    session
        .batch(&statements.join(";\n"))
        .await
        .context("create the roles that the dump needs")?;
    Ok(missing)
}

/// Creates what `needs` names in a private cluster, where whoever owns what only a superuser can own is one: it is in no other.
/// PostgreSQL's own roles can't be created; where one is missing the preflight says so. Returns their names.
///
/// # Errors
/// As the session.
pub async fn create_here(
    session: &Session,
    target: &Target,
    needs: &Needs,
) -> Outcome<Vec<String>> {
    let found = Inventory::of(session, target, needs).await?;
    let mut missing = found.missing_roles(needs);
    missing.retain(|role| !role.starts_with("pg_"));
    for role in &missing {
        let is_super = needs.superuser_owns.values().any(|owner| owner == role);
        let rights = if is_super { " SUPERUSER" } else { "" };
        let sql = format!("{}{rights}", creation(role));
        session
            .batch(&sql)
            .await
            .context("create the roles that the dump needs")?;
    }
    Ok(missing)
}

/// Who must be a member of which of the new roles; a superuser need not.
fn memberships<'a>(
    missing: &'a [String],
    found: &'a Inventory,
    target: &'a Target,
    needs: &Needs,
) -> BTreeSet<(&'a String, &'a String)> {
    let mut pairs = BTreeSet::new();
    for role in missing {
        if !target.server.superuser && needs.owners.contains(role) {
            pairs.insert((role, &target.server.user));
        }
        if !found.superuser && needs.grantors.contains(role) && *role != found.acting {
            pairs.insert((role, &found.acting));
        }
    }
    pairs
}

fn creation(role: &str) -> String {
    format!("CREATE ROLE {} NOLOGIN", quote_identifier(role))
}

/// What ALTER … OWNER TO and ALTER DEFAULT PRIVILEGES FOR ROLE ask for.
///
/// From PostgreSQL 16 on, who creates a role may administer it, but is neither it nor has its rights.
fn membership(role: &str, member: &str, version_num: u32) -> String {
    let (role, member) = (quote_identifier(role), quote_identifier(member));
    let how = if version_num >= 160_000 {
        " WITH INHERIT TRUE, SET TRUE"
    } else {
        ""
    };
    format!("GRANT {role} TO {member}{how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_granted_as_the_servers_version_understands_it() {
        assert_eq!(
            membership("a\"b", "me", 150_000),
            "GRANT \"a\"\"b\" TO \"me\""
        );
        assert_eq!(
            membership("ab", "me", 160_000),
            "GRANT \"ab\" TO \"me\" WITH INHERIT TRUE, SET TRUE"
        );
        assert_eq!(creation("ab"), "CREATE ROLE \"ab\" NOLOGIN");
    }
}
