//! The demonstration, or the benchmark, as a whole: a directory of its own around it, and nothing left of it, however it ends.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

/// For the servers to stop after their supervisors have noticed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plays it in a second process, so that also a panic or a signal there leaves somebody to clean up. It is given these arguments and
/// then the directory, whose name begins with `prefix`.
pub fn in_a_directory_of_its_own(prefix: &str, arguments: &[OsString]) -> ExitCode {
    let directory = tempfile::Builder::new()
        .prefix(prefix)
        .rand_bytes(4)
        .tempdir()
        .expect("a temporary directory");
    // PostgreSQL's own user passes through it where root plays.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).expect("its mode");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = runtime
        .expect("a runtime for the signals")
        .block_on(watched(directory.path(), arguments));
    until(|| servers_are_gone(directory.path()));
    directory.close().expect("the directory is removed");
    code
}

/// Hears the signals in place of the player, which is alone in a process group with all that it starts.
async fn watched(directory: &Path, arguments: &[OsString]) -> ExitCode {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt()).expect("SIGINT is heard"),
        signal(SignalKind::terminate()).expect("SIGTERM is heard"),
    );
    let mut player = Command::new(std::env::current_exe().expect("this program"))
        .args(arguments)
        .arg(directory)
        .env("TMPDIR", directory)
        .process_group(0)
        .spawn()
        .expect("this program once more");
    let code = loop {
        tokio::select! {
            _ = interrupt.recv() => break ExitCode::from(130),
            _ = terminate.recv() => break ExitCode::from(143),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        match player.try_wait().expect("its status") {
            Some(status) if status.success() => break ExitCode::SUCCESS,
            Some(_) => break ExitCode::FAILURE,
            None => {}
        }
    };
    everybody_goes(&mut player);
    code
}

/// Also a backupctl at work, in order, while its servers are still there.
fn everybody_goes(player: &mut Child) {
    let group = i32::try_from(player.id()).ok().and_then(Pid::from_raw);
    let group = group.expect("a process id");
    // There is nobody left where all went well.
    let _ = kill_process_group(group, Signal::INT);
    player.wait().expect("its status");
    until(|| test_kill_process_group(group).is_err());
}

/// Each server's supervisor removes the server's own directory as its last act.
fn servers_are_gone(directory: &Path) -> bool {
    let of_a_server =
        |name: &str| name.starts_with("backupctl-pg-") || name.starts_with("backupctl-smtp-");
    let mut entries = fs::read_dir(directory)
        .expect("the directory")
        .filter_map(Result::ok);
    !entries.any(|entry| entry.file_name().to_str().is_some_and(of_a_server))
}

/// Waits for it, but not for ever.
fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
}
