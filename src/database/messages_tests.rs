//! Real texts of pg_restore 11 to 18, and what they mean.

use super::*;

fn said(lines: &str) -> Said {
    let mut messages = Messages::default();
    for line in lines.lines() {
        messages.line(line);
    }
    messages.finish()
}

fn failure(lines: &str) -> Failed {
    said(lines)
        .fatal
        .unwrap_or_else(|| panic!("not fatal: {lines}"))
}

/// What pg_restore says, its verdict, and a word of the remedy.
const FATAL: [(&str, Verdict, &str); 28] = [
    (
        "error: could not execute query: ERROR:  role \"app\" does not exist",
        Verdict::Failed,
        "CREATE ROLE",
    ),
    (
        "error: could not execute query: ERROR:  could not open extension control file \"/usr/share/postgresql/15/extension/postgis.control\": No such file or directory",
        Verdict::Failed,
        "extension's package",
    ),
    (
        "error: could not execute query: ERROR:  extension \"postgis\" is not available",
        Verdict::Failed,
        "extension's package",
    ),
    (
        "error: could not execute query: ERROR:  must be owner of extension plpgsql",
        Verdict::Failed,
        "membership",
    ),
    (
        "error: could not execute query: ERROR:  permission denied for schema public",
        Verdict::Failed,
        "grant",
    ),
    (
        "error: could not execute query: ERROR:  schema \"public\" already exists",
        Verdict::Failed,
        "template1",
    ),
    (
        "error: unsupported version (1.16) in file header",
        Verdict::Config,
        "bin_dir",
    ),
    (
        "error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"",
        Verdict::Failed,
        "newer than the server",
    ),
    (
        "error: COPY failed for table \"t\": ERROR:  could not extend file \"base/5/16399\": No space left on device",
        Verdict::Failed,
        "free space on the database server",
    ),
    ("error: out of memory", Verdict::Local, "memory"),
    (
        "error: COPY failed for table \"t\": ERROR:  out of memory",
        Verdict::Failed,
        "database server",
    ),
    (
        "error: COPY failed for table \"t\": server closed the connection unexpectedly",
        Verdict::Failed,
        "server's log",
    ),
    (
        "error: COPY failed for table \"t\": FATAL:  terminating connection due to administrator command",
        Verdict::Failed,
        "server's log",
    ),
    (
        "error: could not read from input file: end of file",
        Verdict::Damaged,
        "upload",
    ),
    (
        "error: input file is too short (read 3, expected 5)",
        Verdict::Damaged,
        "upload",
    ),
    (
        "error: could not uncompress data: invalid stored block lengths",
        Verdict::Damaged,
        "upload",
    ),
    (
        "[custom archiver] found unexpected block ID (0) when reading data -- expected 3380",
        Verdict::Damaged,
        "upload",
    ),
    (
        "error: unrecognized data block type (0) while searching archive",
        Verdict::Damaged,
        "upload",
    ),
    (
        "error: COPY failed for table \"t\": ERROR:  invalid byte sequence for encoding \"UTF8\": 0xff",
        Verdict::Failed,
        "encoding",
    ),
    (
        "error: COPY failed for table \"t\": ERROR:  duplicate key value violates unique constraint \"t_pkey\"",
        Verdict::Failed,
        "unique index",
    ),
    (
        "error: could not execute query: ERROR:  deadlock detected",
        Verdict::Failed,
        "something else",
    ),
    (
        "error: could not execute query: ERROR:  canceling statement due to lock timeout",
        Verdict::Failed,
        "lock",
    ),
    (
        "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: Connection refused",
        Verdict::Network,
        "host",
    ),
    (
        "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  password authentication failed for user \"x\"",
        Verdict::Refused,
        "password",
    ),
    (
        "error: connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  sorry, too many clients already",
        Verdict::Config,
        "max_connections",
    ),
    (
        "error: something that nobody has ever seen",
        Verdict::Failed,
        "debug",
    ),
    (
        "warning: something that nobody has ever seen",
        Verdict::Failed,
        "debug",
    ),
    (
        "something that nobody has ever seen",
        Verdict::Failed,
        "debug",
    ),
];

#[test]
fn fatal_messages_get_their_verdict_and_remedy() {
    for (line, verdict, remedy) in FATAL {
        let failed = failure(&format!("pg_restore: {line}"));
        assert_eq!(failed.verdict, verdict, "{line}");
        let hint = failed.hint.unwrap_or_default();
        assert!(hint.contains(remedy), "{line}: {hint}");
    }
}

#[test]
fn a_message_is_told_with_its_object_and_statement() {
    let failed = failure(
        "pg_restore: while PROCESSING TOC:\n\
         pg_restore: from TOC entry 3321; 1259 16399 TABLE users postgres\n\
         pg_restore: error: could not execute query: ERROR:  type \"mood\" does not exist\n\
         LINE 3:     feeling mood\n\
                             ^\n\
         Command was: CREATE TABLE public.users (\n    id integer,\n    feeling mood\n);\n\n",
    );
    assert_eq!(
        failed.message(),
        "pg_restore: TABLE users postgres: could not execute query: ERROR:  type \"mood\" does not exist; \
         the statement: CREATE TABLE public.users ( id integer, feeling mood );"
    );
}

#[test]
fn rows_and_credentials_are_not_repeated() {
    let cases = [
        "pg_restore: error: COPY failed for table \"users\": ERROR:  duplicate key value violates unique constraint \"u\"\n\
         DETAIL:  Key (mail)=(CANARY) already exists.\nCONTEXT:  COPY users, line 2\n",
        "pg_restore: error: COPY failed for table \"users\": ERROR:  invalid input syntax for type integer: \"CANARY\"\n\
         CONTEXT:  COPY users, line 1, column id: \"CANARY\"\n",
        "pg_restore: error: could not execute query: ERROR:  null value\n\
         Command was: INSERT INTO public.users VALUES ('CANARY');\n",
        "pg_restore: error: could not execute query: ERROR:  server \"s\" does not exist\n\
         Command was: CREATE USER MAPPING FOR bob SERVER s OPTIONS (\n    password 'CANARY'\n);\n",
    ];
    for lines in cases {
        let message = failure(lines).message();
        assert!(!message.contains("CANARY"), "{message}");
    }
    assert!(
        failure(cases[1])
            .message()
            .contains("COPY users, line 1, column id")
    );
}

#[test]
fn the_cause_is_told_and_not_what_follows_from_it() {
    let cause = "pg_restore: error: COPY failed for table \"t\": ERROR:  invalid input syntax for type integer: \"x\"";
    let consequence = "pg_restore: error: a worker process died unexpectedly";
    for lines in [[cause, consequence], [consequence, cause]] {
        let message = failure(&lines.join("\n")).message();
        assert!(message.contains("invalid input syntax"), "{message}");
    }
    assert!(failure(consequence).message().contains("worker process"));
}

#[test]
fn harmless_lines_are_counted_and_degraded_ones_told() {
    let said = said(
        "pg_restore: connecting to database for restore\n\
         pg_restore: creating TABLE \"public.users\"\n\
         NOTICE:  extension \"plpgsql\" already exists, skipping\n\
         pg_restore: warning: restoring tables WITH OIDS is not supported anymore\n",
    );
    assert!(said.fatal.is_none());
    assert_eq!(said.harmless, 3);
    assert_eq!(
        said.degraded,
        [
            "pg_restore: restoring tables WITH OIDS is not supported anymore; the tables are there without their hidden \
             column `oid`; an application that reads it must be changed"
        ]
    );
}

#[test]
fn control_characters_of_a_server_reach_nobody() {
    let message = failure("pg_restore: error: ERROR:  \u{1b}[2Jboo").message();
    assert!(!message.contains('\u{1b}'), "{message}");
}

#[test]
fn a_servers_warning_is_told_and_ends_nothing() {
    let said = said(
        "WARNING:  wal_level is insufficient to publish logical changes\n\
         HINT:  Set wal_level to \"logical\" before creating subscriptions.\n",
    );
    assert!(said.fatal.is_none());
    assert_eq!(
        said.degraded,
        [
            "pg_restore: WARNING:  wal_level is insufficient to publish logical changes; set wal_level to `logical` where \
             the publication is to be used"
        ]
    );
}
