//! `report`: the history of runs as text, JSON and page, and the chain that shows what was edited or removed.

mod browser;
mod history;
mod page;
mod year;
