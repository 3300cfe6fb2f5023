use super::*;
use crate::database::dump::tables::tests::{entry, toc};

fn turns(entries: Vec<Entry>) -> Vec<(i64, Turn)> {
    let toc = toc(entries);
    let turns = Turns::of(&toc).expect("something has to wait");
    let with_turn = toc.entries.iter().map(|e| (e.id, turns.turn(e)));
    with_turn.collect()
}

fn partitioned() -> Vec<Entry> {
    vec![
        entry(1, "TABLE", "sales", &[]),
        entry(2, "TABLE", "sales_1", &[]),
        entry(3, "TABLE ATTACH", "sales_1", &[1, 2]),
        entry(4, "TABLE", "people", &[]),
        entry(5, "CONSTRAINT", "sales sales_pkey", &[1]),
        entry(6, "CONSTRAINT", "people people_pkey", &[4]),
    ]
}

#[test]
fn what_touches_a_partitioned_table_waits_with_all_that_hangs_on_it() {
    let mut entries = partitioned();
    entries.extend([
        entry(10, "FK CONSTRAINT", "sales who", &[1, 4, 6]),
        entry(11, "COMMENT", "CONSTRAINT who ON sales", &[10]),
        entry(12, "FK CONSTRAINT", "notes sale", &[4, 5]),
        entry(13, "TRIGGER", "sales_1 touch", &[2]),
        entry(14, "FK CONSTRAINT", "people boss", &[4, 6]),
        entry(15, "TRIGGER", "people touch", &[4]),
    ]);
    let late: Vec<i64> = turns(entries)
        .into_iter()
        .filter(|(_, turn)| *turn == Turn::OneByOne)
        .map(|(id, _)| id)
        .collect();
    assert_eq!(late, [10, 11, 12, 13]);
}

#[test]
fn an_index_that_is_attached_makes_its_table_a_partitioned_one() {
    // as pg_dump 11 to 13 write it: no TABLE ATTACH
    let entries = vec![
        entry(1, "TABLE", "sales", &[]),
        entry(2, "TABLE", "sales_1", &[1]),
        entry(3, "INDEX", "sales_a", &[1]),
        entry(4, "INDEX", "sales_1_a", &[2]),
        entry(5, "INDEX ATTACH", "sales_1_a", &[3, 4]),
        entry(6, "FK CONSTRAINT", "sales who", &[1]),
    ];
    assert_eq!(turns(entries)[5], (6, Turn::OneByOne));
}

#[test]
fn what_pg_restore_does_last_still_comes_last() {
    let mut entries = partitioned();
    entries.extend([
        entry(10, "FK CONSTRAINT", "sales who", &[1, 4, 6]),
        entry(20, "ACL", "TABLE sales", &[1]),
        entry(21, "DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES", &[]),
        entry(22, "MATERIALIZED VIEW DATA", "days", &[1]),
        entry(23, "EVENT TRIGGER", "no_more", &[]),
        entry(24, "COMMENT", "EVENT TRIGGER no_more", &[]),
    ]);
    let last = turns(entries).split_off(7);
    assert!(last.iter().all(|(_, turn)| *turn == Turn::Last), "{last:?}");
}

#[test]
fn a_dump_in_which_nothing_can_meet_goes_in_at_once() {
    let mut plain = partitioned();
    plain.push(entry(10, "FK CONSTRAINT", "people boss", &[4, 6]));
    assert!(Turns::of(&toc(plain)).is_none());
}
