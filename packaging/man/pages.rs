//! The manual pages: what clap knows of a command, and below it what a manual page has beside that.

use std::io;

use backupctl::cli::{self, help};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// A page's file name and its text.
pub type Page = (String, Vec<u8>);

const FILES: [(&str, &str); 8] = [
    (
        "/etc/backupctl/config.toml",
        "The configuration, where neither -c nor $BACKUPCTL_CONFIG names another. Relative paths in it start at its directory.",
    ),
    (
        "/usr/share/doc/backupctl/examples/config.example.toml",
        "Every setting with its default and why one would change it.",
    ),
    (
        ".env, secret.key, vault.fernet",
        "Beside the configuration: tokens, keys and the vault, as its [secrets] names them. Only their owner may read them.",
    ),
    (
        "/var/lib/backupctl",
        "state_dir; for an ordinary user ~/.local/state/backupctl. What follows lies in it.",
    ),
    (
        "runs/RUN.json, runs/RUN.log",
        "The report and the log of a run.",
    ),
    (
        "archives/JOB/, dumps/JOB/",
        "What was fetched and unpacked.",
    ),
    (
        "locks/JOB.lock",
        "Held by the run that is at work on the job.",
    ),
    (
        "journal/RUN.json",
        "What a run must tidy up, and after a crash the next one.",
    ),
];

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "BACKUPCTL_CONFIG",
        "The configuration file, where -c names none.",
    ),
    (
        "SECRET_KEY",
        "The Fernet key, where the configuration names no key_file.",
    ),
    (
        "NAME",
        "Any variable that the configuration refers to as env:NAME and the env file doesn't have.",
    ),
    (
        "SSH_AUTH_SOCK",
        "The SSH agent whose keys are offered to SFTP servers.",
    ),
    ("XDG_STATE_HOME", "Where an ordinary user's state_dir lies."),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "The authorities that TLS trusts, instead of the system's.",
    ),
];

const HOOKS: [(&str, &str); 1] = [(
    "BACKUPCTL_RUN, BACKUPCTL_JOB, BACKUPCTL_DATABASE, BACKUPCTL_SCRATCH",
    "Set for before_swap and after_swap: the run's ID, the job, the live and the scratch database.",
)];

/// The page of the program and one for each command.
pub fn pages(date: &str) -> io::Result<Vec<Page>> {
    let mut program = cli::command()
        .disable_help_subcommand(true)
        .mut_subcommand("vault", |vault| vault.subcommand_help_heading("COMMANDS"))
        .subcommand_help_heading("COMMANDS");
    program.build();
    let mut pages = Vec::new();
    collect(&program, date, &mut pages)?;
    Ok(pages)
}

fn collect(command: &clap::Command, date: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command, date)?);
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    for subcommand in shown {
        collect(subcommand, date, pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command, date: &str) -> io::Result<Page> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .date(date)
        .source(concat!("backupctl ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    text.extend(synopsis(command));
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    below(&mut roff, command);
    let text = String::from_utf8_lossy(&text);
    // Around its lists of values clap_mangen puts breaks that mandoc calls superfluous.
    let mut text = text.replace("\n.br\n\n.br\n", "\n.sp\n").into_bytes();
    // The library's own head for apostrophes stands at the top already.
    text.extend(roff.to_roff().into_bytes());
    Ok((man.get_filename(), text))
}

/// The usage as `--help` has it: clap_mangen's own spells out every option, but none of their values.
fn synopsis(command: &clap::Command) -> Vec<u8> {
    let usage = command.clone().render_usage().to_string();
    let mut words = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    words = words.strip_prefix(name).unwrap_or(words);
    roff.text([bold(name), roman(words)]);
    roff.to_roff().into_bytes()
}

/// What clap doesn't know.
fn below(roff: &mut Roff, command: &clap::Command) {
    let words = words_of(command);
    let program = words.is_empty();
    let told = help::told(&words);
    if let Some(told) = told {
        examples(roff, told.examples);
    } else if let Some(text) = command.get_after_help().filter(|_| !program) {
        roff.control("SH", ["NOTES"]);
        as_typed(roff, &text.to_string());
    }
    match told {
        Some(told) => codes(roff, told.codes),
        None if program => codes(roff, &help::VERDICTS),
        None => {}
    }
    if program {
        defined(roff, "FILES", &FILES);
        defined(roff, "ENVIRONMENT", &ENVIRONMENT);
        defined(roff, "ENVIRONMENT OF HOOKS", &HOOKS);
        examples(roff, &help::PROGRAM);
    } else {
        roff.control("PP", []);
        roff.text([
            roman("Also 1 (bug), 2 (usage), and 130 or 143 when ended by a signal; "),
            bold("backupctl"),
            roman("(1) says more of each."),
        ]);
    }
    see_also(roff, command, program);
}

/// `vault add` of `backupctl vault add`.
fn words_of(command: &clap::Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    name.strip_prefix("backupctl")
        .unwrap_or(name)
        .trim()
        .to_owned()
}

fn examples(roff: &mut Roff, examples: &[help::Example]) {
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in examples {
        definition(roff, bold(*line), what);
    }
}

fn codes(roff: &mut Roff, codes: &[help::Meaning]) {
    roff.control("SH", ["EXIT STATUS"]);
    for (verdict, what) in codes {
        roff.control("TP", []);
        roff.text([
            bold(verdict.exit_code().to_string()),
            roman(" ("),
            italic(verdict.word()),
            roman(")"),
        ]);
        roff.text([roman(*what)]);
    }
}

fn defined(roff: &mut Roff, title: &str, list: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, what) in list {
        definition(roff, italic(*name), what);
    }
}

fn definition(roff: &mut Roff, name: Inline, what: &str) {
    roff.control("TP", []);
    roff.text([name]);
    roff.text([roman(what)]);
}

fn as_typed(roff: &mut Roff, text: &str) {
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn see_also(roff: &mut Roff, command: &clap::Command, program: bool) {
    let mut pages: Vec<String> = Vec::new();
    if program {
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        pages.extend(shown.map(|one| format!("backupctl-{}", one.get_name())));
    } else {
        pages.push("backupctl".to_owned());
    }
    pages.extend(["pg_dump", "pg_restore"].map(ToOwned::to_owned));
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len() - 1;
    for (nth, page) in pages.into_iter().enumerate() {
        let end = if nth == last { "(1)" } else { "(1)," };
        roff.text([bold(page), roman(end)]);
    }
}
