//! What the onlooker sees: a heading per step, the command line as it would be typed, and what really came of it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::{Program, Ran};

pub struct Stage {
    program: Program,
    pub directory: PathBuf,
    step: u32,
}

impl Stage {
    /// Where the operator sits: `backupctl` is run in `directory` and finds `config.toml` there.
    pub fn new(directory: &Path) -> Self {
        let config = directory.join("config.toml");
        Self {
            program: Program::new(directory)
                .env("BACKUPCTL_CONFIG", config.to_str().expect("UTF-8")),
            directory: directory.to_owned(),
            step: 0,
        }
    }

    /// The next step and what it is about.
    pub fn step(&mut self, title: &str) {
        self.step += 1;
        say("");
        say(&bold(&format!("== {}. {title}", self.step)));
        say("");
    }

    /// Runs `backupctl …` and shows it; fails the demonstration where it doesn't end well.
    pub fn backupctl(&self, arguments: &[&str]) -> Ran {
        typed(&format!("backupctl {}", arguments.join(" ")));
        shown(self.program.run(arguments))
    }

    /// `backupctl vault encrypt` of a secret that somebody types at the prompt: the line for the env file.
    pub fn encrypt(&self, name: &str, secret: &str) -> String {
        typed(&format!(
            "echo \"{name}=$(backupctl vault encrypt)\" >> .env"
        ));
        say("Secret: (hidden)");
        let ran = self.program.run_with_stdin(&["vault", "encrypt"], secret);
        let token = ran.expect(0).stdout;
        format!("{name}={token}")
    }

    /// Writes a file of the installation and shows it.
    pub fn file(&self, name: &str, content: &str) {
        self.private_file(name, content);
        typed(&format!("cat {name}"));
        show(content);
    }

    /// Writes a file of the installation that only its owner may read.
    pub fn private_file(&self, name: &str, content: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.directory.join(name))
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .expect("a file of the installation");
    }
}

fn shown(ran: Ran) -> Ran {
    let ran = ran.expect(0);
    show(&ran.stderr);
    show(&ran.stdout);
    ran
}

/// Runs something else than backupctl, shown as `typed_as`.
pub fn other(typed_as: &str, command: &mut Command) {
    typed(typed_as);
    let output = command.output().expect("a program that starts");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{typed_as}: {stderr}");
    show(&stdout);
}

/// A command line as an operator types it.
pub fn typed(line: &str) {
    say(&bold(&format!("$ {line}")));
}

/// What a program printed.
pub fn show(text: &str) {
    if !text.trim().is_empty() {
        say(text.trim_end());
    }
}

/// A line of the story.
pub fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("somebody who reads");
}

fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() {
        format!("\x1b[1m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
