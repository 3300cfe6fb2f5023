//! Archives that were cut or altered: `unzip --file` for each byte, the whole run for some of them.

use std::fs;
use std::path::PathBuf;

use super::field::{Far, Field, both};
use super::judge::Expected;
use super::sweep::{Fault, Sweep, Sweeping};
use crate::faults::world::server;
use crate::support::archives;

pub const CUTS: Sweep = Sweep {
    name: "archive-cuts",
    what: "an archive cut at each 1 % and at each of its last 64 bytes, `unzip --file`",
    run: cuts,
};
pub const FLIPS: Sweep = Sweep {
    name: "archive-flips",
    what: "each byte of a small archive with one bit turned over, `unzip --file`",
    run: flips,
};
pub const WHOLE_RUNS: Sweep = Sweep {
    name: "archive-runs",
    what: "the store's archive cut or with a flipped bit at random places, a whole `run`",
    run: whole_runs,
};

/// Behind `unzip`: a broken archive is named as such, or what was turned over means nothing and the dump is the same.
const BROKEN: Expected = Expected::one_of(&["damaged", "config", "done"]).of_a_step();
const NOT_WHOLE: Expected = Expected::one_of(&["damaged"]).of_a_step();
/// A cut one looks like one that is still being uploaded; one without the right bytes at its start like no archive.
const IN_THE_STORE: Expected = Expected::one_of(&["damaged", "stale", "config", "done"]);

/// What is in the archive, and the installation.
struct Unzipping {
    field: Field,
    zip: Vec<u8>,
    dump: Vec<u8>,
}

impl Unzipping {
    fn new(zip: Vec<u8>, dump: Vec<u8>) -> Self {
        Self {
            field: Field::new(Far::NoStore),
            zip,
            dump,
        }
    }

    fn unzip(&mut self, zip: &[u8], expected: &Expected) -> String {
        let path = self.field.world.store.join("given.archive");
        fs::write(&path, zip).expect("an archive");
        let name = path.display().to_string();
        let struck = self.field.strike(&["unzip", "--file", &name], |_| ());
        let outcome = self.field.checked(&struck, expected);
        if outcome == "done" {
            let unpacked = struck.ran.json()["dump"]["path"]
                .as_str()
                .map(str::to_owned);
            let unpacked = unpacked.unwrap_or_else(|| self.the_dump());
            assert_eq!(
                fs::read(unpacked).expect("the dump"),
                self.dump,
                "other bytes"
            );
        }
        outcome
    }

    /// The only unpacked dump of the job.
    fn the_dump(&self) -> String {
        let all = crate::faults::world::files(&self.field.world.setup.path("state/dumps"));
        let is_dump = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "dump");
        let dumps: Vec<PathBuf> = all.into_iter().filter(is_dump).collect();
        assert_eq!(dumps.len(), 1, "{dumps:?}");
        dumps[0].display().to_string()
    }

    fn fault(
        what: String,
        expected: Expected,
        harm: impl FnOnce(&mut Vec<u8>) + 'static,
    ) -> Fault<Self> {
        Fault::new(what, move |unzipping: &mut Self| {
            let mut zip = unzipping.zip.clone();
            harm(&mut zip);
            let outcome = unzipping.unzip(&zip, &expected);
            unzipping.field.strikes += 1;
            if unzipping.field.strikes.is_multiple_of(5) {
                let whole = unzipping.zip.clone();
                let clean = Expected::one_of(&["done"]).of_a_step();
                unzipping.unzip(&whole, &clean);
            }
            outcome
        })
    }
}

fn cuts(sweeping: &mut Sweeping) {
    let (zip, dump) = (both()[0].zip.clone(), inner(&both()[0].zip));
    let length = zip.len();
    let mut places: Vec<usize> = (0..100).map(|share| length * share / 100).collect();
    places.extend(length - 64..length);
    let faults = places.into_iter().map(|at| {
        Unzipping::fault(format!("cut at byte {at}"), NOT_WHOLE, move |zip| {
            zip.truncate(at);
        })
    });
    let faults = faults.collect();
    sweeping.each(|| Unzipping::new(zip.clone(), dump.clone()), faults);
}

fn flips(sweeping: &mut Sweeping) {
    let empty = server().database("small");
    server().sql(&empty, "create table t (n int); insert into t values (1)");
    let dump = server().dump(&empty, &["-Fc"]);
    let zip = archives::zip().entry("t.dump", dump.clone()).build();
    let faults = (0..zip.len()).map(|at| {
        let bit = sweeping.random.bit();
        Unzipping::fault(format!("byte {at}, bit {bit:#04x}"), BROKEN, move |zip| {
            zip[at] ^= bit;
        })
    });
    let faults = faults.collect();
    sweeping.each(|| Unzipping::new(zip.clone(), dump.clone()), faults);
}

fn whole_runs(sweeping: &mut Sweeping) {
    let faults = (0..36).map(|number| {
        let (share, bit) = (sweeping.random.share(), sweeping.random.bit());
        let is_cut = number % 3 == 0;
        let harm = if is_cut { "cut" } else { "flipped" };
        Fault::new(
            format!("{harm} at {share} of it, bit {bit:#04x}"),
            move |field: &mut Field| {
                let mut zip = field.next().zip.clone();
                let at = crate::matrix::kills::part_of(zip.len() as u64, share);
                let at = usize::try_from(at).expect("within the archive");
                if is_cut {
                    zip.truncate(at);
                } else {
                    zip[at] ^= bit;
                }
                let struck = field.strike_with(&zip, &["run"], |_| ());
                field.judged(&struck, &IN_THE_STORE)
            },
        )
    });
    let faults = faults.collect();
    sweeping.each(|| Field::new(Far::NoStore), faults);
}

/// The only entry's bytes.
fn inner(zip: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).expect("an archive");
    let mut dump = Vec::new();
    let mut entry = archive.by_index(0).expect("an entry");
    entry.read_to_end(&mut dump).expect("a dump");
    dump
}
