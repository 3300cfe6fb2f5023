//! A whole refresh against `pg_restore -jN` with ANALYZE, and against the plain script that it replaces.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::compare::{Contender, Samples, side_by_side, step_seconds};
use crate::data;
use crate::machine;
use crate::tables::{self, Goals, in_mib};
use crate::world::{Distance, World, backupctl, dump_to, forget, remove};
use crate::{rivals, say};

const ARCHIVE: &str = "erp.zip";
/// Found by trying: so many orders are a MiB of database, with their indexes.
const ORDERS_PER_MIB: u64 = 2450;

/// What is restored: its dump, its archive, its number of orders.
struct Source {
    dump: PathBuf,
    archive: PathBuf,
    orders: String,
    in_words: String,
    /// The database's and the archive's size.
    sizes: [String; 2],
}

pub fn measured(world: &World) -> Result<Vec<(&'static str, String)>> {
    let source = source(world)?;
    let near = near(world, &source)?;
    let far = far(world, &source)?;
    fs::remove_file(&source.dump)?;
    fs::remove_file(&source.archive)?;
    let restore = restore_part(world, &source, &near)?;
    let run = run_part(world, &source, (&near, &far));
    Ok(vec![("restore", restore), ("run", run)])
}

fn restore_part(world: &World, source: &Source, near: &[Samples]) -> Result<String> {
    let names = ["restore", "check", "swap"];
    let ours = near[0].costs.iter();
    let ours: Result<Vec<f64>> = ours
        .map(|cost| step_seconds(&cost.stdout, &names))
        .collect();
    let ours = ours?;
    let alone: Vec<f64> = near[1].costs.iter().map(|cost| cost.seconds).collect();
    let ratio = tables::median(&ours) / tables::median(&alone);
    let goals = Goals::default().at_most(
        1.05,
        ratio,
        &format!(
            "restore, check and swap, {} database: no more than 1.05 × `pg_restore -jN` + ANALYZE alone",
            source.sizes[0]
        ),
    );
    Ok(format!(
        "## Restore, check and swap\n\n{} {}\nThe steps of `run` in its report, from the same rounds as below, \
         against createdb, `pg_restore -jN` and ANALYZE into a fresh database.\n\n{}\n{}",
        machine::when(&world.options),
        source.in_words,
        tables::steps(&[
            ("restore, check and swap in `run`", &ours),
            (near[1].name, &alone),
        ]),
        goals.table()
    ))
}

fn run_part(world: &World, source: &Source, (near, far): (&[Samples], &[Samples])) -> String {
    let [database, archive] = &source.sizes;
    let whole = near[0].seconds();
    let allowed = 1.15 * near[1].seconds() + 1.0;
    let goals = Goals::default()
        .at_most(
            1.0,
            whole / allowed,
            &format!(
                "whole run, loopback, {database} database: no more than 1.15 × `pg_restore -jN` + ANALYZE alone + 1 s (1.00 of that)"
            ),
        )
        .at_least(
            1.0,
            near[2].seconds() / whole,
            &format!("whole run, loopback, {archive} archive: faster than the plain script (1.00 ×)"),
        )
        .at_least(
            1.5,
            far[1].seconds() / far[0].seconds(),
            &format!("whole run, 40 ms round trip, {archive} archive: at least 1.5 × as fast as the plain script"),
        );
    format!(
        "## The whole run\n\n{} {}\nThe script downloads with paramiko, unzips with zipfile and calls `pg_restore -jN`, one after the \
         other, into a fresh database, without ANALYZE.\n\n### The whole run, loopback\n\n{}\n\
         ### The whole run, 40 ms round trip\n\n{}\n{}",
        machine::when(&world.options),
        source.in_words,
        tables::costs(near, None),
        tables::costs(far, None),
        goals.table()
    )
}

fn source(world: &World) -> Result<Source> {
    let size = world.options.run_mib.unwrap_or_default();
    world.needs_room(8 * size)?;
    say(&format!("making a database of about {size} MiB"));
    world.statement("postgres", "create database source")?;
    let orders = (size * ORDERS_PER_MIB).max(1000);
    world.statement("source", &SOURCE.replace("ORDERS", &orders.to_string()))?;
    let bytes = "select pg_database_size('source')";
    let bytes: u64 = world.postgres.value("postgres", bytes).parse()?;
    let (dump, archive) = (
        world.directory.join("source.dump"),
        world.sshd.dir.join(ARCHIVE),
    );
    dump_to(&world.postgres, "source", &dump)?;
    data::archive_of(&archive, &dump)?;
    world.statement("postgres", "drop database source")?;
    let mib = |bytes: u64| format!("{:.0} MiB", in_mib(bytes));
    let sizes = [mib(bytes), mib(fs::metadata(&archive)?.len())];
    let in_words = format!(
        "A database of {}, its dump of {}, in an archive of {}.",
        sizes[0],
        mib(fs::metadata(&dump)?.len()),
        sizes[1]
    );
    Ok(Source {
        dump,
        archive,
        sizes,
        orders: orders.to_string(),
        in_words,
    })
}

fn near(world: &World, source: &Source) -> Result<Vec<Samples>> {
    let alone = Contender {
        name: "`pg_restore -jN` + ANALYZE alone",
        clean: Box::new(|| world.empty_databases(&["live", "plain"])),
        commands: Box::new(|| rivals::pg_restore(world, &source.dump, "plain")),
        check: Box::new(|_| restored(world, "plain", source)),
    };
    let setup = world.installation(ARCHIVE, Distance::Near);
    let contenders = [
        ours(world, &setup, source),
        alone,
        script(world, Distance::Near, source)?,
    ];
    side_by_side("the whole run, loopback", &contenders, world.options.rounds)
}

fn far(world: &World, source: &Source) -> Result<Vec<Samples>> {
    let setup = world.installation(ARCHIVE, Distance::Far);
    let contenders = [
        ours(world, &setup, source),
        script(world, Distance::Far, source)?,
    ];
    side_by_side("the whole run, 40 ms", &contenders, world.options.rounds)
}

fn ours<'a>(
    world: &'a World,
    setup: &'a crate::support::program::Setup,
    source: &'a Source,
) -> Contender<'a> {
    Contender {
        name: "backupctl run",
        clean: Box::new(|| {
            forget(setup)?;
            world.empty_databases(&["live", "plain"])
        }),
        commands: Box::new(|| vec![backupctl(setup, &["run"])]),
        check: Box::new(|_| restored(world, "live", source)),
    }
}

fn script<'a>(world: &'a World, distance: Distance, source: &'a Source) -> Result<Contender<'a>> {
    let directory = world.directory.join("script");
    fs::create_dir_all(&directory)?;
    let files = ["archive.zip", "script.dump"].map(|name| directory.join(name));
    Ok(Contender {
        name: "the plain script",
        clean: Box::new(move || {
            files.iter().try_for_each(|file| remove(file))?;
            world.empty_databases(&["live", "plain"])
        }),
        commands: Box::new(move || {
            let to = (directory.as_path(), "plain");
            vec![rivals::plain_script(
                world,
                world.port(distance),
                &source.archive,
                to,
            )]
        }),
        check: Box::new(|_| restored(world, "plain", source)),
    })
}

fn restored(world: &World, database: &str, source: &Source) -> Result<()> {
    let rows = world
        .postgres
        .value(database, "select count(*) from orders");
    ensure!(
        rows == source.orders,
        "{rows} orders instead of {}",
        source.orders
    );
    let keys = "select count(*) from pg_constraint where contype in ('p', 'f') and convalidated and connamespace = 'public'::regnamespace";
    let keys = world.postgres.value(database, keys);
    ensure!(keys == "5", "{keys} keys instead of 5");
    Ok(())
}

/// Text that packs at about 1.5:1, keys, foreign keys and indexes.
const SOURCE: &str = "
create table customers (id integer primary key, name text not null, town text not null);
insert into customers select n, 'customer ' || n, (array['Graz', 'Bern', 'Ulm', 'Lyon'])[n % 4 + 1] from generate_series(1, 20000) n;
create table articles (id integer primary key, name text not null unique);
insert into articles select n, 'article ' || n from generate_series(1, 500) n;
create table orders (
    id integer primary key,
    customer_id integer not null references customers,
    article_id integer not null references articles,
    placed timestamptz not null,
    amount numeric(10, 2) not null,
    note text not null
);
insert into orders
select n, n::bigint * 31 % 20000 + 1, n % 500 + 1, timestamptz '2026-01-01 00:00:00Z' + n * interval '7 seconds', n % 99991 / 100.0,
       translate(encode(sha512(n::text::bytea) || sha512((-n)::text::bytea) || sha512(('x' || n)::bytea), 'base64'), E'\\n', '')
from generate_series(1, ORDERS) n;
create index on orders (customer_id, placed);
create index on orders (placed);
analyze;
";
