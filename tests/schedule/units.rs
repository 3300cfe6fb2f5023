//! The texts, as systemd, cron and its shell read them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{UNITS, another, installation, staged};
use crate::run::says;
use crate::support::program::{Setup, binary, names_in};

/// Of 10; what systemd itself calls OK ends at 4.
const EXPOSURE: f64 = 2.6;

/// Fails the test where `systemd-analyze verify` has anything to say.
fn is_verified(units: &Path) {
    let mut files: Vec<_> = fs::read_dir(units)
        .expect("the units")
        .map(|entry| entry.expect("a unit").path())
        .collect();
    files.sort();
    let ran = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&files)
        .output()
        .expect("systemd-analyze, of the package systemd");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success() && said.is_empty(), "{said}");
}

fn exposure(unit: &Path) -> f64 {
    let ran = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit)
        .output()
        .expect("systemd-analyze, of the package systemd");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let last = said
        .lines()
        .rfind(|line| line.contains("Overall exposure level"));
    let value = last.and_then(|line| line.rsplit(": ").next()?.split(' ').next());
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn units_are_verified_by_systemd_and_leave_little_exposed() {
    let setup = installation("");
    let units = staged(&setup, &["--on-failure", "tell.service"]);
    is_verified(&units);
    for service in [UNITS[0], UNITS[2]] {
        let exposure = exposure(&units.join(service));
        assert!(exposure <= EXPOSURE, "{service}: {exposure}");
    }
}

#[test]
fn programs_of_the_operator_are_not_held_and_the_unit_says_so() {
    for (lines, named) in [
        (
            "before_swap = [[\"systemctl\", \"stop\", \"app\"]]\n",
            "(before_swap)",
        ),
        ("zip_password = \"command:pass zip\"\n", "(command:)"),
        (
            "[[restores.erp.after_checks]]\ncommand = [\"true\"]\n",
            "(after_checks)",
        ),
    ] {
        let setup = installation(lines);
        let units = staged(&setup, &[]);
        is_verified(&units);
        let run = fs::read_to_string(units.join(UNITS[0])).expect("the service");
        says(&run, &[named, "left out on purpose"]);
        for held in [
            "\nNoNewPrivileges=",
            "\nCapabilityBoundingSet=",
            "ProtectSystem=strict\n",
            "\nPrivateTmp=",
        ] {
            assert!(!run.contains(held), "{held} {run}");
        }
        let status = fs::read_to_string(units.join(UNITS[2])).expect("the service");
        says(
            &status,
            &["\nNoNewPrivileges=yes", "ProtectSystem=strict\n"],
        );
    }
}

#[test]
fn a_run_may_take_as_long_to_end_as_its_hooks_do() {
    let setup = installation(
        "before_swap = [[\"true\"]]\nafter_swap = [[\"true\"], [\"true\"]]\nhook_timeout = \"5m\"\nsessions_timeout = \"20s\"\n",
    );
    let units = staged(&setup, &[]);
    let run = fs::read_to_string(units.join(UNITS[0])).expect("the service");
    says(&run, &["TimeoutStopSec=980\n", "KillMode=mixed\n"]);
}

#[test]
fn what_is_written_and_read_decides_what_is_open() {
    let elsewhere = |state: &str, log: &str| {
        let setup = Setup::new()
            .part("[stores.office.local]\npath = \"/mnt/backups\"\n")
            .part("[databases.erp.postgres]\nhost = \"/run/postgresql\"\nuser = \"postgres\"\nname = \"erp\"\n")
            .part(&format!("[log]\nfile = \"{log}\"\n"))
            .restore("")
            .write();
        let config = fs::read_to_string(setup.path("config.toml")).expect("it");
        let config = config.replace("state_dir = \"state\"", &format!("state_dir = \"{state}\""));
        fs::write(setup.path("config.toml"), config).expect("another state_dir");
        let units = staged(&setup, &[]);
        is_verified(&units);
        fs::read_to_string(units.join(UNITS[0])).expect("the service")
    };
    let usual = elsewhere("/var/lib/backupctl", "/var/log/backupctl/backupctl.log");
    says(
        &usual,
        &[
            "StateDirectory=backupctl\nStateDirectoryMode=0700\n",
            "ReadWritePaths=-/var/log/backupctl\n",
            "ProtectHome=yes\n",
            "After=network-online.target time-sync.target postgresql.service\n",
        ],
    );
    let odd = elsewhere("/srv/it's 50% $HOME", "/home/x/log/backupctl.log");
    says(
        &odd,
        &[
            "ReadWritePaths=\"/srv/it's 50%% $HOME\"\n",
            "ProtectHome=read-only\n",
        ],
    );
}

#[test]
fn a_hostile_path_of_the_program_and_of_the_configuration_reaches_systemd_whole() {
    // given: both stand where systemd replaces, splits and quotes
    let setup = installation("");
    let places = [
        setup.path("50% $HOME; %x #"),
        setup.path("it's 50% \"of\" $HOME; \\%x #"),
    ];
    let [program, config] = places.map(|place| {
        fs::create_dir(&place).expect("a directory");
        fs::copy(binary(), place.join("backupctl")).expect("a copy");
        fs::copy(setup.path("config.toml"), place.join("config.toml")).expect("a copy");
        place
    });
    let unusual = config.join("backupctl");
    let program = program.join("backupctl").display().to_string();
    let config = config.join("config.toml").display().to_string();
    let run = |program: &Path| {
        Command::new(program)
            .args(["-c", &config, "schedule", "--install", "--dir", "units"])
            .current_dir(setup.path(""))
            .output()
            .expect("the copy")
    };

    // when
    fs::create_dir(setup.path("units")).expect("a directory");
    let refused = run(&unusual);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    says(
        &String::from_utf8_lossy(&refused.stderr),
        &["quotes or backslashes"],
    );
    let ran = run(program.as_ref());
    assert!(ran.status.success(), "{ran:?}");

    // then: verify looks for the program itself
    is_verified(&setup.path("units"));
    fs::remove_file(&program).expect("the copy");
    let ran = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(setup.path("units").join(UNITS[0]))
        .output()
        .expect("systemd-analyze");
    says(
        &String::from_utf8_lossy(&ran.stderr),
        &[&program, "is not executable"],
    );
}

#[test]
fn a_line_of_the_crontab_runs_as_cron_would_run_it() {
    // given
    let setup = installation("");
    let odd = setup.path("it's 50% $HOME \\%x");
    fs::create_dir(&odd).expect("a directory");
    for name in ["config.toml", "secret.key", ".env"] {
        fs::copy(setup.path(name), odd.join(name)).expect("a copy");
    }
    let config = odd.join("config.toml").display().to_string();
    let ran = setup
        .program
        .run(&["-c", &config, "schedule", "--cron"])
        .expect(0);

    // when: as cron does it, a bare % ends the command, and \% is one
    let line = ran
        .stdout
        .lines()
        .find(|line| line.contains(" status "))
        .expect("a line");
    let command = line
        .splitn(7, ' ')
        .last()
        .expect("user and command")
        .trim_start();
    let command = command.split_once("  ").expect("the user before it").1;
    let bare = command.replace(r"\%", "");
    assert!(!bare.contains('%'), "{command}");
    let command = command.replace(r"\%", "%");
    let shell = Command::new("/bin/sh")
        .args(["-c", &command])
        .env_clear()
        .output()
        .expect("sh");

    // then: it has read that configuration, and only stderr is left for cron's mail
    assert_eq!(shell.status.code(), Some(7), "{shell:?}");
    assert!(shell.stdout.is_empty(), "{shell:?}");
    says(
        &String::from_utf8_lossy(&shell.stderr),
        &["no run has made anything live yet"],
    );
}

#[test]
fn a_path_that_would_be_another_line_is_refused() {
    let setup = installation("");
    let odd = setup.path("a\nb");
    fs::create_dir(&odd).expect("a directory");
    fs::copy(setup.path("config.toml"), odd.join("config.toml")).expect("a copy");
    let config = odd.join("config.toml").display().to_string();
    let ran = setup.program.run(&["-c", &config, "schedule"]).expect(3);
    says(&ran.stderr, &["control characters"]);
}

/// An installation with `[drill]`, and with `lines` beside it.
fn drilled(drill: &str, lines: &str) -> Setup {
    Setup::new()
        .part("[stores.office.local]\npath = \"/mnt/backups\"\n")
        .part("[databases.erp.postgres]\nhost = \"db.example.org\"\nuser = \"postgres\"\nname = \"erp\"\n")
        .part(&format!("[drill]\n{drill}\n"))
        .restore(lines)
        .write()
}

#[test]
fn drills_that_are_asked_for_have_a_timer_hours_away_from_the_run() {
    // given: hooks, which no drill starts
    let setup = drilled("every = \"8d\"", "before_swap = [[\"true\"]]\n");

    // when
    let units = staged(&setup, &["--at", "1:30"]);

    // then
    is_verified(&units);
    let read = |name: &str| fs::read_to_string(units.join(name)).expect(name);
    let (service, timer) = (
        read("backupctl-drill.service"),
        read("backupctl-drill.timer"),
    );
    says(
        &service,
        &[
            " drill -q --all\n",
            "time-sync.target backupctl-run.service\n",
            "\nMemoryDenyWriteExecute=yes\n",
        ],
    );
    says(
        &timer,
        &["OnCalendar=Sun *-*-* 05:30:00\n", "Persistent=yes\n"],
    );
    let exposure = exposure(&units.join("backupctl-drill.service"));
    assert!(exposure <= EXPOSURE, "{exposure}");
    let cron = setup
        .run(&["schedule", "--cron", "--drill-at", "5:00"])
        .expect(0);
    says(&cron.stdout, &["0 5 * * 0  ", " drill -q --all >/dev/null"]);

    // of single jobs
    let one = setup.run(&["schedule", "erp"]).expect(0);
    says(
        &one.stdout,
        &["/backupctl-drill_erp.timer\n", " drill -q erp\n"],
    );
}

#[test]
fn drills_that_nothing_asks_for_any_more_are_taken_away_with_the_next_installation() {
    let setup = drilled("every = \"8d\"", "");
    let units = staged(&setup, &[]);
    let config = fs::read_to_string(setup.path("config.toml")).expect("it");
    let without = config.replace("every = \"8d\"", "");
    fs::write(setup.path("config.toml"), without).expect("without");
    let dry = setup
        .run(&["schedule", "--install", "--dir", "units", "-n"])
        .expect(0);
    says(
        &dry.stdout,
        &["would be removed: ", "backupctl-drill.timer"],
    );
    assert!(units.join("backupctl-drill.timer").exists());
    staged(&setup, &[]);
    assert_eq!(names_in(&units), UNITS);
    says(
        &setup
            .run(&["schedule", "--drill-at", "5:00"])
            .expect(2)
            .stderr,
        &["`every` in [drill]"],
    );

    // Removed with the rest, whatever the configuration says by then.
    fs::write(setup.path("config.toml"), &config).expect("with");
    staged(&setup, &[]);
    fs::write(
        setup.path("config.toml"),
        config.replace("every = \"8d\"", ""),
    )
    .expect("without");
    setup
        .run(&["schedule", "--remove", "--yes", "--dir", "units"])
        .expect(0);
    assert_eq!(names_in(&units), Vec::<String>::new());
}

#[test]
fn a_drill_in_a_private_server_may_make_it_and_little_else() {
    let setup = drilled("where = \"local\"\nevery = \"8d\"", "");
    let units = staged(&setup, &["--user", "root"]);
    is_verified(&units);
    let service = fs::read_to_string(units.join("backupctl-drill.service")).expect("it");
    says(
        &service,
        &[
            "CAP_SETUID CAP_SETGID CAP_KILL",
            "SystemCallFilter=@setuid @chown\n",
            "NoNewPrivileges=yes\n",
        ],
    );
    assert!(!service.contains("MemoryDenyWriteExecute="), "{service}");
    let exposure = exposure(&units.join("backupctl-drill.service"));
    assert!(exposure < 4.0, "{exposure}");
    let run = fs::read_to_string(units.join(UNITS[0])).expect("it");
    says(
        &run,
        &[
            "\nCapabilityBoundingSet=CAP_DAC_OVERRIDE\n",
            "\nMemoryDenyWriteExecute=yes\n",
        ],
    );
}

#[test]
fn the_figures_can_be_written_and_secrets_of_urls_be_read() {
    let setup = Setup::new()
        .part("[stores.office.local]\npath = \"/mnt/backups\"\n")
        .part("[databases.erp.postgres]\nhost = \"db.example.org\"\nuser = \"postgres\"\nname = \"erp\"\n")
        .part("[metrics]\ntextfile = \"/var/lib/it's 50% figures/backupctl.prom\"\n")
        .part("[notify]\nca_file = \"/home/x/ca.pem\"\n")
        .restore("")
        .write();
    let units = staged(&setup, &[]);
    is_verified(&units);
    let run = fs::read_to_string(units.join(UNITS[0])).expect("it");
    says(
        &run,
        &[
            "ReadWritePaths=\"-/var/lib/it's 50%% figures\"\n",
            "ProtectHome=read-only\n",
            " AF_INET AF_INET6 ",
        ],
    );
    for notify in [
        "[notify]\nping = \"command:pass ping\"\n",
        "[notify.webhook]\nurl = \"command:pass hook\"\n",
        "[notify.webhook]\nurl = \"https://hook.example.org/x\"\nheaders.Authorization = \"command:pass hook\"\n",
    ] {
        let setup = Setup::new()
            .part("[stores.office.local]\npath = \"/mnt/backups\"\n")
            .part("[databases.erp.postgres]\nhost = \"db.example.org\"\nuser = \"postgres\"\nname = \"erp\"\n")
            .part(notify)
            .restore("")
            .write();
        let run = fs::read_to_string(staged(&setup, &[]).join(UNITS[0])).expect("it");
        says(&run, &["(command:)", "left out on purpose"]);
    }
}

#[test]
fn jobs_whose_names_make_the_same_file_are_not_mixed_up() {
    let setup = installation("");
    let config = setup.path("config.toml");
    let mut text = fs::read_to_string(&config).expect("it");
    for job in ["a", "b", "a_b"] {
        text += &another(job);
    }
    fs::write(&config, text).expect("more jobs");
    let units = staged(&setup, &["a_b"]);
    let remove = ["schedule", "a", "b", "--remove", "--yes", "--dir", "units"];
    says(&setup.run(&remove).expect(3).stderr, &["(jobs: a_b)"]);
    assert_eq!(names_in(&units).len(), 4);
}
