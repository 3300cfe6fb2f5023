//! In a private server on this machine: none needs to run here, and the job's own is not asked.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Here, reports, says};
use crate::support::postgres::Postgres;

/// Roles that no other server has, an extension, a part on another server, a default privilege, an event trigger, a large object.
fn rich(server: &Postgres) -> (String, String) {
    let (owner, reader) = (
        server.role("drillowner", "superuser"),
        server.role("drillreader", ""),
    );
    let sql = format!(
        "create table orders (id int primary key, v text);
         insert into orders select n, 'x' || n from generate_series(1, 300) n;
         create table parts (n int) partition by range (n);
         create table parts_1 partition of parts for values from (0) to (100);
         create extension postgres_fdw;
         create server away foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1');
         create user mapping for public server away;
         create foreign table parts_away partition of parts for values from (100) to (200) server away;
         insert into parts select generate_series(0, 49);
         create materialized view many as select * from orders;
         alter table orders owner to {owner};
         grant select on orders to {reader};
         alter default privileges for role {owner} grant select on tables to {reader};
         create function nothing() returns event_trigger language plpgsql as 'begin end';
         create event trigger quiet on ddl_command_end execute function nothing();
         alter event trigger quiet owner to {owner};
         select lo_from_bytea(0, 'large');"
    );
    (sql, reader)
}

#[test]
fn it_needs_no_server_to_be_running_anywhere() {
    // given
    let here = Here::new(
        "[[restores.erp.checks]]\nsql = \"select count(*) from orders\"\nat_least_of_live = \"50%\"",
        "[[drill.checks]]\nsql = \"select count(*) from orders\"\nequals = 300",
    );
    let (sql, _) = rich(here.server);
    here.offer(&sql);

    // when
    let report = here.run(&["drill", "--json"]).expect(0).json();

    // then
    let drill = &report["drill"];
    assert_eq!(drill["where"], "local");
    assert_eq!(drill["dropped"], true);
    assert_eq!(drill["rows"], 650);
    let tables = json!([
        { "schema": "public", "name": "many", "rows": 300 },
        { "schema": "public", "name": "orders", "rows": 300 },
        { "schema": "public", "name": "parts", "rows": 50 },
    ]);
    assert_eq!(drill["tables"], tables);
    says(
        &report,
        "warnings",
        "SKIPPED, since there is none here: 1 of 2",
    );
    assert_eq!(report["database"]["host"], "localhost");
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(1));
    here.nothing_is_left();
}

#[test]
fn files_of_after_load_run_with_roles_that_only_the_jobs_server_has() {
    let here = Here::new("after_load = [\"grants.sql\"]", "");
    let grants = "create view v as select 1 one;\ngrant select on v to \"re porting\";\ngrant select on v to other;";
    fs::write(here.setup.path("grants.sql"), grants).expect("a file");
    here.offer("create table t ()");
    let report = here.run(&["drill", "--json"]).expect(0).json();
    says(
        &report,
        "warnings",
        "the private cluster got them: `re porting`, `other`",
    );
    here.nothing_is_left();
}

#[test]
fn a_locale_that_this_machine_lacks_is_a_warning() {
    let here = Here::new("", "");
    let source = here.server.database("drilled");
    here.server.sql(&source, "create table t ()");
    let mut dump = here.server.dump(&source, &["-Fc"]);
    // As a dump of another machine's database says it.
    let (from, to) = (b"'C.UTF-8'", b"'x_XUTF-8'");
    let found: Vec<usize> = (0..dump.len() - from.len())
        .filter(|at| &dump[*at..*at + from.len()] == from)
        .collect();
    assert!(!found.is_empty());
    for at in found {
        dump[at..at + to.len()].copy_from_slice(to);
    }
    super::offer(here.store.path(), "erp.zip", dump);
    let report = here.run(&["drill", "--json"]).expect(0).json();
    says(
        &report,
        "warnings",
        "lacks the locale of the dump's database",
    );
    here.nothing_is_left();
}

#[test]
fn a_dump_is_streamed_into_it_too() {
    let here = Here::new("stream = true", "");
    here.offer("create table t as select generate_series(1, 5) n");
    let report = here.run(&["drill", "--json"]).expect(0).json();
    assert_eq!(report["drill"]["origin"], "streamed");
    assert_eq!(report["drill"]["rows"], 5);
    here.nothing_is_left();
}

#[test]
fn a_damaged_archive_is_told_and_nothing_is_left() {
    let here = Here::new("", "");
    here.offer("create table t as select repeat(md5(n::text), 10) from generate_series(1, 4000) n");
    let path = here.store.path().join("erp.zip");
    let mut bytes = fs::read(&path).expect("the archive");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).expect("a broken one");
    here.run(&["drill"]).expect(8);
    here.nothing_is_left();
}

#[test]
fn without_initdb_the_package_is_named_before_anything_is_fetched() {
    // given: the client's programs alone
    let programs = tempfile::tempdir().expect("a directory");
    let real = Postgres::shared().bin_dir.join("pg_restore");
    symlink(real, programs.path().join("pg_restore")).expect("a link");
    let here = Here::with(("", ""), programs.path(), |setup| setup);
    here.offer("create table t ()");

    // when
    for arguments in [&["drill", "--json"][..], &["drill", "-n", "--json"]] {
        let report = here.run(arguments).expect(3).json();

        // then
        says(&report, "message", "`initdb` and `postgres` are needed");
        says(&report, "hint", "apt install postgresql-");
        assert!(!here.setup.path("state/archives").exists());
    }
    let checked = here.run(&["check", "--json"]).documents().remove(0);
    let mut links = checked["links"].as_array().expect("links").iter();
    let initdb = links.find(|link| link["link"] == "initdb").expect("a link");
    assert_eq!(initdb["state"], "failed", "{checked:#}");
}

#[test]
fn an_extension_that_is_not_installed_here_is_named_with_its_package() {
    let here = Here::new("", "");
    let source = here.server.database("drilled");
    here.server.sql(&source, "create extension pgcrypto");
    let dump = here.server.dump(&source, &["-Fc"]);
    // The same dump of a server that has another one.
    let text = String::from_utf8_lossy(&dump).contains("pgcrypto");
    assert!(text);
    let mut bytes = dump;
    let found: Vec<usize> = (0..bytes.len() - 8)
        .filter(|at| &bytes[*at..*at + 8] == b"pgcrypto")
        .collect();
    for at in found {
        bytes[at..at + 8].copy_from_slice(b"pg_nosuc");
    }
    super::offer(here.store.path(), "erp.zip", bytes);
    let report = here.run(&["drill", "--json"]).expect(3).json();
    says(&report, "message", "not installed here for PostgreSQL");
    says(&report, "message", "`pg_nosuc`");
    says(&report, "hint", "-pg-nosuc");
}

#[test]
fn a_dry_run_makes_no_cluster() {
    let here = Here::new("", "");
    here.offer("create table t ()");
    let ran = here.run(&["drill", "-n"]).expect(0);
    for part in [
        "where     a private PostgreSQL ",
        "initdb\n",
        "nothing was changed",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{ran}");
    }
    assert!(!here.setup.path("state").exists());
}

#[test]
fn nobody_else_can_reach_it_and_a_check_that_fails_leaves_nothing_of_it() {
    // given: a check that looks at its own server
    let asked = "select current_setting('listen_addresses') || '|' || current_setting('unix_socket_permissions')
                 || '|' || current_setting('fsync') || '|' || (pg_stat_file('.')).isdir
                 || '|' || (select string_agg(line, '') from regexp_split_to_table(pg_read_file('/proc/self/status'), E'\\\\n') line
                            where line like 'NoNewPrivs%' or line like 'Uid%')";
    let here = Here::new(
        "",
        &format!("[[drill.checks]]\nsql = \"\"\"{asked}\"\"\"\nequals = \"look\""),
    );
    here.offer("create table t ()");

    let report = here.run(&["drill", "--json"]).expect(10).json();

    says(&report, "message", "1 of 1 checks do not hold");
    let found = report["checks"][0]["found"].to_string();
    assert!(found.starts_with("\"|0700|off|true|"), "{found}");
    assert!(found.contains("NoNewPrivs:"), "{found}");
    let after = found.split("NoNewPrivs:").nth(1).unwrap_or_default();
    assert!(
        after
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .starts_with('1'),
        "{found}"
    );
    if rustix::process::geteuid().is_root() {
        let uid = found.split("Uid:").nth(1).unwrap_or_default();
        assert!(
            !uid.trim_start_matches(|c: char| !c.is_ascii_digit())
                .starts_with('0'),
            "{found}"
        );
    }
    assert_eq!(reports(&here.setup, "drill").len(), 1);
    here.nothing_is_left();
}

#[test]
fn an_ordinary_user_drills_as_itself() {
    // given: an installation of `nobody`
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let here = Here::new("", "");
    here.offer("create table t as select generate_series(1, 3) n");
    let home = here.setup.path("");
    for directory in [home.as_path(), here.store.path()] {
        let mut chown = std::process::Command::new("chown");
        let status = chown.args(["-R", "nobody"]).arg(directory).status();
        assert!(status.expect("chown").success());
    }

    // when
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", "--"])
        .arg(crate::support::program::binary())
        .args(["-c", "config.toml", "drill", "--json"])
        .current_dir(&home)
        .env_clear()
        .output()
        .expect("setpriv");

    // then
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["drill"]["rows"], 3);
    here.nothing_is_left();
}
