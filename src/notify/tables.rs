//! The rows of the tables as a short table: the total, and what an operator would want to know about before anybody asks.

use super::layout::columns;
use crate::escape::escaped;
use crate::report::{Compared, Presence, TableRows};

/// Tables that the text names; the report has more of them.
const NAMED: usize = 10;
/// Columns of a name.
const NAME: usize = 40;

/// The tables that are gone, that shrank or that are new, those first that the report has first; None where nothing was compared.
pub(super) fn tables(compared: &Compared) -> Option<String> {
    let totals = compared.table_totals?;
    let mut rows = vec![
        row("Tables", "rows", "in live", ""),
        row(
            &format!("  {} in all", totals.tables),
            &totals.rows.to_string(),
            &totals.live_rows.to_string(),
            &change(totals.rows, totals.live_rows),
        ),
    ];
    let worth_it: Vec<&TableRows> = compared
        .tables
        .iter()
        .filter(|table| is_worth_it(table))
        .collect();
    rows.extend(worth_it.iter().take(NAMED).map(|table| one(table)));
    if let more @ 1.. = worth_it.len().saturating_sub(NAMED) {
        let at_least = if compared.tables.len() < totals.tables.max(totals.live_tables) {
            " or more"
        } else {
            ""
        };
        rows.push(format!(
            "  and {more}{at_least}; the report has more of them"
        ));
    }
    rows.push("  estimates, from the statistics; exact numbers are for checks".to_owned());
    if totals.live_unknown > 0 {
        let (tables, were) = match totals.live_unknown {
            1 => ("1 table", "was"),
            _ => ("tables", "were"),
        };
        let count = match totals.live_unknown {
            1 => String::new(),
            count => format!("{count} "),
        };
        rows.push(format!(
            "  without {count}{tables} of live that {were} never analysed"
        ));
    }
    Some(rows.join("\n"))
}

fn is_worth_it(table: &TableRows) -> bool {
    match table.presence {
        Presence::Live | Presence::New => true,
        Presence::Both => table.live_rows.is_some_and(|live| table.rows < Some(live)),
    }
}

fn one(table: &TableRows) -> String {
    let number =
        |rows: Option<i64>| rows.map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    let (rows, live) = match table.presence {
        Presence::Live => ("gone".to_owned(), number(table.live_rows)),
        Presence::New => (number(table.rows), "none".to_owned()),
        Presence::Both => (number(table.rows), number(table.live_rows)),
    };
    let change = match (table.presence, table.rows, table.live_rows) {
        (Presence::Both, Some(rows), Some(live)) => change(rows, live),
        _ => String::new(),
    };
    let name = escaped(&format!("{}.{}", table.schema, table.name));
    row(&format!("  {name}"), &rows, &live, &change)
}

/// `-12%`: of what live has, towards no change rather than away from it; nothing where live has nothing.
fn change(rows: i64, live: i64) -> String {
    if live <= 0 {
        return String::new();
    }
    match (i128::from(rows) - i128::from(live)) * 100 / i128::from(live) {
        0 if rows < live => "-0%".to_owned(),
        0 => String::new(),
        percent @ 1000.. => format!("x{}", percent / 100 + 1),
        percent => format!("{percent:+}%"),
    }
}

fn row(name: &str, rows: &str, live: &str, change: &str) -> String {
    let name = match name.char_indices().nth(NAME) {
        Some(_) => name.chars().take(NAME - 1).chain(['…']).collect(),
        None => name.to_owned(),
    };
    let room = " ".repeat(NAME.saturating_sub(columns(&name)));
    let text = format!("{name}{room} {rows:>14} {live:>14} {change:>5}");
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TableTotals;

    fn table(name: &str, rows: Option<i64>, live: Option<i64>, presence: Presence) -> TableRows {
        TableRows {
            schema: "public".into(),
            name: name.into(),
            rows,
            live_rows: live,
            presence,
        }
    }

    #[test]
    fn the_table_names_what_is_gone_shrank_or_is_new_within_eighty_columns() {
        let both = Presence::Both;
        let compared = Compared {
            tables: vec![
                table("audit", None, Some(5000), Presence::Live),
                table("orders", Some(0), Some(98_000), both),
                table(
                    &"long".repeat(20),
                    Some(i64::MAX / 1000),
                    Some(i64::MAX / 999),
                    both,
                ),
                table("a\u{202e}b", Some(7), None, Presence::New),
                table("grew", Some(12), Some(10), both),
                table("unsure", Some(12), None, both),
            ],
            table_totals: Some(TableTotals {
                tables: 5,
                rows: 123_456,
                live_tables: 5,
                live_rows: 9000,
                live_unknown: 1,
            }),
            ..Compared::default()
        };
        let text = tables(&compared).expect("a table");
        assert_eq!(
            text,
            "\
Tables                                             rows        in live
  5 in all                                       123456           9000   x13
  public.audit                                     gone           5000
  public.orders                                       0          98000 -100%
  public.longlonglonglonglonglonglonglo… 9223372036854775 9232604641496272   -0%
  public.a\\u{202e}b                                   7           none
  estimates, from the statistics; exact numbers are for checks
  without 1 table of live that was never analysed"
        );
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
    }

    #[test]
    fn of_many_tables_ten_are_named_and_the_others_counted() {
        let new = |n: i64| table(&format!("t{n}"), Some(n), None, Presence::New);
        let compared = Compared {
            tables: (0..100).map(new).collect(),
            table_totals: Some(TableTotals {
                tables: 10_000,
                ..TableTotals::default()
            }),
            ..Compared::default()
        };
        let text = tables(&compared).expect("a table");
        assert!(
            text.contains("\n  and 90 or more; the report has more of them\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 14, "{text}");
    }

    #[test]
    fn nothing_is_said_where_nothing_was_compared() {
        assert_eq!(tables(&Compared::default()), None);
    }
}
