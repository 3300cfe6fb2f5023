//! Secrets stay secret: a canary in each of them is looked for in everything that a run says, writes and starts.

pub mod hunt;

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::faults::world::{Archive, Slow, archive, server};
use crate::run::dump_of;
use crate::support::packers::seven_zip;
use crate::support::program::{Ran, Setup};
use crate::support::scripted_sftp::{Script, ScriptedSftp};
use crate::support::smtp::{self, Smtp};
use crate::support::sshd::{self, Sshd};
use hunt::{Hunt, hunted};

// Each with a core of letters and digits, which no way of escaping changes.
const DB: &str = "pa'ss\"wo$HOME ${rd} \\CANARYdb7f3a9c:%41#";
const WRONG_DB: &str = "CANARYwrongdb5e1 '\\:";
const PASSPHRASE: &str = "it's CANARYphrase0b2 \\ \"$x:";
const SFTP: &str = "CANARYsftp99ab \" ' $(x) \\:";
const MAIL: &str = "CANARYmail4411 \" ' $(x) \\:";
const ZIP: &str = "CANARYzip77c \" ' $(x) \\:";
const MAILBOX: &str = "backup@example.org";

/// Everything with a secret: key with passphrase, database role with password, mail with login, an encrypted env file.
struct Installation {
    sshd: Sshd,
    smtp: Smtp,
    live: String,
    role: String,
    new: Archive,
}

impl Installation {
    fn new() -> Self {
        let sshd = Sshd::with(&sshd::Options {
            user_key: ("ed25519", PASSPHRASE),
            ..sshd::Options::default()
        });
        let smtp = Smtp::start(smtp::Options {
            auth: Some((MAILBOX, MAIL)),
            ..smtp::Options::default()
        });
        let new = archive(server(), "new", Slow::default());
        sshd.put("erp.zip", &new.zip);
        let live = server().database("secret");
        server().sql(&live, "create table item (n int)");
        let role = server().role(
            "keeper",
            &format!("superuser login password '{}'", DB.replace('\'', "''")),
        );
        Self {
            sshd,
            smtp,
            live,
            role,
            new,
        }
    }

    /// Each of the four secrets as given; `more` of the configuration.
    fn setup(&self, [db, passphrase, mail]: [&str; 3], job: &str) -> Setup {
        let store = self.sshd.toml("office", &self.sshd.dir);
        let database = server()
            .toml("erp", &self.live)
            .replace("\"postgres\"", &format!("\"{}\"", self.role));
        Setup::new()
            .part("[log]\nfile = \"all.log\"\nlevel = \"trace\"\nformat = \"json\"\n")
            .part("[network]\nattempts = 2\nwait = \"200ms\"\ntimeout = \"3s\"\n")
            .part(&format!("{store}passphrase = \"env:SFTP_PASSPHRASE\"\n"))
            .part(&database)
            .part(&self.smtp.toml(&["ops@example.org"]))
            .secret("DB_PASSWORD", db)
            .secret("SFTP_PASSPHRASE", passphrase)
            .secret("SMTP_PASSWORD", mail)
            .restore(job)
    }

    fn run(&self, setup: &Setup) -> Ran {
        hunted(setup, &["-vv", "run", "--json"], &self.smtp)
    }
}

const RIGHT: [&str; 3] = [DB, PASSPHRASE, MAIL];

#[test]
fn a_run_that_ends_well_shows_no_secret_anywhere() {
    let all = Installation::new();
    let ran = all.run(
        &all.setup(RIGHT, "before_swap = [[\"sleep\", \"0.2\"]]")
            .write(),
    );
    ran.expect(0);
    assert_eq!(server().content_hash(&all.live), all.new.hash);
}

#[test]
fn the_hunt_finds_a_secret_in_every_form() {
    let hunt = Hunt::default();
    for shown in [
        DB.to_owned(),
        format!("{DB:?}"),
        serde_json::json!(DB).to_string(),
        hunt::base64(DB.as_bytes()),
        hunt::base64(format!("\0{MAILBOX}\0{MAIL}").as_bytes()),
        hunt::quoted_printable_of(DB),
    ] {
        assert!(hunt.found_in(shown.as_bytes()).is_some(), "{shown}");
    }
    assert_eq!(hunt.found_in(b"nothing of the kind"), None);
}

#[test]
fn wrong_secrets_are_refused_and_not_shown() {
    let all = Installation::new();
    for (secrets, code) in [
        ([WRONG_DB, PASSPHRASE, MAIL], 6),
        ([DB, "CANARYphrase wrong", MAIL], 3),
        ([DB, PASSPHRASE, "CANARYmail wrong"], 12),
    ] {
        let ran = all.run(&all.setup(secrets, "").write());
        ran.expect(code);
    }
}

#[test]
fn a_password_for_the_store_is_not_shown_whether_it_is_right_or_wrong() {
    let all = Installation::new();
    for (password, code) in [(SFTP, 7), ("CANARYsftp wrong", 6)] {
        let store = ScriptedSftp::start(Script {
            password: SFTP.to_owned(),
            ..Script::default()
        });
        let setup = all.setup(RIGHT, "");
        let setup = setup.secret("SFTP_PASSWORD", password).write();
        let config = fs::read_to_string(setup.path("config.toml")).expect("config.toml");
        let from = config.find("[stores.office.sftp]").expect("a store");
        let to = config[from..].find("\n\n").expect("its end") + from;
        let other = format!(
            "[stores.office.sftp]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"me\"\npassword = \"env:SFTP_PASSWORD\"\npath = \"/\"\nknown_hosts = \"{}\"\n",
            store.port,
            store.known_hosts.display()
        );
        let config = [&config[..from], &other, &config[to..]].concat();
        fs::write(setup.path("config.toml"), config).expect("config.toml");
        all.run(&setup).expect(code);
    }
}

#[test]
fn the_password_of_an_archive_is_not_shown_whether_it_is_right_or_wrong() {
    let all = Installation::new();
    let restored = "zip_password = \"env:ZIP_PASSWORD\"\nbefore_swap = [[\"sleep\", \"0.2\"]]";
    for (encryption, job) in [
        ("AES256", restored.to_owned()),
        ("ZipCrypto", format!("{restored}\nstream = true")),
    ] {
        let dump = dump_of("create table item (n int)", &["-Fc"]);
        let archive = seven_zip(encryption, ZIP, &dump);
        all.sshd.put("erp.zip", &archive);
        for (password, code) in [(ZIP, 0), ("CANARYzip wrong", 3)] {
            let setup = all.setup(RIGHT, &job).secret("ZIP_PASSWORD", password);
            all.run(&setup.write()).expect(code);
        }
    }
}

#[test]
fn a_mail_server_that_repeats_the_login_is_not_repeated() {
    let all = Installation::new();
    for reply in [
        "535 5.7.8 wrong: ARGUMENTS",
        "235 2.7.0 welcome ARGUMENTS",
        "421 4.7.0 ARGUMENTS",
    ] {
        all.smtp.reply_at("auth", reply);
        let ran = all.run(&all.setup(RIGHT, "").write());
        assert!([Some(0), Some(12)].contains(&ran.code), "{ran}");
    }
}

#[test]
fn tls_that_can_not_be_trusted_ends_before_a_secret_is_sent() {
    let all = Installation::new();
    let strict = |setup: &Setup, from: &str, to: &str| {
        let config = fs::read_to_string(setup.path("config.toml")).expect("config.toml");
        assert!(config.contains(from));
        fs::write(setup.path("config.toml"), config.replace(from, to)).expect("config.toml");
    };
    // The server has no TLS.
    let setup = all.setup(RIGHT, "").write();
    strict(&setup, "bin_dir", "sslmode = \"verify-full\"\nbin_dir");
    let ran = all.run(&setup);
    assert!([Some(3), Some(6)].contains(&ran.code), "{ran}");
    // The mail server's authority is not known.
    let other = Smtp::start(smtp::Options::default());
    let setup = all.setup(RIGHT, "").write();
    strict(
        &setup,
        &all.smtp.ca_file.display().to_string(),
        &other.ca_file.display().to_string(),
    );
    all.run(&setup).expect(12);
}

#[test]
fn what_a_hook_or_a_check_says_is_scrubbed_in_report_log_and_mail() {
    // given: a hook that shows the password of the database
    let all = Installation::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = elsewhere.path().join("shown");
    fs::write(&file, format!("{DB}\n")).expect("a file");
    let hook = format!(
        "before_swap = [[\"sh\", \"-c\", \"cat {}; exit 1\"]]",
        file.display()
    );

    // then
    let ran = all.run(&all.setup(RIGHT, &hook).write()).expect(10);
    assert!(ran.stdout.contains("<secret>"), "{ran}");

    // given: a check that gives it, and one whose error quotes it
    for sql in [
        format!("select pg_read_file('{}')", file.display()),
        format!("select pg_read_file('{}')::int", file.display()),
    ] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(elsewhere.path(), mode).expect("a directory for all");
        let check = format!("[[restores.erp.checks]]\nsql = \"{sql}\"\nat_least = 1");
        let ran = all.run(&all.setup(RIGHT, &check).write());
        assert!([Some(3), Some(10)].contains(&ran.code), "{ran}");
    }
}

#[test]
fn a_run_that_is_ended_or_killed_shows_no_secret() {
    let all = Installation::new();
    for signal in [Signal::TERM, Signal::KILL] {
        let setup = all
            .setup(RIGHT, "before_swap = [[\"sleep\", \"5\"]]")
            .write();
        let hunt = Hunt::of(&setup);
        let running = setup.start(&["-vv", "run", "--json"]);
        let watch = hunt.watch(running.pid());
        std::thread::sleep(Duration::from_millis(1200));
        running.signal(signal);
        let ran = running.finish();
        watch.finish();
        hunt.search(&ran, &setup, &all.smtp);
    }
}
