//! How far it is, on a real terminal of 80 and of 40 columns, and without one.

use std::fmt::Write as _;
use std::fs;
use std::sync::LazyLock;

use crate::support::archives;
use crate::support::postgres::Postgres;
use crate::support::program::{Ran, Setup};
use crate::support::proxy::{Direction, Fault, Harm, Proxy};
use crate::support::shop::Shop;
use crate::support::sshd::Sshd;

const PTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pty.py");

/// As an operator would see it who could read every moment: lines as they stood on the terminal, one after the other.
fn drawn(terminal: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = terminal;
    while let Some(at) = rest.find('\u{1b}') {
        plain += &rest[..at];
        let sequence = rest[at + 1..].strip_prefix('[').unwrap_or(&rest[at + 1..]);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        // Each of them moves the cursor or clears: what follows is drawn anew.
        plain.push('\n');
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain += rest;
    let lines = plain.split(['\r', '\n']);
    let shown = lines.map(|line| line.trim_end().to_owned());
    shown.filter(|line| !line.is_empty()).collect()
}

fn on_a_terminal(mut setup: Setup, columns: &str) -> Setup {
    let words = ["/usr/bin/python3", "-I", PTY, columns].map(ToOwned::to_owned);
    setup.program = setup.program.behind(&words);
    setup
}

fn widest(lines: &[String]) -> usize {
    let widths = lines.iter().map(|line| line.chars().count());
    widths.max().unwrap_or(0)
}

/// An archive whose dump has forty tables; the rows of one, with a name that is none for a terminal, take two seconds.
fn slow_archive() -> &'static [u8] {
    static ARCHIVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let pg = Postgres::shared();
        let source = pg.database("slow");
        let mut sql = "create table t (v text); insert into t values ('new');".to_owned();
        for nth in 0..40 {
            write!(
                sql,
                "create table n{nth} (id int primary key); insert into n{nth} values (1);"
            )
            .expect("memory");
        }
        sql += "create function slow(i int) returns bool immutable language plpgsql as 'begin return true; end';
            create table \"p\u{1b}[2J\" (i int check (slow(i)));
            insert into \"p\u{1b}[2J\" select generate_series(1, 40);
            create or replace function slow(i int) returns bool immutable language plpgsql as
                'begin perform pg_catalog.pg_sleep(0.05); return true; end'";
        pg.sql(&source, &sql);
        let dump = pg.dump(&source, &["-Fc"]);
        archives::zip().entry("shop.dump", dump).build()
    });
    &ARCHIVE
}

/// A run with these settings on a terminal; the lines that stood there.
fn loads(lines: &str, columns: &str) -> (Vec<String>, Ran) {
    let mut shop = Shop::new(&format!("stall = \"5s\"\n{lines}"));
    fs::write(shop.store.path().join("a.zip"), slow_archive()).expect("an archive");
    shop.setup = on_a_terminal(shop.setup, columns);
    let ran = shop.run(&["run", "--json"]).expect(0);
    assert_eq!(ran.json()["verdict"], "done");
    assert_eq!(shop.row(), "new");
    (drawn(&ran.stderr), ran)
}

/// `(12, 86)` of `restore items 12 of 86, …`.
fn items(line: &str) -> Option<(u64, u64)> {
    let (_, counted) = line.split_once("items ")?;
    let (done, rest) = counted.split_once(" of ")?;
    let (total, _) = rest.split_once(',')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// That the slow table was named, escaped, with the items behind it: at least so many of all.
fn tells_the_slow_table((lines, ran): &(Vec<String>, Ran), least: u64) {
    let slow: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("public.p\\u{1b}[2J"))
        .collect();
    let told: Vec<(u64, u64)> = slow.iter().filter_map(|line| items(line)).collect();
    assert!(!told.is_empty(), "{lines:#?}\n{ran}");
    let total = told[0].1;
    assert!((125..140).contains(&total), "{told:?}");
    for (done, all) in &told {
        assert!(*all == total && (least..total).contains(done), "{told:?}");
    }
    let all: Vec<u64> = lines
        .iter()
        .filter_map(|line| items(line))
        .map(|it| it.0)
        .collect();
    assert!(all.is_sorted(), "{all:?}");
    assert!(widest(lines) <= 80, "{lines:#?}");
}

#[test]
fn one_session_tells_what_lies_before_the_table_that_it_is_at() {
    // 42 tables, a function and 41 tables' rows lie before it, in whatever order.
    tells_the_slow_table(&loads("jobs = 1", "80"), 84);
}

#[test]
fn several_sessions_tell_what_the_catalog_has() {
    tells_the_slow_table(&loads("jobs = 4", "80"), 84);
}

#[test]
fn a_stream_tells_it_as_well() {
    let (lines, ran) = loads("stream = true", "80");
    let both = |line: &&String| {
        let bytes = line.contains(" KiB of ") || line.contains(" bytes of ");
        bytes && line.contains("restore") && items(line).is_some()
    };
    assert!(lines.iter().any(|line| both(&line)), "{lines:#?}\n{ran}");
    assert!(widest(&lines) <= 80, "{lines:#?}");
}

#[test]
fn one_transaction_over_the_live_database_tells_it_although_nobody_else_sees_it() {
    tells_the_slow_table(&loads("method = \"in-place\"", "80"), 84);
}

#[test]
fn a_terminal_that_is_made_narrow_is_heeded_at_once() {
    let (lines, ran) = loads("jobs = 1", "80:40");
    let resized = lines.iter().position(|line| line == "<resized>");
    let resized = resized.unwrap_or_else(|| panic!("{ran}"));
    // One may have been under way.
    let after = &lines[resized + 2..];
    assert!(
        after.iter().any(|line| line.contains("restore items")),
        "{after:#?}"
    );
    assert!(widest(after) <= 40, "{after:#?}");
}

/// An archive of four MiB.
fn large_archive() -> &'static [u8] {
    static ARCHIVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let pg = Postgres::shared();
        let source = pg.database("large");
        let sql =
            "create table t as select repeat(md5(i::text), 32) v from generate_series(1, 4096) i";
        pg.sql(&source, sql);
        let dump = pg.dump(&source, &["-Fc", "-Z0"]);
        archives::zip().entry("a.dump", dump).stored().build()
    });
    &ARCHIVE
}

/// That over SFTP, at three MiB a second.
fn fetched(columns: Option<&str>, arguments: &[&str]) -> Ran {
    let sshd = Sshd::start();
    sshd.put("a.zip", large_archive());
    let proxy = Proxy::to(sshd.port, std::time::Duration::ZERO);
    proxy.arm(Fault {
        harm: Harm::Throttle(3 << 20),
        direction: Direction::ToClient,
        at: 64 << 10,
    });
    let store = proxy.toml(&sshd, "office", &sshd.dir);
    let pg = Postgres::shared();
    let setup = Setup::new()
        .part(&store)
        .database(pg, &pg.database("progress"))
        .restore("keep_archives = 1")
        .write();
    let setup = match columns {
        Some(columns) => on_a_terminal(setup, columns),
        None => setup,
    };
    setup.run(&[&["fetch"], arguments].concat()).expect(0)
}

#[test]
fn a_download_has_a_bar_with_bytes_rate_and_what_is_left() {
    let ran = fetched(Some("80"), &[]);
    let lines = drawn(&ran.stderr);
    let whole = |line: &&String| {
        ["fetch █", " MiB of 4.", "/s, ", " s left"]
            .iter()
            .all(|word| line.contains(word))
    };
    assert!(lines.iter().any(|line| whole(&line)), "{lines:#?}");
    assert!(widest(&lines) <= 80, "{lines:#?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran}");
    assert!(ran.stdout.ends_with(".zip\n"), "{ran}");

    let ran = fetched(Some("40"), &[]);
    let lines = drawn(&ran.stderr);
    assert!(
        lines
            .iter()
            .any(|line| line.contains(" MiB of 4.") && line.ends_with("MiB")),
        "{lines:#?}"
    );
    assert!(widest(&lines) <= 40, "{lines:#?}");
}

#[test]
fn nobody_is_told_who_is_quiet_or_gone() {
    let quiet = fetched(Some("80"), &["-q"]);
    assert_eq!(quiet.stderr, "");
    // Without a terminal lines come after twenty seconds; what is quicker needs none.
    let lines = fetched(None, &[]);
    assert_eq!(lines.stderr, "");
}
