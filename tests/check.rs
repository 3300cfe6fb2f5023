//! `check`: every link of the chain is named, and where one is broken, which one and what to do.

mod broken;
mod server;

use serde_json::{Value, json};

use crate::run::{Scene, archive, says, text};
use crate::support::postgres::Postgres;
use crate::support::program::{Ran, Setup};
use crate::support::smtp::{self, Smtp};
use crate::support::sshd::Sshd;

/// In the chain's order.
const ALL_LINKS: [&str; 31] = [
    "configuration",
    "secret",
    "secret",
    "state_dir",
    "log",
    "tools",
    "private key",
    "store dns",
    "store tcp",
    "host key",
    "store login",
    "listing",
    "archive",
    "first MiB",
    "end record",
    "dump",
    "database dns",
    "database tcp",
    "database login",
    "live database",
    "pg_restore",
    "clock",
    "contents",
    "rights",
    "server",
    "server space",
    "space here",
    "mail dns",
    "mail tcp",
    "mail login",
    "timer",
];

/// The link of this name in a document of `--json`.
fn link<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut links = document["links"].as_array().expect("links").iter();
    let found = links.find(|link| link["link"] == name);
    found.unwrap_or_else(|| panic!("there is no link `{name}` in {document:#}"))
}

/// The names of those in this state, in order.
fn in_state<'a>(document: &'a Value, state: &str) -> Vec<&'a str> {
    let links = document["links"].as_array().expect("links").iter();
    let found = links.filter(|link| link["state"] == state);
    found.map(|link| text(&link["link"])).collect()
}

fn names(document: &Value) -> Vec<&str> {
    let links = document["links"].as_array().expect("links").iter();
    links.map(|link| text(&link["link"])).collect()
}

/// Looking leaves no trace, and the lines fit where the words do.
fn is_a_look(setup: &Setup, ran: &Ran) {
    assert!(!setup.path("state").exists(), "it left a trace\n{ran}");
    for line in ran.stdout.lines() {
        let is_one_word = line.split_whitespace().count() <= 4;
        assert!(line.chars().count() <= 80 || is_one_word, "{line}\n{ran}");
    }
}

/// sshd, PostgreSQL and a mail server, all well.
fn well() -> (Sshd, Smtp, Scene, Setup) {
    let (sshd, smtp) = (Sshd::start(), Smtp::start(smtp::Options::default()));
    let scene = Scene::new();
    sshd.put("erp.zip", &archive());
    let setup = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .mail(&smtp, &["ops@example.org"])
        .restore("")
        .write();
    (sshd, smtp, scene, setup)
}

#[test]
fn a_chain_that_holds_is_shown_link_by_link_and_nothing_is_sent_or_changed() {
    let (sshd, smtp, scene, setup) = well();

    let ran = setup.run(&["check"]).expect(0);

    assert!(ran.stdout.starts_with("erp: ok\n"), "{ran}");
    let user = format!("ok       store login    private key of {} at", sshd.user);
    says(
        &ran.stdout,
        &[&user, "ok       mail login     backup@example.org at"],
    );
    assert_eq!(ran.stderr, "");
    is_a_look(&setup, &ran);
    assert_eq!(smtp.mails().len(), 0);
    assert!(!smtp.commands().contains(&"MAIL".to_owned()));

    scene.is_untouched();
}

#[test]
fn the_links_come_in_the_chains_order() {
    let (sshd, _smtp, _scene, setup) = well();
    let document = setup.run(&["check", "erp", "--json"]).expect(0).json();
    assert_eq!(in_state(&document, "failed"), Vec::<&str>::new());
    assert_eq!(in_state(&document, "skipped"), Vec::<&str>::new());
    assert_eq!(names(&document), ALL_LINKS);
    says(
        text(&link(&document, "host key")["message"]),
        &[&sshd.fingerprint],
    );
    let facts = [
        "format",
        "command",
        "job",
        "connection",
        "verdict",
        "exit_code",
        "message",
    ];
    let facts: Vec<&Value> = facts.iter().map(|name| &document[name]).collect();
    assert_eq!(
        facts,
        [
            &json!(1),
            &json!("check"),
            &json!("erp"),
            &Value::Null,
            &json!("done"),
            &json!(0),
            &Value::Null
        ]
    );
}

#[test]
fn a_check_can_be_had_while_a_run_is_at_work_and_takes_no_lock() {
    let scene = Scene::with_archive();
    let setup = scene.with("settle = \"20s\"");
    let running = setup.start(&["run"]);
    crate::run::until("the run has begun", || !setup.reports().is_empty());

    let ran = setup.run(&["check"]);

    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.finish().code, Some(143));
    ran.expect(0);
    assert_eq!(setup.reports().len(), 1, "a check leaves no report");
}

#[test]
fn every_job_is_checked_in_the_files_order_and_the_worst_link_decides() {
    let scene = Scene::with_archive();
    let other =
        "[restores.crm]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"crm_*\"\nsettle = \"0s\"\n";
    let setup = scene.setup().restore("").part(other).write();

    let ran = setup.run(&["check", "--json"]).expect(7);

    let told = |document: &Value| (document["job"].clone(), document["verdict"].clone());
    let told: Vec<(Value, Value)> = ran.documents().iter().map(told).collect();
    assert_eq!(
        told,
        [
            (json!("erp"), json!("done")),
            (json!("crm"), json!("stale"))
        ]
    );
    setup.run(&["check", "erp"]).expect(0);
    let ran = setup.run(&["check", "cmr"]).expect(2);
    says(
        &ran.stderr,
        &["there is no job `cmr`", "did you mean `crm`?"],
    );
    let ran = setup.run(&["check"]).expect(7);
    says(&ran.stdout, &["erp: ok\n", "\ncrm: stale\n"]);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran}");
    says(&ran.stderr, &["error: crm: archive: "]);
}

#[test]
fn one_connection_is_tested_alone() {
    let (_sshd, smtp, scene, setup) = well();

    let store = setup
        .run(&["check", "--store", "office", "--json"])
        .expect(0);
    let store = store.json();
    assert_eq!(
        (&store["job"], &store["connection"]),
        (&Value::Null, &json!("stores.office"))
    );
    assert_eq!(
        names(&store),
        [
            "configuration",
            "private key",
            "store dns",
            "store tcp",
            "host key",
            "store login",
            "listing"
        ]
    );
    let database = setup
        .run(&["check", "--database", "erp", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        names(&database),
        [
            "configuration",
            "secret",
            "tools",
            "database dns",
            "database tcp",
            "database login",
            "live database",
            "clock",
            "rights",
            "server",
        ]
    );
    let ran = setup.run(&["check", "--email"]).expect(0);
    assert!(ran.stdout.starts_with("notify.email: ok\n"), "{ran}");
    assert_eq!(smtp.mails().len(), 0);

    scene.is_untouched();
}

#[test]
fn connections_that_are_tested_together_have_a_document_each() {
    let (sshd, _smtp, _scene, setup) = well();
    sshd.kill();
    setup
        .run(&["check", "--database", "erp", "--email"])
        .expect(0);
    let both = setup
        .run(&["check", "--store", "office", "--email", "--json"])
        .expect(5);
    assert_eq!(both.documents().len(), 2, "{both}");
    let ran = setup.run(&["check", "--store", "ofice"]).expect(2);
    says(
        &ran.stderr,
        &["there is no store `ofice`", "did you mean `office`?"],
    );
    let ran = setup.run(&["check", "--database", "shop"]).expect(2);
    says(
        &ran.stderr,
        &["there is no database `shop`", "databases: erp"],
    );
    setup.run(&["check", "erp", "--email"]).expect(2);
}

#[test]
fn a_mail_server_that_is_not_configured_can_not_be_tested() {
    let setup = Scene::with_archive().with("");
    let ran = setup.run(&["check", "--email"]).expect(3);
    says(&ran.stderr, &["there is no [notify.email]"]);
}

#[test]
fn as_cron_nothing_is_left_of_the_environment_but_what_cron_gives() {
    let scene = Scene::with_archive();
    let server = Postgres::shared();
    let mut setup = Setup::new()
        .local(scene.store.path())
        .part(&server.toml("erp", &scene.live))
        .restore("")
        .write();
    // As in an operator's shell: the password is exported, and so is where the configuration lies.
    setup.program = setup.program.env("DB_PASSWORD", &server.password);
    setup.run(&["check"]).expect(0);

    let ran = setup
        .run(&["check", "--as-cron", "--json", "erp"])
        .expect(3);

    let document = ran.json();
    assert_eq!(link(&document, "secret")["state"], "failed");
    says(
        text(&link(&document, "secret")["message"]),
        &["DB_PASSWORD"],
    );
    says(
        &ran.stderr,
        &["as cron: PATH=/usr/bin:/bin HOME=", "LOGNAME="],
    );

    let file = setup.path("config.toml").display().to_string();
    setup.program = setup.program.env("BACKUPCTL_CONFIG", &file);
    setup.program.run(&["check"]).expect(0);
    let ran = setup.program.run(&["check", "--as-cron"]).expect(3);
    says(
        &ran.stdout,
        &["failed   configuration", "/etc/backupctl/config.toml"],
    );
}

#[test]
fn as_cron_keeps_its_flags_and_works_where_the_files_have_it_all() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let ran = setup
        .run(&["check", "--as-cron", "-q", "--database", "erp"])
        .expect(0);
    assert!(ran.stdout.starts_with("databases.erp: ok\n"), "{ran}");
    assert_eq!(ran.stderr, "");
    setup.run(&["check", "--as-cron", "erp"]).expect(0);
}
