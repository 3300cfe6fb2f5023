//! The first configuration, as text: about 25 lines with a word on each that needs one.

use std::fmt::Write as _;

use super::answers::{Answers, Mail, Place};
use crate::config::MailSecurity;

/// Where comments begin.
const COLUMN: usize = 34;

/// The names under which secrets stand in the env file.
pub const STORE_PASSWORD: &str = "SFTP_PASSWORD";
pub const PASSPHRASE: &str = "SFTP_KEY_PASSPHRASE";
pub const DATABASE_PASSWORD: &str = "DB_PASSWORD";
pub const MAIL_PASSWORD: &str = "SMTP_PASSWORD";

/// Lines of TOML.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    /// A table with an empty line before it.
    fn table(&mut self, head: &str, comment: &str) {
        self.0.push(String::new());
        self.commented(head.to_owned(), comment);
    }

    fn text(&mut self, key: &str, value: &str, comment: &str) {
        self.commented(format!("{key} = {}", quoted(value)), comment);
    }

    fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push(format!("{key} = {value}"));
    }

    fn secret(&mut self, key: &str, variable: &str) {
        self.text(key, &format!("env:{variable}"), "");
    }

    fn commented(&mut self, line: String, comment: &str) {
        self.0.push(if comment.is_empty() {
            line
        } else {
            format!("{line:<COLUMN$} # {comment}")
        });
    }
}

/// The whole file.
pub fn config(answers: &Answers) -> String {
    let mut lines = Lines::default();
    lines
        .0
        .push("# config.example.toml shows every setting with its default.".to_owned());
    if let Some(state_dir) = &answers.state_dir {
        lines.text("state_dir", state_dir, "downloads, reports, locks");
    }
    lines.table("[secrets]", "");
    lines.text(
        "env_file",
        super::ENV_FILE,
        "NAME=<token>; `backupctl vault encrypt` makes more",
    );
    lines.text(
        "key_file",
        super::KEY_FILE,
        "opens them: keep a copy somewhere safe",
    );
    store(&mut lines, answers);
    database(&mut lines, answers);
    job(&mut lines, answers);
    match &answers.mail {
        Some(mail) => self::mail(&mut lines, mail),
        None => lines
            .0
            .push("\n# [notify.email]                 # nobody is told by mail yet".to_owned()),
    }
    lines.0.join("\n") + "\n"
}

fn store(lines: &mut Lines, answers: &Answers) {
    let name = answers.store_name();
    match &answers.store {
        Place::Directory(path) => {
            lines.table(&format!("[stores.{name}.local]"), "");
            lines.text("path", path, "");
        }
        Place::Sftp(sftp) => {
            lines.table(&format!("[stores.{name}.sftp]"), "");
            lines.text("host", &sftp.host, "");
            if let Some(port) = sftp.port.filter(|port| *port != 22) {
                lines.number("port", port);
            }
            lines.text("user", &sftp.user, "");
            if let Some(key) = &sftp.private_key {
                lines.text("private_key", key, "");
            }
            if sftp.passphrase.is_some() {
                lines.secret("passphrase", PASSPHRASE);
            }
            if sftp.password.is_some() {
                lines.secret("password", STORE_PASSWORD);
            }
            lines.text("path", &sftp.path, "");
        }
    }
}

fn database(lines: &mut Lines, answers: &Answers) {
    let database = &answers.database;
    lines.table(
        &format!("[databases.{}.postgres]", answers.job),
        "the one that is replaced",
    );
    lines.text("host", &database.host, "");
    if let Some(port) = database.port.filter(|port| *port != 5432) {
        lines.number("port", port);
    }
    lines.text("user", &database.user, "");
    if database.password.is_some() {
        lines.secret("password", DATABASE_PASSWORD);
    }
    lines.text("name", &database.name, "");
}

fn job(lines: &mut Lines, answers: &Answers) {
    let job = &answers.job;
    lines.table(&format!("[restores.{job}]"), "");
    lines.text("from", answers.store_name(), "");
    lines.text(
        "pattern",
        &answers.pattern,
        "the newest that matches is taken",
    );
    lines.text("into", job, "");
    if let Some(sql) = &answers.check {
        lines.table(
            &format!("[[restores.{job}.checks]]"),
            "must hold before it goes live",
        );
        lines.text("sql", sql, "");
        lines.number("at_least", 1);
    } else {
        lines.table(
            &format!("# [[restores.{job}.checks]]"),
            "must hold before it goes live",
        );
        lines
            .0
            .push("# sql = \"select count(*) from users\"".to_owned());
        lines.0.push("# at_least = 1".to_owned());
    }
}

fn mail(lines: &mut Lines, mail: &Mail) {
    lines.table("[notify.email]", "");
    lines.text("server", &mail.server, "");
    if mail.port != 587 {
        lines.number("port", mail.port);
    }
    match mail.security {
        MailSecurity::StartTls => {}
        MailSecurity::Tls => lines.text("security", "tls", ""),
        MailSecurity::None => lines.text("security", "none", "to a server on this machine only"),
    }
    if let Some(user) = &mail.user {
        lines.text("user", user, "");
        lines.secret("password", MAIL_PASSWORD);
    }
    lines.text("from", &mail.from, "");
    let to: Vec<String> = mail.to.iter().map(|to| quoted(to)).collect();
    lines.0.push(format!("to = [{}]", to.join(", ")));
    if let Some(file) = &mail.ca_file {
        lines.text("ca_file", file, "");
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_whatever_is_in_it() {
        for text in [
            "erp",
            "it's \"50%\" $HOME \\",
            "two\nlines\ttab\u{7f}\u{85}",
            "ü 名",
            "",
        ] {
            let table: toml::Table = format!("x = {}", quoted(text)).parse().expect("TOML");
            assert_eq!(table["x"].as_str(), Some(text));
        }
    }
}
