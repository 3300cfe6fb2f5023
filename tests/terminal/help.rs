//! The command line: what its help says of every command, and what is no command.

use backupctl::cli::{self, help};

use crate::support::program::Program;

fn anywhere() -> Program {
    Program::new(std::path::Path::new("/"))
}

#[test]
fn every_command_and_every_argument_is_explained_in_80_columns() {
    let commands = commands(&cli::command().disable_help_subcommand(true), "");
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ran = anywhere().env("COLUMNS", "80").run(&arguments).expect(0);
        let mut short = arguments.clone();
        short.pop();
        short.push("-h");
        let short = anywhere().env("COLUMNS", "80").run(&short).expect(0);
        for line in short.stdout.lines() {
            let unexplained = line.starts_with("  <") && line.trim_end().ends_with('>');
            assert!(!unexplained, "{line}\n{short}");
        }
        for line in ran.stdout.lines().chain(short.stdout.lines()) {
            assert!(line.chars().count() <= 80, "{line}\n{ran}");
        }
        let has = [
            "--json",
            "Usage: backupctl",
            "Examples:\n  ",
            "Exit codes:\n  0   done",
        ];
        for word in has {
            assert!(
                ran.stdout.contains(word) || !is_leaf(&command),
                "{command}: {word}\n{ran}"
            );
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    let ran = anywhere().run(&["--version"]).expect(0);
    assert_eq!(
        ran.stdout,
        format!("backupctl {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    let none = anywhere().run(&[]).expect(2);
    assert!(
        none.stderr.contains("Usage: backupctl") && none.stderr.contains("undo"),
        "{none}"
    );
    for arguments in [
        &["restor"][..],
        &["run", "--nonsense"],
        &["undo", "a", "b"],
        &["run", "--accept", "all"],
        &["-q", "-v", "run"],
    ] {
        let ran = anywhere().run(arguments).expect(2);
        assert!(
            ran.stdout.is_empty() && ran.stderr.starts_with("error: "),
            "{ran}"
        );
    }
}

#[test]
fn without_a_configuration_the_path_that_was_tried_is_named() {
    let ran = anywhere()
        .env("BACKUPCTL_CONFIG", "/nowhere/backupctl.toml")
        .run(&["run"])
        .expect(3);
    assert!(ran.stderr.contains("/nowhere/backupctl.toml"), "{ran}");
    let ran = anywhere()
        .run(&["-c", "/nowhere/else.toml", "run", "--json"])
        .expect(3);
    assert_eq!(ran.json()["verdict"], "config");
}

/// The words of every command, those with commands of their own as well.
fn commands(command: &clap::Command, before: &str) -> Vec<String> {
    let below = command.get_subcommands().flat_map(|one| {
        let words = format!("{before} {}", one.get_name()).trim().to_owned();
        let mut all = vec![words.clone()];
        all.extend(commands(one, &words));
        all
    });
    below.collect()
}

/// What can be done, rather than a name for several commands.
fn is_leaf(words: &str) -> bool {
    words != "vault"
}

#[test]
fn what_is_told_below_a_help_belongs_to_a_command() {
    let commands = commands(&cli::command(), "");
    for told in help::commands() {
        assert!(commands.contains(&told.to_owned()), "{told}");
    }
    for meaning in help::VERDICTS {
        assert!(meaning.1.ends_with('.'), "{meaning:?}");
    }
}

#[test]
fn a_mistyped_command_is_answered_with_the_one_that_was_meant() {
    for (typed, meant) in [
        (&["rnu"][..], "'run'"),
        (&["udno"], "'undo'"),
        (&["vault", "lsti"], "'list'"),
        (&["run", "--dry-rnu"], "'--dry-run'"),
        (&["run", "--accept", "stael"], "'stale'"),
    ] {
        let ran = anywhere().run(typed).expect(2);
        assert!(ran.stderr.contains(meant), "{typed:?}\n{ran}");
    }
    // Of another command's.
    let ran = anywhere().run(&["lsit", "--json"]).expect(2);
    assert!(ran.stderr.contains("'list'"), "{ran}");
    assert_eq!(ran.json()["verdict"], "usage");
    let ran = anywhere().run(&["xyzzy"]).expect(2);
    assert!(!ran.stderr.contains("similar"), "{ran}");
}
