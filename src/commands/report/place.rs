//! Where the page goes: wholly or not at all, over nothing but a page of ours, since a nightly cron job writes it anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::page::MARK;
use crate::durable;
use crate::escape::quoted;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// For the owner alone: the page tells servers, names and numbers.
const PRIVATE: u32 = 0o600;

/// Writes the page, or with `only_looks` says whether it could be.
///
/// # Errors
/// `usage`: something else is there; `local`: it can't be written.
pub(super) fn write(path: &Path, page: &str, only_looks: bool) -> Outcome<()> {
    let mode = mode_of(path)?;
    let what = || format!("write the page {}", quoted(&path.display().to_string()));
    let directory = directory(path);
    if only_looks {
        fs::metadata(directory).judge(Verdict::Local, what())?;
        return Ok(());
    }
    let temp = directory.join(temp_name(path));
    let written = create(&temp, page, mode).and_then(|()| durable::publish(&temp, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temp);
    }
    written.judge(Verdict::Local, what())
}

fn directory(path: &Path) -> &Path {
    let parent = path.parent();
    let named = parent.filter(|parent| !parent.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// Nobody else's name: two may write at once, and the directory may be one that others write to.
fn temp_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{:016x}", rand::random::<u64>()).into()
}

fn create(temp: &Path, page: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(temp)?;
    file.write_all(page.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// The mode that the page will have: that of the earlier one.
fn mode_of(path: &Path) -> Outcome<u32> {
    let shown = quoted(&path.display().to_string());
    let refuse = |why: &str| {
        Failed::new(Verdict::Usage, format!("write the page {shown}: {why}"))
            .hint("name another FILE, or remove what is there")
    };
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PRIVATE),
        Err(error) => return Err(error).judge(Verdict::Local, format!("look at {shown}")),
    };
    if !meta.is_file() {
        return Err(refuse("there is something that is no regular file"));
    }
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MARK.len() as u64).read_to_end(&mut start))
        .judge(Verdict::Local, format!("read {shown}"))?;
    if !start.is_empty() && start != MARK.as_bytes() {
        return Err(refuse("the file that is there is no page of backupctl"));
    }
    Ok(meta.permissions().mode() & 0o777)
}
