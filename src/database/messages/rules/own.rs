//! What pg_restore itself and libpq say where something is wrong, by their own texts in PostgreSQL 13 to 18.

use super::{Marks, Rule};
use crate::verdict::Verdict;

const BROKEN: &str = "make and upload the dump again; where the archive's checksum was right, it was broken at its source";

/// Only pg_restore itself says these; a server's error that quotes one is no damage of the file.
pub const DAMAGED: &[(Marks, &str)] = &[
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
    (&["could not decompress"], BROKEN),
    (&["could not close compression stream"], BROKEN),
    (&["could not find header for file"], BROKEN),
    (&["data block", "has wrong seek position"], BROKEN),
    (&["unrecognized file format"], BROKEN),
    (&["unexpected section code"], BROKEN),
    (&["unexpected copy statement syntax"], BROKEN),
    (&["unrecognized encoding"], BROKEN),
    (&["invalid encoding item"], BROKEN),
    (&["invalid stdstrings item"], BROKEN),
    (&["invalid searchpath item"], BROKEN),
    (&["invalid compression code"], BROKEN),
    (&["invalid line in large object toc file"], BROKEN),
    (&["error reading large object toc file"], BROKEN),
    (
        &["appears to be a text format dump"],
        "plain SQL is refused: make the dump with `pg_dump -Fc`",
    ),
];

const COMPRESSION: &str =
    "install a pg_restore that was built with this compression, or dump with `--compress=gzip`";

const OF_THE_SERVER: &str =
    "set `bin_dir` to the pg_restore of the server's version, or of a newer one";

const LINK: &str =
    "look at the network between here and the database server, and at the server's log";

const ANOTHER_ORDER: &str = "set `stream = false` for this job: the dump's data lie in another order than its table of contents says, which only a file allows";

/// Other words of pg_restore itself and of libpq.
pub const OWN: &[Rule] = &[
    (
        &["unsupported version", "in file header"],
        Verdict::Config,
        "install a pg_restore as new as the pg_dump that wrote the dump, or set `bin_dir` to it",
    ),
    (&["server version mismatch"], Verdict::Config, OF_THE_SERVER),
    (
        &["server version: ", "; pg_restore version: "],
        Verdict::Config,
        OF_THE_SERVER,
    ),
    (&["compression not supported"], Verdict::Config, COMPRESSION),
    (
        &["does not support compression"],
        Verdict::Config,
        COMPRESSION,
    ),
    (
        &["compression", "is not supported"],
        Verdict::Config,
        COMPRESSION,
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
        &["could not receive data from server"],
        Verdict::Failed,
        LINK,
    ),
    (&["could not send data to server"], Verdict::Failed, LINK),
    (&["no connection to the server"], Verdict::Failed, LINK),
    (&["lost synchronization with server"], Verdict::Failed, LINK),
    (&["ssl connection has been closed"], Verdict::Failed, LINK),
    (&["ssl syscall error"], Verdict::Failed, LINK),
    (
        &["server does not support ssl"],
        Verdict::Config,
        "let the server speak TLS, or set `sslmode` of this database to what it can",
    ),
    (
        &["root certificate file"],
        Verdict::Config,
        "check `sslrootcert` of this database",
    ),
    (
        &["could not connect to server"],
        Verdict::Network,
        "check that the server runs, and `host` and `port` of this database",
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
