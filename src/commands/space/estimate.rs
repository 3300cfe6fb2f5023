//! How large a database will be that a dump makes: a guess that says what it rests on.

use jiff::Timestamp;

use crate::commands::Job;
use crate::database::dump::Toc;
use crate::report::Record;

/// A dump that compresses makes a database so many times its size, indexes and all; as much again is possible.
const TIMES_COMPRESSED: u64 = 5;
const TIMES_PLAIN: u64 = 2;
/// Reports that are read in search of a size.
const REPORTS: usize = 50;

/// What is to be restored, as far as its lengths are known before it is here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Coming {
    pub archive: Option<u64>,
    pub dump: Option<u64>,
    /// The rows in the dump are.
    pub compressed: bool,
    /// Nobody knows how much of the dump it is.
    pub some_tables: bool,
}

impl Coming {
    pub fn new(archive: Option<u64>, dump: Option<u64>, toc: &Toc) -> Self {
        Self {
            archive,
            dump,
            compressed: toc.header.compression != "none",
            some_tables: false,
        }
    }

    pub fn of_some_tables() -> Self {
        Self {
            some_tables: true,
            ..Self::default()
        }
    }

    /// Between what a dump can hardly make less than and hardly more than, beside an empty database.
    fn bounds(self) -> (u64, u64, u64) {
        let dump = self.dump.or(self.archive).unwrap_or(0);
        let is_compressed = self.compressed || self.dump.is_none();
        let times = if is_compressed {
            TIMES_COMPRESSED
        } else {
            TIMES_PLAIN
        };
        let least = if is_compressed { dump } else { dump / 2 };
        (
            least,
            dump.saturating_mul(times),
            dump.saturating_mul(2 * times),
        )
    }
}

/// What an estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// What an earlier run has measured, by the lengths of its dump and of this one.
    Run(Timestamp),
    /// As large as what is live.
    Live,
    /// The dump's length alone.
    Dump,
    /// Nothing.
    Tables,
}

impl Basis {
    /// Whether something like it was measured.
    pub fn is_measured(self) -> bool {
        matches!(self, Self::Run(_) | Self::Live)
    }

    pub fn in_words(self) -> String {
        match self {
            Self::Run(at) => format!(
                "estimated from the run of {}",
                at.strftime("%Y-%m-%d %H:%M UTC")
            ),
            Self::Live => "estimated to be as large as live".to_owned(),
            Self::Dump => "only guessed from the dump's size".to_owned(),
            Self::Tables => "how large some tables are is not known".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub bytes: u64,
    pub basis: Basis,
}

/// What an earlier run has measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    at: Timestamp,
    bytes: u64,
    dump: u64,
    archive: Option<u64>,
}

impl Measured {
    /// The last one of this job that tells.
    pub fn last(job: &Job<'_>) -> Option<Self> {
        let mut newest = job.newest_first().take(REPORTS);
        newest.find_map(|record| Self::of(&record, &job.database.name))
    }

    fn of(record: &Record, live: &str) -> Option<Self> {
        let database = record.database.as_ref();
        let database = database.filter(|one| one.name == live && one.beside.is_none())?;
        Some(Self {
            at: record.started,
            bytes: database.bytes?,
            dump: record.dump.as_ref().filter(|dump| dump.bytes > 0)?.bytes,
            archive: record.archive.as_ref().map(|archive| archive.bytes),
        })
    }

    /// By the same ratio; what an empty database takes doesn't grow.
    fn scaled(self, coming: Coming, empty: u64) -> u64 {
        let (now, then) = match (coming.dump, coming.archive, self.archive) {
            (Some(now), _, _) => (now, self.dump),
            (None, Some(now), Some(then)) if then > 0 => (now, then),
            _ => (1, 1),
        };
        let rows = u128::from(self.bytes.saturating_sub(empty));
        let scaled = rows * u128::from(now) / u128::from(then);
        let scaled = u64::try_from(scaled).unwrap_or(u64::MAX);
        scaled.saturating_add(empty.min(self.bytes))
    }
}

/// From an earlier run; else as large as live, where the dump may well make as much; else by the dump alone.
/// `empty`: what a database takes with nothing in it.
pub fn estimate(
    coming: Coming,
    live: Option<u64>,
    empty: u64,
    measured: Option<Measured>,
) -> Estimate {
    if coming.some_tables {
        return Estimate {
            bytes: empty,
            basis: Basis::Tables,
        };
    }
    if let Some(measured) = measured {
        return Estimate {
            bytes: measured.scaled(coming, empty),
            basis: Basis::Run(measured.at),
        };
    }
    let (least, likely, most) = coming.bounds();
    let fits = |bytes: &u64| {
        let rows = bytes.saturating_sub(empty);
        rows >= least && rows <= most
    };
    match live.filter(fits) {
        Some(bytes) => Estimate {
            bytes,
            basis: Basis::Live,
        },
        None => Estimate {
            bytes: likely.saturating_add(empty),
            basis: Basis::Dump,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: u64 = 8;

    fn coming(dump: u64) -> Coming {
        Coming {
            archive: Some(dump),
            dump: Some(dump),
            compressed: true,
            some_tables: false,
        }
    }

    fn measured() -> Measured {
        Measured {
            at: Timestamp::UNIX_EPOCH,
            bytes: 408,
            dump: 100,
            archive: Some(50),
        }
    }

    #[test]
    fn what_was_measured_grows_with_the_dump_and_else_with_the_archive() {
        let of = |coming| estimate(coming, Some(1), EMPTY, Some(measured()));
        assert_eq!(of(coming(200)).bytes, 808);
        assert_eq!(of(coming(200)).basis, Basis::Run(Timestamp::UNIX_EPOCH));
        let unknown = Coming {
            archive: Some(25),
            ..Coming::default()
        };
        assert_eq!(of(unknown).bytes, 208);
        assert_eq!(of(Coming::default()).bytes, 408);
    }

    #[test]
    fn live_tells_only_where_the_dump_may_well_make_as_much() {
        let of = |live, coming| estimate(coming, live, EMPTY, None);
        assert_eq!(of(Some(500), coming(100)).basis, Basis::Live);
        assert_eq!(of(Some(500), coming(100)).bytes, 500);
        // an empty live database, one of which the dump is a small part, and none
        for live in [Some(EMPTY), Some(1_009), None] {
            let guessed = of(live, coming(100));
            assert_eq!(
                (guessed.basis, guessed.bytes),
                (Basis::Dump, 508),
                "{live:?}"
            );
        }
        let plain = Coming {
            compressed: false,
            ..coming(100)
        };
        assert_eq!(of(Some(500), plain).bytes, 208);
    }
}
