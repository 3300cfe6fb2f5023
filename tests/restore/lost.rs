//! What live has and the new database lacks, found in the catalogs of both.

use backupctl::database::lost::{Wanted, compare};
use backupctl::report::Lost;

use super::run;
use crate::support::postgres::Postgres;

/// `kind[ of role]: names`, as the report has them.
async fn lost(live: &str, scratch: &str, wanted: &Wanted) -> Vec<String> {
    let found = found(live, scratch, wanted).await;
    let one = |lost: &Lost| {
        let role = lost
            .role
            .as_ref()
            .map_or(String::new(), |role| format!(" ({role})"));
        format!(
            "{} {}{role}: {}",
            lost.count,
            lost.kind,
            lost.names.join("; ")
        )
    };
    found.iter().map(one).collect()
}

async fn found(live: &str, scratch: &str, wanted: &Wanted) -> Vec<Lost> {
    let dir = tempfile::tempdir().expect("the test's preparation works");
    let login = Postgres::shared().login(live, &run(dir.path()).id);
    compare(&login, scratch, wanted)
        .await
        .expect("both can be asked")
}

fn database(sql: &str) -> String {
    let pg = Postgres::shared();
    let name = pg.database("lost");
    pg.sql(&name, sql);
    name
}

/// One of everything, with a role of its own.
fn rich(role: &str) -> String {
    format!(
        "create schema app;
         create extension citext;
         create table orders (id serial primary key, at date, note text check (note <> ''), who citext);
         create index by_date on orders (at);
         create table items (id int references orders, n int generated always as identity);
         create table days (at date) partition by range (at);
         create table days_1 partition of days for values from ('2026-01-01') to ('2026-02-01');
         create index on days (at);
         create view recent as select * from orders;
         create materialized view sums as select count(*) from orders;
         create function f(a int, b text) returns int language sql as 'select 1';
         create function touched() returns trigger language plpgsql as 'begin return new; end';
         create trigger touch before insert on orders for each row execute function touched();
         create rule quiet as on delete to items do instead nothing;
         create policy mine on orders using (true); alter table orders enable row level security;
         create type colour as enum ('red', 'green');
         create domain positive as int check (value > 0);
         create type pair as (a int, b int);
         create statistics together on id, at from orders;
         create publication feed for table orders;
         create event trigger watch on ddl_command_end execute function noticed();
         grant select, insert on orders to {role}; grant select (at) on days to {role};
         grant usage on schema app to {role}; revoke execute on function f(int, text) from public;
         grant execute on function f(int, text) to {role};
         alter default privileges in schema app grant select on tables to {role};
         alter table items owner to {role};"
    )
    .replace(
        "create event trigger",
        "create function noticed() returns event_trigger language plpgsql as 'begin end'; create event trigger",
    )
}

#[tokio::test]
async fn a_restored_copy_has_lost_nothing() {
    let pg = Postgres::shared();
    let role = pg.role("reader", "");
    let live = database(&rich(&role));
    let copy = database("");
    let dump = pg.dump(&live, &["-Fc"]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("dump");
    std::fs::write(&file, dump).expect("a dump");
    let restored = pg
        .tool("pg_restore", &copy)
        .args(["-d", &copy])
        .arg(&file)
        .output()
        .expect("pg_restore");
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );

    assert_eq!(lost(&live, &copy, &Wanted::default()).await, [""; 0]);
}

#[tokio::test]
async fn in_an_empty_database_all_is_lost_but_nothing_is_told_twice() {
    let role = Postgres::shared().role("reader", "");
    let live = database(&rich(&role));

    let found = lost(&live, &database(""), &Wanted::default()).await;

    assert_eq!(
        found,
        [
            "1 schema: app",
            "1 extension: citext",
            "3 table: public.days; public.items; public.orders",
            "1 view: public.recent",
            "1 materialized view: public.sums",
            "3 function: public.f(a integer, b text); public.noticed(); public.touched()",
            "3 type: public.colour; public.pair; public.positive",
            "1 event trigger: watch",
            "1 publication: feed",
        ]
    );
}

#[tokio::test]
async fn what_hangs_on_a_table_is_found_where_only_that_is_lost() {
    let pg = Postgres::shared();
    let role = pg.role("reader", "");
    let live = database(&rich(&role));
    let poor = "create schema app;
        create extension citext;
        create table orders (id int, at date, note text, who citext);
        create table items (id int);
        create table days (at date) partition by range (at);
        create view recent as select id from orders;
        create materialized view sums as select count(*) from orders;
        create function f(a int, b int) returns int language sql as 'select 1';
        create function f(a int, b text) returns int language sql as 'select 1';
        create function touched() returns trigger language plpgsql as 'begin return new; end';
        create function noticed() returns event_trigger language plpgsql as 'begin end';
        create type colour as enum ('red'); create domain positive as int; create type pair as (a int);
        create publication feed;";

    let found = lost(&live, &database(poor), &Wanted::default()).await;

    let columns =
        "4 column: public.items.n; public.recent.at; public.recent.note; public.recent.who";
    assert_eq!(
        found,
        [
            "1 partition: public.days_1".to_owned(),
            "2 sequence: public.items_n_seq; public.orders_id_seq".to_owned(),
            columns.to_owned(),
            "3 constraint: items_id_fkey on public.items; orders_note_check on public.orders; orders_pkey on public.orders".to_owned(),
            "2 index: by_date on public.orders; days_at_idx on public.days".to_owned(),
            "1 trigger: touch on public.orders".to_owned(),
            "1 rule: quiet on public.items".to_owned(),
            "1 policy: mine on public.orders".to_owned(),
            "1 table with row-level security: public.orders".to_owned(),
            "1 value of a type: 'green' of public.colour".to_owned(),
            "1 statistics object: together on public.orders".to_owned(),
            "1 event trigger: watch".to_owned(),
            "1 published table: public.orders in feed".to_owned(),
            format!(
                "5 grant ({role}): public.orders: INSERT, SELECT; public.days.at: SELECT; schema app: USAGE; \
                 public.f(a integer, b text): EXECUTE; what postgres will create in schema app: tables: SELECT"
            ),
            format!("1 object owned ({role}): public.items"),
        ]
    );
}

#[tokio::test]
async fn what_was_wanted_by_configuration_is_no_loss() {
    let pg = Postgres::shared();
    let role = pg.role("reader", "");
    let both = "create table t (n int);";
    let live = database(&format!(
        "{both} grant select on t to {role}; create table u (n int); alter table u owner to {role}; create publication p"
    ));
    let scratch = database(&format!("{both} create table u (n int);"));
    let wanted = Wanted {
        owner: Some(role),
        no_grants: true,
        skipped: vec!["PUBLICATION".into()],
    };

    assert_eq!(lost(&live, &scratch, &Wanted::default()).await.len(), 3);
    assert_eq!(lost(&live, &scratch, &wanted).await, [""; 0]);
}

#[tokio::test]
async fn who_owns_all_of_the_new_one_needs_no_grants_in_it() {
    let pg = Postgres::shared();
    let (owner, reader) = (pg.role("Owner", ""), pg.role("reader", ""));
    let both = "create schema s; create table s.t (n int); create function s.f() returns int language sql as 'select 1';";
    let live = database(&format!(
        "{both} grant usage on schema s to \"{owner}\"; grant select, insert on s.t to \"{owner}\";
         grant select (n) on s.t to \"{owner}\"; grant execute on function s.f to \"{owner}\";
         grant select on s.t to {reader}; alter default privileges in schema s grant select on tables to \"{owner}\""
    ));
    let scratch = database(both);
    let wanted = Wanted {
        owner: Some(owner.clone()),
        ..Wanted::default()
    };

    assert_eq!(
        lost(&live, &scratch, &wanted).await,
        [
            format!("1 grant ({reader}): s.t: SELECT"),
            format!("1 grant (\"{owner}\"): what postgres will create in schema s: tables: SELECT"),
        ]
    );
}

#[tokio::test]
async fn names_are_escaped_and_many_are_counted() {
    let live = database(
        "create table \"a\u{1b}[2J\u{202e}b\" (n int);
         do $$ begin for i in 1..120 loop execute format('create view v%s as select 1', i); end loop; end $$",
    );

    let found = found(&live, &database(""), &Wanted::default()).await;

    assert_eq!(found[0].names, ["public.\"a\\u{1b}[2J\\u{202e}b\""]);
    assert_eq!(
        (found[1].kind.as_str(), found[1].count, found[1].names.len()),
        ("view", 120, 50)
    );
}
