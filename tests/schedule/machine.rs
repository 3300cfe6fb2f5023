//! On a machine: its own /etc and /run, in a mount namespace, with a systemctl that notes what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{UNITS, another, installation};
use crate::run::says;
use crate::support::program::{Ran, Setup};

const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >> "$(dirname "$0")/told"
case "$*" in
*show*) cat "$(dirname "$0")/shown" ;;
*enable*) [ ! -e "$(dirname "$0")/fails" ] || { echo "Unit is masked." >&2; exit 1; } ;;
esac
"#;

/// The installation, and what the program takes for the machine's /etc, /run and /usr/local/sbin.
struct Machine {
    setup: Setup,
}

impl Machine {
    fn new() -> Self {
        let setup = installation("");
        for directory in ["etc/systemd/system", "etc/cron.d", "run", "sbin"] {
            fs::create_dir_all(setup.path(directory)).expect(directory);
        }
        for file in ["passwd", "group", "nsswitch.conf"] {
            fs::copy(Path::new("/etc").join(file), setup.path("etc").join(file)).expect(file);
        }
        let systemctl = setup.path("sbin/systemctl");
        fs::write(&systemctl, SYSTEMCTL).expect("systemctl");
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("its mode");
        let shown = "UnitFileState=enabled\nActiveState=active\nNextElapseUSecRealtime=Sun 2096-11-22 02:04:11 UTC\n";
        fs::write(setup.path("sbin/shown"), shown).expect("what it shows");
        Self { setup }
    }

    /// systemd runs it.
    fn with_systemd(self) -> Self {
        fs::create_dir_all(self.setup.path("run/systemd/system")).expect("systemd's mark");
        self
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let root = self.setup.path("");
        let enter = "for at in etc run; do mount --bind \"$0/$at\" /$at || exit 99; done; \
                     mount --bind \"$0/sbin\" /usr/local/sbin || exit 99; exec \"$@\"";
        let is_root = rustix::process::geteuid().is_root();
        let unshare = if is_root { "-m" } else { "-rm" };
        let root = root.display().to_string();
        let behind = ["unshare", unshare, "/bin/sh", "-c", enter, &root].map(str::to_owned);
        let program = self.setup.program.clone().behind(&behind);
        program.run(&[&["-c", "config.toml"], arguments].concat())
    }

    fn told(&self) -> String {
        fs::read_to_string(self.setup.path("sbin/told")).unwrap_or_default()
    }

    fn timer_link(&self) -> Value {
        let document = self.run(&["check", "--json"]).json();
        let links = document["links"].as_array().expect("links").iter();
        let mut found = links.filter(|link| link["link"] == "timer");
        found.next().cloned().expect("the link")
    }

    fn ready(self) -> Self {
        fs::create_dir(self.setup.path("state")).expect("state_dir");
        fs::set_permissions(self.setup.path("state"), fs::Permissions::from_mode(0o700))
            .expect("its mode");
        self
    }
}

#[test]
fn an_installation_starts_the_timers_and_check_and_status_know_them() {
    // given
    let machine = Machine::new().with_systemd().ready();
    assert_eq!(machine.timer_link()["state"], "warning");

    // when
    let ran = machine.run(&["schedule", "--install"]).expect(0);

    // then
    says(
        &ran.stdout,
        &[
            "written: /etc/systemd/system/backupctl-run.timer",
            "every day at 02:00",
        ],
    );
    assert_eq!(
        machine.told(),
        "--no-ask-password daemon-reload\n\
         --no-ask-password enable --now backupctl-run.timer backupctl-status.timer\n"
    );
    let link = machine.timer_link();
    assert_eq!(link["state"], "ok", "{link}");
    says(
        link["message"].as_str().expect("text"),
        &["2096-11-22T02:04:11Z", "backupctl-run.timer"],
    );
    let status = machine.run(&["status", "--json"]).json();
    assert_eq!(status["next_run"]["at"], "2096-11-22T02:04:11Z");
    assert_eq!(status["next_run"]["by"], "backupctl-run.timer");
    says(
        &machine.run(&["status"]).stdout,
        &["\n  next run      2096-11-22T02:04:11Z, in "],
    );

    // when
    machine.run(&["schedule", "--remove", "--yes"]).expect(0);

    // then
    says(
        &machine.told(),
        &[
            "disable --now backupctl-run.timer backupctl-status.timer\n--no-ask-password daemon-reload\n",
        ],
    );
    assert_eq!(
        fs::read_dir(machine.setup.path("etc/systemd/system"))
            .expect("it")
            .count(),
        0
    );
    assert_eq!(machine.timer_link()["state"], "warning");
}

#[test]
fn a_timer_that_does_not_run_is_a_warning_with_its_remedy() {
    let machine = Machine::new().with_systemd().ready();
    machine.run(&["schedule", "--install"]).expect(0);
    for (shown, why) in [
        (
            "UnitFileState=enabled\nActiveState=inactive\nNextElapseUSecRealtime=\n",
            "not active",
        ),
        (
            "UnitFileState=disabled\nActiveState=active\nNextElapseUSecRealtime=n/a\n",
            "not enabled",
        ),
    ] {
        fs::write(machine.setup.path("sbin/shown"), shown).expect("what it shows");
        let link = machine.timer_link();
        assert_eq!(
            (&link["state"], &link["verdict"]),
            (&"warning".into(), &"done".into())
        );
        says(link["message"].as_str().expect("text"), &[why]);
        assert_eq!(link["hint"], "systemctl enable --now backupctl-run.timer");
        let status = machine.run(&["status"]);
        says(
            &status.stdout,
            &["next run      none: backupctl-run.timer is"],
        );
    }
}

#[test]
fn units_of_another_program_or_configuration_are_told_apart() {
    let machine = Machine::new().with_systemd().ready();
    machine.run(&["schedule", "--install"]).expect(0);
    let file = machine.setup.path("etc/systemd/system").join(UNITS[0]);
    let text = fs::read_to_string(&file).expect("the service");
    fs::write(
        &file,
        text.replace("\"program\":\"/", "\"program\":\"/old/"),
    )
    .expect("another program");
    let link = machine.timer_link();
    assert_eq!(link["state"], "warning");
    says(
        link["message"].as_str().expect("text"),
        &["starts another program than this, /old/"],
    );
    fs::write(&file, text.replace("config.toml", "other.toml")).expect("another configuration");
    says(
        machine.timer_link()["message"].as_str().expect("text"),
        &["no timer or crontab"],
    );
}

#[test]
fn a_systemd_that_does_not_answer_is_waited_for_once() {
    // given
    let machine = Machine::new().with_systemd().ready();
    machine.run(&["schedule", "--install"]).expect(0);
    let config = machine.setup.path("config.toml");
    let mut text = fs::read_to_string(&config).expect("it");
    for job in ["b", "c", "d"] {
        text += &another(job);
    }
    fs::write(&config, text).expect("four jobs");
    fs::write(
        machine.setup.path("sbin/systemctl"),
        "#!/bin/sh\nexec sleep 60\n",
    )
    .expect("it");

    // when
    let begun = Instant::now();
    let status = machine.run(&["status"]);

    // then
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let told = status
        .stdout
        .matches("none: systemd can't be asked about backupctl-run.timer");
    assert_eq!(told.count(), 4, "{status}");
}

#[test]
fn without_systemd_the_files_are_written_and_what_remains_is_said() {
    let machine = Machine::new().ready();
    let ran = machine.run(&["schedule", "--install"]).expect(12);
    says(
        &ran.stderr,
        &[
            "systemd does not run this machine",
            "systemctl enable --now backupctl-run.timer",
        ],
    );
    assert_eq!(machine.told(), "");
    assert!(
        machine
            .setup
            .path("etc/systemd/system")
            .join(UNITS[0])
            .exists()
    );
    let link = machine.timer_link();
    says(
        link["message"].as_str().expect("text"),
        &["systemd does not run"],
    );
    assert_eq!(link["hint"], "backupctl schedule --cron");
}

#[test]
fn a_timer_that_cannot_be_started_is_attention_with_what_systemctl_said() {
    let machine = Machine::new().with_systemd().ready();
    fs::write(machine.setup.path("sbin/fails"), "").expect("a wish");
    let ran = machine.run(&["schedule", "--install"]).expect(12);
    says(
        &ran.stderr,
        &["written, but not started", "Unit is masked."],
    );
}

#[test]
fn a_missing_state_dir_is_made_or_asked_for_before_a_unit_is_written() {
    let machine = Machine::new().with_systemd();
    let state = machine.setup.path("state");
    machine.run(&["schedule", "--install", "-n"]).expect(0);
    assert!(!state.exists());
    machine.run(&["schedule", "--install"]).expect(0);
    let mode = fs::metadata(&state)
        .expect("state_dir")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o700);

    let machine = Machine::new().with_systemd();
    let config = machine.setup.path("config.toml");
    let text = fs::read_to_string(&config).expect("it");
    fs::write(&config, text.replace("\"state\"", "\"no/parent\"")).expect("another state_dir");
    let ran = machine.run(&["schedule", "--install"]).expect(9);
    says(&ran.stderr, &["no/parent", "install -d -m 700 -o "]);
    assert_eq!(
        fs::read_dir(machine.setup.path("etc/systemd/system"))
            .expect("it")
            .count(),
        0
    );
}

#[test]
fn a_crontab_of_ours_and_one_by_hand_are_found() {
    let machine = Machine::new().ready();
    // Whether this machine has a cron or not, the file is written.
    let ran = machine.run(&["schedule", "--cron", "--install", "--at", "4:15"]);
    assert!(matches!(ran.code, Some(0 | 12)), "{ran}");
    let link = machine.timer_link();
    assert_eq!(link["state"], "ok", "{link}");
    says(
        link["message"].as_str().expect("text"),
        &["T04:15:00Z, in ", "/etc/cron.d/backupctl-run"],
    );
    let status = machine.run(&["status", "--json"]).json();
    assert_eq!(status["next_run"]["by"], "/etc/cron.d/backupctl-run");
    machine.run(&["schedule", "--remove", "--yes"]).expect(0);
    assert_eq!(machine.timer_link()["state"], "warning");

    let by_hand = "30 3 * * * root backupctl run -q >/dev/null\n";
    fs::write(machine.setup.path("etc/crontab"), by_hand).expect("a crontab");
    let link = machine.timer_link();
    assert_eq!(
        (&link["state"], &link["message"]),
        (&"ok".into(), &"by hand, in /etc/crontab".into())
    );
}
