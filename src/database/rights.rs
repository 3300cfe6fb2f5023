//! The preflight's part about a role that is no superuser: what it may create, own and carry over.

use std::collections::BTreeSet;

use super::connection::{Session, column, quote_identifier};
use super::preflight::{Needs, Problem, missing, problem};
use super::swap;
use super::target::Target;
use crate::escape::shown;
use crate::verdict::Outcome;

pub(super) fn superuser_needed(target: &Target, what: &str, problems: &mut Vec<Problem>) {
    let user = quote_identifier(&target.server.user);
    problem(
        problems,
        format!("only a superuser can create {what}"),
        format!(
            "restore as a superuser, leave it out with `skip`, or: ALTER ROLE {user} SUPERUSER;"
        ),
    );
}

/// CREATEDB for the scratch database and both renames; membership of everybody whom something will belong to.
pub(super) async fn membership(
    session: &Session,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    if target.server.superuser {
        return Ok(());
    }
    let user = quote_identifier(&target.server.user);
    if !target.server.createdb {
        problem(
            problems,
            format!("role {user} may not create databases"),
            format!("ALTER ROLE {user} CREATEDB;"),
        );
    }
    // Before PostgreSQL 16, being a member was enough for SET ROLE.
    let set = if target.server.version_num >= 160_000 {
        "pg_has_role(oid, 'SET')"
    } else {
        "pg_has_role(oid, 'MEMBER')"
    };
    let usable =
        format!("SELECT rolname::text FROM pg_roles WHERE {set} AND pg_has_role(oid, 'USAGE')");
    let mut owners = needs.owners.clone();
    owners.insert(target.live.owner.clone());
    let rows = session
        .query("SELECT rolname::text FROM pg_roles", &[])
        .await?;
    let mut existing = BTreeSet::new();
    for row in &rows {
        existing.insert(column::<String>(row, 0)?);
    }
    for owner in missing(session, &owners, &usable).await? {
        // A role that is missing is named as such already; once created it needs this too.
        let state = if existing.contains(&owner) {
            "is"
        } else {
            "will be"
        };
        problem(
            problems,
            format!(
                "role {user} {state} no member of `{}`, whom objects belong to",
                shown(&owner)
            ),
            format!("GRANT {} TO {user};", quote_identifier(&owner)),
        );
    }
    Ok(())
}

/// Settings of the live database that this role could not give to the new one.
pub(super) async fn settings(
    session: &Session,
    target: &Target,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let properties = swap::properties(session, target.live.oid).await?;
    for (what, remedy) in swap::uncarried_settings(session, &properties).await? {
        problem(problems, what, format!("{remedy};"));
    }
    Ok(())
}
