//! Completion in the real shells, by the scripts that the program prints: commands, options, and the names of the configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::program::{Program, binary};

const CONFIG: &str = r#"
[stores.office.local]
path = "/srv/a"
[stores.nas.local]
path = "/srv/b"
[databases.erp-db.postgres]
host = "db.example.org"
user = "postgres"
name = "erp"
[restores.erp]
from = "office"
into = "erp-db"
pattern = "*.zip"
[restores.crm]
from = "nas"
into = "erp-db"
pattern = "*.zip"
"#;

/// A home with the program in its PATH, a configuration and the script of a shell.
struct Home {
    directory: TempDir,
}

impl Home {
    fn new(shell: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Self { directory };
        let ran = Program::new(&home.path(""))
            .run(&["completions", shell])
            .expect(0);
        assert_eq!(ran.stderr, "");
        fs::create_dir(home.path("fpath")).expect("a directory");
        fs::write(home.path("fpath/_backupctl"), &ran.stdout).expect("the script");
        fs::write(home.path("config.toml"), CONFIG).expect("config.toml");
        fs::write(
            home.path("other.toml"),
            CONFIG.replace("restores.erp", "restores.elsewhere"),
        )
        .expect("other.toml");
        fs::create_dir(home.path("bin")).expect("a directory");
        std::os::unix::fs::symlink(binary(), home.path("bin/backupctl")).expect("a link");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the shell prints for this script of its own.
    fn said(&self, shell: &str, options: &[&str], script: &str) -> String {
        let bin = self.path("bin");
        let output = Command::new(shell)
            .args(options)
            .arg(script)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.directory.path())
            .env("TERM", "dumb")
            .env("BACKUPCTL_CONFIG", self.path("config.toml"))
            .output()
            .unwrap_or_else(|error| panic!("{shell}: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shell}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// What is typed, what must be offered, and what must not.
const CASES: [(&str, &[&str], &[&str]); 8] = [
    ("backupctl r", &["run", "restore"], &["undo"]),
    ("backupctl run ", &["erp", "crm"], &["office"]),
    ("backupctl run e", &["erp"], &["crm"]),
    ("backupctl undo c", &["crm"], &["erp"]),
    ("backupctl run --acc", &["--accept"], &["--archive"]),
    ("backupctl run --accept ", &["stale", "rejected"], &["erp"]),
    ("backupctl trust o", &["office"], &["nas"]),
    ("backupctl -c other.toml run el", &["elsewhere"], &["erp"]),
];

fn offers(typed: &str, offered: &str, (wanted, unwanted): (&[&str], &[&str])) {
    let words: Vec<&str> = offered.split_whitespace().collect();
    for word in wanted {
        assert!(words.contains(word), "`{typed}`: {word} in {words:?}");
    }
    for word in unwanted {
        assert!(!words.contains(word), "`{typed}`: no {word} in {words:?}");
    }
}

#[test]
fn bash_completes() {
    let home = Home::new("bash");
    for (typed, wanted, unwanted) in CASES {
        let script = format!(
            "source fpath/_backupctl
             line='{typed}'; read -ra COMP_WORDS <<<\"$line\"; [[ $line == *' ' ]] && COMP_WORDS+=('')
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE=$line; COMP_POINT=${{#line}}; COMP_TYPE=9
             function=$(complete -p backupctl | sed 's/.* -F \\([^ ]*\\).*/\\1/')
             $function backupctl \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let offered = home.said("bash", &["--norc", "-c"], &script);
        offers(typed, &offered, (wanted, unwanted));
    }
}

#[test]
fn fish_completes() {
    let home = Home::new("fish");
    for (typed, wanted, unwanted) in CASES {
        let script = format!("source fpath/_backupctl; complete -C '{typed}' | cut -f1");
        let offered = home.said("fish", &["--no-config", "-c"], &script);
        offers(typed, &offered, (wanted, unwanted));
    }
}

/// Found on `fpath`, as a package installs it; the first tab must complete. The shell at work says what stands on its line.
#[test]
fn zsh_completes_at_the_first_tab() {
    let home = Home::new("zsh");
    for (typed, completed) in [
        ("backupctl run e", "backupctl run erp "),
        ("backupctl und", "backupctl undo "),
        ("backupctl trust o", "backupctl trust office "),
        (
            "backupctl check --database e",
            "backupctl check --database erp-db ",
        ),
        (
            "backupctl -c other.toml run el",
            "backupctl -c other.toml run elsewhere ",
        ),
    ] {
        let script = format!(
            "zmodload zsh/zpty
             zpty inner zsh -f -i
             zpty -w inner 'fpath=($HOME/fpath $fpath); autoload -Uz compinit; compinit -u -D'
             zpty -w inner 'said() {{ print -rn -- \"$BUFFER\" > $HOME/said.new; mv $HOME/said.new $HOME/said; BUFFER=; }}'
             zpty -w inner 'zle -N said; bindkey \"^X\" said'
             zpty -w inner 'print re''ady'
             zpty -r inner seen '*ready*' || exit 1
             zpty -n -w inner '{typed}'$'\\t\\x18'
             for i in {{1..1000}}; do [[ -e $HOME/said ]] && break; zpty -r -t inner seen; sleep 0.01; done
             zpty -d inner; cat $HOME/said; rm $HOME/said"
        );
        let line = home.said("zsh", &["-f", "-c"], &script);
        assert_eq!(line, completed, "{typed}");
    }
}

#[test]
fn a_broken_configuration_offers_no_names_and_says_nothing() {
    let home = Home::new("fish");
    fs::write(home.path("config.toml"), "[restores.erp").expect("config.toml");
    let script = "source fpath/_backupctl; complete -C 'backupctl run e' 2>&1";
    assert_eq!(home.said("fish", &["--no-config", "-c"], script), "");
}

#[test]
fn only_shells_that_are_known_have_a_script() {
    Program::new(Path::new("/"))
        .run(&["completions", "cobol"])
        .expect(2);
    for shell in ["elvish", "powershell"] {
        let ran = Program::new(Path::new("/"))
            .run(&["completions", shell])
            .expect(0);
        assert!(ran.stdout.contains("undo"), "{ran}");
    }
}
