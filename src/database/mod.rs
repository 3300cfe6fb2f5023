//! What is restored into: PostgreSQL.

pub mod after_load;
pub mod analyze;
mod blockers;
pub mod catalog;
pub mod checks;
pub mod connection;
pub mod counts;
pub mod dump;
pub mod in_place;
pub mod load;
pub mod lost;
pub mod messages;
mod pooler;
pub mod preflight;
pub mod quote;
mod remarks;
mod rights;
pub mod roles;
pub mod scratch;
pub mod session;
pub mod sqlstate;
pub mod swap;
pub mod target;
pub mod tls;
pub mod tools;
pub mod unmade;
