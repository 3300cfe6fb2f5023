//! Mail: who is told when, and that an undelivered report never hides how the data fared.

use std::process::{Command, Stdio};

use super::{Scene, archive, judged, says, steps, text};
use crate::support::postgres::free_port;
use crate::support::program::Setup;
use crate::support::smtp::{Options, Security, Smtp};

const FAILING: &str = "[[restores.erp.checks]]\nsql = \"select count(*) from users\"\nat_least = 1000\n\
     [[restores.erp.checks]]\nsql = \"select max(name) from users\"\nequals = \"user 5\"\n";

fn in_clear() -> Smtp {
    Smtp::start(Options {
        security: Security::None,
        auth: None,
        ..Options::default()
    })
}

/// Subject and text as a mail program shows them.
fn decoded(raw: &str) -> String {
    use std::io::Write;
    let script = "import sys, email, email.policy
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
print(mail['subject'])
print(mail.get_body(('plain',)).get_content())";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(raw.as_bytes()).expect("the mail");
    drop(stdin);
    let output = python.wait_with_output().expect("the decoded mail");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_failing_check_leaves_live_alone_and_the_mail_says_so_with_the_values() {
    let scene = Scene::with_archive();
    let smtp = in_clear();
    let setup = scene
        .setup()
        .mail(&smtp, &["ops@example.org"])
        .restore(FAILING)
        .write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    scene.is_untouched();
    let all = ["network", "fetch", "unzip", "restore", "check", "notify"];
    assert_eq!(steps(&report), all);
    assert_eq!(report["steps"][4]["verdict"], "failed");
    assert_eq!(report["checks"][0]["ok"], false);
    assert_eq!(report["checks"][0]["found"], "5");
    assert_eq!(report["checks"][1]["ok"], true);
    assert!(report["database"]["previous"].is_null());
    let mail = decoded(&smtp.wait_for(1)[0].data);
    let mail = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    says(
        &mail,
        &[
            "[backupctl] erp: failed",
            "proven unchanged",
            "expected at least 1000, found 5",
        ],
    );
}

#[test]
fn a_mail_server_that_is_down_makes_good_data_attention_and_hides_nothing_worse() {
    let scene = Scene::with_archive();
    let mail = format!(
        "[notify.email]\nserver = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\nfrom = \"b@example.org\"\nto = [\"ops@example.org\"]\n",
        free_port()
    );
    let setup = scene.setup().part(&mail).restore("").write();

    let report = judged(&setup, &setup.run(&["run", "--json"]), "attention");

    scene.is_new();
    says(text(&report["message"]), &["ops@example.org"]);
    assert_eq!(report["notified"][0]["ok"], false);
    assert_eq!(report["notified"][0]["to"], "ops@example.org");
    let said = setup.run(&["run"]).expect(12).stdout;
    says(&said, &["is now the backup of", "FAILED"]);

    let scene = Scene::with_archive();
    let setup = scene.setup().part(&mail).restore(FAILING).write();
    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");
    assert!(
        report["warnings"].to_string().contains("ops@example.org"),
        "{report}"
    );
    scene.is_untouched();
}

#[test]
fn failures_alone_are_told_where_that_is_wanted() {
    let scene = Scene::new();
    let smtp = in_clear();
    let setup = telling(&scene, &smtp, "failure");

    setup.run(&["run"]).expect(7);
    assert_eq!(subjects(&smtp), ["[backupctl] erp: stale"]);
    scene.put("erp.zip", &archive());
    setup.run(&["run"]).expect(0);
    assert_eq!(subjects(&smtp).len(), 1);
}

#[test]
fn failures_and_the_first_success_after_one_are_told_where_changes_are_wanted() {
    let scene = Scene::with_archive();
    let smtp = in_clear();
    let setup = telling(&scene, &smtp, "change");

    setup.run(&["run"]).expect(0);
    let path = scene.put("erp.zip", b"");
    setup.run(&["run"]).expect(7);
    setup.run(&["run"]).expect(7);
    std::fs::remove_file(path).expect("the bad one is gone");
    scene.put("erp.zip", &archive());
    setup.run(&["run"]).expect(0);
    setup.run(&["run"]).expect(0);

    let wanted = ["stale", "stale", "done"].map(|word| format!("[backupctl] erp: {word}"));
    assert_eq!(subjects(&smtp), wanted);
}

fn telling(scene: &Scene, smtp: &Smtp, on: &str) -> Setup {
    scene
        .setup()
        .part(&format!("[notify]\non = \"{on}\"\n"))
        .mail(smtp, &["ops@example.org"])
        .restore("")
        .write()
}

fn subjects(smtp: &Smtp) -> Vec<String> {
    let mails = smtp.mails();
    let first_line = |raw: &str| decoded(raw).lines().next().unwrap_or_default().to_owned();
    mails.iter().map(|mail| first_line(&mail.data)).collect()
}

#[test]
fn steps_by_hand_send_no_mail_unless_asked() {
    let scene = Scene::with_archive();
    let smtp = in_clear();
    let setup = scene
        .setup()
        .mail(&smtp, &["ops@example.org"])
        .restore("")
        .write();

    setup.run(&["fetch"]).expect(0);
    setup.run(&["unzip"]).expect(0);
    setup.run(&["restore"]).expect(0);
    assert!(smtp.mails().is_empty());

    setup.run(&["fetch", "--notify"]).expect(0);
    assert_eq!(subjects(&smtp), ["[backupctl] erp: done"]);
}
