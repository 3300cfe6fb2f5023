//! A real systemd, in namespaces of its own, starts what was installed: nothing that hardens a unit breaks a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::run::{says, until};
use crate::support::program::{Ran, Setup};
use crate::support::shop::Shop;

/// What units of ours refer to; the machine's own are not started.
const TARGETS: [&str; 7] = [
    "sysinit",
    "basic",
    "shutdown",
    "timers",
    "network-online",
    "time-sync",
    "sockets",
];

const BOOT: &str = r#"
mount --make-rprivate / && mount -t tmpfs none /run && mount -t tmpfs none /var/lib/systemd &&
mount -t tmpfs none /var/log && mount -t tmpfs none /etc/systemd/system && mkdir -p /run/systemd /run/lock || exit 99
export container=test SYSTEMD_UNIT_PATH="/etc/systemd/system:$0/stubs" SYSTEMD_GENERATOR_PATH="$0/none"
exec /lib/systemd/systemd --system --unit=mini.target --log-target=console --show-status=no
"#;

/// It ends with the test.
struct Systemd {
    unshare: Child,
    pid: String,
}

impl Systemd {
    fn boot(directory: &Path) -> Self {
        let stubs = directory.join("stubs");
        fs::create_dir(&stubs).expect("a directory");
        for target in TARGETS {
            let stub = "[Unit]\nDescription=stub\nDefaultDependencies=no\n";
            fs::write(stubs.join(format!("{target}.target")), stub).expect("a stub");
        }
        let mini = "[Unit]\nDefaultDependencies=no\nRequires=timers.target\nAfter=timers.target\n";
        fs::write(stubs.join("mini.target"), mini).expect("the target");
        let unshare = Command::new("unshare")
            .args([
                "-m",
                "-p",
                "-i",
                "-u",
                "-C",
                "-f",
                "--mount-proc",
                "--kill-child",
            ])
            .args(["/bin/sh", "-c", BOOT])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let id = unshare.id();
        let children = PathBuf::from(format!("/proc/{id}/task/{id}/children"));
        let child = || {
            fs::read_to_string(&children)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        until("systemd begins", || !child().is_empty());
        let booted = Self {
            pid: child(),
            unshare,
        };
        until("systemd has booted", || {
            booted.run(&["systemctl", "is-active", "mini.target"]).0
        });
        booted
    }

    fn enter(&self) -> Vec<String> {
        ["nsenter", "-t", &self.pid, "-a"].map(str::to_owned).into()
    }

    /// Whether it ended well, and what it said.
    fn run(&self, command: &[&str]) -> (bool, String) {
        let ran = Command::new("nsenter")
            .args(&self.enter()[1..])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter");
        (
            ran.status.success(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
        )
    }

    fn backupctl(&self, setup: &Setup, arguments: &[&str]) -> Ran {
        let config = setup.path("config.toml").display().to_string();
        let program = setup
            .program
            .clone()
            .within(Duration::from_mins(1))
            .behind(&self.enter());
        program.run(&[&["-c", &config], arguments].concat())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // With unshare goes its child, and with that one everything in its namespace.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

#[test]
#[ignore = "boots a systemd: as root, where cgroups can be written"]
fn a_run_goes_live_under_a_real_systemd_with_all_that_hardens_it() {
    // given
    let shop = Shop::new("");
    shop.offer("erp.zip", "new", 5);
    let (setup, systemd) = (&shop.setup, Systemd::boot(&shop.setup.path("")));

    // when
    systemd
        .backupctl(setup, &["schedule", "--install"])
        .expect(0);
    let (is_well, _) = systemd.run(&["systemctl", "start", "backupctl-run.service"]);

    // then
    let (_, state) = systemd.run(&[
        "systemctl",
        "show",
        "backupctl-run.service",
        "--property=Result,ExecMainStatus,ProtectSystem,NoNewPrivileges",
    ]);
    says(
        &state,
        &[
            "Result=success",
            "ExecMainStatus=0",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
        ],
    );
    assert!(is_well && shop.row() == "new", "{state}");
    assert!(
        systemd
            .run(&["systemctl", "start", "backupctl-status.service"])
            .0
    );
    let status = systemd.backupctl(setup, &["status"]).expect(0);
    says(
        &status.stdout,
        &["next run      20", ", by backupctl-run.timer"],
    );
    systemd
        .backupctl(setup, &["schedule", "--remove", "--yes"])
        .expect(0);
    let (_, timers) = systemd.run(&["systemctl", "list-timers", "--all", "--no-legend"]);
    assert!(!timers.contains("backupctl"), "{timers}");
}

#[test]
#[ignore = "boots a systemd: as root, where cgroups can be written"]
fn a_drill_in_a_private_server_proves_an_archive_under_a_real_systemd() {
    // given: we are root, so that the server runs as nobody; the figures go to a place of their own
    let figures = tempfile::tempdir().expect("a directory");
    let file = figures.path().join("backupctl.prom");
    let parts = format!(
        "[drill]\nwhere = \"local\"\nevery = \"8d\"\n\n[metrics]\ntextfile = \"{}\"\n",
        file.display()
    );
    let shop = Shop::with("", |setup| setup.part(&parts));
    shop.offer("erp.zip", "new", 5);
    let (setup, systemd) = (&shop.setup, Systemd::boot(&shop.setup.path("")));

    // when
    systemd
        .backupctl(setup, &["schedule", "--install"])
        .expect(0);
    let (is_well, _) = systemd.run(&["systemctl", "start", "backupctl-drill.service"]);

    // then
    let show = [
        "systemctl",
        "show",
        "backupctl-drill.service",
        "--property=Result,ExecMainStatus,NoNewPrivileges",
    ];
    let (_, state) = systemd.run(&show);
    let reports = fs::read_dir(setup.path("state/runs"))
        .into_iter()
        .flatten()
        .flatten();
    let reports: Vec<String> = reports
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .collect();
    assert!(is_well, "{state} {reports:?}");
    says(
        &state,
        &["Result=success", "ExecMainStatus=0", "NoNewPrivileges=yes"],
    );
    let status = systemd.backupctl(setup, &["status", "--json"]).json();
    assert_eq!(status["last_good_drill"]["verdict"], "done", "{status}");
    assert_eq!(shop.row(), "old");
    says(
        &fs::read_to_string(&file).expect("the figures"),
        &["backupctl_"],
    );
    let (_, timers) = systemd.run(&["systemctl", "list-timers", "--all", "--no-legend"]);
    says(&timers, &["backupctl-drill.timer"]);
    let check = systemd.backupctl(setup, &["check"]);
    says(&check.stdout, &["drill timer", " backupctl-drill.timer\n"]);
    systemd
        .backupctl(setup, &["schedule", "--remove", "--yes"])
        .expect(0);
    let (_, timers) = systemd.run(&["systemctl", "list-timers", "--all", "--no-legend"]);
    assert!(!timers.contains("backupctl"), "{timers}");
}
