//! The link to the SFTP server: cut, stalled, throttled and with flipped bits, from the first byte of the handshake on.

use super::field::{Far, Field, both};
use super::judge::Expected;
use super::kills::part_of;
use super::sweep::{Fault, Sweep, Sweeping};
use crate::faults::world::files;
use crate::support::proxy::{self, Direction, Harm};

pub const CUTS: Sweep = Sweep {
    name: "sftp-cuts",
    what: "the link to the SFTP server cut: every 32nd byte of the handshake and random ones behind it, in both directions; `fetch`, each 10th a whole `run`",
    run: cuts,
};
pub const FLIPS: Sweep = Sweep {
    name: "sftp-flips",
    what: "one bit turned over on the way from or to the SFTP server, in the handshake and behind it; `fetch`, each 10th a whole `run`",
    run: flips,
};
pub const STALLS: Sweep = Sweep {
    name: "sftp-stalls",
    what: "the link to the SFTP server stalls for ever or falls to 64 KiB/s at a random byte; `fetch`",
    run: stalls,
};

/// The handshake and the login fit into it.
const HANDSHAKE: u64 = 3000;
const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// The second attempt finds the link in order.
const CUT: Expected = Expected::one_of(&["done", "network"]);
/// What was turned over in the handshake may read like another server's key or offers.
const FLIPPED: Expected = Expected::one_of(&["done", "network", "refused"]);

fn cuts(sweeping: &mut Sweeping) {
    let harms = places(sweeping, 32, 40)
        .into_iter()
        .map(|place| (place, Harm::Cut));
    struck(sweeping, harms.collect(), CUT);
}

fn flips(sweeping: &mut Sweeping) {
    let places = places(sweeping, 48, 30);
    let harms = places
        .into_iter()
        .map(|place| (place, Harm::Flip(sweeping.random.bit())));
    let harms = harms.collect();
    struck(sweeping, harms, FLIPPED);
}

fn stalls(sweeping: &mut Sweeping) {
    let places = places(sweeping, 600, 5);
    let harms = places.into_iter().enumerate().map(|(number, place)| {
        let harm = if number % 3 == 0 {
            Harm::Throttle(64 << 10)
        } else {
            Harm::Stall
        };
        (place, harm)
    });
    let harms = harms.collect();
    struck(sweeping, harms, CUT);
}

/// Within the handshake, or a part of all that passes.
#[derive(Debug, Clone, Copy)]
enum Place {
    Byte(u64),
    Part(f64),
}

fn places(sweeping: &mut Sweeping, every: usize, random: usize) -> Vec<(Direction, Place)> {
    let mut found = Vec::new();
    for direction in BOTH {
        let bytes = (0..HANDSHAKE).step_by(every);
        found.extend(bytes.map(|at| (direction, Place::Byte(at))));
        found.extend((0..random).map(|_| (direction, Place::Part(sweeping.random.share()))));
    }
    found
}

fn struck(sweeping: &mut Sweeping, harms: Vec<((Direction, Place), Harm)>, expected: Expected) {
    let faults = harms
        .into_iter()
        .enumerate()
        .map(|(number, ((direction, place), harm))| {
            Fault::new(
                format!("{harm:?} {direction:?} at {place:?}"),
                move |link: &mut Link| {
                    let total = link.passed[direction as usize];
                    let at = match place {
                        Place::Byte(at) => at,
                        Place::Part(part) => part_of(total, part),
                    };
                    let fault = proxy::Fault {
                        direction,
                        at,
                        harm,
                    };
                    if number % 10 == 9 {
                        link.run(fault, &expected)
                    } else {
                        link.fetch(fault, &expected.of_a_step())
                    }
                },
            )
        });
    let faults = faults.collect();
    sweeping.each(Link::new, faults);
}

struct Link {
    field: Field,
    /// Bytes of a whole `fetch`, to the server and to the client.
    passed: [u64; 2],
}

impl Link {
    fn new() -> Self {
        let mut link = Self {
            field: Field::new(Far::Store),
            passed: [0; 2],
        };
        link.proxy().disarm();
        link.clean();
        link.passed = link.proxy().disarm().0;
        assert!(
            link.passed[1] > both()[0].zip.len() as u64,
            "{:?}",
            link.passed
        );
        link
    }

    fn proxy(&self) -> &proxy::Proxy {
        self.field.far.as_ref().expect("a proxy")
    }

    fn fetch(&mut self, fault: proxy::Fault, expected: &Expected) -> String {
        self.proxy().arm(fault);
        let struck = self.field.strike(&["fetch"], |_| ());
        let (_, is_struck) = self.proxy().disarm();
        let outcome = self.field.checked(&struck, expected);
        self.only_what_was_offered();
        self.clean();
        if is_struck {
            outcome
        } else {
            format!("{outcome} before it struck")
        }
    }

    fn run(&mut self, fault: proxy::Fault, expected: &Expected) -> String {
        self.proxy().arm(fault);
        let struck = self.field.strike(&["run"], |_| ());
        self.proxy().disarm();
        let outcome = self.field.judged(&struck, expected);
        self.only_what_was_offered();
        outcome
    }

    /// The next one without a fault is done.
    fn clean(&mut self) {
        let struck = self.field.strike(&["fetch"], |_| ());
        let done = Expected::one_of(&["done"]).of_a_step();
        self.field.checked(&struck, &done);
        self.only_what_was_offered();
    }

    /// Never other bytes.
    fn only_what_was_offered(&self) {
        for file in files(&self.field.world.setup.path("state/archives")) {
            if file.extension().is_some_and(|extension| extension == "zip") {
                let bytes = std::fs::read(&file).expect("an archive");
                assert!(
                    both().iter().any(|one| one.zip == bytes),
                    "{}",
                    file.display()
                );
            }
        }
    }
}
