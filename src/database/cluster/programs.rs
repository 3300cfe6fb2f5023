//! Which installed release makes a private cluster: one that comes with its server and reads the dump.

use std::path::{Path, PathBuf};

use crate::database::dump::{Header, PgVersion};
use crate::database::tools::{self, Needs, Tool};
use crate::process::is_executable;
use crate::verdict::{Failed, Outcome, Verdict};

/// What a server consists of, beside its `pg_restore`.
const SERVER: [&str; 2] = ["initdb", "postgres"];

/// `program` of the same release.
pub fn beside(tool: &Tool, program: &str) -> PathBuf {
    tool.path.with_file_name(program)
}

fn has_server(tool: &Tool) -> bool {
    let mut programs = SERVER.iter();
    programs.all(|program| is_executable(&beside(tool, program)))
}

/// The oldest installed release with a server that is as new as the dump and the server it came from. Without a dump, any.
///
/// # Errors
/// `config`: there is none, with the package to install.
pub async fn choose(bin_dir: Option<&Path>, header: Option<&Header>) -> Outcome<Tool> {
    let found = tools::find(bin_dir).await?;
    let (servers, clients): (Vec<Tool>, Vec<Tool>) = found.into_iter().partition(has_server);
    let Some(header) = header else {
        let newest = servers.into_iter().max_by_key(|tool| tool.version);
        return newest.ok_or_else(|| no_server(&clients, None));
    };
    let dumped = PgVersion::parse(&header.server_version);
    if servers.is_empty() {
        return Err(no_server(&clients, dumped));
    }
    let suits = |tool: &&Tool| {
        let needs = Needs {
            pg_dump: header.pg_dump(),
            archive_version: header.archive_version,
            server: tool.version,
        };
        let is_new = dumped.is_none_or(|dumped| tool.version.series() >= dumped.series());
        is_new && tools::fits(tool, needs)
    };
    let oldest = servers.iter().filter(suits);
    let oldest = oldest.min_by_key(|tool| (tool.version.series(), u32::MAX - tool.version.minor));
    oldest
        .cloned()
        .ok_or_else(|| none_fits(&servers, header, dumped))
}

fn no_server(clients: &[Tool], dumped: Option<PgVersion>) -> Failed {
    let places: Vec<String> = clients
        .iter()
        .filter_map(|tool| Some(tool.path.parent()?.display().to_string()))
        .collect();
    let package = dumped.map_or_else(|| "postgresql".to_owned(), package);
    Failed::new(
        Verdict::Config,
        format!(
            "`initdb` and `postgres` are needed for a drill with `where = \"local\"`; beside pg_restore in {} they are not",
            places.join(", ")
        ),
    )
    .hint(format!(
        "`apt install {package}` (no server of it needs to run), or set `bin_dir` of this database, or `where = \"server\"` in [drill]"
    ))
}

fn package(version: PgVersion) -> String {
    let (major, minor) = version.series();
    match major {
        10.. => format!("postgresql-{major}"),
        _ => format!("postgresql-{major}.{minor}"),
    }
}

fn none_fits(servers: &[Tool], header: &Header, dumped: Option<PgVersion>) -> Failed {
    let found: Vec<String> = servers
        .iter()
        .map(|tool| format!("{} in {}", tool.version, tool.path.display()))
        .collect();
    let wanted = header.pg_dump().into_iter().chain(dumped).max();
    let wanted = wanted.map_or_else(|| "a newer PostgreSQL".to_owned(), package);
    Failed::new(
        Verdict::Config,
        format!(
            "a private cluster for a dump of pg_dump {} from server {} needs a PostgreSQL as new as both; found: {}",
            header.pg_dump_version,
            header.server_version,
            found.join(", ")
        ),
    )
    .hint(format!(
        "`apt install {wanted}` (from apt.postgresql.org where the distribution has it not), or set `where = \"server\"` in [drill]"
    ))
}
