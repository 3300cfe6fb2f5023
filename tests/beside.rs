//! `restore --as NAME` and `restore --drop NAME`: to look at a dump while the live database stays as it is.

mod drop;
mod refused;
mod runs;
mod tables;
mod whole;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::shop::Shop;

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A shop with the dump of `a.zip`, whose row is `new`, fetched and unzipped; nothing was restored.
pub fn unzipped(lines: &str) -> Shop {
    let shop = Shop::new(lines);
    shop.offer("a.zip", "new", 10);
    shop.run(&["fetch"]).expect(0);
    shop.run(&["unzip"]).expect(0);
    shop
}

/// A name beside the live one that no other test has.
pub fn look(shop: &Shop) -> String {
    format!("{}_look", shop.live)
}

/// One more line of `[restores.erp]`, which is the last table.
pub fn add(shop: &Shop, line: &str) {
    let path = shop.setup.path("config.toml");
    let config = std::fs::read_to_string(&path).expect("config.toml");
    std::fs::write(path, format!("{config}\n{line}\n")).expect("config.toml");
}

/// What tells that a live database is the very same one as before.
pub fn identity(shop: &Shop) -> String {
    let sql = "select oid, datdba, datacl, shobj_description(oid, 'pg_database') from pg_database where datname = current_database()";
    let identity = shop.server.value(&shop.live, sql);
    format!("{identity} {}", shop.server.content_hash(&shop.live))
}

pub fn journal(shop: &Shop) -> Vec<PathBuf> {
    let journal = std::fs::read_dir(shop.setup.path("state/journal"));
    journal.map_or_else(
        |_| Vec::new(),
        |files| files.flatten().map(|f| f.path()).collect(),
    )
}

/// The configuration with one line exchanged.
pub fn set(shop: &Shop, from: &str, to: &str) {
    let path = shop.setup.path("config.toml");
    let config = std::fs::read_to_string(&path).expect("config.toml");
    assert!(config.contains(from), "{from}\n{config}");
    std::fs::write(path, config.replace(from, to)).expect("config.toml");
}

/// Waits until something holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
