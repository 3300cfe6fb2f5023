//! Other people's owners: dumps of servers with roles, extensions and tablespaces that this server doesn't have.

mod managed;

use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use super::{judged, says, text, warnings};
use crate::support::archives::zip;
use crate::support::postgres::Postgres;
use crate::support::program::Setup;

/// Like a production database: six roles, three extensions, row-level security, partitions, large objects, event
/// triggers, grants of every kind. `R` stands for the beginning of the roles' names.
const PRODUCTION: &str = r#"
create extension pgcrypto; create extension citext; create extension pg_trgm;
comment on extension citext is 'case does not matter';
create schema sales authorization "R_sales";
grant usage on schema sales to "R_app", "R_reader";
create table users (id int generated always as identity primary key, email citext unique, tenant int);
insert into users (email, tenant) select 'User' || n || '@Example.org', n % 3 from generate_series(1, 300) n;
create index on users using gin ((email::text) gin_trgm_ops);
create table sales.orders (id bigint, day date, user_id int references users) partition by range (day);
create table sales.orders_2025 partition of sales.orders for values from ('2025-01-01') to ('2026-01-01');
create table sales.orders_2026 partition of sales.orders for values from ('2026-01-01') to ('2027-01-01');
insert into sales.orders select n, '2025-06-01'::date + n, 1 + n % 300 from generate_series(1, 500) n;
create view sales.totals as select user_id, count(*) as n from sales.orders group by user_id;
create function whoami() returns text language sql security definer as 'select current_user::text';
create function noted() returns event_trigger language plpgsql as 'begin end';
create event trigger note on ddl_command_end execute function noted();
alter table users owner to "R_boss"; alter function whoami() owner to "R_boss";
alter table sales.orders owner to "R_sales"; alter table sales.orders_2025 owner to "R_sales";
alter table sales.orders_2026 owner to "R_sales"; alter view sales.totals owner to "R_sales";
alter table users enable row level security;
create policy own on users for select to "R_app" using (tenant = 1);
create policy audit on users for select to "R_auditor" using (true);
grant select, insert on users to "R_app"; grant select (email) on users to "R_reader";
grant select on sales.totals to "R_reader" with grant option;
alter default privileges for role "R_boss" in schema public grant select on tables to "R_intern";
select lo_from_bytea(4711, 'a large object'), lo_from_bytea(4712, 'and another');
alter large object 4711 owner to "R_boss"; grant select on large object 4711 to "R_app";
"#;
const ROLES: [&str; 6] = ["boss", "sales", "app", "reader", "auditor", "intern"];

/// The server that dumps go to: another one, with none of the roles.
fn bare() -> &'static Postgres {
    static BARE: OnceLock<Postgres> = OnceLock::new();
    BARE.get_or_init(|| Postgres::start(""))
}

/// A production database on the shared server, its dump in a store, and a live database elsewhere.
struct Move {
    source: String,
    prefix: String,
    target: &'static Postgres,
    live: String,
    store: TempDir,
}

impl Move {
    fn new() -> Self {
        let pg = Postgres::shared();
        let prefix = pg.role("prod", "NOLOGIN");
        for role in ROLES {
            pg.sql("postgres", &format!("create role \"{prefix}_{role}\""));
        }
        let source = pg.database("production");
        pg.sql(&source, &PRODUCTION.replace("R_", &format!("{prefix}_")));
        let target = bare();
        let live = target.database("live");
        target.sql(
            &live,
            "create table t (v text); insert into t values ('old')",
        );
        let moved = Self {
            source,
            prefix,
            target,
            live,
            store: tempfile::tempdir().expect("a store"),
        };
        moved.offer();
        moved
    }

    fn offer(&self) {
        let dump = Postgres::shared().dump(&self.source, &["-Fc"]);
        let path = self.store.path().join("production.zip");
        std::fs::write(path, zip().entry("production.dump", dump).build()).expect("an archive");
    }

    fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    /// As the superuser; `lines` of `[restores.erp]`.
    fn with(&self, lines: &str) -> Setup {
        Setup::new()
            .local(self.store.path())
            .database(self.target, &self.live)
            .restore(lines)
            .write()
    }

    fn owner_of(&self, table: &str) -> String {
        let sql = format!(
            "select pg_get_userbyid(relowner) from pg_class where oid = '{table}'::regclass"
        );
        self.target.value(&self.live, &sql)
    }

    /// The same rows, sequences and large objects as in production.
    fn has_all_rows(&self) {
        assert_eq!(
            self.target.rows_hash(&self.live),
            Postgres::shared().rows_hash(&self.source)
        );
    }
}

/// The lines of a dry run's plan.
fn plan(report: &Value) -> Vec<&str> {
    let lines = report["plan"].as_array().expect("a plan").iter();
    lines.flat_map(|line| text(line).lines()).collect()
}

#[test]
fn a_production_dump_goes_to_a_server_without_its_roles_which_are_created() {
    let moved = Move::new();
    // the dry run names every role before anything is loaded, and so does the run
    let setup = moved.with("");
    let ran = setup.run(&["run", "--dry-run", "--json"]).expect(3);
    let report = ran.json();
    let lines = plan(&report);
    for role in ROLES {
        let line = format!("role      `{}`: missing", moved.role(role));
        assert!(lines.contains(&line.as_str()), "{line} in {lines:#?}");
        says(text(&report["message"]), &[&moved.role(role)]);
    }
    says(text(&report["hint"]), &["missing_roles"]);
    let extension = lines
        .iter()
        .find(|line| line.starts_with("extension `citext`: there, version"));
    assert!(extension.is_some(), "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{lines:#?}"
    );

    // by configuration alone
    let setup = moved.with("missing_roles = \"create\"");
    let report = setup.run(&["run", "--dry-run", "--json"]).expect(0).json();
    says(
        &plan(&report).join("\n"),
        &[&format!("`{}`: will be created", moved.role("boss"))],
    );
    assert_eq!(created(&moved), 0, "a dry run creates none");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    assert_eq!(
        moved.target.content_hash(&moved.live),
        Postgres::shared().content_hash(&moved.source)
    );
    assert_eq!(created(&moved), ROLES.len());
    let told = warnings(&report).join("\n");
    says(
        &told,
        &["roles were created", &moved.role("intern"), "stay"],
    );
    // and the next night they are there
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");
    assert!(
        !warnings(&report).join("\n").contains("created"),
        "{report}"
    );
}

/// How many of production's roles the target has; none of them may log in.
fn created(moved: &Move) -> usize {
    let sql = format!(
        "select count(*) from pg_roles where rolname like '{}\\_%' and not rolcanlogin and not rolsuper",
        moved.prefix
    );
    moved
        .target
        .value("postgres", &sql)
        .parse()
        .expect("a number")
}

/// A superuser hands over to the live database's owner, so that nothing only a superuser may create can go in.
const HANDED_OVER: &str = "owner = \"target\"\nprivileges = \"skip\"";

/// The live database of `moved` belongs to a new role.
fn given_away(moved: &Move) -> String {
    let owner = moved.target.role("owner", "");
    let sql = format!("alter database {} owner to {owner}", moved.live);
    moved.target.sql("postgres", &sql);
    owner
}

#[test]
fn what_another_owner_could_not_create_is_named_before_the_load() {
    let moved = Move::new();
    given_away(&moved);
    let setup = moved.with(HANDED_OVER);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    let hint = text(&report["hint"]);
    says(
        hint,
        &[
            "skip = [\"EVENT TRIGGER\"]",
            "owner = \"keep\"",
            "CREATE ROLE",
        ],
    );
    assert!(
        !hint.contains(&moved.role("intern")),
        "grants are left out: {hint}"
    );
    assert!(
        hint.contains(&moved.role("app")),
        "policies are not: {hint}"
    );
    assert_eq!(moved.target.value(&moved.live, "select v from t"), "old");
}

#[test]
fn everything_can_belong_to_the_live_databases_owner() {
    // given
    let moved = Move::new();
    let owner = given_away(&moved);
    let setup = moved.with(&format!(
        "{HANDED_OVER}\nskip = [\"event trigger\", \"POLICY\"]"
    ));

    // when
    let planned = setup.run(&["run", "--dry-run", "--json"]).expect(0).json();
    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    // then
    handed_over_as_planned(&plan(&planned).join("\n"), &moved, &owner);
    moved.has_all_rows();
    for table in ["users", "sales.orders", "sales.orders_2025", "sales.totals"] {
        assert_eq!(moved.owner_of(table), owner, "{table}");
    }
    let value = |sql: &str| moved.target.value(&moved.live, sql);
    assert_eq!(value("select count(*) from pg_event_trigger"), "0");
    assert_eq!(value("select count(*) from pg_policy"), "0");
    assert_eq!(created(&moved), 0);
    assert_eq!(value("select whoami()"), owner, "SECURITY DEFINER");
    says(
        &warnings(&report).join("\n"),
        &["policies of row-level security"],
    );
}

fn handed_over_as_planned(plan: &str, moved: &Move, owner: &str) {
    let both = "left out by owner = \"target\" and privileges = \"skip\"";
    says(
        plan,
        &[
            &format!("owner     `{owner}`: everything will belong to it"),
            "functions that will run with its rights: 1",
            &format!("`{}`: {both}", moved.role("boss")),
            &format!("`{}`: left out by skip", moved.role("auditor")),
            &format!(
                "`{}`: left out by privileges = \"skip\" and skip",
                moved.role("app")
            ),
            "left out  1 of EVENT TRIGGER (skip)",
            "left out  2 of POLICY (skip)",
        ],
    );
}

#[test]
fn everything_can_belong_to_a_role_that_is_not_the_databases_owner() {
    let moved = Move::new();
    let role = moved.target.role("Keeper Of", "");
    let lines = format!(
        "owner = \"role:{role}\"\nprivileges = \"skip\"\nskip = [\"EVENT TRIGGER\", \"POLICY\", \"ROW SECURITY\"]"
    );
    let setup = moved.with(&lines);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    assert_eq!(moved.owner_of("users"), role);
    let sql = format!(
        "select pg_get_userbyid(datdba) from pg_database where datname = '{}'",
        moved.live
    );
    assert_eq!(
        moved.target.value("postgres", &sql),
        "postgres",
        "the database itself keeps its owner"
    );
    moved.has_all_rows();
    says(&warnings(&report).join("\n"), &["row-level security off"]);
}

#[test]
fn tablespaces_are_found_missing_or_left_out() {
    let pg = Postgres::shared();
    let space = pg.role("fast", "");
    let directory = pg.directory.join(&space);
    std::fs::create_dir(&directory).expect("a directory");
    crate::support::postgres::owned_by_server_user(&directory);
    pg.sql(
        "postgres",
        &format!(
            "create tablespace {space} location '{}'",
            directory.display()
        ),
    );
    let moved = Move::new();
    pg.sql(
        &moved.source,
        &format!("create table hot (v int) tablespace {space}; insert into hot values (1)"),
    );
    moved.offer();
    pg.sql(
        &moved.source,
        "drop table hot; create table hot (v int); insert into hot values (1)",
    );
    pg.sql("postgres", &format!("drop tablespace {space}"));
    let lines = "missing_roles = \"create\"";

    let setup = moved.with(lines);
    let report = setup.run(&["run", "-n", "--json"]).expect(3).json();
    says(
        &plan(&report).join("\n"),
        &[&format!("storage   `{space}`: tablespace, missing")],
    );
    says(text(&report["hint"]), &["tablespaces = \"default\""]);
    let setup = moved.with(&format!("{lines}\ntablespaces = \"default\""));
    let report = setup.run(&["run", "-n", "--json"]).expect(0).json();
    says(
        &plan(&report).join("\n"),
        &["tablespace, left out by tablespaces = \"default\""],
    );
    judged(&setup, &setup.run(&["run", "--json"]), "done");

    moved.has_all_rows();
}

#[test]
fn what_is_left_out_never_takes_rows_with_it() {
    let moved = Move::new();
    let setup = moved.with("skip = [\"EXTENSION\"]");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    says(
        text(&report["message"]),
        &["`skip` (\"EXTENSION\")", "table `public.users`"],
    );
    assert_eq!(moved.target.value(&moved.live, "select v from t"), "old");
}

#[test]
fn what_hangs_on_something_left_out_is_left_out_and_told() {
    let moved = Move::new();
    let setup = moved
        .with("missing_roles = \"create\"\nskip = [\"FUNCTION\", \"BLOB\", \"COMMENT EXTENSION\"]");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    says(&warnings(&report).join("\n"), &["event trigger `note`"]);
    let count = |from: &str| {
        moved
            .target
            .value(&moved.live, &format!("select count(*) from {from}"))
    };
    assert_eq!(count("pg_event_trigger"), "0");
    assert_eq!(count("pg_largeobject_metadata"), "0");
    assert_eq!(count("users"), "300");
    let comment =
        "select obj_description(oid, 'pg_extension') from pg_extension where extname = 'citext'";
    assert_ne!(
        moved.target.value(&moved.live, comment),
        "case does not matter"
    );
}
