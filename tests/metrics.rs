//! `[metrics] textfile`: what Prometheus reads of the last runs, whatever became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::hook::{Hook, Reply};
use crate::support::shop::Shop;

const CRM: &str =
    "[restores.crm]\nfrom = \"office\"\ninto = \"erp\"\npattern = \"crm_*.zip\"\nsettle = \"0s\"\n";

/// The samples by name and labels, read as Prometheus reads them: anything out of the ordinary fails the test.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let mut family = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help text");
            assert!(
                !words.is_empty() && families.insert(name.to_owned()),
                "{line}"
            );
            assert_eq!(lines.next(), Some(&*format!("# TYPE {name} gauge")));
            name.clone_into(&mut family);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').expect("labels");
        assert_eq!(name, family, "samples of a family stand together");
        assert!(is_name(name) && name.starts_with("backupctl_"), "{name}");
        for label in labels.strip_suffix('}').expect("an end").split(',') {
            let (label, value) = label.split_once('=').expect("a label");
            assert!(is_name(label), "{line}");
            let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            assert!(inside.is_some_and(|v| !v.contains(['"', '\\'])), "{line}");
        }
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite());
        assert!(
            samples.insert(series.to_owned(), value).is_none(),
            "twice: {series}"
        );
    }
    samples
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_lowercase())
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn file(shop: &Shop) -> PathBuf {
    shop.setup.path("textfile/backupctl.prom")
}

fn samples(shop: &Shop) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(file(shop)).expect("the textfile");
    let entries = fs::read_dir(shop.setup.path("textfile")).expect("its directory");
    assert_eq!(entries.count(), 1, "nothing else is left there");
    parsed(&text)
}

/// The value of `backupctl_<name>{job="<job>"…}`.
fn value(samples: &BTreeMap<String, f64>, name: &str, labels: &str) -> f64 {
    let series = format!("backupctl_{name}{{{labels}}}");
    let found = samples.get(&series).copied();
    found.unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
}

fn measured(more: &str) -> Shop {
    let part = format!("[metrics]\ntextfile = \"textfile/backupctl.prom\"\n{more}");
    let shop = Shop::with("", |setup| setup.part(&part));
    fs::create_dir(shop.setup.path("textfile")).expect("the collector's directory");
    shop.offer("a.zip", "new", 10);
    shop
}

fn rewrite(shop: &Shop, change: impl FnOnce(String) -> String) {
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    fs::write(&path, change(config)).expect("config.toml");
}

#[test]
fn a_run_writes_its_figures_for_everybody_to_read() {
    // given
    let shop = measured(CRM);

    // when
    let report = shop.run(&["run", "erp", "--json"]).expect(0).json();

    // then
    let found = samples(&shop);
    let erp = |name: &str| value(&found, name, "job=\"erp\"");
    let ended: jiff::Timestamp = report["ended"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    assert!((erp("last_run_timestamp_seconds") - ended.as_duration().as_secs_f64()).abs() < 0.001);
    assert!(erp("last_success_timestamp_seconds") >= erp("last_run_timestamp_seconds"));
    assert!(erp("live_data_timestamp_seconds") < erp("last_success_timestamp_seconds"));
    assert!(erp("last_run_duration_seconds") > 0.0);
    for field in ["archive", "dump", "database"] {
        let bytes = report[field]["bytes"].as_f64().expect("bytes");
        assert!(
            (erp(&format!("last_run_{field}_bytes")) - bytes).abs() < 0.5,
            "{field}"
        );
    }
    for zero in ["last_run_exit_code", "undelivered_reports"] {
        assert!(erp(zero).abs() < f64::EPSILON, "{zero}");
    }
    let warnings = report["warnings"].as_array().expect("warnings").len();
    assert_eq!(erp("last_run_warnings").to_string(), warnings.to_string());
    let info = "job=\"erp\",command=\"run\",verdict=\"done\"";
    assert!(value(&found, "last_run_info", info) > 0.5);
    assert!(
        value(
            &found,
            "last_run_step_duration_seconds",
            "job=\"erp\",step=\"restore\""
        ) > 0.0
    );
    // The other one has never run, and an alert on its age must fire.
    assert!(value(&found, "last_success_timestamp_seconds", "job=\"crm\"").abs() < f64::EPSILON);
    assert!(
        found.keys().all(|series| !series.contains("drill")),
        "nobody drills here: {found:#?}"
    );
    let mode = fs::metadata(file(&shop))
        .expect("the textfile")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn drills_have_figures_of_their_own_and_are_no_runs() {
    // given
    let shop = measured("[drill]\nevery = \"30d\"\n");
    shop.run(&["run"]).expect(0);
    let before = samples(&shop);
    let drill = |found: &BTreeMap<String, f64>, name: &str| {
        value(found, &format!("{name}_timestamp_seconds"), "job=\"erp\"")
    };
    // An alert on its age must fire.
    assert!(drill(&before, "last_good_drill").abs() < f64::EPSILON);

    // when
    let good = shop.run(&["drill", "--json"]).expect(0).json();
    let proven = samples(&shop);
    shop.run(&["drill", "--archive", "missing.zip"]).expect(7);
    let missed = samples(&shop);

    // then
    let ended = good["ended"].as_str().expect("a time");
    let ended: jiff::Timestamp = ended.parse().expect("a time");
    let ended = ended.as_duration().as_secs_f64();
    assert!((drill(&proven, "last_drill") - ended).abs() < 0.001);
    assert!((drill(&proven, "last_good_drill") - ended).abs() < 0.001);
    assert!(drill(&missed, "last_drill") > ended);
    assert!((drill(&missed, "last_good_drill") - ended).abs() < 0.001);
    for of_run in ["last_run", "last_success", "live_data"] {
        let (was, is) = (drill(&before, of_run), drill(&missed, of_run));
        assert!((was - is).abs() < f64::EPSILON, "{of_run}");
    }
    let info = "job=\"erp\",command=\"run\",verdict=\"done\"";
    assert!(value(&missed, "last_run_info", info) > 0.5);
    assert!(shop.run(&["report"]).expect(0).stdout.contains("drill"));
}

#[test]
fn another_jobs_run_keeps_the_figures_and_a_job_that_is_gone_vanishes() {
    // given
    let shop = measured(CRM);
    shop.run(&["run", "erp"]).expect(0);

    // when
    shop.run(&["run", "crm"]).expect(7);

    // then
    let found = samples(&shop);
    assert!(value(&found, "last_run_exit_code", "job=\"erp\"").abs() < f64::EPSILON);
    assert!((value(&found, "last_run_exit_code", "job=\"crm\"") - 7.0).abs() < f64::EPSILON);
    assert!(value(&found, "last_success_timestamp_seconds", "job=\"crm\"").abs() < f64::EPSILON);

    // when
    rewrite(&shop, |config| config.replace(CRM, ""));
    shop.run(&["run", "erp"]).expect(0);

    // then
    assert!(samples(&shop).keys().all(|series| !series.contains("crm")));
}

#[test]
fn a_run_that_fails_early_or_by_a_signal_is_in_the_figures() {
    // given
    let hook = Hook::in_clear();
    let shop = measured(&format!("[notify]\nping = \"{}\"\n", hook.url("x")));
    shop.run(&["run"]).expect(0);
    let good = value(
        &samples(&shop),
        "last_success_timestamp_seconds",
        "job=\"erp\"",
    );
    hook.reply(&[Reply::Hang]);

    // when
    let running = shop.setup.start(&["run"]);
    hook.wait_for(3);
    running.signal(Signal::TERM);
    running.finish().expect(143);

    // then
    let found = samples(&shop);
    assert!((value(&found, "last_run_exit_code", "job=\"erp\"") - 143.0).abs() < f64::EPSILON);
    let success = value(&found, "last_success_timestamp_seconds", "job=\"erp\"");
    assert!((success - good).abs() < f64::EPSILON);

    // when: the run can't have its lock
    let locks = shop.setup.path("state/locks");
    fs::rename(&locks, shop.setup.path("aside")).expect("the locks");
    fs::write(&locks, "").expect("something in their place");
    shop.run(&["run"]).expect(9);

    // then
    let found = samples(&shop);
    assert!((value(&found, "last_run_exit_code", "job=\"erp\"") - 9.0).abs() < f64::EPSILON);
    let success = value(&found, "last_success_timestamp_seconds", "job=\"erp\"");
    assert!((success - good).abs() < f64::EPSILON);
    fs::remove_file(&locks).expect("what was in their place");

    // when: the secrets of the run can't be opened
    rewrite(&shop, |config| {
        config.replace(&hook.url("x"), "env:NO_SUCH_URL")
    });
    shop.run(&["run"]).expect(3);

    // then
    let info = "job=\"erp\",command=\"run\",verdict=\"config\"";
    assert!(value(&samples(&shop), "last_run_info", info) > 0.5);
}

#[test]
fn a_locked_and_a_dry_run_change_nothing() {
    let hook = Hook::in_clear();
    let shop = measured(&format!("[notify]\nping = \"{}\"\n", hook.url("x")));
    shop.run(&["run"]).expect(0);
    let before = fs::read_to_string(file(&shop)).expect("the textfile");
    hook.reply(&[Reply::Hang]);
    let running = shop.setup.start(&["run"]);
    hook.wait_for(3);

    shop.run(&["run"]).expect(4);
    shop.run(&["run", "-n", "--archive", "missing.zip"])
        .expect(4);

    assert_eq!(
        fs::read_to_string(file(&shop)).expect("the textfile"),
        before
    );
    running.signal(Signal::TERM);
    running.finish().expect(143);
}

#[test]
fn jobs_that_end_together_lose_nothing() {
    // given: two jobs that fail at once, many times
    let crm = format!("{CRM}zip_password = \"env:NO_SUCH\"\n");
    let shop = measured(&crm);
    rewrite(&shop, |config| {
        config.replace(
            "[restores.erp]",
            "[restores.erp]\nzip_password = \"env:NO_SUCH\"",
        )
    });

    for _ in 0..5 {
        // when
        let both = ["erp", "crm"].map(|job| shop.setup.start(&["run", job, "--json"]));
        let ended = both.map(|running| running.finish().expect(3).json()["ended"].clone());

        // then
        let found = samples(&shop);
        for (job, ended) in ["erp", "crm"].iter().zip(ended) {
            let ended: jiff::Timestamp = ended.as_str().expect("a time").parse().expect("a time");
            let written = value(
                &found,
                "last_run_timestamp_seconds",
                &format!("job=\"{job}\""),
            );
            assert!(
                (written - ended.as_duration().as_secs_f64()).abs() < 0.001,
                "{job}"
            );
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_is_a_duty_and_hides_nothing_worse() {
    // given
    let shop = measured("");
    fs::remove_dir(shop.setup.path("textfile")).expect("no directory");

    // when
    let ran = shop.run(&["run"]).expect(12);
    let report = shop
        .run(&["run", "--json", "--archive", "missing.zip"])
        .expect(7)
        .json();
    let check = shop.run(&["check"]).expect(3);

    // then
    assert_eq!(shop.row(), "new");
    assert!(
        ran.stderr.contains("write the metrics ") && ran.stderr.contains("backupctl.prom"),
        "{ran}"
    );
    assert!(ran.stderr.contains("correct `metrics.textfile`"), "{ran}");
    assert_eq!(shop.setup.reports()[0]["verdict"], "attention");
    assert_eq!(report["verdict"], "stale");
    assert!(
        report["warnings"].to_string().contains("write the metrics"),
        "{report}"
    );
    assert!(check.stdout.contains("failed   metrics"), "{check}");
    assert!(
        !shop.setup.path("textfile").exists(),
        "somebody else's directory is not made"
    );
}

#[test]
fn an_undelivered_report_is_in_the_figures() {
    let hook = Hook::in_clear();
    let shop = measured(&format!("[notify.webhook]\nurl = \"{}\"\n", hook.url("x")));
    hook.reply(&[Reply::Status(403, "")]);

    shop.run(&["run"]).expect(12);
    let missed = samples(&shop);
    shop.run(&["run"]).expect(0);
    let sent = samples(&shop);

    let count = |found| value(found, "undelivered_reports", "job=\"erp\"");
    assert!((count(&missed) - 1.0).abs() < f64::EPSILON);
    assert!((value(&missed, "last_run_exit_code", "job=\"erp\"") - 12.0).abs() < f64::EPSILON);
    assert!(count(&sent).abs() < f64::EPSILON);
}
