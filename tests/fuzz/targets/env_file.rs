#![no_main]
//! The env file: any bytes are read, in bounded memory, and an error never holds what stands behind an `=`.

use backupctl::secret::fuzzed::{EnvFile, Token};
use backupctl_fuzz::are_clean_lines;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 4] = ["A", "DB_PASSWORD", "SFTP", "é"];

fuzz_target!(|data: &[u8]| {
    let environment = |name: &str| (name == "HOME").then(|| "x".repeat(1000));
    let file = EnvFile::parse(data, environment);
    for name in NAMES {
        match file.find(name) {
            Ok(Some((line, value))) => {
                assert!(line >= 1 && line <= data.len());
                assert!(value.len() < data.len() + 4 * 1024 * 1024);
                let _ = Token::parse(value);
            }
            Ok(None) => {}
            Err(why) => {
                are_clean_lines(&why);
                assert!(why.len() < 200, "{why}");
            }
        }
    }
    // Lines that nobody asks for change nothing: a definition at the end is found, or said to be the second one.
    let with_more = [data, b"\nDB_OTHER_PASSWORD=a b"].concat();
    let found = EnvFile::parse(&with_more, environment);
    if let Ok(Some((_, value))) = found.find("DB_OTHER_PASSWORD") {
        assert!(
            value.contains("a b") || String::from_utf8_lossy(data).contains("DB_OTHER_PASSWORD")
        );
    }
});
