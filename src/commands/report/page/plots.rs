//! Which values of a job's runs are plotted.

use jiff::Timestamp;

use super::markup::Html;
use super::plot::{Limit, Plot, Point, Span};
use super::unit::Unit;
use crate::commands::report::{Entry, History};
use crate::report::{Record, Step};
use crate::verdict::Verdict;

/// Runs that a plot shows, the newest ones.
const RUNS: usize = 1000;

/// The steps as the columns show them.
const LAYERS: [&str; 6] = [
    "network",
    "fetch",
    "unzip",
    "restore",
    "check",
    "swap and rest",
];

pub(super) fn plots(history: &History, span: Span) -> Html {
    let runs: Vec<&Entry> = { history.runs.iter().take(RUNS) }.rev().collect();
    let targets = &history.restore.targets;
    let limit = |name, value: Option<std::time::Duration>| {
        value.map(|value| Limit {
            name,
            value: value.as_secs_f64(),
        })
    };
    let all = [
        durations(&runs),
        Plot {
            limit: limit("rpo", targets.rpo),
            ..ages(&runs)
        },
        Plot {
            limit: limit("rto", targets.rto),
            ..times_to_restore(&runs)
        },
        sizes(&runs),
        rows(&runs),
    ];
    let mut html = Html::default();
    for drawn in all.iter().filter_map(|plot| plot.draw(span)) {
        html.add(&drawn);
    }
    html
}

/// Whether it brought a new live database.
fn is_refresh(record: &Record) -> bool {
    let is_loaded = |wanted: Step| {
        let good = |verdict: Option<Verdict>| verdict.is_some_and(Verdict::is_good);
        let mut steps = record.steps.iter();
        steps.any(|step| step.step == wanted && good(step.verdict))
    };
    record.verdict.is_some_and(Verdict::is_good)
        && !record.is_beside()
        && matches!(record.command.as_str(), "run" | "restore")
        && is_loaded(Step::Restore)
}

fn is_drill(record: &Record) -> bool {
    record.command == "drill"
}

fn point(record: &Record, value: f64, unit: Unit) -> Point {
    let when = record.started.strftime("%Y-%m-%d %H:%M");
    Point {
        at: record.started,
        value,
        is_drill: is_drill(record),
        told: format!("{when}: {}", unit.text(value)),
        layers: Vec::new(),
    }
}

/// The points of runs that have the value.
fn points(runs: &[&Entry], unit: Unit, value: impl Fn(&Record) -> Option<f64>) -> Vec<Point> {
    let of_run = |run: &&Entry| Some(point(run.record, value(run.record)?, unit));
    runs.iter().filter_map(of_run).collect()
}

fn plot(title: &'static str, about: &'static str, unit: Unit, points: Vec<Point>) -> Plot {
    Plot {
        title,
        about,
        unit,
        points,
        limit: None,
        layers: Vec::new(),
    }
}

fn durations(runs: &[&Entry]) -> Plot {
    let whole = points(runs, Unit::Seconds, |record| {
        let is_run = matches!(record.command.as_str(), "run" | "restore");
        (is_run && !record.steps.is_empty()).then_some(record.seconds)
    });
    let find = |at: Timestamp| runs.iter().find(|run| run.record.started == at);
    let points = whole.into_iter().map(|point| {
        let layers = find(point.at).map_or_else(Vec::new, |run| layers(run.record));
        let value = layers.iter().map(|(_, value)| value).sum();
        let told = find(point.at).map_or_else(String::new, |run| steps(run.record));
        Point {
            told: format!("{}, {told}", point.told),
            value,
            layers,
            ..point
        }
    });
    Plot {
        layers: LAYERS.to_vec(),
        ..plot(
            "Duration by step",
            "of each run",
            Unit::Seconds,
            points.collect(),
        )
    }
}

/// The seconds of each layer; a step may come twice.
fn layers(record: &Record) -> Vec<(usize, f64)> {
    let mut sums = [0.0; LAYERS.len()];
    for step in &record.steps {
        let layer = match step.step {
            Step::Network => 0,
            Step::Fetch => 1,
            Step::Unzip => 2,
            Step::Restore => 3,
            Step::Check => 4,
            _ => 5,
        };
        sums[layer] += step.seconds;
    }
    let used = sums.into_iter().enumerate();
    used.filter(|(_, seconds)| *seconds > 0.0).collect()
}

/// The three longest, in words.
fn steps(record: &Record) -> String {
    let mut longest = layers(record);
    longest.sort_by(|a, b| b.1.total_cmp(&a.1));
    let words = longest.iter().take(3);
    let words = words
        .map(|(layer, seconds)| format!("{} {}", LAYERS[*layer], Unit::Seconds.text(*seconds)));
    words.collect::<Vec<_>>().join(", ")
}

/// How old the data was when it went live.
fn ages(runs: &[&Entry]) -> Plot {
    let age = |record: &Record| {
        let archive = record.archive.as_ref().filter(|_| is_refresh(record))?;
        let from = archive.dated.or(archive.modified)?;
        let live = record.ended.unwrap_or(record.started);
        Some(live.duration_since(from).as_secs_f64().max(0.0))
    };
    let points = points(runs, Unit::Seconds, age);
    plot(
        "Age of the data",
        "when it went live",
        Unit::Seconds,
        points,
    )
}

fn times_to_restore(runs: &[&Entry]) -> Plot {
    let time = |record: &Record| {
        let is_good = record.verdict.is_some_and(Verdict::is_good);
        if is_drill(record) {
            // What is counted and dropped afterwards, no restore would wait for.
            let facts = record.drill.as_ref().filter(|_| is_good)?;
            return facts.time_to_restore_seconds;
        }
        is_refresh(record).then_some(record.seconds)
    };
    let points = points(runs, Unit::Seconds, time);
    let about = if points.iter().any(|point| point.is_drill) {
        "refreshes, drills as squares"
    } else {
        "refreshes"
    };
    plot("Time to restore", about, Unit::Seconds, points)
}

fn sizes(runs: &[&Entry]) -> Plot {
    let size = |record: &Record| {
        let archive = record.archive.as_ref().filter(|_| is_refresh(record))?;
        #[expect(clippy::cast_precision_loss, reason = "drawn")]
        let bytes = archive.bytes as f64;
        Some(bytes)
    };
    let points = points(runs, Unit::Bytes, size);
    plot("Archive size", "restored", Unit::Bytes, points)
}

fn rows(runs: &[&Entry]) -> Plot {
    let rows = |record: &Record| {
        let totals = record
            .compared
            .table_totals
            .filter(|_| is_refresh(record))?;
        #[expect(clippy::cast_precision_loss, reason = "drawn")]
        let rows = totals.rows as f64;
        Some(rows)
    };
    let points = points(runs, Unit::Count, rows);
    plot("Rows", "of all tables, by statistics", Unit::Count, points)
}
