//! What proves how an in-place restore ended: `pg_restore --single-transaction` may lose the answer to its COMMIT.
//!
//! `--clean` drops and makes everything anew, so the OIDs of what is in the database tell whether it committed.
//! Running pg_restore is in `load.rs`.

use super::connection::{Session, column};
use crate::verdict::Outcome;

/// What a database consists of, by the identity of its objects; their content may change under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

const MARK: &str = "
WITH own AS (
    SELECT oid FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
), objects AS (
    SELECT 'c' AS kind, c.oid FROM pg_class c JOIN own ON own.oid = c.relnamespace
    UNION ALL SELECT 'p', p.oid FROM pg_proc p JOIN own ON own.oid = p.pronamespace
    UNION ALL SELECT 't', t.oid FROM pg_type t JOIN own ON own.oid = t.typnamespace
)
SELECT coalesce(md5(string_agg(kind || oid, ',' ORDER BY kind, oid)), '') FROM objects";

/// Marks the database of this session: once before the restore, once after its backends are gone.
///
/// Equal marks prove that nothing was committed. Different ones prove nothing where anybody else changes tables:
/// then only pg_restore's own exit status can say that the restore is whole.
///
/// # Errors
/// As the session.
pub async fn mark(session: &Session) -> Outcome<Mark> {
    Ok(Mark(column(&session.query_one(MARK, &[]).await?, 0)?))
}
