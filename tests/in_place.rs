//! How an in-place restore is known to have happened or not.

use backupctl::database::connection::connect;
use backupctl::database::in_place::{Mark, mark};
use backupctl::run::RunId;

use crate::support::postgres::Postgres;

async fn marked(server: &Postgres, database: &str) -> Mark {
    let run = RunId::new(jiff::Timestamp::now());
    let session = connect(&server.login(database, &run), database).await;
    mark(&session.expect("a session")).await.expect("a mark")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_committed_is_told_from_one_that_did_not() {
    // given
    let server = Postgres::shared();
    let database = server.database("inplace");
    server.sql(
        &database,
        "create table t (v text); insert into t values ('old')",
    );
    let before = marked(server, &database).await;

    // when: the application writes, and a restore rolls back
    server.sql(
        &database,
        "insert into t values ('more'); begin; drop table t; create table t (v text); rollback",
    );
    let rolled_back = marked(server, &database).await;

    // when: a restore commits the same tables
    server.sql(
        &database,
        "begin; drop table t; create table t (v text); commit",
    );
    let committed = marked(server, &database).await;

    // then
    assert_eq!(rolled_back, before);
    assert_ne!(committed, before);
}
