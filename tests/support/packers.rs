//! Archives that other programs make: what only they can show to be read.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

/// The `a.zip` that a program makes of `README` and `erp.dump` beside it; the dump is its standard input as well.
pub fn made_by(program: &[&str], dump: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path();
    fs::write(path.join("erp.dump"), dump).expect("a dump");
    fs::write(path.join("README"), "see the manual").expect("a README");
    let status = Command::new(program[0])
        .args(&program[1..])
        .current_dir(path)
        .stdin(File::open(path.join("erp.dump")).expect("the dump"))
        .stdout(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("start {program:?}: {error}"));
    assert!(status.success(), "{program:?}: {status}");
    fs::read(path.join("a.zip")).expect("an archive")
}

/// `erp.dump` in a ZIP, encrypted by `ZipCrypto`, `AES128`, `AES192` or `AES256`.
pub fn seven_zip(method: &str, password: &str, dump: &[u8]) -> Vec<u8> {
    let (method, password) = (format!("-mem={method}"), format!("-p{password}"));
    let command = ["7z", "a", "-tzip", &method, &password, "a.zip", "erp.dump"];
    made_by(&command, dump)
}

/// What `zstd` makes of its standard input.
pub fn zstd(options: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("zstd")
        .args(["-q", "-c"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zstd is installed");
    let mut input = child.stdin.take().expect("a pipe");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).expect("zstd reads"));
    let output = child.wait_with_output().expect("zstd ends");
    writer.join().expect("all is written");
    assert!(output.status.success(), "{options:?}: {}", output.status);
    output.stdout
}
