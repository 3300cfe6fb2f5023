//! What an operator at a terminal has: help, completion in real shells, and how far it is.

mod completion;
mod help;
mod progress;
