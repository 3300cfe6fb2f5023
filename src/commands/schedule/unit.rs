//! The text of systemd's units, and how paths and arguments are written in them.
//!
//! Which settings would break what is in `docs/design.md`. What was left out on purpose is said in the unit itself.

use std::path::Path;
use std::time::Duration;

use super::mark::Mark;
use super::needs::Needs;

/// Below these a unit usually sees nothing (`ProtectHome=`), or only its own (`PrivateTmp=`).
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const SHARED: [&str; 2] = ["/tmp", "/var/tmp"];

/// Holds whatever is started, and what any of it needs is known.
///
/// Not here: RemoveIPC, which as the user postgres would take the server's shared memory away; ProtectProc, since whether the server is
/// this machine is seen by its processes; IPAddressDeny, since the hosts are names.
const HARDENED: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
PrivateMounts=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
";

/// What root needs for a private cluster: its server runs as `nobody`, owns its directory, is ended, and is looked for after a kill.
const CLUSTER_CAPABILITIES: &str =
    "CAP_DAC_OVERRIDE CAP_CHOWN CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_PTRACE";
const CLUSTER_CALLS: &str = "\
# The drill's private PostgreSQL server runs as nobody and owns its files.
SystemCallFilter=@setuid @chown
";

/// All kinds of service.
#[derive(Debug)]
pub struct Service<'a> {
    pub mark: &'a Mark,
    pub description: &'a str,
    pub name: &'a str,
    pub user: &'a str,
    pub is_root: bool,
    /// The program and its arguments.
    pub command: &'a [String],
    pub on_failure: Option<&'a str>,
    pub needs: &'a Needs,
}

impl Service<'_> {
    /// Of the restore itself.
    pub fn of_run(&self) -> String {
        self.of_work("")
    }

    /// Of a drill, which waits for a run that is at work: both hold the job's lock.
    pub fn of_drill(&self, run: &str) -> String {
        self.of_work(&format!(" {run}.service"))
    }

    fn of_work(&self, others: &str) -> String {
        let needs = self.needs;
        let database = if needs.is_database_here {
            " postgresql.service"
        } else {
            ""
        };
        let after = format!(
            "Wants=network-online.target\nAfter=network-online.target time-sync.target{database}{others}\n"
        );
        // KillMode: what a run has started is ended by the run, in its order. OOMPolicy: so is a pg_restore without memory.
        let more = format!(
            "KillMode=mixed\nTimeoutStopSec={}\nOOMPolicy=continue\nNice=10\n\
             IOSchedulingClass=best-effort\nIOSchedulingPriority=7\n",
            needs.ending.as_secs()
        );
        let protection = if needs.programs.is_empty() {
            self.hardened()
        } else {
            self.relaxed()
        };
        self.text(&after, &(more + &protection))
    }

    /// Of `status`, which reads files and starts nothing.
    pub fn of_status(&self) -> String {
        self.text("", &format!("TimeoutStartSec=120\n{}", self.hardened()))
    }

    fn text(&self, after: &str, more: &str) -> String {
        let Self { name, user, .. } = self;
        let on_failure = self.on_failure.map(|unit| format!("OnFailure={unit}\n"));
        let words: Vec<String> = self
            .command
            .iter()
            .skip(1)
            .map(|word| argument(word))
            .collect();
        let program = self.command.first().map(|program| path(program));
        format!(
            "# Written by `backupctl schedule --install`, which writes it anew. Lines of your own\n\
             # belong into a drop-in: systemctl edit {name}\n\
             {}\n\n\
             [Unit]\nDescription={}\n{after}{}\n\
             [Service]\nType=oneshot\nExecStart={} {}\nUser={user}\nUMask=0077\nLimitCORE=0\n{more}",
            self.mark.line(),
            specifiers(self.description),
            on_failure.unwrap_or_default(),
            program.unwrap_or_default(),
            words.join(" "),
        )
    }

    fn hardened(&self) -> String {
        let needs = self.needs;
        // Root is let past modes by this one alone: into the server's directory, whose free space a run asks for, and to files of others.
        let capabilities = match (self.is_root, needs.makes_cluster) {
            (false, _) => "",
            (true, false) => "CAP_DAC_OVERRIDE",
            (true, true) => CLUSTER_CAPABILITIES,
        };
        let (memory, calls) = match (needs.makes_cluster, self.is_root) {
            (false, _) => ("MemoryDenyWriteExecute=yes\n", ""),
            (true, is_root) => (
                "# PostgreSQL compiles what it evaluates often, so MemoryDenyWriteExecute is left out.\n",
                if is_root { CLUSTER_CALLS } else { "" },
            ),
        };
        let home = if needs.is_any_below(&HOMES) {
            "# Something of the configuration lies in a home directory.\nProtectHome=read-only\n"
        } else {
            "ProtectHome=yes\n"
        };
        let shared = if needs.is_any_below(&SHARED) {
            "# Something of the configuration lies in /tmp or /var/tmp, so PrivateTmp is left out.\n"
        } else {
            "PrivateTmp=yes\n"
        };
        format!(
            "\n{HARDENED}{calls}{memory}CapabilityBoundingSet={capabilities}\nAmbientCapabilities=\n{home}{shared}{}",
            self.written()
        )
    }

    /// With `User=`, nearly all that hardens implies NoNewPrivileges, and with it sudo, su and setuid end.
    fn relaxed(&self) -> String {
        let programs = self.needs.programs.join(", ");
        format!(
            "\n# This starts programs of yours ({programs}), and what holds backupctl\n\
             # holds them: `systemctl stop app`, sudo or a password manager need privileges, sockets, a\n\
             # home and files to write. So left out on purpose: NoNewPrivileges and all that implies\n\
             # it, CapabilityBoundingSet, ProtectSystem=strict, ProtectHome, PrivateTmp. Where yours can\n\
             # bear them, add them in a drop-in.\n\
             ProtectSystem=yes\nProtectControlGroups=yes\n{}",
            self.state_directory()
        )
    }

    fn written(&self) -> String {
        let needs = self.needs;
        let state_dir = path(&needs.state_dir.to_string_lossy());
        let by_path = match below("/var/lib", &needs.state_dir) {
            Some(_) => String::new(),
            None => format!("ReadWritePaths={state_dir}\n"),
        };
        // `-`: it may be missing. Quotes stand around all of it.
        let told: Vec<String> = { needs.told_dirs.iter() }
            .map(|told| path(&format!("-{}", told.to_string_lossy())))
            .map(|told| format!("ReadWritePaths={told}\n"))
            .collect();
        self.state_directory() + &by_path + &told.concat()
    }

    /// Made by systemd where it is missing, for the user.
    fn state_directory(&self) -> String {
        let directory = below("/var/lib", &self.needs.state_dir);
        directory.map_or(String::new(), |directory| {
            format!("StateDirectory={directory}\nStateDirectoryMode=0700\n")
        })
    }
}

/// A timer, in the words of `OnCalendar=`.
#[derive(Debug)]
pub struct Timer<'a> {
    pub mark: &'a Mark,
    pub description: &'a str,
    pub name: &'a str,
    pub calendar: &'a [String],
    pub random_delay: Duration,
    /// Whether one that was missed, the machine being off, is made up for.
    pub is_persistent: bool,
}

impl Timer<'_> {
    pub fn text(&self) -> String {
        let times = self.calendar.iter();
        let times: Vec<String> = times
            .map(|time| format!("OnCalendar={}", specifiers(time)))
            .collect();
        let times = times.join("\n");
        let delay = match self.random_delay.as_secs() {
            0 => "AccuracySec=1s\n".to_owned(),
            seconds => format!("RandomizedDelaySec={seconds}\nFixedRandomDelay=yes\n"),
        };
        let persistent = if self.is_persistent { "yes" } else { "no" };
        format!(
            "# Written by `backupctl schedule --install`, which writes it anew. Lines of your own\n\
             # belong into a drop-in: systemctl edit {}\n\
             {}\n\n\
             [Unit]\nDescription={}\n\n\
             [Timer]\n{times}\n{delay}Persistent={persistent}\n\n\
             [Install]\nWantedBy=timers.target\n",
            self.name,
            self.mark.line(),
            specifiers(self.description),
        )
    }
}

/// The part of `path` below `parent`, where systemd can make it: `/var/lib/backupctl`.
pub fn below<'a>(parent: &str, path: &'a Path) -> Option<&'a str> {
    let rest = path.strip_prefix(parent).ok()?.to_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    // systemd passes over what has an empty part or a dot in its place.
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(plain);
    rest.split('/').all(is_part).then_some(rest)
}

/// systemd replaces `%i` and its like everywhere.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// A path, in quotes where it needs them.
pub fn path(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@=:,".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", specifiers(&escaped))
}

/// As [`path`]; in arguments systemd replaces variables as well.
pub fn argument(text: &str) -> String {
    path(text).replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_would_replace_or_split_is_written_so_that_it_does_not() {
        for (text, written) in [
            ("/usr/bin/backupctl", "/usr/bin/backupctl"),
            ("/a b", "\"/a b\""),
            ("/50%", "\"/50%%\""),
            ("/it's", "\"/it's\""),
            ("/a\"b\\c", r#""/a\"b\\c""#),
            ("/é;#", "\"/é;#\""),
        ] {
            assert_eq!(path(text), written);
        }
        assert_eq!(argument("/$HOME"), "\"/$$HOME\"");
        assert_eq!(path("/$HOME"), "\"/$HOME\"");
    }

    #[test]
    fn only_what_systemd_can_make_is_left_to_it() {
        let found = |path: &'static str| below("/var/lib", Path::new(path));
        assert_eq!(found("/var/lib/backupctl"), Some("backupctl"));
        assert_eq!(found("/var/lib/a/b"), Some("a/b"));
        for other in [
            "/var/lib",
            "/srv/x",
            "/var/lib/a b",
            "/var/lib/a/./b",
            "/var/lib/a//b",
            "/var/lib/../x",
            "/var/library",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
