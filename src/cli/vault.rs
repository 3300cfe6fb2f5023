//! The flags of `vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Encrypt a secret from stdin or a hidden prompt, and print the token for the env file
    Encrypt,
    /// Write a new key file; an existing file is never overwritten
    NewKey {
        /// The file to make, such as the `key_file` of [secrets]; only you can read it
        file: PathBuf,
    },
    /// Put a password, from stdin or a hidden prompt, into the vault
    Add {
        #[command(flatten)]
        whose: Whose,
    },
    /// Make a strong password, put it into the vault, and say what to change on the server
    Generate {
        #[command(flatten)]
        whose: Whose,
        /// How many characters, out of 56 that can't be mistaken for each other
        #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(24..=512))]
        length: u16,
        /// Print the password as well
        #[arg(long)]
        show: bool,
    },
    /// What the vault has under an ID; the password only with --show
    Get {
        /// The ID in the vault
        id: String,
        /// Print the password as well
        #[arg(long)]
        show: bool,
    },
    /// What is in the vault, sorted by ID, without the passwords
    List,
    /// Take a secret out of the vault
    Remove {
        /// The ID in the vault
        id: String,
        /// Don't ask; needed without a terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// The vault's file, its keys, and which settings refer to what in it
    Info,
    /// Take over the secrets of an env file, or of a JSON list of connections
    ///
    /// Of an env file the Fernet tokens, each under its variable's name; values that are no tokens are left out, and told.
    /// JSON: a list of objects with `id` and `password`, and, where known, `user`, `description` and `host`.
    /// Where an ID has another value in the vault or stands twice in the file, nothing is taken over.
    Import {
        /// The env file or JSON file; it is only read
        file: PathBuf,
        /// Overwrite what the vault has under the same ID
        #[arg(long)]
        replace: bool,
    },
    /// Make a new key, and encrypt the vault and the env file's tokens anew with it
    ///
    /// The old key stays in the key file until every secret has been read back with the new one. Tokens that are kept anywhere else
    /// open no more afterwards. It may be killed at any time: whatever it left is opened, and the next rotation completes it.
    Rotate,
}

/// Under which name a password goes in, and what is known of it.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// The ID, as in `vault:ID` of the configuration: letters, digits, `-`, `_` and `.`
    pub id: String,
    /// The user whose password it is
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Overwrite what the vault has under this ID; a user or description that is not given stays
    #[arg(long)]
    pub replace: bool,
}
