//! The statements that give one database the properties of another. Only what differs is touched, so that only rights for that are needed.

use std::collections::BTreeSet;

use crate::database::connection::{quote_identifier, quote_literal};
use crate::escape::shown;

use super::properties::{Grant, Properties, Settings};
use super::rights::Rights;
use super::setting;
use super::stamp;

/// What makes the incoming database like the outgoing one.
#[derive(Debug, Default)]
pub struct Plan {
    /// In order, for one transaction.
    pub statements: Vec<String>,
    /// What can only be carried in another form.
    pub remarks: Vec<String>,
}

/// Plans to give `incoming` what `outgoing` has.
#[must_use]
pub fn plan(outgoing: &Properties, incoming: &Properties, rights: &Rights) -> Plan {
    let mut plan = Plan::default();
    let database = quote_identifier(&incoming.name);
    if outgoing.owner != incoming.owner {
        let owner = quote_identifier(&outgoing.owner);
        plan.add(format!("ALTER DATABASE {database} OWNER TO {owner}"));
    }
    privileges(&mut plan, outgoing, incoming, rights);
    options(&mut plan, outgoing, incoming);
    settings(&mut plan, outgoing, incoming, rights);
    for label in &outgoing.labels {
        if !incoming.labels.contains(label) {
            let provider = quote_identifier(&label.provider);
            let text = quote_literal(&label.label);
            plan.add(format!(
                "SECURITY LABEL FOR {provider} ON DATABASE {database} IS {text}"
            ));
        }
    }
    let comment = stamp::original(outgoing.comment.as_deref());
    if comment != incoming.comment {
        plan.add(comment_on(&incoming.name, comment.as_deref()));
    }
    plan
}

/// `COMMENT ON DATABASE …`; None removes it.
#[must_use]
pub fn comment_on(database: &str, comment: Option<&str>) -> String {
    let text = comment.map_or_else(|| "NULL".to_owned(), quote_literal);
    format!(
        "COMMENT ON DATABASE {} IS {text}",
        quote_identifier(database)
    )
}

impl Plan {
    fn add(&mut self, statement: String) {
        self.statements.push(statement);
    }

    /// Statements in another role's name; the role is given back right behind them.
    fn add_as(&mut self, role: &str, statements: impl IntoIterator<Item = String>) {
        self.add(format!("SET LOCAL ROLE {}", quote_identifier(role)));
        self.statements.extend(statements);
        self.add("RESET ROLE".to_owned());
    }
}

fn options(plan: &mut Plan, outgoing: &Properties, incoming: &Properties) {
    let database = quote_identifier(&incoming.name);
    if outgoing.connection_limit != incoming.connection_limit {
        let limit = outgoing.connection_limit;
        plan.add(format!(
            "ALTER DATABASE {database} WITH CONNECTION LIMIT {limit}"
        ));
    }
    if outgoing.allows_connections != incoming.allows_connections {
        let allowed = outgoing.allows_connections;
        plan.add(format!(
            "ALTER DATABASE {database} WITH ALLOW_CONNECTIONS {allowed}"
        ));
    }
    if outgoing.is_template != incoming.is_template {
        let template = outgoing.is_template;
        plan.add(format!(
            "ALTER DATABASE {database} WITH IS_TEMPLATE {template}"
        ));
    }
}

fn privileges(plan: &mut Plan, outgoing: &Properties, incoming: &Properties, rights: &Rights) {
    let same_owner = outgoing.owner == incoming.owner;
    let all = |p: &Properties| -> BTreeSet<Grant> { p.acl.iter().cloned().collect() };
    if (outgoing.default_acl && incoming.default_acl)
        || (same_owner && all(outgoing) == all(incoming))
    {
        return;
    }
    revoke_all(plan, outgoing, incoming);
    let database = quote_identifier(&incoming.name);
    for grant in in_order(&outgoing.acl, &outgoing.owner) {
        let option = if grant.grantable {
            " WITH GRANT OPTION"
        } else {
            ""
        };
        let statement = format!(
            "GRANT {} ON DATABASE {database} TO {}{option}",
            grant.privilege,
            grantee(grant.grantee.as_deref())
        );
        if grant.grantor == outgoing.owner {
            plan.add(statement);
        } else if rights.can_become(&grant.grantor) {
            plan.add_as(&grant.grantor, [statement]);
        } else {
            plan.remarks.push(format!(
                "{} on `{}` for `{}` was granted by `{}` and is now granted by the owner: only its members can grant in its name",
                grant.privilege,
                shown(&outgoing.name),
                shown(grant.grantee.as_deref().unwrap_or("PUBLIC")),
                shown(&grant.grantor)
            ));
            plan.add(statement);
        }
    }
}

/// Grants of the owner come first, and with them, as the change of owner left them, everything that others passed on.
fn revoke_all(plan: &mut Plan, outgoing: &Properties, incoming: &Properties) {
    let mut from: BTreeSet<Option<&str>> = incoming
        .acl
        .iter()
        .map(|grant| grant.grantee.as_deref())
        .map(|name| name.map(|name| new_owner(name, outgoing, incoming)))
        .collect();
    from.insert(None);
    from.insert(Some(&outgoing.owner));
    let grantees: Vec<String> = from.into_iter().map(grantee).collect();
    plan.add(format!(
        "REVOKE ALL PRIVILEGES ON DATABASE {} FROM {} CASCADE",
        quote_identifier(&incoming.name),
        grantees.join(", ")
    ));
}

/// `ALTER DATABASE … OWNER` gives the old owner's entries to the new one.
fn new_owner<'a>(name: &'a str, outgoing: &'a Properties, incoming: &Properties) -> &'a str {
    if name == incoming.owner {
        &outgoing.owner
    } else {
        name
    }
}

fn grantee(name: Option<&str>) -> String {
    name.map_or_else(|| "PUBLIC".to_owned(), quote_identifier)
}

/// Nobody can pass a privilege on before holding it with the grant option.
fn in_order<'a>(acl: &'a [Grant], owner: &'a str) -> Vec<&'a Grant> {
    let mut waiting: Vec<&Grant> = acl.iter().collect();
    let mut ordered: Vec<&Grant> = Vec::new();
    loop {
        let may_grant = |grant: &Grant| {
            grant.grantor == owner
                || ordered.iter().any(|held| {
                    held.grantable
                        && held.privilege == grant.privilege
                        && held.grantee.as_ref() == Some(&grant.grantor)
                })
        };
        let (ready, later): (Vec<&Grant>, Vec<&Grant>) =
            waiting.iter().partition(|grant| may_grant(grant));
        if ready.is_empty() {
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(ready);
        waiting = later;
    }
}

fn settings(plan: &mut Plan, outgoing: &Properties, incoming: &Properties, rights: &Rights) {
    for old in &incoming.settings {
        let kept = outgoing.settings.contains(old);
        if !kept {
            configure(plan, incoming, old, rights, ["RESET ALL".to_owned()]);
        }
    }
    for new in &outgoing.settings {
        if !incoming.settings.contains(new) {
            let clauses = new
                .settings
                .iter()
                .filter_map(|text| setting::split(text))
                .map(|(name, value)| setting::clause(name, value));
            configure(plan, incoming, new, rights, clauses);
        }
    }
}

/// One ALTER per clause, on the database or on a role in it.
fn configure(
    plan: &mut Plan,
    database: &Properties,
    of: &Settings,
    rights: &Rights,
    clauses: impl IntoIterator<Item = String>,
) {
    let database = quote_identifier(&database.name);
    let Some(role) = of.role.as_deref() else {
        let alter = clauses
            .into_iter()
            .map(|clause| format!("ALTER DATABASE {database} {clause}"));
        plan.statements.extend(alter);
        return;
    };
    let name = quote_identifier(role);
    let alter = clauses
        .into_iter()
        .map(|clause| format!("ALTER ROLE {name} IN DATABASE {database} {clause}"));
    if rights.acts_as(role) {
        plan.add_as(role, alter);
    } else {
        plan.statements.extend(alter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(grantor: &str, grantee: &str, grantable: bool) -> Grant {
        Grant {
            grantor: grantor.into(),
            grantee: Some(grantee.into()),
            privilege: "CONNECT".into(),
            grantable,
        }
    }

    #[test]
    fn a_privilege_is_passed_on_only_after_it_was_given() {
        let acl = [
            grant("b", "c", false),
            grant("a", "b", true),
            grant("owner", "a", true),
            grant("stranger", "d", false),
        ];
        let order: Vec<&str> = in_order(&acl, "owner")
            .iter()
            .map(|grant| grant.grantor.as_str())
            .collect();
        assert_eq!(order, ["owner", "a", "b", "stranger"]);
    }
}
