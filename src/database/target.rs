//! The server and the live database as they are: what the preflight judges and the scratch database imitates.

use super::connection::{Login, Session, column, quote_identifier};
use super::unmade;
use crate::config::distance;
use crate::escape::shown;
use crate::verdict::{Explain, Failed, Outcome, Verdict};

/// What a restore goes into.
#[derive(Debug, Clone)]
pub struct Target {
    pub server: Server,
    pub live: Live,
}

#[derive(Debug, Clone)]
pub struct Server {
    /// 150014.
    pub version_num: u32,
    /// `15.14 (Debian 15.14-0+deb12u1)`.
    pub version: String,
    /// None: the role may not ask.
    pub system_identifier: Option<String>,
    /// The role that is logged in.
    pub user: String,
    pub superuser: bool,
    pub createdb: bool,
    pub in_recovery: bool,
    /// Connections that this role could open now.
    pub free_connections: i64,
}

/// The live database's own properties; those of the swap (settings, comment, security labels) are read there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// 0: it is not there yet, see [`Live::is_missing`].
    pub oid: u32,
    pub name: String,
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c` libc, `i` ICU, `b` built in; always `c` before PostgreSQL 15.
    pub locale_provider: char,
    /// The locale of ICU or of the built-in provider.
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
    pub tablespace: String,
    /// As `pg_database.datacl` shows it; None: the default.
    pub acl: Option<String>,
    /// None: the role may not ask.
    pub size_bytes: Option<i64>,
    /// -1: no limit.
    pub connection_limit: i32,
    pub is_template: bool,
    pub allows_connections: bool,
}

impl Live {
    /// Whether it is still to be made; only where the configuration says `create = true`.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.oid == 0
    }
}

/// Looks at the server and the live database through a session with the maintenance database.
///
/// # Errors
/// `config`: a hot standby, the wrong server, no such database, or one that can't be replaced; else as the session.
pub async fn look(session: &Session, login: &Login) -> Outcome<Target> {
    let server = server(session).await?;
    right_server(&server, login)?;
    let name = login.settings.name.as_str();
    let live = match described(session, name).await? {
        Some(live) => live,
        None if login.settings.create => {
            let template = described(session, "template0").await?;
            let template = template.ok_or_else(|| no_template(name))?;
            unmade::live(login, &server, template)
        }
        None => return Err(no_such(session, name).await),
    };
    replaceable(&live, login)?;
    Ok(Target { server, live })
}

async fn server(session: &Session) -> Outcome<Server> {
    let row = session
        .query_one(
            "SELECT current_setting('server_version'), pg_is_in_recovery(), rolname::text, rolsuper, rolcreatedb,
                    least(CASE WHEN rolconnlimit >= 0 THEN rolconnlimit
                                    - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) END,
                    current_setting('max_connections')::int8
                    - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int8
                                                   + coalesce(current_setting('reserved_connections', true)::int8, 0) END
                    - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'))
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await?;
    let superuser: bool = column(&row, 3)?;
    Ok(Server {
        version_num: session.version_num(),
        version: column(&row, 0)?,
        system_identifier: system_identifier(session).await,
        user: column(&row, 2)?,
        superuser,
        createdb: superuser || column(&row, 4)?,
        in_recovery: column(&row, 1)?,
        free_connections: column(&row, 5)?,
    })
}

/// By how many seconds the server's clock is ahead of ours, as exactly as the way there and back allows.
///
/// # Errors
/// As the session.
pub async fn clock_ahead(session: &Session) -> Outcome<f64> {
    let seconds = |time: jiff::Timestamp| time.as_duration().as_secs_f64();
    let before = seconds(jiff::Timestamp::now());
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let row = session.query_one(sql, &[]).await?;
    let after = seconds(jiff::Timestamp::now());
    let theirs: f64 = column(&row, 0)?;
    Ok(theirs - f64::midpoint(before, after))
}

async fn system_identifier(session: &Session) -> Option<String> {
    let sql = "SELECT system_identifier::text FROM pg_control_system()";
    // Only a configured guard needs it; where that is the case, None is an error of its own.
    let row = session.query_one(sql, &[]).await.ok()?;
    row.try_get(0).ok()
}

fn right_server(server: &Server, login: &Login) -> Outcome<()> {
    if let Some(wanted) = &login.settings.system_identifier {
        match &server.system_identifier {
            Some(found) if found == wanted => {}
            Some(found) => {
                return Err(Failed::new(
                    Verdict::Config,
                    format!("the server's system identifier is {found}, not {wanted}"),
                )
                .hint("this is another server than the configured one: check `host`, `port` and `system_identifier`"));
            }
            None => {
                return Err(Failed::new(
                    Verdict::Config,
                    "the server's system identifier can't be read",
                )
                .hint(format!(
                    "GRANT EXECUTE ON FUNCTION pg_control_system() TO {};",
                    quote_identifier(&server.user)
                )));
            }
        }
    }
    if server.in_recovery {
        return Err(Failed::new(
            Verdict::Config,
            "the server is a hot standby, which can't be restored into",
        )
        .hint("point `host` at the primary"));
    }
    Ok(())
}

fn no_template(name: &str) -> Failed {
    let name = shown(name);
    Failed::new(
        Verdict::Config,
        format!("`{name}` can't be made: the server has no template0"),
    )
    .hint("make template0 anew, as PostgreSQL's manual says under \"Template Databases\"")
}

/// A database by its name; None where there is none.
async fn described(session: &Session, name: &str) -> Outcome<Option<Live>> {
    let (provider, locale, rules) = locale_columns(session.version_num());
    let sql = format!(
        "SELECT d.oid, d.datname::text, pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text,
                datcollate::text, datctype::text, {provider}::text, {locale}::text, {rules}::text, spcname::text, datacl::text,
                CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                     THEN pg_database_size(d.oid) END,
                datconnlimit, datistemplate, datallowconn
         FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = $1::text"
    );
    let Some(row) = session.query_opt(&sql, &[&name]).await? else {
        return Ok(None);
    };
    let provider: String = column(&row, 6)?;
    Ok(Some(Live {
        oid: column(&row, 0)?,
        name: column(&row, 1)?,
        owner: column(&row, 2)?,
        encoding: column(&row, 3)?,
        collate: column(&row, 4)?,
        ctype: column(&row, 5)?,
        locale_provider: provider.chars().next().unwrap_or('c'),
        locale: column(&row, 7)?,
        icu_rules: column(&row, 8)?,
        tablespace: column(&row, 9)?,
        acl: column(&row, 10)?,
        size_bytes: column(&row, 11)?,
        connection_limit: column(&row, 12)?,
        is_template: column(&row, 13)?,
        allows_connections: column(&row, 14)?,
    }))
}

/// The size of a database; None: the role may not ask.
///
/// # Errors
/// As the session.
pub async fn size_bytes(session: &Session, oid: u32) -> Outcome<Option<u64>> {
    let sql = "SELECT CASE WHEN has_database_privilege($1::oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                           THEN pg_database_size($1::oid) END";
    let size: Option<i64> = column(&session.query_one(sql, &[&oid]).await?, 0)?;
    Ok(size.and_then(|size| u64::try_from(size).ok()))
}

/// Locale provider, its locale and its rules came one after the other, and one was renamed.
fn locale_columns(version_num: u32) -> (&'static str, &'static str, &'static str) {
    match version_num {
        170_000.. => ("datlocprovider", "datlocale", "daticurules"),
        160_000.. => ("datlocprovider", "daticulocale", "daticurules"),
        150_000.. => ("datlocprovider", "daticulocale", "NULL"),
        _ => ("'c'", "NULL", "NULL"),
    }
}

async fn no_such(session: &Session, name: &str) -> Failed {
    let failed = Failed::new(
        Verdict::Config,
        format!("there is no database `{}` on the server", shown(name)),
    );
    let others = others(session).await;
    failed.hint(format!(
        "{}check `name` of this database, or let the run make it with `create = true`, or make an empty one: CREATE DATABASE {};",
        near_misses(name, &others),
        quote_identifier(name)
    ))
}

/// The databases that there are; none where nobody may ask.
async fn others(session: &Session) -> Vec<String> {
    let sql =
        "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
    let rows = session.query(sql, &[]).await.unwrap_or_default();
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

/// Databases with almost this name, escaped and in backticks: a name that is to be made may be a mistyped one.
pub async fn alike(session: &Session, name: &str) -> Vec<String> {
    near(name, &others(session).await)
}

fn near(name: &str, others: &[String]) -> Vec<String> {
    let is_near = |other: &&String| distance(&name.to_lowercase(), &other.to_lowercase()) <= 2;
    let near = others.iter().filter(is_near);
    near.map(|other| format!("`{}`", shown(other))).collect()
}

/// `did you mean `erp`? ` or what else is there, or nothing.
fn near_misses(name: &str, others: &[String]) -> String {
    let near = near(name, others);
    if !near.is_empty() {
        return format!("did you mean {}? ", near.join(" or "));
    }
    if others.is_empty() {
        return String::new();
    }
    let listed: Vec<String> = others
        .iter()
        .take(10)
        .map(|other| format!("`{}`", shown(other)))
        .collect();
    format!("there are {}; ", listed.join(", "))
}

/// A live database that the swap could not rename, or would not carry over as it is.
fn replaceable(live: &Live, login: &Login) -> Outcome<()> {
    let name = quote_identifier(&live.name);
    let (problem, remedy) = if live.name == login.settings.maintenance_database {
        (
            "is the maintenance database too, and can't be renamed from within",
            "set `maintenance_database` to another one, such as `postgres`".to_owned(),
        )
    } else if ["template0", "template1"].contains(&live.name.as_str()) {
        (
            "belongs to PostgreSQL itself",
            "set `name` to a database of your own".to_owned(),
        )
    } else if live.is_template {
        (
            "is a template",
            format!("ALTER DATABASE {name} IS_TEMPLATE false;"),
        )
    } else if !live.allows_connections {
        (
            "accepts no connections",
            format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true;"),
        )
    } else {
        return Ok(());
    };
    Err(Failed::new(
        Verdict::Config,
        format!("the database `{}` {problem}", shown(&live.name)),
    ))
    .hint(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_recognised() {
        let others = ["erp".to_owned(), "shop".to_owned()];
        assert_eq!(near_misses("ERP2", &others), "did you mean `erp`? ");
        assert_eq!(
            near_misses("warehouse", &others),
            "there are `erp`, `shop`; "
        );
    }
}
