//! What pg_restore's texts mean, as a table. The first rule that matches counts; a text without a rule is fatal.

use crate::verdict::Verdict;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Counted.
    Harmless,
    /// Told in the report.
    Degraded,
    /// The restore has failed.
    Fatal,
}

/// What a message means.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    pub level: Level,
    pub verdict: Verdict,
    /// What to do; empty where the message says it all.
    pub remedy: &'static str,
    /// Follows from another failure, which explains more.
    pub consequence: bool,
}

/// All of these, in lower case, must be in the text.
type Marks = &'static [&'static str];

const HARMLESS: [Marks; 6] = [
    &["archive items not in correct section order"],
    &["invalid creation date in header"],
    &["skipping tar member"],
    &["ftell mismatch with expected position"],
    &["implied data-only restore"],
    &["connecting to database for restore"],
];

/// Starts of pg_restore's own remarks on its progress, printed where it is verbose.
pub const REMARKS: [&str; 14] = [
    "creating ",
    "dropping ",
    "processing ",
    "executing ",
    "launching item ",
    "finished item ",
    "skipping item ",
    "entering main parallel loop",
    "finished main parallel loop",
    "disabling triggers for ",
    "enabling triggers for ",
    "setting owner and privileges for ",
    "restored ",
    "restoring large object with oid ",
];

const DEGRADED: [Marks; 5] = [
    &["restoring tables with oids is not supported anymore"],
    &["archive was made on a machine with larger integers"],
    &["warning from original dump file"],
    &["don't know how to set owner for object type"],
    &["line ignored"],
];

const CONSEQUENCES: [Marks; 5] = [
    &["a worker process died unexpectedly"],
    &["worker process failed"],
    &["canceling statement due to user request"],
    &["terminated by user"],
    &["errors ignored on restore"],
];

const BROKEN: &str = "make and upload the dump again; where the archive's checksum was right, it was broken at its source";

/// Only pg_restore itself says these; a server's error that quotes one is no damage of the file.
const DAMAGED: [(Marks, &str); 18] = [
    (&["could not read from input file: end of file"], BROKEN),
    (&["input file is too short"], BROKEN),
    (&["unexpected end of file"], BROKEN),
    (&["could not uncompress data"], BROKEN),
    (&["could not decompress data"], BROKEN),
    (&["found unexpected block id"], BROKEN),
    (&["unrecognized data block type"], BROKEN),
    (&["possibly corrupt archive"], BROKEN),
    (&["perhaps a corrupt toc"], BROKEN),
    (&["did not find magic string"], BROKEN),
    (&["sanity check on integer size"], BROKEN),
    (&["unexpected data offset flag"], BROKEN),
    (&["file offset in dump file is too large"], BROKEN),
    (&["tar header"], BROKEN),
    (&["could not find file", "in archive"], BROKEN),
    (&["differs from format found in file"], BROKEN),
    (&["does not appear to be a valid archive"], BROKEN),
    (
        &["appears to be a text format dump"],
        "plain SQL is refused: make the dump with `pg_dump -Fc`",
    ),
];

const ANOTHER_ORDER: &str = "set `stream = false` for this job: the dump's data lie in another order than its table of contents says, which only a file allows";

/// Other words of pg_restore itself and of libpq.
const OWN: [(Marks, Verdict, &str); 18] = [
    (
        &["unsupported version", "in file header"],
        Verdict::Config,
        "install a pg_restore as new as the pg_dump that wrote the dump, or set `bin_dir` to it",
    ),
    (
        &["does not support compression"],
        Verdict::Config,
        "install a pg_restore that was built with this compression, or dump with `--compress=gzip`",
    ),
    (
        &["compression", "is not supported"],
        Verdict::Config,
        "install a pg_restore that was built with this compression, or dump with `--compress=gzip`",
    ),
    (
        &["out-of-order restore request"],
        Verdict::Config,
        ANOTHER_ORDER,
    ),
    (
        &["restoring data out of order is not supported"],
        Verdict::Config,
        ANOTHER_ORDER,
    ),
    (
        &["input/output error"],
        Verdict::Local,
        "check the disk under `state_dir`",
    ),
    (
        &["could not open input file"],
        Verdict::Local,
        "check the dump's permissions",
    ),
    (
        &["could not create worker process"],
        Verdict::Local,
        "lower `jobs`, or raise this machine's process limit",
    ),
    (
        &["could not create communication channels"],
        Verdict::Local,
        "lower `jobs`, or raise this machine's limit of open files",
    ),
    (
        &["cannot allocate memory"],
        Verdict::Local,
        "lower `jobs`, or give this machine more memory",
    ),
    (
        &["out of memory"],
        Verdict::Local,
        "lower `jobs`, or give this machine more memory",
    ),
    (
        &["password authentication failed"],
        Verdict::Refused,
        "check `user` and `password` of this database",
    ),
    (
        &["no password supplied"],
        Verdict::Refused,
        "set `password` of this database",
    ),
    (
        &["pg_hba.conf"],
        Verdict::Refused,
        "add a line for this user, database and address to the server's pg_hba.conf; a restore's database is named `<name>_new_…`",
    ),
    (
        &["certificate verify failed"],
        Verdict::Refused,
        "check `sslrootcert` and `sslmode` of this database",
    ),
    (
        &["server closed the connection unexpectedly"],
        Verdict::Failed,
        "look at the server's log: it crashed, was stopped, or something between cut the connection",
    ),
    (
        &["could not translate host name"],
        Verdict::Network,
        "check `host` of this database, and the resolver",
    ),
    (
        &["connection to server", "failed"],
        Verdict::Network,
        "check that the server runs, and `host` and `port` of this database",
    ),
];

/// What the server says; its errors carry `ERROR:`, `FATAL:` or `PANIC:`.
const SERVER: [(Marks, Verdict, &str); 22] = [
    (
        &["password authentication failed"],
        Verdict::Refused,
        "check `user` and `password` of this database",
    ),
    (
        &["pg_hba.conf"],
        Verdict::Refused,
        "add a line for this user, database and address to the server's pg_hba.conf; a restore's database is named `<name>_new_…`",
    ),
    (
        &["too many connections"],
        Verdict::Config,
        "lower `jobs`, or raise the server's limit of connections",
    ),
    (
        &["too many clients"],
        Verdict::Config,
        "lower `jobs`, or raise the server's max_connections",
    ),
    (
        &["remaining connection slots"],
        Verdict::Config,
        "lower `jobs`, or raise the server's max_connections",
    ),
    (
        &["role", "does not exist"],
        Verdict::Failed,
        "create the role on the server (`CREATE ROLE … NOLOGIN`), or set `owner` and `privileges`, or `missing_roles = \"create\"`",
    ),
    (
        &["extension", "control file"],
        Verdict::Failed,
        "install the extension's package on the database server",
    ),
    (
        &["extension", "is not available"],
        Verdict::Failed,
        "install the extension's package on the database server",
    ),
    (
        &["permission denied to create extension"],
        Verdict::Failed,
        "let a superuser create the extension in template1, or restore as a role that may",
    ),
    (
        &["must be owner of"],
        Verdict::Failed,
        "grant the restore's role membership of the owner, or set `owner = \"target\"`",
    ),
    (
        &["must be member of role"],
        Verdict::Failed,
        "grant the restore's role membership of that role, or set `owner = \"target\"`",
    ),
    (
        &["must be able to set role"],
        Verdict::Failed,
        "grant the restore's role membership of that role, or set `owner = \"target\"`",
    ),
    (
        &["permission denied"],
        Verdict::Failed,
        "grant the right to the restore's role, or leave the object out with `skip`",
    ),
    (
        &["must be superuser"],
        Verdict::Failed,
        "restore as a superuser, or leave the object out with `skip`",
    ),
    (
        &["unrecognized configuration parameter"],
        Verdict::Failed,
        "the dump or pg_restore is newer than the server: set `bin_dir` to a pg_restore of the server's version, or update the server",
    ),
    (
        &["no space left on device"],
        Verdict::Failed,
        "free space on the database server, or set `drop_previous = \"before-load\"`",
    ),
    (
        &["could not extend file"],
        Verdict::Failed,
        "free space on the database server, or set `drop_previous = \"before-load\"`",
    ),
    (
        &["out of memory"],
        Verdict::Failed,
        "the database server ran out of memory: lower `jobs`, or its maintenance_work_mem",
    ),
    (
        &["terminating connection"],
        Verdict::Failed,
        "somebody or something ended the session on the server: look at the server's log",
    ),
    (
        &["encoding"],
        Verdict::Failed,
        "compare the dump's encoding with the live database's: text can't be converted without loss",
    ),
    (
        &["deadlock detected"],
        Verdict::Failed,
        "something else works in the same database: find out what, and run again",
    ),
    (
        &["lock timeout"],
        Verdict::Failed,
        "something else holds a lock: find out what, and run again",
    ),
];

/// More server texts whose remedy is the dump's or the data's own.
const SERVER_DATA: [(Marks, &str); 7] = [
    (
        &["already exists"],
        "the new database is not empty: something in template1, or twice in the dump; compare with template0",
    ),
    (
        &["duplicate key value"],
        "the dump's data breaks its own unique index: repair it at the source (REINDEX there), and dump again",
    ),
    (
        &["could not create unique index"],
        "the dump's data breaks its own unique index: repair it at the source (REINDEX there), and dump again",
    ),
    (
        &["violates"],
        "the dump's data breaks its own constraint: repair it at the source, and dump again",
    ),
    (
        &["invalid input syntax"],
        "the dump's data does not fit its own types: it was altered, or made by something else than pg_dump",
    ),
    (
        &["syntax error"],
        "the dump's SQL is not understood: the source is newer than this server, or the dump was altered",
    ),
    (
        &["could not access file"],
        "install the library's package on the database server",
    ),
];

/// What `text` means. `severe` is whether pg_restore or the server calls it an error.
pub fn meaning(text: &str, severe: bool) -> Meaning {
    let text = text.to_lowercase();
    let has = |marks: &Marks| marks.iter().all(|mark| text.contains(mark));
    let of = |level, verdict, remedy, consequence| Meaning {
        level,
        verdict,
        remedy,
        consequence,
    };
    if CONSEQUENCES.iter().any(has) {
        return of(Level::Fatal, Verdict::Failed, "", true);
    }
    if !severe && HARMLESS.iter().any(has) {
        return of(Level::Harmless, Verdict::Done, "", false);
    }
    // The server has done what it warns of: `wal_level is insufficient to publish logical changes`.
    if !severe && (text.starts_with("warning:  ") || DEGRADED.iter().any(has)) {
        return of(Level::Degraded, Verdict::Done, "", false);
    }
    let (verdict, remedy) = fatal(&text);
    of(Level::Fatal, verdict, remedy, false)
}

fn fatal(text: &str) -> (Verdict, &'static str) {
    let has = |marks: &Marks| marks.iter().all(|mark| text.contains(mark));
    let by_server = ["error:", "fatal:", "panic:"]
        .iter()
        .any(|severity| text.contains(severity));
    let rules: &[(Marks, Verdict, &str)] = if by_server { &SERVER } else { &OWN };
    if !by_server && let Some((_, remedy)) = DAMAGED.iter().find(|(marks, _)| has(marks)) {
        return (Verdict::Damaged, remedy);
    }
    if let Some((_, verdict, remedy)) = rules.iter().find(|(marks, _, _)| has(marks)) {
        return (*verdict, remedy);
    }
    let data = SERVER_DATA
        .iter()
        .find(|(marks, _)| by_server && has(marks));
    (Verdict::Failed, data.map_or("", |(_, remedy)| remedy))
}
