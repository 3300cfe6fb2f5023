//! The one directory that backupctl writes to: who may use it, and where in it things lie.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Creates the directory where it is missing, and refuses one that others own or can write.
///
/// # Errors
/// `config`: a symlink, somebody else's, or open to others; `local`: it can't be created.
pub fn ready(path: &Path) -> Outcome<()> {
    durable::create_private_dir(path).judge(
        Verdict::Local,
        format!("create `state_dir` {}", path.display()),
    )?;
    usable(path)
}

/// Like [`ready`] without creating anything: a missing directory is fine where its parent can be written.
///
/// # Errors
/// See [`ready`].
pub fn usable(path: &Path) -> Outcome<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).judge(
                Verdict::Local,
                format!("look at `state_dir` {}", path.display()),
            );
        }
    };
    let refuse = |why: &str| {
        Failed::new(
            Verdict::Config,
            format!("use `state_dir` {}: {why}", path.display()),
        )
    };
    if !meta.is_dir() {
        return Err(refuse("it is a symlink or no directory")
            .hint("name the real directory in `state_dir`"));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us {
        let owner = user_name(meta.uid());
        let command = std::env::args().collect::<Vec<_>>().join(" ");
        return Err(refuse(&format!(
            "it belongs to {owner}, and files of ours would be unreadable there"
        ))
        .hint(format!("sudo -u {owner} {command}")));
    }
    if meta.permissions().mode() & 0o022 != 0 {
        return Err(refuse("others can write there").hint(format!("chmod 700 {}", path.display())));
    }
    Ok(())
}

/// The name of a user id, or `#id` as sudo understands it.
fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| format!("'#{uid}'"))
}

/// Where the proven archives of a job lie.
#[must_use]
pub fn archives(state_dir: &Path, job: &str) -> PathBuf {
    state_dir.join("archives").join(job)
}

/// Where the unpacked dumps of a job lie.
#[must_use]
pub fn dumps(state_dir: &Path, job: &str) -> PathBuf {
    state_dir.join("dumps").join(job)
}

/// Where the private cluster of a drill lies; the path of its socket must be short.
#[must_use]
pub fn drill(state_dir: &Path, run: &str) -> PathBuf {
    state_dir.join("drills").join(run)
}

/// The log of one run, beside its report.
#[must_use]
pub fn run_log(state_dir: &Path, run: &str) -> PathBuf {
    state_dir.join("runs").join(format!("{run}.log"))
}
