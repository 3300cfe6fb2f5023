//! The preflight's part about rights: what the role that logs in, and the one as which everything is made, may create and own.

use std::collections::BTreeSet;

use super::connection::{Session, column, quote_identifier};
use super::preflight::{Inventory, Needs, Problem, Thing, missing, problem};
use super::swap;
use super::target::Target;
use crate::escape::shown;
use crate::verdict::Outcome;

pub(super) fn superuser_needed(
    found: &Inventory,
    target: &Target,
    what: &Thing,
    problems: &mut Vec<Problem>,
) {
    let user = quote_identifier(&target.server.user);
    // A superuser who logs in and hands everything to another role has given that right up by the setting.
    let (who, otherwise) = if target.server.superuser {
        let told = format!(
            ", and `owner` has the restore work as `{}`",
            shown(&found.acting)
        );
        (told, "set `owner = \"keep\"`".to_owned())
    } else {
        (String::new(), format!("ALTER ROLE {user} SUPERUSER;"))
    };
    problem(
        problems,
        format!(
            "only a superuser can create `{}`{who}",
            shown(&what.to_string())
        ),
        format!(
            "leave it out with `{}`, or restore as a superuser: {otherwise}",
            what.left_out_by()
        ),
    );
}

/// CREATEDB for the scratch database and both renames; membership of everybody whom something will belong to.
pub(super) async fn membership(
    session: &Session,
    found: &Inventory,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    default_privileges(session, found, needs, problems).await?;
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
    for owner in missing(session, &owners, &usable).await? {
        let superuser = found.roles.get(&owner).copied();
        if superuser.is_none() && owner != target.live.owner && needs.creates_roles {
            // Who creates a role is made a member of it.
            continue;
        }
        // A role that is missing is named as such already; once created it needs this too.
        let state = if superuser.is_some() || owner == target.live.owner {
            "is"
        } else {
            "will be"
        };
        let what = format!(
            "role {user} {state} no member of `{}`, whom objects belong to",
            shown(&owner)
        );
        problem(problems, what, membership_remedy(&owner, superuser, target));
    }
    places(session, found, target, needs, problems).await
}

fn membership_remedy(owner: &str, superuser: Option<bool>, target: &Target) -> String {
    let (role, user) = (
        quote_identifier(owner),
        quote_identifier(&target.server.user),
    );
    let granted = format!("GRANT {role} TO {user};");
    if owner == target.live.owner {
        granted
    } else if superuser == Some(true) {
        "set `owner = \"target\"`: no ordinary role should be a member of a superuser".to_owned()
    } else {
        format!("{granted}\nor `owner = \"target\"` in the job")
    }
}

/// ALTER DEFAULT PRIVILEGES FOR ROLE asks for membership of the role as which everything is made.
async fn default_privileges(
    session: &Session,
    found: &Inventory,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    if found.superuser || !found.roles.contains_key(&found.acting) {
        return Ok(());
    }
    let there = needs
        .grantors
        .iter()
        .filter(|role| found.roles.contains_key(*role));
    for role in there {
        let sql = "SELECT pg_has_role($1::text::name, $2::text::name, 'USAGE')";
        let row = session.query_one(sql, &[&found.acting, role]).await?;
        if !column::<bool>(&row, 0)? {
            let (name, acting) = (quote_identifier(role), quote_identifier(&found.acting));
            problem(
                problems,
                format!(
                    "role {acting} may not set default privileges of `{}`",
                    shown(role)
                ),
                format!("GRANT {name} TO {acting};\nor `skip = [\"DEFAULT ACL\"]` in the job"),
            );
        }
    }
    Ok(())
}

/// An object is given only to a role that may create it where it is, and GRANTs of the dump come too late for that.
/// So without a superuser everything must belong to the database's owner or lie in its own owner's schema.
async fn places(
    session: &Session,
    found: &Inventory,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let live_owner = &target.live.owner;
    let mut told = BTreeSet::new();
    for (schema, owner) in &needs.schemas {
        let own = owner == "pg_database_owner" || *owner == target.server.user;
        if !own && !stands_for(session, found, owner, live_owner).await? && told.insert(owner) {
            problem(
                problems,
                format!(
                    "schema `{}` can't be given to `{}`, which may create none in this database",
                    shown(schema),
                    shown(owner)
                ),
                "set `owner = \"target\"`, or restore as a superuser",
            );
        }
    }
    for (schema, owner) in &needs.places {
        let public_to_all = schema == "public" && target.server.version_num < 150_000;
        let of = needs
            .schemas
            .get(schema)
            .filter(|of| *of != "pg_database_owner");
        let of = of.unwrap_or(live_owner);
        let fine = public_to_all || owner == of || *owner == target.server.user;
        if !fine && !stands_for(session, found, owner, of).await? && told.insert(owner) {
            problem(
                problems,
                format!(
                    "objects in schema `{}` can't be given to `{}`, which may create nothing there",
                    shown(schema),
                    shown(owner)
                ),
                "set `owner = \"target\"`, or restore as a superuser",
            );
        }
    }
    Ok(())
}

/// Whether `role` has the rights of `other`.
async fn stands_for(
    session: &Session,
    found: &Inventory,
    role: &str,
    other: &str,
) -> Outcome<bool> {
    if role == other || found.roles.get(role) == Some(&true) {
        return Ok(true);
    }
    let sql = "SELECT coalesce(bool_or(pg_has_role(r.oid, o.oid, 'USAGE')), false)
               FROM pg_roles r, pg_roles o WHERE r.rolname = $1::text AND o.rolname = $2::text";
    column(&session.query_one(sql, &[&role, &other]).await?, 0)
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
