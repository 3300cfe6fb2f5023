//! What the dump promised is there, or is named.

use backupctl::database::catalog::{Promised, compare};
use backupctl::database::connection::connect;
use backupctl::run::RunId;
use backupctl::verdict::Verdict;

use crate::support::postgres::Postgres;

fn promised(kind: &str, schema: &str, name: &str) -> Promised {
    let schema = (schema != "-").then(|| schema.to_owned());
    Promised {
        kind: kind.into(),
        schema,
        name: name.into(),
    }
}

fn database() -> String {
    let pg = Postgres::shared();
    let db = pg.database("catalog");
    pg.sql(
        &db,
        "create schema app;
         create type app.colour as enum ('red');
         create table app.\"odd name\"(id serial primary key, x int check (x > 0));
         create index odd_x on app.\"odd name\"(x);
         create view app.v as select 1 as one;
         create materialized view app.m as select 1 as one;
         create function app.f(int) returns int language sql as 'select 1';
         create function app.f(text) returns int language sql as 'select 1';
         create function app.t() returns trigger language plpgsql as 'begin return new; end';
         create trigger tr before insert on app.\"odd name\" for each row execute function app.t();",
    );
    db
}

fn all() -> Vec<Promised> {
    vec![
        promised("SCHEMA", "-", "app"),
        promised("EXTENSION", "-", "plpgsql"),
        promised("TYPE", "app", "colour"),
        promised("TABLE", "app", "odd name"),
        promised("SEQUENCE", "app", "odd name_id_seq"),
        promised("CONSTRAINT", "app", "odd name odd name_pkey"),
        promised("INDEX", "app", "odd_x"),
        promised("VIEW", "app", "v"),
        promised("MATERIALIZED VIEW", "app", "m"),
        promised("FUNCTION", "app", "f(integer)"),
        promised("FUNCTION", "app", "f(text)"),
        promised("TRIGGER", "app", "odd name tr"),
        promised("TABLE DATA", "app", "odd name"),
    ]
}

#[tokio::test]
async fn what_was_promised_and_is_there_is_counted() {
    let pg = Postgres::shared();
    let db = database();
    let login = pg.login(&db, &RunId::new(jiff::Timestamp::now()));
    let session = connect(&login, &db)
        .await
        .expect("the test's preparation works");
    let counted = compare(&session, &all())
        .await
        .expect("the test's preparation works");
    assert_eq!(
        (counted.tables, counted.views, counted.functions),
        (1, 2, 2)
    );
    assert_eq!(
        (counted.indexes, counted.constraints, counted.triggers),
        (1, 1, 1)
    );
    assert_eq!(
        (
            counted.schemas,
            counted.extensions,
            counted.sequences,
            counted.types
        ),
        (1, 1, 1, 1)
    );
}

#[tokio::test]
async fn each_kind_of_missing_object_is_named() {
    let pg = Postgres::shared();
    for (drop, expected) in [
        ("drop index app.odd_x", "index `app.odd_x`"),
        ("drop function app.f(text)", "function `app.f(text)`"),
        (
            "drop trigger tr on app.\"odd name\"",
            "trigger `app.odd name tr`",
        ),
        ("drop type app.colour", "type `app.colour`"),
        (
            "alter table app.\"odd name\" drop constraint \"odd name_pkey\"",
            "constraint `app.odd name odd name_pkey`",
        ),
        ("drop materialized view app.m", "materialized view `app.m`"),
        ("drop schema app cascade", "and 1 more"),
    ] {
        let db = database();
        pg.sql(&db, drop);
        let login = pg.login(&db, &RunId::new(jiff::Timestamp::now()));
        let session = connect(&login, &db)
            .await
            .expect("the test's preparation works");
        let failed = compare(&session, &all()).await.unwrap_err();
        assert_eq!(failed.verdict, Verdict::Failed);
        assert!(failed.message().contains(expected), "{}", failed.message());
    }
}

#[tokio::test]
async fn an_invalid_index_is_a_failure() {
    let pg = Postgres::shared();
    let db = database();
    pg.sql(
        &db,
        "update pg_index set indisvalid = false where indexrelid = 'app.odd_x'::regclass",
    );
    let login = pg.login(&db, &RunId::new(jiff::Timestamp::now()));
    let session = connect(&login, &db)
        .await
        .expect("the test's preparation works");
    let failed = compare(&session, &all()).await.unwrap_err();
    assert!(
        failed.message().contains("`app.odd_x`"),
        "{}",
        failed.message()
    );
}
