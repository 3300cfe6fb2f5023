//! The whole suite: one binary, a file per command or mechanism, against real servers that the tests start themselves.

mod archive;
mod bench;
mod beside;
mod check;
mod config;
mod faults;
mod fetch;
mod in_place;
mod list;
mod load;
mod locks;
mod map;
mod notify;
mod proxy;
mod restore;
mod run;
mod secrets;
mod space;
mod status;
mod store;
mod support;
mod swap;
mod trust;
mod undo;
mod unzip;
mod vault;
