//! One kind of fault, injected many times: counted, judged, and gone on with where an invariant broke.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::options::Options;

/// So many broken invariants end a sweep: the rest would say the same.
const ENOUGH: usize = 10;
/// Of each sweep in the sample that the suite runs.
const SAMPLE: usize = 2;

#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    pub name: &'static str,
    /// For the page: what is injected and where.
    pub what: &'static str,
    pub run: fn(&mut Sweeping),
}

/// What came of a sweep.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    pub name: &'static str,
    pub what: &'static str,
    pub injected: u32,
    /// How many there would have been without broken ones and with more time.
    pub planned: u32,
    /// How the program ended, and how often.
    pub outcomes: BTreeMap<String, u32>,
    pub broken: Vec<String>,
    /// Why nothing could be injected here.
    pub skipped: Option<String>,
    pub seconds: f64,
}

/// A sweep at work.
pub struct Sweeping<'a> {
    pub options: &'a Options,
    pub random: Random,
    pub swept: Swept,
    until: Instant,
}

/// One fault: what it is, in words, and the blow, which returns how the program ended or panics where an invariant broke.
pub struct Fault<F> {
    pub what: String,
    pub strike: Box<dyn FnOnce(&mut F) -> String>,
}

impl<F> Fault<F> {
    pub fn new(what: String, strike: impl FnOnce(&mut F) -> String + 'static) -> Self {
        Self {
            what,
            strike: Box::new(strike),
        }
    }
}

impl Sweeping<'_> {
    /// All of them, or as many as the scale asks for, taken at random. After a broken invariant the next gets a field of its own.
    pub fn each<F>(&mut self, mut make: impl FnMut() -> F, faults: Vec<Fault<F>>) {
        let faults = self.chosen(faults);
        let total = faults.len();
        self.swept.planned += u32::try_from(total).expect("some hundreds");
        let mut field = None;
        for (number, fault) in faults.into_iter().enumerate() {
            if self.swept.broken.len() >= ENOUGH {
                say(&format!("{}: given up", self.swept.name));
                break;
            }
            if Instant::now() >= self.until {
                break;
            }
            let struck = catch_unwind(AssertUnwindSafe(|| {
                (fault.strike)(field.get_or_insert_with(&mut make))
            }));
            self.swept.injected += 1;
            match struck {
                Ok(outcome) => *self.swept.outcomes.entry(outcome).or_insert(0) += 1,
                Err(panic) => {
                    let why = words(&*panic);
                    say(&format!(
                        "BROKEN {}: {}: {why}",
                        self.swept.name, fault.what
                    ));
                    let one = format!("{}: {}: {why}", self.swept.name, fault.what);
                    self.swept.broken.push(one);
                    field = None;
                }
            }
            if (number + 1) % 25 == 0 {
                say(&format!("{}: {} of {total}", self.swept.name, number + 1));
            }
        }
    }

    fn chosen<F>(&mut self, mut faults: Vec<Fault<F>>) -> Vec<Fault<F>> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of some hundreds"
        )]
        let share = (faults.len() as f64 * self.options.scale) as usize;
        let wanted = share.max(SAMPLE).min(faults.len());
        while faults.len() > wanted {
            let one = self.random.below(faults.len() as u64);
            faults.remove(usize::try_from(one).expect("an index"));
        }
        faults
    }
}

/// The sweeps that are wanted, so many at the same time, in their order.
pub fn sweep_all(sweeps: &[Sweep], options: &Options) -> Vec<Swept> {
    say(&format!("seed {}, scale {}", options.seed, options.scale));
    let wanted = sweeps.iter().filter(|sweep| options.wants(sweep.name));
    let left: Mutex<VecDeque<Sweep>> = Mutex::new(wanted.copied().collect());
    let done = Mutex::new(Vec::new());
    let until = Instant::now() + Duration::from_secs(60 * options.minutes);
    let lane = || {
        loop {
            let next = left.lock().expect("no lane panics here").pop_front();
            let Some(sweep) = next.filter(|_| Instant::now() < until) else {
                break;
            };
            let swept = swept(sweep, options, until);
            done.lock().expect("no lane panics here").push(swept);
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.lanes {
            scope.spawn(lane);
        }
    });
    let mut done = done.into_inner().expect("no lane panics here");
    done.sort_by_key(|swept: &Swept| sweeps.iter().position(|sweep| sweep.name == swept.name));
    done
}

fn swept(sweep: Sweep, options: &Options, until: Instant) -> Swept {
    let clock = Instant::now();
    let mut sweeping = Sweeping {
        options,
        random: Random::of(options.seed, sweep.name),
        swept: Swept {
            name: sweep.name,
            what: sweep.what,
            ..Swept::default()
        },
        until,
    };
    // Also what comes before the first fault may fail: then the sweep did not take place, which is broken as well.
    let whole = catch_unwind(AssertUnwindSafe(|| (sweep.run)(&mut sweeping)));
    let mut swept = sweeping.swept;
    if let Err(panic) = whole {
        swept
            .broken
            .push(format!("{}: {}", sweep.name, words(&*panic)));
    }
    swept.seconds = clock.elapsed().as_secs_f64();
    say(&format!(
        "{}: {} injected, {:?}, {} broken, {:.0} s",
        swept.name,
        swept.injected,
        swept.outcomes,
        swept.broken.len(),
        swept.seconds
    ));
    swept
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

/// SplitMix64: the same numbers from the same seed, whatever the other sweeps do.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn of(seed: u64, name: &str) -> Self {
        let mixed = name
            .bytes()
            .fold(seed, |state, byte| Self(state ^ u64::from(byte)).next());
        Self(mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end` − 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// 0.000 to 0.999.
    pub fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.below(1000)).expect("below a thousand")) / 1000.0
    }

    /// One bit of a byte.
    pub fn bit(&mut self) -> u8 {
        1 << self.below(8)
    }
}

/// A line of progress, also where the harness keeps what tests print.
pub fn say(line: &str) {
    // Nobody may be reading any more; the page is what counts.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
