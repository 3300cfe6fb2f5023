//! What the preflight finds: each ends the run before anything is downloaded, and names the remedy.

use super::{Scene, archive, dump, dump_of, files, judged, packed, says, text};
use crate::support::archives::zip;
use crate::support::postgres::Postgres;
use crate::support::program::Setup;
use crate::support::smtp::{Options, Security, Smtp};
use crate::support::sshd::Sshd;

fn nothing_was_downloaded(setup: &Setup) {
    assert_eq!(
        files(setup, "state/archives"),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        files(setup, "state/dumps"),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        files(setup, "state/journal"),
        Vec::<std::path::PathBuf>::new()
    );
}

/// An archive whose roles are gone.
fn archive_of_lost_roles(server: &Postgres) -> (Vec<u8>, Vec<String>) {
    let roles: Vec<String> = ["owner", "Reader \"x\"", "policy"]
        .map(|prefix| server.role(prefix, ""))
        .into();
    let quoted: Vec<String> = roles
        .iter()
        .map(|role| backupctl::database::connection::quote_identifier(role))
        .collect();
    let database = super::filled(
        server,
        &format!(
            "create table t (v text); insert into t values ('new'); alter table t owner to {};
             grant select on t to {}; create policy p on t to {} using (true)",
            quoted[0], quoted[1], quoted[2]
        ),
    );
    let dump = server.dump(&database, &["-Fc"]);
    server.sql(
        "postgres",
        &format!("drop database {database}; drop role {}", quoted.join(", ")),
    );
    (zip().entry("erp.dump", &dump).build(), quoted)
}

#[test]
fn missing_roles_are_all_named_with_their_statement_before_the_download() {
    let scene = Scene::new();
    let (archive, roles) = archive_of_lost_roles(scene.server);
    scene.put("erp.zip", &archive);

    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    for role in &roles {
        says(
            text(&report["hint"]),
            &[&format!("CREATE ROLE {role} NOLOGIN;")],
        );
    }
    nothing_was_downloaded(&setup);
    scene.is_untouched();
}

#[test]
fn the_owner_and_the_grantees_of_the_dumped_database_itself_may_be_missing() {
    let scene = Scene::new();
    let (owner, reader) = (
        scene.server.role("vendor", ""),
        scene.server.role("reader", ""),
    );
    let database = super::filled(scene.server, super::NEW);
    scene.server.sql(
        "postgres",
        &format!("alter database {database} owner to {owner}; grant connect on database {database} to {reader}"),
    );
    let dump = scene.server.dump(&database, &["-Fc"]);
    scene.server.sql(
        "postgres",
        &format!("drop database {database}; drop role {owner}, {reader}"),
    );
    scene.put("erp.zip", &zip().entry("erp.dump", &dump).build());

    let setup = scene.with("");
    judged(&setup, &setup.run(&["run", "--json"]), "done");

    scene.is_new();
}

#[test]
fn a_missing_extension_is_config_before_the_download() {
    let scene = Scene::new();
    let dump = dump_of(
        "create extension citext; create table t (v citext); insert into t values ('new')",
        &["-Fc", "-Z0"],
    );
    // An extension that no server has: the same dump with another name of the same length in its table of contents.
    let text_before = b"citext";
    let mut other = dump.clone();
    for at in 0..other.len() - text_before.len() {
        if other[at..].starts_with(text_before) {
            other[at..at + text_before.len()].copy_from_slice(b"cytext");
        }
    }
    scene.put("erp.zip", &zip().entry("erp.dump", &other).build());

    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(text(&report["message"]), &["cytext"]);
    nothing_was_downloaded(&setup);
    scene.is_untouched();
}

#[test]
fn a_missing_live_database_is_config_and_the_near_miss_is_named() {
    let scene = Scene::with_archive();
    let near = format!("{}x", scene.live);
    let setup = Setup::new()
        .local(scene.store.path())
        .database(scene.server, &near)
        .restore("")
        .write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(text(&report["message"]), &[&format!("`{near}`")]);
    says(
        text(&report["hint"]),
        &[&format!("`{}`", scene.live), "CREATE DATABASE"],
    );
    nothing_was_downloaded(&setup);
    scene.is_untouched();
}

#[test]
fn several_dumps_without_a_choice_are_config_and_listed() {
    let scene = Scene::new();
    scene.put(
        "all.zip",
        &packed()
            .entry("crm.dump", dump())
            .entry("README", "x")
            .build(),
    );

    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(text(&report["message"]), &["erp.dump", "crm.dump"]);
    assert!(!text(&report["message"]).contains("README"), "{report}");
    says(text(&report["hint"]), &["dump ="]);
    nothing_was_downloaded(&setup);
    scene.is_untouched();
}

#[test]
fn a_wrong_database_password_is_refused_at_once_and_said_in_the_step() {
    let scene = Scene::with_archive();
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&scene.server.toml("erp", &scene.live))
        .secret("DB_PASSWORD", "wrong-canary-77")
        .restore("")
        .write();

    let ran = setup.run(&["run", "--json"]);

    let report = judged(&setup, &ran, "refused");
    says(
        text(&report["message"]),
        &["password authentication failed"],
    );
    assert_eq!(report["steps"][0]["verdict"], "refused");
    says(
        text(&report["steps"][0]["message"]),
        &["password authentication failed"],
    );
    assert!(!format!("{ran}").contains("wrong-canary-77"), "{ran}");
    scene.is_untouched();
}

#[test]
fn a_wrong_and_an_unknown_host_key_are_refused_with_the_fingerprint_and_the_remedy() {
    let scene = Scene::new();
    let (sshd, stranger) = (Sshd::start(), Sshd::start());
    sshd.put("erp.zip", &archive());
    let known = std::fs::read_to_string(&stranger.known_hosts).expect("known_hosts");
    let wrong = known.replace(&stranger.port.to_string(), &sshd.port.to_string());
    for (lines, remedy) in [
        (wrong.as_str(), "remove line 1"),
        ("", "backupctl trust office"),
    ] {
        std::fs::write(&sshd.known_hosts, lines).expect("known_hosts");
        let setup = Setup::new()
            .sftp(&sshd)
            .database(scene.server, &scene.live)
            .restore("")
            .write();

        let report = judged(&setup, &setup.run(&["run", "--json"]), "refused");

        let told = format!("{} {}", text(&report["message"]), text(&report["hint"]));
        says(&told, &[&sshd.fingerprint, remedy]);
        assert_eq!(
            std::fs::read_to_string(&sshd.known_hosts).expect("known_hosts"),
            lines
        );
        nothing_was_downloaded(&setup);
        scene.is_untouched();
    }
}

#[test]
fn an_error_in_the_configuration_is_told_as_json_as_well() {
    let scene = Scene::with_archive();
    let setup = scene
        .setup()
        .restore("ceck = 1\nmax_age = \"soon\"")
        .write();

    let ran = setup.run(&["run", "--json"]).expect(3);

    let document = ran.json();
    assert_eq!(document["verdict"], "config");
    says(
        text(&document["message"]),
        &["restores.erp", "ceck", "soon"],
    );
    assert!(!setup.path("state").exists());
}

#[test]
fn no_fitting_pg_restore_is_config_before_the_download() {
    // none at all
    let scene = Scene::with_archive();
    let empty = tempfile::tempdir().expect("a directory");
    let table = scene.server.toml("erp", &scene.live);
    let real = scene.server.bin_dir.display().to_string();
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&table.replace(&real, &empty.path().display().to_string()))
        .secret("DB_PASSWORD", &scene.server.password)
        .restore("")
        .write();
    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");
    says(
        text(&report["message"]),
        &["pg_restore", &empty.path().display().to_string()],
    );
    nothing_was_downloaded(&setup);

    // a dump in a format that none knows yet
    let mut newer = dump().to_vec();
    newer[6] = 99;
    scene.put("erp.zip", &zip().entry("erp.dump", &newer).build());
    let setup = scene.with("");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");
    says(text(&report["message"]), &["1.99"]);
    nothing_was_downloaded(&setup);
    scene.is_untouched();
}

#[test]
fn missing_secrets_are_config_before_any_connection_and_are_mailed_all_the_same() {
    let scene = Scene::new();
    let sshd = Sshd::start();
    sshd.kill();
    let smtp = Smtp::start(Options {
        security: Security::None,
        auth: None,
        ..Options::default()
    });
    let table = sshd.toml("office", &sshd.dir) + "passphrase = \"env:NO_SUCH_PASSPHRASE\"\n";
    let setup = Setup::new()
        .part(&table)
        .part(&scene.server.toml("erp", &scene.live))
        .mail(&smtp, &["ops@example.org"])
        .restore("")
        .write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(
        text(&report["message"]),
        &["NO_SUCH_PASSPHRASE", "DB_PASSWORD"],
    );
    assert!(smtp.wait_for(1)[0].data.contains("[backupctl] erp: config"));
    scene.is_untouched();
}

#[test]
fn a_key_file_that_others_can_read_is_config_with_the_chmod() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let key = setup.path("secret.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("a mode");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(text(&report["message"]), &["secret.key"]);
    says(text(&report["hint"]), &["chmod 600"]);
    scene.is_untouched();
}
