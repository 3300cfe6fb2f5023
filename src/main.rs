//! Starts backupctl and exits with the code of its verdict.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(backupctl::run(std::env::args_os()))
}
