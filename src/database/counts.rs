//! How many rows each table has, beside the live one's, from the statistics that ANALYZE has just made: shown, never judged.
//!
//! Estimates, and cheap ones: an exact count is what a check is for. The partitions of a table count as that table.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::connection::{Login, Session, column, connect};
use crate::escape::shown;
use crate::report::{Presence, TableRows, TableTotals};
use crate::verdict::{Explain, Outcome};

/// Tables that the report names.
const NAMED: usize = 100;

/// The tables of both databases, those that changed most first, and the totals of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub tables: Vec<TableRows>,
    pub totals: TableTotals,
}

/// The topmost parent of each partition, then each table with the sum of its own; NULL where a part of it is unknown.
///
/// Never analysed is -1, or 0 without pages before PostgreSQL 14. Only then the counters of what was inserted and deleted are asked:
/// they start anew after a crash, and count rows twice that were loaded and analysed in one go.
const ROWS: &str = "
WITH RECURSIVE tops AS (
    SELECT c.oid, c.oid AS top FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND NOT relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND m.deptype = 'e')
    UNION ALL
    SELECT inhrelid, top FROM tops JOIN pg_class parent ON parent.oid = tops.oid AND parent.relkind = 'p'
    JOIN pg_inherits ON inhparent = tops.oid
), counted AS (
    SELECT tops.top, CASE
        WHEN c.reltuples > 0 OR (c.reltuples = 0 AND c.relpages > 0) THEN c.reltuples::int8
        WHEN s.n_live_tup > 0 THEN s.n_live_tup
        WHEN pg_relation_size(c.oid) = 0 THEN 0
    END AS rows
    FROM tops JOIN pg_class c ON c.oid = tops.oid LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'm')
)
SELECT nspname::text, relname::text,
       CASE WHEN bool_and(rows IS NOT NULL) OR count(counted.top) = 0 THEN coalesce(sum(rows), 0)::int8 END
FROM tops JOIN pg_class c ON c.oid = tops.oid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN counted ON counted.top = tops.oid
WHERE tops.oid = tops.top GROUP BY 1, 2";

type Name = (String, String);
type Rows = BTreeMap<Name, Option<i64>>;

/// Asks both databases; `login.settings.name` is the live one. The new one must have been analysed.
///
/// # Errors
/// As the sessions.
pub async fn compare(login: &Login, scratch: &str) -> Outcome<Counts> {
    let incoming = connect(login, scratch).await?;
    let live = connect(login, &login.settings.name).await?;
    let (new, old) = (rows(&incoming).await?, rows(&live).await?);
    incoming.close().await;
    live.close().await;
    Ok(compared(&new, &old))
}

async fn rows(session: &Session) -> Outcome<Rows> {
    let mut found = Rows::new();
    let reading = session.for_each(ROWS, |row| {
        let name = (column(row, 0)?, column(row, 1)?);
        found.insert(name, column(row, 2)?);
        Ok(())
    });
    reading.await.context("read the statistics of the tables")?;
    Ok(found)
}

fn compared(new: &Rows, old: &Rows) -> Counts {
    let known = |rows: &Rows| rows.values().flatten().sum();
    let totals = TableTotals {
        tables: new.len(),
        rows: known(new),
        live_tables: old.len(),
        live_rows: known(old),
        live_unknown: old.values().filter(|rows| rows.is_none()).count(),
    };
    let names = new
        .keys()
        .chain(old.keys().filter(|name| !new.contains_key(*name)));
    let mut tables: Vec<TableRows> = names.map(|name| one(name, new, old)).collect();
    tables.sort_by_cached_key(weight);
    tables.truncate(NAMED);
    Counts { tables, totals }
}

fn one(name: &Name, new: &Rows, old: &Rows) -> TableRows {
    let presence = match (new.contains_key(name), old.contains_key(name)) {
        (true, true) => Presence::Both,
        (true, false) => Presence::New,
        _ => Presence::Live,
    };
    TableRows {
        schema: shown(&name.0),
        name: shown(&name.1),
        rows: new.get(name).copied().flatten(),
        live_rows: old.get(name).copied().flatten(),
        presence,
    }
}

/// What an operator wants to see first: what is gone, what shrank, by its share, then what is new, what grew, and the rest.
fn weight(table: &TableRows) -> (u8, Reverse<u64>, Reverse<i64>, String, String) {
    let names = (table.schema.clone(), table.name.clone());
    let (rows, live) = (table.rows.unwrap_or(0), table.live_rows.unwrap_or(0));
    let change = rows.abs_diff(live);
    // In parts of a thousand of what was there before; of nothing, everything is a large share.
    let share = u64::try_from(u128::from(change) * 1000 / u128::from(live.unsigned_abs().max(1)));
    let (rank, share) = match table.presence {
        Presence::Live => (0, 0),
        Presence::New => (2, 0),
        Presence::Both if table.live_rows.is_none() => (4, 0),
        Presence::Both if rows < live => (1, share.unwrap_or(u64::MAX)),
        Presence::Both if rows > live => (3, share.unwrap_or(u64::MAX)),
        Presence::Both => (5, 0),
    };
    (
        rank,
        Reverse(share),
        Reverse(rows.max(live)),
        names.0,
        names.1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[(&str, Option<i64>)]) -> Rows {
        let named = all
            .iter()
            .map(|(name, rows)| (("public".to_owned(), (*name).to_owned()), *rows));
        named.collect()
    }

    #[test]
    fn what_is_gone_or_shrank_comes_first_and_what_is_unknown_or_equal_last() {
        let new = rows(&[
            ("grew", Some(200)),
            ("same", Some(7)),
            ("emptied", Some(0)),
            ("shrank", Some(900)),
            ("unsure", Some(3)),
            ("fresh", Some(1)),
        ]);
        let old = rows(&[
            ("grew", Some(100)),
            ("same", Some(7)),
            ("emptied", Some(5)),
            ("shrank", Some(100_000)),
            ("unsure", None),
            ("gone", Some(2)),
        ]);
        let counts = compared(&new, &old);
        let order: Vec<&str> = counts
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect();
        assert_eq!(
            order,
            [
                "gone", "emptied", "shrank", "fresh", "grew", "unsure", "same"
            ]
        );
        assert_eq!(
            counts.totals,
            TableTotals {
                tables: 6,
                rows: 1111,
                live_tables: 6,
                live_rows: 100_114,
                live_unknown: 1
            }
        );
    }

    #[test]
    fn of_ten_thousand_tables_the_hundred_that_changed_most_are_named() {
        let all: Vec<(String, i64)> = (0..10_000).map(|n| (format!("t{n}"), n)).collect();
        let named = |less: i64| -> Rows {
            all.iter()
                .map(|(name, rows)| (("s".to_owned(), name.clone()), Some((rows - less).max(0))))
                .collect()
        };
        let counts = compared(&named(1), &named(0));
        assert_eq!(counts.tables.len(), 100);
        assert_eq!(
            (counts.tables[0].rows, counts.tables[0].live_rows),
            (Some(0), Some(1))
        );
        assert_eq!(counts.totals.tables, 10_000);
    }
}
