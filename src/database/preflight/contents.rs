//! The preflight's part about what the dump names: roles, extensions, languages, tablespaces.

use super::inventory::Inventory;
use super::needs::{Needs, Thing};
use super::{Problem, missing, problem};
use crate::database::connection::{Session, column, quote_identifier};
use crate::database::rights;
use crate::database::target::Target;
use crate::escape::shown;
use crate::verdict::Outcome;

pub(super) fn roles(
    found: &Inventory,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) {
    let user = quote_identifier(&target.server.user);
    for role in found.missing_roles(needs) {
        let named = format!("role `{}` is missing", shown(&role));
        let version = &target.server.version;
        if role.starts_with("pg_") {
            let remedy = format!(
                "`{}` comes with a newer PostgreSQL than {version}: `privileges = \"skip\"` leaves its grants out",
                shown(&role)
            );
            problem(problems, named, remedy);
        } else if !needs.creates_roles {
            let name = quote_identifier(&role);
            let remedy =
                format!("CREATE ROLE {name} NOLOGIN;\nor `missing_roles = \"create\"` in the job");
            problem(problems, named, remedy);
        } else if !found.may_create_roles {
            let what = format!("{named}, and role {user} may not create it");
            problem(problems, what, format!("ALTER ROLE {user} CREATEROLE;"));
        }
    }
    for (what, owner) in &needs.superuser_owns {
        if !found.roles.get(owner).copied().unwrap_or(false) {
            let told = format!(
                "`{}` can belong only to a superuser, and `{}` {} none",
                shown(&what.to_string()),
                shown(owner),
                if found.roles.contains_key(owner) {
                    "is"
                } else {
                    "will be"
                }
            );
            let remedy = format!("leave it out with `{}`", what.left_out_by());
            problem(problems, told, remedy);
        }
    }
}

pub(super) async fn extensions(
    session: &Session,
    found: &Inventory,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    let major = target.server.version_num / 10_000;
    for extension in &needs.extensions {
        let name = shown(extension);
        match found.extensions.get(extension) {
            None => problem(
                problems,
                format!("extension `{name}` is not installed on the server"),
                format!(
                    "install the package with the extension `{name}` for PostgreSQL {major} on the server"
                ),
            ),
            Some(offered) if offered.superusers_only && !found.superuser => {
                let what = Thing::new("EXTENSION", extension);
                rights::superuser_needed(found, target, &what, problems);
            }
            Some(_) => {}
        }
    }
    let present = "SELECT lanname::text FROM pg_language UNION SELECT name::text FROM pg_available_extensions";
    for name in missing(session, &needs.languages, present).await? {
        problem(
            problems,
            format!("language `{}` is not installed on the server", shown(&name)),
            format!(
                "install the procedural language `{}` on the server",
                shown(&name)
            ),
        );
    }
    if found.superuser {
        return Ok(());
    }
    for what in &needs.superuser_only {
        rights::superuser_needed(found, target, what, problems);
    }
    // Those of extensions have a name that ends so; what is no language yet is created by its extension.
    let untrusted = needs.function_languages.iter();
    for language in
        untrusted.filter(|name| matches!(&***name, "c" | "internal") || is_untrusted(name))
    {
        let what = Thing::new("FUNCTION", &format!("in language {language}"));
        rights::superuser_needed(found, target, &what, problems);
    }
    Ok(())
}

fn is_untrusted(language: &str) -> bool {
    ["plpython3u", "plpython2u", "plpythonu", "plperlu", "pltclu"].contains(&language)
}

pub(super) async fn tablespaces(
    session: &Session,
    found: &Inventory,
    target: &Target,
    needs: &Needs,
    problems: &mut Vec<Problem>,
) -> Outcome<()> {
    for name in needs.tablespaces.difference(&found.tablespaces) {
        problem(
            problems,
            format!("tablespace `{}` is missing", shown(name)),
            format!(
                "CREATE TABLESPACE {} LOCATION '/…';\nor `tablespaces = \"default\"` in the job",
                quote_identifier(name)
            ),
        );
    }
    let own = Some(&target.live.tablespace).filter(|name| *name != "pg_default");
    let wanted = found
        .tablespaces
        .iter()
        .filter(|name| *name != "pg_default");
    let acting = wanted.map(|name| (name, &found.acting));
    for (name, role) in acting.chain(own.map(|name| (name, &target.server.user))) {
        let sql = "SELECT coalesce(bool_or(has_tablespace_privilege(r.oid, t.oid, 'CREATE')), true)
                   FROM pg_tablespace t, pg_roles r WHERE spcname = $1::text AND rolname = $2::text";
        let row = session.query_one(sql, &[name, role]).await?;
        if !column::<bool>(&row, 0)? {
            let (space, role) = (quote_identifier(name), quote_identifier(role));
            problem(
                problems,
                format!("nothing may be created in tablespace `{}`", shown(name)),
                format!("GRANT CREATE ON TABLESPACE {space} TO {role};"),
            );
        }
    }
    Ok(())
}
