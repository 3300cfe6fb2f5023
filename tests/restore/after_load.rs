//! The operator's own SQL files: what is refused before anything is loaded, and how they run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use backupctl::database::after_load::{Ran, read, run};
use backupctl::verdict::{Failed, Outcome, Verdict};
use tempfile::TempDir;

use crate::support::postgres::Postgres;

/// A file of SQL, and an empty database with a live one beside it.
struct Fixture {
    directory: TempDir,
    live: String,
    scratch: String,
}

impl Fixture {
    fn new(tables: &str) -> Self {
        let pg = Postgres::shared();
        let scratch = pg.database("scratch");
        pg.sql(&scratch, tables);
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            live: pg.database("live"),
            scratch,
        }
    }

    fn file(&self, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join("grants.sql");
        fs::write(&path, bytes).expect("a file");
        path
    }

    async fn run(&self, sql: &str) -> Outcome<Ran> {
        self.within(sql, Duration::from_mins(1)).await
    }

    async fn within(&self, sql: &str, stall: Duration) -> Outcome<Ran> {
        let script = read(&self.file(sql)).expect("a file that can be run");
        let id = super::run(self.directory.path()).id;
        let login = Postgres::shared().login(&self.live, &id);
        run(&login, &self.scratch, &script, stall).await
    }

    fn value(&self, sql: &str) -> String {
        Postgres::shared().value(&self.scratch, sql)
    }
}

fn refused(path: &std::path::Path) -> Failed {
    let failed = read(path).expect_err("a file that can't be run");
    assert_eq!(failed.verdict, Verdict::Config, "{failed:?}");
    assert!(failed.hint.is_some(), "{failed:?}");
    failed
}

#[test]
fn a_file_that_cannot_be_run_is_found_by_reading_it() {
    let fixture = Fixture::new("");
    let directory = fixture.directory.path();
    let missing = refused(&directory.join("nothing.sql")).message();
    assert!(
        missing.contains("nothing.sql`") && missing.contains("No such file"),
        "{missing}"
    );
    assert!(refused(directory).message().contains("no regular file"));
    assert!(
        refused(&fixture.file(b"select '\xff'"))
            .message()
            .contains("no text in UTF-8")
    );
    assert!(
        refused(&fixture.file(b"select 1\0"))
            .message()
            .contains("no text in UTF-8")
    );
    assert!(
        refused(&fixture.file(vec![b' '; (16 << 20) + 1]))
            .message()
            .contains("more than 16 MiB")
    );
    let psql = refused(&fixture.file("select 1;\n\\connect erp\n")).message();
    assert!(
        psql.contains("grants.sql`, line 2: is a command of psql"),
        "{psql}"
    );
    let open = fixture.file("select 1");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o646)).expect("a mode");
    assert!(
        refused(&open)
            .hint
            .unwrap_or_default()
            .contains("chmod o-w")
    );
}

#[tokio::test]
async fn a_file_runs_as_a_whole_and_what_the_server_remarks_is_told() {
    let fixture = Fixture::new("create schema app; create table app.t (n int)");
    let pg = Postgres::shared();
    pg.sql(
        "postgres",
        &format!("alter database {} set search_path = app", fixture.live),
    );

    let ran = fixture
        .run("\u{feff}-- made for us\ninsert into t values (1);\nselect * from t;\n\
              do $$ begin raise notice 'one'; raise warning 'two\u{1b}[2J'; end $$;\nset search_path = nowhere;\n")
        .await
        .expect("it runs");

    assert_eq!(
        ran,
        Ran {
            statements: 4,
            notices: 1,
            warnings: vec!["two\\u{1b}[2J".into()]
        }
    );
    assert_eq!(fixture.value("select n from app.t"), "1");
    // What it has set ended with its session.
    fixture
        .run("insert into t values (2)")
        .await
        .expect("another one");
}

#[tokio::test]
async fn an_error_names_file_line_and_statement_and_takes_all_of_it_back() {
    let fixture = Fixture::new("create table t (n int primary key deferrable initially deferred)");
    for (sql, words) in [
        (
            "insert into t values (1);\n\nselect\n  nothing\nfrom t;\n",
            [
                "line 4: run `select nothing from t`",
                "\"nothing\" does not exist",
            ],
        ),
        (
            "insert into t values (1);\ndo $$ begin\n perform 1/0; end $$;",
            ["line 2: run `do $$ begin", "division by zero"],
        ),
        (
            "insert into t values (1);\ninsert into t values (1);\n",
            ["run `COMMIT`", "duplicate key"],
        ),
        (
            "insert into t values (1);\ngrant select on t to nobody_here;",
            ["line 2: ", "\"nobody_here\" does not exist"],
        ),
        (
            "insert into t values (1);\nselect pg_terminate_backend(pg_backend_pid());",
            ["line 2: ", "terminat"],
        ),
        (
            "insert into t values (1);\ncluster;",
            ["line 2: ", "transaction block"],
        ),
    ] {
        let failed = fixture.run(sql).await.expect_err("an error");
        let message = failed.message();
        assert!(message.contains("grants.sql`: "), "{message}");
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{words:?} in {message}"
        );
        assert!(failed.hint.is_some(), "{failed:?}");
        assert_eq!(fixture.value("select count(*) from t"), "0", "{sql}");
    }
}

#[tokio::test]
async fn a_commit_that_reading_the_file_could_not_see_fails_it() {
    let fixture = Fixture::new("create table t (n int)");
    // The server reads a backslash otherwise than the standard says, and a statement ends within what looks like a string.
    let sql = "set standard_conforming_strings = off;\nselect '\\''; commit; select 1 --'";

    let failed = fixture
        .run(sql)
        .await
        .expect_err("its transaction was ended");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("has ended the transaction"),
        "{}",
        failed.message()
    );
}

#[tokio::test]
async fn a_statement_that_waits_for_somebody_is_ended_and_the_other_one_named() {
    let pg = Postgres::shared();
    let fixture = Fixture::new("create table taken (i int)");
    let _holder = pg.session(
        &fixture.scratch,
        "begin; lock table taken in access exclusive mode",
    );

    let failed = fixture
        .within("select 1;\ndelete from taken", Duration::from_secs(1))
        .await
        .expect_err("it never gets the lock");

    let told = failed.message();
    assert!(
        told.contains("waits for process") && told.contains("lock table taken"),
        "{told}"
    );
}

#[tokio::test]
async fn a_statement_that_waits_for_nothing_is_ended_by_the_stall() {
    let fixture = Fixture::new("");

    let failed = fixture
        .within("select 1;\nselect pg_sleep(600)", Duration::from_secs(1))
        .await
        .expect_err("it never ends");

    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(
        failed.message().contains("no progress for"),
        "{}",
        failed.message()
    );
    assert!(failed.hint.is_some_and(|hint| hint.contains("`stall`")));
}
