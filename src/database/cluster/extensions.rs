//! The extensions that a dump wants, looked for among the files of an installed release before there is a server to ask.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::programs::beside;
use super::user::server_user;
use crate::database::tools::Tool;
use crate::escape::{in_shell, shown};
use crate::process::{self, Command};
use crate::verdict::{Failed, Outcome, Verdict};

const DEADLINE: Duration = Duration::from_secs(10);

/// Whether all of `wanted` are installed; where the release doesn't say where, the server is asked later.
///
/// # Errors
/// `config`: which are not, and the packages.
pub async fn has_extensions(tool: &Tool, wanted: &BTreeSet<String>) -> Outcome<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(share) = share_path(tool).await? else {
        return Ok(());
    };
    let control = |name: &str| share.join("extension").join(format!("{name}.control"));
    // A name with a slash is none of a file; the server has the last word on it.
    let missing = |name: &&String| !name.contains('/') && !control(name).exists();
    let missing: Vec<&String> = wanted.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let major = tool.version.major;
    let names: Vec<String> = missing
        .iter()
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    let packages: BTreeSet<String> = missing.iter().map(|name| package(name, major)).collect();
    let packages: Vec<String> = packages.into_iter().collect();
    Err(Failed::new(
        Verdict::Config,
        format!(
            "the dump wants extensions that are not installed here for PostgreSQL {major}: {}",
            names.join(", ")
        ),
    )
    .hint(format!(
        "`apt install {}` (where Debian calls it otherwise: `apt-file search {}`), or set `where = \"server\"` in [drill]",
        packages.join(" "),
        in_shell(&format!("{}.control", missing[0]))
    )))
}

async fn share_path(tool: &Tool) -> Outcome<Option<PathBuf>> {
    let command = Command::new(beside(tool, "initdb"))?
        .confined(server_user()?)
        .args(["--show", "-D", "/nonexistent"]);
    let mut found = None;
    process::run(&command, DEADLINE, |_, line| {
        if let Some(path) = line.strip_prefix("share_path=") {
            found = Some(PathBuf::from(path.trim()));
        }
    })
    .await?;
    Ok(found.filter(|path| path.is_dir()))
}

/// What Debian calls the package, as far as there is a rule.
fn package(extension: &str, major: u32) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match extension {
        name if name.starts_with("postgis") || name.starts_with("address_standardizer") => {
            format!("postgresql-{major}-postgis-3")
        }
        "vector" => format!("postgresql-{major}-pgvector"),
        "plperl" | "plperlu" => format!("postgresql-plperl-{major}"),
        "plpython3u" => format!("postgresql-plpython3-{major}"),
        "pltcl" | "pltclu" => format!("postgresql-pltcl-{major}"),
        name if name.chars().all(plain) => {
            format!("postgresql-{major}-{}", name.replace('_', "-"))
        }
        _ => format!("postgresql-{major}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_the_names_that_debian_gives_them() {
        let names = [
            ("postgis_topology", "postgresql-15-postgis-3"),
            ("vector", "postgresql-15-pgvector"),
            ("plpython3u", "postgresql-plpython3-15"),
            ("pg_cron", "postgresql-15-pg-cron"),
            ("a b; rm", "postgresql-15"),
        ];
        for (extension, name) in names {
            assert_eq!(package(extension, 15), name);
        }
    }
}
