//! Lines of pg_restore 13 to 18, each with where it comes from, and what they mean. Nothing here may become harmless by accident.

use super::rules::{Level, meaning};
use super::*;

/// What the whole output means: the class, and of a failure the verdict.
fn class(lines: &str) -> (Level, Verdict) {
    let mut messages = Messages::default();
    lines.lines().for_each(|line| messages.line(line));
    let said = messages.finish();
    match (said.fatal, said.degraded.is_empty()) {
        (Some(failed), _) => (Level::Fatal, failed.verdict),
        (None, false) => (Level::Degraded, Verdict::Done),
        (None, true) => (Level::Harmless, Verdict::Done),
    }
}

/// Version, file and function; the line behind `pg_restore: `.
type Known = (&'static str, &'static str);

#[rustfmt::skip]
const HARMLESS: [Known; 12] = [
    ("13-18 archiver SetOutput/fix_dependencies", "warning: archive items not in correct section order"),
    ("13-18 archiver ReadHead", "warning: invalid creation date in header"),
    ("13-18 custom _getFilePos", "warning: ftell mismatch with expected position -- ftell used"),
    ("13-18 archiver RestoreArchive, verbose", "connecting to database for restore"),
    ("13-18 archiver RestoreArchive, verbose", "implied data-only restore"),
    ("13-18 archiver _printTocEntry, verbose", "creating TABLE \"public.error: users\""),
    ("13-18 archiver restore_toc_entry, verbose", "processing data for table \"public.users\""),
    ("13-18 archiver restore_toc_entries_parallel, verbose", "launching item 3375 TABLE DATA users"),
    ("13-18 parallel, verbose", "finished item 3375 TABLE DATA users"),
    ("13-18 archiver _disableTriggersIfNecessary, verbose", "disabling triggers for users"),
    ("13-14 db notice_processor", "NOTICE:  table \"x\" does not exist, skipping"),
    ("13-14 db notice_processor", "INFO:  said by a function of the dump\nDETAIL:  more\nHINT:  and more\nCONTEXT:  PL/pgSQL function f() line 1"),
];

#[rustfmt::skip]
const DEGRADED: [Known; 9] = [
    ("13-18 archiver ReadToc", "warning: restoring tables WITH OIDS is not supported anymore"),
    ("13-18 archiver ReadHead", "warning: archive was made on a machine with larger integers, some operations might fail"),
    ("13-18 archiver restore_toc_entry", "warning: warning from original dump file: could not resolve\na dependency loop"),
    ("13-14 archiver _getObjectDescription", "warning: don't know how to set owner for object type \"X\""),
    ("13-14 db notice_processor", "WARNING:  wal_level is insufficient to publish logical changes\nHINT:  Set wal_level to \"logical\" before creating subscriptions.\n"),
    ("13-14 db notice_processor", "WARNING:  no privileges were granted for \"t\""),
    ("13-14 db notice_processor", "WARNING:  not all privileges were granted for \"t\""),
    ("13-14 db notice_processor", "WARNING:  no privileges could be revoked for \"t\""),
    ("13-14 db notice_processor, of an extension", "WARNING:  'postgis.backend' is already set and cannot be changed until you reconnect"),
];

#[rustfmt::skip]
const FATAL: [(&str, &str, Verdict); 78] = [
    // Called warnings, and yet something is missing.
    ("13-15 archiver ReadHead", "warning: archive is compressed, but this installation does not support compression -- no data will be available", Verdict::Config),
    ("16-18 archiver ReadHead", "warning: archive is compressed, but this installation does not support compression (this build does not support compression with zstd) -- no data will be available", Verdict::Config),
    ("13-18 archiver SortTocFromFile", "warning: line ignored: 12 x", Verdict::Failed),
    ("13-18 pg_restore main", "warning: errors ignored on restore: 1", Verdict::Failed),
    ("13-18 db EndDBCopyMode", "warning: unexpected extra results during COPY of table \"t\"", Verdict::Failed),
    ("13-18 archiver RestoreArchive", "warning: could not find where to insert IF EXISTS in statement \"x\"", Verdict::Failed),
    ("14-18 archiver restore_toc_entry, verbose", "table \"t\" could not be created, will not restore its data", Verdict::Failed),
    ("13-18 archiver fix_dependencies", "warning: some text that is new", Verdict::Failed),
    ("13-14 db notice_processor", "WARNING:  terminating connection because of crash of another server process", Verdict::Failed),
    ("13-14 db notice_processor", "WARNING:  invalid page in block 3 of relation base/5/16399; zeroing out page", Verdict::Failed),
    ("13-14 db notice_processor", "WARNING:  page verification failed, calculated checksum 1 but expected 2", Verdict::Failed),
    ("13-14 db notice_processor", "WARNING:  there is no transaction in progress", Verdict::Failed),
    // Broken dumps.
    ("13-18 archiver ReadHead", "error: did not find magic string in file header", Verdict::Damaged),
    ("13-18 archiver ReadHead", "error: sanity check on integer size (0) failed", Verdict::Damaged),
    ("13-18 archiver ReadHead", "error: expected format (1) differs from format found in file (3)", Verdict::Damaged),
    ("13-18 archiver ReadToc", "error: entry ID -1 out of range -- perhaps a corrupt TOC", Verdict::Damaged),
    ("13-18 archiver ReadOffset", "error: unexpected data offset flag 9", Verdict::Damaged),
    ("13-18 archiver ReadOffset", "error: file offset in dump file is too large", Verdict::Damaged),
    ("13-18 archiver _discoverArchiveFormat", "error: input file is too short (read 0, expected 5)", Verdict::Damaged),
    ("13-18 archiver _discoverArchiveFormat", "error: input file does not appear to be a valid archive (too short?)", Verdict::Damaged),
    ("13-18 archiver _discoverArchiveFormat", "error: input file does not appear to be a valid archive", Verdict::Damaged),
    ("13-18 archiver _discoverArchiveFormat", "error: input file appears to be a text format dump. Please use psql.", Verdict::Damaged),
    ("13-18 archiver _allocAH", "error: unrecognized file format \"9\"", Verdict::Damaged),
    ("13-18 archiver processEncodingEntry", "error: invalid ENCODING item: x", Verdict::Damaged),
    ("13-18 archiver processEncodingEntry", "error: unrecognized encoding \"x\"", Verdict::Damaged),
    ("13-18 archiver processStdStringsEntry", "error: invalid STDSTRINGS item: x", Verdict::Damaged),
    ("13-18 archiver processSearchPathEntry", "error: invalid SEARCHPATH item: x", Verdict::Damaged),
    ("13-18 custom _PrintTocData", "error: unrecognized data block type (0) while searching archive", Verdict::Damaged),
    ("13-18 custom _PrintTocData", "error: could not find block ID 3375 in archive -- possibly corrupt archive", Verdict::Damaged),
    ("13-18 custom _PrintTocData", "error: found unexpected block ID (0) when reading data -- expected 3380", Verdict::Damaged),
    ("13-18 utils/archiver ReadBuf", "error: could not read from input file: end of file", Verdict::Damaged),
    ("13-18 compress_gzip", "error: could not uncompress data: incorrect data check", Verdict::Damaged),
    ("16-18 compress_lz4", "error: could not decompress: ERROR_frameHeader_incomplete", Verdict::Damaged),
    ("16-18 compress_zstd", "error: could not decompress data: Corrupted block detected", Verdict::Damaged),
    ("13-18 compress_gzip", "error: could not close compression library: stream error", Verdict::Failed),
    ("13-18 tar _tarGetHeader", "error: corrupt tar header found in x (expected 1, computed 2) file position 3", Verdict::Damaged),
    ("13-18 tar _tarGetHeader", "error: incomplete tar header found (100 bytes)", Verdict::Damaged),
    ("13-18 tar _tarPositionTo", "error: could not find header for file \"3375.dat\" in tar archive", Verdict::Damaged),
    ("13-18 tar tarOpen", "error: could not find file \"toc.dat\" in archive", Verdict::Damaged),
    ("13-18 tar _PrintTocData", "error: unexpected COPY statement syntax: \"x\"", Verdict::Damaged),
    ("13-18 directory _LoadLOs", "error: invalid line in large object TOC file \"x\": \"y\"", Verdict::Damaged),
    // What this machine's programs can't do.
    ("13-18 archiver ReadHead", "error: unsupported version (1.16) in file header", Verdict::Config),
    ("13-15 archiver RestoreArchive", "error: cannot restore from compressed archive (compression not supported in this installation)", Verdict::Config),
    ("16-18 archiver RestoreArchive", "error: cannot restore from compressed archive (this build does not support compression with LZ4)", Verdict::Config),
    ("13-18 custom _PrintTocData", "error: could not find block ID 3375 in archive -- possibly due to out-of-order restore request, which cannot be handled due to non-seekable input file", Verdict::Config),
    ("13-18 tar _tarPositionTo", "error: restoring data out of order is not supported in this archive format: \"2.dat\" is required, but comes before \"1.dat\" in the archive file.", Verdict::Config),
    ("13-18 db _check_database_version", "error: server version: 18.1; pg_restore version: 13.2\npg_restore: error: aborting because of server version mismatch", Verdict::Config),
    ("13-18 archiver ReadBuf", "error: could not read from input file: Input/output error", Verdict::Local),
    ("13-18 custom InitArchiveFmt_Custom", "error: could not open input file \"/x\": Permission denied", Verdict::Local),
    ("13-18 parallel ParallelBackupStart", "error: could not create worker process: Resource temporarily unavailable", Verdict::Local),
    ("13-18 parallel", "error: could not create communication channels: Too many open files", Verdict::Local),
    ("13-18 fe_memutils", "error: out of memory", Verdict::Local),
    ("13-18 fe_memutils, without a severity", "out of memory", Verdict::Local),
    // Parallel restore.
    ("13-18 parallel ListenToWorkers", "error: a worker process died unexpectedly", Verdict::Failed),
    ("13-18 archiver mark_restore_job_done", "error: worker process failed: exit code 1", Verdict::Failed),
    ("13-18 pg_restore, on SIGTERM", "terminated by user", Verdict::Failed),
    ("13-18 parallel", "error: invalid message received from worker: \"x\"", Verdict::Failed),
    // Connections.
    ("13 db ConnectDatabase", "error: connection to database \"x\" failed: could not connect to server: Connection refused\n\tIs the server running on host \"db\" (10.0.0.1) and accepting\n\tTCP/IP connections on port 5432?", Verdict::Network),
    ("13 db ConnectDatabase", "error: connection to database \"x\" failed: FATAL:  password authentication failed for user \"x\"", Verdict::Refused),
    ("14-18 connectdb ConnectDatabase", "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: timeout expired", Verdict::Network),
    ("14-18 connectdb ConnectDatabase", "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  no pg_hba.conf entry for host \"10.0.0.2\", user \"x\", database \"erp_new_1\", no encryption", Verdict::Refused),
    ("14-18 libpq", "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: SSL error: certificate verify failed", Verdict::Refused),
    ("14-18 libpq", "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: server does not support SSL, but SSL was required", Verdict::Config),
    ("14-18 libpq", "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: root certificate file \"/x\" does not exist", Verdict::Config),
    ("14-18 libpq", "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  the database system is starting up", Verdict::Network),
    ("13-18 libpq", "error: could not execute query: SSL connection has been closed unexpectedly\nCommand was: CREATE INDEX i ON t (a);", Verdict::Failed),
    ("13-18 libpq", "error: error returned by PQputCopyData: could not send data to server: Broken pipe", Verdict::Failed),
    ("13-18 db die_on_query_failure", "error: query failed: server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.", Verdict::Failed),
    // The server.
    ("13-18 server", "error: could not execute query: ERROR:  out of shared memory\nHINT:  You might need to increase max_locks_per_transaction.\nCommand was: CREATE TABLE t ();", Verdict::Failed),
    ("13-18 server", "error: could not execute query: ERROR:  tablespace \"fast\" does not exist", Verdict::Failed),
    ("13-18 server", "error: could not execute query: ERROR:  relation \"role \" does not exist", Verdict::Failed),
    ("13-18 server", "error: could not execute query: ERROR:  cannot drop table t because other objects depend on it\nDETAIL:  view v depends on table t", Verdict::Failed),
    ("13-18 server", "error: could not execute query: ERROR:  cannot execute CREATE TABLE in a read-only transaction", Verdict::Failed),
    ("13-18 server", "error: COPY failed for table \"t\": ERROR:  missing data for column \"b\"\nCONTEXT:  COPY t, line 1: \"x\"", Verdict::Failed),
    ("13-18 server", "error: could not execute query: ERROR:  canceling statement due to statement timeout", Verdict::Failed),
    // Nobody's.
    ("18 filter, for instance", "error: invalid format in filter read from file \"x\" on line 1: y", Verdict::Failed),
    ("a verbose line of a version to come", "polishing TABLE users", Verdict::Failed),
    ("a phase that there isn't", "while WHISTLING:", Verdict::Failed),
];

#[test]
fn every_known_line_has_its_class() {
    for (source, text) in HARMLESS {
        let class = class(&format!("pg_restore: {text}"));
        assert_eq!(class, (Level::Harmless, Verdict::Done), "{source}: {text}");
    }
    for (source, text) in DEGRADED {
        let class = class(&format!("pg_restore: {text}"));
        assert_eq!(class, (Level::Degraded, Verdict::Done), "{source}: {text}");
    }
    for (source, text, verdict) in FATAL {
        let class = class(&format!("pg_restore: {text}"));
        assert_eq!(class, (Level::Fatal, verdict), "{source}: {text}");
    }
}

#[test]
fn what_the_server_says_by_itself_is_read_as_through_pg_restore() {
    for (source, text) in HARMLESS
        .iter()
        .chain(&DEGRADED)
        .filter(|(_, t)| is_of_server(t))
    {
        assert_eq!(
            class(text),
            class(&format!("pg_restore: {text}")),
            "{source}"
        );
    }
}

#[test]
fn what_is_degraded_comes_with_an_explanation_and_what_is_fatal_with_a_remedy() {
    for (source, text) in DEGRADED
        .iter()
        .filter(|(source, _)| !source.contains("extension"))
    {
        let text = text.strip_prefix("warning: ").unwrap_or(text);
        let first = text.lines().next().unwrap_or_default();
        assert!(!meaning(first, false).remedy.is_empty(), "{source}: {text}");
    }
    for (source, text, verdict) in FATAL {
        let mut messages = Messages::default();
        format!("pg_restore: {text}")
            .lines()
            .for_each(|line| messages.line(line));
        let failed = messages.finish().fatal.expect("it is fatal");
        // Of a worker's death the cause is told elsewhere; nothing better is known of it.
        let silent = meaning(text.trim_start_matches("error: "), true).consequence;
        assert!(
            failed.hint.is_some() || silent || verdict != Verdict::Failed,
            "{source}: {text}"
        );
    }
}

#[test]
fn a_mild_text_inside_another_one_makes_that_one_no_milder() {
    for mild in [
        "implied data-only restore",
        "invalid creation date in header",
        "restoring tables WITH OIDS is not supported anymore",
    ] {
        for text in [
            // As before version 12, where no severity stands before it.
            format!(
                "pg_restore: [archiver (db)] could not execute query: ERROR:  function \"{mild}\" does not exist"
            ),
            format!("pg_restore: warning: table \"{mild}\" is missing"),
            format!("pg_restore: error: {mild}"),
            mild.to_owned(),
        ] {
            assert_eq!(class(&text).0, Level::Fatal, "{text}");
        }
    }
}

#[test]
fn a_line_of_nobody_behind_a_mild_one_is_still_unknown() {
    for mild in [
        "pg_restore: warning: invalid creation date in header",
        "pg_restore: connecting to database for restore",
        "pg_restore: while PROCESSING TOC:",
    ] {
        let lines = format!("{mild}\nfree(): invalid pointer\n");
        assert_eq!(class(&lines), (Level::Fatal, Verdict::Failed), "{lines}");
    }
    let lines = "pg_restore: warning: invalid creation date in header\nDETAIL:  x\n\n\tand more\npg_restore: hint: y\n";
    assert_eq!(class(lines).0, Level::Harmless);
}

#[test]
fn of_many_degraded_lines_some_are_told_and_the_others_counted() {
    let mut messages = Messages::default();
    for n in 0..1000 {
        messages.line(&format!(
            "WARNING:  no privileges were granted for \"t{n}\""
        ));
    }
    let said = messages.finish();
    assert_eq!(said.degraded.len(), TOLD + 1);
    assert!(
        said.degraded[TOLD].contains("980 more"),
        "{:?}",
        said.degraded[TOLD]
    );
}
