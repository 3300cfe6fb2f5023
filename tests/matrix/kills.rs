//! kill -9 and the two signals of an orderly end, at random moments of a whole run.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::field::{Far, Field};
use super::judge::Expected;
use super::sweep::{Fault, Sweep, Sweeping};

pub const AT_RANDOM: Sweep = Sweep {
    name: "kills",
    what: "kill -9 at a random moment of a whole `run`",
    run: kills,
};
pub const SIGNALS: Sweep = Sweep {
    name: "signals",
    what: "SIGTERM or SIGINT at a random moment of a whole `run`",
    run: signals,
};

/// It may have been through before.
const KILLED: Expected = Expected::one_of(&["done"]).or_killed();
const STOPPED: Expected = Expected::one_of(&["interrupted", "done"]).or_killed();

fn kills(sweeping: &mut Sweeping) {
    let faults = moments(sweeping, 200).into_iter().map(|share| {
        Fault::new(
            format!("after {share} of a run"),
            move |field: &mut Field| field.signalled(share, Signal::KILL, &KILLED),
        )
    });
    let faults = faults.collect();
    sweeping.each(|| Field::new(Far::Nothing), faults);
}

fn signals(sweeping: &mut Sweeping) {
    let moments = moments(sweeping, 40).into_iter().enumerate();
    let faults = moments.map(|(number, share)| {
        let signal = [Signal::TERM, Signal::INT][number % 2];
        Fault::new(
            format!("{signal:?} after {share} of a run"),
            move |field: &mut Field| field.signalled(share, signal, &STOPPED),
        )
    });
    let faults = faults.collect();
    sweeping.each(|| Field::new(Far::Nothing), faults);
}

impl Field {
    fn signalled(&mut self, share: f64, signal: Signal, expected: &Expected) -> String {
        let moment = self.whole.mul_f64(share);
        let struck = self.strike(&["run"], |running| {
            thread::sleep(moment);
            running.signal(signal);
        });
        // Before it hears signals, SIGTERM and SIGINT end it as they end any program.
        let is_early = moment < Duration::from_millis(100);
        assert!(
            struck.ran.code.is_some() || signal == Signal::KILL || is_early,
            "{}",
            struck.ran
        );
        self.judged(&struck, expected)
    }
}

/// So many parts of a run.
pub fn moments(sweeping: &mut Sweeping, count: u32) -> Vec<f64> {
    (0..count).map(|_| sweeping.random.share()).collect()
}

/// The byte at this part of so many.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "some thousands"
)]
pub fn part_of(total: u64, share: f64) -> u64 {
    (total as f64 * share) as u64
}
