//! Reads `[restores.NAME]`: the restore jobs.

use std::time::Duration;

use globset::Glob;

use super::choosing;
use super::contents::contents;
use super::read::named;
use super::section::Section;
use super::units::{parse_duration, parse_size};
use super::{
    AfterCheck, Check, DropPrevious, Expectation, GoLive, LostObjects, Method, MinSize, Restore,
    Sessions, Targets,
};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

pub fn restores(root: &mut Section<'_>) -> Vec<Restore> {
    named(root, "restores", |name, section| {
        Some(restore(name, section))
    })
}

fn restore(name: &str, mut section: Section<'_>) -> Restore {
    let stream = section.flag("stream", false);
    let restore = Restore {
        name: name.to_owned(),
        from: section.required_text("from", "office"),
        pattern: pattern(&mut section),
        ignore_case: section.flag("ignore_case", false),
        newest_by: choosing::newest_by(&mut section),
        max_age: max_age(&mut section),
        min_size: min_size(&mut section),
        settle: section.duration("settle", Duration::from_secs(5)),
        wait_for: section.duration("wait_for", Duration::ZERO),
        unchanged: choosing::unchanged(&mut section),
        keep_archives: count(&mut section, "keep_archives", if stream { 0 } else { 2 }),
        dump: glob(&mut section, "dump"),
        zip_password: section.secret("zip_password"),
        max_unpacked: section.size("max_unpacked", 200 << 30),
        into: section.required_text("into", "erp"),
        method: section.choice(
            "method",
            &[("swap", Method::Swap), ("in-place", Method::InPlace)],
            Method::Swap,
        ),
        jobs: jobs(&mut section, stream),
        stream,
        contents: contents(&mut section),
        after_load: section.files("after_load"),
        lost_objects: lost_objects(&mut section),
        stall: section.duration("stall", 10 * MINUTE),
        sessions: sessions(&mut section),
        sessions_timeout: section.duration("sessions_timeout", Duration::from_secs(30)),
        keep_previous: count(&mut section, "keep_previous", 1),
        drop_previous: drop_previous(&mut section),
        go_live: go_live(&mut section),
        before_swap: section.commands("before_swap"),
        after_swap: section.commands("after_swap"),
        hook_timeout: section.duration("hook_timeout", MINUTE),
        checks: each(&mut section, "checks", check),
        after_checks: each(&mut section, "after_checks", after_check),
        targets: targets(&mut section),
        ping: section.url("ping"),
    };
    judge(&section, &restore);
    section.finish();
    restore
}

fn targets(section: &mut Section<'_>) -> Targets {
    let mut target = |key| {
        let is_set = section.has(key);
        let target = section.duration(key, Duration::ZERO);
        if is_set && target.is_zero() {
            section.problem(key, "must be longer than zero");
        }
        (!target.is_zero()).then_some(target)
    };
    Targets {
        rpo: target("rpo"),
        rto: target("rto"),
        expected: target("expected"),
    }
}

pub(super) fn each<T>(
    section: &mut Section<'_>,
    key: &'static str,
    read: impl Fn(Section<'_>) -> Option<T>,
) -> Vec<T> {
    let all = section.each(key).into_iter();
    all.filter_map(read).collect()
}

fn sessions(section: &mut Section<'_>) -> Sessions {
    let words = [
        ("terminate", Sessions::Terminate),
        ("wait", Sessions::Wait),
        ("fail", Sessions::Fail),
    ];
    section.choice("sessions", &words, Sessions::Terminate)
}

fn judge(section: &Section<'_>, restore: &Restore) {
    if restore.stall.is_zero() {
        section.problem("stall", "must be longer than zero");
    }
    if restore.stream {
        judge_stream(section, restore);
    }
    if restore.method == Method::InPlace {
        judge_in_place(section, restore);
        needs_a_swap(section, restore);
    }
}

fn judge_stream(section: &Section<'_>, restore: &Restore) {
    if restore.jobs > 1 {
        let told = format!(
            "is {}, but `stream = true` feeds one session of pg_restore: set 1, or leave it out",
            restore.jobs
        );
        section.problem("jobs", &told);
    }
    if restore.keep_archives > 0 {
        section.problem(
            "keep_archives",
            "`stream = true` writes no archive that could be kept: set 0, or leave it out",
        );
    }
    if restore.method == Method::InPlace {
        section.problem(
            "stream",
            "not with `method = \"in-place\"`: its transaction would be committed before the archive's checksum is proven",
        );
    }
}

/// In place nothing is swapped, so there is nothing to hold and nothing to go back to.
fn needs_a_swap(section: &Section<'_>, restore: &Restore) {
    let settings = [
        ("swap", restore.go_live == GoLive::Hold),
        (
            "drop_previous",
            restore.drop_previous == DropPrevious::BeforeLoad,
        ),
        ("after_checks", !restore.after_checks.is_empty()),
    ];
    for (key, _) in settings.iter().filter(|(_, is_set)| *is_set) {
        section.problem(
            key,
            "needs `method = \"swap\"`; with \"in-place\" nothing is swapped and nothing can be undone",
        );
    }
}

/// What needs a scratch database beside the live one.
fn judge_in_place(section: &Section<'_>, restore: &Restore) {
    if !restore.after_load.is_empty() {
        let text = "runs in the scratch database, and `method = \"in-place\"` has none";
        section.problem("after_load", text);
    }
    if restore.lost_objects == LostObjects::Refuse {
        let text = "can't be \"refuse\" with `method = \"in-place\"`: the live database is changed before anything is known";
        section.problem("lost_objects", text);
    }
    if restore.checks.iter().any(Check::needs_live) {
        let text = "at_least_of_live needs the old data beside the new, and `method = \"in-place\"` has overwritten it";
        section.problem("checks", text);
    }
}

fn lost_objects(section: &mut Section<'_>) -> LostObjects {
    section.choice(
        "lost_objects",
        &[("warn", LostObjects::Warn), ("refuse", LostObjects::Refuse)],
        LostObjects::Warn,
    )
}

fn drop_previous(section: &mut Section<'_>) -> DropPrevious {
    let words = [
        ("after-swap", DropPrevious::AfterSwap),
        ("before-load", DropPrevious::BeforeLoad),
    ];
    section.choice("drop_previous", &words, DropPrevious::AfterSwap)
}

fn go_live(section: &mut Section<'_>) -> GoLive {
    let words = [("now", GoLive::Now), ("hold", GoLive::Hold)];
    section.choice("swap", &words, GoLive::Now)
}

fn count(section: &mut Section<'_>, key: &'static str, default: u64) -> usize {
    usize::try_from(section.number(key, 0..=1000, default)).unwrap_or(usize::MAX)
}

fn jobs(section: &mut Section<'_>, stream: bool) -> u32 {
    let processors = if stream {
        1
    } else {
        std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
    };
    u32::try_from(section.number("jobs", 1..=256, processors as u64)).unwrap_or(1)
}

fn pattern(section: &mut Section<'_>) -> String {
    let pattern = section.required_text("pattern", "erp_*.zip");
    if pattern.contains('/') {
        section.problem(
            "pattern",
            "is for the file name only; the directory is the store's `path`",
        );
    }
    judge_glob(section, "pattern", &pattern);
    pattern
}

fn glob(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let pattern = section.text(key)?;
    judge_glob(section, key, &pattern);
    Some(pattern)
}

fn judge_glob(section: &Section<'_>, key: &str, pattern: &str) {
    if let Some(problem) = glob_problem(pattern) {
        section.problem(key, &problem);
    }
}

/// Why it is no glob; None: it is one.
#[must_use]
pub fn glob_problem(pattern: &str) -> Option<String> {
    let error = Glob::new(pattern).err()?;
    Some(format!("{pattern:?} is no glob: {}", error.kind()))
}

fn max_age(section: &mut Section<'_>) -> Option<Duration> {
    let default = Some(36 * HOUR);
    let Some(text) = section.text("max_age") else {
        return default;
    };
    if text == "none" {
        return None;
    }
    parse_duration(&text).or_else(|| {
        section.problem(
            "max_age",
            &format!("{text:?} is no duration; write it like \"36h\" or \"7d\", or \"none\""),
        );
        default
    })
}

fn min_size(section: &mut Section<'_>) -> MinSize {
    let default = MinSize::Share(0.5);
    let Some(text) = section.text("min_size") else {
        return default;
    };
    let share = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok());
    match (share, parse_size(&text)) {
        (Some(share), _) if (0.0..=100.0).contains(&share) => MinSize::Share(share / 100.0),
        (_, Some(bytes)) => MinSize::Bytes(bytes),
        _ => {
            section.problem(
                "min_size",
                &format!("{text:?} is neither a share like \"50%\" nor a size like \"10 MiB\""),
            );
            default
        }
    }
}

pub(super) fn check(mut section: Section<'_>) -> Option<Check> {
    const WAYS: [&str; 5] = [
        "at_least",
        "at_most",
        "equals",
        "newer_than",
        "at_least_of_live",
    ];
    let sql = section.required_text("sql", "select count(*) from users");
    let given = WAYS.iter().filter(|way| section.has(way)).count();
    if given != 1 {
        section.problem(
            "sql",
            &format!("needs one of {}, has {given}", WAYS.join(", ")),
        );
    }
    let expect = [
        section.decimal("at_least").map(Expectation::AtLeast),
        section.decimal("at_most").map(Expectation::AtMost),
        section.scalar("equals").map(Expectation::Equals),
        section
            .has("newer_than")
            .then(|| Expectation::NewerThan(section.duration("newer_than", Duration::ZERO))),
        percent(&mut section).map(Expectation::AtLeastOfLive),
    ];
    section.finish();
    let expect = expect.into_iter().flatten().next()?;
    Some(Check { sql, expect })
}

/// `"80%"`.
fn percent(section: &mut Section<'_>) -> Option<f64> {
    let text = section.text("at_least_of_live")?;
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok());
    let percent = number.filter(|percent| *percent > 0.0 && *percent <= 100.0);
    if percent.is_none() {
        section.problem(
            "at_least_of_live",
            &format!("{text:?} is no share like \"80%\", more than 0% and 100% at most"),
        );
    }
    percent
}

/// A command, or SQL with the same expectations as a check before the swap.
fn after_check(mut section: Section<'_>) -> Option<AfterCheck> {
    if section.has("sql") && !section.has("command") {
        if section.has("at_least_of_live") {
            let text = "can't be asked after the swap: what was live is set aside by then";
            section.problem("at_least_of_live", text);
        }
        return check(section).map(AfterCheck::Sql);
    }
    let command = section.texts("command");
    if section.has("sql") {
        section.problem("sql", "is one too many: either `sql` or `command`");
    } else if command.first().is_none_or(String::is_empty) {
        section.problem(
            "command",
            "is missing; for example `command = [\"curl\", \"-fsS\", \"http://localhost:8080/health\"]`, or `sql`",
        );
    }
    section.text("sql");
    section.finish();
    Some(AfterCheck::Command(command))
}
