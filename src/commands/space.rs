//! What takes how much room at the peak of a restore, on the server and here: planned before anything is downloaded or loaded.
//!
//! An estimate ends a run only where a budget says so, or where not even a quarter of it would fit.

mod cluster;
mod estimate;
mod here;

pub use self::cluster::of_cluster;
pub use self::estimate::Coming;
use self::estimate::{Estimate, Measured, estimate};
pub use self::here::{Here, of_fetch, of_run, of_unzip};
use super::restore::Held;
use super::{Job, previous};
use crate::config::{DropPrevious, Method, format_bytes};
use crate::database::beside::drop_command;
use crate::database::connection::quote_identifier;
use crate::database::space::{self, Beside, Free, Kind, Occupied};
use crate::escape::{in_shell, shown};
use crate::verdict::{Failed, Outcome, Verdict};

/// In a line of a plan, behind its label.
const WIDTH: usize = 70;
/// A budget with less than this share of it left is warned of.
const CLOSE_PERCENT: u64 = 10;

/// Something that takes room.
#[derive(Debug)]
struct Part {
    what: String,
    bytes: u64,
}

impl Part {
    fn new(what: impl Into<String>, bytes: u64) -> Self {
        Self {
            what: what.into(),
            bytes,
        }
    }
}

/// `archive 1.2 GiB, dump 4.0 GiB`.
fn listed<'a>(parts: impl IntoIterator<Item = &'a Part>) -> String {
    let parts = parts.into_iter();
    let parts = parts.map(|part| format!("{} {}", part.what, format_bytes(part.bytes)));
    parts.collect::<Vec<_>>().join(", ")
}

/// The room on the server, with its peak while the dump is loaded.
#[derive(Debug)]
pub struct There {
    live: String,
    user: String,
    job: String,
    occupied: Occupied,
    scratch: Estimate,
    method: Method,
    drop_previous: DropPrevious,
    keep_previous: usize,
    /// Names of what is dropped before the load.
    dropped: Vec<String>,
    budget: Option<u64>,
    /// Nothing else makes room for it.
    is_beside: bool,
}

impl There {
    /// Looks at what there is, and estimates what comes.
    pub async fn look(held: &Held, coming: Coming, job: &Job<'_>) -> Outcome<Self> {
        let Held { session, target } = held;
        let occupied = space::occupied(session, target).await?;
        let measured = Measured::last(job);
        let live = occupied.live.filter(|_| !target.live.is_missing());
        let restore = job.restore;
        let dropped = match restore.method {
            Method::Swap => previous::dropped_first(session, &target.live, job).await?,
            Method::InPlace => Vec::new(),
        };
        Ok(Self {
            live: shown(&target.live.name),
            user: target.server.user.clone(),
            job: restore.name.clone(),
            scratch: estimate(coming, live, occupied.empty, measured),
            occupied,
            method: restore.method,
            drop_previous: restore.drop_previous,
            keep_previous: restore.keep_previous,
            dropped,
            budget: job.database.max_server_bytes,
            is_beside: false,
        })
    }

    /// Of a load that takes nobody's place: nothing is dropped for it, whatever the job's own settings.
    #[must_use]
    pub fn beside_live(self) -> Self {
        Self {
            method: Method::Swap,
            drop_previous: DropPrevious::AfterSwap,
            keep_previous: 0,
            dropped: Vec::new(),
            is_beside: true,
            ..self
        }
    }

    fn stays(&self, one: &Beside) -> bool {
        !self.dropped.contains(&one.name)
    }

    /// What there is and stays during the load, but for the live database.
    fn beside(&self) -> u64 {
        let kept = self.occupied.beside.iter().filter(|one| self.stays(one));
        kept.filter_map(|one| one.bytes).sum()
    }

    fn peak(&self) -> u64 {
        let live = self.occupied.live.unwrap_or(0);
        (self.scratch.bytes.saturating_add(live)).saturating_add(self.beside())
    }

    /// What the server's disk must have beyond what is taken now.
    fn more(&self) -> u64 {
        let dropped = self.occupied.beside.iter().filter(|one| !self.stays(one));
        let dropped: u64 = dropped.filter_map(|one| one.bytes).sum();
        self.scratch.bytes.saturating_sub(dropped)
    }

    /// What the database that is loaded may take: the scratch database, or in place the live one with what it was.
    pub fn most_bytes(&self) -> Option<u64> {
        let live = match self.method {
            Method::Swap => self.occupied.live.unwrap_or(0),
            Method::InPlace => 0,
        };
        let others = self.beside().saturating_add(live);
        self.budget.map(|budget| budget.saturating_sub(others))
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        if let Some(live) = self.occupied.live.filter(|bytes| *bytes > 0) {
            parts.push(Part::new("live", live));
        }
        let new = match self.method {
            Method::Swap => "scratch about",
            Method::InPlace => "new beside old rows about",
        };
        parts.push(Part::new(new, self.scratch.bytes));
        for what in ["previous", "waiting for swap", "to be looked at"] {
            let of_kind = self.occupied.beside.iter();
            let of_kind: Vec<&Beside> = of_kind
                .filter(|one| self.stays(one) && one.kind.in_words() == what)
                .collect();
            if !of_kind.is_empty() {
                let bytes = of_kind.iter().filter_map(|one| one.bytes).sum();
                let count = match of_kind.len() {
                    1 => String::new(),
                    count => format!(" ({count})"),
                };
                parts.push(Part::new(format!("{what}{count}"), bytes));
            }
        }
        parts
    }

    /// In one sentence.
    pub fn at_the_peak(&self) -> String {
        let free = match self.occupied.free {
            Free::Bytes(bytes) => format_bytes(bytes),
            Free::Unknown(_) => "unknown".to_owned(),
        };
        format!(
            "{} at the peak, {} more than now; free: {free}",
            format_bytes(self.peak()),
            format_bytes(self.more())
        )
    }

    /// For a plan.
    pub fn in_words(&self) -> Vec<String> {
        let why = match self.occupied.free {
            Free::Bytes(_) => None,
            Free::Unknown(why) => Some(why),
        };
        let mut lines = vec![format!("server    {}", self.at_the_peak())];
        let mut told = Vec::new();
        told.extend(why.map(str::to_owned));
        told.extend(wrapped(&self.parts()));
        told.push(format!(
            "{}; WAL comes on top",
            self.scratch.basis.in_words()
        ));
        if let Some(unseen) = self.unseen() {
            told.push(unseen);
        }
        if let Some(budget) = self.budget {
            told.push(format!(
                "budget {} (max_server_bytes), {} of it left",
                format_bytes(budget),
                format_bytes(budget.saturating_sub(self.peak()))
            ));
        }
        lines.extend(told.into_iter().map(|line| format!("          {line}")));
        lines
    }

    /// Whose size the role may not ask.
    fn unseen(&self) -> Option<String> {
        let live = self.occupied.live.is_none().then_some(self.live.as_str());
        let beside = self.occupied.beside.iter();
        let beside = beside.filter(|one| one.bytes.is_none() && self.stays(one));
        let names: Vec<String> = live
            .into_iter()
            .chain(beside.map(|one| one.name.as_str()))
            .map(|name| format!("`{}`", shown(name)))
            .collect();
        (!names.is_empty()).then(|| format!("size unknown: {}", names.join(", ")))
    }

    /// Whether it may begin.
    ///
    /// # Errors
    /// `config`: the budget would be passed or can't be watched, or the server's disk is far too small.
    pub fn judge(&self) -> Outcome<()> {
        if let Some(budget) = self.budget {
            if let Some(unseen) = self.unseen() {
                return Err(Failed::new(
                    Verdict::Config,
                    format!("`max_server_bytes` can't be watched: {unseen}"),
                )
                .hint(format!(
                    "GRANT pg_read_all_stats TO {};",
                    quote_identifier(&self.user)
                )));
            }
            if self.peak() > budget {
                return Err(self.over(budget));
            }
        }
        match self.occupied.free {
            Free::Bytes(free) if self.scratch.basis.is_measured() && self.more() / 4 > free => {
                Err(Failed::new(Verdict::Config, self.no_room(free)).hint(self.make_room()))
            }
            _ => Ok(()),
        }
    }

    fn over(&self, budget: u64) -> Failed {
        Failed::new(
            Verdict::Config,
            format!(
                "`{}` would take {} on the server at the peak, and its `max_server_bytes` is {}: {} ({})",
                self.live,
                format_bytes(self.peak()),
                format_bytes(budget),
                listed(&self.parts()),
                self.scratch.basis.in_words()
            ),
        )
        .hint(self.less_than(budget))
    }

    fn no_room(&self, free: u64) -> String {
        format!(
            "the server's disk has {} free, and the restore needs about {} more: {} ({})",
            format_bytes(free),
            format_bytes(self.more()),
            listed(&self.parts()),
            self.scratch.basis.in_words()
        )
    }

    fn make_room(&self) -> String {
        let before = match self.drop_previous {
            DropPrevious::AfterSwap if self.method == Method::Swap && !self.is_beside => {
                ", set `drop_previous = \"before-load\"`"
            }
            _ => "",
        };
        format!(
            "free space on the server{before}, or give its disk more: a full one ends the live database's work too"
        )
    }

    /// What would let the restore fit into the budget.
    fn less_than(&self, budget: u64) -> String {
        let mut remedies = Vec::new();
        if self.method == Method::Swap && !self.is_beside && self.occupied.live != Some(0) {
            remedies.extend(self.earlier(budget));
        }
        for one in &self.occupied.beside {
            let remedy = match &one.kind {
                Kind::Waiting(job) if *job != self.job => format!(
                    "make live what job `{}` has prepared: `backupctl swap {}`",
                    shown(job),
                    in_shell(job)
                ),
                Kind::Look(job) => format!(
                    "look at `{}` no more: {}",
                    shown(&one.name),
                    drop_command(&one.name, job)
                ),
                _ => continue,
            };
            let or = if remedies.is_empty() { "" } else { "or " };
            remedies.push(format!("{or}{remedy}"));
        }
        remedies.push(format!(
            "{}raise `max_server_bytes` to {} or more, where the server has the room",
            if remedies.is_empty() { "" } else { "or " },
            format_bytes(self.peak().saturating_add(self.peak() / 10))
        ));
        remedies.join("\n")
    }

    /// Which previous databases would have to go before the load, if that is enough.
    fn earlier(&self, budget: u64) -> Option<String> {
        let fixed = self.occupied.live.unwrap_or(0);
        let fixed = fixed.saturating_add(self.scratch.bytes);
        let of_others = self.occupied.beside.iter();
        let of_others: u64 = of_others
            .filter(|one| match &one.kind {
                Kind::Previous => false,
                Kind::Waiting(job) => *job != self.job,
                Kind::Look(_) => true,
            })
            .filter_map(|one| one.bytes)
            .sum();
        let previous = self.occupied.beside.iter();
        let previous = previous.filter(|one| one.kind == Kind::Previous);
        let previous: Vec<u64> = previous.filter_map(|one| one.bytes).collect();
        let fits = |keep: &usize| {
            let kept: u64 = previous.iter().take(keep.saturating_sub(1)).sum();
            fixed.saturating_add(of_others).saturating_add(kept) <= budget
        };
        let keep = (0..=self.keep_previous).rev().find(fits)?;
        let mut settings = Vec::new();
        if keep < self.keep_previous {
            settings.push(format!("keep_previous = {keep}"));
        }
        if self.drop_previous == DropPrevious::AfterSwap {
            settings.push("drop_previous = \"before-load\"".to_owned());
        }
        (!settings.is_empty()).then(|| format!("set `{}`", settings.join("` and `")))
    }

    /// What the operator should see although the load may begin.
    pub fn warn(&self, job: &Job<'_>) {
        if let Some(budget) = self.budget {
            let left = budget.saturating_sub(self.peak());
            if left < budget / 100 * CLOSE_PERCENT {
                job.run.notes.warn(format!(
                    "`max_server_bytes` is nearly used up: {} of {} are left at the peak",
                    format_bytes(left),
                    format_bytes(budget)
                ));
            }
        }
        if let Free::Bytes(free) = self.occupied.free
            && self.more() > free
        {
            job.run.notes.warn(self.no_room(free));
        }
    }
}

/// As few lines as they fit into.
fn wrapped(parts: &[Part]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let told = listed([part]);
        match lines.last_mut() {
            Some(line) if line.len() + told.len() + 2 <= WIDTH => {
                line.push_str(", ");
                line.push_str(&told);
            }
            _ => lines.push(told),
        }
    }
    lines
}
