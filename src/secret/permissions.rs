//! Private files: who may read, replace or redirect them, judged as ssh judges its keys.
//!
//! The opened file is judged, not its name, so nothing can be exchanged between the look and the read.
//! A directory with the sticky bit (`/tmp`) is fine: others can't replace what belongs to us in it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::{Problem, shell_word, shown};

/// No key file, env file or password is longer.
const LARGEST: u64 = 1024 * 1024;
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;
/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// Reads a file that nobody else may read or replace. All that is wrong with it comes back at once.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Vec<Problem>> {
    let file = open(path).map_err(|error| vec![unreadable(path, &error)])?;
    let metadata = regular(path, &file).map_err(|problem| vec![problem])?;
    let mut problems = exposed(path, &metadata);
    problems.extend(replaceable(path));
    if problems.is_empty() {
        content(path, file).map_err(|problem| vec![problem])
    } else {
        Err(problems)
    }
}

/// Reads a file whose protection is somebody else's business (systemd, a container's runtime). None: it is not there.
pub fn read_plain(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    regular(path, &file)?;
    content(path, file).map(Some)
}

/// What lets others exchange `path`: its directory, and each symlink on the way to the file.
pub fn replaceable(path: &Path) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for hop in hops(path) {
        for problem in writable_directory(&hop)
            .into_iter()
            .chain(foreign_link(&hop))
        {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// Never waits: a FIFO opens at once and is then refused.
fn open(path: &Path) -> io::Result<File> {
    let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .custom_flags(no_wait)
        .open(path)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let link = fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    let text = match error.kind() {
        io::ErrorKind::NotFound if link => "is a symlink to a file that does not exist".to_owned(),
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("can't be read: {error}"),
    };
    let problem = Problem::new(format!("{} {text}", shown(path)));
    let ours = fs::metadata(path).is_ok_and(|m| m.uid() == us());
    if ours && error.kind() == io::ErrorKind::PermissionDenied {
        return problem.remedy(format!("chmod 600 {}", shell_word(path)));
    }
    problem
}

fn regular(path: &Path, file: &File) -> Result<Metadata, Problem> {
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(Problem::new(format!("{} is no regular file", shown(path))));
    }
    if metadata.len() > LARGEST {
        return Err(Problem::new(format!(
            "{} is larger than 1 MiB",
            shown(path)
        )));
    }
    Ok(metadata)
}

fn content(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, Problem> {
    // Room for all of it from the start, so that no copy of a secret is left behind by a growing buffer.
    let room = file.metadata().map_or(0, |m| m.len().min(LARGEST));
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0) + 64));
    file.take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

/// Owner and mode of the opened file.
fn exposed(path: &Path, metadata: &Metadata) -> Vec<Problem> {
    let (name, target) = (named(path), target(path));
    let mode = metadata.mode() & 0o7777;
    let owner = metadata.uid();
    let chmod = format!("chmod 600 {}", shell_word(&target));
    let remedy = if owner == us() {
        chmod
    } else {
        format!("chown {} {} && {chmod}", us(), shell_word(&target))
    };
    let mut texts = Vec::new();
    if !trusted(owner) {
        texts.push(format!("{name} belongs to another user (uid {owner})"));
    }
    if mode & 0o077 != 0 {
        texts.push(format!("{name} is open to others (mode {mode:04o})"));
    }
    let problem = |text| Problem::new(text).remedy(&remedy);
    texts.into_iter().map(problem).collect()
}

fn writable_directory(hop: &Path) -> Option<Problem> {
    let directory = hop.parent()?;
    let mode = fs::metadata(directory).ok()?.mode() & 0o7777;
    if mode & 0o022 == 0 || mode & STICKY != 0 {
        return None;
    }
    let text = format!(
        "{} lies in {}, which others can write (mode {mode:04o})",
        shown(hop),
        shown(directory)
    );
    Some(Problem::new(text).remedy(format!("chmod go-w {}", shell_word(directory))))
}

fn foreign_link(hop: &Path) -> Option<Problem> {
    let metadata = fs::symlink_metadata(hop).ok()?;
    let foreign = metadata.is_symlink() && !trusted(metadata.uid());
    foreign.then(|| {
        let owner = metadata.uid();
        Problem::new(format!(
            "{} is a symlink of another user (uid {owner})",
            shown(hop)
        ))
    })
}

/// `path` and, where it is a symlink, each name on the way to the file.
fn hops(path: &Path) -> Vec<PathBuf> {
    let mut hop = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut hops = vec![hop.clone()];
    while let (Ok(next), true) = (fs::read_link(&hop), hops.len() < MOST_LINKS) {
        hop = hop.parent().unwrap_or(Path::new("/")).join(next);
        hops.push(hop.clone());
    }
    hops
}

/// The name to change the mode of: the symlink's target, else `path` as it was configured.
fn target(path: &Path) -> PathBuf {
    let link = fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    match fs::canonicalize(path) {
        Ok(target) if link => target,
        _ => path.to_owned(),
    }
}

fn named(path: &Path) -> String {
    let target = target(path);
    if target == path {
        shown(path)
    } else {
        format!("{} (symlink to {})", shown(path), shown(&target))
    }
}

fn trusted(uid: u32) -> bool {
    uid == ROOT || uid == us()
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
