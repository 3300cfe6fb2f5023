//! What is left of a private cluster: its processes are ended, then its directory goes.
//!
//! A process is one of the cluster's where it is PostgreSQL's and works in the cluster's own directory; it is held by a descriptor
//! before that is asked, so that no other process can get its number meanwhile.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::sleep;

use crate::durable;
use crate::escape::shown;
use crate::process::{self, Command};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// From when on they are killed.
const GRACE: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
const IPCRM_DEADLINE: Duration = Duration::from_secs(2);
const SEGMENTS: &str = "/proc/sysvipc/shm";

/// Ends what works in `directory` and removes it; one that is not there is fine.
///
/// # Errors
/// `local`: something of it is still there.
pub async fn remove(directory: &Path) -> Outcome<()> {
    let what = format!("remove the private cluster {}", directory.display());
    end_all_in(directory)
        .await
        .map_err(|failed| failed.context(&what))?;
    let segments = segments_of(&directory.join("data"));
    durable::remove_all(directory).judge(Verdict::Local, what)?;
    for segment in segments {
        remove_segment(&segment).await;
    }
    Ok(())
}

/// The shared memory by which PostgreSQL sees that a directory is in use; it outlives a server that was killed, or ended before it
/// could say so. PostgreSQL makes its key of the directory's inode (`InternalIpcMemoryCreate` in sysv_shmem.c).
fn segments_of(data: &Path) -> Vec<String> {
    let (Ok(listed), Ok(data)) = (fs::read_to_string(SEGMENTS), fs::symlink_metadata(data)) else {
        return Vec::new();
    };
    #[expect(clippy::cast_possible_truncation, reason = "as PostgreSQL does it")]
    let key = data.ino() as i32;
    unused(&listed, key, data.uid())
}

/// The ids of those with this key and owner that no process has, of `key shmid perms size cpid lpid nattch uid …`.
fn unused(listed: &str, key: i32, owner: u32) -> Vec<String> {
    let found = listed.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is = |at: usize, wanted: &str| fields.get(at).is_some_and(|field| *field == wanted);
        let is_ours = is(0, &key.to_string()) && is(6, "0") && is(7, &owner.to_string());
        is_ours.then(|| fields[1].to_owned())
    });
    found.collect()
}

/// 56 bytes, gone with the next start of the machine: no reason to fail.
async fn remove_segment(id: &str) {
    let removed = async {
        let command = Command::new("ipcrm")?.args(["-m", id]);
        process::run(&command, IPCRM_DEADLINE, |_, line| {
            tracing::debug!("ipcrm: {}", shown(line));
        })
        .await
    };
    match removed.await {
        Ok(ended) => tracing::debug!(id, %ended, "removed the private cluster's shared memory"),
        Err(failed) => tracing::debug!(id, "{}", failed.message()),
    }
}

async fn end_all_in(directory: &Path) -> Outcome<()> {
    // One that can't be found by its real name has no process in it.
    let Ok(directory) = fs::canonicalize(directory) else {
        return Ok(());
    };
    let begun = Instant::now();
    loop {
        let found = processes_in(&directory);
        let Some((pid, _)) = found.first() else {
            return Ok(());
        };
        if begun.elapsed() > DEADLINE {
            return Err(
                Failed::new(Verdict::Local, format!("process {pid} of it does not end")).hint(
                    format!("look at it: `ps -fp {pid}`; the next run tries again"),
                ),
            );
        }
        let signal = if begun.elapsed() > GRACE {
            Signal::KILL
        } else {
            Signal::QUIT
        };
        for (_, process) in &found {
            // One that has ended meanwhile needs none.
            let _ = pidfd_send_signal(process, signal);
        }
        sleep(POLL).await;
    }
}

fn processes_in(directory: &Path) -> Vec<(i32, OwnedFd)> {
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter(|number| is_in(*number, directory))
        .filter_map(|number| {
            let process = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
            // Asked again, now that the number can't be another's.
            is_in(number, directory).then_some((number, process))
        })
        .collect()
}

fn is_in(number: i32, directory: &Path) -> bool {
    let link = |name: &str| fs::read_link(format!("/proc/{number}/{name}"));
    let is_server = link("exe").is_ok_and(|program| {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        // What an update has replaced meanwhile is called so.
        name.trim_end_matches(" (deleted)") == "postgres"
    });
    is_server && link("cwd").is_ok_and(|place| place.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unused_memory_with_the_same_key_and_owner_is_removed() {
        let listed = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime
                 7          1   600                    56  1  1      0 65534 65534 65534 65534 1
                 7          2   600                    56  1  1      6 65534 65534 65534 65534 1
                 7          3   600                    56  1  1      0   101   101   101   101 1
                -8          4   600                    56  1  1      0 65534 65534 65534 65534 1";
        assert_eq!(unused(listed, 7, 65534), ["1"]);
        assert_eq!(unused(listed, -8, 65534), ["4"]);
        assert_eq!(unused("", 7, 65534), [""; 0]);
    }

    #[tokio::test]
    async fn a_process_of_somebody_else_in_the_directory_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut sleeping = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(directory.path())
            .spawn()
            .expect("sleep starts");
        remove(directory.path()).await.expect("removed");
        assert!(!directory.path().exists());
        assert!(sleeping.try_wait().expect("its status").is_none());
        sleeping.kill().expect("ended");
        sleeping.wait().expect("its status");
    }
}
