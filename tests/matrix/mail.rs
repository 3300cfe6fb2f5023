//! The link to the mail server: what is live stays so, and what could not be delivered goes out later.

use super::field::{Far, Field, MAIL};
use super::judge::Expected;
use super::kills::part_of;
use super::sweep::{Fault, Sweep, Sweeping};
use crate::support::proxy::{self, Direction, Harm};

pub const CUTS: Sweep = Sweep {
    name: "mail",
    what: "the link to the mail server cut or with a flipped bit at each 40th of the conversation, in both directions; `notify --test`, and each 10th time a whole `run`",
    run: cuts,
};

/// A part of the conversation's bytes: a test message takes some thousands in each direction.
const PARTS: u32 = 40;

/// The mail is a duty, the data stands.
const RUN: Expected = Expected::one_of(&["done", "attention"]).within(MAIL);
const TEST: Expected = Expected::one_of(&["done", "attention"])
    .within(MAIL)
    .of_a_step();

fn cuts(sweeping: &mut Sweeping) {
    let mut faults = Vec::new();
    for direction in [Direction::ToServer, Direction::ToClient] {
        for part in 0..PARTS {
            let share = f64::from(part) / f64::from(PARTS);
            for harm in [Harm::Cut, Harm::Flip(sweeping.random.bit())] {
                let is_run = part % 10 == 9;
                let what = format!("{harm:?} {direction:?} at {share}");
                faults.push(Fault::new(what, move |link: &mut Link| {
                    let at = part_of(link.passed[direction as usize], share);
                    link.strike(
                        proxy::Fault {
                            direction,
                            at,
                            harm,
                        },
                        is_run,
                    )
                }));
            }
        }
    }
    sweeping.each(Link::new, faults);
}

struct Link {
    field: Field,
    passed: [u64; 2],
}

impl Link {
    fn new() -> Self {
        let mut link = Self {
            field: Field::new(Far::Mail),
            passed: [0; 2],
        };
        link.proxy().disarm();
        link.clean();
        link.passed = link.proxy().disarm().0;
        assert!(link.passed[0] > 1000, "{:?}", link.passed);
        link
    }

    fn proxy(&self) -> &proxy::Proxy {
        self.field.far.as_ref().expect("a proxy")
    }

    fn strike(&mut self, fault: proxy::Fault, is_run: bool) -> String {
        self.proxy().arm(fault);
        let command: &[&str] = if is_run {
            &["run"]
        } else {
            &["notify", "--test"]
        };
        let struck = self.field.strike(command, |_| ());
        self.proxy().disarm();
        if is_run {
            return self.field.judged(&struck, &RUN);
        }
        let outcome = self.field.checked(&struck, &TEST);
        self.clean();
        outcome
    }

    fn clean(&mut self) {
        let struck = self.field.strike(&["notify", "--test"], |_| ());
        let done = Expected::one_of(&["done"]).of_a_step();
        self.field.checked(&struck, &done);
    }
}
