//! Files that are whole or not there: temp name, fsync, rename, fsync of the directory.
//!
//! Everything is created private (0600, directories 0700), whatever the umask.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// How often a directory is emptied before it is given up: a thread that has been told to stop may still put a few files into it.
const ATTEMPTS: u32 = 100;

/// Creates `path` and its parents with mode 0700 where they are missing.
///
/// # Errors
/// Whatever the file system says.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A new file with mode 0600, truncated where it existed. Does not follow a symlink.
///
/// # Errors
/// Whatever the file system says.
pub fn create_private(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new()
        .write(true)
        .read(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
}

/// A file of ours, opened again to go on with. Does not follow a symlink.
///
/// # Errors
/// Whatever the file system says.
pub fn reopen_private(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new()
        .write(true)
        .read(true)
        .custom_flags(no_follow)
        .open(path)
}

/// A file of ours that only grows, created where it is missing. Does not follow a symlink.
///
/// # Errors
/// Whatever the file system says.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    if let Some(directory) = path.parent() {
        create_private_dir(directory)?;
    }
    let is_new = !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)?;
    if is_new {
        sync_parent(path)?;
    }
    Ok(file)
}

/// Writes `content` so that `path` is the old file or the new one at every moment, even after a power cut.
///
/// `temp` is a name in the same directory that every writer under the same lock uses: what a killed one has left there
/// is taken over by the next.
///
/// # Errors
/// Whatever the file system says; the old file is then untouched and the temp file removed.
pub fn write(temp: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let written = write_temp(temp, content).and_then(|()| publish(temp, path));
    if written.is_err() {
        // The first error is the one to tell; a leftover temp file is replaced by the next write.
        let _ = fs::remove_file(temp);
    }
    written
}

/// As [`write`], for a file that everybody may read (0644): a unit, a crontab.
///
/// # Errors
/// See [`write`].
pub fn write_public(temp: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let readable = fs::Permissions::from_mode(0o644);
    let written = write_temp(temp, content)
        .and_then(|()| fs::set_permissions(temp, readable))
        .and_then(|()| publish(temp, path));
    if written.is_err() {
        // As in `write`.
        let _ = fs::remove_file(temp);
    }
    written
}

/// As [`write`], of a file that must not exist: nothing is ever overwritten, whoever made it in the meantime.
///
/// # Errors
/// `AlreadyExists`, or whatever else the file system says.
pub fn write_new(temp: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    // Unlike a rename, a link refuses a name that is taken.
    let written = write_temp(temp, content).and_then(|()| fs::hard_link(temp, path));
    // Its content has the other name by now, or is nothing that anybody needs.
    let _ = fs::remove_file(temp);
    written.and_then(|()| sync_parent(path))
}

fn write_temp(temp: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create_private(temp)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Gives a finished, fsynced temp file its final name, and makes the name durable.
///
/// # Errors
/// Whatever the file system says.
pub fn publish(temp: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temp, path)?;
    sync_parent(path)
}

/// Removes a file durably; a file that is not there is fine.
///
/// # Errors
/// Whatever else the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a file, or a directory with all that is in it, durably; what is not there is fine.
///
/// # Errors
/// Whatever else the file system says.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if !is_directory {
        return remove(path);
    }
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && left > 0 => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return sync_parent(path),
        }
    }
}

/// What a file system has left for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    pub device: u64,
    pub free_bytes: u64,
    /// None: it knows no limit.
    pub free_files: Option<u64>,
}

/// The file system of `path`, or where it would be once it is created.
///
/// # Errors
/// Whatever statvfs says.
pub fn file_system(path: &Path) -> io::Result<FileSystem> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    let stat = rustix::fs::statvfs(there)?;
    Ok(FileSystem {
        device: fs::metadata(there)?.dev(),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        free_files: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_private_and_leaves_no_temp_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("report.json");
        let temp = dir.path().join("erp.tmp");
        fs::write(&temp, b"what a killed writer has left").expect("a leftover");
        write(&temp, &path, b"one").expect("the first write");
        write(&temp, &path, b"two").expect("the second write");
        assert_eq!(fs::read(&path).expect("the file"), b"two");
        assert_eq!(
            fs::metadata(&path).expect("its mode").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1);
    }

    #[test]
    fn a_new_file_never_takes_anothers_place() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("config.toml");
        let temp = dir.path().join("new.tmp");
        write_new(&temp, &path, b"one").expect("the first write");
        let error = write_new(&temp, &path, b"two").expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("the file"), b"one");
        assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("report.json");
        let temp = dir.path().join("erp.tmp");
        write(&temp, &path, b"old").expect("the first write");
        fs::create_dir(&temp).expect("something in the way of the temp file");
        assert!(write(&temp, &path, b"new").is_err());
        assert_eq!(fs::read(&path).expect("the file"), b"old");
    }
}
