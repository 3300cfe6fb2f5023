//! `vault`: makes keys, and tokens that the env file may hold. Asking and printing is the caller's.
//!
//! What is kept in the vault's file is in `vault/`.

mod advice;
mod import;
pub mod manage;
mod show;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::config::SecretFiles;
use crate::escape::escaped;
use crate::secret::{self, Secret};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// The token of `secret`, made with the newest key of the key file or of `$SECRET_KEY`.
///
/// # Errors
/// `config` where there is no key that can be trusted, `usage` where there is nothing to encrypt.
#[expect(clippy::needless_pass_by_value, reason = "the plain value ends here")]
pub fn encrypt(files: &SecretFiles, secret: Secret) -> Outcome<String> {
    if secret.expose().is_empty() {
        return Err(Failed::new(Verdict::Usage, "the value to encrypt is empty"));
    }
    let keys = secret::keys(files).context("find the key")?;
    Ok(secret::encrypt(&keys, &secret))
}

/// Writes a new key to `file`, which must not exist, with mode 0600.
///
/// # Errors
/// `config` where it exists or its directory is missing or open to others, else `local`.
pub fn new_key(file: &Path) -> Outcome<()> {
    let what = naming(file);
    secret::irreplaceable(file).context(&what)?;
    let created = create(file).map_err(|error| unmade(&error).context(&what))?;
    write(created, file)
        .inspect_err(|_| {
            // The first error is the one to tell, and no key of ours is in the file.
            let _ = fs::remove_file(file);
        })
        .judge(Verdict::Local, what)
}

/// Whether [`new_key`] could make `file`, as far as that can be seen without making it.
///
/// # Errors
/// As [`new_key`].
pub fn would_make_key(file: &Path) -> Outcome<()> {
    let what = naming(file);
    secret::irreplaceable(file).context(&what)?;
    let found = match fs::symlink_metadata(file) {
        Ok(_) => io::ErrorKind::AlreadyExists,
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_directory(file) => {
            return Ok(());
        }
        Err(error) => error.kind(),
    };
    Err(unmade(&found.into()).context(&what))
}

fn has_directory(file: &Path) -> bool {
    std::path::absolute(file).is_ok_and(|file| file.parent().is_some_and(Path::is_dir))
}

fn naming(file: &Path) -> String {
    format!("create the key file `{}`", escaped(&file.to_string_lossy()))
}

/// Never opens what is there, be it a symlink.
fn create(file: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
}

fn write(mut created: File, file: &Path) -> io::Result<()> {
    // Whatever the umask took away.
    created.set_permissions(fs::Permissions::from_mode(0o600))?;
    created.write_all(secret::new_key().expose().as_bytes())?;
    created.write_all(b"\n")?;
    created.sync_all()?;
    let absolute = std::path::absolute(file)?;
    File::open(absolute.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn unmade(error: &io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failed::new(
            Verdict::Config,
            "it exists already, and the tokens made with its key need it",
        )
        .hint("to change keys, make the new one in another file and put it as the first line before the old one"),
        io::ErrorKind::NotFound => Failed::new(Verdict::Config, "its directory does not exist"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => Failed::new(Verdict::Config, error),
        _ => Failed::new(Verdict::Local, error),
    }
}
