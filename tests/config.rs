//! The configuration file: the example is true and complete, and what is wrong in a file is said, all of it, with line and path.

mod choosing;
mod contents;
mod example;
mod found;
mod urls;

use std::path::Path;

use backupctl::config::{Config, Environment, parse};
use backupctl::verdict::{Failed, Verdict};

/// Where these files are said to stand.
const FILE: &str = "/etc/backupctl/config.toml";

const GOOD: &str = r#"
[stores.office.sftp]
host = "sftp.example.org"
user = "backup"
password = "env:SFTP_PASSWORD"
path = "/backups"

[databases.erp.postgres]
host = "db.example.org"
user = "postgres"
name = "erp"

[restores.erp]
from = "office"
into = "erp"
pattern = "erp_*.zip"
"#;

fn read(text: &str) -> Result<Config, Failed> {
    let environment = Environment {
        is_root: true,
        ..Environment::default()
    };
    parse(Path::new(FILE), text, &environment)
}

/// The lines of the complaint about `text`, without the one above them.
fn complaints(text: &str) -> Vec<String> {
    let failed = read(text).expect_err("a file with mistakes");
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(failed.hint.is_some(), "{failed:?}");
    let message = failed.message();
    let lines: Vec<String> = message
        .lines()
        .skip(1)
        .map(|line| line.trim().to_owned())
        .collect();
    if lines.is_empty() {
        let start = format!("read {FILE}: ");
        let only = message
            .strip_prefix(&start)
            .unwrap_or_else(|| panic!("{message}"));
        return vec![only.to_owned()];
    }
    assert_eq!(
        message.lines().next(),
        Some(format!("read {FILE}: {} problems", lines.len()).as_str())
    );
    lines
}

/// The good file with `old` exchanged for `new`.
fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    GOOD.replace(old, new)
}

#[test]
fn three_mistakes_are_all_named_with_line_and_path() {
    let text = with("user = \"backup\"", "usr = \"backup\"")
        .replace("into = \"erp\"", "into = \"epr\"")
        .replace("pattern = \"erp_*.zip\"", "pattern = 7");

    assert_eq!(
        complaints(&text),
        [
            "line 2: stores.office.sftp.user: is missing; for example `user = \"backup\"`",
            "line 4: stores.office.sftp.usr: unknown setting; did you mean `user`?",
            "line 15: restores.erp.into: there is no \"epr\"; did you mean \"erp\"?",
            "line 16: restores.erp.pattern: is a number, must be a string in quotes",
        ]
    );
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_known_one() {
    let text = with(
        "path = \"/backups\"",
        "path = \"/backups\"\nknown_host = \"x\"",
    );
    assert_eq!(
        complaints(&text),
        ["line 7: stores.office.sftp.known_host: unknown setting; did you mean `known_hosts`?"]
    );
    let text = format!("retention = 3\n{GOOD}");
    assert_eq!(
        complaints(&text),
        ["line 1: retention: unknown setting"],
        "nothing is near"
    );
}

#[test]
fn a_literal_password_is_refused_without_repeating_it() {
    for password in ["hunter2-canary", "env:not a name canary", "https://canary"] {
        let text = with("env:SFTP_PASSWORD", password);

        let failed = read(&text).expect_err("a password in the file");

        let all = format!("{failed:?} {}", failed.message());
        assert!(!all.contains("canary"), "{all}");
        assert!(
            all.contains("line 5: stores.office.sftp.password: "),
            "{all}"
        );
    }
    let how = complaints(&with("env:SFTP_PASSWORD", "hunter2"));
    assert!(how[0].contains("`backupctl vault encrypt`"), "{how:?}");
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    assert_eq!(
        complaints(
            "[restores.erp]\n[databases.erp.postgres]\n[stores.office.sftp]\n[notify.email]\n"
        ),
        [
            "line 1: restores.erp.from: is missing; for example `from = \"office\"`",
            "line 1: restores.erp.into: is missing; for example `into = \"erp\"`",
            "line 1: restores.erp.pattern: is missing; for example `pattern = \"erp_*.zip\"`",
            "line 2: databases.erp.postgres.host: is missing; for example `host = \"db.example.org\"`",
            "line 2: databases.erp.postgres.name: is missing; for example `name = \"erp\"`",
            "line 2: databases.erp.postgres.user: is missing; for example `user = \"postgres\"`",
            "line 3: stores.office.sftp.host: is missing; for example `host = \"sftp.example.org\"`",
            "line 3: stores.office.sftp.password: is missing: the login needs `password`, `private_key` or an SSH agent",
            "line 3: stores.office.sftp.path: is missing; for example `path = \"/backups\"`",
            "line 3: stores.office.sftp.user: is missing; for example `user = \"backup\"`",
            "line 4: notify.email.from: is missing; for example `from = \"backupctl <backup@example.org>\"`",
            "line 4: notify.email.server: is missing; for example `server = \"smtp.example.org\"`",
            "line 4: notify.email.to: names nobody; for example `to = [\"ops@example.org\"]`",
        ]
    );
}

#[test]
fn a_name_that_points_nowhere_is_named_with_the_ones_there_are() {
    let text = with("from = \"office\"", "from = \"cloud\"");
    assert_eq!(
        complaints(&text),
        ["line 14: restores.erp.from: there is no \"cloud\"; known: office"]
    );
}

#[test]
fn values_of_a_wrong_kind_are_named_one_by_one() {
    let table = [
        ("jobs = \"4\"", "jobs: is a string, must be a whole number"),
        ("jobs = 0", "jobs: is 0, must be from 1 to 256"),
        (
            "stall = 10",
            "stall: is a number, must be a string in quotes",
        ),
        ("stall = \"0s\"", "stall: must be longer than zero"),
        (
            "settle = \"5 parsecs\"",
            "settle: \"5 parsecs\" is no duration; write it like \"90s\", \"10m\", \"26h\" or \"7d\"",
        ),
        (
            "max_age = \"36\"",
            "max_age: \"36\" is no duration; write it like \"36h\" or \"7d\", or \"none\"",
        ),
        (
            "max_unpacked = \"200\"",
            "max_unpacked: \"200\" is no size; write it like \"64 MiB\" or \"2 GB\"",
        ),
        (
            "min_size = \"150%\"",
            "min_size: \"150%\" is neither a share like \"50%\" nor a size like \"10 MiB\"",
        ),
        (
            "dump = \"[a\"",
            "dump: \"[a\" is no glob: unclosed character class; missing ']'",
        ),
        (
            "method = \"replace\"",
            "method: \"replace\" is unknown; known: swap, in-place",
        ),
        (
            "before_swap = [\"systemctl stop app\"]",
            "before_swap: is a string, must be an array of strings",
        ),
        (
            "checks = [{ sql = \"select 1\" }]",
            "checks[0].sql: needs one of at_least, at_most, equals, newer_than, at_least_of_live, has 0",
        ),
    ];
    each_is_named(&table);
}

#[test]
fn wrong_values_of_what_is_compared_with_live_are_named_one_by_one() {
    each_is_named(&[
        (
            "checks = [{ sql = \"select 1\", at_least_of_live = \"80\" }]",
            "checks[0].at_least_of_live: \"80\" is no share like \"80%\", more than 0% and 100% at most",
        ),
        (
            "checks = [{ sql = \"select 1\", at_least_of_live = \"0%\" }]",
            "checks[0].at_least_of_live: \"0%\" is no share like \"80%\", more than 0% and 100% at most",
        ),
        (
            "checks = [{ sql = \"select 1\", at_least_of_live = \"101%\" }]",
            "checks[0].at_least_of_live: \"101%\" is no share like \"80%\", more than 0% and 100% at most",
        ),
        (
            "checks = [{ sql = \"select 1\", at_least_of_live = \"nan%\" }]",
            "checks[0].at_least_of_live: \"nan%\" is no share like \"80%\", more than 0% and 100% at most",
        ),
        (
            "checks = [{ sql = \"select 1\", at_least_of_live = 80 }]",
            "checks[0].at_least_of_live: is a number, must be a string in quotes",
        ),
        (
            "lost_objects = \"ignore\"",
            "lost_objects: \"ignore\" is unknown; known: warn, refuse",
        ),
        (
            "after_load = \"grants.sql\"",
            "after_load: is a string, must be an array of strings",
        ),
        ("after_load = [\"\"]", "after_load: has an empty name"),
    ]);
}

fn each_is_named(table: &[(&str, &str)]) {
    for (setting, complaint) in table {
        let found = complaints(&format!("{GOOD}{setting}\n"));

        assert_eq!(found, [format!("line 17: restores.erp.{complaint}")]);
    }
}

#[test]
fn what_needs_the_old_data_beside_the_new_is_refused_in_place() {
    let settings = "method = \"in-place\"\nafter_load = [\"grants.sql\"]\nlost_objects = \"refuse\"\n\
                    checks = [{ sql = \"select 1\", at_least_of_live = \"80%\" }]\n";
    assert_eq!(
        complaints(&format!("{GOOD}{settings}")),
        [
            "line 18: restores.erp.after_load: runs in the scratch database, and `method = \"in-place\"` has none",
            "line 19: restores.erp.lost_objects: can't be \"refuse\" with `method = \"in-place\"`: the live database is changed before anything is known",
            "line 20: restores.erp.checks: at_least_of_live needs the old data beside the new, and `method = \"in-place\"` has overwritten it",
        ]
    );
}

#[test]
fn the_files_of_after_load_lie_beside_the_configuration() {
    let config = read(&format!(
        "{GOOD}after_load = [\"grants.sql\", \"/srv/views.sql\"]\n"
    ))
    .expect("it is right");
    let files: Vec<_> = config.restores[0]
        .after_load
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    assert_eq!(files, ["/etc/backupctl/grants.sql", "/srv/views.sql"]);
}

#[test]
fn how_it_goes_live_is_judged_like_everything_else() {
    let table = [
        (
            "after_checks = [{ command = [] }]",
            "after_checks[0].command: is missing; for example `command = [\"curl\", \"-fsS\", \"http://localhost:8080/health\"]`, or `sql`",
        ),
        (
            "after_checks = [{ command = [\"true\"], sql = \"select 1\" }]",
            "after_checks[0].sql: is one too many: either `sql` or `command`",
        ),
        (
            "swap = \"later\"",
            "swap: \"later\" is unknown; known: now, hold",
        ),
    ];
    for (setting, complaint) in table {
        let found = complaints(&format!("{GOOD}{setting}\n"));

        assert_eq!(found, [format!("line 17: restores.erp.{complaint}")]);
    }
}

#[test]
fn what_needs_a_swap_is_refused_in_place() {
    for (setting, key) in [
        ("swap = \"hold\"", "swap"),
        ("drop_previous = \"before-load\"", "drop_previous"),
        ("after_checks = [{ command = [\"true\"] }]", "after_checks"),
    ] {
        let found = complaints(&format!("{GOOD}{setting}\nmethod = \"in-place\"\n"));

        assert_eq!(
            found,
            [format!(
                "line 17: restores.erp.{key}: needs `method = \"swap\"`; with \"in-place\" nothing is swapped and nothing can be undone"
            )]
        );
        read(&format!("{GOOD}{setting}\n")).expect("with a swap it is fine");
    }
}

#[test]
fn a_pattern_is_for_the_file_name_only() {
    let found = complaints(&with("erp_*.zip", "nightly/erp_*.zip"));
    assert_eq!(
        found,
        [
            "line 16: restores.erp.pattern: is for the file name only; the directory is the store's `path`"
        ]
    );
}

#[test]
fn clear_text_mail_is_for_this_machine_only() {
    let mail = "[notify.email]\nserver = \"smtp.example.org\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\nsecurity = \"none\"\n";
    let found = complaints(&format!("{GOOD}{mail}"));
    assert_eq!(
        found,
        [
            "line 21: notify.email.security: \"none\" sends in clear and is for a server on this machine only"
        ]
    );
    let on_this_machine = mail.replace("smtp.example.org", "127.0.0.1");
    read(&format!("{GOOD}{on_this_machine}")).expect("the loopback is fine");
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let found = complaints("[stores.office.sftp]\nhost = sftp.example.org\n[oops\n");

    assert!(found.len() >= 2, "{found:?}");
    assert!(found[0].starts_with("line 2: no valid TOML: "), "{found:?}");
    assert!(
        found.iter().any(|line| line.starts_with("line 3: ")),
        "{found:?}"
    );
}

#[test]
fn settings_of_the_servers_sessions_are_taken_whatever_their_type() {
    let with = |settings: &str| {
        let line = format!("user = \"postgres\"\nsession = {settings}\n");
        GOOD.replacen("user = \"postgres\"\n", &line, 1)
    };
    let text = with(
        r#"{ work_mem = "64 MB", jit = false, seq_page_cost = 1.5, "x.y" = "", max_parallel_maintenance_workers = 2 }"#,
    );
    let config = read(&text).expect("a good file");
    let taken: Vec<_> = config.databases["erp"]
        .session
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        taken,
        [
            "jit=f",
            "max_parallel_maintenance_workers=2",
            "seq_page_cost=1.5",
            "work_mem=64 MB",
            "x.y=",
        ]
    );

    let complaints = complaints(&with(
        r#"{ role = "x", timescaledb.restoring = true, work_mem = [1], "a b" = 1, jit = "a\nb" }"#,
    ));
    for (complaint, expected) in complaints.iter().zip([
        "session.a b: is no name of a setting",
        "session.jit: must be of printable ASCII",
        "session.role: can't be set here: the session's user",
        "session.timescaledb: is a table, must be a string, a number, true or false; an extension's setting goes in quotes",
        "session.work_mem: is an array, must be",
    ]) {
        assert!(complaint.contains(expected), "{complaint}");
    }
    assert_eq!(complaints.len(), 5);
}

#[test]
fn what_a_stream_can_not_be_is_named_all_at_once() {
    let stream = with(
        "pattern = \"erp_*.zip\"",
        "pattern = \"erp_*.zip\"\nstream = true\njobs = 4\nkeep_archives = 2\nmethod = \"in-place\"",
    );
    assert_eq!(
        complaints(&stream),
        [
            "line 17: restores.erp.stream: not with `method = \"in-place\"`: its transaction would be committed before the archive's checksum is proven",
            "line 18: restores.erp.jobs: is 4, but `stream = true` feeds one session of pg_restore: set 1, or leave it out",
            "line 19: restores.erp.keep_archives: `stream = true` writes no archive that could be kept: set 0, or leave it out",
        ]
    );
}

#[test]
fn a_stream_implies_one_session_and_no_kept_archive() {
    for more in ["", "\njobs = 1\nkeep_archives = 0"] {
        let text = format!("pattern = \"erp_*.zip\"\nstream = true{more}");
        let config = read(&with("pattern = \"erp_*.zip\"", &text)).expect("a good file");
        let restore = &config.restores[0];
        assert!(restore.stream);
        assert_eq!((restore.jobs, restore.keep_archives), (1, 0));
    }
    assert!(!read(GOOD).expect("a good file").restores[0].stream);
}
