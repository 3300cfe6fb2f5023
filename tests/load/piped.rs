//! A dump through a pipe into pg_restore: what goes in, and how both ends' failures are seen.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use backupctl::database::dump::Format;
use backupctl::database::load::{Feeder, load};
use backupctl::verdict::Verdict;

use super::fixture::Fixture;
use crate::support::postgres::Postgres;

/// Puts `dump` into the pipe from a thread of its own; how that ended.
fn feed(mut feeder: Feeder, dump: Vec<u8>) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        feeder.write_all(&dump)?;
        feeder.finish();
        Ok(())
    })
}

#[tokio::test]
async fn a_dump_is_loaded_wholly_through_a_pipe_whatever_its_format() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    pg.sql(&fixture.source, "select lo_from_bytea(0, 'large object')");
    for (option, format) in [("-Fc", Format::Custom), ("-Ft", Format::Tar)] {
        let target = pg.database("piped");
        let (feeder, plan) = fixture.piped(&target, format);
        let fed = feed(feeder, pg.dump(&fixture.source, &[option]));

        let loaded = load(plan, &fixture.run).await.expect("it loads");

        assert_eq!(loaded.warnings, [""; 0], "{option}");
        let fed = fed.join().expect("no panic");
        // pg_restore doesn't read a tar's end, which nothing needs.
        assert!(
            fed.is_ok() || fed.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe),
            "{option}"
        );
        assert_eq!(
            pg.content_hash(&target),
            pg.content_hash(&fixture.source),
            "{option}"
        );
    }
}

#[tokio::test]
async fn a_dump_that_stops_coming_is_never_taken_for_a_whole_one() {
    // given a feeder that fails, even where pg_restore takes half a row for the table's last one
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    pg.sql(
        &fixture.source,
        "alter table orders drop constraint orders_user_id_fkey",
    );
    for (option, format) in [("-Fc", Format::Custom), ("-Ft", Format::Tar)] {
        let dump = pg.dump(&fixture.source, &[option]);
        for end in [3, 300, dump.len() / 2] {
            let target = pg.database("cut");
            let (mut feeder, plan) = fixture.piped(&target, format);
            let begun = dump[..end].to_vec();
            let fed = thread::spawn(move || feeder.write_all(&begun));

            let failed = load(plan, &fixture.run).await.expect_err("half a dump");

            let told = failed.message();
            assert_eq!(failed.verdict, Verdict::Damaged, "{option} {end}: {told}");
            assert_eq!(
                told.contains("did not notice"),
                format == Format::Tar && end > 300,
                "{told}"
            );
            drop(fed.join().expect("no panic"));
        }
    }
}

#[tokio::test]
async fn when_pg_restore_ends_early_nothing_more_is_fed() {
    // given a dump with a row that is no number, and 500 MB behind it
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let mut dump = pg.dump(&fixture.source, &["-Fc", "-Z0"]);
    let row = dump.windows(8).position(|bytes| bytes == b"777\t777\n");
    dump[row.expect("a row")] = b'x';
    let target = pg.database("row");
    let (mut feeder, plan) = fixture.piped(&target, Format::Custom);

    // when it is fed
    let clock = Instant::now();
    let fed = thread::spawn(move || {
        let mut bytes = dump.len();
        feeder.write_all(&dump)?;
        let more = vec![0; 1 << 20];
        while bytes < 500_000_000 {
            feeder.write_all(&more)?;
            bytes += more.len();
        }
        Ok::<_, io::Error>(bytes)
    });
    let failed = load(plan, &fixture.run).await.expect_err("no number");

    // then pg_restore's own words are told, and the feeder was ended by a broken pipe
    assert_eq!(failed.verdict, Verdict::Failed, "{}", failed.message());
    assert!(
        failed.message().contains("line 777"),
        "{}",
        failed.message()
    );
    let fed = fed.join().expect("no panic").expect_err("nobody reads it");
    assert_eq!(fed.kind(), ErrorKind::BrokenPipe);
    assert!(
        clock.elapsed() < Duration::from_secs(15),
        "{:?}",
        clock.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nothing_comes_through_is_ended_by_the_stall() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let dump = pg.dump(&fixture.source, &["-Fc", "-Z0"]);
    for end in [0, dump.len() / 2] {
        let target = pg.database("hanging");
        let (mut feeder, mut plan) = fixture.piped(&target, Format::Custom);
        plan.stall = Duration::from_millis(500);
        feeder.write_all(&dump[..end]).expect("room in the pipe");

        let failed = load(plan, &fixture.run).await.expect_err("it hangs");

        assert_eq!(failed.verdict, Verdict::Failed);
        let told = failed.message();
        assert!(told.contains("no progress"), "{told}");
        assert!(told.contains("waits for more of the dump"), "{told}");
        let late = feeder.write_all(&dump[end..]).expect_err("nobody reads it");
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_dump_is_not_taken_for_one_that_hangs() {
    // given a dump whose table of contents, which needs no server, comes byte by byte for longer than the stall
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let dump = pg.dump(&fixture.source, &["-Fc"]);
    let target = pg.database("slow");
    let (mut feeder, mut plan) = fixture.piped(&target, Format::Custom);
    plan.stall = Duration::from_millis(1500);
    let until = Instant::now() + plan.stall * 2;

    let fed = thread::spawn(move || {
        let (slow, rest) = dump.split_at(600);
        for byte in slow.chunks(1) {
            feeder.write_all(byte)?;
            if Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        }
        feeder.write_all(rest)?;
        feeder.finish();
        Ok::<_, io::Error>(())
    });

    load(plan, &fixture.run).await.expect("it loads");
    fed.join().expect("no panic").expect("it was all taken");
}

/// A custom dump without compression whose two tables' data have changed places.
fn in_another_order(dump: &[u8]) -> Vec<u8> {
    // Before the first row: its chunk's length (5 bytes), and before that the block's kind and number (6 bytes).
    let place = |row: &[u8]| dump.windows(row.len()).position(|bytes| bytes == row);
    let orders = place(b"\0\x04\0\0\x001\t1\n").expect("orders") - 6;
    let users = place(b"1\tc4ca4238a0b9").expect("users") - 11;
    assert!(orders < users, "as in the table of contents");
    [&dump[..orders], &dump[users..], &dump[orders..users]].concat()
}

#[tokio::test]
async fn a_dump_whose_data_lies_in_another_order_is_told_to_be_read_from_a_file() {
    let pg = Postgres::shared();
    let fixture = Fixture::new().await;
    let dump = in_another_order(&pg.dump(&fixture.source, &["-Fc", "-Z0"]));
    let target = pg.database("order");
    let (feeder, plan) = fixture.piped(&target, Format::Custom);
    let fed = feed(feeder, dump.clone());

    let failed = load(plan, &fixture.run).await.expect_err("it can't seek");

    assert_eq!(failed.verdict, Verdict::Config, "{}", failed.message());
    let hint = failed.hint.as_deref().unwrap_or_default();
    assert!(hint.contains("`stream = false`"), "{hint}");
    drop(fed.join().expect("no panic"));
    // It is a good dump for whoever can seek in it.
    let target = pg.database("order");
    fixture.load(&target, &dump).await.expect("it loads");
    assert_eq!(pg.content_hash(&target), pg.content_hash(&fixture.source));
}
