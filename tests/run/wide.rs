//! A dump of ten thousand tables, one of them as wide as PostgreSQL allows.

use std::fs;
use std::time::Duration;

use crate::support::archives;
use crate::support::postgres::Postgres;
use crate::support::program::Setup;

/// A statement a line: in one transaction they would need a lock for each table.
const SCHEMA: &str = "
select format('create table t_%s (id int primary key, v text)', n) from generate_series(1, 9999) n \\gexec
select format('insert into t_%s select g, md5(g || %L) from generate_series(1, 3) g', n, n) from generate_series(1, 9999) n \\gexec
select format('create table wide (%s)', string_agg(format('c%s int', n), ', ')) from generate_series(1, 1600) n \\gexec
select format('insert into wide select %s from generate_series(1, 20) g', string_agg(format('g + %s', n), ', ')) from generate_series(1, 1600) n \\gexec
";

/// Of all rows of all tables.
const HASH: &str = "select md5(string_agg(c.relname || (xpath('/row/h/text()',
        query_to_xml(format('select md5(string_agg(t::text, chr(10) order by t::text)) as h from %I t', c.relname), false, true, '')))[1]::text, chr(10) order by c.relname))
    || ' ' || count(*) from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace";

#[test]
#[ignore = "minutes: `make faults`"]
fn ten_thousand_tables_and_one_of_1600_columns_are_restored_wholly() {
    // given
    let server = Postgres::start("max_locks_per_transaction = 1024\nfsync = off");
    let (source, live) = (server.database("source"), server.database("live"));
    server.sql(&source, SCHEMA);
    let store = tempfile::tempdir().expect("a directory");
    let zip = archives::zip().entry("erp.dump", server.dump(&source, &["-Fc"]));
    fs::write(store.path().join("erp.zip"), zip.build()).expect("an archive");
    let setup = Setup::new().local(store.path()).database(&server, &live);
    let mut setup = setup.restore("").write();
    setup.program = setup.program.within(Duration::from_mins(10));

    // when
    let report = setup.run(&["run", "--json"]).expect(0).json();

    // then
    let hash = server.value(&source, HASH);
    assert!(hash.ends_with(" 10000"), "{hash}");
    assert_eq!(server.value(&live, HASH), hash);
    assert!(
        report["steps"].to_string().contains("10000 tables"),
        "{report:#}"
    );
}
