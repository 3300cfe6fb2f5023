//! What is broken on the server that is restored into.

use super::broken::Broken;
use super::{in_state, link};
use crate::run::{Scene, dump_of};
use crate::support::archives::zip;
use crate::support::program::Setup;

/// The installation with another role than the superuser, made with `options`.
fn as_role(scene: &Scene, options: &str) -> (Setup, String) {
    let options = format!("LOGIN PASSWORD 'canary-x' {options}");
    let role = scene.server.role("restorer", &options);
    let database = scene.server.toml("erp", &scene.live);
    let user = format!("user = \"{role}\"");
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&database.replace("user = \"postgres\"", &user))
        .secret("DB_PASSWORD", "canary-x")
        .restore("owner = \"target\"")
        .write();
    (setup, role)
}

#[test]
fn a_role_that_may_not_create_databases() {
    let scene = Scene::with_archive();
    let (setup, role) = as_role(&scene, "");
    scene.server.sql(
        "postgres",
        &format!("alter database {} owner to {role}", scene.live),
    );
    let document = Broken {
        code: 3,
        link: "rights",
        says: &["may not create databases"],
        remedy: &[&format!("ALTER ROLE \"{role}\" CREATEDB;")],
    }
    .is_named(&setup);
    assert_eq!(link(&document, "contents")["state"], "ok");
}

#[test]
fn a_role_that_does_not_stand_for_the_owner() {
    let scene = Scene::with_archive();
    let (setup, role) = as_role(&scene, "CREATEDB");
    let owner = scene.server.role("owner", "");
    scene.server.sql(
        "postgres",
        &format!("alter database {} owner to {owner}", scene.live),
    );
    let grant = format!("GRANT \"{owner}\" TO \"{role}\";");
    Broken {
        code: 3,
        link: "rights",
        says: &["no member of"],
        remedy: &[&grant],
    }
    .is_named(&setup);
    let alone = setup
        .run(&["check", "--database", "erp", "--json"])
        .expect(3);
    assert_eq!(in_state(&alone.json(), "failed"), ["rights"]);
}

#[test]
fn a_role_of_the_dump_that_the_server_does_not_have() {
    let scene = Scene::new();
    let role = scene.server.role("gone", "");
    let sql = format!("create table t (v text); alter table t owner to {role}");
    scene.put(
        "erp.zip",
        &zip().entry("erp.dump", dump_of(&sql, &["-Fc"])).build(),
    );
    let renamed = format!("alter role {role} rename to {role}_away");
    scene.server.sql("postgres", &renamed);
    let document = Broken {
        code: 3,
        link: "contents",
        says: &[&format!("role `{role}` is missing")],
        remedy: &[&format!("CREATE ROLE \"{role}\" NOLOGIN;"), "missing_roles"],
    }
    .is_named(&scene.with(""));
    assert_eq!(link(&document, "rights")["state"], "ok");
}

#[test]
fn a_password_that_the_database_does_not_take() {
    let scene = Scene::with_archive();
    let (setup, role) = as_role(&scene, "CREATEDB");
    scene
        .server
        .sql("postgres", &format!("alter role {role} password 'other'"));
    let document = Broken {
        code: 6,
        link: "database login",
        says: &[&role],
        remedy: &["check `user` and `password` of this database"],
    }
    .is_named(&setup);
    assert_eq!(
        link(&document, "live database")["message"],
        "needs database login"
    );
}

#[test]
fn a_database_that_is_not_there() {
    let scene = Scene::with_archive();
    let setup = Setup::new()
        .local(scene.store.path())
        .database(scene.server, "no_such_shop")
        .restore("")
        .write();
    Broken {
        code: 3,
        link: "live database",
        says: &["there is no database `no_such_shop`"],
        remedy: &["create = true"],
    }
    .is_named(&setup);
}
