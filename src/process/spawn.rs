//! What happens between fork and exec, and the file in memory that carries a secret over it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command as StdCommand, Stdio};

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, getrlimit, set_parent_process_death_signal,
    setrlimit, umask,
};
use rustix::thread::set_no_new_privs;

use super::Command;

/// An anonymous file with mode 0600, which libpq asks of a password file.
pub fn file_in_memory(content: &[u8]) -> io::Result<OwnedFd> {
    let name = "backupctl";
    // Hardened kernels refuse a memory file that could be executed; old ones don't know the flag.
    let made = match memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, MemfdFlags::CLOEXEC),
        other => other,
    };
    let file = made?;
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(file);
    file.write_all(content)?;
    Ok(file.into())
}

/// The standard library's command, with everything about it decided.
pub fn prepare(command: &Command) -> io::Result<StdCommand> {
    let stdin = match &command.stdin {
        Some(end) => Stdio::from(end.try_clone()?),
        None => Stdio::null(),
    };
    let mut prepared = StdCommand::new(&command.program);
    prepared
        .args(&command.arguments)
        .env_clear()
        .envs(&command.environment)
        .current_dir("/")
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(user) = command.user {
        // The library drops the other groups with it.
        prepared.uid(user.uid).gid(user.gid);
    }
    let passed = command.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let manner = (command.end, command.is_confined);
    before_exec(&mut prepared, open_descriptors()?, passed, manner);
    Ok(prepared)
}

/// Every descriptor of this process beyond the three standard ones.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let names = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names
        .filter_map(|name| name.parse().ok())
        .filter(|fd| *fd > 2)
        .collect())
}

/// In the child: a death signal, a private umask, no core dump, and no descriptor but `passed`.
///
/// The death signal comes when the *thread* that forked ends, so `group.rs` forks on a thread that waits for the child.
/// It is SIGTERM unless the command says otherwise, at which pg_restore also stops its workers and cancels what its backends
/// do. It reaches the child alone: where this process is killed outright, what another kind of child has started lives on.
#[expect(
    unsafe_code,
    reason = "there is no safe way to act between fork and exec"
)]
fn before_exec(
    command: &mut StdCommand,
    open: Vec<RawFd>,
    passed: Vec<RawFd>,
    (end, is_confined): (Signal, bool),
) {
    let parent: Pid = getpid();
    // 0 would forbid files alone: where crashes are piped to a program, as systemd-coredump is, only a limit of 1 keeps the
    // kernel from it (`do_coredump` in fs/coredump.c). No file is as small as that.
    let maximum = getrlimit(Resource::Core).maximum;
    let no_core = Rlimit {
        current: Some(maximum.map_or(1, |most| most.min(1))),
        maximum,
    };
    let prepare = move || -> io::Result<()> {
        // After the change of the user, which clears it.
        set_parent_process_death_signal(Some(end))?;
        if is_confined {
            set_no_new_privs(true)?;
        }
        if getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        umask(Mode::RWXG | Mode::RWXO);
        // A kernel that refuses leaves it at 0, as it is here.
        let _ = setrlimit(Resource::Core, no_core);
        for fd in &open {
            // SAFETY: only a flag of the number is set, and no number is used afterwards; a closed one is EBADF.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            let _: Result<(), Errno> = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
        for fd in &passed {
            // SAFETY: the parent's `Command` owns this descriptor until the child was started.
            fcntl_setfd(unsafe { BorrowedFd::borrow_raw(*fd) }, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls (prctl, getppid, umask, setrlimit, fcntl) and reads two
    // vectors made before: it neither allocates nor takes a lock that another thread could hold.
    unsafe {
        command.pre_exec(prepare);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_in_memory_is_private_and_reads_from_its_start() {
        let file = file_in_memory(b"db:5432:*:me:secret").expect("a file in memory");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mode = fs::metadata(&path).expect("its metadata").mode();
        assert_eq!(mode & 0o7777, 0o600, "{mode:o}");
        assert_eq!(
            fs::read(&path).expect("its content"),
            b"db:5432:*:me:secret"
        );
    }
}
