//! PostgreSQL's dump formats, read by ourselves: what a file is, its header, and its table of contents.
//!
//! Sources: `pg_backup_archiver.c` (`ReadHead`, `ReadToc`), `pg_backup_custom.c`, `pg_backup_tar.c`, PostgreSQL 9.0 to 18.
//! Reading the contents proves nothing about the data behind them: only a whole restore does.

pub mod directory;
mod header;
mod kind;
mod packed;
mod raw;
mod reader;
mod roles;
mod selection;
mod tables;
pub mod tar;
mod tar_walk;
mod toc;
mod traits;
mod turns;

pub use header::{Format, Header, PgVersion};
pub use kind::{Kind, looks_like_dump, what_is_it};
pub use selection::{LeftOut, Selection};
pub use tables::{Part, TableName};
pub use tar_walk::Walk;
pub use toc::{Entry, LargeObjects, Toc};
pub use traits::Traits;
pub use turns::{Turn, Turns};

/// How many first bytes [`looks_like_dump`] and [`what_is_it`] want to see.
pub const HEAD_BYTES: usize = 4096;
