//! What holds when things break: the oracle in `world` is asked after every fault, through the built program.
//!
//! `CHAOS_KILLS=500` asks for more kills at random moments than the suite makes.

pub mod disk;
mod kills;
mod link;
mod process;
mod restores;
mod resume;
mod room;
mod signals;
pub mod world;
