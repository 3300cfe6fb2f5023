//! The other tools, each in its best ordinary use.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::sshd::Sshd;
use crate::world::World;

pub const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bench")
        .join(name)
}

const BATCH: &str = "batch";

/// What [`sftp`] will do.
pub fn write_batch(sshd: &Sshd, remote: &Path, local: &Path) -> std::io::Result<()> {
    let get = format!("get \"{}\" \"{}\"\n", remote.display(), local.display());
    std::fs::write(sshd.home.join(BATCH), get)
}

/// One `get`, as the batch says.
pub fn sftp(sshd: &Sshd, port: u16) -> Command {
    let mut command = Command::new("sftp");
    command
        .args(["-q", "-F", "none", "-P", &port.to_string(), "-i"])
        .arg(&sshd.private_key)
        .args(["-o", "IdentitiesOnly=yes", "-o"])
        .arg(format!("UserKnownHostsFile={}", sshd.known_hosts.display()))
        .arg("-b")
        .arg(sshd.home.join(BATCH))
        .arg(format!("{}@127.0.0.1", sshd.user));
    command
}

/// Without its comparison of checksums, for which it would have the server read the file once more.
pub fn rclone(sshd: &Sshd, port: u16, remote: &Path, local: &Path) -> Command {
    let mut command = Command::new("rclone");
    command
        .args(["copyto", "--ignore-checksum", "--sftp-disable-hashcheck"])
        .args(["--sftp-host", "127.0.0.1", "--sftp-port", &port.to_string()])
        .args(["--sftp-user", &sshd.user, "--sftp-key-file"])
        .arg(&sshd.private_key)
        .arg("--sftp-known-hosts-file")
        .arg(&sshd.known_hosts)
        .arg("--config")
        .arg(sshd.home.join("rclone.conf"))
        .arg(format!(":sftp:{}", remote.display()))
        .arg(local);
    command
}

pub fn unzip(archive: &Path, directory: &Path) -> Command {
    let mut command = Command::new("unzip");
    command
        .args(["-q", "-o"])
        .arg(archive)
        .arg("-d")
        .arg(directory);
    command
}

pub fn seven_zip(archive: &Path, directory: &Path) -> Command {
    let mut command = Command::new("7z");
    command
        .args(["x", "-y", "-bd", "-bso0"])
        .arg(format!("-o{}", directory.display()))
        .arg(archive);
    command
}

pub fn bsdtar(archive: &Path, directory: &Path) -> Command {
    let mut command = Command::new("bsdtar");
    command.arg("-xf").arg(archive).arg("-C").arg(directory);
    command
}

pub fn zipfile(archive: &Path, directory: &Path) -> Command {
    let mut command = Command::new(PYTHON);
    command
        .arg("-I")
        .arg(script("unzip.py"))
        .arg(archive)
        .arg(directory);
    command
}

/// Into the new database `name`: createdb, `pg_restore -jN`, ANALYZE.
pub fn pg_restore(world: &World, dump: &Path, name: &str) -> Vec<Command> {
    let postgres = &world.postgres;
    let mut createdb = postgres.tool("createdb", "postgres");
    createdb.arg(name);
    let mut restore = postgres.tool("pg_restore", name);
    restore
        .args(["--exit-on-error", "-j", &world.options.jobs().to_string()])
        .args(["-d", name])
        .arg(dump);
    let mut analyze = postgres.tool("psql", name);
    analyze.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", "analyze"]);
    vec![createdb, restore, analyze]
}

/// Into the new database `name`: paramiko, zipfile, `pg_restore -jN`, one after the other.
pub fn plain_script(
    world: &World,
    port: u16,
    remote: &Path,
    (directory, name): (&Path, &str),
) -> Command {
    let sshd = &world.sshd;
    let mut command = Command::new(PYTHON);
    let tool = world.postgres.tool("pg_restore", "postgres");
    for (variable, value) in tool.get_envs() {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    command
        .arg("-I")
        .arg(script("plain_script.py"))
        .args([port.to_string(), sshd.user.clone()])
        .args([&sshd.private_key, &sshd.known_hosts])
        .args([remote, directory])
        .arg(&world.postgres.bin_dir)
        .args([name, &world.options.jobs().to_string()]);
    command
}
