//! Real servers, started by the tests on loopback in temporary directories, and stopped when the test process ends.

pub mod archives;
pub mod hook;
pub mod packers;
pub mod paramiko_sftp;
pub mod pgbouncer;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod scripted_sftp;
pub mod shop;
pub mod smtp;
pub mod sshd;
pub mod terminal;
