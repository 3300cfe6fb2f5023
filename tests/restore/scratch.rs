//! The scratch database: like the live one, in the journal before it exists, and dropped whoever still works on it.

use std::time::{Duration, Instant};

use backupctl::database::connection::connect;
use backupctl::database::scratch::{
    PublicSchema, Scratch, create, drop_left_behind, drop_scratch, end_backends, hold_database,
    scratch_name,
};
use backupctl::database::target::look;
use backupctl::journal::Created;
use backupctl::run::{Run, RunId};
use backupctl::verdict::{Outcome, Verdict};

use super::run;
use crate::support::postgres::Postgres;

async fn created(pg: &Postgres, live: &str, run: &Run, public: PublicSchema) -> Outcome<Scratch> {
    let login = pg.login(live, &run.id);
    let session = login.maintenance().await?;
    let target = look(&session, &login).await?;
    create(&login, &target, run, public).await
}

#[tokio::test]
async fn the_scratch_database_is_like_the_live_one_and_closed_to_others() {
    // given a live database with properties of its own
    let pg = Postgres::shared();
    let owner = pg.role("owner", "");
    let live = format!("live_of_{owner}");
    pg.sql(
        "postgres",
        &format!(
            "create database {live} owner {owner} template template0 encoding 'LATIN1' locale 'C'"
        ),
    );
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let run = run(dir.path());

    // when
    let scratch = created(pg, &live, &run, PublicSchema::Template)
        .await
        .expect("the test's preparation works");

    // then
    assert_eq!(scratch.name, scratch_name(&live, &run.id));
    let properties = |name: &str| {
        pg.value("postgres", &format!("select pg_get_userbyid(datdba), encoding, datcollate, datctype, datlocprovider, dattablespace from pg_database where datname = '{name}'"))
    };
    assert_eq!(properties(&scratch.name), properties(&live));
    assert_eq!(
        pg.value(
            "postgres",
            &format!(
                "select oid from pg_database where datname = '{}'",
                scratch.name
            )
        ),
        scratch.oid.to_string()
    );
    let outsider = pg.role("outsider", "");
    let may_connect = format!(
        "select has_database_privilege('{outsider}', '{}', 'CONNECT')",
        scratch.name
    );
    assert_eq!(pg.value("postgres", &may_connect), "f");
    let entry = Created::Scratch {
        database: "erp".into(),
        name: scratch.name.clone(),
    };
    assert_eq!(run.journal.created(), [entry]);

    // and when it is dropped again
    drop_scratch(&pg.login(&live, &run.id), &scratch.name, &run)
        .await
        .expect("the test's preparation works");
    assert_eq!(pg.databases_like(&format!("{live}%")), [live]);
    assert_eq!(run.journal.created(), []);
}

#[tokio::test]
async fn an_icu_database_gets_an_icu_scratch_database() {
    let pg = Postgres::shared();
    let live = format!("icu_{}", pg.role("icu", ""));
    pg.sql("postgres", &format!("create database {live} template template0 locale_provider icu icu_locale 'de-u-kn-true' locale 'C.UTF-8'"));
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let run = run(dir.path());
    let scratch = created(pg, &live, &run, PublicSchema::Template)
        .await
        .expect("the test's preparation works");
    let locale = format!(
        "select datlocprovider, daticulocale from pg_database where datname = '{}'",
        scratch.name
    );
    assert_eq!(pg.value("postgres", &locale), "i|de-u-kn-true");
    drop_scratch(&pg.login(&live, &run.id), &scratch.name, &run)
        .await
        .expect("the test's preparation works");
}

#[tokio::test]
async fn the_empty_public_schema_makes_room_for_the_dumps_own() {
    let pg = Postgres::shared();
    let live = pg.database("live");
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let run = run(dir.path());
    let scratch = created(pg, &live, &run, PublicSchema::Dump)
        .await
        .expect("the test's preparation works");
    let schemas = "select count(*) from pg_namespace where nspname = 'public'";
    assert_eq!(pg.value(&scratch.name, schemas), "0");
    drop_scratch(&pg.login(&live, &run.id), &scratch.name, &run)
        .await
        .expect("the test's preparation works");
}

#[tokio::test]
async fn the_own_drop_ends_who_is_inside_but_not_the_runs_other_sessions() {
    let pg = Postgres::shared();
    let live = pg.database("live");
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let run = run(dir.path());
    let login = pg.login(&live, &run.id);
    let lock = login
        .maintenance()
        .await
        .expect("the test's preparation works");
    hold_database(&lock, &live)
        .await
        .expect("the test's preparation works");
    let scratch = created(pg, &live, &run, PublicSchema::Template)
        .await
        .expect("the test's preparation works");
    let inside = connect(&login, &scratch.name)
        .await
        .expect("the test's preparation works");

    drop_scratch(&login, &scratch.name, &run)
        .await
        .expect("the test's preparation works");

    assert!(inside.batch("select 1").await.is_err());
    lock.batch("select 1")
        .await
        .expect("the test's preparation works");
}

#[tokio::test]
async fn a_create_database_that_outlived_its_client_leaves_nothing() {
    // given a dead run whose CREATE DATABASE is still at work: it waits some seconds for a session in its template
    let pg = Postgres::shared();
    let live = pg.database("live");
    let template = pg.database("template");
    let blocker = pg.session(&template, "select 1");
    let dead = RunId::parse("20200101-000000-dead").expect("the test's preparation works");
    let name = scratch_name(&live, &dead);
    let creation = std::thread::spawn({
        let application = dead.application_name();
        let sql = format!(
            "set application_name = '{application}'; create database {name} template {template}"
        );
        move || Postgres::shared().try_sql("postgres", &sql)
    });
    let at_work = format!(
        "select count(*) from pg_stat_activity where query like '%create database {name}%' and state = 'active' and pid <> pg_backend_pid()"
    );
    let until = Instant::now() + Duration::from_secs(4);
    while pg.value("postgres", &at_work) == "0" {
        assert!(Instant::now() < until, "CREATE DATABASE was not seen");
    }

    // when the next run cleans up, and then the way would be free
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let login = pg.login(&live, &run(dir.path()).id);
    drop_left_behind(&login, &name, &dead)
        .await
        .expect("the test's preparation works");
    drop(blocker);

    // then
    let (created, text) = creation.join().expect("the test's preparation works");
    assert!(!created && text.contains("terminat"), "{text}");
    assert_eq!(pg.databases_like(&format!("{live}%")), [live]);
}

#[tokio::test]
async fn the_backends_of_a_dead_run_are_ended_and_nobody_elses() {
    let pg = Postgres::shared();
    let live = pg.database("live");
    let dead = RunId::parse("20200101-000000-dea2").expect("the test's preparation works");
    let _orphan = pg.session(
        &live,
        &format!("set application_name = '{}'", dead.application_name()),
    );
    let other = pg.login(
        &live,
        &run(tempfile::tempdir()
            .expect("the test's preparation works")
            .path())
        .id,
    );
    let other = connect(&other, &live)
        .await
        .expect("the test's preparation works");
    let session = pg
        .login(
            &live,
            &run(tempfile::tempdir()
                .expect("the test's preparation works")
                .path())
            .id,
        )
        .maintenance()
        .await
        .expect("the test's preparation works");

    assert_eq!(
        end_backends(&session, &dead)
            .await
            .expect("the test's preparation works"),
        1
    );

    let left = format!(
        "select count(*) from pg_stat_activity where application_name = '{}'",
        dead.application_name()
    );
    assert_eq!(pg.value("postgres", &left), "0");
    other
        .batch("select 1")
        .await
        .expect("the test's preparation works");
}

#[tokio::test]
async fn only_a_scratch_database_of_that_run_is_ever_dropped() {
    let pg = Postgres::shared();
    let live = pg.database("live");
    let run = run(tempfile::tempdir()
        .expect("the test's preparation works")
        .path());
    let other = RunId::parse("20200101-000000-0001").expect("the test's preparation works");
    for name in [live.clone(), scratch_name(&live, &other)] {
        let failed = drop_scratch(&pg.login(&live, &run.id), &name, &run)
            .await
            .unwrap_err();
        assert_eq!(failed.verdict, Verdict::Bug);
    }
    assert_eq!(pg.databases_like(&live), [live]);
}

#[tokio::test]
async fn a_second_restore_into_the_same_database_is_locked_out_and_told_by_whom() {
    let pg = Postgres::shared();
    let live = pg.database("live");
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let (first, second) = (run(dir.path()), run(dir.path()));
    let holder = pg
        .login(&live, &first.id)
        .maintenance()
        .await
        .expect("the test's preparation works");
    hold_database(&holder, &live)
        .await
        .expect("the test's preparation works");
    let waiting = pg
        .login(&live, &second.id)
        .maintenance()
        .await
        .expect("the test's preparation works");

    let failed = hold_database(&waiting, &live).await.unwrap_err();

    assert_eq!(failed.verdict, Verdict::Locked);
    let message = failed.message();
    assert!(message.contains(&first.id.application_name()), "{message}");
    assert!(message.contains(&holder.pid().to_string()), "{message}");
    hold_database(&waiting, "another database")
        .await
        .expect("the test's preparation works");

    // and once the holder is gone
    holder.close().await;
    let until = Instant::now() + Duration::from_secs(5);
    while hold_database(&waiting, &live).await.is_err() {
        assert!(Instant::now() < until, "the lock outlived its session");
    }
}

#[tokio::test]
async fn a_name_that_pg_hba_does_not_know_is_refused_with_the_line_to_add() {
    // given a server that lets nobody into scratch databases
    let pg = Postgres::start("");
    let live = pg.database("live");
    let hba = pg.directory.join("data/pg_hba.conf");
    let rules = format!("host postgres,template1,{live} all 127.0.0.1/32 scram-sha-256\n");
    std::fs::write(&hba, rules).expect("the test's preparation works");
    pg.sql("postgres", "select pg_reload_conf()");
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let run = run(dir.path());

    // when
    let failed = created(&pg, &live, &run, PublicSchema::Template)
        .await
        .unwrap_err();

    // then
    assert_eq!(failed.verdict, Verdict::Refused, "{}", failed.message());
    assert!(
        failed
            .hint
            .expect("the test's preparation works")
            .contains("pg_hba.conf")
    );
    let name = scratch_name(&live, &run.id);
    drop_scratch(&pg.login(&live, &run.id), &name, &run)
        .await
        .expect("the test's preparation works");
    assert_eq!(pg.databases_like("live%"), [live]);
}
