//! `make demo`: a restore from the first key to the mail and back again, against real servers that exist only for it.
//!
//! The program starts itself once more with `$TMPDIR` in a directory of its own, and removes that directory whatever happened.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../support/mod.rs"]
mod support;

mod mail;
mod shop;
mod stage;
mod whole;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use stage::{Stage, other, say, typed};
use support::archives;
use support::postgres::Postgres;
use support::smtp::{self, Smtp};
use support::sshd::Sshd;

const NIGHT_HOURS: u64 = 6;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        None => whole::in_a_directory_of_its_own("backupctl-demo-", &[]),
        Some(directory) => {
            play(Path::new(&directory));
            ExitCode::SUCCESS
        }
    }
}

/// The servers of the demonstration.
struct Scene {
    postgres: Postgres,
    sshd: Sshd,
    smtp: Smtp,
    archive: String,
    /// The served directory under a short name.
    backups: PathBuf,
}

fn play(directory: &Path) {
    let began = Instant::now();
    say("backupctl brings a nightly database dump live: proven first, and then all at");
    say("once. This shows it on servers of its own: PostgreSQL, OpenSSH and a mail");
    say("server, on loopback, with all their files in");
    say(&format!(
        "{}, which is removed at the end.",
        directory.display()
    ));

    let scene = set(directory);
    let home = directory.join("home");
    fs::create_dir(&home).expect("the operator's directory");
    let mut stage = Stage::new(&home);
    the_state_of_things(&mut stage, &scene);
    configuration(&mut stage, &scene);
    secrets(&mut stage, &scene);
    trust(&mut stage, &scene);
    dry_run(&mut stage);
    run(&mut stage, &scene);
    received(&mut stage, &scene);
    undo(&mut stage, &scene);

    say("");
    drop(scene);
    say(&format!(
        "That was all, in {} seconds; the servers are stopped and their files removed.",
        began.elapsed().as_secs()
    ));
}

/// Starts everything: last night's shop as a ZIP on the SFTP side, and live the shop of a week ago.
fn set(directory: &Path) -> Scene {
    let postgres = Postgres::start("");
    postgres.sql("postgres", "create database shop");
    postgres.sql("shop", shop::LAST_NIGHT);
    let zip = archives::zip()
        .entry("shop.dump", postgres.dump("shop", &["-Fc", "-Z0"]))
        .build();
    postgres.sql("shop", shop::A_WEEK_BEFORE);
    let sshd = Sshd::start();
    let last_night = SystemTime::now() - Duration::from_secs(NIGHT_HOURS * 3600);
    let stamp = jiff::Timestamp::try_from(last_night).expect("a time of this century");
    let archive = format!("shop-{}.zip", stamp.strftime("%Y%m%d"));
    let path = sshd.put(&archive, &zip);
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(last_night))
        .expect("the archive's time");
    let backups = directory.join("backups");
    symlink(&sshd.dir, &backups).expect("a short name");
    Scene {
        postgres,
        sshd,
        smtp: Smtp::start(smtp::Options::default()),
        archive,
        backups,
    }
}

fn the_state_of_things(stage: &mut Stage, scene: &Scene) {
    stage.step("The live database is a week behind; last night's dump lies on SFTP");
    query(scene, shop::SUMMARY);
    say("");
    other(
        &format!("ls -gGh {}", scene.backups.display()),
        Command::new("ls")
            .args(["-gGh", &scene.archive])
            .env("LC_ALL", "C")
            .current_dir(&scene.backups),
    );
}

fn configuration(stage: &mut Stage, scene: &Scene) {
    let (sshd, postgres, smtp) = (&scene.sshd, &scene.postgres, &scene.smtp);
    for (from, to) in [(&sshd.private_key, "id_ed25519"), (&smtp.ca_file, "ca.pem")] {
        let content = fs::read_to_string(from).expect("a file of a server");
        stage.private_file(to, &content);
    }
    stage.step("One file says what comes from where and goes where");
    stage.file(
        "config.toml",
        &format!(
            "state_dir = \"state\"

[secrets]
env_file = \".env\"
key_file = \"secret.key\"

[stores.office.sftp]
host = \"127.0.0.1\"
port = {}
user = \"{}\"
private_key = \"id_ed25519\"
path = \"{}\"

[databases.shop.postgres]
host = \"127.0.0.1\"
port = {}
user = \"postgres\"
password = \"env:DB_PASSWORD\"
name = \"shop\"

[restores.shop]
from = \"office\"
pattern = \"shop-*.zip\"
into = \"shop\"
checks = [{{ sql = \"select count(*) from orders\", at_least = 1000 }}]

[notify.email]
server = \"127.0.0.1\"
port = {}
user = \"{}\"
password = \"env:SMTP_PASSWORD\"
from = \"backupctl <backup@example.org>\"
to = [\"ops@example.org\"]
ca_file = \"ca.pem\"
",
            sshd.port,
            sshd.user,
            scene.backups.display(),
            postgres.port,
            smtp.port,
            smtp::USER,
        ),
    );
}

fn secrets(stage: &mut Stage, scene: &Scene) {
    stage.step("Passwords are encrypted into .env, and named in the configuration");
    stage.backupctl(&["vault", "new-key", "secret.key"]);
    typed("umask 077");
    let lines = [
        ("DB_PASSWORD", scene.postgres.password.as_str()),
        ("SMTP_PASSWORD", smtp::PASSWORD),
    ]
    .map(|(name, secret)| stage.encrypt(name, secret));
    stage.private_file(".env", &lines.concat());
    other(
        "cut -c -72 .env",
        Command::new("cut")
            .args(["-c", "-72", ".env"])
            .current_dir(&stage.directory),
    );
}

fn trust(stage: &mut Stage, scene: &Scene) {
    stage.step("The SFTP server's host key is trusted once, knowingly");
    let ran = stage.backupctl(&["trust", "office", "--yes"]);
    assert!(ran.stderr.contains(&scene.sshd.fingerprint), "{ran}");
    say("");
    let ran = stage.backupctl(&["list"]);
    assert!(ran.stdout.contains(&scene.archive), "{ran}");
}

fn dry_run(stage: &mut Stage) {
    stage.step("What would happen? It connects, reads and plans, and changes nothing");
    stage.backupctl(&["run", "--dry-run"]);
}

fn run(stage: &mut Stage, scene: &Scene) {
    let before = summary(scene);
    stage.step("Fetch, prove, load beside the live database, check, swap, tell");
    stage.backupctl(&["run"]);
    stage.step("Last night's rows are live");
    query(scene, shop::SUMMARY);
    say("");
    query(scene, shop::NEWEST);
    assert_ne!(summary(scene), before, "the run brought other rows");
}

fn received(stage: &mut Stage, scene: &Scene) {
    stage.step("The mail as ops@example.org received it");
    let mails = scene.smtp.wait_for(1);
    assert!(mails[0].encrypted, "it came over TLS");
    mail::show(&mails[0].data);
}

fn undo(stage: &mut Stage, scene: &Scene) {
    let new = summary(scene);
    stage.step("And back: the previous database is still there");
    stage.backupctl(&["undo", "--yes"]);
    say("");
    query(scene, shop::SUMMARY);
    assert_ne!(summary(scene), new, "the undo brought the old rows back");
}

fn query(scene: &Scene, sql: &str) {
    other(
        &format!("psql shop -c \"{sql}\""),
        scene
            .postgres
            .tool("psql", "shop")
            .args(["-X", "-P", "footer=off", "-c", sql]),
    );
}

fn summary(scene: &Scene) -> String {
    scene.postgres.value("shop", shop::SUMMARY)
}
