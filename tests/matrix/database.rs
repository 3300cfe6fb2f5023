//! The link to PostgreSQL cut at any byte, the run's sessions ended, its pg_restore killed.

use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::field::{Far, Field};
use super::judge::Expected;
use super::kills::{moments, part_of};
use super::sweep::{Fault, Sweep, Sweeping};
use crate::faults::world::server;
use crate::support::program::Running;
use crate::support::proxy::{self, Direction, Harm};

pub const CUTS: Sweep = Sweep {
    name: "sql-cuts",
    what: "every connection to PostgreSQL cut at a random byte in either direction, a whole `run`",
    run: cuts,
};
pub const BACKENDS: Sweep = Sweep {
    name: "backends",
    what: "every session of the run ended on the server (`pg_terminate_backend`) at a random moment of a whole `run`",
    run: backends,
};
pub const PG_RESTORE: Sweep = Sweep {
    name: "pg-restore",
    what: "pg_restore killed with SIGKILL at a random moment of the load",
    run: pg_restore,
};

/// Before the load it is the network, in it the load has failed, behind the swap the data stands; in the swap the catalog is asked.
const LOST: Expected =
    Expected::one_of(&["network", "failed", "done", "attention"]).or_left_for_the_next();
const KILLED: Expected = Expected::one_of(&["failed", "done"]);

fn cuts(sweeping: &mut Sweeping) {
    let parts = moments(sweeping, 60).into_iter().enumerate();
    let faults = parts.map(|(number, part)| {
        let direction = [Direction::ToServer, Direction::ToClient][number % 2];
        Fault::new(
            format!("{direction:?} at {part} of all bytes"),
            move |link: &mut Link| {
                let at = part_of(link.passed[number % 2], part);
                link.cut(proxy::Fault {
                    direction,
                    at,
                    harm: Harm::Cut,
                })
            },
        )
    });
    let faults = faults.collect();
    sweeping.each(Link::new, faults);
}

struct Link {
    field: Field,
    /// Bytes of a whole run, to the server and to the client.
    passed: [u64; 2],
}

impl Link {
    fn new() -> Self {
        let mut field = Field::new(Far::Database);
        let proxy = field.far.as_ref().expect("a proxy");
        proxy.disarm();
        field.recovers(false);
        let passed = field.far.as_ref().expect("a proxy").disarm().0;
        assert!(passed[0] > 10_000, "{passed:?}");
        Self { field, passed }
    }

    fn cut(&mut self, fault: proxy::Fault) -> String {
        self.field.far.as_ref().expect("a proxy").arm(fault);
        let struck = self.field.strike(&["run"], |_| ());
        self.field.far.as_ref().expect("a proxy").disarm();
        self.field.judged(&struck, &LOST)
    }
}

fn backends(sweeping: &mut Sweeping) {
    let faults = moments(sweeping, 40).into_iter().map(|share| {
        Fault::new(
            format!("after {share} of a run"),
            move |field: &mut Field| {
                let (moment, before) = (field.whole.mul_f64(share), field.seen().reports);
                let reports = field.world.setup.path("state/runs");
                let struck = field.strike(&["run"], |_| {
                    thread::sleep(moment);
                    for entry in std::fs::read_dir(reports).into_iter().flatten().flatten() {
                        let name = entry.file_name().to_string_lossy().into_owned();
                        let Some(run) = name.strip_suffix(".json") else {
                            continue;
                        };
                        if !before.contains(run) {
                            end_sessions_of(run);
                        }
                    }
                });
                field.judged(&struck, &LOST)
            },
        )
    });
    let faults = faults.collect();
    sweeping.each(|| Field::new(Far::NoStore), faults);
}

fn end_sessions_of(run: &str) {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'backupctl/{run}%'"
    );
    server().value("postgres", &sql);
}

fn pg_restore(sweeping: &mut Sweeping) {
    let faults = moments(sweeping, 20).into_iter().map(|share| {
        Fault::new(
            format!("after {share} of 150 ms"),
            move |field: &mut Field| {
                let struck = field.strike(&["run"], |running| {
                    let children = until_pg_restore(running);
                    thread::sleep(Duration::from_millis(150).mul_f64(share));
                    for child in children {
                        // One of several may have ended with the first.
                        let _ = kill_process(child, Signal::KILL);
                    }
                });
                field.judged(&struck, &KILLED)
            },
        )
    });
    let faults = faults.collect();
    sweeping.each(|| Field::new(Far::NoStore), faults);
}

/// The program's pg_restore once there is one; none where the run ends without.
fn until_pg_restore(running: &mut Running) -> Vec<Pid> {
    while running.is_alive() {
        let found = Command::new("pgrep")
            .args(["-x", "pg_restore", "-P", &running.pid().to_string()])
            .output()
            .expect("pgrep");
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let pids: Vec<Pid> = text
            .lines()
            .filter_map(|line| Pid::from_raw(line.parse().ok()?))
            .collect();
        if !pids.is_empty() {
            return pids;
        }
        thread::sleep(Duration::from_millis(2));
    }
    Vec::new()
}
