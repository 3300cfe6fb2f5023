//! Tells on the way how far a load is: items of the table of contents, and the table that is being filled. Asked of the server in
//! passing; where it doesn't answer nothing is told.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::Load;
use super::command;
use super::items::{At, Counted, Items};
use crate::config::format_bytes;
use crate::database::connection::{Login, Session, column, connect};
use crate::escape::shown;
use crate::run::Run;
use crate::verdict::Outcome;

/// For each question.
const DEADLINE: Duration = Duration::from_secs(5);
/// The catalog of many thousand tables is not looked through all the time.
const BETWEEN_COUNTS: Duration = Duration::from_secs(3);
/// An operator who watches wants to see it move.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Telling<'a> {
    items: Option<Items<'a>>,
    total: u64,
    most: u64,
    /// Several sessions of pg_restore work at once.
    parallel: bool,
    login: &'a Login,
    target: &'a str,
    counting: Option<Session>,
    counted: Option<Instant>,
    run: &'a Run,
}

impl<'a> Telling<'a> {
    pub fn new(plan: &Load<'a>, run: &'a Run) -> Self {
        let items = plan
            .select
            .filter(|_| run.progress.is_shown())
            .map(Items::new);
        Self {
            items,
            total: items.map_or(0, Items::total),
            most: 0,
            parallel: command::parallel(plan) && !plan.in_place,
            login: plan.login,
            target: plan.target,
            counting: None,
            counted: None,
            run,
        }
    }

    /// How long until it should be told again; never longer than `most`.
    pub fn pause(&self, most: Duration) -> Duration {
        let pause = if self.run.progress.is_terminal() {
            BETWEEN_LOOKS
        } else {
            BETWEEN_LINES
        };
        pause.min(most)
    }

    /// `session` is in the maintenance database; `bytes` is the target's size.
    pub async fn tell(&mut self, session: &Session, bytes: u64) {
        if !self.run.progress.is_shown() {
            return;
        }
        let at = self.at(session).await.unwrap_or_default();
        if let Some(items) = self.items {
            let behind = if self.parallel {
                self.by_catalog(items).await
            } else {
                at.first().and_then(|(at, _)| items.before(at))
            };
            self.most = self.most.max(behind.unwrap_or(0)).min(self.total);
        }
        let text = said(self.most, self.total, &at);
        let text = if at.is_empty() {
            format!("{text}{} in the database", format_bytes(bytes))
        } else {
            text
        };
        self.run.progress.note(&text);
    }

    /// What its sessions are at, the one with the most rows' bytes first.
    async fn at(&self, session: &Session) -> Outcome<Vec<(At, u64)>> {
        let copies = if session.version_num() >= 140_000 {
            "(SELECT bytes_processed FROM pg_stat_progress_copy c WHERE c.pid = a.pid)"
        } else {
            "NULL"
        };
        let sql = format!(
            "SELECT left(query, 1000), coalesce({copies}, 0)::int8 FROM pg_stat_activity a \
             WHERE application_name = $1 AND datname = $2 AND pid <> pg_backend_pid() AND state = 'active' \
             ORDER BY 2 DESC, query_start LIMIT 64"
        );
        let names: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&self.login.application_name, &self.target];
        let asked = tokio::time::timeout(DEADLINE, session.query(&sql, &names)).await;
        let Ok(rows) = asked else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for row in rows? {
            let (query, bytes): (String, i64) = (column(&row, 0)?, column(&row, 1)?);
            found.extend(At::read(&query).map(|at| (at, u64::try_from(bytes).unwrap_or(0))));
        }
        Ok(found)
    }

    async fn by_catalog(&mut self, items: Items<'_>) -> Option<u64> {
        if self
            .counted
            .is_some_and(|last| last.elapsed() < BETWEEN_COUNTS)
        {
            return None;
        }
        let counted = tokio::time::timeout(DEADLINE, self.count()).await;
        self.counted = Some(Instant::now());
        let Ok(Ok(counted)) = counted else {
            self.counting = None;
            return None;
        };
        Some(items.by_catalog(counted))
    }

    /// In a session of its own with a name of its own: those with the run's name are what the watchdog watches.
    async fn count(&mut self) -> Outcome<Counted> {
        if self.counting.as_ref().is_none_or(Session::is_closed) {
            let mut login = self.login.clone();
            login.application_name += " items";
            self.counting = Some(connect(&login, self.target).await?.with_deadline(DEADLINE));
        }
        let Some(session) = &self.counting else {
            return Ok(Counted::default());
        };
        let row = session.query_one(COUNTS, &[]).await?;
        let number = |nth| -> Outcome<u64> {
            let number: i64 = column(&row, nth)?;
            Ok(u64::try_from(number).unwrap_or(0))
        };
        Ok(Counted {
            tables: number(0)?,
            filled: number(1)?,
            indexes: number(2)?.saturating_sub(number(3)?),
            constraints: number(4)?,
        })
    }
}

/// Without what extensions bring. A foreign key of a partitioned table counts once.
const COUNTS: &str = "
    SELECT count(*) FILTER (WHERE relkind IN ('r', 'p')),
        count(*) FILTER (WHERE relkind = 'r' AND relfilenode <> oid),
        count(*) FILTER (WHERE relkind IN ('i', 'I')),
        (SELECT count(*) FROM pg_constraint WHERE oid >= 16384 AND contype IN ('p', 'u', 'x')),
        (SELECT count(*) FROM pg_constraint WHERE oid >= 16384 AND contype IN ('p', 'u', 'x', 'f')
            AND (contype <> 'f' OR conparentid = 0))
    FROM pg_class c WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

/// `items 1,204 of 3,310, public.orders 1.2 GiB and 3 more`; ends where the size of the database may follow.
fn said(done: u64, total: u64, at: &[(At, u64)]) -> String {
    let mut text = if total > 0 {
        format!("items {} of {}, ", grouped(done), grouped(total))
    } else {
        String::new()
    };
    let Some(((at, bytes), others)) = at.split_first() else {
        return text;
    };
    text += &shown(&at.name);
    if *bytes > 0 {
        // Writing to a string can't fail.
        let _ = write!(text, " {}", format_bytes(*bytes));
    }
    if !others.is_empty() {
        let _ = write!(text, " and {} more", others.len());
    }
    text
}

/// `1,204`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_204, "1,204"),
            (3_310_000, "3,310,000"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_largest_table_is_named_and_the_others_are_counted() {
        let at = |table: &str| At::read(&format!("COPY public.\"{table}\" (id) FROM stdin;"));
        let at = |table: &str, bytes| (at(table).expect("a statement"), bytes);
        assert_eq!(
            said(1_204, 3_310, &[at("orders", 1 << 30)]),
            "items 1,204 of 3,310, public.orders 1.0 GiB"
        );
        assert_eq!(
            said(1, 9, &[at("a\u{1b}[2J", 0), at("b", 0)]),
            "items 1 of 9, public.a\\u{1b}[2J and 1 more"
        );
        assert_eq!(said(0, 0, &[]), "");
    }
}
