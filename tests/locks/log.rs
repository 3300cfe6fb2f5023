//! The log file, and what stands on stderr and stdout beside it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::add;
use crate::support::program::{Program, Setup};
use crate::support::shop::Shop;

/// A shop with one archive and `[log]`, whose file is `log/backupctl.log`.
fn logging(lines: &str) -> Shop {
    let shop = Shop::new("");
    shop.offer("a.zip", "new", 10);
    fs::create_dir(shop.setup.path("log")).expect("a directory");
    add(
        &shop.setup,
        &format!("[log]\nfile = \"log/backupctl.log\"\n{lines}"),
    );
    shop
}

fn today(setup: &Setup) -> PathBuf {
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    setup.path(&format!("log/backupctl.{date}.log"))
}

#[test]
fn the_configured_name_leads_to_todays_log() {
    let shop = logging("");
    let run = shop.refreshed()["run"].clone();

    let link = shop.setup.path("log/backupctl.log");
    let text = fs::read_to_string(&link).expect("the log");

    assert_eq!(
        fs::canonicalize(&link).expect("a link"),
        fs::canonicalize(today(&shop.setup)).expect("today's log")
    );
    assert!(text.contains(run.as_str().expect("an id")), "{text}");
    assert!(
        text.contains("swap: started") && text.contains("swap: ended"),
        "{text}"
    );
    assert!(!text.contains("DEBUG"), "{text}");
}

#[test]
fn only_so_many_old_logs_are_kept_and_nothing_else_is_removed() {
    // given
    let shop = logging("keep = 3");
    let old = |day: u32| {
        shop.setup
            .path(&format!("log/backupctl.2020-01-{day:02}.log"))
    };
    for day in 1..6 {
        fs::write(old(day), "old").expect("an old log");
    }
    let foreign = shop.setup.path("log/other.2020-01-01.log");
    fs::write(&foreign, "not ours").expect("somebody's log");

    // when
    shop.refreshed();

    // then
    let kept = fs::read_dir(shop.setup.path("log")).expect("listed");
    let names: Vec<String> = kept
        .map(|file| {
            file.expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let rotated = names
        .iter()
        .filter(|name| name.starts_with("backupctl.20"))
        .count();
    assert_eq!(rotated, 3, "{names:?}");
    assert!(today(&shop.setup).exists() && foreign.exists(), "{names:?}");
}

#[test]
fn an_ordinary_file_of_that_name_is_kept_aside() {
    let shop = logging("");
    let file = shop.setup.path("log/backupctl.log");
    fs::write(&file, "of an older program\n").expect("a log");

    shop.refreshed();

    let kept = shop.setup.path("log/backupctl.before-rotation");
    assert_eq!(
        fs::read_to_string(kept).expect("kept"),
        "of an older program\n"
    );
    assert!(fs::symlink_metadata(&file).expect("the link").is_symlink());
}

#[test]
fn as_json_each_line_is_a_document() {
    let shop = logging("format = \"json\"\nlevel = \"debug\"");
    shop.refreshed();

    let text = fs::read_to_string(today(&shop.setup)).expect("the log");

    assert!(text.lines().count() > 10, "{text}");
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn at_level_error_a_good_run_logs_nothing() {
    let shop = logging("level = \"error\"");
    shop.refreshed();
    assert_eq!(fs::read_to_string(today(&shop.setup)).expect("the log"), "");
}

#[test]
fn without_its_directory_the_log_is_missed_and_the_run_goes_on() {
    let shop = logging("");
    fs::remove_dir(shop.setup.path("log")).expect("no directory");

    let ran = shop.run(&["run"]).expect(0);

    assert!(
        ran.stderr.contains("backupctl.log") && ran.stderr.contains("warning:"),
        "{ran}"
    );
    assert_eq!(shop.row(), "new");
}

#[test]
fn what_comes_from_outside_never_reaches_the_log_raw() {
    let shop = logging("");
    let script = "printf 'a\\\\033[31mred\\\\rback\\\\007 ende\\\\n'; exit 1";
    let path = shop.setup.path("config.toml");
    let config = fs::read_to_string(&path).expect("config.toml");
    let hook = format!("[restores.erp]\nbefore_swap = [[\"sh\", \"-c\", \"{script}\"]]");
    fs::write(&path, config.replace("[restores.erp]", &hook)).expect("config.toml");
    shop.offer("b\u{1b}[2J.zip", "new", 1);

    let ran = shop.run(&["run"]).expect(10);
    shop.run(&["list"]).expect(0);

    let log = fs::read_to_string(today(&shop.setup)).expect("the log");
    assert!(log.contains("ende"), "{log}");
    for text in [&log, &ran.stdout, &ran.stderr] {
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}

#[test]
fn a_file_name_on_the_command_line_reaches_the_terminal_escaped() {
    let shop = Shop::new("");
    let name = "a\u{1b}[2J\u{9b}\u{202e}.toml";
    let program = Program::new(shop.setup.path(".").as_path());
    let ran = program.run(&["-c", name, "run", "--json"]).expect(3);
    for text in [&ran.stdout, &ran.stderr] {
        assert!(text.contains("u202e") || text.contains("u{202e}"), "{text}");
        let unfit = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(unfit), "{text:?}");
    }
    assert_eq!(ran.json()["exit_code"], 3);
}

#[test]
fn a_good_run_from_cron_says_nothing_on_stderr_and_more_only_when_asked() {
    let shop = logging("");

    let plain = shop.run(&["run"]).expect(0);
    let quiet = shop.run(&["-q", "run"]).expect(0);
    let verbose = shop.run(&["run", "-v"]).expect(0);
    let everything = shop.run(&["run", "-vv"]).expect(0);

    assert_eq!(plain.stderr, "");
    assert_eq!(quiet.stderr, "");
    assert!(verbose.stderr.contains("swap: ended"), "{verbose}");
    assert!(
        everything.stderr.lines().count() > verbose.stderr.lines().count(),
        "{everything}"
    );
    for ran in [&plain, &quiet, &verbose] {
        assert!(ran.stdout.contains("is now the backup of"), "{ran}");
    }
}

#[test]
fn a_quiet_run_still_says_what_went_wrong() {
    let shop = Shop::new("");
    let ran = shop.run(&["run", "-q"]).expect(7);
    assert!(ran.stderr.starts_with("error: "), "{ran}");
    assert!(ran.stderr.contains("hint: "), "{ran}");
}

#[test]
fn colours_are_for_stderr_alone() {
    let shop = Shop::new("");
    let always = shop.run(&["--color", "always", "run"]).expect(7);
    let never = shop.run(&["--color", "never", "run"]).expect(7);

    assert!(always.stderr.contains("\u{1b}["), "{always}");
    assert!(!always.stdout.contains('\u{1b}'), "{always}");
    assert!(!never.to_string().contains('\u{1b}'), "{never}");
}
