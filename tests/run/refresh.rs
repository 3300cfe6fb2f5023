//! A run that goes well: what is live then, what is told, and what clients see meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backupctl::database::connection::{Login, connect};
use backupctl::run::RunId;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Scene, archive, archive_with_row, dump, grow_old, judged, packed, says, steps, text, warnings,
};
use crate::support::packers::zstd;
use crate::support::program::Setup;
use crate::support::smtp::{Options, Smtp};
use crate::support::sshd::Sshd;

const CHECK: &str = "[[restores.erp.checks]]\nsql = \"select count(*) from users\"\nat_least = 5\n";

fn is_time(value: &Value) -> bool {
    text(value).ends_with('Z') && text(value).parse::<jiff::Timestamp>().is_ok()
}

#[test]
fn a_run_over_sftp_ends_with_new_rows_a_whole_report_and_a_mail_for_everybody() {
    // given
    let scene = Scene::new();
    let (sshd, smtp) = (Sshd::start(), Smtp::start(Options::default()));
    let file = sshd.put("erp.zip", &archive());
    grow_old(&file, Duration::from_hours(6));
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .mail(&smtp, &["ops@example.org", "dba@example.org"])
        .restore(CHECK)
        .write();

    // when
    let ran = setup.run(&["run", "--json"]);

    // then
    let report = judged(&setup, &ran, "done");
    scene.is_new();
    who_and_when(&report);
    what_was_restored(&report, &scene);
    every_step(&report);
    everybody_was_told(&report, &smtp);
}

fn who_and_when(report: &Value) {
    assert_eq!(report["format"], 1);
    assert!(RunId::parse(text(&report["run"])).is_some(), "{report}");
    assert_eq!(report["command"], "run");
    assert_eq!(report["job"], "erp");
    assert!(!text(&report["host"]).is_empty(), "{report}");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(is_time(&report["started"]) && is_time(&report["ended"]));
    assert!(report["seconds"].as_f64() > Some(0.0), "{report}");
    assert!(report["message"].is_null() && report["hint"].is_null());
    assert!(warnings(report).is_empty(), "{report}");
}

fn what_was_restored(report: &Value, scene: &Scene) {
    let bytes = archive();
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    assert_eq!(report["archive"]["name"], "erp.zip");
    assert_eq!(report["archive"]["bytes"], bytes.len());
    assert_eq!(report["archive"]["sha256"], sha256);
    assert!(is_time(&report["archive"]["modified"]), "{report}");
    assert_eq!(report["dump"]["name"], "erp.dump");
    assert_eq!(report["dump"]["bytes"], dump().len());
    assert_eq!(report["dump"]["format"], "custom");
    let major = scene.server.value("postgres", "show server_version");
    for version in ["pg_dump_version", "server_version"] {
        let found = text(&report["dump"][version]);
        assert!(found.starts_with(&major[..2]), "{version}: {found}");
    }
    let database = &report["database"];
    assert_eq!(database["host"], "127.0.0.1");
    assert_eq!(database["name"], scene.live);
    assert!(text(&database["server_version"]).starts_with(&major[..2]));
    let previous = text(&database["previous"]);
    assert_eq!(scene.beside(), [previous]);
    assert_eq!(scene.server.value(previous, "select v from t"), "old");
}

fn every_step(report: &Value) {
    let all = [
        "network", "fetch", "unzip", "restore", "check", "swap", "notify",
    ];
    assert_eq!(steps(report), all);
    for step in report["steps"].as_array().expect("steps") {
        assert_eq!(step["verdict"], "done", "{step}");
        assert!(step["seconds"].is_f64(), "{step}");
    }
    assert_eq!(report["steps"][1]["bytes"], archive().len());
    assert_eq!(report["steps"][2]["bytes"], dump().len());
    let check = &report["checks"][0];
    assert_eq!(check["sql"], "select count(*) from users");
    assert_eq!(check["expected"], "at least 5");
    assert_eq!(check["found"], "5");
    assert_eq!(check["ok"], true);
}

fn everybody_was_told(report: &Value, smtp: &Smtp) {
    let mails = smtp.wait_for(2);
    let to: Vec<&str> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
    assert_eq!(to, ["ops@example.org", "dba@example.org"]);
    for (mail, notified) in mails
        .iter()
        .zip(report["notified"].as_array().expect("told"))
    {
        says(
            &mail.data,
            &[
                "Subject: [backupctl] erp: done",
                "Content-Disposition: attachment",
                text(&report["database"]["previous"]),
            ],
        );
        assert_eq!(notified["ok"], true, "{notified}");
        assert!(mail.data.contains(text(&notified["to"])), "{notified}");
    }
    assert_eq!(smtp.mails().len(), 2);
}

#[test]
fn a_run_from_a_local_store_tells_people_what_is_live_and_how_to_go_back() {
    let scene = Scene::with_archive();
    let setup = scene.with(CHECK);

    let ran = setup.run(&["run"]).expect(0);

    scene.is_new();
    let now = format!("{} on 127.0.0.1 is now the backup of", scene.live);
    says(
        &ran.stdout,
        &[&now, "backupctl undo erp", "expected at least 5, found 5"],
    );
    assert_eq!(ran.stderr, "");
}

/// Asks again and again, connecting anew whenever it was cut off: what it saw, and every error of a query.
async fn watch(
    login: Login,
    database: String,
    stop: Arc<AtomicBool>,
) -> (Vec<String>, Vec<String>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let session = match connect(&login, &database).await {
            Ok(session) => session,
            Err(failed) => {
                errors.push(failed.message());
                continue;
            }
        };
        while !stop.load(Ordering::Relaxed) {
            match session.first_text_rows("select v from public.t", 2).await {
                Ok(found) => {
                    let row = found.first().and_then(|row| row[0].clone());
                    rows.push(row.unwrap_or_else(|| "no row".to_owned()));
                }
                Err(failed) => {
                    errors.push(failed.message());
                    break;
                }
            }
        }
    }
    (rows, errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_through_a_whole_run_sees_old_rows_then_new_ones_and_nothing_else() {
    // given
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let mut login = scene
        .server
        .login(&scene.live, &RunId::new(jiff::Timestamp::now()));
    login.application_name = "client".into();
    let stop = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn(watch(login, scene.live.clone(), Arc::clone(&stop)));

    // when
    let running = tokio::task::spawn_blocking(move || setup.run(&["run", "--json"]));
    let ran = running.await.expect("a run");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);

    // then
    ran.expect(0);
    let (rows, errors) = client.await.expect("a client");
    let turn = rows.iter().position(|row| row == "new").expect("new rows");
    assert!(turn > 0, "old rows came first");
    assert!(rows[..turn].iter().all(|row| row == "old"));
    assert!(rows[turn..].iter().all(|row| row == "new"));
    assert!(
        errors.iter().all(|error| !error.contains("relation")),
        "{errors:?}"
    );
}

#[test]
fn owner_rights_settings_limit_and_comment_of_the_live_database_stay() {
    // given
    let scene = Scene::with_archive();
    let (owner, app) = (
        scene.server.role("owner", ""),
        scene.server.role("app", "login"),
    );
    let live = &scene.live;
    scene.server.sql(
        "postgres",
        &format!(
            "alter database {live} owner to {owner}; alter database {live} connection limit 17;
             revoke all on database {live} from public; grant connect, temporary on database {live} to {app};
             comment on database {live} is 'the shop''s own';
             alter database {live} set work_mem = '7MB'; alter database {live} set search_path = public, shop;
             alter role {app} in database {live} set statement_timeout = '9s'"
        ),
    );
    let properties = || {
        let sql = format!(
            "select pg_get_userbyid(datdba), datconnlimit, datacl, shobj_description(d.oid, 'pg_database'),
                    (select string_agg(setconfig::text, ' ' order by setrole) from pg_db_role_setting where setdatabase = d.oid)
             from pg_database d where datname = '{live}'"
        );
        scene.server.value("postgres", &sql)
    };
    let before = properties();
    says(
        &before,
        &[
            &owner,
            "17",
            &app,
            "the shop's own",
            "work_mem=7MB",
            "statement_timeout=9s",
        ],
    );

    // when
    scene.with("").run(&["run"]).expect(0);

    // then
    assert_eq!(properties(), before);
    scene.is_new();
}

#[test]
fn the_same_archive_is_restored_again_with_a_warning_and_a_new_one_of_the_same_name_without() {
    // given
    let scene = Scene::new();
    scene.put_old("erp.zip", &archive(), Duration::from_hours(2));
    let setup = scene.with("");
    setup.run(&["run"]).expect(0);

    // when
    let again = judged(&setup, &setup.run(&["run", "--json"]), "done");
    // the next night overwrites it
    scene.put_old(
        "erp.zip",
        &archive_with_row("newer"),
        Duration::from_hours(1),
    );
    let next = judged(&setup, &setup.run(&["run", "--json"]), "done");

    // then
    says(warnings(&again)[0], &["erp.zip", "already restored"]);
    // It is a smaller dump, which lacks a table.
    assert_eq!(warnings(&next).len(), 1, "{next}");
    says(warnings(&next)[0], &["public.users"]);
    assert_ne!(next["archive"]["sha256"], again["archive"]["sha256"]);
    assert_eq!(scene.row(), "newer");
}

#[test]
fn the_dump_named_by_its_pattern_is_taken_from_among_several() {
    let scene = Scene::new();
    let other = super::dump_of("create table wrong (n int)", &["-Fc"]);
    scene.put(
        "all.zip",
        &packed()
            .entry("crm.dump", &other)
            .entry("README", "hello")
            .build(),
    );

    let setup = scene.with("dump = \"erp.*\"");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    assert_eq!(report["dump"]["name"], "erp.dump");
    scene.is_new();
}

#[test]
fn dumps_in_every_supported_wrapping_are_restored() {
    let bare = dump().to_vec();
    let tar = super::dump_of(super::NEW, &["-Ft"]);
    let in_zip = |bytes: &[u8]| {
        crate::support::archives::zip()
            .entry("some/where.bin", bytes)
            .build()
    };
    for (name, bytes, format) in [
        ("bare.dump", bare.clone(), "custom"),
        ("gzipped.dump.gz", gzip(&bare), "custom"),
        ("tar.zip", in_zip(&tar), "tar"),
        ("both.zip", in_zip(&gzip(&bare)), "custom"),
        ("packed.dump.zst", zstd(&[], &bare), "custom"),
        ("tar.zst.zip", in_zip(&zstd(&["-19"], &tar)), "tar"),
    ] {
        let scene = Scene::new();
        scene.put(name, &bytes);

        let setup = scene.with("pattern = \"*\"");
        let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

        assert_eq!(report["dump"]["format"], format, "{name}");
        let is_zip = name.contains(".zip");
        let called = if is_zip { "some/where.bin" } else { name };
        assert_eq!(report["dump"]["name"], called);
        scene.is_new();
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("packed bytes");
    packed.finish().expect("packed bytes")
}

#[test]
fn in_place_loads_over_the_live_database_and_keeps_no_previous_one() {
    let scene = Scene::with_archive();
    let setup = scene.with(&format!("method = \"in-place\"\n{CHECK}"));

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    scene.is_new();
    assert_eq!(scene.beside(), Vec::<String>::new());
    assert_eq!(super::oid(scene.server, &scene.live), scene.oid);
    assert!(report["database"]["previous"].is_null(), "{report}");
    assert_eq!(
        steps(&report),
        ["network", "fetch", "unzip", "restore", "check"]
    );
    let said = setup.run(&["run"]).expect(0).stdout;
    says(&said, &["is now the backup of"]);
    assert!(!said.contains("backupctl undo"), "{said}");
}

#[test]
fn in_place_a_dump_that_breaks_in_the_middle_changes_nothing() {
    let scene = Scene::new();
    let mut dump = super::dump_of(
        &format!(
            "{}; create table big as select n, md5(n::text) from generate_series(1, 20000) n",
            super::NEW
        ),
        &["-Fc", "-Z0"],
    );
    // A row of the wrong shape, which no checksum of an uncompressed dump catches.
    let at = dump
        .windows(10)
        .rposition(|bytes| bytes == b"	8f14e45fc")
        .expect("a row");
    dump[at] = b' ';
    scene.put(
        "erp.zip",
        &crate::support::archives::zip()
            .entry("erp.dump", &dump)
            .build(),
    );

    let setup = scene.with("method = \"in-place\"");
    judged(&setup, &setup.run(&["run", "--json"]), "failed");

    scene.is_untouched();
}

#[test]
fn an_archive_from_the_future_is_restored_with_a_word_about_the_clocks() {
    let scene = Scene::new();
    let file = scene.put("erp.zip", &archive());
    let file = std::fs::File::options().write(true).open(file).expect("it");
    let future = std::time::SystemTime::now() + Duration::from_hours(50);
    file.set_modified(future).expect("a time");

    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    says(warnings(&report)[0], &["erp.zip", "future", "clock"]);
    scene.is_new();
}
