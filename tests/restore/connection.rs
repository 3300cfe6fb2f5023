//! Ways in: sockets, TLS, logins, deadlines.

use std::time::{Duration, Instant};

use backupctl::config::SslMode;
use backupctl::database::connection::{Login, connect};
use backupctl::run::RunId;
use backupctl::secret::Secret;
use backupctl::verdict::Verdict;

use crate::support::postgres::{Postgres, free_port};

fn login() -> (Login, RunId) {
    let run = RunId::new(jiff::Timestamp::now());
    (Postgres::shared().login("postgres", &run), run)
}

#[tokio::test]
async fn a_session_carries_the_runs_name_over_tcp_and_over_the_socket() {
    let pg = Postgres::shared();
    let (mut login, run) = login();
    for host in [
        "127.0.0.1",
        pg.socket_dir
            .to_str()
            .expect("the test's preparation works"),
    ] {
        login.settings.host = host.into();
        let session = connect(&login, "postgres")
            .await
            .expect("the test's preparation works");
        let rows = session
            .first_text_rows(
                "select application_name, null from pg_stat_activity where pid = pg_backend_pid()",
                2,
            )
            .await
            .expect("the test's preparation works");
        assert_eq!(rows, [[Some(run.application_name()), None]], "{host}");
        assert!(session.version_num() >= 130_000);
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let (mut login, _) = login();
    login.password = Some(Secret::new("canary-wrong".into()));
    let failed = connect(&login, "postgres").await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Refused);
    assert!(failed.message().contains("28P01"), "{}", failed.message());
    assert!(!format!("{failed:?}").contains("canary"));
}

#[tokio::test]
async fn a_missing_password_and_a_missing_database_are_config() {
    let (mut login, _) = login();
    let failed = connect(&login, "no such").await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(failed.message().contains("3D000"), "{}", failed.message());

    login.password = None;
    let failed = connect(&login, "postgres").await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(
        failed
            .hint
            .expect("the test's preparation works")
            .contains("password")
    );
}

#[tokio::test]
async fn a_closed_port_is_network_at_once() {
    let (mut login, _) = login();
    login.settings.port = free_port();
    let failed = connect(&login, "postgres").await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Network, "{}", failed.message());
}

#[tokio::test]
async fn a_silent_port_ends_at_the_timeout() {
    // given a listener that accepts by the kernel and never answers
    let listener =
        std::net::TcpListener::bind("127.0.0.1:0").expect("the test's preparation works");
    let (mut login, _) = login();
    login.settings.port = listener
        .local_addr()
        .expect("the test's preparation works")
        .port();
    login.timeout = Duration::from_millis(300);

    let clock = Instant::now();
    let failed = connect(&login, "postgres").await.unwrap_err();

    assert_eq!(failed.verdict, Verdict::Network);
    assert!(
        failed.message().contains("no answer"),
        "{}",
        failed.message()
    );
    assert!(clock.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn something_that_is_no_postgresql_server_is_network() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("the test's preparation works");
    let (mut login, _) = login();
    login.settings.port = listener
        .local_addr()
        .expect("the test's preparation works")
        .port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail\x1b[2J\r\n").await;
            let mut sink = [0; 64];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut sink).await;
        }
    });
    for sslmode in [SslMode::Disable, SslMode::Prefer] {
        login.settings.sslmode = sslmode;
        let failed = connect(&login, "postgres").await.unwrap_err();
        assert_eq!(failed.verdict, Verdict::Network, "{}", failed.message());
        assert!(!failed.message().contains('\u{1b}'));
    }
}

#[tokio::test]
async fn a_statement_that_outlasts_its_deadline_is_cancelled_on_the_server() {
    let pg = Postgres::shared();
    let (login, run) = login();
    let session = connect(&login, "postgres")
        .await
        .expect("the test's preparation works")
        .with_deadline(Duration::from_millis(200));

    let failed = session.batch("select pg_sleep(600)").await.unwrap_err();

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("cancelled after"),
        "{}",
        failed.message()
    );
    let state = format!(
        "select state from pg_stat_activity where application_name = '{}'",
        run.application_name()
    );
    let until = Instant::now() + Duration::from_secs(8);
    while pg.value("postgres", &state) != "idle" {
        assert!(Instant::now() < until, "the statement is still at work");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let session = session.with_deadline(Duration::from_secs(10));
    assert_eq!(
        session
            .first_text_rows("select 1", 2)
            .await
            .expect("the test's preparation works")
            .len(),
        1
    );
}

#[tokio::test]
async fn a_session_that_is_dropped_leaves_no_statement_at_work() {
    let pg = Postgres::shared();
    let (login, run) = login();
    let session = connect(&login, "postgres")
        .await
        .expect("the test's preparation works");
    let sleep = session.batch("select pg_sleep(600)");
    assert!(
        tokio::time::timeout(Duration::from_millis(300), sleep)
            .await
            .is_err()
    );

    drop(session);

    let count = format!(
        "select count(*) from pg_stat_activity where application_name = '{}'",
        run.application_name()
    );
    let until = Instant::now() + Duration::from_secs(8);
    while pg.value("postgres", &count) != "0" {
        assert!(Instant::now() < until, "the backend is still at work");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_servers_error_is_shown_without_its_control_characters() {
    let (login, _) = login();
    let session = connect(&login, "postgres")
        .await
        .expect("the test's preparation works");
    let sql =
        "do $$ begin raise exception E'a\\x1b[2Jb' using detail = 'why', hint = 'do that'; end $$";
    let failed = session.batch(sql).await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed
            .message()
            .contains("a\\u{1b}[2Jb: why (SQLSTATE P0001)"),
        "{}",
        failed.message()
    );
    assert_eq!(failed.hint.as_deref(), Some("do that"));
}

#[test]
fn the_oracle_sees_a_changed_row_sequence_and_definition_and_nothing_else() {
    let pg = Postgres::shared();
    let db = pg.database("oracle");
    pg.sql(
        &db,
        "create table t(id serial, x text); insert into t(x) values ('a'), ('b')",
    );
    let before = pg.content_hash(&db);
    pg.sql(&db, "vacuum full t");
    assert_eq!(pg.content_hash(&db), before);
    for change in [
        "update t set x = 'c' where id = 1",
        "select nextval('t_id_seq')",
        "comment on table t is 'x'",
        "select lo_from_bytea(0, 'abc')",
    ] {
        let before = pg.content_hash(&db);
        pg.sql(&db, change);
        assert_ne!(pg.content_hash(&db), before, "{change}");
    }
}
