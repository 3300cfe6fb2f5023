//! The settings of a job that say which archive it takes.

use std::time::Duration;

use backupctl::config::{NewestBy, Unchanged};

use super::{GOOD, complaints, read};

#[test]
fn they_are_read() {
    let lines = "newest_by = \"name\"\nname_time = \"erp_%Y%m%d.zip\"\nignore_case = true\nwait_for = \"2h\"\nunchanged = \"skip\"\n";

    let config = read(&format!("{GOOD}{lines}")).expect("a configuration");

    let restore = &config.restores[0];
    assert!(matches!(restore.newest_by, NewestBy::Name(_)));
    assert!(restore.ignore_case);
    assert_eq!(restore.wait_for, Duration::from_hours(2));
    assert_eq!(restore.unchanged, Unchanged::Skip);
}

#[test]
fn wrong_values_are_named_one_by_one() {
    let table = [
        (
            "unchanged = \"ignore\"",
            "unchanged: \"ignore\" is unknown; known: restore, skip, stale",
        ),
        (
            "ignore_case = 1",
            "ignore_case: is a number, must be true or false",
        ),
        (
            "wait_for = \"late\"",
            "wait_for: \"late\" is no duration; write it like \"90s\", \"10m\", \"26h\" or \"7d\"",
        ),
        (
            "newest_by = \"size\"",
            "newest_by: \"size\" is unknown; known: modified, name",
        ),
        (
            "newest_by = \"name\"",
            "newest_by: \"name\" needs `name_time`; for example `name_time = \"erp_%Y%m%d.zip\"`",
        ),
        (
            "name_time = \"erp_%Y%m%d.zip\"",
            "name_time: needs `newest_by = \"name\"`",
        ),
    ];
    for (setting, complaint) in table {
        let found = complaints(&format!("{GOOD}{setting}\n"));

        assert_eq!(found, [format!("line 17: restores.erp.{complaint}")]);
    }
}

#[test]
fn a_name_time_without_a_whole_date_is_refused() {
    for pattern in [
        "erp.zip",
        "erp_%m%d.zip",
        "erp_%Y%m.zip",
        "erp_%Q%Y%m%d.zip",
    ] {
        let lines = format!("newest_by = \"name\"\nname_time = {pattern:?}\n");

        let found = complaints(&format!("{GOOD}{lines}"));

        let start = format!("line 18: restores.erp.name_time: {pattern:?} ");
        assert!(found[0].starts_with(&start), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
