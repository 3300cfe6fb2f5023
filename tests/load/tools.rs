//! Finding pg_restore among programs that only print a version.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backupctl::database::tools::find;
use backupctl::verdict::Verdict;

use crate::support::postgres::Postgres;

fn fake(directory: &Path, script: &str) {
    let path = directory.join("pg_restore");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[tokio::test]
async fn the_configured_directory_is_the_only_one_searched() {
    let directory = tempfile::tempdir().expect("a directory");
    fake(
        directory.path(),
        "echo 'pg_restore (PostgreSQL) 17.2 (Debian 17.2-1.pgdg120+1)'",
    );

    let tools = find(Some(directory.path())).await.expect("one tool");

    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0].version.to_string(), "17.2");
    assert_eq!(tools[0].path, directory.path().join("pg_restore"));
}

#[tokio::test]
async fn a_directory_without_a_working_pg_restore_is_config() {
    let empty = tempfile::tempdir().expect("a directory");
    let broken = tempfile::tempdir().expect("a directory");
    fake(
        broken.path(),
        "echo 'error while loading shared libraries: libpq.so.5' >&2; exit 127",
    );
    for directory in [empty.path(), broken.path()] {
        let failed = find(Some(directory)).await.expect_err("no tool");
        assert_eq!(failed.verdict, Verdict::Config);
        let place = directory.to_str().expect("a plain path");
        assert!(failed.message().contains(place), "{}", failed.message());
        assert!(failed.hint.expect("a hint").contains("bin_dir"));
    }
}

#[tokio::test]
async fn the_installed_release_is_found_where_distributions_put_it() {
    let tools = find(None).await.expect("PostgreSQL is installed");
    let expected = Postgres::shared().bin_dir.join("pg_restore");
    assert!(tools.iter().any(|tool| tool.path == expected), "{tools:?}");
}
