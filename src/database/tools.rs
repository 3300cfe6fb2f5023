//! Which pg_restore reads this dump and speaks to this server: found, asked for its version, and chosen by rule.
//!
//! Not simply the newest: since 17 it sets `transaction_timeout`, which older servers refuse.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dump::PgVersion;
use crate::process::{self, Command, SEARCH_PATH, is_executable};
use crate::verdict::{Failed, Outcome, Verdict};

const NAME: &str = "pg_restore";
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
/// Directories whose subdirectories are named after a version, and where the programs lie in those.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/opt", "postgres", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
];
/// The oldest releases without known holes through which a dump attacks whoever restores it (CVE-2025-8714, CVE-2026-18408).
const SAFE: [(u32, u32); 5] = [(18, 6), (17, 11), (16, 15), (15, 19), (14, 24)];
/// The first release whose pg_restore sets `transaction_timeout`.
const SETS_TRANSACTION_TIMEOUT: u32 = 17;

/// An installed pg_restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub path: PathBuf,
    pub version: PgVersion,
}

/// What a pg_restore must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Of the pg_dump that wrote the dump, where its header says so.
    pub pg_dump: Option<PgVersion>,
    /// Of the dump's format: (1, 14).
    pub archive_version: (u8, u8),
    pub server: PgVersion,
}

/// Every pg_restore of this machine, or only that in `bin_dir`.
///
/// # Errors
/// `config`: there is none, with the places that were searched.
pub async fn find(bin_dir: Option<&Path>) -> Outcome<Vec<Tool>> {
    let places = bin_dir.map_or_else(usual_places, |dir| vec![dir.to_owned()]);
    let mut tools: Vec<Tool> = Vec::new();
    let mut silent = Vec::new();
    for path in places.iter().map(|place| place.join(NAME)) {
        if !is_executable(&path) || is_wrapper(&path) {
            continue;
        }
        match version(&path).await {
            Some(version) => tools.push(Tool { path, version }),
            None => silent.push(path),
        }
    }
    if tools.is_empty() {
        return Err(none_found(bin_dir, &silent));
    }
    Ok(tools)
}

fn none_found(bin_dir: Option<&Path>, silent: &[PathBuf]) -> Failed {
    let place = bin_dir.map_or_else(searched, |dir| dir.display().to_string());
    let mut problem = format!("no {NAME} was found in {place}");
    for path in silent {
        problem = format!("{problem}; {} does not tell its version", path.display());
    }
    let hint = if bin_dir.is_some() {
        "correct `bin_dir` of this database, or leave it out to search the usual places"
    } else {
        "install PostgreSQL's client programs (`apt install postgresql-client`), or set `bin_dir` of this database"
    };
    Failed::new(Verdict::Config, problem).hint(hint)
}

fn searched() -> String {
    format!(
        "/usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, /usr/local/pgsql*/bin, /opt/postgres*/bin, {SEARCH_PATH}"
    )
}

/// The version directories first, since what lies in `/usr/bin` may only choose among them.
fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    for (parent, prefix, bin) in VERSIONED {
        let names = fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = names.map(|entry| entry.file_name());
        let versions = versions.filter(|name| name.to_string_lossy().starts_with(prefix));
        places.extend(versions.map(|name| Path::new(parent).join(name).join(bin)));
    }
    places.sort();
    places.extend(SEARCH_PATH.split(':').map(PathBuf::from));
    places
}

/// Debian's `/usr/bin/pg_restore` picks a version by rules of its own.
fn is_wrapper(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|real| real.file_name() == Some(OsStr::new("pg_wrapper")))
}

async fn version(path: &Path) -> Option<PgVersion> {
    let command = Command::new(path).ok()?.arg("--version");
    let mut found = None;
    let asked = process::run(&command, VERSION_DEADLINE, |_, line| {
        let after_name = line.split_once("(PostgreSQL)").map(|(_, version)| version);
        found = found.or_else(|| PgVersion::parse(after_name?.trim()));
    });
    match asked.await {
        Ok(ended) if ended.is_success() => found,
        Ok(ended) => {
            tracing::debug!(path = %path.display(), %ended, "does not tell its version");
            None
        }
        Err(failed) => {
            tracing::debug!(path = %path.display(), "{}", failed.message());
            None
        }
    }
}

/// The tool that fits best: the oldest release that is as new as the dump and the server, in its newest patch.
///
/// # Errors
/// `config`: none fits, with what was found and what to install.
pub fn choose(tools: &[Tool], needs: Needs) -> Outcome<&Tool> {
    tools
        .iter()
        .filter(|tool| fits(tool, needs))
        .min_by_key(|tool| (tool.version.series(), u32::MAX - tool.version.minor))
        .ok_or_else(|| none_fits(tools, needs))
}

pub(super) fn fits(tool: &Tool, needs: Needs) -> bool {
    let series = tool.version.series();
    let reads = newest_archive(tool.version) >= needs.archive_version
        && needs.pg_dump.is_none_or(|dump| series >= dump.series());
    let speaks = series >= needs.server.series() && !is_refused(tool.version.major, needs.server);
    reads && speaks
}

fn is_refused(major: u32, server: PgVersion) -> bool {
    major >= SETS_TRANSACTION_TIMEOUT && server.major < SETS_TRANSACTION_TIMEOUT
}

/// The newest archive version that this release's pg_restore reads.
fn newest_archive(version: PgVersion) -> (u8, u8) {
    let minor = match version.major {
        17.. => 16,
        16 => 15,
        12..=15 => 14,
        10 | 11 => 13,
        _ => 12,
    };
    (1, minor)
}

fn none_fits(tools: &[Tool], needs: Needs) -> Failed {
    let dump = needs.pg_dump.unwrap_or(needs.server);
    let (archive, revision) = needs.archive_version;
    let wanted = dump.series().max(needs.server.series()).0;
    let mut problem = format!(
        "pg_restore {wanted} is needed, for a dump of pg_dump {dump} (archive version {archive}.{revision}) and a server {}",
        needs.server
    );
    if is_refused(wanted, needs.server) {
        problem = format!(
            "a dump of pg_dump {dump} needs a pg_restore whose settings the server {} does not know",
            needs.server
        );
        return Failed::new(Verdict::Config, problem).hint(format!(
            "restore into PostgreSQL {} or newer, or let a pg_dump older than {SETS_TRANSACTION_TIMEOUT} make the dump",
            dump.major
        ));
    }
    let found: Vec<String> = tools
        .iter()
        .map(|tool| format!("{} in {}", tool.version, tool.path.display()))
        .collect();
    problem = format!("{problem}; found: {}", found.join(", "));
    Failed::new(Verdict::Config, problem).hint(format!(
        "`apt install postgresql-client-{wanted}` (from apt.postgresql.org where the distribution has it not), \
         or set `bin_dir` of this database; searched: {}",
        searched()
    ))
}

/// Why this release of `what` ("pg_restore", "the server") should be updated before it is given dumps of others.
#[must_use]
pub fn outdated(what: &str, version: PgVersion) -> Option<String> {
    let safe = SAFE.iter().find(|(major, _)| *major == version.major);
    let problem = "a malicious dump can run commands through it (CVE-2026-18408)";
    match safe {
        Some((_, minor)) if version.minor >= *minor => None,
        Some((major, minor)) => Some(format!(
            "{what} {version}: {problem}; update to {major}.{minor}"
        )),
        None if version.major > SAFE[0].0 => None,
        None => Some(format!(
            "{what} {version}: {problem} and it gets no more updates; move to a supported release"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> PgVersion {
        PgVersion::parse(text).expect("a version")
    }

    fn tools(versions: &[&str]) -> Vec<Tool> {
        let tool = |text: &&str| Tool {
            path: format!("/pg/{text}/bin/pg_restore").into(),
            version: version(text),
        };
        versions.iter().map(tool).collect()
    }

    fn needs(dump: &str, archive: u8, server: &str) -> Needs {
        Needs {
            pg_dump: Some(version(dump)),
            archive_version: (1, archive),
            server: version(server),
        }
    }

    #[test]
    fn the_oldest_release_that_fits_both_is_chosen_in_its_newest_patch() {
        let cases: [(&[&str], Needs, &str); 7] = [
            (
                &["14.5", "15.2", "15.19", "18.6"],
                needs("14.1", 14, "15.3"),
                "15.19",
            ),
            (
                &["15.19", "16.15", "18.6"],
                needs("16.1", 15, "15.3"),
                "16.15",
            ),
            (&["15.19", "18.6"], needs("15.1", 14, "18.1"), "18.6"),
            (&["16.15", "18.6"], needs("14.1", 14, "15.1"), "16.15"),
            (&["17.11", "18.6"], needs("9.6", 12, "17.1"), "17.11"),
            (&["19.1"], needs("18.1", 16, "17.1"), "19.1"),
            (&["9.5", "9.6"], needs("9.6", 12, "9.5"), "9.6"),
        ];
        for (installed, needs, expected) in cases {
            let tools = tools(installed);
            let chosen = choose(&tools, needs).unwrap_or_else(|e| panic!("{}", e.message()));
            assert_eq!(chosen.version, version(expected), "{needs:?}");
        }
    }

    #[test]
    fn where_none_fits_the_versions_and_the_package_are_named() {
        let cases: [(&[&str], Needs, &str, &str); 4] = [
            (
                &["15.19"],
                needs("17.2", 16, "17.1"),
                "found: 15.19",
                "postgresql-client-17",
            ),
            (
                &["15.19"],
                needs("14.2", 14, "16.1"),
                "pg_restore 16",
                "postgresql-client-16",
            ),
            (
                &["18.6"],
                needs("14.2", 14, "15.1"),
                "found: 18.6",
                "postgresql-client-15",
            ),
            (
                &["18.6"],
                needs("18.2", 16, "15.1"),
                "does not know",
                "PostgreSQL 18 or newer",
            ),
        ];
        for (installed, needs, said, advised) in cases {
            let failed = choose(&tools(installed), needs).expect_err("no tool fits");
            assert_eq!(failed.verdict, Verdict::Config);
            assert!(failed.message().contains(said), "{}", failed.message());
            let hint = failed.hint.expect("a hint");
            assert!(hint.contains(advised), "{hint}");
        }
    }

    #[test]
    fn releases_with_known_holes_are_named() {
        for safe in ["18.6", "17.12", "15.19", "19.0"] {
            assert_eq!(outdated("pg_restore", version(safe)), None, "{safe}");
        }
        for old in ["18.5", "15.18", "14.0", "13.23", "9.6"] {
            assert!(outdated("pg_restore", version(old)).is_some(), "{old}");
        }
    }
}
