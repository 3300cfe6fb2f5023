//! How the database's secret may come, and that none is needed where the server asks for none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::archives;
use crate::support::postgres::Postgres;
use crate::support::program::{Ran, Setup};
use crate::support::shop::Shop;

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

/// An installation whose database has this `password` setting; the password itself lies in `directory/password`.
fn with_password(setting: &str) -> (Shop, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    fs::write(&file, format!("{}\n", Postgres::shared().password)).expect("a file");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a private file");
    let setting = setting.replace("DIR", &directory.path().display().to_string());
    let shop = Shop::new("");
    let config = fs::read_to_string(shop.setup.path("config.toml")).expect("config.toml");
    assert!(config.contains("password = \"env:DB_PASSWORD\""));
    let config = config.replace(
        "password = \"env:DB_PASSWORD\"",
        &format!("password = {setting}"),
    );
    fs::write(shop.setup.path("config.toml"), config).expect("config.toml");
    shop.offer("erp.zip", "new", 5);
    (shop, directory)
}

#[test]
fn the_password_may_be_what_a_command_prints() {
    let (shop, _directory) = with_password(r#""command:sh -c 'cat \"DIR/password\"'""#);
    let report = shop.refreshed();
    assert_eq!(shop.row(), "new");
    assert!(!warnings(&report).contains("command:"), "{report}");
}

#[test]
fn references_are_tried_in_order_and_a_failing_command_is_told() {
    let (shop, _directory) = with_password(
        r#"["env:NOT_THERE", "file:DIR/missing", "command:false", "file:DIR/password"]"#,
    );
    let report = shop.refreshed();
    assert_eq!(shop.row(), "new");
    let told = "databases.erp.postgres.password: `command:false` gave no secret: exit code 1";
    assert!(warnings(&report).contains(told), "{report}");
}

#[test]
fn a_command_that_fails_alone_is_config_before_anything_begins() {
    let (shop, _directory) =
        with_password(r#""command:sh -c 'cat DIR/password; echo is locked >&2; exit 4'""#);
    let ran = shop.run(&["run", "--json"]).expect(3);
    let told = "`command:sh` gave no secret: exit code 4: is locked";
    assert!(ran.stdout.contains(told), "{ran}");
    assert!(!format!("{ran}").contains(&shop.server.password), "{ran}");
    assert_eq!(shop.row(), "old");
}

#[test]
fn a_signal_ends_the_wait_for_a_command() {
    let (shop, directory) = with_password(r#""command:sh -c 'touch DIR/begun; sleep 25'""#);
    let running = shop.setup.start(&["run", "--json"]);
    super::until("the command runs", || {
        directory.path().join("begun").exists()
    });
    let begun = std::time::Instant::now();
    running.signal(rustix::process::Signal::TERM);
    running.finish().expect(143);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(shop.row(), "old");
}

/// A server that lets the operating system's user in over its socket, and asks nobody else's name.
fn server_with_peer(user: &str) -> Postgres {
    let server = Postgres::start_with("", |data| {
        let rules = "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("pg_hba.conf");
    });
    server.sql(
        "postgres",
        &format!("create role \"{user}\" superuser login"),
    );
    server
}

#[test]
fn over_a_socket_the_operating_systems_user_needs_no_password() {
    let user = Command::new("id").arg("-un").output().expect("id runs");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let server = server_with_peer(&user);
    let live = server.database("erp");
    server.sql(
        &live,
        "create table t (v text); insert into t values ('new')",
    );
    let store = tempfile::tempdir().expect("a store");
    let zip = archives::zip().entry("erp.dump", server.dump(&live, &["-Fc"]));
    fs::write(store.path().join("erp.zip"), zip.build()).expect("an archive");
    server.sql(&live, "update t set v = 'old'");

    let database = format!(
        "[databases.erp.postgres]\nhost = \"{}\"\nport = {}\nuser = \"{user}\"\nname = \"{live}\"\nbin_dir = \"{}\"\n",
        server.socket_dir.display(),
        server.port,
        server.bin_dir.display()
    );
    let setup = Setup::new()
        .local(store.path())
        .part(&database)
        .restore("")
        .write();
    let ran: Ran = setup.run(&["run", "--json"]);

    ran.expect(0);
    assert_eq!(server.value(&live, "select v from t"), "new");
}
