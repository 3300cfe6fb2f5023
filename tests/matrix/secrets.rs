//! Tokens, keys and known_hosts with a flipped bit or cut off at each of their bytes: named before anything is done.

use std::fs;

use super::field::{Far, Field, with_bytes};
use super::judge::Expected;
use super::sweep::{Fault, Sweep, Sweeping};

pub const TOKENS: Sweep = Sweep {
    name: "tokens",
    what: "each byte of the env file with one bit turned over, and the file cut behind it; `run`",
    run: tokens,
};
pub const KEYS: Sweep = Sweep {
    name: "keys",
    what: "each byte of the key file with one bit turned over, and the file cut behind it; `run`",
    run: keys,
};
pub const KNOWN_HOSTS: Sweep = Sweep {
    name: "known-hosts",
    what: "each byte of known_hosts with one bit turned over, and the file cut behind it; `run`",
    run: known_hosts,
};

/// What is turned over in a line's end may mean nothing.
const SECRET: Expected = Expected::one_of(&["config", "done"]);
const HOST: Expected = Expected::one_of(&["refused", "done"]);

fn tokens(sweeping: &mut Sweeping) {
    broken(sweeping, ".env", SECRET);
}

fn keys(sweeping: &mut Sweeping) {
    broken(sweeping, "secret.key", SECRET);
}

fn known_hosts(sweeping: &mut Sweeping) {
    broken(sweeping, "known_hosts", HOST);
}

fn broken(sweeping: &mut Sweeping, name: &'static str, expected: Expected) {
    let field = Field::new(Far::Nothing);
    let length = fs::read(field.file(name)).expect("a file").len();
    let mut faults = Vec::new();
    for at in 0..length {
        let bit = sweeping.random.bit();
        let flip = move |bytes: &mut Vec<u8>| bytes[at] ^= bit;
        faults.push(fault(
            format!("{name}: byte {at}, bit {bit:#04x}"),
            name,
            expected,
            flip,
        ));
        if at % 4 == 0 {
            let cut = move |bytes: &mut Vec<u8>| bytes.truncate(at);
            faults.push(fault(format!("{name}: cut at {at}"), name, expected, cut));
        }
    }
    let mut first = Some(field);
    sweeping.each(
        || first.take().unwrap_or_else(|| Field::new(Far::Nothing)),
        faults,
    );
}

fn fault(
    what: String,
    name: &'static str,
    expected: Expected,
    harm: impl FnOnce(&mut Vec<u8>) + 'static,
) -> Fault<Field> {
    Fault::new(what, move |field: &mut Field| {
        let path = field.file(name);
        let mut bytes = fs::read(&path).expect("the file");
        harm(&mut bytes);
        let struck = with_bytes(&path, &bytes, || field.strike(&["run"], |_| ()));
        let outcome = field.checked(&struck, &expected);
        field.strikes += 1;
        if field.strikes.is_multiple_of(10) {
            field.recovers(false);
        }
        outcome
    })
}
