//! What belongs to a database as such and not to its content: it follows the OID, so a swap has to carry it over.
//!
//! Reading and comparing only; `carry.rs` makes one database like another.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use crate::database::connection::{Session, column};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// The properties of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    pub name: String,
    pub oid: u32,
    pub owner: String,
    /// Nobody ever granted or revoked anything: the catalog holds no list.
    pub default_acl: bool,
    /// With the default list spelled out.
    pub acl: Vec<Grant>,
    /// -1 is no limit; -2 marks a database whose DROP was interrupted.
    pub connection_limit: i32,
    pub allows_connections: bool,
    pub is_template: bool,
    pub comment: Option<String>,
    /// `ALTER DATABASE … SET` (no role) and `ALTER ROLE … IN DATABASE … SET`.
    pub settings: Vec<Settings>,
    pub labels: Vec<Label>,
    /// The server's clock when this was read.
    pub read_at: Timestamp,
}

/// One privilege of one grantee.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Grant {
    pub grantor: String,
    /// None is PUBLIC.
    pub grantee: Option<String>,
    pub privilege: String,
    pub grantable: bool,
}

/// The settings of all roles (None) or of one role in this database, as `name=value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Settings {
    pub role: Option<String>,
    pub settings: Vec<String>,
}

/// A security label of one provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Label {
    pub provider: String,
    pub label: String,
}

const PROPERTIES: &str = "
SELECT d.datname::text, pg_get_userbyid(d.datdba)::text, d.datacl IS NULL,
    (SELECT coalesce(json_agg(json_build_object(
            'grantor', pg_get_userbyid(a.grantor),
            'grantee', CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
            'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
        FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a)::text,
    d.datconnlimit, d.datallowconn, d.datistemplate, shobj_description(d.oid, 'pg_database'),
    (SELECT coalesce(json_agg(json_build_object(
            'role', CASE s.setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END,
            'settings', s.setconfig) ORDER BY s.setrole), '[]')
        FROM pg_db_role_setting s WHERE s.setdatabase = d.oid)::text,
    (SELECT coalesce(json_agg(json_build_object('provider', l.provider, 'label', l.label) ORDER BY l.provider), '[]')
        FROM pg_shseclabel l WHERE l.classoid = 'pg_database'::regclass AND l.objoid = d.oid)::text,
    (extract(epoch FROM clock_timestamp()) * 1000)::int8
FROM pg_database d WHERE d.oid = $1";

/// Reads the properties of the database with this OID.
///
/// # Errors
/// `failed` where there is no such database; else as the session.
pub async fn properties(session: &Session, oid: u32) -> Outcome<Properties> {
    let row = session
        .query_opt(PROPERTIES, &[&oid])
        .await?
        .ok_or_else(|| {
            Failed::new(
                Verdict::Failed,
                format!("the database with OID {oid} no longer exists"),
            )
        })?;
    let milliseconds: i64 = column(&row, 10)?;
    Ok(Properties {
        name: column(&row, 0)?,
        oid,
        owner: column(&row, 1)?,
        default_acl: column(&row, 2)?,
        acl: list(column(&row, 3)?)?,
        connection_limit: column(&row, 4)?,
        allows_connections: column(&row, 5)?,
        is_template: column(&row, 6)?,
        comment: column(&row, 7)?,
        settings: list(column(&row, 8)?)?,
        labels: list(column(&row, 9)?)?,
        read_at: Timestamp::from_millisecond(milliseconds)
            .judge(Verdict::Bug, "read the server's clock")?,
    })
}

fn list<T: for<'de> Deserialize<'de>>(json: &str) -> Outcome<Vec<T>> {
    serde_json::from_str(json).judge(Verdict::Bug, "read a database's properties")
}

impl Properties {
    /// Who may do what, without the question of who granted it.
    fn privileges(&self) -> BTreeSet<(Option<&str>, &str, bool)> {
        // The owner may grant whatever the list says.
        let option = |grant: &Grant| grant.grantable && grant.grantee.as_ref() != Some(&self.owner);
        self.acl
            .iter()
            .map(|grant| {
                (
                    grant.grantee.as_deref(),
                    grant.privilege.as_str(),
                    option(grant),
                )
            })
            .collect()
    }

    fn sorted_settings(&self) -> BTreeSet<(Option<&str>, BTreeSet<&str>)> {
        self.settings
            .iter()
            .map(|of| {
                let texts = of.settings.iter().map(String::as_str).collect();
                (of.role.as_deref(), texts)
            })
            .collect()
    }

    /// Whether nothing but the name was changed between two readings of the same database.
    #[must_use]
    pub fn unchanged_since(&self, earlier: &Self) -> bool {
        let now = Self {
            read_at: earlier.read_at,
            name: earlier.name.clone(),
            ..self.clone()
        };
        now == *earlier
    }

    /// What `new` has otherwise than this one, in words; empty where it was carried over wholly.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<&'static str> {
        let comment = super::stamp::original(self.comment.as_deref());
        [
            ("owner", self.owner == new.owner),
            ("privileges", self.privileges() == new.privileges()),
            (
                "connection limit",
                self.connection_limit == new.connection_limit,
            ),
            (
                "ALLOW_CONNECTIONS",
                self.allows_connections == new.allows_connections,
            ),
            ("IS_TEMPLATE", self.is_template == new.is_template),
            ("comment", comment == new.comment),
            ("settings", self.sorted_settings() == new.sorted_settings()),
            ("security labels", self.labels == new.labels),
        ]
        .into_iter()
        .filter_map(|(what, same)| (!same).then_some(what))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Properties);

    fn plain() -> Properties {
        Properties {
            name: "erp".into(),
            oid: 1,
            owner: "shop".into(),
            default_acl: true,
            acl: vec![Grant {
                grantor: "shop".into(),
                grantee: Some("web".into()),
                privilege: "CONNECT".into(),
                grantable: false,
            }],
            connection_limit: -1,
            allows_connections: true,
            is_template: false,
            comment: Some("the shop".into()),
            settings: vec![Settings {
                role: None,
                settings: vec!["a=1".into(), "b=2".into()],
            }],
            labels: Vec::new(),
            read_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn each_property_that_was_not_carried_over_is_told() {
        let changes: [(&str, Change); 8] = [
            ("owner", |p| p.owner = "web".into()),
            ("privileges", |p| p.acl[0].grantable = true),
            ("connection limit", |p| p.connection_limit = 5),
            ("ALLOW_CONNECTIONS", |p| p.allows_connections = false),
            ("IS_TEMPLATE", |p| p.is_template = true),
            ("comment", |p| p.comment = None),
            ("settings", |p| p.settings[0].settings[0] = "a=2".into()),
            ("security labels", |p| {
                p.labels.push(Label {
                    provider: "guard".into(),
                    label: "secret".into(),
                });
            }),
        ];
        for (what, change) in changes {
            let mut new = plain();
            change(&mut new);
            assert_eq!(plain().differences(&new), [what]);
        }
    }

    #[test]
    fn another_order_or_grantor_and_a_spelled_out_default_are_no_difference() {
        let mut new = plain();
        new.default_acl = false;
        new.acl[0].grantor = "boss".into();
        new.settings[0].settings.reverse();
        assert_eq!(plain().differences(&new), [""; 0]);
    }
}
