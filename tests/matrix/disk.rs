//! No room: the disk under state_dir fills up at a random moment, and files may not grow beyond a limit.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::thread;

use super::field::{Far, Field};
use super::judge::Expected;
use super::kills::moments;
use super::sweep::{Fault, Sweep, Sweeping};
use crate::faults::disk::SmallDisk;

pub const FILLED: Sweep = Sweep {
    name: "disk-full",
    what: "a small file system under state_dir filled up, but for 0 to 160 KiB, at a random moment of a whole `run`",
    run: filled,
};
pub const LIMITED: Sweep = Sweep {
    name: "file-size",
    what: "RLIMIT_FSIZE of 0 to 140 KiB in steps of 4 KiB, a whole `run`",
    run: limited,
};

const MIB: u64 = 1 << 20;

/// With a full disk nothing goes live that can't be recorded; what is live already is told as a duty.
const NO_ROOM: Expected = Expected::one_of(&["local", "attention", "done"]).or_left_for_the_next();

fn filled(sweeping: &mut Sweeping) {
    if !rustix::process::geteuid().is_root() {
        sweeping.swept.skipped = Some("only root may mount a small file system".to_owned());
        return;
    }
    let moments = moments(sweeping, 36).into_iter().enumerate();
    let faults = moments.map(|(number, share)| {
        let left = number as u64 % 6 * 32 * 1024;
        Fault::new(
            format!("{left} bytes left after {share} of a run"),
            move |small: &mut Small| {
                let moment = small.field.whole.mul_f64(share);
                let mut filler = None;
                let disk = &small.disk;
                let struck = small.field.strike(&["run"], |_| {
                    thread::sleep(moment);
                    filler = Some(disk.fill_but(left));
                });
                fs::remove_file(filler.expect("it was filled")).expect("room again");
                small.field.judged(&struck, &NO_ROOM)
            },
        )
    });
    let faults = faults.collect();
    sweeping.each(Small::new, faults);
}

/// Its state_dir has 100 MiB, of which the program keeps 64 free.
struct Small {
    field: Field,
    disk: SmallDisk,
}

impl Small {
    fn new() -> Self {
        let mounted = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&mounted);
        let field = Field::prepared(Far::NoStore, "", move |directory| {
            *kept.borrow_mut() = SmallDisk::mounted(&directory.join("state"), 100 * MIB);
        });
        let disk = mounted.borrow_mut().take().expect("root may mount");
        Self { field, disk }
    }
}

fn limited(sweeping: &mut Sweeping) {
    let faults = (0..=35).map(|step| {
        let most = step * 4096;
        Fault::new(format!("{most} bytes"), move |field: &mut Field| {
            field.behind = vec!["prlimit".to_owned(), format!("--fsize={most}")];
            let struck = field.strike(&["run"], |_| ());
            field.behind.clear();
            field.judged(&struck, &NO_ROOM)
        })
    });
    let faults = faults.collect();
    sweeping.each(|| Field::new(Far::NoStore), faults);
}
