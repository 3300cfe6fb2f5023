//! What the server says, by its own texts; those about the dump's data and SQL come last.

use super::{Marks, Rule};
use crate::verdict::Verdict;

/// Its errors carry `ERROR:`, `FATAL:` or `PANIC:`.
pub const SERVER: &[Rule] = &[
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
        &["role \"", "does not exist"],
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
        &["tablespace \"", "does not exist"],
        Verdict::Failed,
        "create the tablespace on the server, or set `tablespaces = \"default\"`",
    ),
    (
        &["language \"", "does not exist"],
        Verdict::Failed,
        "install the language's package on the database server, or leave it out with `skip`",
    ),
    (
        &["access method \"", "does not exist"],
        Verdict::Failed,
        "install the extension that brings the access method on the database server",
    ),
    (
        &["collation \"", "does not exist"],
        Verdict::Failed,
        "install the locale on the database server, or import it there (`pg_import_system_collations`)",
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
        &["read-only transaction"],
        Verdict::Failed,
        "the server is a standby, or `default_transaction_read_only` is on: restore into the primary",
    ),
    (
        &["hot standby"],
        Verdict::Failed,
        "restore into the primary",
    ),
    (
        &["database system is"],
        Verdict::Network,
        "the server was starting or stopping: run again once it is up",
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
        &["could not write"],
        Verdict::Failed,
        "look at the database server's disk and log",
    ),
    (
        &["disk quota exceeded"],
        Verdict::Failed,
        "raise the quota on the database server",
    ),
    (
        &["temp_file_limit"],
        Verdict::Failed,
        "raise the server's temp_file_limit, or lower maintenance_work_mem in `session`",
    ),
    (
        &["invalid page in block"],
        Verdict::Failed,
        "the database server's disk or memory is failing: look at its log before anything else",
    ),
    (
        &["page verification failed"],
        Verdict::Failed,
        "the database server's disk or memory is failing: look at its log before anything else",
    ),
    (
        &["could not read block"],
        Verdict::Failed,
        "the database server's disk or memory is failing: look at its log before anything else",
    ),
    (
        &["out of shared memory"],
        Verdict::Failed,
        "raise the server's max_locks_per_transaction: one transaction locks every table of the dump",
    ),
    (
        &["invalid memory alloc request size"],
        Verdict::Failed,
        "a row of the dump is larger than the server can take: dump it as INSERTs, or split it at the source",
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
        "set `jobs = 1` and run again: sessions of the load waited for each other, or for something else at work in the same database",
    ),
    (
        &["statement timeout"],
        Verdict::Failed,
        "something sets statement_timeout for this role or database (`ALTER ROLE … SET`): take it away",
    ),
    (
        &["transaction timeout"],
        Verdict::Failed,
        "something sets transaction_timeout for this role or database: take it away",
    ),
    (
        &["other objects depend on it"],
        Verdict::Failed,
        "live has objects that are not in the dump and hang on what it replaces: use `method = \"swap\"`",
    ),
    (
        &["lock timeout"],
        Verdict::Failed,
        "something else holds a lock: find out what, and run again",
    ),
];

/// More server texts whose remedy is the dump's or the data's own.
pub const SERVER_DATA: &[(Marks, &str)] = &[
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
    (
        &["does not exist"],
        "often a function in an index, a check or a generated column that finds its tables only by search_path, which dumps empty: `ALTER FUNCTION … SET search_path` at the source; else install what is missing",
    ),
    (
        &["is not a table"],
        "the dump and the server disagree about an object: compare their versions",
    ),
    (
        &["cannot cast"],
        "the dump's data does not fit its own types: it was altered, or made by something else than pg_dump",
    ),
    (
        &["out of range"],
        "the dump's data does not fit its own types: it was altered, or made by something else than pg_dump",
    ),
    (
        &["value too long"],
        "the dump's data does not fit its own types: it was altered, or made by something else than pg_dump",
    ),
    (
        &["missing data for column"],
        "the dump's rows are broken: it was altered, or made by something else than pg_dump",
    ),
    (
        &["extra data after last expected column"],
        "the dump's rows are broken: it was altered, or made by something else than pg_dump",
    ),
    (
        &["unexpected eof on client connection"],
        "pg_restore died or was cut off: look at this machine's log",
    ),
];
