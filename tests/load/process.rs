//! Children: what they find, what they don't, and that they end.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use backupctl::process::{Child, Command, Ended, Stream, run};
use backupctl::secret::Secret;
use backupctl::verdict::Verdict;

use super::{runs, until};

const LIMIT: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Command {
    Command::new("sh").expect("a shell").args(["-c", script])
}

async fn output(command: &Command) -> (Ended, Vec<String>) {
    let mut lines = Vec::new();
    let ended = run(command, LIMIT, |_, line| lines.push(line.to_owned())).await;
    (ended.expect("it starts"), lines)
}

/// A child whose first line is the id of a process of its own, which sleeps for long.
async fn with_grandchild(script: &str) -> (Child, u32) {
    let mut child = Child::start(&shell(script)).await.expect("it starts");
    let (_, line) = child.line().await.expect("a line");
    (child, line.parse().expect("a process id"))
}

#[tokio::test]
async fn a_child_finds_only_what_it_was_given() {
    let leak = tempfile::NamedTempFile::new().expect("a file");
    let inherited = File::open(leak.path()).expect("the file");
    rustix::io::fcntl_setfd(inherited.as_fd(), rustix::io::FdFlags::empty()).expect("its flag");

    let script = "env; umask; pwd; readlink /proc/self/fd/* ; cat";
    let (ended, lines) = output(&shell(script).env("BACKUPCTL_JOB", "erp")).await;

    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let allowed = [
        "PATH",
        "LC_ALL",
        "BACKUPCTL_JOB",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    ];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert!(
        lines.iter().any(|line| line == "BACKUPCTL_JOB=erp"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line == "0077"), "{lines:?}");
    assert!(lines.iter().any(|line| line == "/"), "{lines:?}");
    let path = leak.path().to_str().expect("a plain path");
    assert!(!lines.iter().any(|line| line == path), "{lines:?}");
    assert_eq!(ended, Ended::Exited(0));
}

#[tokio::test]
async fn a_child_leaves_no_core_dump_neither_as_a_file_nor_to_a_program() {
    let (_, lines) = output(&shell("grep '^Max core file size' /proc/self/limits")).await;
    let soft = lines[0].split_whitespace().nth(4);
    // 1 is what the kernel does not even pipe to a program; 0 where the hard limit is 0.
    assert!(matches!(soft, Some("0" | "1")), "{lines:?}");
    let hard = lines[0].split_whitespace().nth(5);
    assert_eq!(soft == Some("1"), hard != Some("0"), "{lines:?}");
}

#[tokio::test]
async fn a_secret_is_read_from_its_file_and_seen_nowhere_else() {
    let script = "cat \"$PGPASSFILE\"; echo; stat -Lc %a \"$PGPASSFILE\"; tr '\\0' ' ' </proc/$$/cmdline; tr '\\0' ' ' </proc/$$/environ";
    let command = shell(script)
        .secret_file("PGPASSFILE", &Secret::new("canary".into()))
        .expect("a file in memory");

    let (_, lines) = output(&command).await;

    assert_eq!(lines[..2], ["canary", "600"], "{lines:?}");
    assert!(!lines[2..].join(" ").contains("canary"), "{lines:?}");
    assert!(!format!("{command:?}").contains("canary"));
}

#[tokio::test]
async fn how_a_child_ended_and_what_it_said_is_told() {
    let mut said = Vec::new();
    let script = shell("echo out; echo err >&2; exit 3");
    let ended = run(&script, LIMIT, |stream, line| {
        said.push((stream, line.to_owned()));
    })
    .await;
    said.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    assert_eq!(ended.expect("it starts"), Ended::Exited(3));
    assert_eq!(
        said,
        [
            (Stream::Stdout, "out".to_owned()),
            (Stream::Stderr, "err".to_owned())
        ]
    );
    assert_eq!(output(&shell("kill -9 $$")).await.0, Ended::Killed(9));
}

#[test]
fn a_missing_program_is_a_mistake_in_the_configuration() {
    for program in [
        "/nonexistent/pg_restore",
        "no-such-program",
        "./relative",
        "/etc/passwd",
    ] {
        let failed = Command::new(program).expect_err(program);
        assert_eq!(failed.verdict, Verdict::Config);
        assert!(failed.message().contains(program), "{}", failed.message());
    }
    assert_eq!(
        Command::from_list(&[]).expect_err("nothing").verdict,
        Verdict::Config
    );
}

#[tokio::test]
async fn at_its_deadline_a_child_is_ended_with_all_that_it_started() {
    let mut grandchild = 0;
    let limit = Duration::from_millis(300);
    let script = shell("sleep 1000 & echo $!; wait");

    let ended = run(&script, limit, |_, line| {
        grandchild = line.parse().expect("an id");
    })
    .await;

    assert_eq!(ended.expect("it starts"), Ended::TimedOut(limit));
    until("the grandchild ends", || !runs(grandchild));
}

#[tokio::test]
async fn a_dropped_child_is_ended_with_all_that_it_started() {
    let (child, grandchild) = with_grandchild("sleep 1000 & echo $!; wait").await;
    let id = child.id();
    assert!(runs(id) && runs(grandchild));
    drop(child);
    until("both end", || !runs(id) && !runs(grandchild));
}

#[tokio::test]
async fn a_child_that_ignores_the_request_is_killed() {
    let (mut stubborn, grandchild) =
        with_grandchild("trap '' TERM; sleep 1000 & echo $!; wait").await;
    let (dropped, other) = with_grandchild("trap '' TERM; sleep 1000 & echo $!; wait").await;
    let ids = [stubborn.id(), grandchild, dropped.id(), other];
    drop(dropped);
    stubborn.stop().await;
    until("all end", || !ids.iter().any(|id| runs(*id)));
}

#[tokio::test]
async fn a_daemon_that_a_child_leaves_behind_holds_up_nobody() {
    let clock = Instant::now();
    let (ended, lines) = output(&shell("sleep 1000 & echo $!")).await;
    let daemon: u32 = lines[0].parse().expect("a process id");
    assert_eq!(ended, Ended::Exited(0));
    assert!(clock.elapsed() < LIMIT / 2);
    assert!(runs(daemon), "a hook may start a service");
    let id = rustix::process::Pid::from_raw(daemon.try_into().expect("an id")).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it is ended");
}

#[test]
fn a_child_outlives_the_thread_and_the_runtime_that_asked_for_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (child, grandchild) = runtime.block_on(async {
        tokio::spawn(with_grandchild("sleep 1000 & echo $!; wait"))
            .await
            .expect("no panic")
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    std::thread::sleep(Duration::from_millis(100)); // a death signal would need no longer
    assert!(runs(child.id()) && runs(grandchild));
}

/// The same test is the parent that is killed, where it finds this variable.
const VICTIM: &str = "BACKUPCTL_TEST_VICTIM";

#[tokio::test]
async fn a_child_ends_with_a_parent_that_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        let child = Child::start(&shell("exec sleep 1000"))
            .await
            .expect("it starts");
        writeln!(std::io::stdout(), "child {}", child.id()).expect("somebody reads");
        tokio::time::sleep(LIMIT).await;
        return;
    }
    let mut victim = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "load::process::a_child_ends_with_a_parent_that_is_killed",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim starts");
    let lines = BufReader::new(victim.stdout.take().expect("a pipe")).lines();
    let child: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.rsplit_once("child ")?.1.parse().ok())
        .expect("the child's id");

    victim.kill().expect("it is killed");
    victim.wait().expect("it has ended");

    until("the child ends", || !runs(child));
}
