//! The texts, as systemd, cron and its shell read them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{UNITS, installation, staged};
use crate::run::says;
use crate::support::program::{Setup, binary};

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
