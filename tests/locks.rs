//! One run per job, one restore per live database, one owner of the state directory; and what a run leaves on the machine.

mod log;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backupctl::lock::{Holder, hold};
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;

use crate::support::program::{self, Running, Setup};
use crate::support::shop::Shop;
use crate::support::smtp::{Options, Smtp};

fn add(setup: &Setup, line: &str) {
    let path = setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(path, format!("{config}\n{line}\n")).expect("config.toml");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "not in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A run that waits in its swap until the file `go` is there.
fn held_in_swap(shop: &Shop) -> Running {
    let (here, go) = (shop.setup.path("here"), shop.setup.path("go"));
    let script = format!(
        "touch {}; until [ -e {} ]; do sleep 0.02; done",
        here.display(),
        go.display()
    );
    add(
        &shop.setup,
        &format!("before_swap = [[\"sh\", \"-c\", \"{script}\"]]"),
    );
    let running = shop.setup.start(&["run", "--json"]);
    until("the swap begins", || here.exists());
    running
}

fn let_go(shop: &Shop, running: Running) -> serde_json::Value {
    fs::write(shop.setup.path("go"), "").expect("go");
    running.finish().expect(0).json()
}

#[test]
fn a_second_run_learns_who_works_and_leaves_neither_report_nor_mail() {
    // given
    let smtp = Smtp::start(Options::default());
    let shop = Shop::with("", |setup| setup.mail(&smtp, &["ops@example.org"]));
    shop.offer("a.zip", "new", 10);
    let first = held_in_swap(&shop);
    let reports = shop.setup.reports().len();

    // when
    let second = shop.run(&["run", "--json"]).expect(4);
    let undo = shop.run(&["undo", "--yes"]).expect(4);
    let dry = shop.run(&["run", "-n"]).expect(4);
    let listed = shop.run(&["list"]).expect(0);

    // then
    let report = second.json();
    assert_eq!(report["verdict"], "locked");
    let message = report["message"].as_str().expect("a message");
    assert!(
        message.contains(&format!("pid {}", first.pid())),
        "{message}"
    );
    assert!(
        message.contains("started 20") && message.contains("in step swap"),
        "{message}"
    );
    for ran in [undo, dry] {
        assert!(ran.stderr.contains("in step swap"), "{ran}");
        assert_eq!(ran.stdout, "", "{ran}");
    }
    assert!(listed.stdout.contains("a.zip"), "{listed}");
    assert_eq!(shop.setup.reports().len(), reports);
    let done = let_go(&shop, first);
    assert_eq!(smtp.wait_for(1).len(), 1, "only the first run's mail");
    assert_eq!(
        shop.setup.reports().pop().expect("a report")["run"],
        done["run"]
    );
}

#[test]
fn a_lock_that_is_held_far_too_long_is_worth_a_mail() {
    // given
    let smtp = Smtp::start(Options::default());
    let shop = Shop::with("stall = \"10m\"", |setup| {
        setup.mail(&smtp, &["ops@example.org"])
    });
    let state = shop.setup.path("state");
    shop.run(&["undo", "--yes"]).expect(10);
    let held_for = |minutes| Holder {
        pid: std::process::id(),
        run: "20260101-000000-abcd".to_owned(),
        command: "run".to_owned(),
        started: Timestamp::now() - SignedDuration::from_mins(minutes),
    };

    // when, then
    let lock = hold(&state, "erp", &held_for(59)).expect("a free lock");
    shop.run(&["run"]).expect(4);
    drop(lock);
    assert!(smtp.mails().is_empty());
    let _lock = hold(&state, "erp", &held_for(61)).expect("a free lock");
    shop.run(&["run"]).expect(4);
    let mail = smtp.wait_for(1).remove(0).data;
    assert!(mail.contains("Subject: [backupctl] erp: locked"), "{mail}");
}

#[test]
fn of_fifty_runs_at_once_one_works() {
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);
    let first = held_in_swap(&shop);

    let others: Vec<Running> = (0..49).map(|_| shop.setup.start(&["run"])).collect();

    for other in others {
        other.finish().expect(4);
    }
    let_go(&shop, first);
    assert_eq!(shop.row(), "new");
    assert_eq!(shop.databases().len(), 2);
    assert_eq!(shop.setup.reports().len(), 1);
}

#[test]
fn a_killed_run_leaves_no_lock_and_the_next_one_names_it() {
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);
    let first = held_in_swap(&shop);
    let died = shop.setup.reports().pop().expect("a report")["run"].clone();
    first.signal(Signal::KILL);
    assert_eq!(first.finish().code, None);

    fs::write(shop.setup.path("go"), "").expect("go");
    let report = shop.run(&["run", "--json"]).expect(0).json();

    let warnings = report["warnings"].to_string();
    let died = died.as_str().expect("an id");
    assert!(
        warnings.contains(died) && warnings.contains("swap"),
        "{warnings}"
    );
    assert_eq!(shop.row(), "new");
    assert_eq!(shop.databases().len(), 2, "{:?}", shop.databases());
}

#[test]
fn another_machine_that_restores_the_same_database_is_locked_out_by_the_server() {
    // given: the same configuration with a state directory of its own
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);
    let config = fs::read_to_string(shop.setup.path("config.toml")).expect("config.toml");
    let elsewhere = config.replace("state_dir = \"state\"", "state_dir = \"elsewhere\"");
    fs::write(shop.setup.path("other.toml"), elsewhere).expect("other.toml");
    shop.refreshed();
    let first = held_in_swap(&shop);

    // when
    for arguments in [
        &["-c", "other.toml", "run"][..],
        &["-c", "other.toml", "undo", "--yes"],
    ] {
        let ran = shop.setup.program.run(arguments).expect(4);

        // then
        assert!(ran.stderr.contains(&shop.live), "{ran}");
        assert!(ran.stderr.contains("backupctl/20"), "who holds it: {ran}");
    }
    let_go(&shop, first);
    shop.setup
        .program
        .run(&["-c", "other.toml", "run"])
        .expect(0);
}

/// `undo` needs the state directory before anything else.
fn judged(setup: &Setup) -> crate::support::program::Ran {
    setup.run(&["undo", "--yes"])
}

fn unreachable() -> Setup {
    Setup::new()
        .part("[network]\nattempts = 1\n")
        .local("/".as_ref())
        .part("[databases.erp.postgres]\nhost = \"127.0.0.1\"\nport = 1\nuser = \"nobody\"\nname = \"erp\"\n")
        .restore("")
        .write()
}

#[test]
fn a_state_directory_that_is_a_link_or_open_to_others_is_refused_and_left_alone() {
    let setup = unreachable();
    let (state, real) = (setup.path("state"), setup.path("real"));
    fs::create_dir(&real).expect("a directory");

    symlink(&real, &state).expect("a symlink");
    let linked = judged(&setup).expect(3);
    fs::remove_file(&state).expect("the symlink");
    fs::create_dir(&state).expect("a directory");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("its mode");
    let open = judged(&setup).expect(3);
    let dry = setup.run(&["undo", "-n"]).expect(3);

    assert!(linked.stderr.contains("symlink"), "{linked}");
    for ran in [open, dry] {
        assert!(
            ran.stderr
                .contains(&format!("chmod 700 {}", state.display())),
            "{ran}"
        );
    }
    assert_eq!(fs::read_dir(&real).expect("listed").count(), 0);
    assert_eq!(fs::read_dir(&state).expect("listed").count(), 0);
}

#[test]
fn a_state_directory_of_somebody_else_is_refused_with_the_sudo_line() {
    // given: root can give it away; anybody else finds one of root's
    let setup = unreachable();
    let (state, owner) = if rustix::process::geteuid().is_root() {
        let state = setup.path("state");
        fs::create_dir(&state).expect("a directory");
        chown(&state, Some(12_345), None).expect("chown");
        (state, "'#12345'")
    } else {
        (PathBuf::from("/root"), "root")
    };
    let path = setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(
        &path,
        config.replace("\"state\"", &format!("\"{}\"", state.display())),
    )
    .expect("config.toml");

    // when
    let ran = judged(&setup).expect(3);

    // then
    assert!(ran.stderr.contains(&format!("sudo -u {owner} ")), "{ran}");
    assert!(ran.stderr.contains("-c config.toml undo --yes"), "{ran}");
    assert_ne!(
        fs::metadata(&state).expect("it").uid(),
        rustix::process::geteuid().as_raw()
    );
}

fn everything_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            everything_below(&path, found);
        }
        found.push(path);
    }
}

/// Runs it as a crontab does that lets everybody in: nothing but the program's own care keeps its files private.
fn without_umask(shop: &Shop, arguments: &[&str]) {
    let ran = std::process::Command::new("sh")
        .args(["-c", "umask 000; exec \"$0\" -c config.toml \"$@\""])
        .arg(program::binary())
        .args(arguments)
        .current_dir(shop.setup.path("."))
        .env_clear()
        .output();
    assert!(
        ran.expect("a shell")
            .status
            .code()
            .is_some_and(|code| code != 101)
    );
}

#[test]
fn a_missing_state_directory_is_made_and_everything_in_it_is_private() {
    // given: a log, and a mail server that nobody runs, so that a report waits as well
    let shop = Shop::with("keep_archives = 2", |setup| {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(setup.path("log"))
            .expect("a directory");
        setup.part("[log]\nfile = \"log/backupctl.log\"\n").part(
            "[notify.email]\nserver = \"127.0.0.1\"\nport = 1\nsecurity = \"none\"\n\
             from = \"backupctl@example.org\"\nto = [\"ops@example.org\"]\n",
        )
    });

    // when: a run that is good, one that fails in its check, an undo, and the steps by hand
    shop.offer("a.zip", "new", 10);
    without_umask(&shop, &["run"]);
    shop.offer("b.zip", "newer", 5);
    without_umask(&shop, &["fetch"]);
    without_umask(&shop, &["unzip"]);
    without_umask(&shop, &["restore"]);
    without_umask(&shop, &["undo", "--yes"]);
    fs::write(shop.store.path().join("c.zip"), "broken").expect("a broken archive");
    without_umask(&shop, &["run"]);

    // then
    let mut found = vec![shop.setup.path("state")];
    everything_below(&shop.setup.path("state"), &mut found);
    everything_below(&shop.setup.path("log"), &mut found);
    found.retain(|path| !path.is_symlink());

    assert!(found.len() > 8, "{found:?}");
    for path in found {
        let meta = fs::symlink_metadata(&path).expect("it");
        let expected = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            meta.permissions().mode() & 0o7777,
            expected,
            "{}",
            path.display()
        );
    }
}

#[test]
fn neither_a_listing_nor_a_dry_run_leaves_anything_on_the_machine() {
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);

    shop.run(&["run", "--dry-run"]).expect(0);
    shop.run(&["list"]).expect(0);

    assert!(!shop.setup.path("state").exists());
}
