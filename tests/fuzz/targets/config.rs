#![no_main]
//! The configuration: every text is a configuration or a list of problems with their lines.

use std::path::Path;

use backupctl::config::{Environment, parse};
use backupctl::verdict::Verdict;
use backupctl_fuzz::is_told;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(
        Path::new("/etc/backupctl/config.toml"),
        text,
        &Environment::default(),
    ) {
        Ok(config) => {
            for restore in &config.restores {
                assert!(config.stores.contains_key(&restore.from), "from");
                assert!(config.databases.contains_key(&restore.into), "into");
            }
        }
        Err(failed) => {
            assert_eq!(failed.verdict, Verdict::Config);
            is_told(&failed);
        }
    }
});
