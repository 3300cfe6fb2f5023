//! Which archive is taken: by the time in its name, without regard to case, one that is live already, and names that can't be asked for.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{
    Scene, archive, archive_with_row, count, dump, files, judged, says, steps, text, until,
    warnings,
};
use crate::support::program::Setup;
use crate::support::smtp::{Options, Smtp};
use crate::support::sshd::Sshd;

const HOUR: Duration = Duration::from_hours(1);
const BY_NAME: &str = "newest_by = \"name\"\nname_time = \"erp_%Y%m%d.zip\"";

/// `erp_20261121.zip`, of so many days ago in UTC.
fn dated(days: i64) -> String {
    let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    day.strftime("erp_%Y%m%d.zip").to_string()
}

fn run(setup: &Setup, word: &str) -> Value {
    judged(setup, &setup.run(&["run", "--json"]), word)
}

#[test]
fn by_name_the_latest_date_is_taken_whatever_was_modified_last() {
    let scene = Scene::new();
    let (older, newest) = (dated(2), dated(0));
    scene.put(&older, &archive_with_row("older"));
    scene.put_old(&newest, &archive(), 3 * HOUR);
    scene.put("erp_latest.zip", b"no date");
    let setup = scene.with(BY_NAME);

    let report = run(&setup, "done");

    assert_eq!(report["archive"]["name"], newest);
    assert!(
        text(&report["archive"]["dated"]).ends_with("T00:00:00Z"),
        "{report}"
    );
    assert_ne!(report["archive"]["modified"], report["archive"]["dated"]);
    says(
        warnings(&report)[0],
        &[&older, "was modified after", &newest],
    );
    scene.is_new();
}

#[test]
fn by_name_the_age_is_the_names() {
    let scene = Scene::new();
    scene.put(&dated(3), &archive());
    let setup = scene.with(BY_NAME);

    let report = run(&setup, "stale");

    says(
        text(&report["message"]),
        &[&dated(3), "by its name it is 3 d", "max_age"],
    );
    scene.is_untouched();
    let accepted = setup.run(&["run", "--json", "--accept", "stale"]);
    let report = judged(&setup, &accepted, "done");
    assert!(
        warnings(&report)
            .iter()
            .any(|warning| warning.contains("by its modification time of")),
        "{report}"
    );
}

#[test]
fn where_no_name_states_a_time_it_is_said_which_names_were_there() {
    let scene = Scene::new();
    scene.put("erp_latest.zip", &archive());
    let setup = scene.with(BY_NAME);

    let report = run(&setup, "stale");

    says(
        text(&report["message"]),
        &[
            "erp_latest.zip",
            "its name states no time as `erp_%Y%m%d.zip` does",
        ],
    );
    says(text(&report["hint"]), &["restores.erp.name_time"]);
    scene.is_untouched();
}

#[test]
fn by_name_equal_times_are_decided_by_the_alphabet_and_the_kept_ones_have_the_names_time() {
    let scene = Scene::new();
    let (lower, upper) = (dated(0), dated(0).replace("erp", "ERP"));
    scene.put(&upper, &archive_with_row("upper"));
    scene.put(&lower, &archive());
    let setup = scene.with(&format!("{BY_NAME}\nignore_case = true"));

    let report = run(&setup, "done");

    assert_eq!(report["archive"]["name"], lower, "small letters come later");
    says(
        warnings(&report)[0],
        &["2 archives", "same time in their names"],
    );
    let kept = files(&setup, "state/archives");
    assert!(
        kept.iter()
            .any(|path| path.to_string_lossy().contains("T000000Z-")),
        "{kept:?}"
    );
}

#[test]
fn names_with_dates_that_were_modified_in_another_order_are_told() {
    let scene = Scene::new();
    scene.put_old(&dated(0), &archive(), 2 * HOUR);
    scene.put_old(&dated(1), &archive_with_row("yesterday"), HOUR);
    let setup = scene.with("");

    let report = run(&setup, "done");

    assert_eq!(report["archive"]["name"], dated(1));
    says(
        warnings(&report)[0],
        &["was modified last", &dated(0), "newest_by"],
    );
}

#[test]
fn case_is_ignored_where_it_is_asked_for_and_otherwise_the_setting_is_named() {
    let scene = Scene::new();
    scene.put("ERP_1.ZIP", &archive());
    let setup = scene.with("pattern = \"erp_*.zip\"");
    let report = run(&setup, "stale");
    says(text(&report["hint"]), &["ignore_case = true", "ERP_1.ZIP"]);

    let setup = scene.with("pattern = \"erp_*.zip\"\nignore_case = true");
    run(&setup, "done");

    scene.is_new();
}

#[test]
fn one_that_is_live_already_is_restored_again_with_a_warning_by_default() {
    let scene = Scene::with_archive();
    let setup = scene.with("");
    run(&setup, "done");

    let report = run(&setup, "done");

    says(warnings(&report)[0], &["already restored on", "again"]);
    assert_eq!(scene.beside().len(), 1, "the previous one");
}

#[test]
fn one_that_is_live_already_can_be_skipped_and_the_mail_says_so() {
    // given
    let scene = Scene::with_archive();
    let smtp = Smtp::start(Options::default());
    let setup = scene
        .setup()
        .mail(&smtp, &["ops@example.org"])
        .restore("unchanged = \"skip\"\nkeep_archives = 0")
        .write();
    run(&setup, "done");
    scene
        .server
        .sql(&scene.live, "update t set v = 'worked on'");

    // when
    let report = run(&setup, "done");
    let again = run(&setup, "done");

    // then
    says(
        text(&report["message"]),
        &["erp.zip", "already restored on", "Nothing was downloaded"],
    );
    assert_eq!(
        text(&again["message"]),
        text(&report["message"]),
        "the day of the restore"
    );
    assert_eq!(steps(&report), ["network", "fetch", "notify"]);
    assert_eq!(scene.row(), "worked on");
    let mails = smtp.wait_for(3);
    says(&mails[1].data, &["Nothing to do", "erp.zip"]);
    assert!(!mails[1].data.contains("is now the backup of"));

    // and a dry run
    let planned = setup.run(&["run", "--dry-run"]).expect(0);
    says(&planned.stdout, &["erp.zip", "already restored on"]);

    // and by name
    let named = setup.run(&["run", "--json", "--archive", "erp.zip"]);
    judged(&setup, &named, "done");
    scene.is_new();
}

#[test]
fn one_that_is_live_already_can_be_stale() {
    let scene = Scene::with_archive();
    let setup = scene.with("unchanged = \"stale\"");
    run(&setup, "done");

    let report = run(&setup, "stale");

    says(
        text(&report["message"]),
        &["erp.zip", "already restored on", "no newer one"],
    );
    says(text(&report["hint"]), &["--accept stale"]);
    says(
        &setup.run(&["list"]).expect(0).stdout,
        &["already restored on"],
    );
    let accepted = setup.run(&["run", "--json", "--accept", "stale"]);
    judged(&setup, &accepted, "done");
    // To have it here is no restore.
    setup.run(&["fetch"]).expect(0);
}

#[test]
fn one_that_an_undo_took_back_is_rejected_and_not_skipped() {
    let scene = Scene::with_archive();
    let setup = scene.with("unchanged = \"skip\"");
    run(&setup, "done");
    setup.run(&["undo", "--yes"]).expect(0);

    says(
        text(&run(&setup, "stale")["message"]),
        &["rejected by undo"],
    );
    assert_eq!(scene.row(), "old");
}

#[test]
fn one_that_something_else_has_replaced_since_is_not_skipped() {
    // given
    let scene = Scene::with_archive();
    let setup = scene.with("unchanged = \"skip\"");
    run(&setup, "done");
    let by_hand = setup.path("by_hand.dump");
    fs::write(&by_hand, dump()).expect("a dump");
    let restore = [
        "restore",
        "--json",
        "--file",
        by_hand.to_str().expect("a path"),
    ];
    judged(&setup, &setup.run(&restore), "done");

    // when
    let report = run(&setup, "done");

    // then
    assert!(steps(&report).contains(&"swap"), "{report}");
    assert!(!steps(&run(&setup, "done")).contains(&"swap"));

    // and another job's
    let config = setup.path("config.toml");
    let lines = fs::read_to_string(&config).expect("config.toml");
    let erp = lines.find("[restores.erp]").expect("the job");
    let other = lines[erp..].replace("restores.erp", "restores.other");
    fs::write(&config, format!("{lines}\n{other}")).expect("config.toml");
    judged(&setup, &setup.run(&["run", "other", "--json"]), "done");
    let report = judged(&setup, &setup.run(&["run", "erp", "--json"]), "done");
    assert!(steps(&report).contains(&"swap"), "{report}");
}

#[test]
fn a_constant_name_that_is_overwritten_each_night_is_new_each_night() {
    let scene = Scene::new();
    scene.put_old("erp.zip", &archive_with_row("one"), 24 * HOUR);
    let setup = scene.with("unchanged = \"stale\"");
    run(&setup, "done");
    assert_eq!(scene.row(), "one");

    scene.put("erp.zip", &archive_with_row("two"));
    let report = run(&setup, "done");

    assert_eq!(scene.row(), "two");
    assert!(warnings(&report).is_empty(), "{report}");
    assert_eq!(count(&setup, "state/archives", "zip"), 2);
    run(&setup, "stale");
}

#[test]
fn a_constant_name_that_is_being_overwritten_is_not_taken_before_it_is_quiet() {
    let scene = Scene::with_archive();
    let setup = scene.with("settle = \"300ms\"\nwait_for = \"2m\"");
    run(&setup, "done");
    // Grows over what was there, as SFTP's put does.
    let whole = archive_with_row("two");
    let path = scene.put("erp.zip", &whole[..whole.len() / 2]);
    let mut upload = fs::File::options()
        .append(true)
        .open(&path)
        .expect("the upload");

    let running = setup.start(&["run", "--json"]);
    until("the run waits", || {
        let logs = files(&setup, "state/runs").into_iter();
        let mut logs = logs.filter(|path| path.extension().is_some_and(|it| it == "log"));
        logs.any(|log| fs::read_to_string(log).is_ok_and(|text| text.contains("waiting up to")))
    });
    upload
        .write_all(&whole[whole.len() / 2..])
        .expect("the rest");
    upload.set_modified(SystemTime::now()).expect("its time");

    judged(&setup, &running.finish(), "done");
    assert_eq!(scene.row(), "two");
}

/// `erp_Schäfer.zip` as an old system writes it.
fn latin_1() -> &'static OsStr {
    OsStr::from_bytes(b"erp_Sch\xe4fer\x1b.zip")
}

#[test]
fn a_name_in_latin_1_is_shown_escaped_and_it_is_told_why_it_is_not_taken() {
    // given
    let scene = Scene::new();
    let sshd = Sshd::start();
    fs::write(sshd.dir.join(latin_1()), archive()).expect("an archive");
    let over_sftp = Setup::new()
        .sftp(&sshd)
        .database(scene.server, &scene.live)
        .restore("pattern = \"erp_*.zip\"")
        .write();
    fs::write(scene.store.path().join(latin_1()), archive()).expect("an archive");
    let local = scene.with("pattern = \"erp_*.zip\"");

    for setup in [&over_sftp, &local] {
        // when
        let report = run(setup, "stale");
        let listed = setup.run(&["list"]).expect(0);
        let document = setup.run(&["list", "--json"]).expect(0).json();

        // then
        let name = "erp_Sch\\u{fffd}fer\\u{1b}.zip";
        says(text(&report["message"]), &[name, "its name is not UTF-8"]);
        says(text(&report["hint"]), &["UTF-8"]);
        says(&listed.stdout, &[name, "its name is not UTF-8"]);
        let row = &document["archives"][0];
        assert_eq!(row["name"], name);
        assert_eq!(row["objection"], "its name is not UTF-8");
        assert!(row["bytes"].is_null(), "{row}");
        scene.is_untouched();
    }

    // and beside one that can be taken
    sshd.put("erp_1.zip", &archive());
    let report = run(&over_sftp, "done");
    says(warnings(&report)[0], &["would match too", "not UTF-8"]);
}
