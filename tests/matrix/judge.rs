//! The oracle: what holds after every fault, whatever it was.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::field::{Field, GRACE, Seen, Struck, both};
use crate::faults::world::{World, current_step, files, goes_on, is_download, step_verdict};
use crate::support::program::Ran;

/// What may come of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub verdicts: &'static [&'static str],
    /// Nothing is left of a run that ended in order. Else the next run may have to clean up, and the report may be `unfinished`:
    /// the fault hit what cleans up and writes.
    pub is_tidy: bool,
    /// It is killed from outside; else it ends by itself.
    pub is_killed: bool,
    /// A command that leaves the live database alone also where it is done.
    pub is_step: bool,
    pub within: Duration,
}

impl Expected {
    pub const fn one_of(verdicts: &'static [&'static str]) -> Self {
        Self {
            verdicts,
            is_tidy: true,
            is_step: false,
            is_killed: false,
            within: super::field::PATIENCE,
        }
    }

    pub const fn of_a_step(mut self) -> Self {
        self.is_step = true;
        self
    }

    pub const fn within(mut self, patience: Duration) -> Self {
        self.within = patience;
        self
    }

    pub const fn or_killed(mut self) -> Self {
        self.is_killed = true;
        self
    }

    pub const fn or_left_for_the_next(mut self) -> Self {
        self.is_tidy = false;
        self
    }
}

/// The verdicts and their exit codes, as scripts know them.
const CODES: [(&str, i64); 13] = [
    ("done", 0),
    ("bug", 1),
    ("usage", 2),
    ("config", 3),
    ("locked", 4),
    ("network", 5),
    ("refused", 6),
    ("stale", 7),
    ("damaged", 8),
    ("local", 9),
    ("failed", 10),
    ("unclear", 11),
    ("attention", 12),
];

impl Field {
    /// All seven invariants and the deadline; how the run ended, in a word or two.
    pub fn judged(&mut self, struck: &Struck, expected: &Expected) -> String {
        let outcome = self.checked(struck, expected);
        self.recovers(struck.ran.code.is_none());
        outcome
    }

    /// All but what the next run does.
    pub fn checked(&mut self, struck: &Struck, expected: &Expected) -> String {
        let Struck { before, ran, .. } = struck;
        let limit = expected.within + GRACE;
        assert!(struck.elapsed < limit, "{:?}\n{ran}", struck.elapsed);
        let after = self.seen();
        let is_swapped = self.is_wholly_old_or_new(before, &after, ran);
        assert!(ran.code.is_some() || expected.is_killed, "it died\n{ran}");
        let outcome = match ran.code {
            None => self.died(before, &after),
            Some(_) => self.ended(&after, is_swapped, ran, expected),
        };
        assert_eq!(self.world.files_outside(), self.world.outside, "{ran}");
        self.no_secret(ran);
        self.last = Some(after);
        outcome
    }

    /// (1) and (2).
    fn is_wholly_old_or_new(&mut self, before: &Seen, after: &Seen, ran: &Ran) -> bool {
        let found = both().iter().position(|one| one.hash == after.hash);
        let now = found.unwrap_or_else(|| panic!("live is neither: {}\n{ran}", after.hash));
        let is_swapped = now != self.live;
        let set_aside: Vec<&String> = after
            .previous
            .iter()
            .filter(|name| !before.previous.contains(name))
            .collect();
        assert_eq!(set_aside.len(), usize::from(is_swapped), "{after:?}\n{ran}");
        for name in set_aside {
            assert_eq!(self.content(name), before.hash, "what was set aside\n{ran}");
        }
        self.live = now;
        is_swapped
    }

    /// (3) and (4) of a run that ended by itself.
    fn ended(&self, after: &Seen, is_swapped: bool, ran: &Ran, expected: &Expected) -> String {
        let said = ran.json();
        let verdict = said["verdict"].as_str().expect("a verdict").to_owned();
        assert!(expected.verdicts.contains(&&*verdict), "{said:#}\n{ran}");
        let code = i64::from(ran.code.unwrap_or(-1));
        assert_eq!(said["exit_code"], code, "{said:#}");
        if let Some((_, right)) = CODES.iter().find(|(word, _)| *word == verdict) {
            assert_eq!(code, *right, "{said:#}");
        }
        match verdict.as_str() {
            _ if expected.is_step => assert!(!is_swapped, "{said:#}"),
            "done" | "attention" => assert!(is_swapped, "{said:#}"),
            "unclear" | "interrupted" => {}
            _ => assert!(!is_swapped, "{said:#}"),
        }
        if verdict != "unclear" {
            let swap = step_verdict(&said, "swap");
            // What is left over behind a swap is a duty of that step.
            let has_swapped = swap.is_some_and(|word| ["done", "attention"].contains(&word));
            assert_eq!(has_swapped, is_swapped, "{said:#}");
        }
        if let Some(previous) = said["database"]["previous"].as_str() {
            assert!(
                is_swapped && after.previous.iter().any(|p| p == previous),
                "{said:#}"
            );
        }
        self.on_disk(&said, expected, ran);
        if expected.is_tidy {
            assert_eq!(after.scratch, Vec::<String>::new(), "{ran}");
            self.leaves_nothing(expected.is_step, &verdict);
        }
        verdict
    }

    /// What `unzip` and `fetch` have made stays.
    fn leaves_nothing(&self, is_step: bool, verdict: &str) {
        if !is_step {
            return self.world.nothing_is_left_after(verdict);
        }
        let half_done: Vec<_> = files(&self.world.setup.path("state"))
            .into_iter()
            .filter(|path| !(goes_on(verdict) && is_download(path)))
            .filter(|path| {
                let name = path.to_string_lossy();
                name.ends_with(".part") || name.ends_with(".tmp") || name.contains("/journal/")
            })
            .collect();
        assert!(half_done.is_empty(), "left in state_dir: {half_done:?}");
    }

    /// The report on disk says what was printed.
    fn on_disk(&self, said: &Value, expected: &Expected, ran: &Ran) {
        let Some(run) = said["run"].as_str() else {
            return;
        };
        let Some(report) = self.report_of(run) else {
            // A test mail is no run.
            let has_none = said["command"] == "notify" || !expected.is_tidy;
            assert!(has_none, "no report of {run}\n{ran}");
            return;
        };
        if report["verdict"] == "unfinished" && !expected.is_tidy {
            assert_ne!(said["verdict"], "done", "{ran}");
            return;
        }
        for field in ["verdict", "exit_code", "database", "archive"] {
            assert_eq!(report[field], said[field], "{field}\n{ran}");
        }
    }

    fn report_of(&self, run: &str) -> Option<Value> {
        let path = self.world.setup.path(&format!("state/runs/{run}.json"));
        let text = fs::read_to_string(path).ok()?;
        Some(serde_json::from_str(&text).expect("a report is JSON"))
    }

    /// (3) and (4) of a run that was killed: its report, if it came to have one, claims nothing.
    fn died(&self, before: &Seen, after: &Seen) -> String {
        let new: Vec<&String> = after.reports.difference(&before.reports).collect();
        let [run] = new[..] else {
            assert_eq!(new.len(), 0, "one run leaves one report");
            return "killed before its report".to_owned();
        };
        let report = self.report_of(run).expect("its report");
        if report["verdict"] != "unfinished" {
            return "killed behind its end".to_owned();
        }
        World::died(&report);
        match current_step(&report) {
            Some(step) => format!("killed in {step}"),
            None => "killed between steps".to_owned(),
        }
    }

    /// (7): the next run needs nobody's help, and leaves nothing of the one before.
    pub fn recovers(&mut self, is_dead: bool) {
        let dead = if is_dead {
            self.world.report()
        } else {
            Value::Null
        };
        let behind = std::mem::take(&mut self.behind);
        let next = 1 - self.live;
        let struck = self.strike(&["run"], |_| ());
        self.behind = behind;
        self.whole = struck.elapsed;
        let ran = struck.ran.expect(0);
        let report = ran.json();
        assert_eq!(report["verdict"], "done", "{report:#}");
        let after = self.seen();
        assert_eq!(after.hash, both()[next].hash, "{report:#}");
        assert_eq!(after.scratch, Vec::<String>::new(), "{report:#}");
        assert_eq!(after.previous.len(), 1, "{report:#}");
        self.world.nothing_is_left();
        self.no_secret(&ran);
        // No fault passes for somebody who edits the history.
        self.world.setup.run(&["report"]).expect(0);
        self.live = next;
        self.last = Some(after);
        if dead["verdict"] == "unfinished" {
            World::names_the_dead(&dead, &report);
        }
    }
}
