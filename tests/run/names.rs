//! Names and passwords with everything that a shell, SQL or a terminal would trip over.

use super::{Scene, archive, judged, says, text};
use crate::support::program::Setup;
use crate::support::smtp::{Options, Security, Smtp};

#[test]
fn an_archive_with_an_odd_name_is_restored_and_its_name_is_shown_escaped() {
    let scene = Scene::new();
    let smtp = Smtp::start(Options {
        security: Security::None,
        auth: None,
        ..Options::default()
    });
    let name = "er p'\"$(id)`;\nBcc: x@example.org\n\u{1b}[2J\u{202e}.zip";
    scene.put(name, &archive());
    let setup = scene
        .setup()
        .mail(&smtp, &["ops@example.org"])
        .restore("")
        .write();

    let ran = setup.run(&["-vv", "run"]).expect(0);

    scene.is_new();
    for said in [&ran.stdout, &ran.stderr, &smtp.wait_for(1)[0].data] {
        assert!(
            !said.contains("\nBcc") && !said.contains('\u{1b}'),
            "{said}"
        );
        assert!(!said.contains('\u{202e}'), "{said}");
    }
    says(&ran.stdout, &["\\nBcc", "\\u{1b}[2J"]);
    assert_eq!(setup.reports()[0]["archive"]["name"], name);
    setup.run(&["list"]).expect(0);
    let again = setup.run(&["run", "--json", "--archive", name]);
    judged(&setup, &again, "done");
}

#[test]
fn databases_with_odd_names_are_swapped() {
    for live in ["Shop \"Q\" 'x' $1;--", "ünïcödé \\ shop"] {
        let scene = Scene::named(live);
        scene.put("erp.zip", &archive());
        let table = scene.server.toml("erp", "NAME");
        let quoted = format!("{live:?}");
        let setup = Setup::new()
            .local(scene.store.path())
            .part(&table.replace("\"NAME\"", &quoted))
            .secret("DB_PASSWORD", &scene.server.password)
            .restore("[[restores.erp.checks]]\nsql = \"select current_database()\"\nat_most = 1\n")
            .write();

        judged(&setup, &setup.run(&["run", "--json"]), "failed");
        assert_eq!(scene.beside(), Vec::<String>::new());
        assert_eq!(scene.row(), "old");

        let setup = Setup::new()
            .local(scene.store.path())
            .part(&table.replace("\"NAME\"", &quoted))
            .secret("DB_PASSWORD", &scene.server.password)
            .restore("")
            .write();
        let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

        scene.is_new();
        assert_eq!(report["database"]["name"], live);
        assert_eq!(scene.beside(), [text(&report["database"]["previous"])]);
        for database in [live, text(&report["database"]["previous"])] {
            let quoted = backupctl::database::connection::quote_identifier(database);
            scene
                .server
                .sql("postgres", &format!("drop database {quoted}"));
        }
    }
}

#[test]
fn a_password_may_hold_whatever_it_likes_and_is_never_shown() {
    let password = "p'a\"s:s\\w$HOME {} %s #ö canary-5512";
    let scene = Scene::with_archive();
    let literal = backupctl::database::connection::quote_literal(password);
    let role = scene.server.role(
        "Admin:\\ \"x\"",
        &format!("superuser login password {literal}"),
    );
    let table = scene.server.toml("erp", &scene.live);
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&table.replace("user = \"postgres\"", &format!("user = {role:?}")))
        .secret("DB_PASSWORD", password)
        .restore("")
        .write();

    let ran = setup.run(&["-vv", "run", "--json"]);

    judged(&setup, &ran, "done");
    scene.is_new();
    assert!(!format!("{ran}").contains("canary-5512"), "{ran}");
    for file in super::files(&setup, "state") {
        let content = std::fs::read(&file).expect("a file");
        assert!(
            !String::from_utf8_lossy(&content).contains("canary-5512"),
            "{}",
            file.display()
        );
    }
}
