//! Which file the built program reads, and how it says that it is wrong.

use std::fs;

use super::GOOD;
use crate::support::program::Program;

fn directory_with(name: &str, text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join(name), text).expect("a configuration");
    directory
}

#[test]
fn the_named_file_is_read_before_that_of_the_environment() {
    let directory = directory_with("named.toml", "oops_named = 1\n");
    fs::write(
        directory.path().join("variable.toml"),
        "oops_variable = 1\n",
    )
    .expect("another one");
    let program = Program::new(directory.path()).env("BACKUPCTL_CONFIG", "variable.toml");

    let by_name = program.run(&["-c", "named.toml", "list"]).expect(3);
    let by_variable = program.run(&["list"]).expect(3);
    let behind_the_command = program.run(&["list", "--config", "named.toml"]).expect(3);

    assert!(
        by_name.stderr.contains("named.toml: line 1: oops_named"),
        "{by_name}"
    );
    assert!(
        by_variable
            .stderr
            .contains("variable.toml: line 1: oops_variable"),
        "{by_variable}"
    );
    assert_eq!(behind_the_command.stderr, by_name.stderr);
}

#[test]
fn a_wrong_file_ends_every_command_before_it_begins() {
    let directory = directory_with(
        "config.toml",
        &GOOD.replace("from = \"office\"", "form = \"office\""),
    );
    let program = Program::new(directory.path()).env("BACKUPCTL_CONFIG", "config.toml");

    for command in [
        &["run"][..],
        &["run", "--dry-run"],
        &["list"],
        &["fetch"],
        &["unzip"],
        &["restore"],
        &["undo", "--yes"],
        &["notify"],
        &["trust", "office", "--yes"],
        &["vault", "encrypt"],
    ] {
        let ran = program.run(command).expect(3);
        assert_eq!(ran.stdout, "", "{ran}");
        assert!(
            ran.stderr
                .contains("restores.erp.form: unknown setting; did you mean `from`?"),
            "{ran}"
        );
        assert!(
            ran.stderr
                .contains("\nhint: config.example.toml shows every setting"),
            "{ran}"
        );
    }
    let left: Vec<_> = fs::read_dir(directory.path())
        .expect("the directory")
        .collect();
    assert_eq!(left.len(), 1, "nothing was written: {left:?}");
}

#[test]
fn json_says_it_as_well() {
    let directory = directory_with("config.toml", "restore = 1\n");
    let program = Program::new(directory.path());

    let ran = program
        .run(&["-c", "config.toml", "run", "--json"])
        .expect(3);

    let document = ran.json();
    assert_eq!(document["verdict"], "config");
    assert_eq!(document["exit_code"], 3);
    let message = document["message"].as_str().expect("a message");
    assert!(
        message.ends_with("line 1: restore: unknown setting; did you mean `restores`?"),
        "{message}"
    );
    assert!(document["hint"].is_string());
}

#[test]
fn a_missing_file_is_named_with_the_ways_to_name_another() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = Program::new(directory.path());

    let ran = program.run(&["-c", "nowhere.toml", "run"]).expect(3);

    let file = directory.path().join("nowhere.toml");
    assert!(
        ran.stderr.contains(&format!(
            "read the configuration {}: No such file",
            file.display()
        )),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("hint: name it with `-c FILE` or in $BACKUPCTL_CONFIG"),
        "{ran}"
    );
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("config.toml"), b"\xff\xfe").expect("a file");

    let ran = Program::new(directory.path())
        .run(&["-c", "config.toml", "run"])
        .expect(3);

    assert!(ran.stderr.contains("it is not UTF-8"), "{ran}");
}
