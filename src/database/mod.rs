//! What is restored into: PostgreSQL.

pub mod analyze;
pub mod catalog;
pub mod checks;
pub mod connection;
pub mod dump;
pub mod in_place;
pub mod load;
pub mod messages;
mod pooler;
pub mod preflight;
pub mod quote;
mod rights;
pub mod roles;
pub mod scratch;
pub mod session;
pub mod sqlstate;
pub mod swap;
pub mod target;
pub mod tls;
pub mod tools;
