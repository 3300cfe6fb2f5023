//! What a shell completes: commands and options from their definitions; jobs, stores and databases from the configuration,
//! which is read for that and nothing else. A configuration with mistakes has no names.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};

use crate::config::{self, Config};

/// By this variable the registered script asks; it holds the shell's name.
const ASKED_BY: &str = "BACKUPCTL_COMPLETE";
const PROGRAM: &str = "backupctl";

/// Found on zsh's `fpath`, the script is the body of the first completion, which it else would only prepare.
const ZSH_FIRST: &str = r#"
if [ "$funcstack[1]" = "_backupctl" ]; then
    _clap_dynamic_completer_backupctl "$@"
fi"#;

/// The names in a configuration that an argument of this ID takes.
fn names_for(argument: &str) -> Option<fn(&Config) -> Vec<String>> {
    match argument {
        "job" | "jobs" => Some(|config| {
            let jobs = config.restores.iter().map(|restore| restore.name.clone());
            jobs.collect()
        }),
        "store" => Some(|config| config.stores.keys().cloned().collect()),
        "database" => Some(|config| config.databases.keys().cloned().collect()),
        _ => None,
    }
}

/// The script that makes a shell ask this program at every tab. Other shells get one with all the words in it.
///
/// # Errors
/// Only what writing to memory can fail with.
pub fn script(shell: Shell, command: &mut clap::Command) -> io::Result<String> {
    let mut script = Vec::new();
    let asks: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        _ => {
            clap_complete::generate(shell, command, PROGRAM, &mut script);
            return Ok(String::from_utf8_lossy(&script).trim().to_owned());
        }
    };
    asks.write_registration(ASKED_BY, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    if shell == Shell::Zsh {
        script.extend(ZSH_FIRST.as_bytes());
    }
    Ok(String::from_utf8_lossy(&script).trim().to_owned())
}

/// Answers a shell that wants a word completed, on stdout. None: nobody asks, and this is a command.
pub fn answer(command: impl Fn() -> clap::Command, arguments: &[OsString]) -> Option<u8> {
    let file = named_file(arguments);
    let command = || with_names(command(), file.as_deref());
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command)
        .var(ASKED_BY)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .try_complete(arguments.iter().cloned(), here.as_deref());
    match asked {
        Ok(false) => None,
        Ok(true) => Some(0),
        // A shell shows nothing of it, and offers nothing.
        Err(_) => Some(2),
    }
}

/// The configuration that the words typed so far name.
fn named_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = arguments.iter();
    let mut named = None;
    while let Some(word) = words.next() {
        if word == "-c" || word == "--config" {
            named = words.next().map(PathBuf::from);
        } else if let Some(file) = word
            .to_str()
            .and_then(|word| word.strip_prefix("--config="))
        {
            named = Some(PathBuf::from(file));
        }
    }
    named
}

fn with_names(command: clap::Command, file: Option<&Path>) -> clap::Command {
    let command = command.mut_args(|argument| {
        let Some(names) = names_for(argument.get_id().as_str()) else {
            return argument;
        };
        let file = file.map(Path::to_owned);
        let candidates = move || {
            let config = config::load(file.as_deref(), &config::environment());
            let names = config.map(|config| names(&config)).unwrap_or_default();
            let plain = names.into_iter().filter(|name| is_plain(name));
            plain.map(CompletionCandidate::new).collect()
        };
        argument.add(ArgValueCandidates::new(candidates))
    });
    command.mut_subcommands(|subcommand| with_names(subcommand, file))
}

/// Shells put what they are offered on the command line as it is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.chars().all(plain) && !name.starts_with('-')
}
