//! `kill -9` in every step and at random moments: live is wholly old or wholly new, and the next run mends everything.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::world::{Slow, World, archive, current_step, server, wait};
use crate::support::smtp::{self, Smtp};

/// Kills at random moments in the ordinary suite.
const KILLS: u32 = 25;

fn killed_in(step: &str, world: &World) {
    // when
    let mut running = world.setup.start(&["run"]);
    world.wait_for_step(step, &mut running);
    running.signal(Signal::KILL);
    let ran = running.finish();

    // then
    assert_eq!(ran.code, None, "{ran}");
    let report = world.report();
    World::died(&report);
    assert_eq!(current_step(&report), Some(step));
    world.is_unchanged();
}

#[test]
fn a_run_killed_while_it_fetches_is_named_and_cleaned_up_after_by_the_next() {
    let world = World::new("settle = \"2s\"");
    let good = archive(server(), "new", Slow::default());
    world.offer(&good);
    killed_in("fetch", &world);
    world.recovers(&good);
}

#[test]
fn a_run_killed_while_it_loads_leaves_no_backend_and_no_scratch_database() {
    // given
    let world = World::new("");
    let index = Slow {
        index: 60.0,
        ..Slow::default()
    };
    world.offer(&archive(server(), "slow", index));

    // when: while an index is built
    let mut running = world.setup.start(&["run"]);
    wait("the index is being built", || {
        assert!(running.is_alive());
        let building = server().value(
            "postgres",
            &format!(
                "select count(*) from pg_stat_activity where query like 'CREATE INDEX%calm%' and datname like '{}_new_%'",
                world.live
            ),
        );
        (building == "1").then_some(())
    });
    running.signal(Signal::KILL);
    running.finish();

    // then
    World::died(&world.report());
    world.is_unchanged();
    assert_eq!(world.scratch_databases().len(), 1);
    world.recovers(&archive(server(), "new", Slow::default()));
}

#[test]
fn a_run_killed_while_it_checks_leaves_no_scratch_database() {
    let world = World::new(CHECKED);
    let check = Slow {
        check: 60.0,
        ..Slow::default()
    };
    world.offer(&archive(server(), "slow", check));
    killed_in("check", &world);
    world.recovers(&archive(server(), "new", Slow::default()));
}

pub const CHECKED: &str =
    "[[restores.erp.checks]]\nsql = \"select count(*) from slow\"\nat_least = 1";

#[test]
fn a_run_killed_before_the_names_are_swapped_leaves_the_old_database() {
    let world = World::new("before_swap = [[\"sleep\", \"2\"]]");
    let good = archive(server(), "new", Slow::default());
    world.offer(&good);
    killed_in("swap", &world);
    world.recovers(&good);
}

#[test]
fn a_run_killed_after_the_names_were_swapped_leaves_the_new_database_and_the_next_says_so() {
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
    running.signal(Signal::KILL);
    running.finish();

    // then
    let report = world.report();
    World::died(&report);
    assert_eq!(current_step(&report), Some("swap"));
    assert_eq!(world.live_hash(), new.hash);
    world.recovers(&archive(server(), "newer", Slow::default()));
}

#[test]
fn a_run_killed_while_it_mails_has_left_the_new_database_live() {
    // given
    let smtp = Smtp::start(smtp::Options {
        delay: Duration::from_secs(1),
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
    running.signal(Signal::KILL);
    running.finish();

    // then
    assert_eq!(world.live_hash(), new.hash);
    assert_eq!(world.previous_databases().len(), 1);
    world.recovers(&archive(server(), "newer", Slow::default()));
}

#[test]
fn a_run_killed_during_a_statement_is_cleaned_up_after() {
    let world = World::new("");
    let archives = ["even", "odd"].map(|word| {
        let index = Slow {
            index: 0.3,
            ..Slow::default()
        };
        archive(server(), word, index)
    });
    world.recovers(&archives[1]);
    for statement in ["CREATE DATABASE", "COPY", "ANALYZE", "CREATE DATABASE"] {
        // when: killed while the server is at it
        world.offer(&archives[0]);
        let running = world.setup.start(&["run"]);
        let seen = server().try_sql(
            "postgres",
            &format!(
                "set statement_timeout = '30s';
                 do $$ begin loop
                     exit when exists (select from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()
                         and query ~ '^{statement}' and (query ~ '{0}_new_' or datname ~ '^{0}_new_'));
                     perform pg_stat_clear_snapshot();
                 end loop; end $$",
                world.live
            ),
        );
        running.signal(Signal::KILL);
        let ran = running.finish();
        assert!(seen.0, "{statement}: {}\n{ran}", seen.1);

        // then
        let report = world.report();
        World::died(&report);
        assert_eq!(current_step(&report), Some("restore"), "{statement}");
        assert_eq!(world.live_hash(), archives[1].hash);
        world.recovers(&archives[1]);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of a longer sweep")]
fn a_run_killed_at_any_moment_leaves_the_old_or_the_new_database() {
    // given
    let wanted = std::env::var("CHAOS_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let world = World::new(CHECKED);
    let slow = Slow {
        index: 0.05,
        check: 0.05,
    };
    let archives = [
        archive(server(), "even", slow),
        archive(server(), "odd", slow),
    ];
    world.recovers(&archives[0]);
    let clock = Instant::now();
    world.recovers(&archives[1]);
    let mut whole = clock.elapsed();
    let mut live = 1;
    let (mut swapped, mut steps) = (0, std::collections::BTreeMap::new());

    for kill in 1..=wanted {
        // when
        world.offer(&archives[1 - live]);
        let running = world.setup.start(&["run"]);
        thread::sleep(whole.mul_f64(rand::random::<f64>()));
        running.signal(Signal::KILL);
        let ran = running.finish();

        // then
        let hash = world.live_hash();
        let now = archives.iter().position(|archive| archive.hash == hash);
        let report = world.report();
        let now = now.unwrap_or_else(|| panic!("live is neither old nor new: {report:#}"));
        if ran.code.is_none() && report["verdict"] == "unfinished" {
            let step = current_step(&report).unwrap_or("between").to_owned();
            assert!(
                now == live || ["swap", "between"].contains(&&*step),
                "{report:#}"
            );
            *steps.entry(step).or_insert(0) += 1;
            whole = whole.mul_f64(1.05);
        } else {
            // It was through before: the machine has become faster.
            whole = whole.mul_f64(0.8);
        }
        swapped += i32::from(now != live);
        live = now;
        assert!(!world.previous_databases().is_empty());
        if kill % 3 == 0 {
            world.recovers(&archives[1 - live]);
            live = 1 - live;
        }
    }
    world.recovers(&archives[live]);
    let died: u32 = steps.values().sum();
    assert!(died > wanted / 3, "{died} of {wanted} were killed at work");
    println!("{wanted} kills within {whole:?}: {steps:?}, {swapped} swapped");
}
