//! SIGINT and SIGTERM in every step: the run ends in order and soon, and says so.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::kills::CHECKED;
use super::link::{long_inside, strike, until_the_download};
use super::world::{ORDERLY_END, Slow, World, archive, server, step_verdict, wait};
use crate::support::archives;
use crate::support::program::{Ran, Running};
use crate::support::smtp::{self, Smtp};
use crate::support::sshd::{Fault, Sshd};

const NOBODY: &[&str] = &[];

/// Sends the signal and waits for the end, which comes soon.
fn ended_by(signal: Signal, running: Running) -> Ran {
    let clock = Instant::now();
    running.signal(signal);
    let ran = running.finish();
    assert!(
        clock.elapsed() < ORDERLY_END,
        "{:?}\n{ran}",
        clock.elapsed()
    );
    ran
}

/// The run was in `step`, is told to end, and has changed nothing.
fn interrupted_in(step: &str, signal: Signal, world: &World) -> Value {
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step(step, &mut running);
    interrupted(step, signal, world, running)
}

fn interrupted(step: &str, signal: Signal, world: &World, running: Running) -> Value {
    // when
    let ran = ended_by(signal, running);

    // then
    let code = if signal == Signal::INT { 130 } else { 143 };
    let ran = ran.expect(code);
    let report = world.report();
    assert_eq!(report["verdict"], "interrupted", "{report:#}");
    assert_eq!(step_verdict(&report, step), Some("interrupted"));
    world.ended(&ran);
    assert_eq!(world.live_hash(), world.old);
    assert_eq!(world.previous_databases(), NOBODY);
    assert_eq!(children_at_work(world), "0");
    report
}

/// Backends of any run in databases of this world.
fn children_at_work(world: &World) -> String {
    server().value(
        "postgres",
        &format!(
            "select count(*) from pg_stat_activity where application_name like 'backupctl/%' and datname like '{}%'",
            world.live
        ),
    )
}

fn slow(slow: Slow) -> World {
    let world = World::new(CHECKED);
    world.offer(&archive(server(), "slow", slow));
    world
}

#[test]
fn a_signal_while_a_server_is_awaited_ends_the_wait() {
    let sshd = Sshd::start();
    let world = World::with("", |setup, _| setup.sftp(&sshd));
    let config = std::fs::read_to_string(world.setup.path("config.toml")).expect("config.toml");
    let patient = config.replace("wait = \"200ms\"", "wait = \"5m\"");
    std::fs::write(world.setup.path("config.toml"), patient).expect("config.toml");
    sshd.kill();
    interrupted_in("network", Signal::TERM, &world);
}

#[test]
fn a_signal_while_an_archive_settles_ends_the_run() {
    let world = World::new("settle = \"5m\"");
    world.offer(&archive(server(), "new", Slow::default()));
    interrupted_in("fetch", Signal::INT, &world);
}

#[test]
fn a_signal_while_a_download_stalls_ends_the_run_soon() {
    for keep in ["keep_archives = 1", "keep_archives = 0"] {
        // given
        let sshd = Sshd::start();
        let world = World::with(keep, |setup, _| setup.sftp(&sshd));
        sshd.put("erp.zip", &long_inside("new", 3 << 20).zip);
        // Only the timeout for "no bytes" ends this otherwise.
        let config = std::fs::read_to_string(world.setup.path("config.toml")).expect("config.toml");
        let patient = config.replace("timeout = \"2s\"", "timeout = \"1m\"");
        std::fs::write(world.setup.path("config.toml"), patient).expect("config.toml");
        strike(&sshd, Fault::StallAfter(1_500_000));

        // when: what is unpacked comes out of what is downloaded
        let mut running = world.setup.start(&["run"]);
        until_the_download(&world, &mut running);

        // then
        interrupted("fetch", Signal::TERM, &world, running);
    }
}

#[test]
fn a_signal_while_unzipping_removes_what_was_unpacked() {
    // given: a dump with 600 MiB of zeros behind it
    let world = World::new("");
    let dump = server().dump(&world.live, &["-Fc"]);
    let zip = archives::zip().entry("erp.dump", dump).stored();
    let file = std::fs::File::create(world.store.join("erp.zip")).expect("an archive");
    zip.and_zeros(600 << 20).write_to(&mut &file);

    world.setup.run(&["fetch"]).expect(0);

    // when
    let mut running = world.setup.start(&["unzip"]);
    world.wait_for_step("unzip", &mut running);

    // then
    interrupted("unzip", Signal::TERM, &world, running);
    std::fs::remove_file(world.store.join("erp.zip")).expect("removed");
    world.recovers(&archive(server(), "new", Slow::default()));
}

#[test]
fn a_signal_while_loading_stops_pg_restore_and_drops_the_scratch_database() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = slow(Slow {
            index: 60.0,
            check: 0.0,
        });
        let mut running = world.setup.start(&["run"]);
        wait("the index is being built", || {
            assert!(running.is_alive());
            let query = format!(
                "select count(*) from pg_stat_activity where query like 'CREATE INDEX%calm%' and datname like '{}_new_%'",
                world.live
            );
            (server().value("postgres", &query) == "1").then_some(())
        });
        interrupted("restore", signal, &world, running);
    }
}

#[test]
fn a_signal_while_checking_drops_the_scratch_database() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = slow(Slow {
            index: 0.0,
            check: 60.0,
        });
        interrupted_in("check", signal, &world);
        world.recovers(&archive(server(), "new", Slow::default()));
    }
}

#[test]
fn a_signal_while_before_swap_runs_ends_it_and_still_runs_after_swap() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let started_again = elsewhere.path().join("started-again");
    let world = World::new(&format!(
        "hook_timeout = \"50s\"\nbefore_swap = [[\"sleep\", \"40\"]]\nafter_swap = [[\"touch\", \"{}\"]]",
        started_again.display()
    ));
    world.offer(&archive(server(), "new", Slow::default()));
    interrupted_in("swap", Signal::TERM, &world);
    assert!(started_again.exists(), "what was stopped is started again");
}

#[test]
fn a_signal_while_sessions_are_waited_for_ends_the_wait() {
    let world = World::new("sessions = \"wait\"\nsessions_timeout = \"50s\"");
    world.offer(&archive(server(), "new", Slow::default()));
    let session = server().session(&world.live, "select 1");
    interrupted_in("swap", Signal::INT, &world);
    drop(session);
}

#[test]
fn a_signal_while_after_swap_runs_finds_the_new_database_live_and_the_report_says_so() {
    // given
    let world = World::new("after_swap = [[\"sleep\", \"2\"]]");
    let new = archive(server(), "new", Slow::default());
    world.offer(&new);

    // when
    let mut running = world.setup.start(&["run"]);
    wait("the swap", || {
        assert!(running.is_alive());
        (world.previous_databases().len() == 1).then_some(())
    });
    let ran = ended_by(Signal::TERM, running);

    // then
    assert_eq!(world.live_hash(), new.hash);
    let report = world.report();
    assert_eq!(step_verdict(&report, "swap"), Some("done"), "{report:#}");
    assert_eq!(
        report["database"]["previous"],
        world.previous_databases()[0].as_str()
    );
    world.ended(&ran);
}

#[test]
fn a_signal_during_one_job_keeps_the_next_from_beginning() {
    // given: a second job of the same kind
    let world = World::with("after_swap = [[\"sleep\", \"2\"]]", |setup, store| {
        setup.local(store).part(
            "[restores.crm]\nfrom = \"office\"\npattern = \"crm*.zip\"\ninto = \"erp\"\njobs = 1\n",
        )
    });
    world.offer(&archive(server(), "new", Slow::default()));

    // when
    let mut running = world.setup.start(&["run", "erp", "crm"]);
    wait("the swap", || {
        assert!(running.is_alive());
        (world.previous_databases().len() == 1).then_some(())
    });
    let ran = ended_by(Signal::TERM, running).expect(143);

    // then
    assert!(ran.stderr.contains("job crm was not begun"), "{ran}");
    assert_eq!(world.setup.reports().len(), 1);
    assert_eq!(world.report()["verdict"], "done");
}

#[test]
fn a_signal_at_any_moment_leaves_the_old_or_the_new_database_and_a_true_report() {
    // given
    let smtp = Smtp::start(smtp::Options::default());
    let world = World::with(CHECKED, |setup, store| {
        setup.local(store).mail(&smtp, &["ops@example.org"])
    });
    let archives = [
        archive(server(), "even", Slow::default()),
        archive(server(), "odd", Slow::default()),
    ];
    world.recovers(&archives[0]);
    let clock = Instant::now();
    world.recovers(&archives[1]);
    let whole = clock.elapsed();
    let mut live = 1;
    for round in 0..12 {
        // when
        world.offer(&archives[1 - live]);
        let mails = smtp.mails().len();
        let reports = world.setup.reports();
        let running = world.setup.start(&["run", "--json"]);
        std::thread::sleep(Duration::from_millis(60) + whole.mul_f64(f64::from(round) / 13.0));
        let ran = ended_by(Signal::TERM, running);

        // then
        let hash = world.live_hash();
        if ran.code.is_none() {
            // A busy machine starts it so late that nobody listened yet: then nothing has begun either.
            assert_eq!(world.setup.reports(), reports, "{ran}");
            assert_eq!(hash, archives[live].hash, "{ran}");
            continue;
        }
        let is_new = hash == archives[1 - live].hash;
        assert!(is_new || hash == archives[live].hash, "{ran}");
        world.ended(&ran);
        let report = ran.json();
        let code = ran.code.expect("an exit code");
        if is_new {
            assert_eq!(step_verdict(&report, "swap"), Some("done"), "{report:#}");
            assert!([0, 143].contains(&code), "{report:#}");
            live = 1 - live;
        } else {
            assert_eq!(code, 143, "{report:#}");
        }
        assert_eq!(smtp.wait_for(mails + 1).len(), mails + 1, "{report:#}");
    }
}

#[test]
fn a_signal_while_the_mail_server_dawdles_ends_the_run_soon() {
    // given
    let smtp = Smtp::start(smtp::Options {
        delay: Duration::from_secs(20),
        ..smtp::Options::default()
    });
    let world = World::with("", |setup, store| {
        setup.local(store).mail(&smtp, &["ops@example.org"])
    });
    let new = archive(server(), "new", Slow::default());
    world.offer(&new);

    // when
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step("notify", &mut running);
    let ran = ended_by(Signal::TERM, running).expect(12);

    // then: the data is live, a duty is open
    assert_eq!(world.live_hash(), new.hash);
    world.ended(&ran);
}

/// A mail server that lets everybody wait, and a job that mails failures through it.
fn dawdling(lines: &str) -> (Smtp, World) {
    let smtp = Smtp::start(smtp::Options {
        delay: Duration::from_secs(20),
        ..smtp::Options::default()
    });
    let world = World::with(lines, |setup, store| {
        setup
            .local(store)
            .mail(&smtp, &["ops@example.org"])
            .part("[notify]\non = \"failure\"\n")
    });
    (smtp, world)
}

#[test]
fn a_second_signal_ends_the_wait_for_the_mail_server() {
    let (_smtp, world) = dawdling("");
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step("notify", &mut running);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    running.finish().expect(7);

    let report = world.report();
    let told = report["notified"][0]["message"].as_str().expect("why");
    assert!(told.contains("a second signal"), "{report:#}");
}

#[test]
fn a_signal_while_earlier_reports_are_mailed_ends_the_run_soon() {
    // given: a report that nobody has
    let (_smtp, world) = dawdling("");
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step("notify", &mut running);
    ended_by(Signal::TERM, running).expect(7);

    // when: a run that would be told to nobody sends it
    let new = archive(server(), "new", Slow::default());
    world.offer(&new);
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step("notify", &mut running);
    let ran = ended_by(Signal::TERM, running).expect(0);

    // then
    assert_eq!(world.live_hash(), new.hash);
    world.ended(&ran);
}

#[test]
fn a_signal_ends_notify_at_once() {
    // given: a mail server that says nothing
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("its address").port();
    let world = World::with("", |setup, store| {
        setup.local(store).part(&format!(
            "[notify.email]\nserver = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"b@example.org\"\nto = [\"ops@example.org\"]\n"
        ))
    });
    let running = world.setup.start(&["notify", "--test"]);
    let connected = silent.accept().expect("a client");
    ended_by(Signal::INT, running).expect(130);
    drop(connected);
}

#[test]
fn a_second_signal_ends_the_cleaning_up_and_the_next_run_does_it() {
    // given: a server on which nothing can be dropped for now
    let own = Box::leak(Box::new(crate::support::postgres::Postgres::start("")));
    let world = World::on(own, CHECKED);
    let check = Slow {
        check: 60.0,
        ..Slow::default()
    };
    world.offer(&archive(own, "slow", check));
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step("check", &mut running);
    let holding = own.session(
        "postgres",
        "begin; lock table pg_database in share mode; select 'held'",
    );

    // when
    running.signal(Signal::TERM);
    wait("the drop waits", || {
        let waiting = own.value(
            "postgres",
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'drop database%'",
        );
        (waiting != "0").then_some(())
    });
    running.signal(Signal::TERM);
    running.finish().expect(143);

    // then
    let report = world.report();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("a second signal has ended"), "{report:#}");
    assert_eq!(world.live_hash(), world.old);
    drop(holding);
    let good = archive(own, "new", Slow::default());
    world.recovers(&good);
}
