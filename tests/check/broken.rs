//! Set-ups that are broken on purpose: the broken link is named with its remedy, and the others are judged all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{in_state, is_a_look, link, well};
use crate::run::{Scene, archive, dump, packed, says, text};
use crate::support::archives::zip;
use crate::support::program::Setup;
use crate::support::sshd::Sshd;

/// Which link is broken, with what exit code, and words of its message and of its remedy.
pub struct Broken<'a> {
    pub code: i32,
    pub link: &'a str,
    pub says: &'a [&'a str],
    pub remedy: &'a [&'a str],
}

impl Broken<'_> {
    /// Checks the set-up, in both forms, and gives the document.
    pub fn is_named(&self, setup: &Setup) -> Value {
        let ran = setup.run(&["check", "--json"]).expect(self.code);
        let document = ran.json();
        assert_eq!(in_state(&document, "failed"), [self.link], "{document:#}");
        let found = link(&document, self.link);
        says(text(&found["message"]), self.says);
        says(text(&found["hint"]), self.remedy);
        assert_eq!(document["exit_code"], self.code);
        assert_eq!(document["hint"], found["hint"]);
        let error = format!("error: erp: {}: ", self.link);
        assert!(ran.stderr.contains(&error), "{ran}");

        let told = setup.run(&["check"]).expect(self.code);
        says(
            &told.stdout,
            &[&format!("failed   {}", self.link), "\n         hint: "],
        );
        document
    }
}

fn skipped(document: &Value, links: &[(&str, &str)]) {
    let told: Vec<&str> = links.iter().map(|(name, _)| *name).collect();
    assert_eq!(in_state(document, "skipped"), told, "{document:#}");
    for (name, needs) in links {
        let message = format!("needs {needs}");
        assert_eq!(link(document, name)["message"], message, "{name}");
    }
}

const NO_STORE: [(&str, &str); 9] = [
    ("listing", "store login"),
    ("archive", "listing"),
    ("first MiB", "listing"),
    ("end record", "listing"),
    ("dump", "listing"),
    ("pg_restore", "dump"),
    ("contents", "dump"),
    ("server space", "dump"),
    ("space here", "archive"),
];

fn without_store(before: &[(&str, &str)], document: &Value) {
    skipped(document, &[before, &NO_STORE].concat());
}

/// With a store of one's own, and nothing else.
fn with_store(scene: &Scene, store: &str) -> Setup {
    Setup::new()
        .part("[network]\ntimeout = \"5s\"\n")
        .part(store)
        .database(scene.server, &scene.live)
}

#[test]
fn a_private_key_that_others_may_read() {
    let (sshd, _smtp, _scene, setup) = well();
    fs::set_permissions(&sshd.private_key, PermissionsExt::from_mode(0o644)).expect("a mode");
    let document = Broken {
        code: 3,
        link: "private key",
        says: &["others may read it (mode 0644)"],
        remedy: &["chmod 600 "],
    }
    .is_named(&setup);
    without_store(&[("store login", "private key")], &document);
    assert_eq!(link(&document, "host key")["state"], "ok");
    assert_eq!(link(&document, "mail login")["state"], "ok");
}

#[test]
fn a_secret_that_is_nowhere() {
    let scene = Scene::with_archive();
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&scene.server.toml("erp", &scene.live))
        .restore("")
        .write();
    let document = Broken {
        code: 3,
        link: "secret",
        says: &["databases.erp.postgres.password", "DB_PASSWORD"],
        remedy: &[],
    }
    .is_named(&setup);
    skipped(
        &document,
        &[
            ("database login", "secret"),
            ("live database", "database login"),
            ("pg_restore", "live database"),
            ("clock", "live database"),
            ("contents", "live database"),
            ("rights", "live database"),
            ("server", "live database"),
            ("server space", "live database"),
        ],
    );
    assert_eq!(link(&document, "dump")["state"], "ok");
}

#[test]
fn a_store_whose_name_has_no_address() {
    let (scene, sshd) = (Scene::new(), Sshd::start());
    let store = sshd.toml("office", &sshd.dir);
    let store = store.replace("127.0.0.1", "nowhere.invalid");
    let setup = with_store(&scene, &store).restore("").write();
    let document = Broken {
        code: 5,
        link: "store dns",
        says: &["look up `nowhere.invalid` (stores.office)"],
        remedy: &["is the name in `stores.office` right"],
    }
    .is_named(&setup);
    let before = [
        ("store tcp", "store dns"),
        ("host key", "store tcp"),
        ("store login", "store tcp"),
    ];
    without_store(&before, &document);
}

#[test]
fn a_store_whose_port_is_closed() {
    let (sshd, _smtp, _scene, setup) = well();
    sshd.kill();
    let document = Broken {
        code: 5,
        link: "store tcp",
        says: &["(stores.office)", "refused"],
        remedy: &["host and port in `stores.office`"],
    }
    .is_named(&setup);
    let before = [("host key", "store tcp"), ("store login", "store tcp")];
    without_store(&before, &document);
}

#[test]
fn a_host_key_that_nobody_knows() {
    let (sshd, _smtp, _scene, setup) = well();
    fs::write(&sshd.known_hosts, "").expect("known_hosts");
    let document = Broken {
        code: 6,
        link: "host key",
        says: &[&sshd.fingerprint, "is not in"],
        remedy: &["backupctl trust office"],
    }
    .is_named(&setup);
    without_store(&[("store login", "host key")], &document);
}

#[test]
fn a_key_that_the_store_does_not_take() {
    let (sshd, _smtp, _scene, setup) = well();
    fs::write(sshd.home.join("authorized_keys"), "").expect("authorized_keys");
    let document = Broken {
        code: 6,
        link: "store login",
        says: &["tried private key"],
        remedy: &["check the store's `user`, `password` and `private_key`"],
    }
    .is_named(&setup);
    without_store(&[], &document);
    is_a_look(&setup, &setup.run(&["check"]));
}

#[test]
fn a_directory_that_the_store_does_not_have() {
    let (scene, sshd) = (Scene::new(), Sshd::start());
    let store = sshd.toml("office", Path::new("/nowhere/at/all"));
    let setup = with_store(&scene, &store).restore("").write();
    let document = Broken {
        code: 3,
        link: "listing",
        says: &["/nowhere/at/all"],
        remedy: &["correct the store's `path`"],
    }
    .is_named(&setup);
    skipped(&document, &NO_STORE[1..]);
}

#[test]
fn a_store_without_an_archive() {
    let scene = Scene::new();
    let document = Broken {
        code: 7,
        link: "archive",
        says: &["*.zip"],
        remedy: &[],
    }
    .is_named(&scene.with(""));
    assert_eq!(link(&document, "first MiB")["message"], "needs archive");
    assert_eq!(link(&document, "rights")["state"], "ok");
}

#[test]
fn an_archive_that_is_too_old_is_looked_into_all_the_same() {
    let scene = Scene::new();
    scene.put_old("erp.zip", &archive(), Duration::from_hours(50));
    let document = Broken {
        code: 7,
        link: "archive",
        says: &["erp.zip", "`max_age` is 1 d 12 h"],
        remedy: &["accept stale"],
    }
    .is_named(&scene.with(""));
    assert_eq!(in_state(&document, "skipped"), Vec::<&str>::new());
}

#[test]
fn an_archive_without_its_end_record() {
    let scene = Scene::new();
    let whole = archive();
    scene.put("erp.zip", &whole[..whole.len() - 30]);
    let document = Broken {
        code: 7,
        link: "end record",
        says: &["end"],
        remedy: &["the upload is not finished or was cut off"],
    }
    .is_named(&scene.with(""));
    assert_eq!(link(&document, "first MiB")["state"], "ok");
    assert_eq!(link(&document, "dump")["message"], "needs end record");
}

#[test]
fn a_dump_that_is_none() {
    let scene = Scene::new();
    let mut broken = dump().to_vec();
    broken.truncate(60);
    scene.put("erp.zip", &zip().entry("erp.dump", broken).build());
    let document = Broken {
        code: 8,
        link: "dump",
        says: &[],
        remedy: &["make and upload the dump again"],
    }
    .is_named(&scene.with(""));
    assert_eq!(link(&document, "contents")["message"], "needs dump");
}

#[test]
fn an_encrypted_archive_without_its_password() {
    let scene = Scene::with_archive();
    let setup = scene.setup().restore("zip_password = \"env:ZIP\"").write();
    let document = Broken {
        code: 3,
        link: "secret",
        says: &["restores.erp.zip_password"],
        remedy: &[],
    }
    .is_named(&setup);
    assert_eq!(link(&document, "end record")["message"], "needs secret");
    assert_eq!(link(&document, "database login")["state"], "ok");
}

#[test]
fn a_mail_server_that_refuses_the_login() {
    let (_sshd, smtp, _scene, setup) = well();
    smtp.reply_at("auth", "535 5.7.8 not you");
    Broken {
        code: 6,
        link: "mail login",
        says: &["535", "not you"],
        remedy: &["`notify.email.user`"],
    }
    .is_named(&setup);
    setup.run(&["check", "--email"]).expect(6);
    assert_eq!(smtp.mails().len(), 0);
}

#[test]
fn a_state_dir_that_everybody_may_write_to() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let state = setup.path("state");
    fs::create_dir(&state).expect("state_dir");
    fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).expect("a mode");
    let document = Broken {
        code: 3,
        link: "state_dir",
        says: &["others can write there"],
        remedy: &["chmod 700 "],
    }
    .is_named(&setup);
    assert_eq!(in_state(&document, "skipped"), Vec::<&str>::new());
}

#[test]
fn a_log_whose_directory_is_missing() {
    let scene = Scene::with_archive();
    let setup = scene.setup().part("[log]\nfile = \"logs/backupctl.log\"\n");
    Broken {
        code: 3,
        link: "log",
        says: &["logs is no directory"],
        remedy: &["mkdir -p "],
    }
    .is_named(&setup.restore("").write());
}

#[test]
fn a_bin_dir_without_pg_restore() {
    let scene = Scene::with_archive();
    let database = scene.server.toml("erp", &scene.live);
    let bin_dir = scene.server.bin_dir.display().to_string();
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&database.replace(&bin_dir, "/nowhere/bin"))
        .secret("DB_PASSWORD", &scene.server.password)
        .restore("")
        .write();
    let document = Broken {
        code: 3,
        link: "tools",
        says: &["no pg_restore was found in /nowhere/bin"],
        remedy: &["`bin_dir`"],
    }
    .is_named(&setup);
    skipped(&document, &[("pg_restore", "tools")]);
}

#[test]
fn a_budget_that_is_too_small() {
    let scene = Scene::with_archive();
    let database = scene.server.toml("erp", &scene.live) + "max_server_bytes = \"1 MiB\"\n";
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&database)
        .secret("DB_PASSWORD", &scene.server.password)
        .restore("")
        .write();
    Broken {
        code: 3,
        link: "server space",
        says: &["`max_server_bytes` is 1.0 MiB"],
        remedy: &["raise `max_server_bytes`"],
    }
    .is_named(&setup);
}

#[test]
fn a_hook_without_its_program() {
    let scene = Scene::with_archive();
    Broken {
        code: 3,
        link: "hooks",
        says: &["restores.erp.before_swap", "no-such-program"],
        remedy: &["install the program"],
    }
    .is_named(&scene.with("before_swap = [[\"no-such-program\"]]"));
}

#[test]
fn a_setting_that_the_server_does_not_know() {
    let scene = Scene::with_archive();
    let session = "[databases.erp.postgres.session]\nwork_men = \"1 GB\"\n";
    let setup = scene.setup().part(session).restore("").write();
    Broken {
        code: 3,
        link: "session",
        says: &["work_men"],
        remedy: &["databases.erp.postgres.session"],
    }
    .is_named(&setup);
}

#[test]
fn what_fails_in_several_places_is_all_named() {
    let (sshd, smtp, _scene, setup) = well();
    sshd.put("erp.zip", &packed().build()[..100]);
    smtp.reply_at("auth", "535 5.7.8 not you");
    let ran = setup.run(&["check", "--json"]).expect(7);
    let document = ran.json();
    assert_eq!(in_state(&document, "failed"), ["end record", "mail login"]);
    assert_eq!(document["verdict"], "stale");
    says(text(&document["message"]), &["failed too: mail login"]);
}

#[test]
fn a_configuration_with_faults_is_the_first_link() {
    let setup = Scene::new().with("no_such_setting = 1");
    let ran = setup.run(&["check", "--json"]).expect(3);
    let document = ran.json();
    assert_eq!(in_state(&document, "failed"), ["configuration"]);
    says(text(&document["message"]), &["no_such_setting"]);
    let ran = setup.run(&["check"]).expect(3);
    says(&ran.stdout, &["failed   configuration"]);
}
