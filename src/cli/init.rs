//! The flags of `init`: what isn't given is asked on a terminal.

use std::path::PathBuf;

use clap::Args;

/// The few things that a first configuration has to say. Passwords come from files or hidden prompts, never from here.
#[derive(Debug, Clone, Default, Args)]
pub struct Init {
    /// Where the archives are: sftp://USER@HOST[:PORT]/PATH, or a directory of this machine
    #[arg(long, value_name = "URL_OR_DIR")]
    pub store: Option<String>,
    /// A file with the store's password; `-`: stdin
    #[arg(long, value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,
    /// The private key for the store
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// A file with that key's passphrase; `-`: stdin
    #[arg(long, value_name = "FILE", requires = "private_key")]
    pub passphrase_file: Option<PathBuf>,
    /// The store's host key as its administrator says it, instead of a question
    #[arg(long, value_name = "SHA256:…")]
    pub host_key: Option<String>,
    /// Which archives, by their names [default: *.zip]
    #[arg(long, value_name = "GLOB")]
    pub pattern: Option<String>,
    /// The database that is replaced: postgresql://USER@HOST[:PORT]/NAME, or …/NAME?host=/run/postgresql
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// A file with the database user's password; `-`: stdin
    #[arg(long, value_name = "FILE")]
    pub database_password_file: Option<PathBuf>,
    /// The job's name [default: the database's]
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// SQL that must give at least 1 before anything goes live
    #[arg(long, value_name = "SQL")]
    pub check: Option<String>,
    /// The mail server for the report: smtp://USER@HOST[:PORT], or smtps://…
    #[arg(long, value_name = "URL")]
    pub mail: Option<String>,
    /// A file with the mail user's password; `-`: stdin
    #[arg(long, value_name = "FILE", requires = "mail")]
    pub mail_password_file: Option<PathBuf>,
    /// Whom the report comes from [default: the mail user]
    #[arg(long, value_name = "ADDRESS", requires = "mail")]
    pub mail_from: Option<String>,
    /// Who gets the report; may be given again
    #[arg(long, value_name = "ADDRESS", requires = "mail")]
    pub mail_to: Vec<String>,
    /// An authority to believe besides the system's, for a private mail server
    #[arg(long, value_name = "FILE", requires = "mail")]
    pub mail_ca_file: Option<PathBuf>,
    /// Where downloads, reports and locks lie [default: /var/lib/backupctl, or in the home directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Ask nothing: take the defaults, and trust the host key as it is presented
    #[arg(short, long)]
    pub yes: bool,
}
