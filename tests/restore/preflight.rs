//! What stands in the way is found before the load, all of it, with its remedy.

use std::time::Duration;

use backupctl::database::connection::{Login, Session};
use backupctl::database::preflight::{Needs, Target, Thing, look, sessions, suits, takes_settings};
use backupctl::run::RunId;
use backupctl::secret::Secret;
use backupctl::verdict::{Failed, Verdict};

use crate::support::postgres::Postgres;

fn run() -> RunId {
    RunId::new(jiff::Timestamp::now())
}

/// A login of a new role that is no superuser.
fn ordinary(pg: &Postgres, database: &str, options: &str) -> (Login, String) {
    let role = pg.role("restorer", &format!("LOGIN PASSWORD 'canary-x' {options}"));
    let mut login = pg.login(database, &run());
    login.settings.user.clone_from(&role);
    login.password = Some(Secret::new("canary-x".into()));
    (login, role)
}

async fn looked(login: &Login) -> (Session, Target) {
    let session = login
        .maintenance()
        .await
        .expect("the test's preparation works");
    let target = look(&session, login)
        .await
        .expect("the test's preparation works");
    (session, target)
}

fn set(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn hint(failed: &Failed) -> &str {
    assert_eq!(failed.verdict, Verdict::Config, "{}", failed.message());
    failed.hint.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn the_live_database_is_seen_as_it_is() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let owner = pg.role("owner", "");
    pg.sql("postgres", &format!("alter database {db} owner to {owner}"));
    pg.sql(
        "postgres",
        &format!("alter database {db} connection limit 7"),
    );

    let (_, target) = looked(&pg.login(&db, &run())).await;

    assert_eq!(target.live.name, db);
    assert_eq!(target.live.owner, owner);
    assert_eq!(target.live.encoding, "UTF8");
    assert_eq!(target.live.collate, "C.UTF-8");
    assert_eq!(target.live.connection_limit, 7);
    assert!(
        target
            .live
            .size_bytes
            .expect("the test's preparation works")
            > 1_000_000
    );
    assert!(target.server.superuser && target.server.createdb && !target.server.in_recovery);
    assert!(target.server.system_identifier.is_some());
    assert!(target.server.free_connections > 10);
}

#[tokio::test]
async fn a_missing_database_is_config_and_the_near_miss_is_named() {
    let pg = Postgres::shared();
    let db = pg.database("warehouse");
    let login = pg.login(&db.replace("warehouse", "warehuose"), &run());
    let session = login
        .maintenance()
        .await
        .expect("the test's preparation works");
    let failed = look(&session, &login).await.unwrap_err();
    assert!(hint(&failed).contains(&format!("`{db}`")), "{failed:?}");
}

#[tokio::test]
async fn another_server_than_the_configured_one_is_config() {
    let pg = Postgres::shared();
    let mut login = pg.login(&pg.database("live"), &run());
    login.settings.system_identifier = Some("7350000000000000000".into());
    let session = login
        .maintenance()
        .await
        .expect("the test's preparation works");
    let failed = look(&session, &login).await.unwrap_err();
    assert!(hint(&failed).contains("another server"));

    login.settings.system_identifier = Some(pg.value(
        "postgres",
        "select system_identifier from pg_control_system()",
    ));
    look(&session, &login)
        .await
        .expect("the test's preparation works");
}

#[tokio::test]
async fn a_database_that_could_not_be_swapped_is_config() {
    let pg = Postgres::shared();
    let template = pg.database("template");
    pg.sql(
        "postgres",
        &format!("alter database {template} is_template true"),
    );
    let closed = pg.database("closed");
    pg.sql(
        "postgres",
        &format!("alter database {closed} allow_connections false"),
    );
    for (name, expected) in [
        ("postgres", "maintenance_database"),
        ("template1", "your own"),
        (template.as_str(), "IS_TEMPLATE false"),
        (closed.as_str(), "ALLOW_CONNECTIONS true"),
    ] {
        let login = pg.login(name, &run());
        let session = login
            .maintenance()
            .await
            .expect("the test's preparation works");
        let failed = look(&session, &login).await.unwrap_err();
        assert!(hint(&failed).contains(expected), "{name}: {failed:?}");
    }
}

#[tokio::test]
async fn a_hot_standby_is_config() {
    // given a server that only recovers: the data directory says so, and there is no primary to follow
    let pg = Postgres::start_standby();
    let login = pg.login("template1", &run());
    let session = login
        .maintenance()
        .await
        .expect("the test's preparation works");
    let failed = look(&session, &login).await.unwrap_err();
    assert!(hint(&failed).contains("primary"));
}

#[tokio::test]
async fn everything_that_is_missing_is_listed_at_once_with_its_remedy() {
    let pg = Postgres::shared();
    let (session, target) = looked(&pg.login(&pg.database("live"), &run())).await;
    let needs = Needs {
        roles: set(&["no \"such", "postgres"]),
        owners: set(&["nor_this"]),
        extensions: set(&["plpgsql", "timescale_x"]),
        languages: set(&["sql", "plcobol"]),
        tablespaces: set(&["pg_default", "fast_x"]),
        encoding: Some("LATIN1".into()),
        superuser_only: [Thing::new("EVENT TRIGGER", "audit")].into(),
        jobs: 4,
        ..Needs::default()
    };

    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();

    let hint = hint(&failed);
    assert!(
        hint.contains(r#"CREATE ROLE "no ""such" NOLOGIN;"#),
        "{hint}"
    );
    assert!(
        hint.contains(r#"CREATE ROLE "nor_this" NOLOGIN;"#),
        "{hint}"
    );
    assert!(hint.contains(r#"CREATE TABLESPACE "fast_x""#), "{hint}");
    assert!(hint.contains("--encoding=UTF8"), "{hint}");
    let message = failed.message();
    assert!(
        message.contains("timescale_x") && message.contains("plcobol"),
        "{message}"
    );
    assert!(
        !message.contains("plpgsql") && !message.contains("audit"),
        "{message}"
    );
}

#[tokio::test]
async fn a_server_that_has_all_is_suitable() {
    let pg = Postgres::shared();
    let (session, target) = looked(&pg.login(&pg.database("live"), &run())).await;
    let needs = Needs {
        roles: set(&["postgres"]),
        extensions: set(&["plpgsql"]),
        encoding: Some("UTF8".into()),
        ..Needs::default()
    };
    let warnings = suits(&session, &target, &needs, &run())
        .await
        .expect("the test's preparation works");
    assert_eq!(warnings, Vec::<String>::new());
}

#[tokio::test]
async fn an_ordinary_role_is_told_each_right_it_lacks() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let other = pg.role("other", "");
    let app = pg.role("app", "");
    pg.sql(
        "postgres",
        &format!("alter role {app} in database {db} set work_mem = '9MB'"),
    );
    pg.sql(
        "postgres",
        &format!("alter database {db} set log_statement = 'all'"),
    );
    let (login, role) = ordinary(pg, &db, "");
    let (session, target) = looked(&login).await;
    let needs = Needs {
        owners: set(&[&other]),
        superuser_only: [Thing::new("EVENT TRIGGER", "audit")].into(),
        ..Needs::default()
    };

    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();

    let hint = hint(&failed);
    for remedy in [
        format!("ALTER ROLE \"{role}\" CREATEDB;"),
        format!("GRANT \"{other}\" TO \"{role}\";"),
        format!("GRANT \"postgres\" TO \"{role}\";"),
        format!("GRANT \"{app}\" TO \"{role}\";"),
        format!("GRANT SET ON PARAMETER \"log_statement\" TO \"{role}\";"),
        format!("ALTER ROLE \"{role}\" SUPERUSER;"),
    ] {
        assert!(hint.contains(&remedy), "{remedy}\nis not in\n{hint}");
    }
}

#[tokio::test]
async fn an_ordinary_role_with_its_rights_is_suitable_but_may_not_end_others_sessions() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let owner = pg.role("owner", "");
    let (login, role) = ordinary(pg, &db, "CREATEDB");
    pg.sql("postgres", &format!("grant {owner} to {role}"));
    pg.sql("postgres", &format!("alter database {db} owner to {owner}"));
    let (session, target) = looked(&login).await;

    let warnings = suits(&session, &target, &Needs::default(), &run())
        .await
        .expect("the test's preparation works");

    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("GRANT pg_signal_backend"));
}

#[tokio::test]
async fn slots_and_subscriptions_of_the_live_database_are_config_with_their_names() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    pg.sql(
        &db,
        &format!("select pg_create_logical_replication_slot('slot_{db}', 'pgoutput')"),
    );
    pg.sql(&db, &format!("create subscription \"sub_{db}\" connection 'host=127.0.0.1' publication p with (connect = false, slot_name = none)"));
    let (session, target) = looked(&pg.login(&db, &run())).await;

    let failed = suits(&session, &target, &Needs::default(), &run())
        .await
        .unwrap_err();

    assert!(hint(&failed).contains(&format!("pg_drop_replication_slot('slot_{db}')")));
    assert!(hint(&failed).contains(&format!("DROP SUBSCRIPTION \"sub_{db}\"")));
    pg.sql(&db, &format!("drop subscription \"sub_{db}\""));
    pg.sql(
        &db,
        &format!("select pg_drop_replication_slot('slot_{db}')"),
    );
}

#[tokio::test]
async fn a_prepared_transaction_is_warned_of() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    pg.sql(&db, "create table t(x int)");
    pg.sql(
        &db,
        "begin; insert into t values (1); prepare transaction 'forgotten'",
    );
    let (session, target) = looked(&pg.login(&db, &run())).await;
    let warnings = suits(&session, &target, &Needs::default(), &run())
        .await
        .expect("the test's preparation works");
    assert!(warnings[0].contains("'forgotten'"), "{warnings:?}");
    pg.sql(&db, "rollback prepared 'forgotten'");
}

#[tokio::test]
async fn a_name_that_would_be_cut_is_config() {
    let pg = Postgres::shared();
    let db = pg.database(&"n".repeat(33));
    let needs = Needs::default();
    let (session, target) = looked(&pg.login(&db, &run())).await;
    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();
    assert!(hint(&failed).contains("at most 35 bytes"), "{failed:?}");
}

#[tokio::test]
async fn too_few_free_connections_are_config() {
    let pg = Postgres::shared();
    let (session, mut target) = looked(&pg.login(&pg.database("live"), &run())).await;
    target.server.free_connections = 6;
    let needs = Needs {
        jobs: 4,
        ..Needs::default()
    };
    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();
    assert!(hint(&failed).contains("`jobs`"));
}

#[tokio::test]
async fn a_role_with_a_connection_limit_has_no_more_free_connections_than_that() {
    let pg = Postgres::shared();
    let (login, role) = ordinary(pg, &pg.database("live"), "CREATEDB CONNECTION LIMIT 5");
    let (session, target) = looked(&login).await;
    assert_eq!(target.server.free_connections, 4);
    let failed = suits(&session, &target, &Needs::default(), &run())
        .await
        .unwrap_err();
    assert!(hint(&failed).contains(&format!("ALTER ROLE \"{role}\" CONNECTION LIMIT -1;")));
}

#[tokio::test]
async fn the_sessions_that_a_swap_would_end_are_counted() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let _one = pg.session(&db, "set application_name = 'shop'");
    let _two = pg.session(&db, "set application_name = 'shop'");
    let session = pg
        .login(&db, &run())
        .maintenance()
        .await
        .expect("the test's preparation works");
    let found = sessions(&session.with_deadline(Duration::from_secs(10)), &db)
        .await
        .expect("the test's preparation works");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].application.as_str(), found[0].count), ("shop", 2));
}

#[tokio::test]
async fn an_object_is_given_only_to_who_may_create_where_it_is() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let (owner, other) = (pg.role("owner", ""), pg.role("other", ""));
    let (login, role) = ordinary(pg, &db, "CREATEDB");
    pg.sql(
        "postgres",
        &format!("grant {owner}, {other} to {role}; alter database {db} owner to {owner}"),
    );
    let (session, target) = looked(&login).await;
    let needs = Needs {
        roles: set(&[&owner, &other]),
        owners: set(&[&owner, &other]),
        schemas: [("s".to_owned(), owner.clone())].into(),
        places: [
            ("s".to_owned(), other.clone()),
            ("s".to_owned(), owner.clone()),
        ]
        .into(),
        ..Needs::default()
    };

    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();
    pg.sql("postgres", &format!("grant {owner} to {other}"));
    let fine = suits(&session, &target, &needs, &run()).await;

    assert!(hint(&failed).contains("owner = \"target\""), "{failed:?}");
    assert!(
        failed.message().contains(&format!("`{other}`")),
        "{}",
        failed.message()
    );
    assert!(fine.is_ok(), "{fine:?}");
}

#[tokio::test]
async fn what_only_a_superuser_can_own_is_not_given_to_a_new_role() {
    let pg = Postgres::shared();
    let (session, target) = looked(&pg.login(&pg.database("live"), &run())).await;
    let thing = Thing::new("EVENT TRIGGER", "audit");
    let needs = |owner: &str| Needs {
        creates_roles: true,
        roles: set(&[owner]),
        superuser_owns: [(thing.clone(), owner.to_owned())].into(),
        ..Needs::default()
    };

    let failed = suits(&session, &target, &needs("dba_elsewhere"), &run())
        .await
        .unwrap_err();

    assert!(
        hint(&failed).contains("skip = [\"EVENT TRIGGER\"]"),
        "{failed:?}"
    );
    assert!(
        suits(&session, &target, &needs("postgres"), &run())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn default_privileges_are_set_only_by_who_stands_for_their_role() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let (owner, boss) = (pg.role("owner", ""), pg.role("boss", ""));
    let (session, target) = looked(&pg.login(&db, &run())).await;
    let needs = Needs {
        acting: Some(owner.clone()),
        roles: set(&[&owner, &boss]),
        owners: set(&[&owner]),
        grantors: set(&[&boss]),
        ..Needs::default()
    };

    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();
    pg.sql("postgres", &format!("grant {boss} to {owner}"));
    let fine = suits(&session, &target, &needs, &run()).await;

    let remedy = format!("GRANT \"{boss}\" TO \"{owner}\";");
    assert!(hint(&failed).contains(&remedy), "{failed:?}");
    assert!(fine.is_ok(), "{fine:?}");
}

#[tokio::test]
async fn untrusted_extensions_and_languages_are_for_superusers() {
    let pg = Postgres::shared();
    let db = pg.database("live");
    let (login, role) = ordinary(pg, &db, "CREATEDB");
    pg.sql("postgres", &format!("alter database {db} owner to {role}"));
    let (session, target) = looked(&login).await;
    let needs = Needs {
        extensions: set(&["citext", "pageinspect"]),
        function_languages: set(&["sql", "c"]),
        ..Needs::default()
    };

    let failed = suits(&session, &target, &needs, &run()).await.unwrap_err();

    let message = failed.message();
    assert!(
        message.contains("EXTENSION pageinspect") && message.contains("language c"),
        "{message}"
    );
    assert!(
        !message.contains("citext") && !message.contains("sql"),
        "{message}"
    );
    assert!(
        hint(&failed).contains("skip = [\"EXTENSION\"]"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_is_found_and_told_in_its_words() {
    let pg = Postgres::shared();
    let (mut login, _) = ordinary(pg, "postgres", "");
    for (name, value, said) in [
        (
            "no_such_setting",
            "1",
            "unrecognized configuration parameter",
        ),
        ("work_mem", "much", "invalid value"),
        ("fsync", "off", "cannot be changed now"),
        (
            "shared_buffers",
            "1GB",
            "cannot be changed without restarting",
        ),
        ("log_statement", "all", "permission denied"),
    ] {
        login.settings.session = vec![(name.into(), value.into())];
        let failed = takes_settings(&login).await.expect_err(name);
        assert!(hint(&failed).contains("databases.erp.postgres.session"));
        let told = failed.message();
        assert!(told.contains(said) && told.contains(name), "{told}");
    }
    login.settings.session = vec![
        ("maintenance_work_mem".into(), "64MB".into()),
        ("some.thing".into(), r"a \ 'b' -c fsync=off".into()),
    ];
    takes_settings(&login).await.expect("the server takes them");
}
