//! What is given away: the manual pages, what `make install` puts where, and the Debian package. `make dist-test` does the rest, with
//! the static program on a Debian that has nothing else.

#[path = "../packaging/man/pages.rs"]
mod pages;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use backupctl::cli;
use backupctl::config::{Environment, parse};
use tempfile::TempDir;

use crate::support::program::{Program, Setup, binary};
use crate::support::smtp::{Options, Smtp};

const DATE: &str = "2026-11-21";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a command says on stdout; it must end well and have nothing to complain about.
fn said(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    assert_eq!(errors, "", "{command:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn written() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in pages::pages(DATE).expect("the pages") {
        fs::write(directory.path().join(name), text).expect("a page");
    }
    directory
}

/// Paths of the files below a directory.
fn files(directory: &Path) -> Vec<String> {
    let listed = said(
        Command::new("find")
            .args([".", "-type", "f"])
            .current_dir(directory),
    );
    let mut files: Vec<String> = listed.lines().map(|line| line[2..].to_owned()).collect();
    files.sort();
    files
}

#[test]
fn no_manual_page_has_a_fault_that_groff_or_mandoc_knows() {
    let directory = written();
    let pages = files(directory.path());
    assert!(pages.len() > 20, "{pages:?}");
    let from_there = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(directory.path());
        command
    };
    said(
        from_there("man")
            .args(["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"])
            .args(&pages),
    );
    let lint = said(
        from_there("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .args(&pages),
    );
    assert_eq!(lint, "");
}

/// As `man` sets a page for 80 columns.
fn set(directory: &Path, name: &str) -> String {
    let mut command = Command::new("man");
    command
        .args(["-E", "UTF-8", "-l"])
        .arg(directory.join(name));
    said(command.env("MANWIDTH", "80"))
}

#[test]
fn the_manual_says_what_no_option_does() {
    let directory = written();
    let page = set(directory.path(), "backupctl.1");
    let sections = "NAME,SYNOPSIS,DESCRIPTION,OPTIONS,COMMANDS,EXIT STATUS,FILES,ENVIRONMENT,EXAMPLES,SEE ALSO";
    for section in sections.split(',') {
        let is_there = page.lines().any(|line| line == section);
        assert!(is_there, "{section}\n{page}");
    }
    let words = "143 (interrupted),12 (attention),secret.key,BACKUPCTL_CONFIG";
    for word in words.split(',').chain([DATE]) {
        assert!(page.contains(word), "{word}\n{page}");
    }
}

#[test]
fn each_command_has_a_page_with_examples_and_exit_codes() {
    let directory = written();
    for command in cli::command().get_subcommands() {
        let page = set(
            directory.path(),
            &format!("backupctl-{}.1", command.get_name()),
        );
        let is_leaf = !command.has_subcommands();
        for section in ["EXIT STATUS", "EXAMPLES"] {
            let is_there = page.lines().any(|line| line == section);
            assert_eq!(is_there, is_leaf, "{section}\n{page}");
        }
        assert!(
            page.lines().all(|line| line.chars().count() <= 80),
            "{page}"
        );
    }
}

/// The package of the program as it was built with these tests: not static, and quickly packed.
fn package(output: &Path, pages: &Path) -> PathBuf {
    let stripped = output.join("backupctl");
    said(Command::new("strip").arg("-o").arg(&stripped).arg(binary()));
    let out = output.join("out");
    let mut command = Command::new(here("packaging/deb"));
    command
        .arg(&stripped)
        .arg(pages)
        .arg(&out)
        .env("SOURCE_DATE_EPOCH", "1795000000")
        .env("DEB_COMPRESSION", "none");
    // dpkg-deb says on stderr what it does.
    let built = command.output().expect("packaging/deb");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let path = String::from_utf8(built.stdout).expect("UTF-8");
    PathBuf::from(path.trim())
}

#[test]
fn the_package_has_what_a_user_looks_for_where_they_look() {
    let (directory, pages) = (tempfile::tempdir().expect("a directory"), written());
    let package = package(directory.path(), pages.path());
    let root = directory.path().join("root");
    said(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root));

    let inside = files(&root);
    for wanted in [
        "usr/bin/backupctl",
        "usr/share/bash-completion/completions/backupctl",
        "usr/share/zsh/vendor-completions/_backupctl",
        "usr/share/fish/vendor_completions.d/backupctl.fish",
        "usr/share/man/man1/backupctl.1.gz",
        "usr/share/man/man1/backupctl-vault-rotate.1.gz",
        "usr/share/doc/backupctl/copyright",
        "usr/share/doc/backupctl/changelog.gz",
        "usr/share/doc/backupctl/changelog.Debian.gz",
        "usr/share/doc/backupctl/examples/config.example.toml",
    ] {
        assert!(inside.contains(&wanted.to_owned()), "{wanted}: {inside:#?}");
    }
    let outside = inside.iter().filter(|file| !file.starts_with("usr/"));
    assert_eq!(
        outside.count(),
        0,
        "nothing of the operator's is owned: {inside:#?}"
    );
    let mode = fs::metadata(root.join("etc/backupctl")).expect("/etc/backupctl");
    assert_eq!(mode.permissions().mode() & 0o7777, 0o750);

    let mut program = Command::new(root.join("usr/bin/backupctl"));
    let version = said(program.arg("--version").env_clear());
    assert_eq!(
        version,
        concat!("backupctl ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let manual = root.join("usr/share/man");
    let mut man = Command::new("man");
    let page = said(
        man.arg("-M")
            .arg(&manual)
            .args(["-E", "UTF-8", "backupctl-undo"]),
    );
    assert!(page.contains("BACKUPCTL-UNDO(1)"), "{page}");
    let example = root.join("usr/share/doc/backupctl/examples/config.example.toml");
    let text = fs::read_to_string(&example).expect("the example");
    parse(&example, &text, &Environment::default()).expect("the example is a configuration");
}

#[test]
fn the_package_depends_on_nothing() {
    let (directory, pages) = (tempfile::tempdir().expect("a directory"), written());
    let package = package(directory.path(), pages.path());
    let field = |name: &str| said(Command::new("dpkg-deb").arg("-f").arg(&package).arg(name));
    assert_eq!(field("Package").trim(), "backupctl");
    assert_eq!(
        field("Version").trim(),
        concat!(env!("CARGO_PKG_VERSION"), "-1")
    );
    assert_eq!(field("Depends").trim(), "", "it is static");
}

#[test]
fn the_same_files_give_the_same_package() {
    let pages = written();
    let built = [(); 2].map(|()| {
        let directory = tempfile::tempdir().expect("a directory");
        fs::read(package(directory.path(), pages.path())).expect("the package")
    });
    assert!(built[0] == built[1], "the packages differ");
}

#[test]
fn make_install_heeds_prefix_and_destdir() {
    let (directory, pages) = (tempfile::tempdir().expect("a directory"), written());
    let mut install = Command::new(here("packaging/install"));
    let root = directory.path().join("stage");
    said(
        install
            .arg(binary())
            .arg(pages.path())
            .arg(&root)
            .arg("/opt/backupctl"),
    );

    let inside = files(&root);
    assert!(
        inside.iter().all(|file| file.starts_with("opt/backupctl/")),
        "{inside:#?}"
    );
    for wanted in [
        "bin/backupctl",
        "share/man/man1/backupctl-run.1",
        "share/zsh/site-functions/_backupctl",
    ] {
        let wanted = format!("opt/backupctl/{wanted}");
        assert!(inside.contains(&wanted), "{wanted}: {inside:#?}");
    }
    let program = Program::new(directory.path());
    program.run(&["--version"]).expect(0);
}

/// As on a machine without the package ca-certificates.
#[test]
fn a_machine_that_trusts_nobody_is_told_what_to_install() {
    let smtp = Smtp::start(Options::default());
    let toml = smtp.toml(&["ops@example.org"]);
    let without: Vec<&str> = toml
        .lines()
        .filter(|line| !line.starts_with("ca_file"))
        .collect();
    let mut setup = Setup::new()
        .part(&(without.join("\n") + "\n"))
        .secret("SMTP_PASSWORD", crate::support::smtp::PASSWORD)
        .write();
    setup.program = setup
        .program
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent");

    let ran = setup.run(&["check", "--email"]).expect(3);

    for word in [
        "no certificates of authorities",
        "install the package ca-certificates",
    ] {
        assert!(ran.stdout.contains(word), "{word}\n{ran}");
    }
}
