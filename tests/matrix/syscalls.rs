//! `strace -e inject=`: the N-th state-changing system call of a whole run fails, or the run is killed at it.
//!
//! strace counts per thread. Without `-f` it follows the main thread alone, where all of them are but the fsync of the two large
//! files (those are hit by the sweeps of `disk`), so that N is the same call each time, and pg_restore is left alone.

use std::fs;

use super::field::{Far, Field};
use super::judge::Expected;
use super::sweep::{Fault, Sweep, Sweeping};

pub const KILLED: Sweep = Sweep {
    name: "syscalls-killed",
    what: "SIGKILL at the N-th rename, unlink, fsync, mkdir, ftruncate, fchmod of a whole `run` (all of them), openat and write (sampled)",
    run: killed,
};
pub const NO_SPACE: Sweep = Sweep {
    name: "syscalls-enospc",
    what: "ENOSPC from the N-th of the same calls (all of them; write and openat of the files in state_dir, sampled)",
    run: no_space,
};
pub const BROKEN_DISK: Sweep = Sweep {
    name: "syscalls-eio",
    what: "EIO from the N-th of the same calls (all of them; write and openat of the files in state_dir, sampled)",
    run: broken_disk,
};

/// Each of these, whatever the architecture calls it.
const ALL: [&str; 18] = [
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "fdatasync",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "truncate",
    "fallocate",
    "chmod",
    "fchmod",
    "fchmodat",
    "link",
    "linkat",
];
/// Too many to take all of them.
const SAMPLED: [&str; 2] = ["openat", "write"];
const SAMPLES: u64 = 30;
/// What a run writes by constant names; sockets and pipes fail in other ways.
const WRITTEN: [&str; 5] = [
    "state/runs/erp.tmp",
    "state/runs/chain",
    "state/journal/erp.tmp",
    "state/archives/erp/facts.tmp",
    "state/locks/erp.lock",
];

const DEAD: Expected = Expected::one_of(&["done"]).or_killed();
/// Where what cleans up fails, the next run does it.
const FAILED: Expected =
    Expected::one_of(&["local", "attention", "done", "failed", "unclear"]).or_left_for_the_next();

fn killed(sweeping: &mut Sweeping) {
    swept(sweeping, "signal=KILL", DEAD, false);
}

fn no_space(sweeping: &mut Sweeping) {
    swept(sweeping, "error=ENOSPC", FAILED, true);
}

fn broken_disk(sweeping: &mut Sweeping) {
    swept(sweeping, "error=EIO", FAILED, true);
}

fn swept(sweeping: &mut Sweeping, harm: &'static str, expected: Expected, only_files: bool) {
    let mut field = Field::new(Far::NoStore);
    let mut faults = Vec::new();
    let counted = field.counted(&ALL, &[]);
    for (call, count) in counted {
        faults.extend((1..=count).map(|nth| fault(call, nth, harm, (expected, &[]))));
    }
    let paths: &'static [&'static str] = if only_files { &WRITTEN } else { &[] };
    for (call, count) in field.counted(&SAMPLED, paths) {
        for _ in 0..SAMPLES.min(count) {
            let nth = 1 + sweeping.random.below(count);
            faults.push(fault(call, nth, harm, (expected, paths)));
        }
    }
    let mut first = Some(field);
    sweeping.each(
        || first.take().unwrap_or_else(|| Field::new(Far::NoStore)),
        faults,
    );
}

fn fault(
    call: &'static str,
    nth: u64,
    harm: &'static str,
    (expected, paths): (Expected, &'static [&'static str]),
) -> Fault<Field> {
    Fault::new(
        format!("{harm} at {call} {nth}"),
        move |field: &mut Field| {
            let inject = format!("inject={call}:{harm}:when={nth}");
            let trace = format!("trace={call}");
            field.behind = field.strace(&["-e", &trace, "-e", &inject], paths, "/dev/null");
            let struck = field.strike(&["run"], |_| ());
            field.behind.clear();
            field.judged(&struck, &expected)
        },
    )
}

impl Field {
    fn strace(&self, options: &[&str], paths: &[&str], output: &str) -> Vec<String> {
        let mut words: Vec<String> = ["strace", "-qqq", "-o", output]
            .iter()
            .chain(options)
            .map(|&word| word.to_owned())
            .collect();
        for path in paths {
            words.extend([
                "-P".to_owned(),
                self.world.setup.path(path).display().to_string(),
            ]);
            words.extend(["-P".to_owned(), (*path).to_owned()]);
        }
        words.push("--".to_owned());
        words
    }

    /// How often a clean run makes each of these calls; those that it never makes, and that this machine doesn't know, are left out.
    fn counted(&mut self, calls: &[&'static str], paths: &[&str]) -> Vec<(&'static str, u64)> {
        let output = self.world.setup.path("strace.txt");
        let names: Vec<String> = calls.iter().map(|call| format!("?{call}")).collect();
        let trace = format!("trace={}", names.join(","));
        self.behind = self.strace(&["-e", &trace], paths, &output.display().to_string());
        let struck = self.strike(&["run"], |_| ());
        self.behind.clear();
        let text = fs::read_to_string(&output).expect("strace's output");
        fs::remove_file(output).expect("strace's output");
        self.judged(&struck, &Expected::one_of(&["done"]));
        let count = |call: &str| {
            let begin = format!("{call}(");
            text.lines().filter(|line| line.starts_with(&begin)).count() as u64
        };
        let all = calls.iter().map(|call| (*call, count(call)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}
