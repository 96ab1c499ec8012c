//! `generate`: shell completions and man pages, from the definition of the command line.

mod completions;
mod man;

use super::error::CommandError;
use super::print;
use crate::cli::{GenerateArgs, Generated, definition};
use std::fs;
use std::path::Path;

/// Runs the command.
pub fn run(arguments: &GenerateArgs) -> Result<(), CommandError> {
    match &arguments.what {
        Generated::Completions { shell } => print(completions::text(*shell).as_bytes()),
        Generated::Man { folder } => man_pages(folder),
    }
}

fn man_pages(folder: &Path) -> Result<(), CommandError> {
    let failed =
        |source| CommandError::Write { what: format!("man pages to {}", folder.display()), source };
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, page) in man::pages(definition()).map_err(failed)? {
        fs::write(folder.join(name), page).map_err(failed)?;
    }
    Ok(())
}
