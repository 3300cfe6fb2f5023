//! Starts backupctl and exits with the code of its verdict.

use std::process::ExitCode;

/// musl's own takes one lock for every thread; SFTP and inflating are at it all the time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(target_env = "musl")]
    give_memory_back_at_once();
    ExitCode::from(backupctl::run(std::env::args_os()))
}

/// By default mimalloc keeps what was freed for a second, which is most of what a download has ever held.
#[cfg(target_env = "musl")]
#[expect(unsafe_code, reason = "mimalloc's options are set by a call into C")]
fn give_memory_back_at_once() {
    use libmimalloc_sys::{mi_option_get, mi_option_set};
    /// `mi_option_purge_delay` of mimalloc.h, which has no name in the crate.
    const PURGE_DELAY: i32 = 15;
    /// By this, an option that has got another number is not taken for it, and whoever chose a value keeps it.
    const DEFAULT_MILLISECONDS: std::ffi::c_long = 1000;
    // SAFETY: these are not thread safe, and there is no other thread yet.
    unsafe {
        if mi_option_get(PURGE_DELAY) == DEFAULT_MILLISECONDS {
            mi_option_set(PURGE_DELAY, 0);
        }
    }
}
