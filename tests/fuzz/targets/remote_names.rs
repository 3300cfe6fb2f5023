#![no_main]
//! Names that a store lists, with whatever else it says of them: what is taken is a plain file name, and what is told is clean.
//!
//! Each line is an entry: the letter of `ls -l`, mode, size and time in decimal digits or `-` for "not stated", then the name.

use std::path::Path;

use backupctl::config::{Config, Environment, parse};
use backupctl::store::Listing;
use backupctl::store::choose::{Choice, Earlier, Wish, candidate, judge, judged};
use backupctl::store::sftp::fuzzed::{Stated, listing};
use backupctl_fuzz::{is_clean_line, is_told};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"
[stores.a.local]
path = "/backups"
[databases.a.postgres]
host = "/run"
user = "a"
name = "a"
[restores.plain]
from = "a"
into = "a"
pattern = "erp*"
[restores.dated]
from = "a"
into = "a"
pattern = "ERP_*"
ignore_case = true
newest_by = "name"
name_time = "erp_%Y%m%d.zip"
max_age = "26h"
"#;

fn config() -> Config {
    let parsed = parse(Path::new("/config.toml"), CONFIG, &Environment::default());
    parsed
        .map_err(|failed| failed.message())
        .expect("a configuration")
}

/// An entry whose name may have line breaks, written as U+2424.
fn stated(line: &str) -> Option<Stated> {
    let mut words = line.splitn(5, ' ');
    let letter = words.next()?.to_owned();
    let mut number = || Some(words.next()?.parse::<u64>().ok());
    let (mode, bytes, modified) = (number()?, number()?, number()?);
    Some(Stated {
        longname: letter,
        mode: mode.and_then(|mode| u32::try_from(mode).ok()),
        bytes,
        modified: modified.and_then(|time| u32::try_from(time).ok()),
        name: words.next()?.replace('\u{2424}', "\n"),
    })
}

fn is_sound(listing: &Listing) {
    for archive in &listing.archives {
        let name = Path::new(&archive.name);
        assert_eq!(name.file_name(), Some(name.as_os_str()), "a plain name");
        assert_eq!(
            Path::new("/state").join(name).parent(),
            Some(Path::new("/state"))
        );
    }
    listing
        .passed_over
        .iter()
        .for_each(|miss| is_clean_line(&miss.name_shown));
    assert!(listing.passed_over.len() <= 100);
}

fuzz_target!(|data: &[u8]| {
    thread_local!(static KNOWN: Config = config());
    let text = String::from_utf8_lossy(data);
    let listing = listing(text.split('\n').filter_map(stated));
    is_sound(&listing);
    let now = Timestamp::from_second(1_795_224_600).expect("a time");
    KNOWN.with(|config| {
        for restore in &config.restores {
            let wish = Wish::default();
            match candidate(&listing, restore, &wish) {
                Ok(archive) => match judge(
                    &archive,
                    &listing,
                    restore,
                    (&wish, &Earlier::default()),
                    now,
                ) {
                    Ok(Choice::Take(warnings)) => warnings.iter().for_each(|w| is_clean_line(w)),
                    Ok(Choice::NothingToDo(text)) => is_clean_line(&text),
                    Ok(Choice::NotYet(failed) | Choice::Never(failed)) | Err(failed) => {
                        is_told(&failed)
                    }
                },
                Err(failed) => is_told(&failed),
            }
            let mut turned = listing.clone();
            turned.archives.reverse();
            let name = |found: Result<backupctl::store::Listed, _>| found.map(|a| a.name).ok();
            // Of two entries with the same name and time nothing says which is meant.
            assert_eq!(
                name(candidate(&listing, restore, &wish)),
                name(candidate(&turned, restore, &wish))
            );
            for row in
                judged(&listing, restore, &Earlier::default(), now).expect("the pattern is a glob")
            {
                row.objection.iter().for_each(|text| is_clean_line(text));
                row.archive
                    .err()
                    .iter()
                    .for_each(|name| is_clean_line(name));
            }
        }
    });
});
