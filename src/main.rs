//! Starts backupctl and exits with the code of its verdict.

use std::process::ExitCode;

/// musl's own takes one lock for every thread; SFTP and inflating are at it all the time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(backupctl::run(std::env::args_os()))
}
