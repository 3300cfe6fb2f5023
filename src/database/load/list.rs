//! The part of pg_restore's command line that says which entries of the dump go in, and to whom they will belong.

use crate::database::dump::{Selection, Toc, Turn, Turns};
use crate::process::Command;
use crate::verdict::Outcome;

/// A choice among a dump's contents.
#[derive(Debug, Clone, Copy)]
pub struct Select<'a> {
    pub toc: &'a Toc,
    pub selection: &'a Selection,
}

/// The list of entries travels in memory: a dump of millions of objects leaves no file behind.
pub fn select(
    mut command: Command,
    select: Select<'_>,
    turn: Option<(&Turns, Turn)>,
) -> Outcome<Command> {
    let Select { toc, selection } = select;
    if let Some(owner) = &selection.owner {
        command = command.args(["--no-owner", "--role", owner]);
    }
    if !selection.keeps_privileges {
        command = command.arg("--no-acl");
    }
    if !selection.keeps_tablespaces {
        command = command.arg("--no-tablespaces");
    }
    match selection.list(toc, turn) {
        Some(list) => command.file_arg("--use-list=", &list),
        None => Ok(command),
    }
}
