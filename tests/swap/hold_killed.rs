//! `swap = "hold"` and `backupctl swap`, killed, told to end, or left without their guard.

use std::fs;

use rustix::process::Signal;

use super::command::{HOLD, prepared, rewrite, text, until, waiting};
use crate::support::postgres::{OpenSession, Postgres};
use crate::support::program::Running;
use crate::support::shop::Shop;

/// Whether a run waits to stamp the database.
fn stamping_waits(server: &Postgres, pattern: &str) -> bool {
    let sql = format!(
        "select count(*) from pg_stat_activity where state = 'active' and query ~ '^COMMENT ON DATABASE .{pattern}.*Prepared by backupctl'"
    );
    server.value("postgres", &sql) != "0"
}

/// A run that is about to stamp its scratch database and waits for somebody's lock on it.
struct Stamping {
    shop: Shop,
    running: Running,
    scratch: String,
    holder: OpenSession,
}

fn stamping() -> Stamping {
    // given: a check that waits for a file, which the server can see
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.into_temp_path();
    fs::remove_file(&path).expect("a free name");
    let wait = format!(
        "with recursive w (n, is_open) as (
             select 0, false union all
             select n + 1, (pg_stat_file('{}', true)).size is not null
                 from w, lateral pg_sleep(0.02 + n * 0) where not is_open and n < 3000)
         select count(*) from w",
        path.display()
    );
    let shop = Shop::new(&format!(
        "{HOLD}\n[[restores.erp.checks]]\nsql = \"\"\"{wait}\"\"\"\nat_least = 1"
    ));
    shop.offer("a.zip", "new", 10);
    let running = shop.setup.start(&["run", "--json"]);
    let checking = format!(
        "select count(*) from pg_stat_activity where query ~ 'pg_stat_file' and datname like '{}_new_%'",
        shop.live
    );
    until("the scratch database is checked", || {
        shop.server.value("postgres", &checking) != "0"
    });

    // when: somebody holds the database's own lock
    let scratch = waiting(&shop).remove(0);
    let lock = format!("begin; comment on database {scratch} is 'busy'");
    let holder = shop.server.session("postgres", &lock);
    fs::write(&path, "go on").expect("a file");
    until("the stamp waits", || stamping_waits(shop.server, &scratch));
    Stamping {
        shop,
        running,
        scratch,
        holder,
    }
}

#[test]
fn a_run_killed_while_it_stamps_leaves_either_a_leftover_or_something_that_waits() {
    for commits in [false, true] {
        // when
        let Stamping {
            shop,
            running,
            scratch,
            holder,
        } = stamping();
        running.signal(Signal::KILL);
        running.finish();
        if !commits {
            let sql = format!(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where query ~ '^COMMENT ON DATABASE .{scratch}' and pid <> pg_backend_pid()"
            );
            shop.server.sql("postgres", &sql);
        }
        drop(holder);
        until("the backend is gone", || {
            !stamping_waits(shop.server, &scratch)
        });
        fs::remove_file(shop.store.path().join("a.zip")).expect("no archive any more");
        let report = shop.run(&["run", "--json"]).expect(7).json();

        // then
        assert_eq!(shop.row(), "old");
        let warnings = report["warnings"].to_string();
        if commits {
            assert_eq!(waiting(&shop), [scratch.as_str()]);
            assert!(warnings.contains("had prepared"), "{warnings}");
            shop.run(&["swap", "--yes"]).expect(0);
            assert_eq!(shop.row(), "new");
        } else {
            assert_eq!(waiting(&shop), [""; 0], "{warnings}");
        }
    }
}

#[test]
fn a_signal_while_it_stamps_lets_it_be_prepared() {
    let Stamping {
        shop,
        running,
        scratch,
        holder,
    } = stamping();

    running.signal(Signal::TERM);
    drop(holder);
    let report = running.finish().expect(0).json();

    assert_eq!(text(&report["database"]["scratch"]), scratch);
    assert_eq!(waiting(&shop), [scratch]);
}

#[test]
fn a_swap_killed_between_its_hooks_leaves_it_prepared_and_the_next_starts_the_application_again() {
    let (shop, _) = prepared("");
    let (stopped, started) = (shop.setup.path("stopped"), shop.setup.path("started"));
    let hooks = format!(
        "before_swap = [[\"sh\", \"-c\", \"touch {}; sleep 60\"]]\nafter_swap = [[\"touch\", \"{}\"]]\n{HOLD}",
        stopped.display(),
        started.display()
    );
    rewrite(&shop, HOLD, &hooks);
    let running = shop.setup.start(&["swap", "--yes"]);
    until("the application is stopped", || stopped.exists());
    running.signal(Signal::KILL);
    running.finish();

    rewrite(&shop, "; sleep 60", "");
    let report = shop.run(&["swap", "--yes", "--json"]).expect(0).json();

    assert!(started.exists());
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("which ran now"), "{warnings}");
    assert_eq!(shop.row(), "new");
}

#[test]
fn a_swap_is_not_made_once_the_session_that_guards_the_live_database_is_lost() {
    // given: a hook that ends it
    let (shop, _) = prepared("");
    let psql = shop.server.bin_dir.join("psql");
    let script = format!(
        "PGPASSWORD={} {} -XAtq -h 127.0.0.1 -p {} -U postgres postgres -c \\\"select pg_terminate_backend(pid, 20000) from pg_stat_activity where application_name = 'backupctl/$BACKUPCTL_RUN'\\\"",
        shop.server.password,
        psql.display(),
        shop.server.port
    );
    rewrite(
        &shop,
        HOLD,
        &format!("before_swap = [[\"sh\", \"-c\", \"{script}\"]]\n{HOLD}"),
    );

    // when
    let report = shop.run(&["swap", "--yes", "--json"]).expect(10).json();

    // then
    assert!(
        text(&report["message"]).contains("kept others from restoring"),
        "{report}"
    );
    assert_eq!(shop.row(), "old");
    assert_eq!(waiting(&shop).len(), 1);
}
