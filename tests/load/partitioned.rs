//! Partitioned tables by several sessions, on which a plain `pg_restore --jobs` dies of a deadlock now and then.

use std::fs;

use backupctl::database::dump::{Selection, Toc};
use backupctl::database::load::{Load, Select, load};

use super::fixture::Fixture;
use crate::support::postgres::Postgres;

/// Foreign keys, triggers and attached indexes of one partitioned table, many of each.
const SCHEMA: &str = "
create table people (id int primary key);
insert into people select generate_series(1, 9);
create function touch() returns trigger language plpgsql as $$ begin return new; end $$;
create table sales (id int, day date, a int, b int, c int, d int, primary key (id, day)) partition by range (day);
do $$ begin
    for n in 0..7 loop
        execute format('create table sales_%s partition of sales for values from (%L) to (%L) partition by hash (id)',
            n, date '2026-01-01' + n * 10, date '2026-01-01' + n * 10 + 10);
        execute format('create table sales_%s_all partition of sales_%s for values with (modulus 1, remainder 0)', n, n);
    end loop;
    for n in 1..4 loop
        execute format('create trigger touch_%s before insert on sales for each row execute function touch()', n);
        execute format('create index on sales (%s)', chr(96 + n));
        execute format('alter table sales add constraint key_%s foreign key (%s) references people', n, chr(96 + n));
    end loop;
end $$;
insert into sales select i, date '2026-01-01' + i % 80, 1, 2, 3, 4 from generate_series(1, 4000) i;
create table notes (sale int, day date, foreign key (sale, day) references sales);
comment on constraint key_1 on sales is 'who';
comment on trigger touch_1 on sales is 'when';
create materialized view days as select day, count(*) from sales group by day;
create index on days (day);
grant select on sales to public;
create function no_more() returns event_trigger language plpgsql as $$ begin raise exception 'something came after it'; end $$;
create event trigger no_more on ddl_command_end when tag in ('ALTER TABLE', 'CREATE TRIGGER') execute function no_more();
";

#[tokio::test]
async fn keys_and_triggers_of_partitioned_tables_never_wait_for_each_other() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let source = pg.database("partitioned");
    pg.sql(&source, SCHEMA);
    let path = fixture.directory.path().join("partitioned.dump");
    fs::write(&path, pg.dump(&source, &["-Fc"])).expect("a dump");
    let toc = Toc::open(&path).expect("a dump");
    let selection = Selection::everything();
    for _ in 0..3 {
        let target = pg.database("target");
        let plan = Load {
            jobs: 6,
            select: Some(Select {
                toc: &toc,
                selection: &selection,
            }),
            ..fixture.plan(&target, &path)
        };
        let loaded = load(plan, &fixture.run).await.expect("no deadlock");
        assert_eq!(loaded.warnings, [""; 0]);
        assert_eq!(pg.content_hash(&target), pg.content_hash(&source));
    }
}
