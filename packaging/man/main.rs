//! `make man`: writes the manual pages, one for each command, into a directory. The date is that of the sources, so that the same
//! sources always give the same pages.

mod pages;

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: man DIRECTORY DATE";
    let directory = PathBuf::from(arguments.next().context(usage)?);
    let date = arguments.next().context(usage)?;
    fs::create_dir_all(&directory)?;
    for (name, text) in pages::pages(&date)? {
        let file = directory.join(name);
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
