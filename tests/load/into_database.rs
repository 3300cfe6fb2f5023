//! pg_restore against a real server: what goes in, and what stops it.

use std::fs;
use std::time::{Duration, Instant};

use backupctl::database::load::load;
use backupctl::secret::Secret;
use backupctl::verdict::Verdict;

use super::fixture::Fixture;
use super::until;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn a_good_dump_is_loaded_wholly_in_each_format_into_a_name_with_anything_in_it() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    for (format, name) in [("-Fc", r"it's a=b \c"), ("-Ft", "postgres://x?y")] {
        let target = pg.database(name);
        let loaded = fixture
            .load(&target, &pg.dump(&fixture.source, &[format]))
            .await;
        assert_eq!(loaded.expect("it loads").warnings, [""; 0]);
        assert_eq!(
            pg.content_hash(&target),
            pg.content_hash(&fixture.source),
            "{format}"
        );
    }
}

#[tokio::test]
async fn a_truncated_or_altered_dump_is_never_taken_for_a_good_one() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let dump = pg.dump(&fixture.source, &["-Fc"]);
    let whole = pg.content_hash(&fixture.source);
    for tenth in 1..10 {
        let at = dump.len() * tenth / 10;
        let mut altered = dump.clone();
        altered[at] ^= 0x55;
        for broken in [&dump[..at], &altered] {
            let target = pg.database("broken");
            match fixture.load(&target, broken).await {
                Err(failed) => assert!(
                    matches!(failed.verdict, Verdict::Damaged | Verdict::Failed),
                    "{at}: {:?} {}",
                    failed.verdict,
                    failed.message()
                ),
                Ok(_) => assert_eq!(pg.content_hash(&target), whole, "at {at}"),
            }
        }
    }
}

#[tokio::test]
async fn a_dump_that_ends_in_its_data_is_damaged() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let dump = pg.dump(&fixture.source, &["-Fc", "-Z0"]);
    let failed = fixture
        .load(&pg.database("cut"), &dump[..dump.len() - 20_000])
        .await
        .expect_err("a cut dump");
    assert_eq!(failed.verdict, Verdict::Damaged, "{}", failed.message());
}

#[tokio::test]
async fn a_tar_that_ends_in_its_data_is_damaged_though_pg_restore_takes_it() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    pg.sql(&fixture.source, "create table plain as select * from users");
    let dump = pg.dump(&fixture.source, &["-Ft", "-t", "plain"]);
    for end in [dump.len() / 2, dump.len() - 20_000] {
        let loaded = fixture.load(&pg.database("cut"), &dump[..end]).await;
        let failed = loaded.expect_err("a cut dump");
        assert_eq!(failed.verdict, Verdict::Damaged, "{}", failed.message());
    }
}

#[tokio::test]
async fn a_failing_statement_is_shown() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let target = pg.database("taken");
    pg.sql(&target, "create table orders (i int)");

    let failed = fixture
        .load(&target, &pg.dump(&fixture.source, &["-Fc"]))
        .await
        .expect_err("it exists already");

    assert_eq!(failed.verdict, Verdict::Failed);
    let message = failed.message();
    assert!(message.contains("already exists"), "{message}");
    assert!(message.contains("CREATE TABLE public.orders"), "{message}");
}

#[tokio::test]
async fn a_failing_row_is_named_by_its_place_only() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let dump = pg.dump(&fixture.source, &["-Fc", "-Z0"]);
    let row = dump
        .windows(8)
        .position(|bytes| bytes == b"777\t777\n")
        .expect("a row");
    let mut altered = dump.clone();
    altered[row] = b'x';

    let failed = fixture
        .load(&pg.database("row"), &altered)
        .await
        .expect_err("no number");

    assert_eq!(failed.verdict, Verdict::Failed);
    let message = failed.message();
    assert!(
        message.contains("line 777") && !message.contains("x77"),
        "{message}"
    );
}

#[tokio::test]
async fn a_password_with_every_awkward_character_works() {
    let pg = Postgres::shared();
    let mut fixture = Fixture::new().await;
    let password = r#" it's "$HOME" \ a:b #x "#;
    let sql = password.replace('\'', "''");
    let role = pg.role("awkward user", &format!("LOGIN SUPERUSER PASSWORD '{sql}'"));
    fixture.login.settings.user = role;
    fixture.login.password = Some(Secret::new(password.into()));
    let target = pg.database("awkward");
    fixture
        .load(&target, &pg.dump(&fixture.source, &["-Fc"]))
        .await
        .expect("it loads");

    fixture.login.password = Some(Secret::new("canary".into()));
    let dump = pg.dump(&fixture.source, &["-Fc"]);
    let failed = fixture
        .load(&pg.database("awkward"), &dump)
        .await
        .expect_err("a wrong password");
    assert_eq!(failed.verdict, Verdict::Refused, "{}", failed.message());
    assert!(!failed.message().contains("canary"));
}

/// What the kernel shows to others of every pg_restore that works on `target`: arguments and environment.
fn exposed(target: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let shown = processes.filter_map(|entry| {
        let read = |name| fs::read(entry.path().join(name)).ok();
        let both = [read("cmdline")?, read("environ")?].concat();
        let text = String::from_utf8_lossy(&both).into_owned();
        (text.contains(target) && text.contains("pg_restore") && text.contains("PGPASSFILE"))
            .then_some(text)
    });
    shown.reduce(|all, one| all + &one)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_the_way_ends_a_load_in_place_by_its_stall_and_names_the_holder() {
    // given somebody who holds a lock on a table that the dump replaces
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let path = pg.dump_to(&fixture.source, &["-Fc"], fixture.directory.path());
    let before = pg.content_hash(&fixture.source);
    let holder = pg.session(
        &fixture.source,
        "begin; lock table users in access share mode",
    );
    let mut plan = fixture.plan(&fixture.source, &path);
    (plan.in_place, plan.stall) = (true, Duration::from_secs(2));

    // when it is loaded in place
    let clock = Instant::now();
    let password = pg.password.clone();
    let target = fixture.source.clone();
    let watch = tokio::task::spawn_blocking(move || {
        let mut seen = None;
        until("pg_restore works", || {
            seen = exposed(&target);
            seen.is_some()
        });
        assert!(
            !seen.expect("seen above").contains(&password),
            "the password is exposed"
        );
    });
    let failed = load(plan, &fixture.run).await.expect_err("it can't");
    watch.await.expect("nothing exposed");

    // then the holder is named, nothing has changed, and no session of ours is left
    assert_eq!(failed.verdict, Verdict::Failed);
    let message = failed.message();
    assert!(
        message.contains("waits for process") && message.contains("lock table users"),
        "{message}"
    );
    assert!(
        clock.elapsed() < Duration::from_secs(15),
        "{:?}",
        clock.elapsed()
    );
    drop(holder);
    let name = fixture.run.id.application_name();
    let ours = format!(
        "select count(*) from pg_stat_activity where application_name = '{name}' and datname = '{}'",
        fixture.source
    );
    until("our sessions end", || pg.value("postgres", &ours) == "0");
    assert_eq!(pg.content_hash(&fixture.source), before);
}

#[tokio::test]
async fn a_load_in_place_replaces_what_is_there() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let path = pg.dump_to(&fixture.source, &["-Fc"], fixture.directory.path());
    let before = pg.content_hash(&fixture.source);
    pg.sql(
        &fixture.source,
        "delete from orders; update users set name = 'x'",
    );
    let mut plan = fixture.plan(&fixture.source, &path);
    plan.in_place = true;
    load(plan, &fixture.run).await.expect("it loads");
    assert_eq!(pg.content_hash(&fixture.source), before);
}

#[tokio::test]
async fn a_statement_that_works_for_long_is_not_taken_for_one_that_hangs() {
    // given a dump whose constraint takes longer to prove than the stall, without any sign of progress
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let slow = "create function slow(i int) returns bool immutable language plpgsql as
        'declare until timestamptz = clock_timestamp() + interval ''30 milliseconds''; begin while clock_timestamp() < until loop end loop; return true; end';
        create table slow (i int); insert into slow select generate_series(1, 100); create index on slow (slow(i))";
    pg.sql(&fixture.source, slow);
    let path = pg.dump_to(&fixture.source, &["-Fc"], fixture.directory.path());
    let target = pg.database("slow");
    let mut plan = fixture.plan(&target, &path);
    plan.stall = Duration::from_secs(1);

    load(plan, &fixture.run).await.expect("it loads");
}

#[tokio::test]
async fn the_configured_settings_hold_in_every_session_that_loads() {
    // given a dump with a view that is filled by the load, from what holds there
    let pg = Postgres::shared();
    let mut fixture = Fixture::new().await;
    let seen = "create materialized view seen as select current_setting('some.thing', true) as a,
        current_setting('work_mem') as b, current_setting('synchronous_commit') as c";
    pg.sql(&fixture.source, seen);
    let dump = pg.dump(&fixture.source, &["-Fc"]);
    let path = fixture.directory.path().join("seen.dump");
    fs::write(&path, dump).expect("a dump");
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());

    // when it is loaded beside the live database, and over it
    for (session, in_place, expected) in [
        (vec![], false, "|4MB|off"),
        (
            vec![
                setting("some.thing", r"a \ 'b'  -c work_mem=64kB"),
                setting("work_mem", "4321kB"),
                setting("synchronous_commit", "local"),
            ],
            false,
            r"a \ 'b'  -c work_mem=64kB|4321kB|local",
        ),
        (vec![setting("synchronous_commit", "off")], true, "|4MB|on"),
    ] {
        let target = pg.database("seen");
        pg.sql(
            "postgres",
            &format!("alter database {target} set synchronous_commit = on"),
        );
        fixture.login.settings.session = session;
        let mut plan = fixture.plan(&target, &path);
        plan.in_place = in_place;
        load(plan, &fixture.run).await.expect("it loads");
        // then the one settings hold, and the other ones don't
        let found = pg.value(&target, "select * from seen");
        assert_eq!(found, expected);
    }
}
