//! The commands with their examples, and what their exit codes mean.

use super::{Meaning, Told};
use crate::verdict::Verdict;

const CONFIG: Meaning = (Verdict::Config, "configuration, secret, right or tool");
const LOCKED: Meaning = (Verdict::Locked, "another run of this job is active");
const NETWORK: Meaning = (Verdict::Network, "unreachable or cut, after all attempts");
const REFUSED: Meaning = (Verdict::Refused, "host key, TLS or login not accepted");
const STALE: Meaning = (Verdict::Stale, "no fresh, settled archive");
const DAMAGED: Meaning = (Verdict::Damaged, "the archive or the dump is broken");
const LOCAL: Meaning = (Verdict::Local, "this machine: disk full, unreadable");
const FAILED: Meaning = (Verdict::Failed, "the load or a check; live is unchanged");
const UNCLEAR: Meaning = (Verdict::Unclear, "look now at what is live");
const ATTENTION: Meaning = (Verdict::Attention, "the data is good, a duty is open");

pub(super) const TOLD: [Told; 26] = [
    Told {
        command: "run",
        examples: &[
            ("backupctl run", "every job, in the order of the file"),
            (
                "backupctl run erp --dry-run",
                "what would be done, and whether it could be",
            ),
            (
                "backupctl run erp --archive erp_20261119.zip",
                "an older archive",
            ),
            (
                "backupctl run erp --accept stale",
                "the newest, however old it is",
            ),
        ],
        codes: &[
            (Verdict::Done, "proven good, live and reported"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "list",
        examples: &[
            (
                "backupctl list erp",
                "which archive a run would take, and why",
            ),
            ("backupctl list erp --json", "the same for a program"),
        ],
        codes: &[
            (Verdict::Done, "listed, even if there is none"),
            CONFIG,
            NETWORK,
            REFUSED,
        ],
    },
    Told {
        command: "fetch",
        examples: &[
            ("backupctl fetch erp", "the newest; prints where it lies"),
            (
                "backupctl fetch erp --archive erp_20261119.zip",
                "an older one",
            ),
        ],
        codes: &[
            (Verdict::Done, "it is here, whole"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
        ],
    },
    Told {
        command: "unzip",
        examples: &[
            ("backupctl unzip erp", "the newest fetched archive's dump"),
            (
                "backupctl unzip erp --file /mnt/usb/erp.zip",
                "that of another archive",
            ),
        ],
        codes: &[
            (Verdict::Done, "the dump is here, whole"),
            CONFIG,
            LOCKED,
            DAMAGED,
            LOCAL,
        ],
    },
    Told {
        command: "restore",
        examples: &[
            (
                "backupctl restore erp",
                "the newest unzipped dump goes live",
            ),
            (
                "backupctl restore erp --file erp.dump",
                "another dump or archive goes live",
            ),
            (
                "backupctl restore erp --as erp_look",
                "beside live, to look at",
            ),
            (
                "backupctl restore erp --as erp_look --table orders",
                "one table, with what it needs",
            ),
            (
                "backupctl restore erp --drop erp_look",
                "what was looked at goes",
            ),
        ],
        codes: &[
            (Verdict::Done, "proven good and live, or beside live"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            DAMAGED,
            LOCAL,
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "swap",
        examples: &[
            (
                "backupctl swap erp --dry-run",
                "what waits, and whether it may go live",
            ),
            (
                "backupctl swap erp --yes",
                "in the maintenance window's crontab",
            ),
        ],
        codes: &[
            (Verdict::Done, "live"),
            CONFIG,
            LOCKED,
            NETWORK,
            (Verdict::Stale, "nothing current waits"),
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "undo",
        examples: &[
            (
                "backupctl undo erp",
                "asks, then goes back to the previous database",
            ),
            ("backupctl undo erp --yes", "without asking"),
            ("backupctl undo erp --dry-run", "where it would go back to"),
        ],
        codes: &[
            (Verdict::Done, "the previous database is live"),
            CONFIG,
            LOCKED,
            NETWORK,
            FAILED,
            UNCLEAR,
            ATTENTION,
        ],
    },
    Told {
        command: "notify",
        examples: &[
            ("backupctl notify --test", "does mail arrive?"),
            ("backupctl notify erp", "the last report once more"),
        ],
        codes: &[
            (Verdict::Done, "everybody was told"),
            CONFIG,
            NETWORK,
            REFUSED,
        ],
    },
    Told {
        command: "status",
        examples: &[
            ("backupctl status", "every job, for people"),
            (
                "backupctl status erp --max-age 26h",
                "for a monitor that knows only exit codes",
            ),
            ("backupctl status --json", "for one that reads"),
        ],
        codes: &[
            (Verdict::Done, "fresh enough"),
            CONFIG,
            (
                Verdict::Stale,
                "the last success, or what is live, is too old",
            ),
            UNCLEAR,
            (Verdict::Attention, "the last run took longer than `rto`"),
        ],
    },
    Told {
        command: "check",
        examples: &[
            ("backupctl check", "every job"),
            (
                "backupctl check --as-cron",
                "with the environment that cron gives",
            ),
            (
                "backupctl check --store nas",
                "only the way into [stores.nas]",
            ),
        ],
        codes: &[
            (Verdict::Done, "every link holds; there may be warnings"),
            CONFIG,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
            FAILED,
        ],
    },
    Told {
        command: "trust",
        examples: &[
            ("backupctl trust office", "shows the fingerprint and asks"),
            ("backupctl trust office --dry-run", "only shows it"),
        ],
        codes: &[(Verdict::Done, "known"), CONFIG, NETWORK, REFUSED],
    },
    Told {
        command: "completions",
        examples: &[
            ("source <(backupctl completions bash)", "for this shell"),
            (
                "backupctl completions fish > ~/.config/fish/completions/backupctl.fish",
                "for good",
            ),
        ],
        codes: &[(Verdict::Done, "printed")],
    },
    Told {
        command: "vault encrypt",
        examples: &[
            (
                "backupctl vault encrypt",
                "asks, prints the token for the env file",
            ),
            ("backupctl vault encrypt < password.txt", "from a file"),
        ],
        codes: &[(Verdict::Done, "printed"), CONFIG],
    },
    Told {
        command: "vault new-key",
        examples: &[(
            "backupctl vault new-key secret.key",
            "once; keep a copy somewhere safe",
        )],
        codes: &[
            (Verdict::Done, "written"),
            (Verdict::Config, "there is one already"),
            LOCAL,
        ],
    },
    Told {
        command: "vault add",
        examples: &[
            (
                "backupctl vault add erp-db --user postgres",
                "asks for the password",
            ),
            (
                "backupctl vault add erp-db --replace < new.txt",
                "another one, from a file",
            ),
        ],
        codes: &[(Verdict::Done, "it is in the vault"), CONFIG, LOCAL],
    },
    Told {
        command: "vault generate",
        examples: &[
            (
                "backupctl vault generate erp-db --user postgres",
                "24 characters",
            ),
            (
                "backupctl vault generate erp-db --replace --length 40",
                "a new one",
            ),
        ],
        codes: &[(Verdict::Done, "it is in the vault"), CONFIG, LOCAL],
    },
    Told {
        command: "vault get",
        examples: &[
            ("backupctl vault get erp-db", "user, description and dates"),
            ("backupctl vault get erp-db --show", "the password as well"),
        ],
        codes: &[
            (Verdict::Done, "shown"),
            (Verdict::Config, "no such ID, or no key"),
        ],
    },
    Told {
        command: "vault list",
        examples: &[(
            "backupctl vault list --json",
            "without passwords, for a program",
        )],
        codes: &[(Verdict::Done, "listed"), CONFIG],
    },
    Told {
        command: "vault remove",
        examples: &[("backupctl vault remove erp-db", "asks first")],
        codes: &[
            (Verdict::Done, "gone"),
            (Verdict::Config, "no such ID, or no key"),
            LOCAL,
        ],
    },
    Told {
        command: "vault info",
        examples: &[("backupctl vault info", "which settings refer to what")],
        codes: &[(Verdict::Done, "shown"), CONFIG],
    },
    Told {
        command: "vault import",
        examples: &[
            (
                "backupctl vault import .env --dry-run",
                "what would be taken over",
            ),
            (
                "backupctl vault import connections.json",
                "a list of objects",
            ),
        ],
        codes: &[
            (Verdict::Done, "taken over"),
            (Verdict::Config, "nothing was taken over, and why"),
            LOCAL,
        ],
    },
    Told {
        command: "vault rotate",
        examples: &[
            (
                "backupctl vault rotate --dry-run",
                "what would be encrypted anew",
            ),
            (
                "backupctl vault rotate",
                "a new key for the vault and the env file",
            ),
        ],
        codes: &[
            (Verdict::Done, "the new key opens everything"),
            CONFIG,
            LOCAL,
        ],
    },
    Told {
        command: "init",
        examples: &[
            ("backupctl init", "asks, and ends with `check`"),
            (
                "backupctl init --store /mnt/backups …",
                "asks nothing where a flag answers",
            ),
        ],
        codes: &[
            (Verdict::Done, "written, and every link of `check` holds"),
            (Verdict::Config, "a file exists, or an answer is no good"),
            NETWORK,
            REFUSED,
            LOCAL,
        ],
    },
    Told {
        command: "drill",
        examples: &[
            ("backupctl drill", "the newest archive of the only job"),
            (
                "backupctl drill erp -n",
                "what it would do, and whether it could",
            ),
            ("backupctl drill --archive erp_1.zip", "an older one"),
            ("backupctl drill --all", "of every job, one after the other"),
        ],
        codes: &[
            (Verdict::Done, "the archive restores; all was dropped again"),
            CONFIG,
            LOCKED,
            NETWORK,
            REFUSED,
            STALE,
            DAMAGED,
            LOCAL,
            (Verdict::Failed, "the load, a check or a count"),
            (Verdict::Attention, "it restores, a duty is open"),
        ],
    },
    Told {
        command: "report",
        examples: &[
            ("backupctl report", "every job, the last 30 days"),
            (
                "backupctl report erp --since 365d --html FILE",
                "a page, written anew",
            ),
        ],
        codes: &[
            (Verdict::Done, "the history is as it was written"),
            CONFIG,
            (
                Verdict::Local,
                "the reports can't be read, or the page written",
            ),
            (Verdict::Failed, "a report is missing, or was edited"),
        ],
    },
    Told {
        command: "schedule",
        examples: &[
            ("backupctl schedule", "print the units"),
            (
                "backupctl schedule --install --at 03:30",
                "write them, start the timers",
            ),
            (
                "backupctl schedule --cron --user backup",
                "a file for /etc/cron.d",
            ),
            ("backupctl schedule --remove", "stop and remove them"),
        ],
        codes: &[
            (Verdict::Done, "printed; or written, and the timers run"),
            CONFIG,
            LOCAL,
            (
                Verdict::Attention,
                "written, but systemd did not start them",
            ),
        ],
    },
];
