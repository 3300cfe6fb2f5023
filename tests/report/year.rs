//! A year of reports as a job's nights leave them: 365 runs with three verdicts, 52 drills.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl::report;
use backupctl::run::RunId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::program::Setup;

/// Runs that a year has, and drills.
pub const RUNS: i32 = 365;
pub const DRILLS: i32 = 52;

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).expect("31 bits")
    }

    /// From 0 up to 1.
    fn next(&mut self) -> f64 {
        f64::from(self.word()) / f64::from(1u32 << 31)
    }
}

/// An installation with a job `erp` that has `rpo` and `rto`, whose state directory has the reports of a year up to now.
pub fn installation() -> Setup {
    let setup = setup();
    let now = Timestamp::now();
    let mut dice = Dice(7);
    for night in 0..RUNS {
        let started = now - SignedDuration::from_hours(24 * i64::from(RUNS - night))
            + SignedDuration::from_hours(18);
        put(&setup, &run(night, started, &mut dice));
        if night % 7 == 3 {
            put(
                &setup,
                &drill(night, started + SignedDuration::from_hours(3), &mut dice),
            );
        }
    }
    // A run that ends now finds them all.
    let own = RunId::new(now);
    report::catch_up(&setup.path("state"), "erp", &own).expect("a chain");
    setup
}

/// A configuration that names servers nobody asks.
pub fn setup() -> Setup {
    let setup = Setup::new()
        .part("[stores.office.local]\npath = \"/srv/backups\"\n")
        .part("[databases.erp.postgres]\nhost = \"db.example.org\"\nuser = \"postgres\"\nname = \"erp\"\n")
        .restore("rpo = \"26h\"\nrto = \"1h\"\n")
        .write();
    let runs = setup.path("state/runs");
    fs::create_dir_all(&runs).expect("the reports' directory");
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(setup.path("state"), private).expect("a private directory");
    setup
}

/// Writes a report as a run leaves it.
pub fn put(setup: &Setup, report: &Value) {
    let run = report["run"].as_str().expect("a run");
    let text = serde_json::to_vec_pretty(report).expect("JSON");
    fs::write(setup.path(&format!("state/runs/{run}.json")), text).expect("a report");
}

fn id(started: Timestamp, number: i32) -> String {
    format!("{}-{number:04x}", started.strftime("%Y%m%d-%H%M%S"))
}

fn hash(dice: &mut Dice) -> String {
    let word = |_| format!("{:08x}", dice.word());
    (0..8).map(word).collect()
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn run(night: i32, started: Timestamp, dice: &mut Dice) -> Value {
    let growth = 1.0 + f64::from(night) / 900.0 + dice.next() * 0.02;
    let bytes = 3_100_000_000
        + u64::from(night.unsigned_abs()) * 3_400_000
        + u64::from(dice.word() % 40_000_000);
    let (fetch, load) = (
        150.0 * growth + 60.0 * dice.next(),
        900.0 * growth + 200.0 * dice.next(),
    );
    let slow = if night % 90 == 41 { 3.4 } else { 1.0 };
    let verdict = verdict(night);
    let mut steps = vec![
        step("network", 0.4 + dice.next(), None, "done"),
        step("fetch", fetch, Some(bytes), "done"),
        step("unzip", 38.0 * growth, Some(bytes * 6), "done"),
        step("restore", load * slow, None, "done"),
    ];
    steps.extend(last_steps(verdict, dice));
    let seconds: f64 = { steps.iter() }
        .filter_map(|step| step["seconds"].as_f64())
        .sum();
    let ended = started + SignedDuration::from_secs_f64(seconds);
    let late = if night % 60 == 55 { 26 } else { 3 };
    let mut report = bones("run", &id(started, night), started);
    let more = json!({
        "ended": ended, "seconds": round(seconds), "verdict": verdict,
        "archive": { "name": format!("erp_{}.zip", started.strftime("%Y%m%d")), "bytes": bytes,
            "modified": started - SignedDuration::from_hours(late), "sha256": hash(dice) },
        "steps": steps,
        "warnings": if night % 5 == 0 { vec!["the server's clock is 2 s ahead of the store's"] } else { vec![] },
    });
    merge(&mut report, &more);
    merge(&mut report, &judged(verdict));
    merge(&mut report, &rows(41_000_000 + night * 52_000));
    report
}

/// Every 31st night fails, every 23rd leaves a duty.
fn verdict(night: i32) -> &'static str {
    match night {
        night if night % 31 == 12 => "failed",
        night if night % 23 == 7 => "attention",
        _ => "done",
    }
}

fn last_steps(verdict: &str, dice: &mut Dice) -> Vec<Value> {
    let check = |dice: &mut Dice, verdict| step("check", 21.0 + 9.0 * dice.next(), None, verdict);
    match verdict {
        "failed" => vec![check(dice, "failed"), step("notify", 1.1, None, "done")],
        verdict => vec![
            check(dice, "done"),
            step("swap", 0.3 + dice.next(), None, "done"),
            step("notify", 1.1, None, verdict),
        ],
    }
}

fn judged(verdict: &str) -> Value {
    let is_failed = verdict == "failed";
    let message = match verdict {
        "failed" => Some(
            "check: `select count(*) from orders where placed > now() - interval '1 day'`: expected at least 1, found 0",
        ),
        "attention" => Some(
            "the report was not delivered to ops@example.org: mail.example.org:587: connection refused",
        ),
        _ => None,
    };
    json!({
        "message": message,
        "hint": is_failed.then_some("look at the archive: the night's orders are missing"),
        "checks": [
            { "sql": "select count(*) from orders where placed > now() - interval '1 day'", "expected": "at least 1",
                "found": if is_failed { "0" } else { "8412" }, "ok": !is_failed },
            { "sql": "select max(placed) from orders", "expected": "newer than 2 d", "found": "2026-11-20 23:51:09+00", "ok": true },
        ],
        "notified": [{ "to": "ops@example.org", "ok": verdict != "attention", "message": "250 2.0.0 Ok: queued" }],
    })
}

fn rows(rows: i32) -> Value {
    json!({
        "tables": [
            { "schema": "public", "name": "orders", "rows": rows / 3, "live_rows": rows / 3 - 8412, "in": "both" },
            { "schema": "public", "name": "order_lines", "rows": rows / 2, "live_rows": rows / 2 - 31_077, "in": "both" },
        ],
        "table_totals": { "tables": 214, "rows": rows, "live_tables": 214, "live_rows": rows - 52_000, "live_unknown": 0 },
    })
}

fn drill(night: i32, started: Timestamp, dice: &mut Dice) -> Value {
    let growth = 1.0 + f64::from(night) / 700.0;
    let steps = [
        step("fetch", 160.0 * growth, None, "done"),
        step("unzip", 39.0 * growth, None, "done"),
        step(
            "restore",
            1200.0 * growth + 300.0 * dice.next(),
            None,
            "done",
        ),
        step("check", 24.0, None, "done"),
        step("drop", 0.6, None, "done"),
    ];
    let seconds: f64 = steps
        .iter()
        .filter_map(|step| step["seconds"].as_f64())
        .sum();
    let mut report = bones("drill", &id(started, night), started);
    let ended = started + SignedDuration::from_secs_f64(seconds);
    let more = json!({
        "ended": ended, "seconds": round(seconds), "verdict": "done",
        "archive": { "name": format!("erp_{}.zip", started.strftime("%Y%m%d")), "bytes": 3_100_000_000_u64,
            "modified": started - SignedDuration::from_hours(6), "sha256": hash(dice) },
        "steps": steps,
        "drill": { "where": "local", "origin": "store", "pg_restore": "17.6",
            "host_key": "ssh-ed25519 SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLm7wJr3bYPHNmtF8s",
            "objects": { "constraint": 388, "index": 512, "table": 214 }, "time_to_restore_seconds": round(seconds),
            "rows": 41_000_000 + night * 52_000, "dropped": true,
            "tables": [{ "schema": "public", "name": "orders", "rows": 13_000_000 }, { "schema": "public", "name": "order_lines", "rows": 20_000_000 }] },
    });
    merge(&mut report, &more);
    report
}

fn step(step: &str, seconds: f64, bytes: Option<u64>, verdict: &str) -> Value {
    json!({ "step": step, "verdict": verdict, "seconds": round(seconds), "bytes": bytes, "message": null })
}

/// What every report has.
pub fn bones(command: &str, run: &str, started: Timestamp) -> Value {
    json!({
        "format": 1, "run": run, "command": command, "job": "erp", "host": "backup1", "version": "0.1.0",
        "started": started, "ended": started, "seconds": 1.0, "verdict": "done", "exit_code": 0, "message": null, "hint": null,
        "archive": null,
        "dump": { "name": "erp.dump", "bytes": 19_000_000_000_u64, "format": "custom", "pg_dump_version": "16.10", "server_version": "16.10" },
        "database": { "host": "db.example.org", "name": "erp", "server_version": "17.6", "previous": null },
        "steps": [], "checks": [], "notified": [], "warnings": [],
    })
}

pub fn merge(report: &mut Value, more: &Value) {
    for (name, value) in more.as_object().expect("fields") {
        report[name] = value.clone();
    }
}
