//! `schedule`: what runs the jobs by themselves, judged by systemd's own programs.

mod booted;
mod machine;
mod units;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::run::says;
use crate::support::program::{Setup, names_in};

/// A job that needs nothing to be there; `lines` say more of `[restores.erp]`.
fn installation(lines: &str) -> Setup {
    Setup::new()
        .part("[stores.office.local]\npath = \"/mnt/backups\"\n")
        .part("[databases.erp.postgres]\nhost = \"db.example.org\"\nuser = \"postgres\"\nname = \"erp\"\n")
        .restore(lines)
        .write()
}

/// One more job of it.
fn another(job: &str) -> String {
    format!("\n[restores.{job}]\nfrom = \"office\"\npattern = \"*\"\ninto = \"erp\"\n")
}

/// `schedule --install` into the directory `units` of the installation.
fn staged(setup: &Setup, arguments: &[&str]) -> PathBuf {
    let directory = setup.path("units");
    fs::create_dir_all(&directory).expect("a directory");
    let into = ["schedule", "--install", "--dir", "units"];
    setup.run(&[&into, arguments].concat()).expect(0);
    directory
}

const UNITS: [&str; 4] = [
    "backupctl-run.service",
    "backupctl-run.timer",
    "backupctl-status.service",
    "backupctl-status.timer",
];

#[test]
fn without_install_the_units_are_printed_and_nothing_is_written() {
    let setup = installation("");
    let ran = setup.run(&["schedule", "--dir", "units"]).expect(0);
    for name in UNITS {
        says(&ran.stdout, &[&format!("/units/{name}\n")]);
    }
    says(
        &ran.stdout,
        &[
            "OnCalendar=*-*-* 02:00:00",
            "Persistent=yes",
            "run -q",
            "--max-age 26h",
        ],
    );
    let dry = setup
        .run(&["schedule", "--install", "--dir", "units", "-n"])
        .expect(0);
    says(
        &dry.stdout,
        &["would be written: ", "backupctl-status.timer"],
    );
    assert!(!setup.path("units").exists());
}

#[test]
fn what_is_installed_is_readable_by_all_and_taken_away_again() {
    // given
    let setup = installation("");
    let units = staged(&setup, &[]);
    assert_eq!(names_in(&units), UNITS);
    for name in UNITS {
        let mode = fs::metadata(units.join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o644, "{name}");
    }
    let mine = units.join("mine.service");
    fs::write(&mine, "[Unit]\n").expect("another unit");

    // when: nobody confirms, or it is only a look
    let asked = setup
        .run(&["schedule", "--remove", "--dir", "units"])
        .expect(2);
    says(&asked.stderr, &["--yes"]);
    setup
        .run(&["schedule", "--remove", "--dir", "units", "-n"])
        .expect(0);
    assert_eq!(names_in(&units).len(), 5);
    setup
        .run(&["schedule", "--remove", "--dir", "units", "--yes"])
        .expect(0);

    // then
    assert_eq!(names_in(&units), ["mine.service"]);
    let again = setup
        .run(&["schedule", "--remove", "--dir", "units", "--yes"])
        .expect(0);
    assert_eq!(again.stdout, "nothing is scheduled by us\n");
}

#[test]
fn a_unit_that_somebody_else_wrote_is_neither_replaced_nor_removed() {
    let setup = installation("");
    let units = setup.path("units");
    fs::create_dir(&units).expect("a directory");
    let theirs = units.join(UNITS[1]);
    for make in [
        |path: &PathBuf| fs::write(path, "[Timer]\n# mine\n"),
        |path: &PathBuf| std::os::unix::fs::symlink("/dev/null", path),
    ] {
        make(&theirs).expect("a unit");
        for arguments in [
            &["--install"][..],
            &["--install", "--yes"],
            &["--remove", "--yes"],
        ] {
            let ran = setup
                .run(&[&["schedule", "--dir", "units"], arguments].concat())
                .expect(3);
            says(&ran.stderr, &[UNITS[1]]);
        }
        assert_eq!(names_in(&units), [UNITS[1]]);
        fs::remove_file(&theirs).expect("the unit");
    }
}

#[test]
fn ours_are_written_anew_but_those_of_another_configuration_only_with_yes() {
    let setup = installation("");
    let units = staged(&setup, &[]);
    staged(&setup, &["--at", "3:30", "--at", "15:00"]);
    let timer = fs::read_to_string(units.join(UNITS[1])).expect("the timer");
    says(
        &timer,
        &["OnCalendar=*-*-* 03:30:00\nOnCalendar=*-*-* 15:00:00\n"],
    );
    let status = fs::read_to_string(units.join(UNITS[2])).expect("the service");
    says(&status, &["--max-age 870m"]);

    // The same file by another name is no other configuration.
    let detour = [
        "-c",
        "units/../config.toml",
        "schedule",
        "--install",
        "--dir",
        "units",
    ];
    setup.program.run(&detour).expect(0);

    fs::copy(setup.path("config.toml"), setup.path("other.toml")).expect("a copy");
    let other = [
        "-c",
        "other.toml",
        "schedule",
        "--install",
        "--dir",
        "units",
    ];
    let refused = setup.program.run(&other).expect(2);
    says(&refused.stderr, &["--yes"]);
    let removed = [
        "-c",
        "other.toml",
        "schedule",
        "--remove",
        "--yes",
        "--dir",
        "units",
    ];
    says(
        &setup.program.run(&removed).expect(3).stderr,
        &["config.toml"],
    );
    setup
        .program
        .run(&[&other[..], &["--yes"]].concat())
        .expect(0);
    let service = fs::read_to_string(units.join(UNITS[0])).expect("the service");
    says(&service, &["/other.toml run -q"]);
}

#[test]
fn what_makes_no_schedule_is_a_usage_or_configuration_error() {
    let setup = installation("");
    for (arguments, code, why) in [
        (&["--at", "25:00"][..], 2, "write a time such as"),
        (
            &["--on-calendar", "someday", "--max-age", "8d"],
            2,
            "someday",
        ),
        (&["--on-calendar", "Mon *-*-* 02:00"], 2, "--max-age"),
        (
            &[
                "--on-calendar",
                "daily\nExecStart=/bin/sh",
                "--max-age",
                "26h",
            ],
            2,
            "no calendar",
        ),
        (&["--user", "no-such-user"], 2, "no user"),
        (&["--user=-x"], 2, "no user"),
        (&["--on-failure", "evil\n[Service]"], 2, "no name of a unit"),
        (&["--cron", "--on-calendar", "daily"], 2, "cannot be used"),
        (&["nowhere"], 2, "no job `nowhere`"),
    ] {
        let ran = setup.run(&[&["schedule"], arguments].concat()).expect(code);
        says(&ran.stderr, &[why]);
    }
    let good = [
        "schedule",
        "--on-calendar",
        "Mon..Fri 02:00",
        "--max-age",
        "74h",
        "--on-failure",
        "tell@%n.service",
    ];
    let ran = setup.run(&good).expect(0);
    says(
        &ran.stdout,
        &[
            "OnCalendar=Mon..Fri 02:00\n",
            "OnFailure=tell@%n.service\n",
            "--max-age 74h",
        ],
    );
}

#[test]
fn a_login_that_only_an_agent_gives_is_refused_since_no_timer_has_one() {
    let setup = Setup::new()
        .part("[stores.office.sftp]\nhost = \"nas\"\nuser = \"u\"\npath = \"/\"\n")
        .part("[databases.erp.postgres]\nhost = \"db\"\nuser = \"postgres\"\nname = \"erp\"\n")
        .restore("")
        .write();
    let program = setup.program.clone().env("SSH_AUTH_SOCK", "/tmp/agent");
    let ran = program.run(&["-c", "config.toml", "schedule"]).expect(3);
    says(&ran.stderr, &["without a login", "SSH agent"]);
}

#[test]
fn with_json_the_files_are_in_one_document() {
    let setup = installation("");
    let document = setup
        .run(&["schedule", "--json", "--cron"])
        .expect(0)
        .json();
    assert_eq!(document["verdict"], "done");
    let file = &document["files"][0];
    assert_eq!(file["path"], "/etc/cron.d/backupctl-run");
    says(
        file["content"].as_str().expect("text"),
        &["0 2 * * *  ", "SHELL=/bin/sh"],
    );
}

#[test]
fn several_schedules_of_single_jobs_stand_side_by_side() {
    let setup = installation("");
    let units = staged(&setup, &["erp"]);
    assert_eq!(names_in(&units)[0], "backupctl-run_erp.service");
    let service = fs::read_to_string(units.join("backupctl-run_erp.service")).expect("it");
    says(&service, &[" run -q erp\n"]);
    let status = fs::read_to_string(units.join("backupctl-status_erp.service")).expect("it");
    says(&status, &[" status -q erp --max-age 26h\n"]);
}
