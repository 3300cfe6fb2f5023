//! On what was measured, with what, and whether everything that is measured is there.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::options::Options;
use crate::rivals::PYTHON;
use crate::support::program::binary;

/// A contender's program, how it says its version, and the Debian package that has it.
const PROGRAMS: [(&str, &[&str], &str); 9] = [
    ("sftp", &["ssh", "-V"], "openssh-client"),
    (
        "/usr/sbin/sshd",
        &["/usr/sbin/sshd", "-V"],
        "openssh-server",
    ),
    ("rclone", &["rclone", "version"], "rclone"),
    ("unzip", &["unzip", "-v"], "unzip"),
    ("7z", &["7z"], "p7zip-full"),
    ("bsdtar", &["bsdtar", "--version"], "libarchive-tools"),
    (PYTHON, &[PYTHON, "--version"], "python3"),
    (
        "paramiko",
        &[PYTHON, "-I", "-c", PARAMIKO],
        "python3-paramiko",
    ),
    ("ssh-keygen", &["ssh-keygen", "-?"], "openssh-client"),
];
const PARAMIKO: &str = "import paramiko; print('paramiko', paramiko.__version__)";

/// An error that names all that is missing and says what to install.
pub fn everything_is_there() -> Result<()> {
    let missing = PROGRAMS
        .iter()
        .filter(|(_, asked, _)| said(asked).is_none());
    let missing: Vec<&str> = missing.map(|(_, _, package)| *package).collect();
    ensure!(
        missing.is_empty(),
        "a contender is missing: apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    ensure!(
        binary().is_file(),
        "{} is missing: cargo build --release",
        binary().display()
    );
    Ok(())
}

/// The part of the page about the machine and the programs.
pub fn described(directory: &Path, options: &Options, server_version: &str) -> String {
    let mut text = String::from("## The machine\n\n| | |\n| --- | --- |\n");
    for (what, value) in [
        ("processor", processor()),
        ("memory", memory()),
        ("kernel", first_line(&["uname", "-sr"])),
        ("system", system()),
        ("file system of the data", file_system(directory)),
        (
            "measured",
            jiff::Zoned::now().strftime("%Y-%m-%d").to_string(),
        ),
        ("command", command()),
        (
            "backupctl",
            first_line(&[&binary().display().to_string(), "--version"]),
        ),
        (
            "PostgreSQL",
            format!("{server_version}; `pg_restore -j{}`", options.jobs()),
        ),
        ("its settings", format!("`{}`", settings())),
    ] {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    for (program, asked, _) in PROGRAMS {
        if program != "ssh-keygen" {
            let name = program.rsplit('/').next().unwrap_or(program);
            let _ = writeln!(text, "| {name} | {} |", first_line(asked));
        }
    }
    text
}

/// When and how a part was measured: parts may come from different runs.
pub fn when(options: &Options) -> String {
    format!(
        "Measured on {} by `{}`, {} rounds.",
        jiff::Zoned::now().strftime("%Y-%m-%d"),
        command(),
        options.rounds
    )
}

fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The first process has added the directory.
    let own = arguments.len().saturating_sub(2);
    match &arguments[..own] {
        [] => "make bench".to_owned(),
        some => format!("make bench BENCH=\"{}\"", some.join(" ")),
    }
}

fn settings() -> String {
    crate::world::SERVER_SETTINGS.trim().replace('\n', "`, `")
}

/// What a program says, wherever it says it; None where it can't be started or a module is missing.
fn said(asked: &[&str]) -> Option<String> {
    let output = Command::new(asked[0]).args(&asked[1..]).output().ok()?;
    if asked[0] == PYTHON && !output.status.success() {
        return None;
    }
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn first_line(asked: &[&str]) -> String {
    let text = said(asked).unwrap_or_default();
    let line = text.lines().find(|line| {
        let versioned = line.contains(|c: char| c.is_ascii_digit());
        versioned && !line.contains("option")
    });
    line.unwrap_or("unknown").trim().replace('|', "/")
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {count} processors",
        model.unwrap_or_else(|| "unknown".to_owned())
    )
}

fn memory() -> String {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    format!("{} MiB", kib.unwrap_or(0) / 1024)
}

fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn file_system(directory: &Path) -> String {
    let directory = directory.display().to_string();
    let output = said(&["df", "--output=fstype", &directory]).unwrap_or_default();
    output.lines().last().unwrap_or_default().trim().to_owned()
}
